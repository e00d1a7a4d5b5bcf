//! One connection: its streams' tasks, and what closes it.
//!
//! The task of a connection accepts streams (QUIC bounds how many are open) and gives each a task of its own. It ends
//! when the peer or the network ends it, or by closing it with a code: a stream broke the protocol, the address was
//! banned, room is needed, or the server stops.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use quinn::{Connection, ConnectionError, VarInt};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::task::JoinSet;

use crate::intake::{Offer, Source, StreamId};
use crate::limits::CloseCode;
use crate::metrics::{End, add};
use crate::score::{SourceScore, Standing};
use crate::server::{Phase, Shared};
use crate::stream::{self, BufferPool, StreamEnd};

/// A held stream never asks again faster than this, whatever the limits say.
const HOLD_RETRY_MIN: Duration = Duration::from_millis(1);

/// What the tasks of one connection share.
pub(crate) struct ConnectionContext {
    pub(crate) shared: Arc<Shared>,
    pub(crate) source: Source,
    pub(crate) buffers: Arc<BufferPool>,
    /// Told to close because others need the room.
    pub(crate) evict: Notify,
    /// Queries being answered.
    pub(crate) queries: Semaphore,
    /// Bytes in unfinished frames.
    partial_bytes: AtomicUsize,
    /// Streams that the server itself does not read at the moment (intake full, address slowed).
    held: AtomicU32,
    /// When the last of them was read again.
    held_until_ms: AtomicU64,
    last_frame_ms: AtomicU64,
}

impl ConnectionContext {
    pub(crate) fn new(
        shared: Arc<Shared>,
        connection: u64,
        ip: IpAddr,
        shard: usize,
        score: Arc<SourceScore>,
        buffers: Arc<BufferPool>,
    ) -> Self {
        let now_ms = shared.clock.now_ms();
        ConnectionContext {
            queries: Semaphore::new(shared.limits.queries_per_connection_max),
            shared,
            source: Source { connection, ip: ip.to_canonical(), shard, score },
            buffers,
            evict: Notify::new(),
            partial_bytes: AtomicUsize::new(0),
            held: AtomicU32::new(0),
            held_until_ms: AtomicU64::new(0),
            last_frame_ms: AtomicU64::new(now_ms),
        }
    }

    /// When the last frame came, or the connection itself.
    pub(crate) fn last_frame_ms(&self) -> u64 {
        self.last_frame_ms.load(Ordering::Relaxed)
    }

    /// Open connections of the same address.
    pub(crate) fn connections_of_ip(&self) -> usize {
        self.source.score.connections.load(Ordering::Relaxed)
    }

    /// Counts what one read brought.
    pub(crate) fn count(&self, frames: u64, bytes: usize) {
        add(&self.shared.metrics.bytes, bytes as u64);
        if frames > 0 {
            add(&self.shared.metrics.frames, frames);
            self.last_frame_ms.store(self.shared.clock.now_ms(), Ordering::Relaxed);
        }
    }

