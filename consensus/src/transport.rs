//! The library's network traits over our validator links.
//!
//! - A sender of a channel hands bytes to [`Links::try_send`], which never waits. *Full* is told as rejected, *offline* and *blocked* as closed: the
//!   lanes try the first again soon and the second rarely; the library's own actors take both as a loss, which their protocols allow.
//! - A receiver never fails: an error would stop the library's engines for good. When the links are closed it waits for ever, and the
//!   runtime ends it.
//! - The directory is the set of peers with their addresses: whoever tracks a set makes the links connect to it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use commonware_actor::{Feedback, Unreliable};
use commonware_p2p::{
    BlockedSubscription, Blocker, CheckedSender, LimitedSender, Manager, Message, PeerSetSubscription, PeerSetUpdate,
    Provider, Receiver, Recipients, TrackedPeers,
};
use commonware_runtime::{IoBuf, IoBufs};
use commonware_utils::channel::{mpsc, ring};
use commonware_utils::ordered::Set;
use parking_lot::Mutex;
use tana_net::link::{Inbound, Links, Peer, SendOutcome};

use crate::core::keys::{PublicKey, key_bytes, public_key};

/// What a receiver says that it holds; links bound it by bytes per peer (2 MiB to 8 MiB), this is the same in messages.
// 1,024 is above 0.
const RECEIVER_MESSAGES: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
/// Sets of peers that can be asked for by number.
const SETS_REMEMBERED_MAX: usize = 16;

/// Who the peers are and where. Clones share.
#[derive(Clone)]
pub(crate) struct Directory {
    shared: Arc<Mutex<DirectoryState>>,
    links: Links,
    me: [u8; 32],
}

struct DirectoryState {
    addresses: BTreeMap<[u8; 32], String>,
    sets: BTreeMap<u64, TrackedPeers<PublicKey>>,
    subscribers: Vec<mpsc::UnboundedSender<PeerSetUpdate<PublicKey>>>,
    peers: Arc<Vec<PublicKey>>,
    blocked: Vec<PublicKey>,
    blocked_subscribers: Vec<ring::Sender<Set<PublicKey>>>,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Directory").finish_non_exhaustive()
    }
}

impl Directory {
    pub(crate) fn new(links: Links, me: [u8; 32]) -> Self {
        let state = DirectoryState {
            addresses: BTreeMap::new(),
            sets: BTreeMap::new(),
            subscribers: Vec::new(),
            peers: Arc::default(),
            blocked: Vec::new(),
            blocked_subscribers: Vec::new(),
        };
        Self { shared: Arc::new(Mutex::new(state)), links, me }
    }

    /// Learns where validators listen; known ones that moved are dialled at the new address.
    pub(crate) fn learn(&self, addresses: impl Iterator<Item = ([u8; 32], String)>) {
        let mut state = self.shared.lock();
        let before = state.addresses.clone();
        state.addresses.extend(addresses);
        if state.addresses != before {
            self.apply(&state);
        }
    }

    fn apply(&self, state: &DirectoryState) {
        let with_address = |key: &PublicKey| {
            let key = key_bytes(key);
            state.addresses.get(&key).map(|address| Peer { key, address: address.clone() })
        };
        self.links.set_peers(state.peers.iter().filter_map(with_address).collect());
    }

    fn peers(&self) -> Arc<Vec<PublicKey>> {
        self.shared.lock().peers.clone()
    }
}

impl Provider for Directory {
    type PublicKey = PublicKey;

    async fn peer_set(&mut self, id: u64) -> Option<TrackedPeers<PublicKey>> {
        self.shared.lock().sets.get(&id).cloned()
    }

    async fn subscribe(&mut self) -> PeerSetSubscription<PublicKey> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.shared.lock();
        if let Some((index, latest)) = state.sets.last_key_value() {
            // The receiver is in hand.
            let _ = sender.send(PeerSetUpdate { index: *index, latest: latest.clone(), all: latest.clone() });
        }
        state.subscribers.push(sender);
        receiver
    }
}

impl Manager for Directory {
    fn track<P>(&mut self, id: u64, peers: P) -> Feedback
    where
        P: Into<TrackedPeers<PublicKey>> + Send,
    {
        let latest = peers.into();
        let mut state = self.shared.lock();
        let all = latest.clone().union();
        state.peers = Arc::new(all.into_iter().filter(|key| key_bytes(key) != self.me).collect());
        state.sets.insert(id, latest.clone());
        while state.sets.len() > SETS_REMEMBERED_MAX {
            state.sets.pop_first();
        }
        let update = PeerSetUpdate { index: id, all: latest.clone(), latest };
        state.subscribers.retain(|subscriber| subscriber.send(update.clone()).is_ok());
        self.apply(&state);
        Feedback::Ok
    }
}

