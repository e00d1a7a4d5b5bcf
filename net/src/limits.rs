//! Every bound of the transaction server, and the codes that tell a peer why it was closed.
//!
//! What one peer can make the server hold, with the defaults:
//!
//! - a connection: about 40 KiB of quinn's and TLS state, and its windows. A receive window is 512 KiB while there is
//!   room and 64 KiB when the server is crowded ([`Limits::receive_window_bytes`]), so that all 1,024 connections
//!   together can fill 160 MiB and not 512;
//! - unfinished frames: [`Limits::partial_bytes_per_connection_max`] each and [`Limits::partial_bytes_max`] in all,
//!   beyond which only connections that hold less than one frame may still grow;
//! - answers that nobody reads: [`Limits::answer_events_max`] events of 32 bytes in all, besides one a stream;
//! - answers to queries: [`Limits::queries_max`] of at most 4 MiB in all.
//!
//! A garbage sender raises a score that leaks away with time and with good transactions ([`crate::score`]). With the
//! defaults an address may send 10 bad signatures a second, and one in 1,024, for ever without any effect.

use std::time::Duration;

use crate::frame::FRAME_BYTES_MAX;

/// Why a connection was closed or a stream reset, as QUIC application error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CloseCode {
    /// The peer was done.
    Normal = 0,
    /// A frame was empty, cut off, of an unknown stream type, or its content could not be read.
    MalformedFrame = 1,
    /// A frame announced more than 65,536 bytes.
    FrameTooLarge = 2,
    /// The address sent too many bad signatures; it is refused for a while.
    BadSignatures = 3,
    /// The server is full, and this connection was idle for the longest time.
    TooManyConnections = 4,
    /// A frame that was started was not completed in time.
    SlowFrame = 5,
    /// The server is shutting down.
    ShuttingDown = 6,
    /// Too many bytes lay in unfinished frames.
    PartialFrames = 7,
    /// An answer to a query, or a submit stream's answers, were not read in time or could not be sent (stream reset
    /// only).
    QueryAborted = 8,
}

impl CloseCode {
    /// All codes, in the order of their numbers.
    pub const ALL: [CloseCode; 9] = [
        CloseCode::Normal,
        CloseCode::MalformedFrame,
        CloseCode::FrameTooLarge,
        CloseCode::BadSignatures,
        CloseCode::TooManyConnections,
        CloseCode::SlowFrame,
        CloseCode::ShuttingDown,
        CloseCode::PartialFrames,
        CloseCode::QueryAborted,
    ];

    /// The code that `number` stands for.
    pub fn from_number(number: u64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|at| Self::ALL.get(at)).copied()
    }

    /// What happened, in words.
    pub fn meaning(self) -> &'static str {
        match self {
            CloseCode::Normal => "closed normally",
            CloseCode::MalformedFrame => "malformed frame",
            CloseCode::FrameTooLarge => "frame too large",
            CloseCode::BadSignatures => "too many bad signatures from this address",
            CloseCode::TooManyConnections => "too many connections",
            CloseCode::SlowFrame => "a started frame was not completed in time",
            CloseCode::ShuttingDown => "the server is shutting down",
            CloseCode::PartialFrames => "too many bytes in unfinished frames",
            CloseCode::QueryAborted => "answers were not read in time or could not be delivered",
        }
    }

    /// What the client can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            CloseCode::Normal => "connect again",
            CloseCode::MalformedFrame => "check that the client follows docs/protocol.md for this version",
            CloseCode::FrameTooLarge => "send at most 65,536 bytes a frame",
            CloseCode::BadSignatures => {
                "check the signing key and the genesis hash; this address is refused for a while"
            }
            CloseCode::TooManyConnections => "use fewer connections, each can carry millions of transactions a second",
            CloseCode::SlowFrame => "send a frame only when all of it is ready",
            CloseCode::ShuttingDown => "connect again when the validator is back",
            CloseCode::PartialFrames => "finish a frame before the next is started, on fewer streams",
            CloseCode::QueryAborted => "read answers as they come, and ask for less at a time",
        }
    }
}

/// When an address with bad signatures is treated apart. Units: points; a bad signature is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScoreLimits {
    /// Above so many points its transactions are checked one by one, apart from others'.
    pub suspect_points: u64,
    /// Above so many points it is read at [`Limits::slow_bytes_per_second`].
    pub slow_points: u64,
    /// Above so many points its connections are closed and new ones refused.
    pub ban_points: u64,
    /// Points forgiven each second.
    pub forgiven_per_second: u64,
    /// Good transactions that make up for one point.
    pub good_per_point: u64,
    /// How long a first ban lasts; each further one twice as long, up to 16 times.
    pub ban: Duration,
}

