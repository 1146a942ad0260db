//! `sheaf sync`.

use std::path::PathBuf;

use clap::Subcommand;

/// `sheaf sync`.
#[derive(Debug, Subcommand)]
pub(crate) enum SyncVerb {
    /// Connect, push and pull until nothing is left
    Now {
        /// Give up after so many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
        timeout: f64,
    },
    /// Wait until what was written here is durable at the relay
    Barrier {
        /// Wait until every device that takes part has it, too
        #[arg(long)]
        everywhere: bool,
        /// Give up after so many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
        timeout: f64,
    },
    /// Write what a device lacks to a file that only it can read
    Export {
        /// The file
        file: PathBuf,
        /// The device that it is for: one of theirs or yours
        #[arg(long, value_name = "DEVICE")]
        device: String,
        /// Only this conversation (may be repeated) [default: all that the device takes part in]
        #[arg(long, value_name = "CONVERSATION")]
        conversation: Vec<String>,
    },
    /// Take in a file that another device wrote for this one
    Import {
        /// The file
        file: PathBuf,
    },
    /// Show what each connection, and each file, brought and took
    History {
        /// At most so many, the newest
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Ask other devices what they have; fetch what is missing here, send what is missing there
    Resync {
        /// Only this conversation (may be repeated) [default: all]
        #[arg(long, value_name = "CONVERSATION")]
        conversation: Vec<String>,
        /// Only this device of theirs or yours (may be repeated) [default: all that take part]
        #[arg(long, value_name = "DEVICE")]
        device: Vec<String>,
        /// Compare the documents themselves, too
        #[arg(long)]
        full: bool,
        /// Wait so many seconds for the answers
        #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
        timeout: f64,
    },
}
