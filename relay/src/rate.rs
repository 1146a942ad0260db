//! How fast a device may go, over all its connections.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};

use crate::config::LimitConfig;
use crate::tls::DeviceKey;

/// A part of the network that is taken for one user: an IPv4 /24 or an IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Prefix([u8; 8]);

impl Prefix {
    /// The prefix of an address; `None` for loopback, which is not limited.
    pub(crate) fn of(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return None;
        }
        let mut prefix = [0; 8];
        match address {
            IpAddr::V4(address) => {
                // Distinct from every IPv6 prefix: ff00::/8 is multicast and never a source.
                let [a, b, c, _] = address.octets();
                prefix = [0xff, 0xff, a, b, c, 0, 0, 0];
            }
            IpAddr::V6(address) => {
                for (place, byte) in prefix.iter_mut().zip(address.octets()) {
                    *place = byte;
                }
            }
        }
        Some(Self(prefix))
    }
}

/// The time to wait before trying again, in milliseconds and at least one.
pub(crate) type RetryAfterMs = u32;

/// Limits by device and by prefix.
#[derive(Debug)]
pub(crate) struct Rates {
    appends: DefaultKeyedRateLimiter<DeviceKey>,
    bytes: DefaultKeyedRateLimiter<DeviceKey>,
    topics: DefaultKeyedRateLimiter<DeviceKey>,
    handshakes: DefaultKeyedRateLimiter<Prefix>,
    clock: DefaultClock,
}

fn above_zero(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

impl Rates {
    pub(crate) fn new(limits: &LimitConfig) -> Self {
        let appends = Quota::per_second(above_zero(limits.appends_per_second))
            .allow_burst(above_zero(limits.appends_burst));
        let topics = above_zero(limits.topics_per_day);
        let day = Duration::from_secs(24 * 3600);
        let topics = Quota::with_period(day / topics.get()).map_or_else(
            || Quota::per_second(topics),
            |quota| quota.allow_burst(topics),
        );
        let handshakes = above_zero(limits.handshakes_per_second);
        Self {
            appends: RateLimiter::keyed(appends),
            bytes: RateLimiter::keyed(Quota::per_second(above_zero(limits.bytes_per_second))),
            topics: RateLimiter::keyed(topics),
            handshakes: RateLimiter::keyed(Quota::per_second(handshakes)),
            clock: DefaultClock::default(),
        }
    }

    /// Takes one append of some bytes, or says when there will be room for it.
    pub(crate) fn append(&self, device: &DeviceKey, bytes: usize) -> Result<(), RetryAfterMs> {
        self.appends
            .check_key(device)
            .map_err(|until| self.wait(&until))?;
        let bytes = above_zero(u32::try_from(bytes).unwrap_or(u32::MAX));
        match self.bytes.check_key_n(device, bytes) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(self.wait(&until)),
            // More than a second's worth in one record; the settings exclude it.
            Err(_) => Err(1_000),
        }
    }

    /// Takes the beginning of one topic.
    pub(crate) fn begin_topic(&self, device: &DeviceKey) -> Result<(), RetryAfterMs> {
        self.topics
            .check_key(device)
            .map_err(|until| self.wait(&until))
    }

    /// Takes one handshake.
    pub(crate) fn handshake(&self, prefix: Option<Prefix>) -> bool {
        prefix.is_none_or(|prefix| self.handshakes.check_key(&prefix).is_ok())
    }

    /// Forgets those who are not limited at present.
    pub(crate) fn sweep(&self) {
        self.appends.retain_recent();
        self.bytes.retain_recent();
        self.topics.retain_recent();
        self.handshakes.retain_recent();
    }

    fn wait(&self, until: &NotUntil<<DefaultClock as Clock>::Instant>) -> RetryAfterMs {
        let wait = until.wait_time_from(self.clock.now());
        u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).max(1)
    }
}
