//! The sending end of one channel to one peer: a bounded queue that never waits.
//!
//! Whoever sends puts a message in or is told that there is no room; the writer of the connection in use takes
//! messages out, several at a time. The queue belongs to the peer and not to a connection, so that messages that wait
//! go over to the connection that takes its place.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::limits::ChannelLimits;

/// Messages that wait to be sent.
#[derive(Debug)]
pub(crate) struct SendQueue {
    messages_max: usize,
    bytes_max: usize,
    waiting: Mutex<Waiting>,
    /// Wakes the writer.
    pub(crate) filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Bytes>,
    bytes: usize,
}

impl SendQueue {
    pub(crate) fn new(limits: &ChannelLimits) -> Self {
        SendQueue {
            messages_max: limits.queue_messages_max,
            bytes_max: limits.queue_bytes_max,
            waiting: Mutex::new(Waiting::default()),
            filled: Notify::new(),
        }
    }

    /// Puts `message` behind the others; false when there is no room. A message that is alone always has room.
    pub(crate) fn push(&self, message: Bytes) -> bool {
        let mut waiting = self.waiting.lock();
        let full = waiting.messages.len() >= self.messages_max || waiting.bytes + message.len() > self.bytes_max;
        if full && !waiting.messages.is_empty() {
            return false;
        }
        waiting.bytes += message.len();
        waiting.messages.push_back(message);
        drop(waiting);
        self.filled.notify_one();
        true
    }

    /// Moves the first messages to `out`: one at least, where there is one, then more up to `messages_max` and
    /// `bytes_max`.
    pub(crate) fn take(&self, out: &mut Vec<Bytes>, messages_max: usize, bytes_max: usize) {
        let mut waiting = self.waiting.lock();
        let mut bytes = 0;
        while out.len() < messages_max && bytes < bytes_max {
            let Some(message) = waiting.messages.pop_front() else { break };
            bytes += message.len();
            out.push(message);
        }
        waiting.bytes -= bytes;
    }

    /// Forgets all messages and returns how many there were.
    pub(crate) fn clear(&self) -> u64 {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.messages.len() as u64
    }
}
