//! The log is whole, or shows where it is not.

use super::*;
use crate::record::Key;

fn entries(audit: &mut Audit, count: u64) -> Vec<AuditEntry> {
    let mut written = Vec::new();
    for number in 0..count {
        let writes = audit.add(
            Timestamp(number),
            "record does not open".to_owned(),
            "topic".to_owned(),
            None,
        );
        let row = writes.first().and_then(|write| write.value.clone());
        written.extend(row.map(|row| AuditEntry::decode(&row).unwrap()));
    }
    written
}

#[test]
fn entries_are_chained_and_a_change_shows() {
    let written = entries(&mut Audit::default(), 5);
    let mut previous = [0; 32];
    for entry in &written {
        assert!(entry.follows(&previous));
        previous = entry.hash;
    }
    let mut changed = written[2].clone();
    changed.who = "nobody".to_owned();
    assert!(!changed.follows(&written[1].hash));
    assert!(!written[3].follows(&written[1].hash));
}

#[test]
fn a_flood_is_thinned_out_and_counted() {
    let written = entries(&mut Audit::default(), 1_000);
    assert_eq!(written.len(), 16 + 5);
    assert!(written.last().unwrap().what.contains("512 times"));
}

/// A log on a disk, as it is after so many entries.
fn disk(count: u64) -> BTreeMap<Key, Vec<u8>> {
    let mut audit = Audit::default();
    let mut disk = BTreeMap::new();
    for number in 0..count {
        let what = format!("thing {number} happened");
        for write in audit.append(Timestamp(number), what, "somebody".to_owned(), None) {
            match write.value {
                Some(value) => disk.insert(write.key, value),
                None => disk.remove(&write.key),
            };
        }
    }
    disk
}

fn verified(disk: &BTreeMap<Key, Vec<u8>>) -> Result<usize, BrokenAudit> {
    let of = |kind| disk.iter().filter(move |(key, _)| key.kind == kind);
    let mut head = of(Kind::AuditHead).map(|(_, value)| AuditHead::decode(value).unwrap());
    let mut verifier = AuditVerifier::new(head.next_back().unwrap());
    let mut count = 0;
    for (_, value) in of(Kind::Audit) {
        verifier.entry(&AuditEntry::decode(value).unwrap())?;
        count += 1;
    }
    verifier.end().map(|()| count)
}

#[test]
fn a_missing_entry_shows_wherever_it_was() {
    let whole = disk(5);
    assert_eq!(verified(&whole), Ok(5));
    let keys = whole.keys().filter(|key| key.kind == Kind::Audit);
    for (number, key) in keys.enumerate() {
        let mut cut = whole.clone();
        cut.remove(key);
        let number = number as u64;
        let broken = match number {
            4 => BrokenAudit::End { number },
            _ => BrokenAudit::Entry { number },
        };
        assert_eq!(verified(&cut), Err(broken));
    }
}

#[test]
fn the_oldest_entries_go_and_the_rest_is_whole() {
    let beyond = limits::AUDIT_ENTRIES_MAX + 3;
    let kept = disk(beyond);
    let count = usize::try_from(limits::AUDIT_ENTRIES_MAX).unwrap();
    assert_eq!(verified(&kept), Ok(count));
    let mut cut = kept;
    let first = cut
        .keys()
        .find(|key| key.kind == Kind::Audit)
        .unwrap()
        .clone();
    cut.remove(&first);
    assert_eq!(verified(&cut), Err(BrokenAudit::Entry { number: 3 }));
}
