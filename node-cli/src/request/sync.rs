//! What `sheaf sync` is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use super::seconds;
use crate::arguments::SyncVerb;
use crate::exit::Failure;

/// One of the verbs of `sheaf sync`.
#[derive(Debug)]
pub(crate) enum SyncRequest {
    Now {
        timeout: Duration,
    },
    Barrier {
        everywhere: bool,
        timeout: Duration,
    },
    Export {
        file: PathBuf,
        device: String,
        conversations: Vec<String>,
    },
    Import {
        file: PathBuf,
    },
    History {
        limit: usize,
    },
    Resync {
        conversations: Vec<String>,
        devices: Vec<String>,
        full: bool,
        timeout: Duration,
    },
}

/// # Errors
/// A usage failure for a time that is out of range.
pub(super) fn sync(verb: SyncVerb) -> Result<SyncRequest, Failure> {
    Ok(match verb {
        SyncVerb::Now { timeout } => SyncRequest::Now {
            timeout: seconds("--timeout", timeout)?,
        },
        SyncVerb::Barrier {
            everywhere,
            timeout,
        } => SyncRequest::Barrier {
            everywhere,
            timeout: seconds("--timeout", timeout)?,
        },
        SyncVerb::Export {
            file,
            device,
            conversation,
        } => SyncRequest::Export {
            file,
            device,
            conversations: conversation,
        },
        SyncVerb::Import { file } => SyncRequest::Import { file },
        SyncVerb::History { limit } => SyncRequest::History { limit },
        SyncVerb::Resync {
            conversation,
            device,
            full,
            timeout,
        } => SyncRequest::Resync {
            conversations: conversation,
            devices: device,
            full,
            timeout: seconds("--timeout", timeout)?,
        },
    })
}
