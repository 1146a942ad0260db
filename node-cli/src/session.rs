//! An engine open for one command, and its errors in the words of the command line.

use std::future::Future;
use std::time::Duration;

use sheaf_engine::{
    BackupError, BundleError, CommandError, DeviceInfo, DeviceStanding, Engine, EngineBuilder,
    EngineError, LinkError, OpenError, Policy, ReadError, UserId, check_name,
};

use crate::exit::{Code, Failure};
use crate::request::Settings;
use crate::secret::{Purpose, Secret};

/// Variable that holds the token for relays that ask for one.
const RELAY_TOKEN: &str = "SHEAF_RELAY_TOKEN";

/// Variable that holds the messages a minute of one person beyond which what follows is delayed.
const MESSAGE_LIMIT: &str = "SHEAF_MESSAGE_LIMIT";

/// Longest wait for the relay's receipts of a change that is durable here.
const LET_GO_MAX: Duration = Duration::from_millis(1_500);
/// How often it is looked whether they came.
const LET_GO_STEP: Duration = Duration::from_millis(50);

/// Whether the command exchanges anything with the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Offline,
    Online,
}

/// Opens the engine of this home, runs a command with it and closes it in order.
///
/// # Errors
/// [`Code::NoStore`] without an account, or what the command or opening and closing fail with; the
/// command's failure comes first.
pub(crate) async fn with_engine<T, F>(
    settings: &Settings,
    reach: Reach,
    work: impl FnOnce(Engine) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    settings.home.expect_store()?;
    let engine = open(settings, Purpose::Open, reach).await?;
    close_after(engine, |engine| async move {
        own_user(&engine).await?;
        work(engine).await
    })
    .await
}

