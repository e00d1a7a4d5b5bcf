//! Every bound of the links, and the codes that tell a peer why it was closed.
//!
//! A message belongs to one of nine channels. The number of a channel is its priority, 0 first: votes overtake batches
//! on the same connection. What is small and soon stale (0 to 5) is *lossy*: where there is no room, the newest message
//! is dropped and counted. What is large and wanted (6 to 8) is *held back*: the sender is told "full", the receiver
//! stops reading the stream.
//!
//! What one peer can make this side hold, with the defaults:
//!
//! - waiting to be sent: the sum of `queue_bytes_max`, 62 MiB, and the send window of 32 MiB;
//! - received and not yet taken: the sum of `inbound_bytes_max`, 42 MiB, and the receive window of 40 MiB, which both
//!   fill only when nobody takes messages from the inbound ends;
//! - parts of messages: one per channel, never more than four times what arrived.
//!
//! The receive window is the streams' windows together, so that a channel that is held back never takes the room of
//! another. The send window is eight of them, for the same reason.

use std::time::Duration;

use crate::limits::Limits;

/// Channels of a link: votes, certificates, certificate fetch, blocks, block fetch, marks, batches, fetch, sync.
pub const CHANNELS: usize = 9;

/// Peers that a set may have.
pub const PEERS_MAX: usize = 256;

/// Connections of one peer at a time, handshakes aside: the one in use, one that crosses it, and those that end.
pub const CONNECTIONS_PER_PEER_MAX: usize = 4;

/// Streams that a peer may have open: one per channel, its hello, and two that let a breach be seen and named.
pub(crate) const STREAMS_MAX: u32 = CHANNELS as u32 + 3;

/// Why a link was closed, as a QUIC application error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum LinkCode {
    /// The node is shutting down.
    ShuttingDown = 0,
    /// Another connection between the same two validators is used.
    Duplicate = 1,
    /// The key is no longer in the set.
    Removed = 2,
    /// The peer broke the protocol and is blocked for a while.
    Violation = 3,
    /// The key is blocked.
    Blocked = 4,
    /// No hello came in time.
    NoHello = 5,
    /// The peer has too many connections.
    TooManyConnections = 6,
    /// A stream of the peer was cut off.
    Broken = 7,
}

impl LinkCode {
    /// All codes, in the order of their numbers.
    pub const ALL: [LinkCode; 8] = [
        LinkCode::ShuttingDown,
        LinkCode::Duplicate,
        LinkCode::Removed,
        LinkCode::Violation,
        LinkCode::Blocked,
        LinkCode::NoHello,
        LinkCode::TooManyConnections,
        LinkCode::Broken,
    ];

    /// The code that `number` stands for.
    pub fn from_number(number: u64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|at| Self::ALL.get(at)).copied()
    }

    /// What happened, in words.
    pub fn meaning(self) -> &'static str {
        match self {
            LinkCode::ShuttingDown => "the validator is shutting down",
            LinkCode::Duplicate => "another connection between the two validators is used",
            LinkCode::Removed => "the key is no longer in the validator set",
            LinkCode::Violation => "the protocol was broken",
            LinkCode::Blocked => "the key is blocked for a while",
            LinkCode::NoHello => "no hello came in time",
            LinkCode::TooManyConnections => "too many connections of one validator",
            LinkCode::Broken => "a stream was cut off",
        }
    }
}

/// Bounds of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Largest message in bytes.
    pub message_bytes_max: usize,
    /// Drops the newest message where there is no room, rather than hold back.
    pub lossy: bool,
    /// Counts towards the rate at which a peer may talk.
    pub rated: bool,
    /// Messages that may wait to be sent, per peer.
    pub queue_messages_max: usize,
    /// Bytes that may wait to be sent, per peer.
    pub queue_bytes_max: usize,
    /// Bytes that were received and not taken yet, per peer; each message counts as 1 KiB more than its length.
    pub inbound_bytes_max: usize,
}

