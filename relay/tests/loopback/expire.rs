//! Records that are over their time, in the real program.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sheaf_protocol::{Class, Cursor, LogId, TopicId, hash_record};
use sheaf_relay::store::{DiskOptions, DiskStorage, NewRecord, Quota, Storage};

use crate::client::{Capability, Device, Reassembly};
use crate::process::Process;

const LOG: LogId = LogId(5);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long the younger records still have when they are put there.
const LEFT: Duration = Duration::from_secs(4);

/// Puts records into a store as if they had come so long ago.
fn plant(home: &Path, records: &[(TopicId, Class, u8, Duration)]) {
    let options = DiskOptions {
        directory: home.to_owned(),
        cache_bytes: 8 << 20,
        check: true,
        free_bytes_min: 0,
        quota: Quota {
            topic_bytes_max: u64::MAX,
            store_bytes_max: u64::MAX,
        },
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let store = DiskStorage::open(options, LOG).unwrap();
    for (topic, class, number, age) in records {
        let bytes = vec![*number; 500];
        let record = NewRecord {
            topic: *topic,
            class: *class,
            hash: hash_record(&bytes),
            received_ms: u64::try_from((now - *age).as_millis()).unwrap(),
            bytes,
        };
        store.append(&[record]).unwrap();
    }
}

/// First bytes of what a device is given of a topic from the beginning, and the topic's head.
async fn given(
    process: &Process,
    capability: &Capability,
    after: Option<Cursor>,
) -> (Vec<u8>, u64) {
    let mut client = Device::new(9).connect(&process.address).await.unwrap();
    client.prove(capability).await;
    let topic = capability.topic();
    let (head, restarted) = client.subscribe(topic, after).await;
    assert!(!restarted, "a cursor before what was swept stays good");
    let mut read = Reassembly::default();
    read.after = after.map_or(0, |cursor| cursor.sequence);
    assert_eq!(read.until_caught_up(&mut client, topic).await, head);
    let first = read.records.iter().map(|found| found.record[0]);
    (first.collect(), head)
}

async fn until_given(process: &Process, capability: &Capability, wanted: &[u8]) {
    let begun = Instant::now();
    loop {
        let (found, _) = given(process, capability, None).await;
        if found == wanted {
            return;
        }
        let late = begun.elapsed() > LEFT + Duration::from_secs(10);
        assert!(!late, "{found:?} instead of {wanted:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Log records are kept for two days, inbox records for one.
fn start(home: &Path) -> Process {
    let settings = home.join("settings.toml");
    let text = "[store]\nretention_days = 2\ninbox_days = 1\nsweep_seconds = 1\n";
    std::fs::write(&settings, text).unwrap();
    let more = ["--http", "off", "--config", settings.to_str().unwrap()];
    Process::start(home, &more)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_its_time_is_swept_and_the_rest_stays() {
    let home = tempfile::tempdir().unwrap();
    let (log, inbox) = (Capability::new(1), Capability::new(2));
    let (here, there) = (log.topic(), inbox.topic());
    let planted = [
        (here, Class::Log, 1, 3 * DAY),
        (here, Class::Log, 2, 2 * DAY - LEFT),
        (here, Class::Log, 3, DAY + DAY / 2),
        (there, Class::Inbox, 4, DAY + DAY / 2),
        (there, Class::Inbox, 5, DAY - LEFT),
        (there, Class::Inbox, 6, DAY / 2),
    ];
    plant(home.path(), &planted);
    let mut process = start(home.path());
    // While it runs, one after the other; each class by its own time.
    until_given(&process, &log, &[2, 3]).await;
    until_given(&process, &inbox, &[5, 6]).await;
    until_given(&process, &log, &[3]).await;
    until_given(&process, &inbox, &[6]).await;

    // A device that was away goes on from where it was; no place is given twice.
    let away = Cursor {
        log: LOG,
        sequence: 1,
    };
    assert_eq!(given(&process, &log, Some(away)).await, (vec![3], 3));
    let mut writer = Device::new(1).connect(&process.address).await.unwrap();
    writer.prove(&log).await;
    assert_eq!(writer.keep(here, Class::Log, &[7; 500]).await.sequence, 4);
    drop(writer);
    process.child.kill().unwrap();
    process.child.wait().unwrap();

    // What was swept does not come back.
    let process = start(home.path());
    assert_eq!(given(&process, &log, None).await, (vec![3, 7], 4));
    assert_eq!(given(&process, &inbox, None).await, (vec![6], 3));
}
