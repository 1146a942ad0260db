//! What was meant by what was typed.

use std::path::PathBuf;
use std::time::Duration;

use sheaf_engine::{MessageId, Overwrite, Role};
use sheaf_protocol::RelayAddress;

use crate::arguments::{
    AccountVerb, Arguments, ContactVerb, ConversationVerb, DemoArguments, DeviceVerb,
    GlobalArguments, MemberVerb, MessageVerb, Noun, RoleName, RunArguments, StoreVerb, SyncVerb,
};
use crate::exit::Failure;
use crate::home::Home;
use crate::output::Printer;
use crate::secret::SecretSource;

/// Most messages that one listing shows.
const LIST_MAX: usize = 10_000;

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) home: Home,
    pub(crate) relay: Option<RelayAddress>,
    pub(crate) secret: SecretSource,
    pub(crate) printer: Printer,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Request {
    Init {
        user: String,
        device: String,
    },
    Card,
    AddContact {
        card: String,
        name: Option<String>,
    },
    ListContacts,
    LinkDevice {
        timeout: Duration,
    },
    JoinDevice {
        code: String,
        device: String,
        timeout: Duration,
    },
    ListDevices,
    CreateConversation {
        name: String,
        members: Vec<String>,
    },
    ListConversations,
    ShowConversation(String),
    ShowHeads(String),
    AddMember {
        conversation: String,
        user: String,
        role: Role,
    },
    ListMembers(String),
    Send(SendRequest),
    ListMessages(ListRequest),
    Import {
        conversation: String,
        file: PathBuf,
    },
    SyncNow {
        timeout: Duration,
    },
    Run {
        lock_after: Option<Duration>,
    },
    ChangeSecret(SecretSource),
    Backup {
        file: PathBuf,
        overwrite: Overwrite,
    },
    Restore {
        file: PathBuf,
    },
    CheckStore,
    Status {
        wait: Duration,
    },
    Demo(DemoArguments),
    Completions(clap_complete::Shell),
    Man,
}

/// One message to send.
#[derive(Debug)]
pub(crate) struct SendRequest {
    pub(crate) conversation: String,
    pub(crate) text: String,
    pub(crate) token: Option<String>,
    pub(crate) reply_to: Option<MessageId>,
    pub(crate) wait: Duration,
}

/// Messages to list.
#[derive(Debug)]
pub(crate) struct ListRequest {
    pub(crate) conversation: String,
    pub(crate) limit: usize,
    pub(crate) before: Option<MessageId>,
    pub(crate) after: Option<MessageId>,
}

impl Arguments {
    /// Works out settings and request.
    ///
    /// # Errors
    /// A usage failure for what cannot be meant.
    pub(crate) fn interpret(self) -> Result<(Settings, Request), Failure> {
        let settings = self.global.settings()?;
        Ok((settings, request(self.noun)?))
    }
}

impl GlobalArguments {
    fn settings(self) -> Result<Settings, Failure> {
        Ok(Settings {
            home: Home::locate(self.home)?,
            relay: self.relay,
            secret: SecretSource::new(self.key_file, self.passphrase_file),
            printer: Printer::new(self.json, self.quiet),
        })
    }
}

fn request(noun: Noun) -> Result<Request, Failure> {
    Ok(match noun {
        Noun::Init(init) => Request::Init {
            user: init.user,
            device: init.device,
        },
        Noun::Card => Request::Card,
        Noun::Contact(ContactVerb::Add { card, name }) => Request::AddContact { card, name },
        Noun::Contact(ContactVerb::List) => Request::ListContacts,
        Noun::Device(verb) => device(verb),
        Noun::Conversation(verb) => conversation(verb),
        Noun::Message(verb) => message(verb)?,
        Noun::Sync(SyncVerb::Now { timeout }) => Request::SyncNow {
            timeout: seconds("--timeout", timeout)?,
        },
        Noun::Run(RunArguments { lock_after }) => Request::Run {
            lock_after: lock_after
                .map(|after| seconds("--lock-after", after))
                .transpose()?,
        },
        Noun::Account(AccountVerb::Passphrase {
            new_passphrase_file,
            new_key_file,
        }) => Request::ChangeSecret(SecretSource::next(new_key_file, new_passphrase_file)),
        Noun::Store(verb) => store(verb),
        Noun::Status(status) => Request::Status {
            wait: seconds("--wait", status.wait)?,
        },
        Noun::Demo(demo) => Request::Demo(demo),
        Noun::Completions { shell } => Request::Completions(shell),
        Noun::Man => Request::Man,
    })
}

