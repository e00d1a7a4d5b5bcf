//! The handle of the links: start, set the peers, send, look.
//!
//! All work happens in tasks of the runtime in which [`Links::start`] was called; the handle's methods may be called
//! from any thread and never block.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use parking_lot::Mutex;
use quinn::{Endpoint, EndpointConfig, Runtime, TokioRuntime, VarInt};
use rustls::crypto::SecureRandom;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::accept::accept;
use super::dial::{dials_ipv6, keep_dialled};
use super::inbound::{Inbound, InboundSender, inbound};
use super::limits::{CHANNELS, LinkCode, LinkLimits, PEERS_MAX};
use super::metrics::{LinkCounters, LinkMetrics, PeerStatus, add};
use super::peer::{PeerSet, PeerState};
use super::tls::LinkIdentity;
use super::trouble::{Trouble, TroubledSocket};
use crate::identity::{IdentityError, provider};
use crate::score::Clock;
use crate::sources::SourceTable;
use crate::transport;

/// Doublings of the delay between attempts to dial, at most: more would pass any longest delay.
const DOUBLINGS_MAX: u32 = 16;

/// What links are started with.
#[derive(Clone)]
pub struct LinkConfig {
    /// The validator's key.
    pub key: SigningKey,
    /// The chain's genesis hash: peers of another chain are refused.
    pub genesis_hash: [u8; 32],
    /// UDP address to listen on and to dial from; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Bounds and times.
    pub limits: LinkLimits,
    /// What is wrong with the network on purpose; none outside of tests.
    pub trouble: Option<Arc<Trouble>>,
}

impl std::fmt::Debug for LinkConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LinkConfig")
            .field("key", &self.key.verifying_key().to_bytes())
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// A validator to be linked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its Ed25519 key.
    pub key: [u8; 32],
    /// `host:port` of its links.
    pub address: String,
}

/// Why links did not start.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The port is taken.
    #[error("UDP {0} is in use; stop the other process or choose another address for links")]
    InUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on UDP {address}: {source}; check that the address belongs to this machine")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The key does not work with TLS.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No runtime.
    #[error("links were started outside of a tokio runtime; start them inside of one")]
    NoRuntime,
    /// No random numbers.
    #[error("the system gives no random numbers; check its entropy source")]
    NoRandomness,
}

/// What became of a message that was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// It waits for its turn, or is on its way.
    Sent,
    /// There is no room. On a lossy channel it was dropped and counted; on others it may be tried again.
    Full,
    /// There is no connection with the peer.
    Offline,
    /// The peer is blocked.
    Blocked,
    /// The key is not in the set.
    Unknown,
    /// There is no such channel, or the message is empty or longer than the channel takes.
    Invalid,
}

/// What all tasks share.
pub(crate) struct Shared {
    pub(crate) limits: LinkLimits,
    pub(crate) public_key: [u8; 32],
    /// Random number of this process.
    pub(crate) instance: u64,
    pub(crate) identity: LinkIdentity,
    pub(crate) peers: Arc<PeerSet>,
    pub(crate) table: Arc<SourceTable>,
    pub(crate) endpoint: Endpoint,
    pub(crate) dials_ipv6: bool,
    /// Where messages go; gone when the links are closed.
    pub(crate) inbound: Mutex<Option<Arc<[InboundSender; CHANNELS]>>>,
    pub(crate) counters: LinkCounters,
    /// Counts connections that came into use or ended.
    pub(crate) changes: watch::Sender<u64>,
    pub(crate) closing: watch::Sender<bool>,
    runtime: Handle,
}

impl Shared {
    /// A breach: closes the peer's connections and blocks it for a while.
    pub(crate) fn punish(&self, peer: &PeerState, reason: &str) {
        add(&self.counters.violations, 1);
        add(&self.counters.blocks, 1);
        tracing::warn!(reason, "link: a peer broke the protocol and is blocked");
        peer.set_blocked(reason, self.limits.block_duration, LinkCode::Violation);
    }

