//! What is kept for one peer, and which of its connections is used.
//!
//! A connection has a [`Role`] that only goes forward: it *greets* until the other side's hello is there, then it is
//! *current* (messages are sent on it), or *spare* (only read), and at last *retired* (finishes what it has begun). Both
//! sides dial, so two connections can cross. When one is greeted while another is current ([`decide`]):
//!
//! 1. another process answered: the current one's is gone, so the new one takes its place and the old one is closed;
//! 2. the new one was dialled by the smaller key, or by the same side as the current one: it takes its place, and the
//!    current one retires. Nobody dials while the own connection lives, so an old one of the same side is dead;
//! 3. otherwise the new one is a spare. It retires once the current one has received anything since: then that one
//!    lives. If it dies instead, the spare takes its place.
//!
//! So both sides end with the same connection, and the only one that works is never given up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use quinn::VarInt;
use tokio::sync::watch;

use super::inbound::InboundShare;
use super::limits::{CHANNELS, CONNECTIONS_PER_PEER_MAX, LinkCode, LinkLimits};
use super::metrics::{ChannelCounters, LinkRefusal, PeerStatus, RefusalCounters, Totals, add, get};
use super::queue::SendQueue;
use super::rate::RateLimit;

/// Characters of a reason or an error text that are kept.
const TEXT_CHARACTERS_MAX: usize = 200;

/// The peers of the current set by key, and how many attempts were refused.
#[derive(Debug, Default)]
pub(crate) struct PeerSet {
    pub(crate) peers: RwLock<BTreeMap<[u8; 32], Arc<PeerState>>>,
    pub(crate) refused: RefusalCounters,
    /// What the peers counted that are gone.
    pub(crate) gone: Mutex<Totals>,
}

impl PeerSet {
    /// The peer with this key.
    pub(crate) fn get(&self, key: &[u8; 32]) -> Option<Arc<PeerState>> {
        self.peers.read().get(key).cloned()
    }

    /// Why `key` may not connect now; `None` when it may.
    pub(crate) fn refusal(&self, key: &[u8; 32]) -> Option<LinkRefusal> {
        match self.peers.read().get(key) {
            None => Some(LinkRefusal::UnknownKey),
            Some(peer) => peer.blocked().map(|_| LinkRefusal::Blocked),
        }
    }
}

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The other side's hello is not there yet.
    Greeting,
    /// Read only, until it is clear whether it is needed.
    Spare,
    /// Messages are sent on it.
    Current,
    /// Finishes what it has begun.
    Retired,
}

/// What becomes of a connection that was greeted while another is current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It takes the other's place, which is closed at once.
    ReplaceDead,
    /// It takes the other's place, which retires.
    Replace,
    /// It waits until the other is known to live, or to be dead.
    Wait,
}

/// The rule of the module's text, for connections given by the other side's instance and whether the smaller key
/// dialled.
pub(crate) fn decide(current: (u64, bool), new: (u64, bool)) -> Decision {
    match (current, new) {
        ((current_instance, _), (new_instance, _)) if current_instance != new_instance => Decision::ReplaceDead,
        ((_, true), (_, false)) => Decision::Wait,
        _ => Decision::Replace,
    }
}

/// What the dialling task should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialNeed {
    /// Dial.
    Wanted,
    /// There is a connection, or one is coming.
    Connected,
    /// The peer is blocked for so long still.
    Blocked(Duration),
    /// The peer is no longer in the set.
    Removed,
}

struct Entry {
    number: u64,
    connection: quinn::Connection,
    by_smaller: bool,
    instance: u64,
    role: watch::Sender<Role>,
    since: (Instant, SystemTime),
    /// Of a spare: datagrams that the current connection had received when this one was greeted.
    rival_datagrams: u64,
}

impl Entry {
    fn role(&self) -> Role {
        *self.role.borrow()
    }
}

#[derive(Default)]
struct Connections {
    entries: Vec<Entry>,
    next_number: u64,
    /// UDP payload bytes of connections that are gone.
    wire_bytes_sent: u64,
    wire_bytes_received: u64,
}

impl Connections {
    fn with_role(&self, role: Role) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.role() == role)
    }
}

struct Block {
    until: Instant,
    reason: String,
}