    /// Offers a frame until the intake has taken all of it; while it is full, the stream is not read.
    ///
    /// A full intake's room is shared fairly among addresses, not among connections or streams: whoever finds it full
    /// queues for a [`Turn`], and so does everybody who comes later, until an offer in turn was taken whole. The turn
    /// is left in `turn`, so that the caller offers what it has read already before the next one's turn comes.
    ///
    /// # Errors
    /// The close that a malformed frame asks for.
    pub(crate) async fn offer<'c>(
        &'c self,
        stream: StreamId,
        frame: &[u8],
        turn: &mut Option<Turn<'c>>,
    ) -> Result<(), StreamEnd> {
        let mut rest = frame;
        if turn.is_none() {
            if self.shared.waiting.load(Ordering::Relaxed) > 0 {
                tokio::task::yield_now().await;
            }
            if !self.shared.full.load(Ordering::Relaxed) {
                rest = self.offer_once(stream, frame)?;
                if rest.is_empty() {
                    return Ok(());
                }
                self.shared.full.store(true, Ordering::Relaxed);
            }
            *turn = Some(self.wait_for_turn().await?);
        }
        self.offer_in_turn(stream, rest).await
    }

    /// Queues among the streams of this address, then among the addresses.
    async fn wait_for_turn(&self) -> Result<Turn<'_>, StreamEnd> {
        add(&self.shared.metrics.holds, 1);
        let hold = self.hold();
        let waiting = Waiting::new(&self.shared.waiting);
        // The semaphores are never closed.
        let among_own = self.source.score.offering.acquire().await.map_err(|_| StreamEnd::Lost)?;
        let among_all = self.shared.turn.acquire().await.map_err(|_| StreamEnd::Lost)?;
        Ok(Turn { _hold: hold, _waiting: waiting, _among_own: among_own, _among_all: among_all })
    }

    async fn offer_in_turn(&self, stream: StreamId, mut rest: &[u8]) -> Result<(), StreamEnd> {
        loop {
            // Listening begins before the offer, so that room made in between is not missed.
            let room = self.shared.intake.room().notified();
            tokio::pin!(room);
            room.as_mut().enable();
            rest = self.offer_once(stream, rest)?;
            if rest.is_empty() {
                self.shared.full.store(false, Ordering::Relaxed);
                return Ok(());
            }
            self.shared.full.store(true, Ordering::Relaxed);
            let _ = tokio::time::timeout(self.shared.limits.hold_retry.max(HOLD_RETRY_MIN), room).await;
        }
    }

    fn offer_once<'a>(&self, stream: StreamId, frame: &'a [u8]) -> Result<&'a [u8], StreamEnd> {
        match self.shared.intake.offer(&self.source, stream, frame) {
            Offer::Taken => Ok(&[]),
            Offer::Full { consumed } => Ok(frame.get(consumed..).unwrap_or(&[])),
            Offer::Malformed { code } => {
                Err(StreamEnd::Close(CloseCode::MalformedFrame, format!("a transaction cannot be read (code {code})")))
            }
        }
    }

    /// Marks a stream as held back by the server until the guard is dropped.
    pub(crate) fn hold(&self) -> Hold<'_> {
        self.held.fetch_add(1, Ordering::Relaxed);
        Hold { context: self }
    }

    /// How long ago the server last held back a stream of this connection; `None` if it never did. While one is held,
    /// its unread bytes take up the window that the others need, so they are not to blame for being slow.
    pub(crate) fn since_held(&self) -> Option<Duration> {
        if self.held.load(Ordering::Relaxed) > 0 {
            return Some(Duration::ZERO);
        }
        let until_ms = self.held_until_ms.load(Ordering::Relaxed);
        (until_ms > 0).then(|| Duration::from_millis(self.shared.clock.now_ms().saturating_sub(until_ms)))
    }

    /// Accounts a change of the bytes in unfinished frames.
    ///
    /// # Errors
    /// The close that holding too many asks for.
    pub(crate) fn change_partial(&self, before: usize, after: usize) -> Result<(), StreamEnd> {
        let limits = &self.shared.limits;
        if after <= before {
            self.partial_bytes.fetch_sub(before - after, Ordering::Relaxed);
            self.shared.partial_bytes.fetch_sub(before - after, Ordering::Relaxed);
            return Ok(());
        }
        let grown = after - before;
        let mine = self.partial_bytes.fetch_add(grown, Ordering::Relaxed) + grown;
        let in_all = self.shared.partial_bytes.fetch_add(grown, Ordering::Relaxed) + grown;
        let one_frame = crate::frame::FRAME_BYTES_MAX + crate::frame::HEADER_BYTES;
        if mine > limits.partial_bytes_per_connection_max || (in_all > limits.partial_bytes_max && mine > one_frame) {
            return Err(StreamEnd::Close(CloseCode::PartialFrames, format!("{mine} bytes lie in unfinished frames")));
        }
        Ok(())
    }
}

