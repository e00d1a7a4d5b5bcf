//! Counters of the links, and what can be told about each peer.
//!
//! Relaxed atomics, counted once per read or write and not per message; a snapshot stops nothing, so its numbers may be
//! a few microseconds apart. Bytes of channels are bytes on streams, lengths included; bytes on the wire are UDP
//! payload, with QUIC's headers, acknowledgements and what was sent again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::limits::CHANNELS;

/// Why a connection attempt was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkRefusal {
    /// The key is not in the set.
    UnknownKey,
    /// The key is blocked for a while.
    Blocked,
    /// No raw Ed25519 key was shown: an X.509 certificate (expired or not), another kind of key, none, or a signature
    /// that is not the key's.
    Certificate,
    /// The dialled address answered with another key than the one it was dialled for.
    OtherKey,
    /// The other side is of another chain, or speaks another version of the protocol.
    OtherChain,
    /// The handshake failed in another way.
    Handshake,
    /// The handshake took too long.
    Timeout,
    /// There are as many incoming connections as are taken, in all or of this address.
    Full,
    /// The address starts handshakes too fast.
    Rate,
}

impl LinkRefusal {
    /// All reasons.
    pub const ALL: [LinkRefusal; 9] = [
        LinkRefusal::UnknownKey,
        LinkRefusal::Blocked,
        LinkRefusal::Certificate,
        LinkRefusal::OtherKey,
        LinkRefusal::OtherChain,
        LinkRefusal::Handshake,
        LinkRefusal::Timeout,
        LinkRefusal::Full,
        LinkRefusal::Rate,
    ];

    /// Name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            LinkRefusal::UnknownKey => "unknown_key",
            LinkRefusal::Blocked => "blocked",
            LinkRefusal::Certificate => "certificate",
            LinkRefusal::OtherKey => "other_key",
            LinkRefusal::OtherChain => "other_chain",
            LinkRefusal::Handshake => "handshake",
            LinkRefusal::Timeout => "timeout",
            LinkRefusal::Full => "full",
            LinkRefusal::Rate => "rate",
        }
    }
}

/// Refusals by reason.
#[derive(Debug, Default)]
pub(crate) struct RefusalCounters([AtomicU64; LinkRefusal::ALL.len()]);

impl RefusalCounters {
    pub(crate) fn count(&self, refusal: LinkRefusal) {
        add(&self.0[refusal as usize], 1);
    }

    pub(crate) fn snapshot(&self) -> Vec<(LinkRefusal, u64)> {
        LinkRefusal::ALL.iter().map(|of| (*of, get(&self.0[*of as usize]))).collect()
    }
}

/// What went over one channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelCount {
    /// Messages that were handed to QUIC.
    pub messages_sent: u64,
    /// Their bytes on the stream.
    pub bytes_sent: u64,
    /// Messages that arrived complete.
    pub messages_received: u64,
    /// Bytes that arrived on the stream.
    pub bytes_received: u64,
    /// Messages that were dropped before they were sent: no room in a lossy channel, or the connection ended.
    pub dropped_sending: u64,
    /// Messages of lossy channels that arrived and were dropped because nobody took the ones before.
    pub dropped_receiving: u64,
}

impl ChannelCount {
    fn plus(self, other: ChannelCount) -> ChannelCount {
        ChannelCount {
            messages_sent: self.messages_sent + other.messages_sent,
            bytes_sent: self.bytes_sent + other.bytes_sent,
            messages_received: self.messages_received + other.messages_received,
            bytes_received: self.bytes_received + other.bytes_received,
            dropped_sending: self.dropped_sending + other.dropped_sending,
            dropped_receiving: self.dropped_receiving + other.dropped_receiving,
        }
    }
}

/// Live counters of one channel with one peer.
#[derive(Debug, Default)]
pub(crate) struct ChannelCounters {
    pub(crate) messages_sent: AtomicU64,
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) messages_received: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) dropped_sending: AtomicU64,
    pub(crate) dropped_receiving: AtomicU64,
}

impl ChannelCounters {
    pub(crate) fn snapshot(&self) -> ChannelCount {
        ChannelCount {
            messages_sent: get(&self.messages_sent),
            bytes_sent: get(&self.bytes_sent),
            messages_received: get(&self.messages_received),
            bytes_received: get(&self.bytes_received),
            dropped_sending: get(&self.dropped_sending),
            dropped_receiving: get(&self.dropped_receiving),
        }
    }
}

