//! A bar for every device: messages that it holds.

use indicatif::{MultiProgress, ProgressBar};

use super::player::COUNT;
use crate::output::Printer;

/// The bars, and words that stand above them.
#[derive(Debug)]
pub(super) struct Bars {
    printer: Printer,
    group: MultiProgress,
    all: [ProgressBar; COUNT],
}

impl Bars {
    pub(super) fn new(printer: Printer, lines: usize) -> Self {
        let group = MultiProgress::with_draw_target(printer.progress_target());
        let length = u64::try_from(lines).unwrap_or(u64::MAX);
        let names = ["on alice's laptop", "on alice's phone", "on bob's laptop"];
        let all = names.map(|name| group.add(printer.progress(length, name)));
        Self {
            printer,
            group,
            all,
        }
    }

    /// The bars, in the order of the devices.
    pub(super) fn all(&self) -> [ProgressBar; COUNT] {
        self.all.clone()
    }

    /// Says something without tearing the bars apart.
    pub(super) fn say(&self, words: &str) {
        self.group.suspend(|| self.printer.say(words));
    }

    /// Takes the bars away.
    pub(super) fn finish(&self) {
        for bar in &self.all {
            bar.finish_and_clear();
        }
        if let Err(error) = self.group.clear() {
            tracing::debug!(%error, "the bars were not cleared");
        }
    }
}
