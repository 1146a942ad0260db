//! Replays the committed fuzz corpus, `fuzz/corpus/<target>/*`.
//!
//! `SHEAF_WRITE_CORPUS=1` writes the seeds of every target into it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at a broken expectation"
)]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

use sheaf_fuzzing::{REPLICA_INPUTS, TARGETS, Target};

const CORPUS_BYTES_MAX: u64 = 1024 * 1024;

thread_local! {
    /// Panics of our own code in this test, those that were caught included.
    static OWN_PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Automerge may panic inside the gate, which catches it; our own code may not, caught or not.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if sheaf_fuzzing::is_own(info) {
                OWN_PANICS.set(OWN_PANICS.get() + 1);
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

/// Whether nothing of our own panicked, caught or not, and nothing of anybody's came through.
fn is_harmless(target: &Target, input: &[u8]) -> bool {
    let own = OWN_PANICS.get();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    outcome.is_ok() && OWN_PANICS.get() == own
}

fn replay(target: &Target) {
    watch_panics();
    for (path, input) in inputs(target) {
        assert!(is_harmless(target, &input), "{}", path.display());
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

/// A fuzzer without feedback, for where no other is installed. `SHEAF_FUZZ_MUTANTS` sets how many
/// mutants each target gets, `SHEAF_FUZZ_TARGET` names the only one.
#[test]
fn mutants_of_the_corpus_do_no_harm() {
    watch_panics();
    let setting = |name| std::env::var(name).ok();
    let wanted = setting("SHEAF_FUZZ_MUTANTS").and_then(|count| count.parse().ok());
    let only = setting("SHEAF_FUZZ_TARGET");
    for target in TARGETS.iter().chain([&REPLICA_INPUTS]) {
        if only.as_ref().is_some_and(|only| only != target.name) {
            continue;
        }
        let inputs = inputs(target);
        let mut dice = Dice(0x5eaf_0003);
        for number in 0..wanted.unwrap_or(200_u32) {
            let mut input = inputs[dice.below(inputs.len())].1.clone();
            let other = &inputs[dice.below(inputs.len())].1;
            dice.mutate(&mut input, other);
            let harmless = is_harmless(target, &input);
            assert!(harmless, "{} mutant {number}: {input:02x?}", target.name);
        }
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }

    /// One to four places set, flipped, removed, added or taken from another input.
    fn mutate(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(input.len());
            let value = self.byte();
            match self.below(7) {
                0 => input.insert(at, value),
                1 => {
                    let from = self.below(other.len());
                    let until = (from + self.below(40)).min(other.len());
                    input.splice(at..at, other[from..until].iter().copied());
                }
                2 => input.truncate(at.max(1)),
                _ if input.is_empty() => input.push(value),
                3 => drop(input.remove(at)),
                4 => input[at] ^= 1 << self.below(8),
                5 => input[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                _ => input[at] = value,
            }
        }
    }
}