/// What is known of one peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerStatus {
    /// Its Ed25519 key.
    pub key: [u8; 32],
    /// The `host:port` at which it is dialled.
    pub address: String,
    /// Where the connection in use comes from or goes to.
    pub remote: Option<SocketAddr>,
    /// When the connection in use was made; `None` while there is none.
    pub connected_since: Option<SystemTime>,
    /// Round trip of the connection in use.
    pub round_trip: Option<Duration>,
    /// Times that a connection came into use.
    pub connects: u64,
    /// Counters by channel, since the peer came into the set.
    pub channels: [ChannelCount; CHANNELS],
    /// UDP payload bytes that were sent to it.
    pub wire_bytes_sent: u64,
    /// UDP payload bytes that came from it.
    pub wire_bytes_received: u64,
    /// Why it is blocked, and for how long still.
    pub blocked: Option<(String, Duration)>,
    /// Why the last connection or attempt ended.
    pub last_error: Option<String>,
}

/// The counters of all links at one moment. All but the gauges count since the start.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkMetrics {
    /// Peers in the set (gauge).
    pub peers: u64,
    /// Peers with a connection in use (gauge).
    pub peers_connected: u64,
    /// Peers that are blocked (gauge).
    pub peers_blocked: u64,
    /// Incoming connections, handshakes included (gauge).
    pub incoming: u64,
    /// Counters by channel, over all peers that are or were in the set.
    pub channels: [ChannelCount; CHANNELS],
    /// UDP payload bytes sent to peers.
    pub wire_bytes_sent: u64,
    /// UDP payload bytes that came from peers.
    pub wire_bytes_received: u64,
    /// Handshakes that others began and completed.
    pub accepted: u64,
    /// Handshakes that this node began and completed.
    pub dialled: u64,
    /// Attempts to dial that failed.
    pub dial_failures: u64,
    /// Times that a peer that had been connected was connected again.
    pub reconnects: u64,
    /// Connections that were asked to prove their address first.
    pub retries: u64,
    /// Attempts that were refused, by reason.
    pub refused: Vec<(LinkRefusal, u64)>,
    /// Breaches of the protocol; each blocked a peer.
    pub violations: u64,
    /// Times that a peer was blocked, for a breach or on demand.
    pub blocks: u64,
    /// Times that reading a peer was delayed because it talked too fast.
    pub paced: u64,
}

impl LinkMetrics {
    /// Attempts that were refused for `reason`.
    pub fn refused(&self, reason: LinkRefusal) -> u64 {
        self.refused.iter().find(|(of, _)| *of == reason).map_or(0, |(_, count)| *count)
    }
}

/// Live counters that belong to no peer.
#[derive(Debug, Default)]
pub(crate) struct LinkCounters {
    pub(crate) accepted: AtomicU64,
    pub(crate) dialled: AtomicU64,
    pub(crate) dial_failures: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) violations: AtomicU64,
    pub(crate) blocks: AtomicU64,
    pub(crate) paced: AtomicU64,
}

impl LinkCounters {
    /// The metrics without what peers count.
    pub(crate) fn snapshot(&self, refused: &RefusalCounters) -> LinkMetrics {
        LinkMetrics {
            peers: 0,
            peers_connected: 0,
            peers_blocked: 0,
            incoming: 0,
            channels: [ChannelCount::default(); CHANNELS],
            wire_bytes_sent: 0,
            wire_bytes_received: 0,
            accepted: get(&self.accepted),
            dialled: get(&self.dialled),
            dial_failures: get(&self.dial_failures),
            reconnects: get(&self.reconnects),
            retries: get(&self.retries),
            refused: refused.snapshot(),
            violations: get(&self.violations),
            blocks: get(&self.blocks),
            paced: get(&self.paced),
        }
    }
}

/// What the peers counted that are no longer in the set.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    channels: [ChannelCount; CHANNELS],
    wire_bytes_sent: u64,
    wire_bytes_received: u64,
}

impl Totals {
    /// Adds what `status` counted.
    pub(crate) fn add(&mut self, status: &PeerStatus) {
        for (total, of_peer) in self.channels.iter_mut().zip(&status.channels) {
            *total = total.plus(*of_peer);
        }
        self.wire_bytes_sent += status.wire_bytes_sent;
        self.wire_bytes_received += status.wire_bytes_received;
    }

    /// Writes the totals to `metrics`.
    pub(crate) fn fill(&self, metrics: &mut LinkMetrics) {
        metrics.channels = self.channels;
        metrics.wire_bytes_sent = self.wire_bytes_sent;
        metrics.wire_bytes_received = self.wire_bytes_received;
    }
}

/// Adds `count` to `counter`.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// The value of `counter`.
pub(crate) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
