//! How far this device has come with what it is to have, for people and for programs.

use std::io::IsTerminal;

use indicatif::ProgressBar;
use serde::Serialize;
use sheaf_engine::{Count, Event, Progress, ProgressReason, ProgressStage};

use crate::exit::Failure;
use crate::output::Printer;

/// A number, and of how many; null while nobody knows.
#[derive(Serialize)]
struct ShownCount {
    done: u64,
    of: Option<u64>,
}

/// Progress as an object.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'static str>,
    stage: &'static str,
    conversations: ShownCount,
    recent: ShownCount,
    segments: ShownCount,
    messages: ShownCount,
    items: ShownCount,
    records: ShownCount,
    connected: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'static str>,
}

/// Where objects go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// They are what the command is for.
    Output,
    /// They are said while the command works.
    Words,
}

/// Shows progress: a bar at a terminal, else a line at each stage; with JSON a line for each event.
pub(super) struct Meter {
    printer: Printer,
    lines: Lines,
    bar: Option<ProgressBar>,
    /// What was shown last, while it is not done.
    last: Option<ProgressStage>,
}

impl From<Count> for ShownCount {
    fn from(count: Count) -> Self {
        Self {
            done: count.done,
            of: count.of,
        }
    }
}

impl From<Progress> for Shown {
    fn from(progress: Progress) -> Self {
        Self {
            event: None,
            stage: progress.stage.name(),
            conversations: progress.conversations.into(),
            recent: progress.recent.into(),
            segments: progress.segments.into(),
            messages: progress.messages.into(),
            items: progress.items.into(),
            records: progress.records.into(),
            connected: progress.connected,
            because: progress.because.map(ProgressReason::name),
        }
    }
}

impl Meter {
    pub(super) fn new(printer: Printer, lines: Lines) -> Self {
        Self {
            printer,
            lines,
            bar: None,
            last: None,
        }
    }

    /// Shows an event if it is one of progress.
    pub(super) fn heed(&mut self, event: &Event) -> Result<(), Failure> {
        if let Event::Progress(progress) = event {
            return self.show(*progress);
        }
        Ok(())
    }

    /// Shows where it stands at the end of a command, if anything was shown and that is not it.
    pub(super) fn end(&mut self, progress: Progress) -> Result<(), Failure> {
        if self.last.is_some() {
            self.show(progress)?;
        }
        self.clear();
        Ok(())
    }

    /// Takes the bar away, so that something else can be said.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn show(&mut self, progress: Progress) -> Result<(), Failure> {
        let before = self.last;
        self.last = (progress.stage != ProgressStage::Done).then_some(progress.stage);
        if self.printer.is_json() {
            return self.line(progress);
        }
        if std::io::stderr().is_terminal() {
            self.draw(&progress);
        } else if before != Some(progress.stage) {
            self.printer.say(&words(&progress));
        }
        Ok(())
    }

    fn line(&self, progress: Progress) -> Result<(), Failure> {
        let shown = Shown {
            event: Some("progress"),
            ..Shown::from(progress)
        };
        if self.lines == Lines::Output {
            return self.printer.show(&shown, |_| String::new());
        }
        let line = serde_json::to_string(&shown).map_err(std::io::Error::from)?;
        self.printer.say(&line);
        Ok(())
    }

    fn draw(&mut self, progress: &Progress) {
        if progress.stage == ProgressStage::Done {
            self.clear();
            return self.printer.say(&words(progress));
        }
        let (what, count) = measure(progress);
        let printer = self.printer;
        let bar = self.bar.get_or_insert_with(|| printer.progress(0, what));
        bar.set_message(what);
        match count.of {
            Some(of) => bar.set_length(of),
            None => bar.unset_length(),
        }
        bar.set_position(count.done);
    }
}

/// What a bar measures in a stage.
fn measure(progress: &Progress) -> (&'static str, Count) {
    match progress.stage {
        ProgressStage::Conversations => ("conversations", progress.conversations),
        ProgressStage::Recent if progress.items.of.is_some() => ("from the relay", progress.items),
        ProgressStage::Recent if is_reading(progress) => ("from the relay", progress.records),
        ProgressStage::Recent => ("newest messages", progress.recent),
        ProgressStage::History if progress.messages.of.is_some() => {
            ("older messages", progress.messages)
        }
        ProgressStage::History | ProgressStage::Done | _ => ("older messages", progress.records),
    }
}

fn is_reading(progress: &Progress) -> bool {
    let of = progress.records.of;
    of.is_none_or(|of| progress.records.done < of)
}

/// What is still to come, in words.
pub(super) fn coming(progress: &Progress) -> Option<String> {
    (progress.stage != ProgressStage::Done).then(|| words(progress))
}

pub(super) fn words(progress: &Progress) -> String {
    let of = |count: Count| match count.of {
        Some(of) => format!("{} of {of}", count.done),
        None => count.done.to_string(),
    };
    let what = match progress.stage {
        ProgressStage::Conversations => {
            format!("{} conversations are here", of(progress.conversations))
        }
        ProgressStage::Recent => format!(
            "the newest messages of {} conversations are here",
            of(progress.recent)
        ),
        ProgressStage::History => format!(
            "the newest messages are here; older ones come: {} messages, {} segments",
            of(progress.messages),
            of(progress.segments)
        ),
        ProgressStage::Done | _ => format!("all {} messages are here", progress.messages.done),
    };
    let before = match progress.because {
        Some(ProgressReason::Resumed) => "going on where it stopped: ",
        _ => "",
    };
    let offline = if progress.connected {
        ""
    } else {
        " (no connection)"
    };
    format!("{before}{what}{offline}")
}
