//! Data on standard output, words on standard error.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::exit::Failure;

/// How results are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    json: bool,
    quiet: bool,
}

impl Printer {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints one result at once: an object on a line of its own, or text for people.
    ///
    /// # Errors
    /// What standard output says; a closed pipe is success.
    pub(crate) fn show<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let line = if self.json {
            serde_json::to_string(value).map_err(std::io::Error::from)?
        } else {
            text(value)
        };
        self.raw(&line)
    }

    /// Prints a list: one object a line, or text for people.
    ///
    /// # Errors
    /// What standard output says; a closed pipe is success.
    pub(crate) fn list<T: Serialize>(
        self,
        values: &[T],
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), Failure> {
        if !self.json {
            return self.raw(&text(values));
        }
        let mut stdout = std::io::stdout().lock();
        for value in values {
            let line = serde_json::to_string(value).map_err(std::io::Error::from)?;
            writeln!(stdout, "{line}")?;
        }
        stdout.flush()?;
        Ok(())
    }

    /// Prints a line as it is.
    ///
    /// # Errors
    /// What standard output says; a closed pipe is success.
    pub(crate) fn raw(self, line: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.flush()?;
        Ok(())
    }

    /// Says something to the person at the terminal, unless asked to be quiet.
    pub(crate) fn say(self, words: &str) {
        if !self.quiet {
            say(words);
        }
    }

    /// Where progress is drawn: standard error, if it is a terminal and quiet was not asked for.
    pub(crate) fn progress_target(self) -> ProgressDrawTarget {
        if self.quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        }
    }

    /// A progress bar on standard error; hidden where that is no terminal.
    pub(crate) fn progress(self, length: u64, what: &'static str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(length), self.progress_target());
        let template = "{msg:<18} {wide_bar} {human_pos:>9}/{human_len} {elapsed:>4}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.with_message(what)
    }
}

/// Says something on standard error. Nobody is left to tell when that is gone.
pub(crate) fn say(words: &str) {
    let _closed = writeln!(std::io::stderr().lock(), "{words}");
}

/// Whether standard error may be coloured.
pub(crate) fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// Lines up columns, the last one ragged.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        line.trim_end().to_owned()
    };
    let mut lines = vec![line(&mut head.iter().copied())];
    lines.extend(
        rows.iter()
            .map(|row| line(&mut row.iter().map(String::as_str))),
    );
    lines.join("\n")
}

/// Text for a terminal: control characters of others cannot move the cursor or change colours.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' => ' ',
            control if control.is_control() => '\u{fffd}',
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests;
