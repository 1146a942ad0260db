//! Verbs of conversations and their members.

use clap::Subcommand;

/// `sheaf conversation`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConversationVerb {
    /// Create a conversation
    Create {
        /// Its name
        name: String,
        /// Contact to invite at once, by id or name; may be repeated
        #[arg(long = "member", value_name = "USER", num_args = 1..)]
        members: Vec<String>,
        /// What people who are added later may read
        #[arg(long, value_enum, default_value = "full")]
        history: HistoryArgument,
    },
    /// Cut the history: keys of what is written from now on open nothing from before
    Cut {
        /// Id, beginning of an id, or name
        conversation: String,
        /// Have every device erase the keys of what came before, once all have acknowledged it
        #[arg(long)]
        forget: bool,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
    /// Keep so much of a conversation on this device; older segments are dropped here once every
    /// device has them, and can be fetched again
    #[command(group = clap::ArgGroup::new("much").required(true))]
    Keep {
        /// Id, beginning of an id, or name
        conversation: String,
        /// At least so many of the newest messages
        #[arg(long, value_name = "COUNT", group = "much", value_parser = clap::value_parser!(u32).range(1..))]
        messages: Option<u32>,
        /// At least what is younger than so many months of 30 days
        #[arg(long, value_name = "COUNT", group = "much", value_parser = clap::value_parser!(u32).range(1..))]
        months: Option<u32>,
        /// Everything
        #[arg(long, group = "much")]
        all: bool,
    },
    /// List the conversations on this device
    List,
    /// Show members, epochs and what is missing
    Show {
        /// Id, beginning of an id, or name
        conversation: String,
    },
    /// Show the document heads of every segment
    Heads {
        /// Id, beginning of an id, or name
        conversation: String,
    },
    /// Members of a conversation
    #[command(subcommand, arg_required_else_help = true)]
    Member(MemberVerb),
    /// Give a conversation another name
    Rename {
        /// Id, beginning of an id, or name
        conversation: String,
        /// The new name
        name: String,
    },
    /// End your own membership
    Leave {
        /// Id, beginning of an id, or name
        conversation: String,
        /// Do it
        #[arg(long)]
        yes: bool,
    },
}

/// What newcomers may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum HistoryArgument {
    /// Everything
    Full,
    /// What is written after they were added
    SinceJoin,
}

/// `sheaf epoch`.
#[derive(Debug, Subcommand)]
pub(crate) enum EpochVerb {
    /// List the epochs
    List {
        /// Id, beginning of an id, or name
        conversation: String,
    },
    /// Draw a new epoch for all member devices
    Rotate {
        /// Id, beginning of an id, or name
        conversation: String,
    },
}

/// `sheaf conversation member`.
#[derive(Debug, Subcommand)]
pub(crate) enum MemberVerb {
    /// Add a contact
    Add {
        /// Id, beginning of an id, or name
        conversation: String,
        /// The contact, by id or name
        user: String,
        /// What the person may do
        #[arg(long, value_enum, default_value_t = RoleName::Writer)]
        role: RoleName,
    },
    /// List the members
    List {
        /// Id, beginning of an id, or name
        conversation: String,
    },
    /// Remove a member, who loses every key to come
    Remove {
        /// Id, beginning of an id, or name
        conversation: String,
        /// The member, by id or name
        user: String,
    },
    /// Give a member another role
    Role {
        /// Id, beginning of an id, or name
        conversation: String,
        /// The member, by id or name
        user: String,
        /// The new role
        #[arg(value_enum)]
        role: AnyRole,
        /// Make somebody the owner, which ends your own membership
        #[arg(long)]
        yes: bool,
    },
}

/// A member's role, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RoleName {
    /// Reads
    Reader,
    /// Reads and writes
    Writer,
    /// Also adds members
    Admin,
}

/// A role that a member can be given, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum AnyRole {
    /// Reads
    Reader,
    /// Reads and writes
    Writer,
    /// Also adds and removes members
    Admin,
    /// Stands above everybody; there is one
    Owner,
}
