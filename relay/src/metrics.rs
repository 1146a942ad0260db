//! What a relay counts about itself. Never by topic, device or address.
//!
//! The recorder belongs to one relay, so several relays in one process do not mix their figures.

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit,
};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use sheaf_protocol::ErrorCode;

use crate::misbehaviour::Misbehaviour;
use crate::wire::Transport;

const METADATA: Metadata<'static> = Metadata::new("sheaf_relay", Level::INFO, None);

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// The relay said hello.
    Up,
    /// The address was asked to prove itself; it comes back as another handshake.
    Retried,
    /// Turned away before any cryptography.
    TurnedAway,
    /// TLS failed: wrong protocol, no key, wrong relay key.
    Failed,
    /// The time was up, before TLS or before the hello.
    TimedOut,
    /// The device is not admitted.
    NotAdmitted,
}

/// Handles of one relay's metrics. The public text of each is in [`Metrics::new`].
#[derive(Debug)]
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    connections: Vec<Gauge>,
    transports: Vec<Counter>,
    pub(crate) subscriptions: Gauge,
    pub(crate) appended: Counter,
    pub(crate) appended_bytes: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) ephemeral: Counter,
    pub(crate) ephemeral_dropped: Counter,
    pub(crate) delivered_live_bytes: Counter,
    pub(crate) delivered_history_bytes: Counter,
    pub(crate) fell_behind: Counter,
    pub(crate) append_seconds: Histogram,
    pub(crate) batch_records: Histogram,
    pub(crate) store_records: Gauge,
    pub(crate) store_bytes: Gauge,
    pub(crate) store_errors: Counter,
    pub(crate) store_damaged: Counter,
    pub(crate) trimmed: Counter,
    pub(crate) released: Counter,
    pub(crate) expired: Counter,
    handshakes: Vec<Counter>,
    refusals: Vec<Counter>,
    misbehaviours: Vec<Counter>,
}

struct Maker(PrometheusRecorder);

impl Maker {
    fn describe(&self, name: &'static str, text: &'static str) -> (KeyName, SharedString) {
        (KeyName::from(name), SharedString::from(text))
    }

    fn counter(&self, name: &'static str, text: &'static str) -> Counter {
        let (key, text) = self.describe(name, text);
        self.0.describe_counter(key, None, text);
        self.0.register_counter(&Key::from_name(name), &METADATA)
    }

    fn gauge(&self, name: &'static str, text: &'static str) -> Gauge {
        let (key, text) = self.describe(name, text);
        self.0.describe_gauge(key, None, text);
        self.0.register_gauge(&Key::from_name(name), &METADATA)
    }

    fn histogram(&self, name: &'static str, unit: Option<Unit>, text: &'static str) -> Histogram {
        let (key, text) = self.describe(name, text);
        self.0.describe_histogram(key, unit, text);
        self.0.register_histogram(&Key::from_name(name), &METADATA)
    }

