//! Replays the committed fuzz corpus, `fuzz/corpus/<target>/*`.
//!
//! `SHEAF_WRITE_CORPUS=1` writes the seeds of every target into it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at a broken expectation"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use sheaf_fuzzing::{REPLICA_INPUTS, TARGETS, Target};

const CORPUS_BYTES_MAX: u64 = 1024 * 1024;

/// Panics of our own code, those that were caught included.
static OWN_PANICS: AtomicUsize = AtomicUsize::new(0);

/// Automerge may panic inside the gate, which catches it; our own code may not, caught or not.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if sheaf_fuzzing::is_own(info) {
                OWN_PANICS.fetch_add(1, Ordering::SeqCst);
                before(info);
            }
        }));
    });
}

fn folder(target: &Target) -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.join("../../fuzz/corpus").join(target.name)
}

fn inputs(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let mut inputs: Vec<_> = std::fs::read_dir(folder(target))
        .unwrap_or_else(|error| panic!("{}: {error}", folder(target).display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "no corpus of {}", target.name);
    inputs
}

fn replay(target: &Target) {
    watch_panics();
    for (path, input) in inputs(target) {
        let own = OWN_PANICS.load(Ordering::SeqCst);
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        assert!(outcome.is_ok(), "{}", path.display());
        let now = OWN_PANICS.load(Ordering::SeqCst);
        assert_eq!(own, now, "caught, yet our own: {}", path.display());
    }
}

#[test]
fn decoders_take_the_corpus_without_harm() {
    if std::env::var_os("SHEAF_WRITE_CORPUS").is_some() {
        TARGETS.iter().chain([&REPLICA_INPUTS]).for_each(write);
    }
    TARGETS.iter().for_each(replay);
    replay(&REPLICA_INPUTS);
}

fn write(target: &Target) {
    std::fs::create_dir_all(folder(target)).unwrap();
    for seed in (target.seeds)() {
        let path = folder(target).join(format!("seed_{}", seed.name));
        std::fs::write(path, seed.bytes).unwrap();
    }
}

/// A corpus whose seeds are refused at the door tests nothing: formats have changed since.
#[test]
fn seeds_are_still_taken() {
    for target in TARGETS.iter().chain([&REPLICA_INPUTS]) {
        for seed in (target.seeds)() {
            assert!((target.run)(&seed.bytes), "{}: {}", target.name, seed.name);
        }
    }
}

#[test]
fn the_corpus_is_small() {
    let mut bytes = 0;
    for target in TARGETS.iter().chain([&REPLICA_INPUTS]) {
        for (_, input) in inputs(target) {
            bytes += input.len() as u64;
        }
    }
    assert!(bytes <= CORPUS_BYTES_MAX, "{bytes} bytes of corpus");
}
