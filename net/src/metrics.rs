//! Counters of the transaction server.
//!
//! Counted with relaxed atomics, once per read and not per frame; a snapshot is taken without stopping anything, so its
//! numbers may be a few microseconds apart.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::CloseCode;
use crate::sources::Refusal;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The server closed it with a code.
    Code(CloseCode),
    /// The client closed it.
    ByPeer,
    /// Nothing was heard for the idle timeout.
    TimedOut,
    /// The transport failed or was reset.
    Transport,
}

/// Live counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) accepted: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) refused: [AtomicU64; Refusal::ALL.len()],
    pub(crate) closed: [AtomicU64; CloseCode::ALL.len()],
    pub(crate) closed_by_peer: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    pub(crate) transport_errors: AtomicU64,
    pub(crate) streams: AtomicU64,
    pub(crate) streams_reset: AtomicU64,
    pub(crate) frames: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) holds: AtomicU64,
    pub(crate) paced: AtomicU64,
    pub(crate) queries: AtomicU64,
    pub(crate) queries_aborted: AtomicU64,
}

/// The counters at one moment. All but the gauges count since the server started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    /// Connections open or in their handshake (gauge).
    pub connections: u64,
    /// IP addresses remembered (gauge).
    pub sources: u64,
    /// Bytes in unfinished frames (gauge).
    pub partial_bytes: u64,
    /// Streams that wait for room in the intake (gauge).
    pub streams_waiting: u64,
    /// Answer events that wait to be written (gauge).
    pub answers_queued: u64,
    /// Connections whose handshake was completed.
    pub accepted: u64,
    /// Handshakes that failed or took too long.
    pub handshakes_failed: u64,
    /// Connections that were asked to prove their address first.
    pub retries: u64,
    /// Connections that were refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Connections that the server closed, by application error code.
    pub closed: Vec<(CloseCode, u64)>,
    /// Connections that the client closed.
    pub closed_by_peer: u64,
    /// Connections that fell silent.
    pub timed_out: u64,
    /// Connections that ended by an error of the transport.
    pub transport_errors: u64,
    /// Streams that were opened.
    pub streams: u64,
    /// Streams that the client reset.
    pub streams_reset: u64,
    /// Complete frames that were offered to the intake.
    pub frames: u64,
    /// Bytes that were read from streams of transactions.
    pub bytes: u64,
    /// Times that a stream was held back because the intake was full.
    pub holds: u64,
    /// Times that a read was delayed because its address is slowed.
    pub paced: u64,
    /// Queries that were answered.
    pub queries: u64,
    /// Queries whose answer could not be delivered.
    pub queries_aborted: u64,
    /// Answer events that were written.
    pub answers_sent: u64,
    /// Sequences whose answers were lost because the client did not read.
    pub answers_lost: u64,
    /// Sequences whose answers came after their stream was gone.
    pub answers_unwanted: u64,
}

impl MetricsSnapshot {
    /// Connections refused for `reason`.
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refused.iter().find(|(name, _)| *name == reason.name()).map_or(0, |(_, count)| *count)
    }

    /// Connections that the server closed with `code`.
    pub fn closed(&self, code: CloseCode) -> u64 {
        self.closed.iter().find(|(of, _)| *of == code).map_or(0, |(_, count)| *count)
    }
}

/// Adds `count` to `counter`.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Metrics {
    pub(crate) fn refuse(&self, reason: Refusal) {
        add(&self.refused[reason as usize], 1);
    }

    pub(crate) fn end(&self, end: End) {
        match end {
            End::Code(code) => add(&self.closed[code as usize], 1),
            End::ByPeer => add(&self.closed_by_peer, 1),
            End::TimedOut => add(&self.timed_out, 1),
            End::Transport => add(&self.transport_errors, 1),
        }
    }

    /// The counters; the gauges and the answers' counters are left at 0 for the caller to fill.
    pub(crate) fn snapshot(&self) -> MetricsSnapshot {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MetricsSnapshot {
            accepted: get(&self.accepted),
            handshakes_failed: get(&self.handshakes_failed),
            retries: get(&self.retries),
            refused: Refusal::ALL.iter().map(|of| (of.name(), get(&self.refused[*of as usize]))).collect(),
            closed: CloseCode::ALL.iter().map(|of| (*of, get(&self.closed[*of as usize]))).collect(),
            closed_by_peer: get(&self.closed_by_peer),
            timed_out: get(&self.timed_out),
            transport_errors: get(&self.transport_errors),
            streams: get(&self.streams),
            streams_reset: get(&self.streams_reset),
            frames: get(&self.frames),
            bytes: get(&self.bytes),
            holds: get(&self.holds),
            paced: get(&self.paced),
            queries: get(&self.queries),
            queries_aborted: get(&self.queries_aborted),
            ..MetricsSnapshot::default()
        }
    }
}
