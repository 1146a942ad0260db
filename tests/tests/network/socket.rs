//! UDP sockets of the simulated network, as quinn wants them.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use sheaf_engine::Sockets;
use turmoil::net::UdpSocket;

/// A simulated UDP socket.
pub(crate) struct Simulated {
    socket: Arc<UdpSocket>,
    /// What waits for the next datagram.
    readable: Mutex<Option<Readable>>,
}

type Readable = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

impl Simulated {
    /// A socket of the host that this runs on.
    pub(crate) fn bind(port: u16) -> io::Result<Arc<Self>> {
        let binding = pin!(UdpSocket::bind(("0.0.0.0", port)));
        let Poll::Ready(socket) = binding.poll(&mut Context::from_waker(Waker::noop())) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        Ok(Arc::new(Self {
            socket: Arc::new(socket?),
            readable: Mutex::default(),
        }))
    }
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated").finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Simulated {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Always)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self
            .socket
            .try_send_to(transmit.contents, transmit.destination);
        sent.map(|_| ())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut waiting = self.readable.lock().unwrap();
        let readable = waiting.get_or_insert_with(|| {
            let socket = Arc::clone(&self.socket);
            Box::pin(async move { socket.readable().await })
        });
        ready!(readable.as_mut().poll(cx))?;
        *waiting = None;
        let (bytes, from) = self.socket.try_recv_from(&mut buffers[0])?;
        meta[0] = RecvMeta {
            addr: from,
            len: bytes,
            stride: bytes,
            ..RecvMeta::default()
        };
        Poll::Ready(Ok(1))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// A datagram can always be handed over; the network may lose it.
#[derive(Debug)]
struct Always;

impl UdpPoller for Always {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Gives an engine sockets of the simulated network.
pub(crate) struct Network;

impl Sockets for Network {
    fn open(&self, _: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Simulated::bind(0)?)
    }
}
