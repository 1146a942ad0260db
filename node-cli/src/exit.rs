//! How a command ends: exit codes, and errors that say what failed and what to do.

use std::fmt;
use std::process::ExitCode;

/// Exit codes; docs/CLI.md lists them and other programs rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Partial = 3,
    NoStore = 10,
    StoreInUse = 11,
    WrongPassphrase = 12,
    RelayUnreachable = 13,
    NotApproved = 14,
    Integrity = 15,
    Locked = 16,
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Why a command did not do all that was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    what: String,
    advice: Option<String>,
}

impl Failure {
    /// What failed; not yet what to do about it.
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self {
            code,
            what: what.into(),
            advice: None,
        }
    }

    /// A failure without a code of its own.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::new(Code::Failed, what)
    }

    /// What was typed makes no sense.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Code::Usage, what)
    }

    /// What to do about it.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The reader of standard output is gone: success, and nothing more to say.
    fn pipe_closed() -> Self {
        Self::new(Code::Done, "")
    }

    /// What failed, in words.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// Nothing needs to be said.
    pub(crate) fn is_silent(&self) -> bool {
        self.what.is_empty()
    }

    /// Words that were said already; only the code counts.
    pub(crate) fn silent(code: Code) -> Self {
        Self::new(code, "")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.advice {
            Some(advice) => write!(f, "\n  {advice}"),
            None => Ok(()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::pipe_closed()
        } else {
            Self::failed(format!("input or output failed: {error}"))
        }
    }
}

#[cfg(test)]
mod tests;
