//! The life of one connection, the same for both sides.
//!
//! 1. Both send a hello on their first stream, and wait for the other's: from then on each knows that the other has
//!    accepted its key, and which of several connections to use ([`super::peer`]).
//! 2. Streams of the other side are read until the end, one task each; there is one per channel and never another.
//! 3. While the connection is current, one writer per channel sends what waits. When it retires, the writers end their
//!    streams; it is closed when the other side has ended its own, or after a while.
//! 4. Whatever the other side does that the protocol does not allow closes the connection and blocks the peer.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use quinn::{Connection, ConnectionError, RecvStream, VarInt};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::accept::explain;
use super::frame::{Hello, STREAM_TYPE_HELLO};
use super::handle::Shared;
use super::limits::{CHANNELS, LinkCode};
use super::metrics::add;
use super::peer::{Membership, PeerState, Role};
use super::receive::{ReadContext, ReadEnd, read_hello, read_stream};
use super::send::write_channel;

/// How often a spare connection looks whether it is needed.
const REVIEW_INTERVAL: Duration = Duration::from_millis(100);

/// How a connection is ended by this side.
enum End {
    /// With this code; nothing was wrong.
    Close(LinkCode),
    /// It is over or broken already, for this reason.
    Broken(String),
    /// The peer broke the protocol.
    Violation(String),
}

impl From<ReadEnd> for End {
    fn from(end: ReadEnd) -> Self {
        match end {
            ReadEnd::Finished => End::Broken("a stream ended early".to_owned()),
            ReadEnd::Broken(text) => End::Broken(text),
            ReadEnd::Violation(text) => End::Violation(text),
        }
    }
}

/// Serves `connection` with `peer` until it ends.
pub(crate) async fn run(shared: Arc<Shared>, peer: Arc<PeerState>, connection: Connection, dialled: bool) {
    let by_smaller = dialled == (shared.public_key < peer.key);
    let Some(inbound) = shared.inbound.lock().clone() else {
        return close(&connection, LinkCode::ShuttingDown, LinkCode::ShuttingDown.meaning());
    };
    let membership = match peer.admit(&connection, by_smaller) {
        Ok(membership) => membership,
        Err(code) => return close(&connection, code, code.meaning()),
    };
    let context = ReadContext { shared: shared.clone(), peer: peer.clone(), inbound, opened: AtomicU32::new(0) };
    let mut session = Session {
        context: Arc::new(context),
        connection: connection.clone(),
        membership,
        readers: JoinSet::new(),
        writers: JoinSet::new(),
        finished: 0,
        retire_at: None,
    };
    let end = session.serve().await;
    match end {
        End::Close(code) => {
            close(&connection, code, code.meaning());
            peer.note_error(code.meaning());
        }
        // What quinn itself finds wrong with authenticated packets is a breach as well.
        End::Broken(_) if matches!(connection.close_reason(), Some(ConnectionError::TransportError(_))) => {
            let text = connection.close_reason().map_or_else(String::new, |reason| reason.to_string());
            shared.punish(&peer, &format!("QUIC: {text}"));
        }
        End::Broken(text) => {
            let text = connection.close_reason().map_or(text, |reason| explain(&reason));
            close(&connection, LinkCode::Broken, LinkCode::Broken.meaning());
            peer.note_error(&text);
        }
        End::Violation(text) => {
            shared.punish(&peer, &text);
            close(&connection, LinkCode::Violation, &text);
        }
    }
    // Only now, when the connection is closed, may its streams be dropped: a dropped stream looks like an ended one.
    drop(session);
    shared.changes.send_modify(|changes| *changes += 1);
}

fn close(connection: &Connection, code: LinkCode, reason: &str) {
    connection.close(VarInt::from_u32(code as u32), reason.as_bytes());
}

struct Session {
    context: Arc<ReadContext>,
    connection: Connection,
    membership: Membership,
    readers: JoinSet<ReadEnd>,
    writers: JoinSet<Result<(), quinn::WriteError>>,
    /// Streams of the other side that ended.
    finished: usize,
    /// When a retired connection is closed at the latest.
    retire_at: Option<Instant>,
}

impl Session {
    async fn serve(&mut self) -> End {
        let timeout = self.context.shared.limits.handshake_timeout;
        let hello = match tokio::time::timeout(timeout, greet(&self.connection, self.context.shared.instance)).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(end)) => return end.into(),
            Err(_) => return End::Close(LinkCode::NoHello),
        };
        if self.membership.greeted(hello.instance).is_some_and(|connects_before| connects_before > 0) {
            add(&self.context.shared.counters.reconnects, 1);
        }
        self.context.shared.changes.send_modify(|changes| *changes += 1);
        let mut review = tokio::time::interval(REVIEW_INTERVAL);
        review.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut opened = 0;
        loop {
            let role = *self.membership.role.borrow_and_update();
            self.follow(role);
            if role == Role::Retired && self.writers.is_empty() && self.finished == CHANNELS {
                return End::Close(LinkCode::Duplicate);
            }
            let deadline = self.retire_at;
            tokio::select! {
                stream = self.connection.accept_uni() => match stream {
                    Ok(_) if opened == CHANNELS => {
                        return End::Violation("more streams than channels were opened".to_owned());
                    }
                    Ok(stream) => {
                        opened += 1;
                        self.readers.spawn(read_stream(self.context.clone(), stream));
                    }
                    Err(error) => return End::Broken(error.to_string()),
                },
                Some(end) = self.readers.join_next(), if !self.readers.is_empty() => match end {
                    Ok(ReadEnd::Finished) => self.finished += 1,
                    Ok(end) => return end.into(),
                    Err(error) => return End::Broken(error.to_string()),
                },
                Some(end) = self.writers.join_next(), if !self.writers.is_empty() => match end {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return End::Broken(error.to_string()),
                    Err(error) => return End::Broken(error.to_string()),
                },
                changed = self.membership.role.changed() => if changed.is_err() {
                    return End::Close(LinkCode::Duplicate);
                },
                _ = review.tick(), if role == Role::Spare => self.membership.review(),
                () = sleep_until(deadline) => return End::Close(LinkCode::Duplicate),
            }
        }
    }

    /// Does what a change to `role` asks for, once.
    fn follow(&mut self, role: Role) {
        if role == Role::Current && self.writers.is_empty() && self.retire_at.is_none() {
            for channel in (0u8..).take(CHANNELS) {
                let (connection, peer) = (self.connection.clone(), self.context.peer.clone());
                self.writers.spawn(write_channel(connection, peer, channel, self.membership.role.clone()));
            }
        }
        if role == Role::Retired && self.retire_at.is_none() {
            self.retire_at = Some(Instant::now() + self.context.shared.limits.retire_timeout);
        }
    }
}

/// Waits until `deadline`; for ever where there is none.
async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Sends this side's hello and waits for the other's, which is the first stream that it opens.
async fn greet(connection: &Connection, instance: u64) -> Result<Hello, ReadEnd> {
    let broken = |error: &dyn std::fmt::Display| ReadEnd::Broken(error.to_string());
    let mut stream = connection.open_uni().await.map_err(|error| broken(&error))?;
    let bytes = [&[STREAM_TYPE_HELLO][..], &Hello { instance }.encode()].concat();
    stream.set_priority(1).map_err(|error| broken(&error))?;
    stream.write_all(&bytes).await.map_err(|error| broken(&error))?;
    stream.finish().map_err(|error| broken(&error))?;
    let mut stream: RecvStream = connection.accept_uni().await.map_err(|error| broken(&error))?;
    read_hello(&mut stream).await
}
