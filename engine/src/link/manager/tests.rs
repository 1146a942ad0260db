use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sheaf_relay::{Config, Relay};
use tokio::net::UdpSocket;
use zeroize::Zeroizing;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// A network between one device and one relay: lets datagrams through or drops them, some of them by
/// a seeded draw.
struct Network {
    at: SocketAddr,
    open: Arc<AtomicBool>,
    /// Of a thousand datagrams so many are lost.
    lost: Arc<AtomicU64>,
}

impl Network {
    async fn before(relay: SocketAddr, seed: u64) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = front.local_addr().unwrap();
        let (open, lost) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let passes = (Arc::clone(&open), Arc::clone(&lost));
        drop(tokio::spawn(forward(front, relay, passes, seed)));
        Self { at, open, lost }
    }
}

/// One device's datagrams at a time: a new source port takes the place of the old one.
async fn forward(
    front: UdpSocket,
    relay: SocketAddr,
    (open, lost): (Arc<AtomicBool>, Arc<AtomicU64>),
    seed: u64,
) {
    let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut device = None;
    let mut draw = seed;
    let (mut there, mut here) = ([0; 2048], [0; 2048]);
    loop {
        let (to, socket, bytes) = tokio::select! {
            Ok((count, from)) = front.recv_from(&mut there) => {
                device = Some(from);
                (Some(relay), &back, there[..count].to_vec())
            }
            Ok((count, _)) = back.recv_from(&mut here) => (device, &front, here[..count].to_vec()),
        };
        draw = draw
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let unlucky = (draw >> 33) % 1_000 < lost.load(Ordering::Relaxed);
        if let Some(to) = to
            && open.load(Ordering::Relaxed)
            && !unlucky
        {
            socket.send_to(&bytes, to).await.unwrap();
        }
    }
}

/// A relay that is reached at `tcp` over TCP, and its UDP address.
async fn relay(data: &Path, tcp: Option<SocketAddr>) -> (Relay, SocketAddr) {
    let mut config = Config {
        data: data.to_path_buf(),
        ..Config::default()
    };
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.http.enabled = false;
    config.websocket.enabled = tcp.is_some();
    config.websocket.listen = tcp;
    let relay = Relay::start(config).await.unwrap();
    let address = relay.address();
    let udp = SocketAddr::new(address.host.parse().unwrap(), address.port);
    (relay, udp)
}

fn pace() -> Pace {
    Pace {
        race_after: Duration::from_millis(100),
        probe: Duration::from_millis(100),
        heartbeat: Duration::from_millis(100),
        pong: Duration::from_millis(700),
        ..Pace::default()
    }
}

/// The link of one device.
struct Device {
    control: watch::Sender<Control>,
    events: mpsc::Receiver<LinkEvent>,
}

impl Device {
    fn start(relay: &Relay, at: SocketAddr) -> Self {
        let mut address = relay.address().clone();
        address.port = at.port();
        let target = Target {
            address,
            seed: Zeroizing::new([5; 32]),
            token: None,
            sockets: None,
        };
        let (control, seen) = watch::channel(Control {
            target: Some(target),
            ..Control::default()
        });
        let (told, events) = mpsc::channel(256);
        drop(tokio::spawn(manage(seen, told, Arc::default(), pace())));
        Self { control, events }
    }

    async fn next(&mut self) -> LinkEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.unwrap().unwrap()
    }

    /// Waits for a connection; says over what, and how often none came about before.
    async fn up(&mut self) -> (Transport, usize, mpsc::Sender<sheaf_protocol::ClientFrame>) {
        let mut downs = 0;
        loop {
            match self.next().await {
                LinkEvent::Up {
                    transport, frames, ..
                } => return (transport, downs, frames),
                LinkEvent::Down { .. } => downs += 1,
                _ => {}
            }
        }
    }

    async fn down(&mut self) -> (LinkError, u64, bool) {
        loop {
            if let LinkEvent::Down {
                error,
                retry_ms,
                asked,
            } = self.next().await
            {
                return (error, retry_ms, asked);
            }
        }
    }
}

