//! Trouble on purpose, for test networks: a socket that loses what goes to some addresses and delays the rest.
//!
//! [`Trouble`] says what; it may be changed at any time and is in force at once. Only what is sent is touched, so a partition needs it on both
//! sides. Without trouble in a [`LinkConfig`](super::LinkConfig) the plain socket is used, and nothing of this runs.

use std::collections::BTreeSet;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::RwLock;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::runtime::Handle;

/// Packets that are delayed at one time, at most; further ones are lost, as in any queue that is full.
const DELAYED_MAX: usize = 65_536;

/// What is wrong with the network.
#[derive(Debug, Default)]
pub struct Trouble {
    cut: RwLock<BTreeSet<SocketAddr>>,
    delay_us: AtomicU64,
    lost: AtomicU64,
}

impl Trouble {
    /// From now on nothing reaches the addresses in `cut`, and everything else arrives later by `delay`.
    pub fn set(&self, cut: BTreeSet<SocketAddr>, delay: Duration) {
        *self.cut.write() = cut;
        self.delay_us.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Packets that were lost on purpose.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn is_cut(&self, address: &SocketAddr) -> bool {
        self.cut.read().contains(address)
    }

    fn delay(&self) -> Duration {
        Duration::from_micros(self.delay_us.load(Ordering::Relaxed))
    }
}

/// A socket in trouble.
#[derive(Debug)]
pub(crate) struct TroubledSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    trouble: Arc<Trouble>,
    delayed: Arc<AtomicUsize>,
    runtime: Handle,
}

impl TroubledSocket {
    /// Puts `trouble` before `inner`; delayed packets wait on `runtime`.
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, trouble: Arc<Trouble>, runtime: Handle) -> Self {
        Self { inner, trouble, delayed: Arc::default(), runtime }
    }

    /// Sends a copy of the packet in a while; losing it then is what networks do.
    fn send_later(&self, transmit: &Transmit<'_>, delay: Duration) {
        if self.delayed.fetch_add(1, Ordering::Relaxed) >= DELAYED_MAX {
            self.delayed.fetch_sub(1, Ordering::Relaxed);
            self.trouble.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (inner, delayed) = (self.inner.clone(), self.delayed.clone());
        let (contents, destination, ecn) = (transmit.contents.to_vec(), transmit.destination, transmit.ecn);
        let (segment_size, src_ip) = (transmit.segment_size, transmit.src_ip);
        self.runtime.spawn(async move {
            tokio::time::sleep(delay).await;
            delayed.fetch_sub(1, Ordering::Relaxed);
            let _ = inner.try_send(&Transmit { destination, ecn, contents: &contents, segment_size, src_ip });
        });
    }
}

impl AsyncUdpSocket for TroubledSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.trouble.is_cut(&transmit.destination) {
            self.trouble.lost.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        match self.trouble.delay() {
            Duration::ZERO => self.inner.try_send(transmit),
            delay => {
                self.send_later(transmit, delay);
                Ok(())
            }
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(context, buffers, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}
