//! What was typed.

mod conversation;
mod relay;
mod sync;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use sheaf_protocol::RelayAddress;

pub(crate) use conversation::{
    AnyRole, ConversationVerb, EpochVerb, HistoryArgument, MemberVerb, RoleName,
};
pub(crate) use relay::RelayVerb;
pub(crate) use sync::SyncVerb;

/// Conversations that belong to their members: end-to-end encrypted, on every device, offline too.
///
/// Data goes to standard output, words to standard error. The passphrase comes from --key-file,
/// --passphrase-file, SHEAF_PASSPHRASE, the platform's keyring where `init --keyring` put the key, or
/// a prompt, in this order.
#[derive(Debug, Parser)]
#[command(
    name = "sheaf",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct GlobalArguments {
    /// Directory of this device's state [default: the platform's data directory]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) home: Option<PathBuf>,
    /// Relay to use, sheaf://HOST:PORT/#KEY (may be repeated); remembered in the home
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) relay: Vec<RelayAddress>,
    /// Print JSON: one object, or one object a line for lists
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// File whose first line is the passphrase
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "key_file")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// File of a 32-byte key used instead of a passphrase; made by init and join if missing
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) key_file: Option<PathBuf>,
    /// Name of a key in the platform's keyring, as config.json has it: for a backup, or another home
    #[arg(long, value_name = "NAME", global = true, conflicts_with_all = ["key_file", "passphrase_file"])]
    pub(crate) keyring_key: Option<String>,
    /// Say more on standard error; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

/// First word of a command.
#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
    /// Create an account with this device as its first
    Init(InitArguments),
    /// Show the card that other people need to invite you
    Card,
    /// Your account as a whole
    #[command(subcommand, arg_required_else_help = true)]
    Account(AccountVerb),
    /// People you know
    #[command(subcommand, arg_required_else_help = true)]
    Contact(ContactVerb),
    /// Your own devices
    #[command(subcommand, arg_required_else_help = true)]
    Device(DeviceVerb),
    /// Conversations and their members
    #[command(subcommand, arg_required_else_help = true)]
    Conversation(ConversationVerb),
    /// Epochs of a conversation: the secrets it is sealed with
    #[command(subcommand, arg_required_else_help = true)]
    Epoch(EpochVerb),
    /// Messages of a conversation
    #[command(subcommand, arg_required_else_help = true)]
    Message(MessageVerb),
    /// Exchange with the relay
    #[command(subcommand, arg_required_else_help = true)]
    Sync(SyncVerb),
    /// Relays in use: several at once, each with all that this device writes
    #[command(subcommand, arg_required_else_help = true)]
    Relay(RelayVerb),
    /// Stay connected and print what happens, until Ctrl-C
    Run(RunArguments),
    /// The encrypted store: backup, restoration, check
    #[command(subcommand, arg_required_else_help = true)]
    Store(StoreVerb),
    /// Show connection, pending changes, last sync and heads
    Status(StatusArguments),
    /// Say why something is not synced, and what to do
    Doctor {
        /// Wait so many seconds for the relay
        #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
        wait: f64,
    },
    /// Show what was noted about devices, contacts and misbehaviour
    Audit {
        /// Only what is not older: a time (RFC 3339) or a duration like 2h
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
    /// Show three devices and a relay at work on this machine
    Demo(DemoArguments),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for every command
    Man {
        /// Directory to write the pages of all commands to; made if missing
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// `sheaf init`.
#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// Your name, as others see it
    #[arg(long, value_name = "NAME")]
    pub(crate) user: String,
    /// This device's name
    #[arg(long, value_name = "NAME")]
    pub(crate) device: String,
    /// Keep the store's key in the platform's keyring: nothing is asked for at opening
    #[arg(long)]
    pub(crate) keyring: bool,
}

/// `sheaf run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Close the store after so many seconds in which nothing happened, and ask for the passphrase
    #[arg(long, value_name = "SECONDS")]
    pub(crate) lock_after: Option<f64>,
}

/// `sheaf account`.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountVerb {
    /// Become a new device of an account whose other devices are lost, by the recovery phrase: from
    /// the vault on the relay, or with the account's card from what contacts have
    Recover {
        /// File whose first line is the phrase; it is read from standard input otherwise
        #[arg(long, value_name = "FILE")]
        phrase_file: Option<PathBuf>,
        /// The account's own card, as any contact has it; no vault is needed then
        #[arg(long)]
        card: Option<String>,
        /// This device's name
        #[arg(long, value_name = "NAME")]
        device: String,
        /// Revoke every other device of the account
        #[arg(long)]
        yes: bool,
    },
    /// Whether a vault of the account is kept on the relay
    #[command(subcommand)]
    Vault(VaultVerb),
    /// Replace the recovery phrase; the new one is shown once
    RotatePhrase {
        /// File with the present phrase
        #[arg(long, value_name = "FILE")]
        phrase_file: PathBuf,
    },
    /// Change the passphrase or key file; both are read in the order of the present ones
    Passphrase {
        /// File whose first line is the new passphrase
        #[arg(long, value_name = "FILE", conflicts_with = "new_key_file")]
        new_passphrase_file: Option<PathBuf>,
        /// File of the new 32-byte key; made if missing
        #[arg(long, value_name = "FILE")]
        new_key_file: Option<PathBuf>,
        /// Keep a new key in the platform's keyring
        #[arg(long, conflicts_with_all = ["new_key_file", "new_passphrase_file"])]
        new_keyring: bool,
    },
}

/// `sheaf account vault`.
#[derive(Debug, Subcommand)]
pub(crate) enum VaultVerb {
    /// Keep a vault: the recovery phrase alone brings the account back
    On {
        /// File whose first line is the phrase, for a device that does not have the vault's key
        #[arg(long, value_name = "FILE")]
        phrase_file: Option<PathBuf>,
    },
    /// Put an empty vault in its place and keep none
    Off,
    /// Show whether one is kept, and how old it is
    Status,
}

