//! What stands behind the server: the intake that takes frames, answers queries and hears of closed streams.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::score::SourceScore;

/// Where a frame came from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Number of the connection, unique in this process run.
    pub connection: u64,
    /// The peer's address.
    pub ip: IpAddr,
    /// Index of the server thread that calls, below `ServerConfig::threads`. All calls of [`Intake::offer`] with one
    /// shard come from one thread, so an intake that keeps state per shard meets no contention.
    pub shard: usize,
    /// What the address has done; shared by its connections.
    pub score: Arc<SourceScore>,
}

/// A submit stream, unique in this process run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

impl StreamId {
    /// A flood stream: nobody wants answers.
    pub const NONE: StreamId = StreamId(u32::MAX);

    /// Whether answers are wanted.
    pub fn wants_answers(self) -> bool {
        self != StreamId::NONE
    }
}

/// How an offered frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// All of it was taken.
    Taken,
    /// The first `consumed` bytes were taken; there is no room for the rest, which is offered again later.
    Full {
        /// Bytes that were taken, at most the frame's length.
        consumed: usize,
    },
    /// It cannot be read; the connection is closed with code 1. What was taken before stays taken.
    Malformed {
        /// The intake's own code, for the peer's error text.
        code: u8,
    },
}

/// The answer to a query, in at most [`crate::frame::RESPONSE_BYTES_MAX`] bytes.
pub type QueryFuture = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// The consumer of what clients send. Its methods are called on the server's threads and must not block.
pub trait Intake: Send + Sync + 'static {
    /// Offers the bytes of one frame, or what an earlier offer left of it.
    ///
    /// On a submit stream the transactions get sequence numbers from 0 in the order in which they are offered; frames
    /// of one stream come in order, never two at a time. `stream` is [`StreamId::NONE`] on flood streams.
    fn offer(&self, source: &Source, stream: StreamId, frame: &[u8]) -> Offer;

    /// Notified by `notify_waiters` after room was made, once an offer had returned [`Offer::Full`].
    fn room(&self) -> &Notify;

    /// Answers one query. The number of queries under way is bounded by the server's limits.
    fn query(&self, request: Vec<u8>) -> QueryFuture;

    /// The client has ended its side of a submit stream; answers are still read. Nothing by default.
    fn finished(&self, stream: StreamId) {
        let _ = stream;
    }

    /// A submit stream is gone: nothing more comes, and no answer can be delivered. Called once for each.
    fn closed(&self, stream: StreamId);
}