/// One peer of the set.
pub(crate) struct PeerState {
    pub(crate) key: [u8; 32],
    pub(crate) address: Mutex<String>,
    pub(crate) queues: [SendQueue; CHANNELS],
    pub(crate) shares: [InboundShare; CHANNELS],
    pub(crate) rate: RateLimit,
    pub(crate) counters: [ChannelCounters; CHANNELS],
    /// There is a current connection.
    online: AtomicBool,
    removed: AtomicBool,
    connects: AtomicU64,
    /// Attempts since the last connection that lasted.
    pub(crate) failures: AtomicU32,
    lasting: Duration,
    connections: Mutex<Connections>,
    block: Mutex<Option<Block>>,
    last_error: Mutex<Option<String>>,
    /// Changes whenever the answer of [`Self::dial_need`] may.
    pub(crate) changed: watch::Sender<()>,
}

impl std::fmt::Debug for PeerState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PeerState").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A connection's membership with its peer; dropping it ends it.
pub(crate) struct Membership {
    peer: Arc<PeerState>,
    number: u64,
    pub(crate) role: watch::Receiver<Role>,
}

impl PeerState {
    pub(crate) fn new(key: [u8; 32], address: String, limits: &LinkLimits) -> Self {
        PeerState {
            key,
            address: Mutex::new(address),
            queues: std::array::from_fn(|channel| SendQueue::new(&limits.channels[channel])),
            shares: std::array::from_fn(|channel| InboundShare::new(&limits.channels[channel])),
            rate: RateLimit::new(limits.messages_per_second, limits.bytes_per_second),
            counters: Default::default(),
            online: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            connects: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            lasting: limits.backoff_max,
            connections: Mutex::default(),
            block: Mutex::new(None),
            last_error: Mutex::new(None),
            changed: watch::Sender::new(()),
        }
    }

    /// Whether messages can be sent now.
    pub(crate) fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }

    /// The reason why the peer is blocked, and how long it still is.
    pub(crate) fn blocked(&self) -> Option<(String, Duration)> {
        let mut block = self.block.lock();
        let left = block.as_ref().map(|block| block.until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            *block = None;
        }
        block.as_ref().map(|block| (block.reason.clone(), left.unwrap_or_default()))
    }

    /// Closes all connections with `code` and accepts none for `duration`.
    pub(crate) fn set_blocked(&self, reason: &str, duration: Duration, code: LinkCode) {
        let reason = shortened(reason);
        *self.block.lock() = Some(Block { until: Instant::now() + duration, reason: reason.clone() });
        self.close_all(code, &reason);
        self.changed.send_replace(());
    }

    /// The peer is no longer in the set: closes everything, for ever.
    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::SeqCst);
        self.close_all(LinkCode::Removed, LinkCode::Removed.meaning());
        self.changed.send_replace(());
    }

    fn close_all(&self, code: LinkCode, reason: &str) {
        for entry in &self.connections.lock().entries {
            entry.connection.close(VarInt::from_u32(code as u32), reason.as_bytes());
        }
    }

    /// Remembers why a connection or an attempt ended.
    pub(crate) fn note_error(&self, text: &str) {
        *self.last_error.lock() = Some(shortened(text));
    }

    /// What the dialling task should do now.
    pub(crate) fn dial_need(&self) -> DialNeed {
        if self.removed.load(Ordering::SeqCst) {
            return DialNeed::Removed;
        }
        if let Some((_, left)) = self.blocked() {
            return DialNeed::Blocked(left);
        }
        let connections = self.connections.lock();
        match connections.entries.iter().any(|entry| entry.role() != Role::Retired) {
            true => DialNeed::Connected,
            false => DialNeed::Wanted,
        }
    }

    /// Takes a new connection in, to be greeted.
    ///
    /// # Errors
    /// The code with which to close it when it cannot be.
    pub(crate) fn admit(
        self: &Arc<Self>,
        connection: &quinn::Connection,
        by_smaller: bool,
    ) -> Result<Membership, LinkCode> {
        let mut connections = self.connections.lock();
        // Asked under the lock: whoever removes or blocks closes what is in the list afterwards.
        if self.removed.load(Ordering::SeqCst) {
            return Err(LinkCode::Removed);
        }
        if self.blocked().is_some() {
            return Err(LinkCode::Blocked);
        }
        if connections.entries.len() >= CONNECTIONS_PER_PEER_MAX {
            return Err(LinkCode::TooManyConnections);
        }
        let number = connections.next_number;
        connections.next_number += 1;
        let (role, receiver) = watch::channel(Role::Greeting);
        connections.entries.push(Entry {
            number,
            connection: connection.clone(),
            by_smaller,
            instance: 0,
            role,
            since: (Instant::now(), SystemTime::now()),
            rival_datagrams: 0,
        });
        drop(connections);
        self.changed.send_replace(());
        Ok(Membership { peer: self.clone(), number, role: receiver })
    }

    /// Why the peer's messages that wait were lost: nobody is there to get them.
    fn go_offline(&self) {
        self.online.store(false, Ordering::Relaxed);
        for (queue, counters) in self.queues.iter().zip(&self.counters) {
            add(&counters.dropped_sending, queue.clear());
        }
    }

    fn make_current(&self, entry: &Entry) -> u64 {
        entry.role.send_replace(Role::Current);
        self.online.store(true, Ordering::Relaxed);
        self.connects.fetch_add(1, Ordering::Relaxed)
    }

    /// Puts `message` into the queue of `channel`; false when there is no room.
    pub(crate) fn push(&self, channel: usize, message: Bytes) -> bool {
        self.queues.get(channel).is_some_and(|queue| queue.push(message))
    }

    /// What can be told about the peer.
    pub(crate) fn status(&self) -> PeerStatus {
        let connections = self.connections.lock();
        let current = connections.with_role(Role::Current);
        let mut status = PeerStatus {
            key: self.key,
            address: self.address.lock().clone(),
            remote: current.map(|entry| entry.connection.remote_address()),
            connected_since: current.map(|entry| entry.since.1),
            round_trip: current.map(|entry| entry.connection.rtt()),
            connects: get(&self.connects),
            channels: std::array::from_fn(|channel| self.counters[channel].snapshot()),
            wire_bytes_sent: connections.wire_bytes_sent,
            wire_bytes_received: connections.wire_bytes_received,
            blocked: None,
            last_error: self.last_error.lock().clone(),
        };
        for entry in &connections.entries {
            let stats = entry.connection.stats();
            status.wire_bytes_sent += stats.udp_tx.bytes;
            status.wire_bytes_received += stats.udp_rx.bytes;
        }
        drop(connections);
        status.blocked = self.blocked();
        status
    }
}

