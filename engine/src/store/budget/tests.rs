use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::*;

const LONG: Duration = Duration::from_secs(20);

#[test]
fn who_has_too_much_waits_until_enough_is_written() {
    let budget = Arc::new(Budget::default());
    assert!(budget.take(QUEUE_BYTES_MAX - 1));
    assert!(budget.take(1));
    let (said, heard) = channel();
    let other = Arc::clone(&budget);
    let thread = std::thread::spawn(move || said.send(other.take(2)).unwrap());
    let early = heard.recv_timeout(Duration::from_millis(50));
    assert_eq!(early, Err(RecvTimeoutError::Timeout));
    budget.give_back(2);
    assert_eq!(heard.recv_timeout(LONG), Ok(true));
    thread.join().unwrap();
}

#[test]
fn what_is_too_large_by_itself_goes_alone() {
    let budget = Budget::default();
    assert!(budget.take(QUEUE_BYTES_MAX * 2));
    budget.give_back(QUEUE_BYTES_MAX * 2);
    assert!(budget.take(1));
}

#[test]
fn nobody_waits_for_a_thread_that_ended() {
    let budget = Arc::new(Budget::default());
    assert!(budget.take(QUEUE_BYTES_MAX));
    let (said, heard) = channel();
    let other = Arc::clone(&budget);
    let thread = std::thread::spawn(move || said.send(other.take(1)).unwrap());
    budget.end();
    assert_eq!(heard.recv_timeout(LONG), Ok(false));
    thread.join().unwrap();
}
