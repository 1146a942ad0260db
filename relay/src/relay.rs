//! A running relay.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quinn::{Endpoint, VarInt};
use sheaf_protocol::{Class, LogId, RelayAddress, TopicId};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, AdmissionError};
use crate::config::{Config, ConfigError};
use crate::connection::Shared;
use crate::hub::Hub;
use crate::key::{KeyError, RelayKey, random};
use crate::listen::Doors;
use crate::metrics::Metrics;
use crate::misbehaviour::CloseCode;
use crate::rate::Rates;
use crate::registry::Registry;
use crate::store::{DiskOptions, DiskStorage, OpenError, Quota, RangeLimit, Storage, StorageError};
use crate::writer::{self, Command, Deletion, WriterQueue};
use crate::{http, listen};

/// How long connections have to finish what is under way.
const DRAIN: Duration = Duration::from_secs(15);
/// How long the transport has to tell devices that it closes.
const GOODBYE: Duration = Duration::from_secs(3);
/// How long the store has to finish.
const STORE_END: Duration = Duration::from_secs(5);
/// How often histograms are folded and limiters swept.
const UPKEEP: Duration = Duration::from_secs(5);
/// Records deleted by one command of a sweep.
const SWEEP_RECORDS: usize = 512;
/// The most that [`Relay::peek`] shows.
const PEEK_RECORDS_MAX: usize = 10_000;
const PEEK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a relay did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key file is of no use.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An admission file is of no use.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {listen}: {source}; give another with --listen, or with --http for health and metrics"
    )]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// The reason.
        source: std::io::Error,
    },
    /// The TLS library takes no such settings.
    #[error("cannot set up TLS: {0}")]
    Tls(#[source] rustls::Error),
    /// The TLS library lacks the cipher that QUIC begins with.
    #[error("cannot set up QUIC: {0}")]
    Cipher(#[source] quinn::crypto::rustls::NoInitialCipherSuite),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// One record as the relay sees it: when, how large, and bytes that say nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeked {
    /// Its sequence in the topic.
    pub sequence: u64,
    /// When the relay received it, in milliseconds since 1970.
    pub received_ms: u64,
    /// The sealed record.
    pub bytes: Vec<u8>,
}

/// A running relay. Dropping it without [`Relay::shutdown`] ends it abruptly; what has a receipt is
/// durable all the same.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    address: RelayAddress,
    http_address: Option<SocketAddr>,
    tasks: TaskTracker,
    stop: CancellationToken,
    writer: WriterQueue,
    writer_end: oneshot::Receiver<()>,
}

impl Relay {
    /// Starts a relay inside the current tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong with the settings, the files or the system.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::begin(config, None).await
    }

    /// Starts a relay on a UDP socket of a network that is not the system's; WebSocket is not offered.
    ///
    /// # Errors
    /// As of [`start`](Self::start).
    pub async fn start_on(
        config: Config,
        socket: Arc<dyn quinn::AsyncUdpSocket>,
    ) -> Result<Self, StartError> {
        Self::begin(config, Some(socket)).await
    }

    async fn begin(
        config: Config,
        socket: Option<Arc<dyn quinn::AsyncUdpSocket>>,
    ) -> Result<Self, StartError> {
        config.validate()?;
        let metrics = Arc::new(Metrics::new());
        let admission = Admission::load(config.admission.clone())?;
        // The lock on the directory is taken before anything else is written into it.
        let storage: Arc<dyn Storage> = open_store(&config, &metrics).await?;
        let key_path = config.key.clone();
        let key_path = key_path.unwrap_or_else(|| config.data.join("relay.key"));
        let key = RelayKey::load_or_create(&key_path)?;
        let idle = Duration::from_secs(u64::from(config.limits.idle_seconds));
        let Doors { endpoint, sockets } = listen::bind(&config, &key, idle, socket)?;
        let http = http_listener(&config).await?;
        let hub = Arc::new(Hub::new(Arc::clone(&metrics)));
        let (writer, writer_end) =
            writer::start(Arc::clone(&storage), Arc::clone(&hub), Arc::clone(&metrics))
                .map_err(StartError::Thread)?;
        let address = address(&config, &endpoint, &key)?;
        let shared = Arc::new(Shared {
            rates: Rates::new(&config.limits),
            registry: Registry::new(&config.limits),
            limits: config.limits.clone(),
            draining: CancellationToken::new(),
            key,
            storage,
            hub,
            writer: writer.clone(),
            admission,
            metrics,
        });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(listen::accept_all(
            Arc::clone(&shared),
            endpoint.clone(),
            tasks.clone(),
        ));
        if let Some(sockets) = sockets {
            tasks.spawn(sockets.accept_all(Arc::clone(&shared), tasks.clone()));
        }
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(upkeep(Arc::clone(&shared))),
        );
        let sweeping = sweep(Arc::clone(&shared), config.store.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(sweeping));
        let http_address = http.as_ref().and_then(|http| http.local_addr().ok());
        if let Some(listener) = http {
            tokio::spawn(http::serve(Arc::clone(&shared), listener, stop.clone()));
        }
        Ok(Self {
            shared,
            endpoint,
            address,
            http_address,
            tasks,
            stop,
            writer,
            writer_end,
        })
    }

    /// Where devices reach it; with the real port where any free one was asked for.
    #[must_use]
    pub fn address(&self) -> &RelayAddress {
        &self.address
    }

    /// Where health and metrics are served, if they are.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http_address
    }

    /// Incarnation of its store.
    #[must_use]
    pub fn log(&self) -> LogId {
        self.shared.storage.log()
    }

    /// What the relay holds of a topic, from the beginning: at most ten thousand records and 64 MiB.
    ///
    /// # Errors
    /// [`StorageError`] when the store cannot be read.
    pub async fn peek(&self, topic: TopicId) -> Result<Vec<Peeked>, StorageError> {
        let storage = Arc::clone(&self.shared.storage);
        let limit = RangeLimit {
            records_max: PEEK_RECORDS_MAX,
            bytes_max: PEEK_BYTES_MAX,
        };
        let read = move || storage.range(&topic, 0, u64::MAX, limit);
        let records = tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| StorageError::Closed)??;
        let records = records.into_iter().map(|record| Peeked {
            sequence: record.sequence,
            received_ms: record.received_ms,
            bytes: record.bytes,
        });
        Ok(records.collect())
    }

    /// Its metrics in the text format of Prometheus.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.shared.metrics.render()
    }

    /// Reads the admission files again and closes connections that are no longer admitted; says how
    /// many.
    ///
    /// # Errors
    /// [`AdmissionError`]; then the old rule stays in force.
    pub fn reload_admission(&self) -> Result<usize, AdmissionError> {
        self.shared.admission.reload()?;
        Ok(self
            .shared
            .registry
            .close_unadmitted(&self.shared.admission))
    }

    /// Takes no more connections, lets every append under way become durable and be answered, tells
    /// the devices to come back later, and closes the store. Takes less than 25 seconds.
    pub async fn shutdown(self) {
        self.shared.draining.cancel();
        self.tasks.close();
        if timeout(DRAIN, self.tasks.wait()).await.is_err() {
            tracing::warn!("connections were cut: they did not finish in time");
        }
        let code = VarInt::from_u32(CloseCode::ShuttingDown.code());
        self.endpoint.close(code, b"ShuttingDown");
        if timeout(GOODBYE, self.endpoint.wait_idle()).await.is_err() {
            tracing::debug!("devices did not acknowledge the close in time");
        }
        self.stop.cancel();
        let end = async {
            // A writer that is gone already has nothing left to stop.
            let _gone = self.writer.send(Command::Stop).await;
            let _gone = self.writer_end.await;
        };
        if timeout(STORE_END, end).await.is_err() {
            tracing::error!("the store did not finish in time");
        }
    }
}

