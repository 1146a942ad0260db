use std::time::Duration;

use super::milliseconds;

#[test]
fn percentiles_are_by_nearest_rank() {
    let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
    let found = [50, 99, 100].map(|percent| milliseconds(&times, percent).round());
    assert_eq!(found, [100.0, 198.0, 200.0]);
}
