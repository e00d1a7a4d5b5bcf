//! The network of a syncing node: links to the other validators, of which only the channel of state sync is used. They are closed when the sync is
//! over, before agreement opens its own.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tana_net::link::{Inbound, LinkConfig, LinkError, LinkLimits, Links, Peer, SendOutcome};
use tana_types::Hash;
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};

use super::exchange::{PeerKey, Transport};

/// The channel of state sync.
pub const SYNC_CHANNEL: u8 = 8;
/// How long closing may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why there is no network.
#[derive(Debug, Error)]
pub enum TransportError {
    /// The links did not start.
    #[error(transparent)]
    Links(#[from] LinkError),
    /// No threads.
    #[error("cannot start the network's thread: {0}")]
    Runtime(std::io::Error),
    /// The links have no such channel.
    #[error("the links have no channel for state sync; this is a defect of the node, please report it")]
    Channel,
}

/// See the module's text.
pub struct LinkTransport {
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
    links: Links,
    inbound: Inbound,
}

impl LinkTransport {
    /// Listens on `listen` and dials `peers`.
    ///
    /// # Errors
    /// When the address or the machine does not allow it.
    pub fn start(
        key: SigningKey,
        genesis_hash: Hash,
        listen: SocketAddr,
        peers: Vec<Peer>,
    ) -> Result<Self, TransportError> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(TransportError::Runtime)?;
        let entered = runtime.enter();
        let (links, inbound) =
            Links::start(LinkConfig { key, genesis_hash, listen, limits: LinkLimits::default(), trouble: None })?;
        links.set_peers(peers);
        drop(entered);
        // What comes on other channels is thrown away with their ends.
        let inbound = inbound.into_iter().find(|end| end.channel() == SYNC_CHANNEL).ok_or(TransportError::Channel)?;
        Ok(Self { runtime: Some(runtime), links, inbound })
    }
}

impl Transport for LinkTransport {
    fn peers(&self) -> Vec<PeerKey> {
        self.links.connected()
    }

    fn send(&mut self, peer: &PeerKey, message: Vec<u8>) -> bool {
        self.links.try_send(peer, SYNC_CHANNEL, Bytes::from(message)) == SendOutcome::Sent
    }

    fn receive(&mut self, timeout: Duration) -> Option<(PeerKey, Vec<u8>)> {
        if let Some((peer, message)) = self.inbound.try_recv() {
            return Some((peer, message.to_vec()));
        }
        let inbound = &mut self.inbound;
        let runtime = self.runtime.as_ref()?;
        let received = runtime.block_on(async { tokio::time::timeout(timeout, inbound.recv()).await });
        received.ok().flatten().map(|(peer, message)| (peer, message.to_vec()))
    }

    fn expel(&mut self, peer: &PeerKey, reason: &str) {
        self.links.block(peer, reason);
    }
}

impl Drop for LinkTransport {
    fn drop(&mut self) {
        self.links.close();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(GOODBYE);
        }
    }
}
