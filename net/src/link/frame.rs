//! What is on a stream of a link, byte by byte.
//!
//! Every stream is unidirectional and begins with one byte, its type:
//!
//! - [`STREAM_TYPE_HELLO`]: the first stream of each side. A [`Hello`] of 12 bytes, then the end.
//! - a channel's number: `u32 LE length ++ message`, repeated until the end, which stands between two messages only.
//!
//! Messages are cut out of the stream's chunks by [`FrameReader`]: the announced length is checked against the
//! channel's maximum before anything is reserved, and what is reserved is at most [`RESERVE_BYTES_MAX`] or four times
//! what arrived.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use super::limits::CHANNELS;
use crate::frame::{FrameError, HEADER_BYTES, check_length};

/// Type of the stream with the hello.
pub const STREAM_TYPE_HELLO: u8 = 0xff;

/// Length of a hello in bytes, the stream's type aside.
pub const HELLO_BYTES: usize = 12;

/// Version of what is on the streams.
pub const HELLO_VERSION: u8 = 1;

/// Bytes that an announced length alone can make a reader reserve.
pub const RESERVE_BYTES_MAX: usize = 64 * 1024;

/// How many times what arrived may be reserved beyond that.
const GROWTH: usize = 4;

/// What is wrong with a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HelloError {
    /// Too short or too long.
    #[error("a hello of {0} bytes came; it has 12")]
    Length(usize),
    /// The other side speaks another version.
    #[error("the peer speaks version {0} of the link protocol, this node version 1; run the same release on both")]
    Version(u8),
    /// The other side has another number of channels.
    #[error("the peer has {0} channels, this node 9; run the same release on both")]
    Channels(u8),
    /// Reserved bytes are not zero.
    #[error("reserved bytes of a hello are not zero; run the same release on both")]
    Reserved,
}

/// The first words of a connection: `u8 version, u8 channels, u16 reserved = 0, u64 instance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// Random number of the sender's process: two connections with the same one cross, with different ones the older
    /// belongs to a process that is gone.
    pub instance: u64,
}

impl Hello {
    /// The hello's bytes.
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[0] = HELLO_VERSION;
        bytes[1] = CHANNELS as u8;
        bytes[4..].copy_from_slice(&self.instance.to_le_bytes());
        bytes
    }

    /// Reads a hello.
    ///
    /// # Errors
    /// [`HelloError`] when it is not exactly what [`Self::encode`] makes.
    pub fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        let Ok([version, channels, reserved_low, reserved_high, instance @ ..]) = <[u8; HELLO_BYTES]>::try_from(bytes)
        else {
            return Err(HelloError::Length(bytes.len()));
        };
        if version != HELLO_VERSION {
            return Err(HelloError::Version(version));
        }
        if usize::from(channels) != CHANNELS {
            return Err(HelloError::Channels(channels));
        }
        if reserved_low != 0 || reserved_high != 0 {
            return Err(HelloError::Reserved);
        }
        Ok(Hello { instance: u64::from_le_bytes(instance) })
    }
}

/// Cuts messages out of the chunks of one stream.
#[derive(Debug)]
pub struct FrameReader {
    message_bytes_max: usize,
    header: [u8; HEADER_BYTES],
    header_length: usize,
    /// Length of the message that the header announced; 0 while the header is incomplete.
    message_length: usize,
    buffer: BytesMut,
}

impl FrameReader {
    /// A reader that refuses messages of more than `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> Self {
        FrameReader {
            message_bytes_max,
            header: [0; HEADER_BYTES],
            header_length: 0,
            message_length: 0,
            buffer: BytesMut::new(),
        }
    }

    /// Uses up to one message's worth of `chunk`, at least one byte of it, and returns the message that this
    /// completed. Call again while the chunk is not empty.
    ///
    /// # Errors
    /// [`FrameError`] when a length of zero or above the maximum is announced; the stream cannot be read on.
    pub fn step(&mut self, chunk: &mut Bytes) -> Result<Option<Bytes>, FrameError> {
        if self.message_length == 0 {
            let taken = (HEADER_BYTES - self.header_length).min(chunk.len());
            self.header[self.header_length..self.header_length + taken].copy_from_slice(&chunk[..taken]);
            self.header_length += taken;
            chunk.advance(taken);
            if self.header_length < HEADER_BYTES {
                return Ok(None);
            }
            self.message_length = check_length(self.header, self.message_bytes_max)?;
        }
        let missing = self.message_length - self.buffer.len();
        let taken = missing.min(chunk.len());
        self.reserve(taken);
        self.buffer.extend_from_slice(&chunk[..taken]);
        chunk.advance(taken);
        if taken < missing {
            return Ok(None);
        }
        self.header_length = 0;
        self.message_length = 0;
        // The whole buffer goes: a small message must not keep a large one's memory.
        Ok(Some(std::mem::take(&mut self.buffer).freeze()))
    }

    /// Bytes of an unfinished message that are held here, header included; 0 between messages.
    pub fn partial_bytes(&self) -> usize {
        self.header_length + self.buffer.len()
    }

    /// Bytes that are reserved for the unfinished message.
    pub fn reserved_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Makes room for `more` bytes, and for some of those that were announced.
    fn reserve(&mut self, more: usize) {
        let length = self.buffer.len() + more;
        if length > self.buffer.capacity() {
            let capacity = self.message_length.min(RESERVE_BYTES_MAX.max(length * GROWTH));
            self.buffer.reserve(capacity - self.buffer.len());
        }
    }
}
