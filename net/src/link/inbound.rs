//! The receiving end of one channel, from all peers.
//!
//! One queue per channel, but room per peer: each message holds permits of its sender's share until it is taken, so
//! that a peer that floods fills its own share and nobody else's. What finds no room is dropped (lossy channels) or
//! waits, and with it the reading of its stream (channels that hold back).

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::limits::ChannelLimits;

/// Bytes per permit. A message costs one permit more than its length needs, which pays for its place in the queue.
const PERMIT_BYTES: usize = 1024;

/// A message on its way to whoever receives.
struct Arrived {
    from: [u8; 32],
    message: Bytes,
    _room: OwnedSemaphorePermit,
}

/// Where the messages of one channel come out, with the keys of their senders. Dropping it throws away what comes.
pub struct Inbound {
    channel: u8,
    messages: mpsc::UnboundedReceiver<Arrived>,
}

impl std::fmt::Debug for Inbound {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inbound").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Inbound {
    /// The channel's number.
    pub fn channel(&self) -> u8 {
        self.channel
    }

    /// The next message and its sender's key; `None` when the links are closed and all messages were taken. May be
    /// cancelled without loss.
    pub async fn recv(&mut self) -> Option<([u8; 32], Bytes)> {
        self.messages.recv().await.map(|arrived| (arrived.from, arrived.message))
    }

    /// [`Self::recv`] for those who poll.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<([u8; 32], Bytes)>> {
        self.messages.poll_recv(context).map(|arrived| arrived.map(|arrived| (arrived.from, arrived.message)))
    }

    /// The next message, if one is there.
    pub fn try_recv(&mut self) -> Option<([u8; 32], Bytes)> {
        self.messages.try_recv().ok().map(|arrived| (arrived.from, arrived.message))
    }
}

/// Where the readers of all connections put the messages of one channel. What waits is bounded by the peers' shares.
#[derive(Debug, Clone)]
pub(crate) struct InboundSender {
    messages: mpsc::UnboundedSender<Arrived>,
}

/// A new channel.
pub(crate) fn inbound(channel: u8) -> (InboundSender, Inbound) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (InboundSender { messages: sender }, Inbound { channel, messages: receiver })
}

/// One peer's room on one channel.
#[derive(Debug, Clone)]
pub(crate) struct InboundShare {
    room: Arc<Semaphore>,
    lossy: bool,
}

impl InboundShare {
    pub(crate) fn new(limits: &ChannelLimits) -> Self {
        let permits = limits.inbound_bytes_max.max(limits.message_bytes_max) / PERMIT_BYTES + 2;
        InboundShare { room: Arc::new(Semaphore::new(permits)), lossy: limits.lossy }
    }

    /// Passes `message` on, waiting for room where the channel holds back; false when it was dropped.
    pub(crate) async fn deliver(&self, to: &InboundSender, from: [u8; 32], message: Bytes) -> bool {
        // Messages are checked against the channel's maximum, so that this fits and the share has so many permits.
        let permits = u32::try_from(message.len() / PERMIT_BYTES + 1).unwrap_or(u32::MAX);
        let room = match self.lossy {
            true => self.room.clone().try_acquire_many_owned(permits).ok(),
            false => self.room.clone().acquire_many_owned(permits).await.ok(),
        };
        match room {
            Some(room) => to.messages.send(Arrived { from, message, _room: room }).is_ok(),
            None => false,
        }
    }
}