/// A stream that the server holds back, until dropped.
pub(crate) struct Hold<'a> {
    context: &'a ConnectionContext,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        // 0 stands for never.
        self.context.held_until_ms.store(self.context.shared.clock.now_ms().max(1), Ordering::Relaxed);
        self.context.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream's turn to use what room the intake makes, until dropped. One in all, and one waiting for it per address.
pub(crate) struct Turn<'a> {
    _hold: Hold<'a>,
    _waiting: Waiting<'a>,
    _among_own: SemaphorePermit<'a>,
    _among_all: SemaphorePermit<'a>,
}

/// Counts a stream that waits for room in the intake, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves `connection` to its end and says how it ended.
pub(crate) async fn serve_connection(context: Arc<ConnectionContext>, connection: &Connection) -> End {
    let mut streams: JoinSet<StreamEnd> = JoinSet::new();
    let mut phase = context.shared.phase.subscribe();
    let banned = context.source.score.ban_begins.notified();
    tokio::pin!(banned);
    banned.as_mut().enable();
    // A ban between the decision to accept and the line above would otherwise be missed.
    if context.source.score.standing() == Standing::Banned {
        return close(connection, CloseCode::BadSignatures, CloseCode::BadSignatures.meaning());
    }
    let mut accepting = *phase.borrow() < Phase::Draining;
    loop {
        if !accepting && streams.is_empty() && *phase.borrow() >= Phase::Finishing {
            return close(connection, CloseCode::ShuttingDown, CloseCode::ShuttingDown.meaning());
        }
        tokio::select! {
            stream = connection.accept_uni(), if accepting => match stream {
                Ok(receive) => {
                    add(&context.shared.metrics.streams, 1);
                    streams.spawn(stream::flood(context.clone(), receive));
                }
                Err(error) => return ended(&error),
            },
            stream = connection.accept_bi(), if accepting => match stream {
                Ok((send, receive)) => {
                    add(&context.shared.metrics.streams, 1);
                    streams.spawn(stream::answered(context.clone(), send, receive));
                }
                Err(error) => return ended(&error),
            },
            Some(end) = streams.join_next(), if !streams.is_empty() => match end {
                Ok(StreamEnd::Close(code, reason)) => return close(connection, code, &reason),
                Ok(StreamEnd::Reset) => add(&context.shared.metrics.streams_reset, 1),
                Ok(StreamEnd::Done | StreamEnd::Lost) => {}
                Err(error) => {
                    tracing::error!(%error, "a stream's task failed");
                    return close(connection, CloseCode::MalformedFrame, "internal error");
                }
            },
            error = connection.closed(), if !accepting => return ended(&error),
            () = &mut banned => return close(connection, CloseCode::BadSignatures, CloseCode::BadSignatures.meaning()),
            () = context.evict.notified() => {
                return close(connection, CloseCode::TooManyConnections, CloseCode::TooManyConnections.meaning());
            }
            _ = phase.changed() => {
                accepting = false;
                if *phase.borrow_and_update() >= Phase::Closing {
                    return close(connection, CloseCode::ShuttingDown, CloseCode::ShuttingDown.meaning());
                }
            }
        }
    }
}

fn close(connection: &Connection, code: CloseCode, reason: &str) -> End {
    connection.close(VarInt::from_u32(code as u32), reason.as_bytes());
    End::Code(code)
}

fn ended(error: &ConnectionError) -> End {
    match error {
        ConnectionError::ApplicationClosed(_) | ConnectionError::ConnectionClosed(_) => End::ByPeer,
        ConnectionError::TimedOut => End::TimedOut,
        ConnectionError::LocallyClosed => End::Code(CloseCode::ShuttingDown),
        _ => End::Transport,
    }
}
