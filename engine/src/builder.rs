//! Opening an engine.

mod upkeep;

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use sheaf_crypto::{Argon2Params, Unlock};
use sheaf_protocol::RelayAddress;
use sheaf_replica::{Policy, Replica, VaultSetting};
use tokio::sync::{broadcast, mpsc, watch};
use zeroize::Zeroizing;

use crate::activity::{Life, LinkStatus};
use crate::driver::{Driver, LinkState, Own, Unsettled, now};
use crate::engine::Engine;
use crate::entropy::OsEntropy;
use crate::link::{Sockets, Traffic};
use crate::links::Links;
use crate::store::{Durable, OpenError, Store, Writer};

/// Requests of handles that may wait; more wait at the handle.
const REQUESTS_MAX: usize = 1_024;
/// Frames of the relays that may wait before those that wait for each.
const FRAMES_IN_MAX: usize = 64;
/// Events that a slow reader may fall behind.
const EVENTS_MAX: usize = 8_192;

pub use upkeep::Restored;

/// What unlocks a store.
pub(crate) enum Secret {
    Passphrase(Zeroizing<String>),
    Key(Zeroizing<[u8; 32]>),
}

impl Secret {
    fn unlock(secret: Option<&Self>) -> Result<Unlock<'_>, OpenError> {
        match secret {
            Some(Self::Passphrase(passphrase)) => Ok(Unlock::Passphrase(passphrase)),
            Some(Self::Key(key)) => Ok(Unlock::KeyFile(key)),
            None => Err(OpenError::WrongKey),
        }
    }
}

/// What an engine is opened with.
pub struct EngineBuilder {
    directory: PathBuf,
    secret: Option<Secret>,
    new_secret: Option<Secret>,
    argon2: Argon2Params,
    relays: Vec<RelayAddress>,
    token: Option<String>,
    create: bool,
    vault: VaultSetting,
    policy: Policy,
    sockets: Option<Arc<dyn Sockets>>,
}

impl std::fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl EngineBuilder {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            secret: None,
            new_secret: None,
            argon2: Argon2Params::default(),
            relays: Vec::new(),
            token: None,
            create: true,
            vault: VaultSetting::On,
            policy: Policy::default(),
            sockets: None,
        }
    }

    /// Unlocks the store by a passphrase, stretched with Argon2id.
    #[must_use]
    pub fn passphrase(mut self, passphrase: &str) -> Self {
        self.secret = Some(Secret::Passphrase(Zeroizing::new(passphrase.to_owned())));
        self
    }

    /// Unlocks the store by 32 random bytes, without Argon2id.
    #[must_use]
    pub fn key(mut self, key: [u8; 32]) -> Self {
        self.secret = Some(Secret::Key(Zeroizing::new(key)));
        self
    }

    /// Cost of stretching the passphrase of a store that is made now.
    #[must_use]
    pub fn argon2(mut self, params: Argon2Params) -> Self {
        self.argon2 = params;
        self
    }

    /// A relay to connect to; given again, a further one.
    #[must_use]
    pub fn relay(mut self, relay: RelayAddress) -> Self {
        if !self.relays.contains(&relay) {
            self.relays.push(relay);
        }
        self
    }

    /// The token to show to a relay that asks for one.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Where UDP sockets come from, if not from the system. Relays are then reached by QUIC alone.
    #[must_use]
    pub fn sockets(mut self, sockets: Arc<dyn Sockets>) -> Self {
        self.sockets = Some(sockets);
        self
    }

    /// Whether a missing store is made; it is unless this says otherwise.
    #[must_use]
    pub fn create_if_missing(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Whether a vault of the account is kept on the relay as long as [`Engine::set_vault`] has not
    /// decided it; one is unless this says otherwise.
    #[must_use]
    pub fn account_vault(mut self, setting: VaultSetting) -> Self {
        self.vault = setting;
        self
    }

    /// Limits of this device's own: how many messages of one user are taken in at once, when its
    /// sealing key is replaced, and when it takes an absent primary's place.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Opens the store, and starts the engine on the present tokio runtime. A relay is connected to
    /// in the background; nothing waits for it.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the store.
    pub async fn open(self) -> Result<Engine, OpenError> {
        let Self {
            directory,
            secret,
            argon2,
            relays,
            token,
            create,
            vault,
            policy,
            sockets,
            new_secret: _,
        } = self;
        // Argon2id takes a moment of one core: not on a thread that others wait for.
        let opening = tokio::task::spawn_blocking(move || {
            let unlock = Secret::unlock(secret.as_ref())?;
            let store = Store::open(&directory, &unlock, create.then_some(argon2))?;
            let mut replica = replica(&store)?;
            replica.suppose_vault(vault);
            replica.set_policy(policy);
            Ok::<_, OpenError>((store, replica))
        });
        let (store, replica) = opening
            .await
            .map_err(|error| OpenError::Io(std::io::Error::other(error)))??;
        start(
            store,
            replica,
            Network {
                relays,
                token,
                sockets,
            },
        )
    }
}

/// Where relays are, and how they are reached.
struct Network {
    relays: Vec<RelayAddress>,
    token: Option<String>,
    sockets: Option<Arc<dyn Sockets>>,
}

/// The replica over what a store holds.
fn replica(store: &Store) -> Result<Replica, OpenError> {
    let rows = store
        .restored()
        .map_err(|error| OpenError::Damaged(error.to_string()))?;
    Replica::open(Box::new(OsEntropy), now(), store.fingerprint, rows)
        .map_err(|error| OpenError::Damaged(error.to_string()))
}

fn start(store: Store, replica: Replica, network: Network) -> Result<Engine, OpenError> {
    let reading = Arc::new(RwLock::new(Some(store.clone())));
    let (told, written) = mpsc::unbounded_channel();
    let durable: Durable = Box::new(move |result| {
        if told.send(result).is_err() {
            tracing::debug!("driver is gone");
        }
    });
    let writer = Writer::start(store.clone(), durable)?;
    let (requests, asked) = mpsc::channel(REQUESTS_MAX);
    let (told_by_links, link) = mpsc::channel(FRAMES_IN_MAX);
    let (events, _) = broadcast::channel(EVENTS_MAX);
    let (state, link_state) = watch::channel(LinkState::default());
    let (unsettled, settling) = watch::channel(Unsettled::default());
    let (status, seen) = watch::channel(LinkStatus::default());
    let traffic = Arc::new(Traffic::default());
    let links = Links::new(told_by_links, Arc::clone(&traffic));
    let driver = Driver {
        replica,
        store,
        reading: Arc::clone(&reading),
        writer: Some(writer),
        relays: network.relays,
        token: network.token,
        sockets: network.sockets,
        requests: asked,
        written,
        link,
        links,
        events: events.clone(),
        state,
        unsettled,
        status,
        life: Life::default(),
        own: Own::default(),
    };
    drop(tokio::spawn(driver.run()));
    Ok(Engine::new(
        requests, reading, events, link_state, settling, seen, traffic,
    ))
}