/// Bounds and times of the links. [`LinkLimits::default`] is what a validator uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkLimits {
    /// Bounds by channel.
    pub channels: [ChannelLimits; CHANNELS],
    /// Receive window of a stream in bytes: what a channel may have under way, so its rate times the round trip.
    pub stream_window_bytes: u32,
    /// Messages a second that a peer may send on the rated channels; as many at once.
    pub messages_per_second: u64,
    /// Bytes a second that a peer may send on the rated channels; as many at once.
    pub bytes_per_second: u64,
    /// Time for a handshake, and for the hello after it.
    pub handshake_timeout: Duration,
    /// Silence after which a connection is given up.
    pub idle_timeout: Duration,
    /// How often a connection that has nothing to say shows that it is there.
    pub keep_alive: Duration,
    /// First delay before a peer is dialled again; doubles with each failure.
    pub backoff_min: Duration,
    /// Longest delay before a peer is dialled again.
    pub backoff_max: Duration,
    /// How long the larger key waits for the smaller one to dial.
    pub courtesy: Duration,
    /// How long a connection that is given up for another may take to send what it has begun.
    pub retire_timeout: Duration,
    /// How long a peer that broke the protocol is blocked.
    pub block_duration: Duration,
    /// Connections that others began, in all.
    pub incoming_max: usize,
    /// Connections that others began, per IP address (IPv6: per /64).
    pub incoming_per_ip_max: usize,
    /// Handshakes under way above which an address must prove that it is reachable before it gets one.
    pub handshakes_before_retry: usize,
    /// Handshakes that an IP may start at once.
    pub handshakes_per_ip_burst: u64,
    /// Handshakes that an IP may start each second in the long run.
    pub handshakes_per_ip_per_second: u64,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

const fn lossy(message_bytes_max: usize, queue_messages_max: usize, bytes_max: usize) -> ChannelLimits {
    ChannelLimits {
        message_bytes_max,
        lossy: true,
        rated: true,
        queue_messages_max,
        queue_bytes_max: bytes_max,
        inbound_bytes_max: bytes_max,
    }
}

const fn held(message_bytes_max: usize, queue_messages_max: usize, queue_bytes_max: usize) -> ChannelLimits {
    ChannelLimits {
        message_bytes_max,
        lossy: false,
        rated: false,
        queue_messages_max,
        queue_bytes_max,
        inbound_bytes_max: 8 * MIB,
    }
}

impl Default for LinkLimits {
    fn default() -> Self {
        LinkLimits {
            channels: [
                lossy(MIB, 4_096, 2 * MIB),
                lossy(MIB, 1_024, 2 * MIB),
                lossy(MIB, 256, 2 * MIB),
                lossy(256 * KIB, 256, 2 * MIB),
                lossy(4 * MIB, 64, 8 * MIB),
                lossy(MIB, 1_024, 2 * MIB),
                held(2 * MIB, 64, 16 * MIB),
                held(2 * MIB, 128, 16 * MIB),
                held(4 * MIB, 16, 12 * MIB),
            ],
            stream_window_bytes: 4 * MIB as u32,
            messages_per_second: 20_000,
            bytes_per_second: 64 * MIB as u64,
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(1),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            courtesy: Duration::from_millis(100),
            retire_timeout: Duration::from_secs(2),
            block_duration: Duration::from_secs(60),
            incoming_max: 512,
            incoming_per_ip_max: 128,
            handshakes_before_retry: 32,
            handshakes_per_ip_burst: 256,
            handshakes_per_ip_per_second: 64,
        }
    }
}

impl LinkLimits {
    /// The window of all streams of a connection together, in bytes.
    pub fn connection_window_bytes(&self) -> u32 {
        self.stream_window_bytes.saturating_mul(CHANNELS as u32 + 1)
    }

    /// Bytes that a connection may have written and not seen acknowledged.
    pub fn send_window_bytes(&self) -> u64 {
        u64::from(self.stream_window_bytes) * (CHANNELS as u64 - 1)
    }

    /// What the table of IP addresses works with.
    pub(crate) fn admission(&self) -> Limits {
        Limits {
            connections_max: self.incoming_max,
            connections_per_ip_max: self.incoming_per_ip_max,
            connections_per_ip_before_retry: self.incoming_per_ip_max,
            handshakes_before_retry: self.handshakes_before_retry,
            handshake_timeout: self.handshake_timeout,
            handshakes_per_ip_burst: self.handshakes_per_ip_burst,
            handshakes_per_ip_per_second: self.handshakes_per_ip_per_second,
            ..Limits::default()
        }
    }
}
