//! What was meant by what was typed.

mod conversation;
mod relay;
mod sync;

use std::path::PathBuf;
use std::time::Duration;

use sheaf_engine::{History, Keep, MessageId, Overwrite, Role, Timestamp};
use sheaf_protocol::RelayAddress;

use crate::arguments::{
    AccountVerb, Arguments, ContactVerb, DemoArguments, DeviceVerb, EpochVerb, GlobalArguments,
    InitArguments, MessageVerb, Noun, QuarantineVerb, RunArguments, StoreVerb, VaultVerb,
};
use crate::exit::Failure;
use crate::home::Home;
use crate::keyring;
use crate::output::Printer;
use crate::secret::SecretSource;
use crate::time::{now_ms, parse_since};

pub(crate) use relay::RelayRequest;
pub(crate) use sync::SyncRequest;

/// Most messages that one listing shows.
const LIST_MAX: usize = 10_000;

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) home: Home,
    pub(crate) relays: Vec<RelayAddress>,
    pub(crate) secret: SecretSource,
    pub(crate) printer: Printer,
}

/// What an account is recovered with.
#[derive(Debug)]
pub(crate) struct RecoverRequest {
    pub(crate) phrase_file: Option<PathBuf>,
    /// The account's card; the vault on the relay otherwise.
    pub(crate) card: Option<String>,
    pub(crate) device: String,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Request {
    Init(InitArguments),
    Card,
    AddContact {
        card: String,
        name: Option<String>,
    },
    ListContacts,
    Verify {
        user: String,
        change: Option<Verdict>,
    },
    SetBlocked {
        user: String,
        standing: Standing,
    },
    Recover(RecoverRequest),
    Vault(VaultVerb),
    ChangeDevice {
        device: String,
        change: DeviceRequest,
    },
    LinkDevice {
        timeout: Duration,
    },
    JoinDevice {
        code: String,
        device: String,
        timeout: Duration,
    },
    ListDevices,
    ReportDevice(String),
    Decline,
    ListQuarantines,
    LiftQuarantine(String),
    RotatePhrase {
        phrase: PathBuf,
    },
    CreateConversation {
        name: String,
        members: Vec<String>,
        history: History,
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
    ChangeConversation {
        conversation: String,
        change: ConversationRequest,
    },
    ListEpochs(String),
    Rotate(String),
    Audit {
        since: Timestamp,
    },
    Send(SendRequest),
    ListMessages(ListRequest),
    Import {
        conversation: String,
        file: PathBuf,
    },
    Relay(RelayRequest),
    Sync(SyncRequest),
    Doctor {
        wait: Duration,
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
    CheckStore {
        repair: bool,
    },
    StoreStats,
    Status {
        wait: Duration,
    },
    Demo(DemoArguments),
    Completions(clap_complete::Shell),
    Man(Option<PathBuf>),
}

/// What comparing the digits came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    Withdrawn,
}

/// How a contact is to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Blocked,
    Unblocked,
}

/// What is to become of a device.
#[derive(Debug)]
pub(crate) enum DeviceRequest {
    Rename(String),
    Freeze,
    Thaw,
    ThawByPhrase(PathBuf),
    Revoke,
    HandOver,
}

/// What is to become of a conversation or of a member.
#[derive(Debug)]
pub(crate) enum ConversationRequest {
    RemoveMember(String),
    SetRole(String, Role),
    Rename(String),
    Cut { forget: bool },
    Keep(Keep),
    Leave,
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
    /// Fetch what is not here, for so long.
    pub(crate) fetch: Option<Duration>,
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
        let home = Home::locate(self.home)?;
        let secret = match self.keyring_key {
            Some(name) => SecretSource::Keyring(name),
            None => SecretSource::new(self.key_file, self.passphrase_file).or_keyring(&home)?,
        };
        Ok(Settings {
            secret,
            home,
            relays: self.relay,
            printer: Printer::new(self.json, self.quiet),
        })
    }
}

fn request(noun: Noun) -> Result<Request, Failure> {
    Ok(match noun {
        Noun::Init(init) => Request::Init(init),
        Noun::Card => Request::Card,
        Noun::Account(verb) => account(verb)?,
        Noun::Contact(verb) => contact(verb),
        Noun::Device(verb) => device(verb)?,
        Noun::Conversation(verb) => conversation::conversation(verb)?,
        Noun::Epoch(EpochVerb::List { conversation }) => Request::ListEpochs(conversation),
        Noun::Epoch(EpochVerb::Rotate { conversation }) => Request::Rotate(conversation),
        Noun::Message(verb) => message(verb)?,
        Noun::Relay(verb) => Request::Relay(relay::relay(verb)?),
        Noun::Sync(verb) => Request::Sync(sync::sync(verb)?),
        Noun::Run(RunArguments { lock_after }) => Request::Run {
            lock_after: lock_after
                .map(|after| seconds("--lock-after", after))
                .transpose()?,
        },
        Noun::Store(verb) => store(verb),
        Noun::Status(status) => Request::Status {
            wait: seconds("--wait", status.wait)?,
        },
        Noun::Doctor { wait } => Request::Doctor {
            wait: seconds("--wait", wait)?,
        },
        Noun::Audit { since } => Request::Audit {
            since: Timestamp(since.map_or(Ok(0), |text| since_ms(&text))?),
        },
        Noun::Demo(demo) => Request::Demo(demo),
        Noun::Completions { shell } => Request::Completions(shell),
        Noun::Man { dir } => Request::Man(dir),
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
        StoreVerb::Check { repair } => Request::CheckStore { repair },
        StoreVerb::Stats => Request::StoreStats,
    }
}

/// What cannot be undone is done only when asked for in so many words.
fn confirmed(yes: bool, what: String) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    Err(Failure::usage(what).advise("nothing was done; run it again with --yes to do it"))
}

