//! Reads one stream of a connection: the channel's number, then messages, each passed on when it is complete.
//!
//! Between reads, the messages are booked against the peer's rate (channels 0 to 5), and the reader waits when the peer
//! talks too fast; where a channel holds back, it waits for room as well. While it waits it reads nothing, and QUIC's
//! flow control stops the other side once the stream's window is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::{Buf, Bytes};
use quinn::RecvStream;

use super::frame::{FrameReader, HELLO_BYTES, Hello, STREAM_TYPE_HELLO};
use super::handle::Shared;
use super::inbound::InboundSender;
use super::limits::CHANNELS;
use super::metrics::add;
use super::peer::PeerState;

/// Chunks that are taken from a stream at a time.
const CHUNKS: usize = 32;

/// Why a stream cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// The other side ended it, behind a whole message.
    Finished,
    /// The connection is over, or the stream was cut off: both happen to honest peers that stop suddenly.
    Broken(String),
    /// The other side broke the protocol.
    Violation(String),
}

/// What the readers of one connection share.
pub(crate) struct ReadContext {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: Arc<PeerState>,
    /// Where messages go, by channel.
    pub(crate) inbound: Arc<[InboundSender; CHANNELS]>,
    /// Channels whose stream was opened, one bit each.
    pub(crate) opened: AtomicU32,
}

/// Reads the hello, which is the first stream of the other side and nothing else.
pub(crate) async fn read_hello(stream: &mut RecvStream) -> Result<Hello, ReadEnd> {
    // One byte more than there may be, to see that there is none.
    let mut bytes = [0u8; HELLO_BYTES + 2];
    let mut length = 0;
    while length < bytes.len() {
        match stream.read(&mut bytes[length..]).await {
            Ok(Some(count)) => length += count,
            Ok(None) => break,
            Err(error) => return Err(ReadEnd::Broken(error.to_string())),
        }
    }
    match &bytes[..length] {
        [STREAM_TYPE_HELLO, hello @ ..] => Hello::decode(hello).map_err(|error| ReadEnd::Violation(error.to_string())),
        [] => Err(ReadEnd::Broken("the first stream ended without a hello".to_owned())),
        _ => Err(ReadEnd::Violation("the first stream is no hello".to_owned())),
    }
}

/// Reads `stream` to its end.
pub(crate) async fn read_stream(context: Arc<ReadContext>, mut stream: RecvStream) -> ReadEnd {
    let mut chunks: [Bytes; CHUNKS] = std::array::from_fn(|_| Bytes::new());
    let mut reader: Option<(usize, FrameReader)> = None;
    loop {
        let count = match stream.read_chunks(&mut chunks).await {
            Ok(Some(count)) => count,
            Ok(None) if reader.as_ref().is_none_or(|(_, frames)| frames.partial_bytes() == 0) => {
                return ReadEnd::Finished;
            }
            Ok(None) => return ReadEnd::Broken("a stream ended within a message".to_owned()),
            Err(error) => return ReadEnd::Broken(error.to_string()),
        };
        let chunks = &mut chunks[..count];
        if reader.is_none() {
            let Some(first) = chunks.iter_mut().find(|chunk| !chunk.is_empty()) else { continue };
            match context.open_channel(first.get_u8()) {
                Ok(channel) => {
                    let message_bytes_max = context.shared.limits.channels[channel].message_bytes_max;
                    reader = Some((channel, FrameReader::new(message_bytes_max)));
                }
                Err(text) => return ReadEnd::Violation(text),
            }
        }
        let Some((channel, frames)) = &mut reader else { continue };
        if let Err(text) = context.take_chunks(*channel, frames, chunks).await {
            return ReadEnd::Violation(text);
        }
    }
}

impl ReadContext {
    /// The channel of a stream of this type, unless it has one already.
    fn open_channel(&self, stream_type: u8) -> Result<usize, String> {
        let channel = usize::from(stream_type);
        if channel >= CHANNELS {
            return Err(format!("a stream of unknown type {stream_type} was opened"));
        }
        let bit = 1u32 << channel;
        if self.opened.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            return Err(format!("a second stream of channel {channel} was opened"));
        }
        Ok(channel)
    }

    /// Cuts the messages out of `chunks` and passes them on; the error says how the peer broke the protocol.
    async fn take_chunks(&self, channel: usize, frames: &mut FrameReader, chunks: &mut [Bytes]) -> Result<(), String> {
        let (shared, peer) = (&self.shared, &self.peer);
        let counters = &peer.counters[channel];
        let bytes: usize = chunks.iter().map(Bytes::len).sum();
        let mut messages = 0;
        for chunk in chunks {
            while !chunk.is_empty() {
                let step = frames.step(chunk).map_err(|error| format!("channel {channel}: {error}"))?;
                let Some(message) = step else { continue };
                messages += 1;
                if !peer.shares[channel].deliver(&self.inbound[channel], peer.key, message).await {
                    add(&counters.dropped_receiving, 1);
                }
            }
            // Gives the chunk's memory back before anything waits.
            *chunk = Bytes::new();
        }
        add(&counters.messages_received, messages);
        add(&counters.bytes_received, bytes as u64);
        if shared.limits.channels[channel].rated {
            let wait = peer.rate.take(messages, bytes as u64);
            if !wait.is_zero() {
                add(&shared.counters.paced, 1);
                tokio::time::sleep(wait).await;
            }
        }
        Ok(())
    }
}