/// Bounds and times of the server. [`Limits::default`] is what a validator uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all, handshakes included.
    pub connections_max: usize,
    /// Connections per IP address (IPv6: per /64).
    pub connections_per_ip_max: usize,
    /// Uni-streams open at a time per connection.
    pub uni_streams_max: u32,
    /// Bidirectional streams open at a time per connection.
    pub bidi_streams_max: u32,
    /// Receive window of a connection in bytes while less than an eighth of `connections_max` is used; the window
    /// halves at an eighth, a quarter and a half of it.
    pub receive_window_bytes: u32,
    /// Receive window of a stream in bytes (never more than its connection's).
    pub stream_window_bytes: u32,
    /// Bytes that were sent and not acknowledged, per connection.
    pub send_window_bytes: u64,
    /// Handshakes under way above which an address must prove that it is reachable before it gets one.
    pub handshakes_before_retry: usize,
    /// Connections of one IP above which an address must prove that it is reachable.
    pub connections_per_ip_before_retry: usize,
    /// Time for a handshake.
    pub handshake_timeout: Duration,
    /// Handshakes that an IP may start at once.
    pub handshakes_per_ip_burst: u64,
    /// Handshakes that an IP may start each second in the long run.
    pub handshakes_per_ip_per_second: u64,
    /// Silence (not even a keep-alive) after which a connection is dropped.
    pub idle_timeout: Duration,
    /// Time without a frame after which a connection may be closed for a new one when the server is full.
    pub evict_after: Duration,
    /// Time for a started frame to complete, while the server itself does not hold the connection back.
    pub frame_deadline: Duration,
    /// Bytes of unfinished frames per connection.
    pub partial_bytes_per_connection_max: usize,
    /// Bytes of unfinished frames in all, above which a connection may hold one frame's worth only.
    pub partial_bytes_max: usize,
    /// Queries being answered per connection.
    pub queries_per_connection_max: usize,
    /// Queries being answered per IP.
    pub queries_per_ip_max: usize,
    /// Queries being answered in all.
    pub queries_max: usize,
    /// Time to write the answer of a query.
    pub query_write_timeout: Duration,
    /// Answer events that may wait per stream.
    pub answer_events_per_stream_max: usize,
    /// Answer events that may wait in all; above it each stream of an address that has its fair share may have one,
    /// and above four times it each stream of any address.
    pub answer_events_max: usize,
    /// Time without progress in writing answers after which a submit stream gets no more: its client does not read.
    pub answer_write_timeout: Duration,
    /// IP addresses remembered for what they did.
    pub sources_max: usize,
    /// Thresholds for bad signatures.
    pub score: ScoreLimits,
    /// Bytes read per second and IP when it is slowed.
    pub slow_bytes_per_second: u64,
    /// How long a stream that the intake has no room for waits at most before it asks again, even without a
    /// notification: a forgotten one costs this delay and not the connection.
    pub hold_retry: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: 1_024,
            connections_per_ip_max: 256,
            uni_streams_max: 64,
            bidi_streams_max: 64,
            receive_window_bytes: 512 * 1024,
            stream_window_bytes: 256 * 1024,
            send_window_bytes: 128 * 1024,
            handshakes_before_retry: 64,
            connections_per_ip_before_retry: 32,
            handshake_timeout: Duration::from_secs(10),
            handshakes_per_ip_burst: 512,
            handshakes_per_ip_per_second: 64,
            idle_timeout: Duration::from_secs(30),
            evict_after: Duration::from_secs(60),
            frame_deadline: Duration::from_secs(30),
            partial_bytes_per_connection_max: 32 * FRAME_BYTES_MAX,
            partial_bytes_max: 1_024 * FRAME_BYTES_MAX,
            queries_per_connection_max: 4,
            queries_per_ip_max: 16,
            queries_max: 64,
            query_write_timeout: Duration::from_secs(10),
            answer_events_per_stream_max: 4_096,
            answer_events_max: 1_048_576,
            answer_write_timeout: Duration::from_secs(30),
            sources_max: 4_096,
            score: ScoreLimits {
                suspect_points: 32,
                slow_points: 512,
                ban_points: 4_096,
                forgiven_per_second: 10,
                good_per_point: 1_024,
                ban: Duration::from_secs(60),
            },
            slow_bytes_per_second: 64 * 1024,
            hold_retry: Duration::from_millis(100),
        }
    }
}

/// Steps in which the receive window of a new connection shrinks as the server fills.
pub const WINDOW_STEPS: usize = 4;

impl Limits {
    /// The step (0 is the widest window) for a connection that comes when `connections` are there already.
    pub fn window_step(&self, connections: usize) -> usize {
        match connections {
            count if count < self.connections_max / 8 => 0,
            count if count < self.connections_max / 4 => 1,
            count if count < self.connections_max / 2 => 2,
            _ => 3,
        }
    }

    /// Receive window in bytes of a connection at `step`; never less than one frame of the largest size.
    pub fn window_bytes(&self, step: usize) -> u32 {
        (self.receive_window_bytes >> step).max(FRAME_BYTES_MAX as u32)
    }
}

const _: () = assert!(FRAME_BYTES_MAX <= u32::MAX as usize);
