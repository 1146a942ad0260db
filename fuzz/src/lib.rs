//! What the targets share. Their bodies are in `tests/fuzzing`, so that `cargo test` replays the
//! committed corpus through the same functions.

pub use sheaf_fuzzing::{abort_at_own_panics, named};

/// One target under libFuzzer.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(
            init: $crate::abort_at_own_panics(),
            |bytes: &[u8]| {
                let _taken = ($crate::named($name).run)(bytes);
            }
        );
    };
}
