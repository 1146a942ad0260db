//! Frees what sled has replaced.
//!
//! Every write of a row replaces a page, and what was replaced waits in crossbeam-epoch's queue until
//! no thread can be reading it. That queue is worked off by the threads that use it, a little each time
//! they come: many small batches keep up with what they leave, a few thousand rows at once do not, and
//! memory would grow with all that was ever written.

/// Rows whose remains one flush of the collector frees for certain: it takes eight bags of 62, and a row
/// leaves one to four pages.
const ROWS_PER_FLUSH: usize = 100;
/// Flushes until what was just replaced may be freed: two epochs have to pass.
const EPOCHS: usize = 3;

/// Frees what a batch of so many rows has replaced, and what earlier ones left because it was being
/// read.
pub(super) fn free(rows: usize) {
    for _ in 0..rows.div_ceil(ROWS_PER_FLUSH).saturating_add(EPOCHS) {
        crossbeam_epoch::pin().flush();
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::process::Command;

    use sheaf_replica::record::{Key, Kind, Write};

    use crate::store::tests::{open, write};

    const ROUNDS: u64 = 40;
    const ROWS: u64 = 4_000;
    /// 50 MiB are normal; with nothing freed it is 350.
    const GROWTH_MAX: u64 = 150 * 1024 * 1024;

    #[test]
    fn memory_does_not_grow_with_what_was_written() {
        let program = std::env::current_exe().unwrap();
        let name = "store::garbage::tests::many_large_batches_in_a_process_of_its_own";
        let run = Command::new(program)
            .args(["--exact", name, "--ignored"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "run by the test above: memory is that of a whole process"]
    fn many_large_batches_in_a_process_of_its_own() {
        let home = tempfile::tempdir().unwrap();
        let store = open(home.path()).unwrap();
        let mut settled = 0;
        for round in 0..ROUNDS {
            let rows = (0..ROWS).map(|row| put(round * ROWS + row)).collect();
            write(&store, round, rows);
            if round == ROUNDS / 3 {
                settled = resident();
            }
        }
        let grown = resident().saturating_sub(settled);
        assert!(grown < GROWTH_MAX, "{} MiB more", grown >> 20);
    }

    /// A row somewhere in the tree.
    fn put(number: u64) -> Write {
        let order = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let key = Key {
            kind: Kind::Message,
            scope: b"scope".to_vec(),
            order: order.to_vec(),
        };
        Write {
            key,
            value: Some(vec![7; 400]),
            erases: false,
        }
    }

    /// Bytes of memory that this process holds.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kibibytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kibibytes.parse::<u64>().unwrap() * 1024
    }
}