async fn open_store(config: &Config, metrics: &Metrics) -> Result<Arc<dyn Storage>, StartError> {
    let options = DiskOptions {
        directory: config.data.clone(),
        cache_bytes: config.store.cache_bytes,
        check: config.store.check,
        free_bytes_min: config.store.free_bytes_min,
        quota: Quota {
            topic_bytes_max: config.store.topic_bytes_max,
            store_bytes_max: config.store.bytes_max,
        },
    };
    let log = LogId(u64::from_be_bytes(random()?));
    let open = move || DiskStorage::open(options, log);
    let opened = tokio::task::spawn_blocking(open).await;
    let storage = opened.map_err(|error| StartError::Thread(std::io::Error::other(error)))??;
    if storage.moved_aside().is_some() {
        metrics.store_damaged.increment(1);
    }
    Ok(Arc::new(storage))
}

async fn http_listener(config: &Config) -> Result<Option<TcpListener>, StartError> {
    if !config.http.enabled {
        return Ok(None);
    }
    let listen = config.http.listen;
    let listener = TcpListener::bind(listen).await;
    listener
        .map(Some)
        .map_err(|source| StartError::Bind { listen, source })
}

fn address(
    config: &Config,
    endpoint: &Endpoint,
    key: &RelayKey,
) -> Result<RelayAddress, StartError> {
    let listen = config.listen;
    let local = endpoint
        .local_addr()
        .map_err(|source| StartError::Bind { listen, source })?;
    let host = match &config.public_host {
        Some(host) => host.clone(),
        None if local.ip().is_unspecified() => "localhost".to_owned(),
        None => local.ip().to_string(),
    };
    Ok(RelayAddress {
        host,
        port: local.port(),
        relay: key.id(),
    })
}

async fn upkeep(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        shared.metrics.upkeep();
        shared.rates.sweep();
    }
}

/// Deletes what is over its time, now and then.
async fn sweep(shared: Arc<Shared>, config: crate::config::StoreConfig) {
    let pause = Duration::from_secs(u64::from(config.sweep_seconds));
    loop {
        expire(&shared, Class::Log, config.retention_days).await;
        expire(&shared, Class::Inbox, config.inbox_days).await;
        reap(&shared, config.grace_days).await;
        tokio::time::sleep(pause).await;
    }
}

async fn expire(shared: &Shared, class: Class, days: u32) {
    let before_ms = ago_ms(days);
    sweep_with(shared, |done| Deletion::Expire {
        class,
        before_ms,
        done,
    })
    .await;
}

async fn reap(shared: &Shared, days: u32) {
    let before_ms = ago_ms(days);
    sweep_with(shared, |done| Deletion::Reap { before_ms, done }).await;
}

/// The time so many days ago, in milliseconds.
fn ago_ms(days: u32) -> u64 {
    let age = Duration::from_secs(u64::from(days) * 24 * 3600);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let then = now.saturating_sub(age);
    u64::try_from(then.as_millis()).unwrap_or(0)
}

async fn sweep_with(shared: &Shared, deletion: impl Fn(oneshot::Sender<usize>) -> Deletion) {
    loop {
        let (done, gone) = oneshot::channel();
        let command = Command::Delete(deletion(done));
        if shared.writer.send(command).await.is_err() {
            return;
        }
        // Fewer than a full command means that nothing is left, or that the store failed.
        if !matches!(gone.await, Ok(count) if count >= SWEEP_RECORDS) {
            return;
        }
    }
}
