//! The relay and the devices, brought together the way people do it: a card, a code, six digits.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use sheaf_engine::ConversationId;
use sheaf_relay::{Config, Relay};
use zeroize::Zeroizing;

use super::Players;
use super::bars::Bars;
use super::player::{Player, Seat};
use super::report::Taken;
use super::sight::Sight;
use crate::exit::Failure;

/// Everybody on the stage.
pub(super) struct Cast {
    relay: Relay,
    pub(super) players: Players,
}

fn relay_config(directory: &Path) -> Config {
    let mut config = Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        data: directory.join("relay"),
        ..Config::default()
    };
    config.http.enabled = false;
    config.store.cache_bytes = 64 * 1024 * 1024;
    config.limits.appends_per_second = 1_000_000;
    config.limits.appends_burst = 1_000_000;
    config.limits.bytes_per_second = u32::MAX;
    config.limits.topics_per_day = 1_000_000;
    config
}

fn vanished() -> Failure {
    Failure::failed("a device closed while it was being linked")
}

impl Cast {
    /// Starts a relay, creates two accounts, links the phone, exchanges cards.
    ///
    /// # Errors
    /// Whatever of that fails.
    pub(super) async fn assemble(directory: &Path, bars: &Bars) -> Result<Self, Failure> {
        let relay = Box::pin(Relay::start(relay_config(directory))).await;
        let relay = relay.map_err(|error| Failure::failed(format!("no relay: {error}")))?;
        let seat = |user, device| -> Result<Seat, Failure> {
            let mut key = Zeroizing::new([0; 32]);
            getrandom::fill(key.as_mut_slice())
                .map_err(|_| Failure::failed("the system gave no random bytes"))?;
            Ok(Seat {
                user,
                device,
                directory: directory.join(format!("{user}-{device}")),
                key,
                relay: relay.address().clone(),
            })
        };
        let [first, second, third] = bars.all();
        let laptop = seat("alice", "laptop")?.open(true, first).await?;
        let phone = seat("alice", "phone")?.open(true, second).await?;
        let other = seat("bob", "laptop")?.open(true, third).await?;
        let alice = laptop
            .engine
            .create_account("alice", "laptop", std::slice::from_ref(relay.address()))
            .await?;
        let bob = other
            .engine
            .create_account("bob", "laptop", std::slice::from_ref(relay.address()))
            .await?;
        laptop.connect().await?;
        link(&laptop, &phone).await?;
        laptop.engine.add_contact(&bob.card, None).await?;
        other.engine.add_contact(&alice.card, None).await?;
        let players = [laptop, phone, other].into();
        Ok(Self { relay, players })
    }

    /// Closes the phone and opens it again, with or without the relay.
    ///
    /// # Errors
    /// What closing or opening fails with.
    pub(super) async fn reopen_phone(self, online: bool) -> Result<Self, Failure> {
        let Self { relay, players } = self;
        let [laptop, phone, other] = Arc::unwrap_or_clone(players);
        let Player {
            seat, engine, bar, ..
        } = phone;
        engine.close().await?;
        let phone = seat.open(online, bar).await?;
        if online {
            phone.connect().await?;
        }
        let players = [laptop, phone, other].into();
        Ok(Self { relay, players })
    }

    /// What the relay has taken so far.
    pub(super) fn taken(&self) -> Taken {
        let metrics = self.relay.metrics();
        Taken {
            records: counter(&metrics, "sheaf_relay_appended_total"),
            bytes: counter(&metrics, "sheaf_relay_appended_bytes_total"),
        }
    }

    /// What the relay sees of a conversation.
    ///
    /// # Errors
    /// What reading the relay's store fails with.
    pub(super) async fn sight(&self, id: ConversationId) -> Result<Sight, Failure> {
        let [laptop, ..] = self.players.as_ref();
        let info = laptop.engine.conversation_info(id).await?;
        let topics = info.map(|info| info.topics).unwrap_or_default();
        Sight::look(&self.relay, &topics).await
    }

    /// Closes everything in order.
    ///
    /// # Errors
    /// What closing a device fails with.
    pub(super) async fn close(self) -> Result<(), Failure> {
        for player in self.players.iter() {
            player.engine.clone().close().await?;
        }
        self.relay.shutdown().await;
        Ok(())
    }
}

/// Value of a counter in Prometheus' text format; zero when it is not there.
fn counter(metrics: &str, name: &str) -> u64 {
    let values = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let numbers = values.filter_map(|value| value.trim().parse::<u64>().ok());
    numbers.sum()
}

async fn link(existing: &Player, new: &Player) -> Result<(), Failure> {
    let code = existing.engine.start_link().await?;
    new.engine.join_account(&code, new.seat.device).await?;
    let digits = new.tracker.digits().await.ok_or_else(vanished)?;
    existing
        .tracker
        .link_requested()
        .await
        .ok_or_else(vanished)?;
    existing.engine.approve_link(&digits).await?;
    new.tracker.link_completed().await.ok_or_else(vanished)
}