/// `sheaf store`.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreVerb {
    /// Write everything to one encrypted file, which the same passphrase or key file opens
    Backup {
        /// The file
        file: PathBuf,
        /// Replace a file of this name
        #[arg(long)]
        force: bool,
    },
    /// Make the store of a home without one from a backup; the lost device must not write any more
    Restore {
        /// The file
        file: PathBuf,
    },
    /// Open every record and say what is damaged
    Check {
        /// Remove damaged records that are derived again or fetched from other devices
        #[arg(long)]
        repair: bool,
    },
    /// Say how much room every conversation takes, and what dropping old segments can free
    Stats,
}

/// `sheaf contact`.
#[derive(Debug, Subcommand)]
pub(crate) enum ContactVerb {
    /// Add a person by card
    Add {
        /// The card, or "-" to read it from standard input
        card: String,
        /// A name to use instead of the card's
        #[arg(long)]
        name: Option<String>,
    },
    /// List the people you know
    List,
    /// Show the sixty digits to compare with a contact's
    Verify {
        /// The contact, by id or name
        user: String,
        /// The digits are the same on the contact's side: mark as verified
        #[arg(long)]
        confirm: bool,
        /// Take it back: not verified any more
        #[arg(long, conflicts_with = "confirm")]
        withdraw: bool,
    },
    /// Refuse a contact's invites
    Block {
        /// The contact, by id or name
        user: String,
    },
    /// Take a contact's invites again
    Unblock {
        /// The contact, by id or name
        user: String,
    },
}

/// `sheaf device`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceVerb {
    /// Show a link code, then approve the new device by its six digits
    Link {
        /// Give up after so many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        timeout: u64,
    },
    /// Make this device part of the account that shows CODE
    Join {
        /// The code that the existing device shows
        code: String,
        /// This device's name
        #[arg(long, value_name = "NAME")]
        device: String,
        /// Give up after so many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        timeout: u64,
    },
    /// List your devices
    List,
    /// Give a device another name
    Rename {
        /// Id, beginning of an id, or name
        device: String,
        /// The new name
        name: String,
    },
    /// Emergency brake: the device gets no new secret, and what it writes waits
    Freeze {
        /// Id, beginning of an id, or name
        device: String,
    },
    /// Take a freeze back
    Thaw {
        /// Id, beginning of an id, or name
        device: String,
        /// File with the recovery phrase, where no device is senior enough
        #[arg(long, value_name = "FILE")]
        phrase_file: Option<PathBuf>,
    },
    /// End a device for good: out of the account and of every conversation, each under a new key
    Revoke {
        /// Id, beginning of an id, or name
        device: String,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
    /// Show what a device had, and who knows that it is out
    Report {
        /// Id, beginning of an id, or name
        device: String,
    },
    /// Make a device the primary one, or pass that on
    #[command(group(clap::ArgGroup::new("to").required(true)))]
    Handover {
        /// Id, beginning of an id, or name
        #[arg(group = "to")]
        device: Option<String>,
        /// This device is about to be away: the next one is primary
        #[arg(long, group = "to")]
        unavailable: bool,
        /// This device does not want to be primary
        #[arg(long, group = "to")]
        decline: bool,
    },
    /// Devices whose content is kept back because they misbehaved
    #[command(subcommand, arg_required_else_help = true)]
    Quarantine(QuarantineVerb),
}

/// `sheaf device quarantine`.
#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineVerb {
    /// List devices in quarantine, why and until when
    List,
    /// It was a false alarm: take in what was kept back, and forget what was counted
    Lift {
        /// Id or beginning of an id
        device: String,
    },
}

/// `sheaf message`.
#[derive(Debug, Subcommand)]
pub(crate) enum MessageVerb {
    /// Send one message; durable here before anything is printed
    Send {
        /// Id, beginning of an id, or name
        conversation: String,
        /// The text
        text: String,
        /// Sending again with the same token gives the first message back
        #[arg(long)]
        token: Option<String>,
        /// The message answered
        #[arg(long, value_name = "MESSAGE")]
        reply_to: Option<String>,
        /// Wait so many seconds for the relay's receipt
        #[arg(long, value_name = "SECONDS", default_value_t = 1.5)]
        wait: f64,
    },
    /// List messages in order of time; the newest by default
    List {
        /// Id, beginning of an id, or name
        conversation: String,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 50)]
        limit: usize,
        /// Only messages before this one; the latest of them
        #[arg(long, value_name = "CURSOR", conflicts_with = "after")]
        before: Option<String>,
        /// Only messages after this one; the earliest of them
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
        /// Fetch messages of the page that are not on this device from another one
        #[arg(long)]
        fetch: bool,
        /// Wait so many seconds for other devices to give them
        #[arg(
            long,
            value_name = "SECONDS",
            default_value_t = 30.0,
            requires = "fetch"
        )]
        timeout: f64,
    },
    /// Import messages from a file of JSON lines, plain or .gz
    Import {
        /// Id, beginning of an id, or name
        conversation: String,
        /// The file
        file: PathBuf,
    },
}

/// `sheaf status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Wait so many seconds for the relay; 0 does not connect
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub(crate) wait: f64,
}

/// `sheaf demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Conversations to play, as JSON lines, plain or .gz [default: a built-in one]
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// Play at most so many conversations of the file
    #[arg(long, value_name = "COUNT")]
    pub(crate) conversations: Option<usize>,
    /// Play at most so many messages in all
    #[arg(long, value_name = "COUNT")]
    pub(crate) messages: Option<usize>,
}