impl Blocker for Directory {
    type PublicKey = PublicKey;

    fn block(&mut self, peer: PublicKey) -> Feedback {
        self.links.block(&key_bytes(&peer), "agreement found its messages faulty");
        let mut state = self.shared.lock();
        if !state.blocked.contains(&peer) && state.peers.contains(&peer) {
            state.blocked.push(peer);
        }
        let blocked = Set::from_iter_dedup(state.blocked.iter().cloned());
        state.blocked_subscribers.retain(|subscriber| subscriber.send_lossy(blocked.clone()));
        Feedback::Ok
    }

    fn blocked(&mut self) -> BlockedSubscription<PublicKey> {
        let (sender, receiver) = ring::channel(NonZeroUsize::MIN);
        let mut state = self.shared.lock();
        sender.send_lossy(Set::from_iter_dedup(state.blocked.iter().cloned()));
        state.blocked_subscribers.push(sender);
        receiver
    }
}

/// The sending end of one channel. Clones share.
#[derive(Clone)]
pub(crate) struct LinkSender {
    directory: Directory,
    channel: u8,
}

impl LinkSender {
    pub(crate) fn new(directory: Directory, channel: u8) -> Self {
        Self { directory, channel }
    }
}

impl LimitedSender for LinkSender {
    type PublicKey = PublicKey;
    type Checked<'a> = LinkMessage<'a>;

    fn check(&mut self, recipients: Recipients<PublicKey>) -> Result<LinkMessage<'_>, SystemTime> {
        let recipients = match recipients {
            Recipients::All => self.directory.peers().to_vec(),
            Recipients::Some(keys) => keys,
            Recipients::One(key) => vec![key],
        };
        Ok(LinkMessage { sender: self, recipients })
    }
}

/// A message that is about to be sent.
pub(crate) struct LinkMessage<'a> {
    sender: &'a LinkSender,
    recipients: Vec<PublicKey>,
}

impl CheckedSender for LinkMessage<'_> {
    type PublicKey = PublicKey;

    fn recipients(&self) -> Vec<PublicKey> {
        self.recipients.clone()
    }

    fn send(self, message: impl Into<IoBufs> + Send, _priority: bool) -> Unreliable<Feedback> {
        let message = Bytes::from(message.into().coalesce());
        let (mut sent, mut full) = (self.recipients.is_empty(), false);
        for recipient in &self.recipients {
            let links = &self.sender.directory.links;
            match links.try_send(&key_bytes(recipient), self.sender.channel, message.clone()) {
                SendOutcome::Sent => sent = true,
                SendOutcome::Full => full = true,
                _ => {}
            }
        }
        match (sent, full) {
            (true, _) => Unreliable::Outcome(Feedback::Ok),
            (false, true) => Unreliable::Rejected,
            (false, false) => Unreliable::Outcome(Feedback::Closed),
        }
    }
}

/// The receiving end of one channel.
#[derive(Debug)]
pub(crate) struct LinkReceiver {
    inbound: Inbound,
    keys: BTreeMap<[u8; 32], PublicKey>,
}

/// Decoded keys that a receiver remembers: the peers of two sets.
const KEYS_REMEMBERED_MAX: usize = 512;

impl LinkReceiver {
    pub(crate) fn new(inbound: Inbound) -> Self {
        Self { inbound, keys: BTreeMap::new() }
    }

    fn key(&mut self, bytes: &[u8; 32]) -> Option<PublicKey> {
        if let Some(key) = self.keys.get(bytes) {
            return Some(key.clone());
        }
        let key = public_key(bytes)?;
        if self.keys.len() >= KEYS_REMEMBERED_MAX {
            self.keys.clear();
        }
        self.keys.insert(*bytes, key.clone());
        Some(key)
    }
}

impl Receiver for LinkReceiver {
    type Error = Infallible;
    type PublicKey = PublicKey;

    async fn recv(&mut self) -> Result<Message<PublicKey>, Infallible> {
        while let Some((from, message)) = self.inbound.recv().await {
            if let Some(key) = self.key(&from) {
                return Ok((key, IoBuf::from(message)));
            }
        }
        std::future::pending().await
    }

    fn capacity(&self) -> NonZeroUsize {
        RECEIVER_MESSAGES
    }
}