fn store(verb: StoreVerb) -> Request {
    match verb {
        StoreVerb::Backup { file, force } => Request::Backup {
            file,
            overwrite: match force {
                true => Overwrite::Replace,
                false => Overwrite::Never,
            },
        },
        StoreVerb::Restore { file } => Request::Restore { file },
        StoreVerb::Check => Request::CheckStore,
    }
}

fn device(verb: DeviceVerb) -> Request {
    match verb {
        DeviceVerb::Link { timeout } => Request::LinkDevice {
            timeout: Duration::from_secs(timeout),
        },
        DeviceVerb::Join {
            code,
            device,
            timeout,
        } => Request::JoinDevice {
            code,
            device,
            timeout: Duration::from_secs(timeout),
        },
        DeviceVerb::List => Request::ListDevices,
    }
}

fn conversation(verb: ConversationVerb) -> Request {
    match verb {
        ConversationVerb::Create { name, members } => Request::CreateConversation { name, members },
        ConversationVerb::List => Request::ListConversations,
        ConversationVerb::Show { conversation } => Request::ShowConversation(conversation),
        ConversationVerb::Heads { conversation } => Request::ShowHeads(conversation),
        ConversationVerb::Member(MemberVerb::Add {
            conversation,
            user,
            role,
        }) => Request::AddMember {
            conversation,
            user,
            role: role.into(),
        },
        ConversationVerb::Member(MemberVerb::List { conversation }) => {
            Request::ListMembers(conversation)
        }
    }
}

fn message(verb: MessageVerb) -> Result<Request, Failure> {
    Ok(match verb {
        MessageVerb::Send {
            conversation,
            text,
            token,
            reply_to,
            wait,
        } => Request::Send(SendRequest {
            conversation,
            text,
            token,
            reply_to: reply_to
                .map(|id| message_id("--reply-to", &id))
                .transpose()?,
            wait: seconds("--wait", wait)?,
        }),
        MessageVerb::List {
            conversation,
            limit,
            before,
            after,
        } => Request::ListMessages(ListRequest {
            conversation,
            limit: limit_of(limit)?,
            before: before.map(|id| message_id("--before", &id)).transpose()?,
            after: after.map(|id| message_id("--after", &id)).transpose()?,
        }),
        MessageVerb::Import { conversation, file } => Request::Import { conversation, file },
    })
}

fn limit_of(limit: usize) -> Result<usize, Failure> {
    if (1..=LIST_MAX).contains(&limit) {
        Ok(limit)
    } else {
        Err(Failure::usage(format!(
            "--limit must lie in 1..={LIST_MAX}"
        )))
    }
}

fn message_id(option: &str, text: &str) -> Result<MessageId, Failure> {
    text.parse().map_err(|error| {
        Failure::usage(format!("{option} is not a message id: {error}"))
            .advise("copy it from `sheaf message list`")
    })
}

fn seconds(option: &str, seconds: f64) -> Result<Duration, Failure> {
    let longest = Duration::from_secs(7 * 24 * 3600);
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= longest)
        .ok_or_else(|| Failure::usage(format!("{option} must be 0 to 604800 seconds")))
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Reader => Self::Reader,
            RoleName::Writer => Self::Writer,
            RoleName::Admin => Self::Admin,
        }
    }
}
