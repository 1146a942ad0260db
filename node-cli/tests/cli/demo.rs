//! The demo, small: everything equal, and nothing readable at the relay.

use std::io::Write;

use serde_json::{Value, json};

use crate::home::{ended, program};

#[test]
fn three_devices_end_up_equal() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for conversation in 0..3 {
        for seq in 0..40_u32 {
            let mut line = json!({
                "conversation": format!("conversation {conversation}"),
                "seq": seq,
                "time": "2020-02-02T02:02:02Z",
                "kind": "text",
                "author": format!("nick{}", seq % 4),
                "text": format!("line {seq}"),
            });
            if seq % 3 == 2 {
                line["reply_to"] = json!(seq - 1);
            }
            if seq == 7 {
                line["text"] = json!("");
            }
            writeln!(file, "{line}").unwrap();
        }
    }
    let mut demo = program();
    demo.args(["demo", "--json", "--quiet", "--input"])
        .arg(file.path());
    let ended = ended(demo.output().unwrap());
    assert_eq!(ended.code, 0, "{ended:?}");
    let report: Value = serde_json::from_str(ended.stdout.trim()).unwrap();
    assert_eq!(report["converged"], true, "{report}");
    // 39 lines of each conversation, and 200 that are measured.
    assert_eq!(report["written"], 3 * 39 + 200);
    assert_eq!(report["compared"], report["written"]);
    assert_eq!(report["left_out"], 3);
    let devices = report["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 3);
    for device in devices {
        assert_eq!(device["heads"], devices[0]["heads"]);
        assert_eq!(device["pending"], 0);
    }
    assert!(
        report["relay_sees"]["records"].as_u64().unwrap() > 0,
        "{report}"
    );
}
