//! `sheaf relay`, worked out.

use std::path::PathBuf;
use std::time::Duration;

use sheaf_protocol::RelayAddress;

use super::seconds;
use crate::arguments::RelayVerb;
use crate::exit::Failure;

/// What is to be done about relays.
#[derive(Debug)]
pub(crate) enum RelayRequest {
    Add {
        relay: RelayAddress,
        timeout: Duration,
    },
    Remove {
        relay: String,
        force: bool,
        timeout: Duration,
    },
    List {
        wait: Duration,
    },
    Ping {
        relay: Option<RelayAddress>,
    },
    Evidence {
        export: Option<PathBuf>,
    },
    Verify {
        file: PathBuf,
    },
}

pub(super) fn relay(verb: RelayVerb) -> Result<RelayRequest, Failure> {
    Ok(match verb {
        RelayVerb::Add { url, timeout } => RelayRequest::Add {
            relay: url,
            timeout: seconds("--timeout", timeout)?,
        },
        RelayVerb::Remove {
            url,
            force,
            timeout,
        } => RelayRequest::Remove {
            relay: url,
            force,
            timeout: seconds("--timeout", timeout)?,
        },
        RelayVerb::List { wait } => RelayRequest::List {
            wait: seconds("--wait", wait)?,
        },
        RelayVerb::Ping { url } => RelayRequest::Ping { relay: url },
        RelayVerb::Evidence { export } => RelayRequest::Evidence { export },
        RelayVerb::Verify { file } => RelayRequest::Verify { file },
    })
}