/// Whether names can be taken, asked before a store is made that would hold nothing.
///
/// # Errors
/// What the engine would say of the first that cannot.
pub(crate) fn check_names(names: &[(&'static str, &str)]) -> Result<(), Failure> {
    for (what, name) in names {
        check_name(what, name).map_err(EngineError::from)?;
    }
    Ok(())
}

/// The same, making the store if there is none, and with an account or without. A store that was made
/// for this command goes again if the command fails and leaves no account in it.
///
/// # Errors
/// What the command or opening and closing fail with; the command's failure comes first.
pub(crate) async fn with_new_engine<T, F>(
    settings: &Settings,
    reach: Reach,
    work: impl FnOnce(Engine) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    settings.home.create()?;
    let purpose = match settings.home.expect_store() {
        Ok(()) => Purpose::Open,
        Err(_) => Purpose::Create,
    };
    let engine = open(settings, purpose, reach).await?;
    let mut empty = false;
    let found = &mut empty;
    let done = close_after(engine, |engine| async move {
        let done = work(engine.clone()).await;
        if done.is_err() && purpose == Purpose::Create {
            *found = matches!(engine.overview().await, Ok(overview) if overview.user.is_none());
        }
        done
    })
    .await;
    if empty {
        settings.home.remove_store()?;
    }
    done
}

async fn close_after<T, F>(engine: Engine, work: impl FnOnce(Engine) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let done = work(engine.clone()).await;
    let closed = engine.close().await;
    let done = done?;
    closed?;
    Ok(done)
}

async fn open(settings: &Settings, purpose: Purpose, reach: Reach) -> Result<Engine, Failure> {
    let relays = settings.home.relays(&settings.relays)?;
    let mut builder = builder(settings, purpose)?;
    if reach == Reach::Online {
        builder = relays.into_iter().fold(builder, EngineBuilder::relay);
    }
    if let Ok(token) = std::env::var(RELAY_TOKEN) {
        builder = builder.token(token);
    }
    if let Ok(limit) = std::env::var(MESSAGE_LIMIT) {
        let limit: u32 = limit.parse().map_err(|_| {
            Failure::usage(format!("{MESSAGE_LIMIT} is no number: {limit}"))
                .advise("give the messages a minute of one person, or 0 for no limit")
        })?;
        builder = builder.policy(Policy {
            messages_per_minute: (limit > 0).then_some(limit),
            ..Policy::default()
        });
    }
    let engine = builder.open().await?;
    if !settings.relays.is_empty() && engine.overview().await?.user.is_some() {
        // The card names them from now on.
        engine.set_card_relays(&settings.relays).await?;
    }
    Ok(engine)
}

/// The store of this home and what unlocks it.
///
/// # Errors
/// A usage failure when there is no secret.
pub(crate) fn builder(settings: &Settings, purpose: Purpose) -> Result<EngineBuilder, Failure> {
    let secret = settings.secret.read(purpose)?;
    let builder = Engine::builder(settings.home.state());
    let builder = builder.create_if_missing(purpose == Purpose::Create);
    Ok(match secret {
        Secret::Passphrase(passphrase) => builder.passphrase(&passphrase),
        Secret::Key(key) => builder.key(*key),
    })
}

/// Waits until the relay said hello.
///
/// # Errors
/// [`Code::RelayUnreachable`] with the last reason.
pub(crate) async fn connect(engine: &Engine, timeout: Duration) -> Result<(), Failure> {
    Ok(engine.wait_connected(timeout).await?)
}

/// How a command that changes something is opened: connected where a relay is known.
///
/// # Errors
/// A failure when the remembered relay does not read.
pub(crate) fn change_reach(settings: &Settings) -> Result<Reach, Failure> {
    let relays = settings.home.relays(&settings.relays)?;
    Ok(match relays.is_empty() {
        true => Reach::Offline,
        false => Reach::Online,
    })
}

/// Gives what is durable here a moment to reach the relay, and says so if it did not.
///
/// # Errors
/// What the engine fails with; an unreachable relay is no failure.
pub(crate) async fn let_go(settings: &Settings, engine: &Engine) -> Result<(), Failure> {
    if change_reach(settings)? == Reach::Offline {
        return Ok(());
    }
    let gone = async {
        loop {
            let now = engine.overview().await?;
            // A command ends before the quiet time that a vault waits for; what comes meanwhile may
            // make one due again.
            if now.pending == 0 && vault_waits(engine).await? {
                engine.publish_vault().await?;
            } else if now.pending == 0 {
                return Ok::<(), EngineError>(());
            }
            tokio::time::sleep(LET_GO_STEP).await;
        }
    };
    match tokio::time::timeout(LET_GO_MAX, gone).await {
        Ok(gone) => Ok(gone?),
        Err(_) => {
            settings
                .printer
                .say("not at the relay yet; it goes out at the next connection");
            Ok(())
        }
    }
}

/// A vault is to be written, and no connection is there yet.
async fn vault_waits(engine: &Engine) -> Result<bool, EngineError> {
    let status = engine.vault_status().await?;
    Ok(status.is_some_and(|status| status.stale && status.has_key))
}

/// The person whose device this is.
///
/// # Errors
/// [`Code::NoStore`] without an account.
pub(crate) async fn own_user(engine: &Engine) -> Result<UserId, Failure> {
    engine.overview().await?.user.ok_or_else(no_account)
}

/// # Errors
/// [`Code::NotApproved`] where this device knows that it was revoked: nobody answers it any more.
pub(crate) async fn expect_not_revoked(engine: &Engine) -> Result<(), Failure> {
    if !is_revoked(&engine.devices().await?) {
        return Ok(());
    }
    let failure = Failure::new(Code::NotApproved, "this device was revoked");
    Err(failure.advise("link it again in another --home: `sheaf device join`"))
}

/// Whether this device knows that it is none of the account any more.
pub(crate) fn is_revoked(devices: &[DeviceInfo]) -> bool {
    let mut own = devices.iter().filter(|device| device.this);
    own.any(|device| device.state == DeviceStanding::Revoked)
}

/// The store holds no account.
pub(crate) fn no_account() -> Failure {
    EngineError::Command(CommandError::NoAccount).into()
}

impl From<OpenError> for Failure {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what has no code of its own is a plain failure"
    )]
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::NoStore(_) => Code::NoStore,
            OpenError::InUse(_) => Code::StoreInUse,
            OpenError::WrongKey => Code::WrongPassphrase,
            OpenError::Damaged(_) => Code::Integrity,
            _ => Code::Failed,
        };
        let failure = Self::new(code, error.to_string());
        match code {
            Code::NoStore => failure.advise("or give another --home"),
            Code::StoreInUse => failure.advise("or give another --home"),
            Code::WrongPassphrase => {
                failure.advise("give the passphrase or key file that the store was made with")
            }
            _ => failure,
        }
    }
}

