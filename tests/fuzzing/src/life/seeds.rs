//! Lives that are known to reach something.

use crate::Seed;
use crate::reader::put_bytes;

pub(crate) fn replica_input_seeds() -> Vec<Seed> {
    let body = |bytes: &[u8]| {
        let mut out = Vec::new();
        put_bytes(&mut out, bytes);
        out
    };
    let forge = |tweak: u8, form: u8, rest: &[u8]| [&[10, tweak, form], rest].concat();
    let list: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("nothing", vec![]),
        ("catch_up", vec![vec![0], vec![3]]),
        (
            "piecewise",
            vec![vec![0], vec![6, 6, 4, 5, 6, 4, 5, 6, 6, 4, 4, 5, 5, 3]],
        ),
        (
            "honest_member",
            vec![
                vec![0],
                forge(0, 1, &[]),
                forge(0, 1, &[]),
                forge(0, 1, &[]),
                vec![3],
            ],
        ),
        (
            "bent_body",
            vec![vec![0, 3], forge(0, 2, &[20, 0, 0x17]), vec![3, 19, 3]],
        ),
        (
            "bent_twice",
            vec![
                vec![0, 3],
                forge(0, 3, &[9, 0, 3, 30, 0, 0xff]),
                vec![3, 19, 3],
            ],
        ),
        (
            "raw_body",
            vec![
                vec![0, 3],
                forge(0, 0, &body(&[0, 4, 1, 2, 3, 4])),
                vec![3, 19, 3],
            ],
        ),
        ("gap", vec![vec![0], forge(1, 1, &[3]), vec![3, 19, 3]]),
        (
            "fork",
            vec![
                vec![0],
                forge(128, 1, &[]),
                forge(0, 1, &[]),
                vec![3, 19, 3],
            ],
        ),
        (
            "strange_run",
            vec![vec![0], forge(16 | 2, 1, &[5]), vec![3, 19, 3]],
        ),
        (
            "strange_heads",
            vec![vec![0], forge(4, 1, &[5]), vec![3, 19, 3]],
        ),
        ("no_heads", vec![vec![0], forge(64, 1, &[]), vec![3, 19, 3]]),
        (
            "control",
            vec![vec![0, 12, 2, 0, 0], body(&[1, 2, 3]), vec![3, 19, 3]],
        ),
        (
            "other_kinds",
            vec![vec![
                0, 12, 3, 0, 1, 12, 4, 0, 1, 12, 5, 0, 1, 12, 7, 0, 1, 3, 19, 3,
            ]],
        ),
        ("inbox", vec![vec![0, 13], body(&[1, 0, 0]), vec![3]]),
        (
            "garbage",
            vec![
                vec![0, 14, 0, 0],
                body(&[1, 1, 9]),
                vec![14, 1, 1, 3, 50, 0, 8, 3],
            ],
        ),
        ("moved_record", vec![vec![0, 14, 0, 2, 7, 0, 0, 0, 3]]),
        (
            "write",
            vec![vec![15, 0, 9, 15, 2 | 96, 4, 15, 3, 0, 0, 3, 15, 19, 2, 3]],
        ),
        (
            "crash",
            vec![vec![
                15, 0, 9, 17, 0, 0, 6, 6, 4, 17, 2, 0, 3, 15, 3, 0, 17, 1, 0, 3,
            ]],
        ),
        ("twice", vec![vec![0, 7, 1, 7, 1, 7, 1, 7, 1, 3]]),
        ("late", vec![vec![0, 7, 2, 6, 7, 2, 6, 3, 1, 0, 3, 2, 9, 9]]),
        (
            "link",
            vec![
                vec![0, 16, 2],
                body(b""),
                vec![3, 16, 3],
                body(b"123456"),
                vec![16, 4],
                body(b""),
                vec![3],
            ],
        ),
        ("contact", vec![vec![0, 16, 0], body(b"friend"), vec![3]]),
        ("create", vec![vec![0, 16, 6], body(b"yard"), vec![2, 3]]),
        ("close", vec![vec![0, 3, 16, 8], body(b""), vec![3, 17, 3]]),
    ];
    list.into_iter()
        .map(|(name, steps)| Seed::new(name, steps.concat()))
        .collect()
}
