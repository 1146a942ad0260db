//! `sheaf relay`.

use std::path::PathBuf;

use clap::Subcommand;
use sheaf_protocol::RelayAddress;

/// `sheaf relay`.
#[derive(Debug, Subcommand)]
pub(crate) enum RelayVerb {
    /// Use one more relay, and wait until it has all that this device wrote
    Add {
        /// Its address, sheaf://HOST:PORT/#KEY
        url: RelayAddress,
        /// Give up waiting after so many seconds; the rest follows at the next connection
        #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
        timeout: f64,
    },
    /// Use a relay no longer, once the others have all that this device wrote
    Remove {
        /// Its address, or the key in it
        url: String,
        /// Without making sure that another relay has everything
        #[arg(long)]
        force: bool,
        /// Give up after so many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
        timeout: f64,
    },
    /// Show the relays in use and how each stands
    List {
        /// Wait so many seconds for each; 0 does not connect
        #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
        wait: f64,
    },
    /// Measure how long a relay takes to say hello
    Ping {
        /// Only this one [default: all in use]
        url: Option<RelayAddress>,
    },
    /// Show proof that a relay contradicted itself, where there is some
    Evidence {
        /// Write the pieces to this new file, for others to check
        #[arg(long, value_name = "FILE")]
        export: Option<PathBuf>,
    },
    /// Check pieces of evidence in a file; needs no store and no connection
    Verify {
        /// The file, as `sheaf relay evidence --export` writes it
        file: PathBuf,
    },
}
