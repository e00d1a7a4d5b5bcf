//! Length-prefixed frames on a stream, cut out in place.
//!
//! A stream is `u32 LE length ++ payload`, repeated; the payload is transactions back to back and opaque here. QUIC
//! hands a stream over in chunks (about one packet each) that respect no frame boundary, so:
//!
//! 1. [`FrameAssembler::step`] takes what is left of a chunk and says how much of it was used.
//! 2. A frame that lies entirely in the chunk is returned as a slice of it: no copy.
//! 3. Otherwise its pieces are copied into one buffer until it is complete.
//! 4. The buffer can be taken away between frames, so that a thousand idle streams share a few buffers.
//!
//! The buffer grows with the bytes that arrived, never with the length that was announced: four bytes from outside
//! cannot make the server reserve 64 KiB.

use thiserror::Error;

/// Largest payload of a frame that carries transactions, or of a query, in bytes.
pub const FRAME_BYTES_MAX: usize = 65_536;

/// Largest payload of an answer to a query, in bytes.
pub const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of the length in front of each payload.
pub const HEADER_BYTES: usize = 4;

/// First byte of a bidirectional stream on which transactions are submitted and answers come back.
pub const STREAM_TYPE_SUBMIT: u8 = 1;

/// First byte of a bidirectional stream on which queries are asked.
pub const STREAM_TYPE_QUERY: u8 = 2;

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A frame announced no payload at all.
    #[error("a frame of length 0 was sent; a frame carries at least one byte")]
    Empty,
    /// A frame announced more than is allowed.
    #[error("a frame of {length} bytes was announced; at most {length_max} are allowed, send several frames")]
    TooLarge {
        /// The announced length in bytes.
        length: u32,
        /// The largest allowed length in bytes.
        length_max: usize,
    },
}

/// The result of one step: how much of the input it used, and the frame that this completed, if any.
#[derive(Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// Bytes of the input that are done with; at least 1 unless the input was empty.
    pub consumed: usize,
    /// The payload of a complete frame, valid until the next step.
    pub frame: Option<&'a [u8]>,
}

/// Cuts frames out of the chunks of one stream.
///
/// State: at most [`HEADER_BYTES`] of a header and the payload so far, never more than twice what arrived.
#[derive(Debug)]
pub struct FrameAssembler {
    length_max: usize,
    header: [u8; HEADER_BYTES],
    header_length: usize,
    /// Length of the payload that the header announced; 0 while the header is incomplete.
    payload_length: usize,
    buffer: Vec<u8>,
    /// The buffer holds a frame that was handed out by the last step.
    handed_out: bool,
}

impl FrameAssembler {
    /// An assembler that refuses payloads of more than `length_max` bytes.
    pub fn new(length_max: usize) -> Self {
        FrameAssembler {
            length_max,
            header: [0; HEADER_BYTES],
            header_length: 0,
            payload_length: 0,
            buffer: Vec::new(),
            handed_out: false,
        }
    }

    /// Uses up to one frame's worth of `input`. Call again with the rest until the input is used up.
    ///
    /// # Errors
    /// [`FrameError`] when a header announces no bytes or too many; the stream cannot be read on after that.
    pub fn step<'a>(&'a mut self, input: &'a [u8]) -> Result<Step<'a>, FrameError> {
        if self.handed_out {
            self.buffer.clear();
            self.handed_out = false;
        }
        let mut consumed = 0;
        if self.payload_length == 0 {
            consumed = (HEADER_BYTES - self.header_length).min(input.len());
            self.header[self.header_length..self.header_length + consumed].copy_from_slice(&input[..consumed]);
            self.header_length += consumed;
            if self.header_length < HEADER_BYTES {
                return Ok(Step { consumed, frame: None });
            }
            self.payload_length = check_length(self.header, self.length_max)?;
        }
        let rest = &input[consumed..];
        let wanted = self.payload_length - self.buffer.len();
        let available = wanted.min(rest.len());
        consumed += available;
        if self.buffer.is_empty() && available == wanted {
            self.start_next();
            return Ok(Step { consumed, frame: Some(&rest[..available]) });
        }
        self.buffer.extend_from_slice(&rest[..available]);
        if available < wanted {
            return Ok(Step { consumed, frame: None });
        }
        self.start_next();
        self.handed_out = true;
        Ok(Step { consumed, frame: Some(&self.buffer) })
    }

    /// Bytes of an unfinished frame that are held here, header included; 0 between frames.
    pub fn partial_bytes(&self) -> usize {
        if self.handed_out { 0 } else { self.header_length + self.buffer.len() }
    }

    /// Takes the buffer away; only between frames, `None` while one is unfinished.
    pub fn take_buffer(&mut self) -> Option<Vec<u8>> {
        if self.partial_bytes() > 0 {
            return None;
        }
        self.handed_out = false;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        Some(buffer)
    }

    /// Lends a buffer to copy into, where there is none yet; `buffer`'s content is discarded.
    pub fn give_buffer(&mut self, mut buffer: Vec<u8>) {
        if self.buffer.capacity() == 0 {
            buffer.clear();
            self.buffer = buffer;
        }
    }

    fn start_next(&mut self) {
        self.header_length = 0;
        self.payload_length = 0;
    }
}

/// The length that `header` announces, in bytes, checked against `length_max`.
///
/// # Errors
/// [`FrameError`] when it is 0 or larger than `length_max`.
pub fn check_length(header: [u8; HEADER_BYTES], length_max: usize) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes(header);
    match usize::try_from(length) {
        Ok(0) => Err(FrameError::Empty),
        Ok(size) if size <= length_max => Ok(size),
        _ => Err(FrameError::TooLarge { length, length_max }),
    }
}

/// The header of a frame with `payload_length` bytes of payload.
///
/// # Errors
/// [`FrameError`] when it is 0 or larger than `length_max`.
pub fn header(payload_length: usize, length_max: usize) -> Result<[u8; HEADER_BYTES], FrameError> {
    let header = u32::try_from(payload_length).unwrap_or(u32::MAX).to_le_bytes();
    check_length(header, length_max)?;
    Ok(header)
}

/// Appends the frame of `payload` to `out`.
///
/// # Errors
/// [`FrameError`] when the payload is empty or longer than [`FRAME_BYTES_MAX`]; `out` is unchanged then.
pub fn encode(payload: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    let header = header(payload.len(), FRAME_BYTES_MAX)?;
    out.reserve(HEADER_BYTES + payload.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
    Ok(())
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