impl From<BackupError> for Failure {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what has no code of its own is a plain failure"
    )]
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Store(error) => error.into(),
            BackupError::Damaged(_) => Self::new(Code::Integrity, error.to_string()),
            BackupError::FileExists(_) => Self::failed(error.to_string())
                .advise("choose another name, or replace it with --force"),
            BackupError::StoreExists(_) => {
                Self::failed(error.to_string()).advise("give another --home")
            }
            other => Self::failed(other.to_string()),
        }
    }
}

impl From<BundleError> for Failure {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what has no code of its own is a plain failure"
    )]
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::Engine(error) => error.into(),
            BundleError::NotABundle(_) => Self::new(Code::Integrity, error.to_string())
                .advise("copy it again, or have it exported again"),
            other => Self::failed(other.to_string()),
        }
    }
}

impl From<EngineError> for Failure {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what has no code of its own is a plain failure"
    )]
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Command(error) => command_failure(&error),
            EngineError::Link(error) => link_failure(&error),
            EngineError::Read(ReadError::Damaged | ReadError::Broken(_)) => {
                Self::new(Code::Integrity, error.to_string())
                    .advise("restore the store from a backup, or link this device again")
            }
            EngineError::Audit(error) => Self::new(Code::Integrity, error.to_string()).advise(
                "what it says cannot be relied on: somebody wrote to the store; compare it with a \
                 backup, or link this device again",
            ),
            EngineError::NotSettled { .. } => Self::new(Code::Partial, error.to_string())
                .advise("run `sheaf sync now` again, or give it longer with --timeout"),
            other => Self::failed(other.to_string()),
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no code of its own is a plain failure"
)]
fn command_failure(error: &CommandError) -> Failure {
    let (code, advice) = match error {
        CommandError::NoAccount => (
            Code::NoStore,
            Some("create one with `sheaf init`, or link this device with `sheaf device join`"),
        ),
        CommandError::RelayUnreachable => (Code::RelayUnreachable, Some(RELAY_ADVICE)),
        CommandError::Damaged(_) => (Code::Integrity, Some("restore the store from a backup")),
        CommandError::Link(_) => (
            Code::NotApproved,
            Some(
                "start again with `sheaf device link` on the existing device; where a new code has \
                 expired at once, one of the two clocks is wrong",
            ),
        ),
        CommandError::NotAllowed => (
            Code::Failed,
            Some(
                "`sheaf conversation member list` shows who may change your role, and \
                 `sheaf device list` whether this device takes part",
            ),
        ),
        CommandError::ConversationFull(..) => (
            Code::Failed,
            Some(
                "`sheaf conversation member list` shows who is in; remove somebody, or found another \
                 conversation",
            ),
        ),
        CommandError::Blocked(_) => (
            Code::Failed,
            Some("`sheaf contact unblock` takes invites again"),
        ),
        CommandError::NoVault(_) => (
            Code::Failed,
            Some(
                "`sheaf account recover --card` needs the account's card, as any contact has it, and \
                 no vault; `sheaf account vault on --phrase-file` keeps one from a device of the account",
            ),
        ),
        CommandError::BadPhrase(_) => (
            Code::Failed,
            Some("type the 24 words as they were shown, separated by blanks"),
        ),
        _ => (Code::Failed, None),
    };
    let failure = Failure::new(code, error.to_string());
    match advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

/// What to do when no relay answers.
pub(crate) const RELAY_ADVICE: &str = "check the network, that the relay runs and its address \
     (--relay); what you wrote is kept and goes out at the next connection";

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no code of its own is an unreachable relay"
)]
fn link_failure(error: &LinkError) -> Failure {
    let (code, advice) = match error {
        LinkError::WrongKey => (
            Code::RelayUnreachable,
            "compare the address with the one that the relay prints at its start; \
             if it is right, somebody else answers in the relay's place",
        ),
        LinkError::NotAdmitted(_) => (
            Code::NotApproved,
            "ask whoever runs the relay to admit this device, or set SHEAF_RELAY_TOKEN",
        ),
        _ => (Code::RelayUnreachable, RELAY_ADVICE),
    };
    Failure::new(code, error.to_string()).advise(advice)
}
