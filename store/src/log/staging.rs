//! One group in memory: records copied once into a buffer that direct I/O accepts.
//!
//! Direct I/O wants memory on a block boundary. A plain vector with one block to spare has such a boundary inside it, so no
//! special allocator and no unsafe code is needed; the vector never grows, so the boundary stays where it is.
//!
//! The checksum of a record's payload is taken right after the copy, while the bytes are in cache. Its header is written
//! one step later, when it is known whether the record is the group's last.

use super::format::{BLOCK_BYTES, FLAG_LAST, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES, RecordHeader};
use crate::bytes::align_up;

/// Zeroed memory that starts on a block boundary.
#[derive(Debug)]
pub(super) struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// `length` zero bytes; untouched pages cost nothing.
    pub fn zeroed(length: usize) -> Self {
        let memory = vec![0u8; length + BLOCK_BYTES];
        let start = memory.as_ptr() as usize % BLOCK_BYTES;
        let start = if start == 0 { 0 } else { BLOCK_BYTES - start };
        Self { memory, start, length }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }

    /// Hands out the memory and the offset of the boundary in it; [`AlignedBuffer::put_back`] must follow. io_uring takes
    /// buffers by ownership.
    pub fn take(&mut self) -> (Vec<u8>, usize) {
        (std::mem::take(&mut self.memory), self.start)
    }

    /// Takes the memory back.
    pub fn put_back(&mut self, memory: Vec<u8>) {
        self.memory = memory;
    }
}

/// The record whose header is not written yet.
#[derive(Debug)]
struct OpenRecord {
    offset: usize,
    header: RecordHeader,
    payload_checksum: u32,
}

/// A group being collected for one log.
#[derive(Debug)]
pub(super) struct Staging {
    pub buffer: AlignedBuffer,
    length: usize,
    open: Option<OpenRecord>,
    count: u32,
}

impl Staging {
    /// Room for a group of `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        let capacity = align_up(capacity as u64, BLOCK_BYTES as u64) as usize;
        Self { buffer: AlignedBuffer::zeroed(capacity), length: 0, open: None, count: 0 }
    }

    /// Bytes that a payload of `length` bytes takes in a group, its gap to the next record included.
    pub fn record_bytes(length: usize) -> u64 {
        align_up(RECORD_HEADER_BYTES as u64 + length as u64, RECORD_ALIGN_BYTES)
    }

    /// Whether a further payload of `length` bytes fits a group that may grow to `limit` bytes.
    pub fn fits(&self, length: usize, limit: u64) -> bool {
        let capacity = (self.buffer.bytes().len() as u64).min(limit);
        align_up(self.length as u64 + Self::record_bytes(length), BLOCK_BYTES as u64) <= capacity
    }

    /// Whether no record is in it.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Records in it.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Copies one record in, which [`Staging::fits`] has allowed; returns its offset in the group. `header` names kind,
    /// length, segment, number and group; flags and index are set here.
    pub fn push(&mut self, mut header: RecordHeader, parts: &[&[u8]], seed: u32) -> u64 {
        self.finish_open(false);
        let offset = self.length;
        header.flags = 0;
        header.group_index = self.count;
        let buffer = self.buffer.bytes_mut();
        let mut at = offset + RECORD_HEADER_BYTES;
        let payload_start = at;
        for part in parts {
            buffer[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        let payload_checksum = crc32c::crc32c_append(seed, &buffer[payload_start..at]);
        let end = align_up(at as u64, RECORD_ALIGN_BYTES) as usize;
        buffer[at..end].fill(0);
        self.length = end;
        self.count += 1;
        self.open = Some(OpenRecord { offset, header, payload_checksum });
        offset as u64
    }

    /// Marks the last record, fills up to the block boundary and returns the bytes to write. The content stays until
    /// [`Staging::clear`].
    pub fn close(&mut self) -> usize {
        self.finish_open(true);
        let end = align_up(self.length as u64, BLOCK_BYTES as u64) as usize;
        let length = self.length;
        self.buffer.bytes_mut()[length..end].fill(0);
        end
    }

    /// Empties it for the next group.
    pub fn clear(&mut self) {
        self.length = 0;
        self.count = 0;
        self.open = None;
    }

    /// Writes the header of the record that was waiting for it.
    fn finish_open(&mut self, last: bool) {
        if let Some(mut record) = self.open.take() {
            if last {
                record.header.flags |= FLAG_LAST;
            }
            let header = &mut self.buffer.bytes_mut()[record.offset..record.offset + RECORD_HEADER_BYTES];
            record.header.encode(header, record.payload_checksum);
        }
    }
}
