//! Writes the messages of one channel on one connection, while that connection is the current one.
//!
//! Messages are taken from the peer's queue several at a time, and handed to QUIC as they are: a large one is not
//! copied, small ones are put together with their lengths. The stream's priority is the channel's, so that QUIC fills
//! each packet with votes before it fills it with batches. When the connection retires, the writer ends its stream
//! behind a whole message and waits until the other side has all of it.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::watch;

use super::metrics::add;
use super::peer::{PeerState, Role};
use crate::frame::HEADER_BYTES;

/// Messages and bytes that are taken from the queue at a time.
const TAKE_MESSAGES_MAX: usize = 256;
const TAKE_BYTES_MAX: usize = 256 * 1024;

/// Messages of up to so many bytes are copied to stand together; larger ones are passed on.
const COPY_BYTES_MAX: usize = 2048;

/// Room for lengths and small messages that is reserved at a time, in bytes.
const SCRATCH_BYTES: usize = 16 * 1024;

/// Opens the stream of `channel` and writes what waits for `peer`, until the connection retires or ends.
pub(crate) async fn write_channel(
    connection: quinn::Connection,
    peer: Arc<PeerState>,
    channel: u8,
    mut role: watch::Receiver<Role>,
) -> Result<(), quinn::WriteError> {
    let place = usize::from(channel);
    let (Some(queue), Some(counters)) = (peer.queues.get(place), peer.counters.get(place)) else { return Ok(()) };
    let mut stream = connection.open_uni().await?;
    stream.set_priority(-i32::from(channel))?;
    stream.write_all(&[channel]).await?;
    let mut messages = Vec::new();
    let mut framer = Framer::default();
    while *role.borrow_and_update() == Role::Current {
        queue.take(&mut messages, TAKE_MESSAGES_MAX, TAKE_BYTES_MAX);
        if messages.is_empty() {
            tokio::select! {
                () = queue.filled.notified() => {}
                changed = role.changed() => if changed.is_err() { break },
            }
            continue;
        }
        let count = messages.len() as u64;
        let bytes = framer.frame(messages.drain(..));
        stream.write_all_chunks(&mut framer.chunks).await?;
        framer.chunks.clear();
        add(&counters.messages_sent, count);
        add(&counters.bytes_sent, bytes);
    }
    // This writer may have taken the wake-up that was meant for the one that follows it.
    queue.filled.notify_one();
    let _ = stream.finish();
    let _ = stream.stopped().await;
    Ok(())
}

/// Puts lengths in front of messages.
#[derive(Default)]
pub(crate) struct Framer {
    scratch: BytesMut,
    pub(crate) chunks: Vec<Bytes>,
}

impl Framer {
    /// Appends the frames of `messages` to the chunks; returns their bytes together.
    pub(crate) fn frame(&mut self, messages: impl Iterator<Item = Bytes>) -> u64 {
        let mut bytes = 0;
        for message in messages {
            bytes += (HEADER_BYTES + message.len()) as u64;
            if self.scratch.capacity() - self.scratch.len() < HEADER_BYTES + COPY_BYTES_MAX {
                self.flush();
                self.scratch.reserve(SCRATCH_BYTES);
            }
            // Checked against the channel's maximum when it was sent.
            self.scratch.put_u32_le(u32::try_from(message.len()).unwrap_or(u32::MAX));
            if message.len() <= COPY_BYTES_MAX {
                self.scratch.extend_from_slice(&message);
            } else {
                self.flush();
                self.chunks.push(message);
            }
        }
        self.flush();
        bytes
    }

    fn flush(&mut self) {
        if !self.scratch.is_empty() {
            self.chunks.push(self.scratch.split().freeze());
        }
    }
}
