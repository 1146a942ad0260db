//! sled panics on some damaged files. Here that is an error, and nothing of it is printed.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// sled gave up on its files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its files contradict each other ({0})")]
pub(super) struct Broken(String);

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs what touches sled.
///
/// Nothing of ours is changed inside, and after a panic the store is not used again: so it does not
/// matter what state it is left in.
pub(super) fn guarded<T>(touch: impl FnOnce() -> T) -> Result<T, Broken> {
    quieten();
    let outer = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(touch));
    GUARDED.set(outer);
    done.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Broken(text.unwrap_or("no reason given").to_owned())
    })
}

/// Keeps guarded panics off standard error; all others are reported as before.
fn quieten() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if GUARDED.get() {
                tracing::debug!(%panic, "the store's library panicked");
            } else {
                before(panic);
            }
        }));
    });
}