#[tokio::test]
async fn quic_is_gone_back_to_when_it_works_again() {
    let data = tempfile::tempdir().unwrap();
    let front = free_port().await;
    let (relay, udp) = relay(data.path(), Some(front)).await;
    let silent = UdpSocket::bind(front).await.unwrap();
    let mut device = Device::start(&relay, front);
    let (transport, downs, _frames) = device.up().await;
    assert_eq!((transport, downs), (Transport::WebSocket, 0));
    // From here on datagrams get through.
    let passes = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    drop(tokio::spawn(forward(silent, udp, passes, 1)));
    let (transport, downs, _frames) = device.up().await;
    assert_eq!(
        (transport, downs),
        (Transport::Quic, 0),
        "nobody was cut off"
    );
}

/// A port that neither UDP nor TCP uses.
async fn free_port() -> SocketAddr {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    udp.local_addr().unwrap()
}

#[tokio::test]
async fn a_partition_is_noticed_and_healed_without_a_hurry() {
    let data = tempfile::tempdir().unwrap();
    let (relay, udp) = relay(data.path(), None).await;
    let network = Network::before(udp, 2).await;
    let mut device = Device::start(&relay, network.at);
    let (transport, _, _frames) = device.up().await;
    assert_eq!(transport, Transport::Quic);
    network.open.store(false, Ordering::Relaxed);
    let began = Instant::now();
    let (_, retry_ms, asked) = device.down().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!((500..=1_000).contains(&retry_ms) && !asked);
    network.open.store(true, Ordering::Relaxed);
    let (_, downs, _frames) = device.up().await;
    assert!(downs <= 1);
}

#[tokio::test]
async fn a_lossy_network_does_not_cut_the_connection() {
    let data = tempfile::tempdir().unwrap();
    let (relay, udp) = relay(data.path(), None).await;
    let network = Network::before(udp, 3).await;
    let mut device = Device::start(&relay, network.at);
    let (_, _, frames) = device.up().await;
    network.lost.store(100, Ordering::Relaxed);
    // Each of these is refused by name, as the topics were never proved.
    for topic in 0..10 {
        let topic = sheaf_protocol::TopicId([topic; 32]);
        let frame = sheaf_protocol::ClientFrame::Unsubscribe { topic };
        frames.send(frame).await.unwrap();
    }
    let mut refused = 0;
    while refused < 10 {
        match device.next().await {
            LinkEvent::Frame(_, sheaf_protocol::ServerFrame::Refused(_)) => refused += 1,
            LinkEvent::Down { error, .. } => panic!("{error}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_a_relay_asks_for_is_kept_even_in_a_hurry() {
    let data = tempfile::tempdir().unwrap();
    let (relay, udp) = relay(data.path(), None).await;
    let mut device = Device::start(&relay, udp);
    let (_, _, _frames) = device.up().await;
    tokio::spawn(relay.shutdown());
    let (_, retry_ms, asked) = device.down().await;
    let told = Instant::now();
    assert!(asked && (500..=5_000).contains(&retry_ms), "{retry_ms}");
    for _ in 0..3 {
        device.control.send_modify(|control| control.urgency += 1);
        tokio::task::yield_now().await;
    }
    assert!(matches!(device.next().await, LinkEvent::Connecting));
    assert!(told.elapsed() + Duration::from_millis(50) >= Duration::from_millis(retry_ms));
}

#[test]
fn delays_rise_to_sixteen_seconds_and_stay_there() {
    for (attempts, whole) in [
        (0, 1_000),
        (1, 2_000),
        (2, 4_000),
        (3, 8_000),
        (4, 16_000),
        (99, 16_000),
    ] {
        for _ in 0..100 {
            let delay = backoff(attempts);
            assert!(delay >= whole / 2 && delay <= whole, "{attempts}: {delay}");
        }
    }
}