impl Membership {
    /// The other side's hello is there. Returns how often the peer was connected before when this connection is used
    /// from now on.
    pub(crate) fn greeted(&self, instance: u64) -> Option<u64> {
        let mut connections = self.peer.connections.lock();
        let at = connections.entries.iter().position(|entry| entry.number == self.number)?;
        connections.entries[at].instance = instance;
        let new = &connections.entries[at];
        let Some(current) = connections.with_role(Role::Current) else { return Some(self.peer.make_current(new)) };
        match decide((current.instance, current.by_smaller), (instance, new.by_smaller)) {
            Decision::ReplaceDead => {
                current.role.send_replace(Role::Retired);
                let code = LinkCode::Duplicate;
                current.connection.close(VarInt::from_u32(code as u32), code.meaning().as_bytes());
                Some(self.peer.make_current(new))
            }
            Decision::Replace => {
                current.role.send_replace(Role::Retired);
                self.peer.make_current(new);
                None
            }
            Decision::Wait => {
                let datagrams = current.connection.stats().udp_rx.datagrams;
                new.role.send_replace(Role::Spare);
                connections.entries[at].rival_datagrams = datagrams;
                None
            }
        }
    }

    /// Of a spare, now and then: retires it when the current connection has shown that it lives.
    pub(crate) fn review(&self) {
        let connections = self.peer.connections.lock();
        let Some(current) = connections.with_role(Role::Current) else { return };
        let datagrams = current.connection.stats().udp_rx.datagrams;
        let spare = connections.entries.iter().find(|entry| entry.number == self.number);
        if let Some(spare) = spare.filter(|spare| datagrams > spare.rival_datagrams) {
            spare.role.send_replace(Role::Retired);
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let peer = &self.peer;
        let mut connections = peer.connections.lock();
        let Some(at) = connections.entries.iter().position(|entry| entry.number == self.number) else { return };
        let entry = connections.entries.swap_remove(at);
        let stats = entry.connection.stats();
        connections.wire_bytes_sent += stats.udp_tx.bytes;
        connections.wire_bytes_received += stats.udp_rx.bytes;
        match entry.role() {
            Role::Current => {
                let lasted = entry.since.0.elapsed() >= peer.lasting;
                let failures = if lasted { 0 } else { peer.failures.load(Ordering::Relaxed).saturating_add(1) };
                peer.failures.store(failures, Ordering::Relaxed);
                match connections.with_role(Role::Spare) {
                    Some(spare) => {
                        peer.make_current(spare);
                    }
                    None => peer.go_offline(),
                }
            }
            Role::Greeting => {
                peer.failures.fetch_add(1, Ordering::Relaxed);
            }
            Role::Spare | Role::Retired => {}
        }
        drop(connections);
        peer.changed.send_replace(());
    }
}

/// The first printable characters of `text`: reasons may come from outside.
fn shortened(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(TEXT_CHARACTERS_MAX).collect()
}