    /// How long to wait before `peer` is dialled after so many failures.
    pub(crate) fn dial_delay(&self, peer: &PeerState, failures: u32) -> Duration {
        if failures == 0 {
            return if self.public_key < peer.key { Duration::ZERO } else { self.limits.courtesy };
        }
        let doublings = (failures - 1).min(DOUBLINGS_MAX);
        let longest = self.limits.backoff_min.saturating_mul(1 << doublings).min(self.limits.backoff_max);
        // Half of it for sure, the other half by chance: those that failed together do not come back together.
        let chance = random().unwrap_or(0) % 1_000;
        longest / 2 + (longest / 2).saturating_mul(u32::try_from(chance).unwrap_or(0)) / 1_000
    }

    fn close(&self) {
        if self.closing.send_replace(true) {
            return;
        }
        self.inbound.lock().take();
        let code = LinkCode::ShuttingDown;
        self.endpoint.close(VarInt::from_u32(code as u32), code.meaning().as_bytes());
    }
}

/// Closes everything when the last handle is gone.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The handle of the links of one validator. Cloning it is cheap; when the last clone is dropped, all is closed.
#[derive(Clone)]
pub struct Links {
    owner: Arc<Owner>,
}

impl std::fmt::Debug for Links {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Links").field("public_key", &self.owner.0.public_key).finish_non_exhaustive()
    }
}