    fn labelled(
        &self,
        name: &'static str,
        label: &'static str,
        values: &[&'static str],
        text: &'static str,
    ) -> Vec<Counter> {
        let (key, text) = self.describe(name, text);
        self.0.describe_counter(key, None, text);
        values
            .iter()
            .map(|value| {
                let key = Key::from_parts(name, vec![Label::new(label, *value)]);
                self.0.register_counter(&key, &METADATA)
            })
            .collect()
    }

    fn labelled_gauge(
        &self,
        name: &'static str,
        label: &'static str,
        values: &[&'static str],
        text: &'static str,
    ) -> Vec<Gauge> {
        let (key, text) = self.describe(name, text);
        self.0.describe_gauge(key, None, text);
        values
            .iter()
            .map(|value| {
                let key = Key::from_parts(name, vec![Label::new(label, *value)]);
                self.0.register_gauge(&key, &METADATA)
            })
            .collect()
    }

    fn build_info(&self) {
        let name = "sheaf_relay_build_info";
        let (key, text) = self.describe(name, "Always one; the version is in the label.");
        self.0.describe_gauge(key, None, text);
        let label = Label::new("version", env!("CARGO_PKG_VERSION"));
        let key = Key::from_parts(name, vec![label]);
        self.0.register_gauge(&key, &METADATA).set(1.0);
    }
}

const APPEND_SECONDS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0,
    4.0,
];
const BATCH_RECORDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

const TRANSPORTS: [&str; 2] = ["quic", "websocket"];

fn place_of(transport: Transport) -> usize {
    match transport {
        Transport::Quic => 0,
        Transport::WebSocket => 1,
    }
}

const HANDSHAKES: [&str; 6] = [
    "up",
    "retried",
    "turned_away",
    "failed",
    "timed_out",
    "not_admitted",
];

const CODES: [(ErrorCode, &str); 10] = [
    (ErrorCode::BadFrame, "bad_frame"),
    (ErrorCode::Version, "version"),
    (ErrorCode::NotAdmitted, "not_admitted"),
    (ErrorCode::NoAccess, "no_access"),
    (ErrorCode::RecordTooLarge, "record_too_large"),
    (ErrorCode::Full, "full"),
    (ErrorCode::RateLimited, "rate_limited"),
    (ErrorCode::Unavailable, "unavailable"),
    (ErrorCode::Draining, "draining"),
    (ErrorCode::Gone, "gone"),
];

impl Metrics {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        let named = |name: &str| Matcher::Full(name.to_owned());
        // Both calls fail on an empty list of buckets only; then summaries are exported instead.
        let builder = builder
            .set_buckets_for_metric(named("sheaf_relay_append_seconds"), APPEND_SECONDS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(named("sheaf_relay_batch_records"), BATCH_RECORDS)
            })
            .unwrap_or_default();
        let maker = Maker(builder.build_recorder());
        maker.build_info();
        let kinds: Vec<_> = Misbehaviour::ALL.iter().map(|kind| kind.name()).collect();
        let codes: Vec<_> = CODES.iter().map(|(_, name)| *name).collect();
        Self {
            handle: maker.0.handle(),
            connections: maker.labelled_gauge("sheaf_relay_connections", "transport", &TRANSPORTS, "Connections that are up: the relay said hello. Handshakes under way are not counted."),
            transports: maker.labelled("sheaf_relay_connected_total", "transport", &TRANSPORTS, "Connections that came up, by what carries them. A device that changes its transport counts again."),
            subscriptions: maker.gauge("sheaf_relay_subscriptions", "Topics subscribed to, over all connections: one topic on two connections counts twice."),
            appended: maker.counter("sheaf_relay_appended_total", "Records made durable. Neither duplicates nor ephemeral or refused records are counted."),
            appended_bytes: maker.counter("sheaf_relay_appended_bytes_total", "Bytes of the records made durable, without frames and keys."),
            duplicates: maker.counter("sheaf_relay_duplicates_total", "Appends of a record that was there already; each got its receipt."),
            ephemeral: maker.counter("sheaf_relay_ephemeral_total", "Ephemeral records taken. How many subscribers got each is not counted."),
            ephemeral_dropped: maker.counter("sheaf_relay_ephemeral_dropped_total", "Deliveries of ephemeral records dropped because a connection had no room."),
            delivered_live_bytes: maker.counter("sheaf_relay_delivered_live_bytes_total", "Bytes of frames given to the transport on live streams. Acknowledgement by the device is not known."),
            delivered_history_bytes: maker.counter("sheaf_relay_delivered_history_bytes_total", "Bytes of frames given to the transport on history streams. Acknowledgement by the device is not known."),
            fell_behind: maker.counter("sheaf_relay_fell_behind_total", "Subscriptions that went from live back to history because their connection could not keep up. The first history of a subscription is not counted."),
            append_seconds: maker.histogram("sheaf_relay_append_seconds", Some(Unit::Seconds), "From an append read off the wire until it is durable and handed on. The way to the device is not in it, nor refused appends."),
            batch_records: maker.histogram("sheaf_relay_batch_records", None, "Appends that one sync of the disk covered, duplicates included."),
            store_records: maker.gauge("sheaf_relay_store_records", "Records kept."),
            store_bytes: maker.gauge("sheaf_relay_store_bytes", "Bytes of the records kept. The files take about twice that."),
            store_errors: maker.counter("sheaf_relay_store_errors_total", "Operations that the store failed at. A batch of appends counts once."),
            store_damaged: maker.counter("sheaf_relay_store_damaged_total", "Stores found damaged and moved aside when this process began: zero or one."),
            trimmed: maker.counter("sheaf_relay_trimmed_total", "Inbox records deleted at the word of their reader."),
            released: maker.counter("sheaf_relay_released_total", "Log records deleted because devices released them and the grace period was over."),
            expired: maker.counter("sheaf_relay_expired_total", "Records deleted because their time was over."),
            handshakes: maker.labelled("sheaf_relay_handshakes_total", "outcome", &HANDSHAKES, "Handshakes by how they ended. A retried one comes back and counts again."),
            refusals: maker.labelled("sheaf_relay_refusals_total", "code", &codes, "Requests answered with a refusal. Connections closed for misbehaviour are not counted here."),
            misbehaviours: maker.labelled("sheaf_relay_misbehaviour_total", "kind", &kinds, "What devices did against the protocol. Being refused by a limit is not misbehaviour, ignoring it is."),
        }
    }

    /// A connection is up.
    pub(crate) fn up(&self, transport: Transport) {
        let place = place_of(transport);
        if let Some(counter) = self.transports.get(place) {
            counter.increment(1);
        }
        if let Some(gauge) = self.connections.get(place) {
            gauge.increment(1.0);
        }
    }

    /// A connection that was up is gone.
    pub(crate) fn down(&self, transport: Transport) {
        if let Some(gauge) = self.connections.get(place_of(transport)) {
            gauge.decrement(1.0);
        }
    }

    pub(crate) fn handshake(&self, outcome: Handshake) {
        let place = match outcome {
            Handshake::Up => 0,
            Handshake::Retried => 1,
            Handshake::TurnedAway => 2,
            Handshake::Failed => 3,
            Handshake::TimedOut => 4,
            Handshake::NotAdmitted => 5,
        };
        if let Some(counter) = self.handshakes.get(place) {
            counter.increment(1);
        }
    }

    pub(crate) fn refusal(&self, code: ErrorCode) {
        let place = CODES.iter().position(|(known, _)| *known == code);
        if let Some(counter) = place.and_then(|place| self.refusals.get(place)) {
            counter.increment(1);
        }
    }

    pub(crate) fn misbehaviour(&self, kind: Misbehaviour) {
        let place = Misbehaviour::ALL.iter().position(|known| *known == kind);
        if let Some(counter) = place.and_then(|place| self.misbehaviours.get(place)) {
            counter.increment(1);
        }
    }

    /// The metrics in the text format of Prometheus.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds what histograms have gathered; without it they grow until somebody asks.
    pub(crate) fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}