fn account(verb: AccountVerb) -> Result<Request, Failure> {
    match verb {
        AccountVerb::Passphrase {
            new_passphrase_file,
            new_key_file,
            new_keyring,
        } => Ok(Request::ChangeSecret(if new_keyring {
            SecretSource::Keyring(keyring::new_name()?)
        } else {
            SecretSource::next(new_key_file, new_passphrase_file)
        })),
        AccountVerb::RotatePhrase { phrase_file } => Ok(Request::RotatePhrase {
            phrase: phrase_file,
        }),
        AccountVerb::Vault(verb) => Ok(Request::Vault(verb)),
        AccountVerb::Recover {
            phrase_file,
            card,
            device,
            yes,
        } => {
            let what = "this makes a new device of the account and revokes all its other devices; \
                        they cannot come back";
            confirmed(yes, what.to_owned())?;
            Ok(Request::Recover(RecoverRequest {
                phrase_file,
                card,
                device,
            }))
        }
    }
}

fn contact(verb: ContactVerb) -> Request {
    match verb {
        ContactVerb::Add { card, name } => Request::AddContact { card, name },
        ContactVerb::List => Request::ListContacts,
        ContactVerb::Verify {
            user,
            confirm,
            withdraw,
        } => Request::Verify {
            user,
            change: match (confirm, withdraw) {
                (true, _) => Some(Verdict::Same),
                (false, true) => Some(Verdict::Withdrawn),
                (false, false) => None,
            },
        },
        ContactVerb::Block { user } => Request::SetBlocked {
            user,
            standing: Standing::Blocked,
        },
        ContactVerb::Unblock { user } => Request::SetBlocked {
            user,
            standing: Standing::Unblocked,
        },
    }
}

fn device(verb: DeviceVerb) -> Result<Request, Failure> {
    let change = |device, change| Request::ChangeDevice { device, change };
    Ok(match verb {
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
        DeviceVerb::Rename { device, name } => change(device, DeviceRequest::Rename(name)),
        DeviceVerb::Freeze { device } => change(device, DeviceRequest::Freeze),
        DeviceVerb::Thaw {
            device,
            phrase_file,
        } => match phrase_file {
            Some(phrase) => change(device, DeviceRequest::ThawByPhrase(phrase)),
            None => change(device, DeviceRequest::Thaw),
        },
        DeviceVerb::Revoke { device, yes } => {
            let what = format!(
                "this ends the device \"{device}\" for good: it leaves your account and every \
                 conversation, each gets a new key, and what it holds already stays on it"
            );
            confirmed(yes, what)?;
            change(device, DeviceRequest::Revoke)
        }
        DeviceVerb::Report { device } => Request::ReportDevice(device),
        DeviceVerb::Handover {
            device: Some(device),
            ..
        } => change(device, DeviceRequest::HandOver),
        DeviceVerb::Handover { device: None, .. } => Request::Decline,
        DeviceVerb::Quarantine(QuarantineVerb::List) => Request::ListQuarantines,
        DeviceVerb::Quarantine(QuarantineVerb::Lift { device }) => Request::LiftQuarantine(device),
    })
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
            fetch,
            timeout,
        } => Request::ListMessages(ListRequest {
            conversation,
            limit: limit_of(limit)?,
            before: before.map(|id| message_id("--before", &id)).transpose()?,
            after: after.map(|id| message_id("--after", &id)).transpose()?,
            fetch: fetch.then(|| seconds("--timeout", timeout)).transpose()?,
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

fn since_ms(text: &str) -> Result<u64, Failure> {
    parse_since(text, now_ms()).ok_or_else(|| {
        Failure::usage(format!("--since is neither a time nor a duration: {text}"))
            .advise("write a time like 2026-05-01T08:00:00Z, or a duration like 90s, 15m, 2h or 7d")
    })
}

fn seconds(option: &str, seconds: f64) -> Result<Duration, Failure> {
    let longest = Duration::from_secs(7 * 24 * 3600);
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= longest)
        .ok_or_else(|| Failure::usage(format!("{option} must be 0 to 604800 seconds")))
}