impl Links {
    /// Listens, without peers yet. Returns the handle and the receiving end of each channel, by channel. Must be called
    /// inside a tokio runtime, on which all work is done.
    ///
    /// # Errors
    /// [`LinkError`] when the address, the key or the machine does not allow it.
    pub fn start(config: LinkConfig) -> Result<(Links, Vec<Inbound>), LinkError> {
        let runtime = Handle::try_current().map_err(|_| LinkError::NoRuntime)?;
        let instance = random().ok_or(LinkError::NoRandomness)?;
        let peers = Arc::new(PeerSet::default());
        let identity = LinkIdentity::new(&config.key, &config.genesis_hash)?;
        let server = identity.server_config(peers.clone(), &config.limits)?;
        let listen_error = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => LinkError::InUse(config.listen),
            _ => LinkError::Listen { address: config.listen, source },
        };
        let socket = transport::bind_socket(config.listen, false).map_err(listen_error)?;
        let mut socket = TokioRuntime.wrap_udp_socket(socket).map_err(listen_error)?;
        if let Some(trouble) = config.trouble {
            socket = Arc::new(TroubledSocket::new(socket, trouble, runtime.clone()));
        }
        let endpoint =
            Endpoint::new_with_abstract_socket(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))
                .map_err(listen_error)?;
        let mut receivers = Vec::with_capacity(CHANNELS);
        let senders = std::array::from_fn(|channel| {
            let (sender, receiver) = inbound(channel as u8);
            receivers.push(receiver);
            sender
        });
        let shared = Arc::new(Shared {
            public_key: config.key.verifying_key().to_bytes(),
            instance,
            identity,
            peers,
            table: Arc::new(SourceTable::new(Arc::new(config.limits.admission()), Clock::start())),
            endpoint,
            dials_ipv6: dials_ipv6(config.listen.ip()),
            inbound: Mutex::new(Some(Arc::new(senders))),
            counters: LinkCounters::default(),
            changes: watch::Sender::new(0),
            closing: watch::Sender::new(false),
            runtime: runtime.clone(),
            limits: config.limits,
        });
        runtime.spawn(accept(shared.clone()));
        Ok((Links { owner: Arc::new(Owner(shared)) }, receivers))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.0
    }

    /// The address that the links listen on.
    ///
    /// # Errors
    /// The system's error when the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared().endpoint.local_addr()
    }

    /// Makes `peers` the set: connects to those that are new, disconnects those that are gone, and dials the others at
    /// their new addresses from the next attempt on. This node's own key is left out; at most [`PEERS_MAX`] are taken.
    pub fn set_peers(&self, peers: Vec<Peer>) {
        let shared = self.shared();
        let mut wanted: BTreeMap<[u8; 32], String> = peers
            .into_iter()
            .map(|peer| (peer.key, peer.address))
            .filter(|(key, _)| *key != shared.public_key)
            .collect();
        while wanted.len() > PEERS_MAX {
            wanted.pop_last();
            tracing::warn!("link: more than {PEERS_MAX} peers were given; one is left out");
        }
        let (mut new, mut gone) = (Vec::new(), Vec::new());
        {
            let mut set = shared.peers.peers.write();
            set.retain(|key, peer| {
                let stays = wanted.contains_key(key);
                if !stays {
                    gone.push(peer.clone());
                }
                stays
            });
            for (key, address) in wanted {
                match set.get(&key) {
                    Some(peer) => *peer.address.lock() = address,
                    None => {
                        let peer = Arc::new(PeerState::new(key, address, &shared.limits));
                        set.insert(key, peer.clone());
                        new.push(peer);
                    }
                }
            }
        }
        for peer in gone {
            peer.remove();
            shared.peers.gone.lock().add(&peer.status());
        }
        for peer in new {
            shared.runtime.spawn(keep_dialled(shared.clone(), peer));
        }
    }

    /// Sends `message` to `peer` on `channel`, or says why not. Never blocks, and does not copy the message.
    pub fn try_send(&self, peer: &[u8; 32], channel: u8, message: Bytes) -> SendOutcome {
        let shared = self.shared();
        let place = usize::from(channel);
        let Some(limits) = shared.limits.channels.get(place) else { return SendOutcome::Invalid };
        if message.is_empty() || message.len() > limits.message_bytes_max {
            return SendOutcome::Invalid;
        }
        let Some(peer) = shared.peers.get(peer) else { return SendOutcome::Unknown };
        if !peer.is_online() {
            return if peer.blocked().is_some() { SendOutcome::Blocked } else { SendOutcome::Offline };
        }
        if peer.push(place, message) {
            return SendOutcome::Sent;
        }
        if limits.lossy {
            add(&peer.counters[place].dropped_sending, 1);
        }
        SendOutcome::Full
    }

    /// Closes the connections with `peer` and accepts none for [`LinkLimits::block_duration`]. Does nothing when the
    /// key is not in the set.
    pub fn block(&self, peer: &[u8; 32], reason: &str) {
        let shared = self.shared();
        if let Some(peer) = shared.peers.get(peer) {
            add(&shared.counters.blocks, 1);
            peer.set_blocked(reason, shared.limits.block_duration, LinkCode::Blocked);
        }
    }

    /// What is known of each peer of the set, by key.
    pub fn status(&self) -> Vec<PeerStatus> {
        let peers: Vec<Arc<PeerState>> = self.shared().peers.peers.read().values().cloned().collect();
        peers.iter().map(|peer| peer.status()).collect()
    }

    /// Whether messages to `peer` can be sent now.
    pub fn is_connected(&self, peer: &[u8; 32]) -> bool {
        self.shared().peers.get(peer).is_some_and(|peer| peer.is_online())
    }

    /// Keys of the peers to which messages can be sent now, in order.
    pub fn connected(&self) -> Vec<[u8; 32]> {
        let peers = self.shared().peers.peers.read();
        peers.values().filter(|peer| peer.is_online()).map(|peer| peer.key).collect()
    }

    /// A number that changes whenever a connection comes into use or ends, to wait on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared().changes.subscribe()
    }

    /// The counters now.
    pub fn metrics(&self) -> LinkMetrics {
        let shared = self.shared();
        let mut totals = *shared.peers.gone.lock();
        let mut metrics = shared.counters.snapshot(&shared.peers.refused);
        for status in self.status() {
            totals.add(&status);
            metrics.peers += 1;
            metrics.peers_connected += u64::from(status.connected_since.is_some());
            metrics.peers_blocked += u64::from(status.blocked.is_some());
        }
        totals.fill(&mut metrics);
        metrics.incoming = shared.table.connections() as u64;
        metrics
    }

    /// Closes all connections and stops; the receiving ends give what they have and then end. Messages that wait to be
    /// sent are lost.
    pub fn close(&self) {
        self.shared().close();
    }

    /// Waits until the peers were told that the links are closed; call it after [`Self::close`], before the runtime
    /// ends.
    pub async fn closed(&self) {
        self.shared().endpoint.wait_idle().await;
    }
}

/// A random number of the system.
fn random() -> Option<u64> {
    let mut bytes = [0; 8];
    let random: &'static dyn SecureRandom = provider().secure_random;
    random.fill(&mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes))
}
