//! The bytes of a segment: header block, records in groups, seal block. All integers little-endian.
//!
//! ```text
//! offset 0                     header block, 4096 bytes
//! offset 4096                  group | zeros up to 4096 | group | zeros up to 4096 | ... zeros written ahead ...
//! offset segment_bytes - 4096  seal block, zeros until the segment is sealed
//! ```
//!
//! A *group* is what one commit wrote to one log. It starts on a 4 KiB boundary, so that a later commit never rewrites a
//! block that an earlier one made durable. Records inside a group stand on 8-byte boundaries; the last one carries a flag,
//! so that a reader knows whether a group is whole.
//!
//! Record header (40 bytes), then the payload:
//!
//! | at | field |
//! |---|---|
//! | 0 | magic `TREC` |
//! | 4 | version 1 |
//! | 5 | kind: the caller's, 1-255; 0 with the marker flag |
//! | 6 | flags: 1 last record of its group, 2 marker (closes a group that recovery cut; holds no payload, takes no number) |
//! | 7 | zero |
//! | 8 | payload length |
//! | 12 | segment number |
//! | 16 | record number, from 0, without gaps over the whole log |
//! | 24 | group number, from 0, without gaps |
//! | 32 | index of the record in its group, from 0 |
//! | 36 | CRC-32C of the payload, then bytes 0-35, started from the segment's seed |
//!
//! The *seed* is the CRC-32C of the segment's random salt and its number. Bytes of another segment or of another node's
//! log therefore never pass, and nobody who only chooses payloads can make a payload look like a record.
//!
//! The payload comes first in the checksum because it is complete first: whether a record is its group's last is known
//! only when the next one does not come.

use crate::bytes::{put_u32, put_u64, u32_at, u64_at};

/// Unit of every write: the block that disks write whole, and the alignment that direct I/O asks for.
pub const BLOCK_BYTES: usize = 4096;
/// Bytes of a record's header.
pub const RECORD_HEADER_BYTES: usize = 40;
/// Records start on multiples of this.
pub(super) const RECORD_ALIGN_BYTES: u64 = 8;
/// Largest payload that any configuration allows: bounds the buffer that a length read from disk can ask for.
pub const RECORD_BYTES_LIMIT: usize = 256 << 20;

/// Flag: last record of its group.
pub(super) const FLAG_LAST: u8 = 1;
/// Flag: closes a group that recovery cut.
pub(super) const FLAG_MARKER: u8 = 2;

const RECORD_MAGIC: u32 = u32::from_le_bytes(*b"TREC");
const SEGMENT_MAGIC: u32 = u32::from_le_bytes(*b"TSEG");
const SEAL_MAGIC: u32 = u32::from_le_bytes(*b"TEND");
const VERSION: u8 = 1;
/// Bytes of the record header that the checksum covers.
const RECORD_COVERED_BYTES: usize = 36;
/// Longest name of a log: it stands in the header block.
pub(super) const NAME_BYTES_MAX: usize = 32;
/// Bytes of the segment header that its checksum covers.
const SEGMENT_COVERED_BYTES: usize = 64;
/// Bytes of the seal that its checksum covers.
const SEAL_COVERED_BYTES: usize = 48;

/// A record's header, checksum apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub kind: u8,
    pub flags: u8,
    pub length: u32,
    pub segment: u32,
    pub number: u64,
    pub group: u64,
    pub group_index: u32,
}

impl RecordHeader {
    /// Writes the header with its checksum into the first 40 bytes of `out`; `payload_checksum` is the seed continued over
    /// the payload.
    pub fn encode(&self, out: &mut [u8], payload_checksum: u32) {
        put_u32(out, 0, RECORD_MAGIC);
        out[4] = VERSION;
        out[5] = self.kind;
        out[6] = self.flags;
        out[7] = 0;
        put_u32(out, 8, self.length);
        put_u32(out, 12, self.segment);
        put_u64(out, 16, self.number);
        put_u64(out, 24, self.group);
        put_u32(out, 32, self.group_index);
        let checksum = crc32c::crc32c_append(payload_checksum, &out[..RECORD_COVERED_BYTES]);
        put_u32(out, RECORD_COVERED_BYTES, checksum);
    }

    /// Reads a header without its checksum; `None` when it cannot be one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < RECORD_HEADER_BYTES
            || u32_at(bytes, 0) != RECORD_MAGIC
            || bytes[4] != VERSION
            || bytes[6] & !(FLAG_LAST | FLAG_MARKER) != 0
            || bytes[7] != 0
        {
            return None;
        }
        let header = Self {
            kind: bytes[5],
            flags: bytes[6],
            length: u32_at(bytes, 8),
            segment: u32_at(bytes, 12),
            number: u64_at(bytes, 16),
            group: u64_at(bytes, 24),
            group_index: u32_at(bytes, 32),
        };
        let marker = header.flags & FLAG_MARKER != 0;
        let plausible = if marker {
            header.kind == 0 && header.length == 0 && header.is_last()
        } else {
            header.kind != 0 && header.length as usize <= RECORD_BYTES_LIMIT
        };
        plausible.then_some(header)
    }

    /// Whether the checksum of `record` (header and payload, exactly) holds.
    pub fn checksum_holds(record: &[u8], seed: u32) -> bool {
        let (header, payload) = record.split_at(RECORD_HEADER_BYTES);
        let checksum = crc32c::crc32c_append(crc32c::crc32c_append(seed, payload), &header[..RECORD_COVERED_BYTES]);
        checksum == u32_at(header, RECORD_COVERED_BYTES)
    }

    /// Whether this is the last record of its group.
    pub fn is_last(&self) -> bool {
        self.flags & FLAG_LAST != 0
    }

    /// Whether recovery wrote it to close a cut group.
    pub fn is_marker(&self) -> bool {
        self.flags & FLAG_MARKER != 0
    }
}

/// The header block of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub segment: u32,
    pub segment_bytes: u64,
    pub salt: u64,
    pub name: String,
}

impl SegmentHeader {
    /// Start value of every checksum in this segment.
    pub fn seed(&self) -> u32 {
        let mut bytes = [0u8; 12];
        put_u64(&mut bytes, 0, self.salt);
        put_u32(&mut bytes, 8, self.segment);
        crc32c::crc32c(&bytes)
    }

    /// Writes the block; the name has at most 32 bytes, which the configuration has checked.
    pub fn encode(&self, block: &mut [u8]) {
        block[..BLOCK_BYTES].fill(0);
        put_u32(block, 0, SEGMENT_MAGIC);
        block[4] = VERSION;
        put_u32(block, 8, self.segment);
        put_u64(block, 12, self.segment_bytes);
        put_u64(block, 20, self.salt);
        let name = &self.name.as_bytes()[..self.name.len().min(NAME_BYTES_MAX)];
        block[31] = name.len() as u8;
        block[32..32 + name.len()].copy_from_slice(name);
        let checksum = crc32c::crc32c(&block[..SEGMENT_COVERED_BYTES]);
        put_u32(block, SEGMENT_COVERED_BYTES, checksum);
    }

    /// Reads the block; the error says what is wrong.
    pub fn decode(block: &[u8]) -> Result<Self, String> {
        if block.len() < BLOCK_BYTES {
            return Err(format!("the file ends inside its header block, after {} bytes", block.len()));
        }
        if u32_at(block, 0) != SEGMENT_MAGIC {
            return Err("it does not begin as a log segment".to_string());
        }
        if block[4] != VERSION {
            return Err(format!("its format version is {}, this program reads version {VERSION}", block[4]));
        }
        if crc32c::crc32c(&block[..SEGMENT_COVERED_BYTES]) != u32_at(block, SEGMENT_COVERED_BYTES)
            || block[SEGMENT_COVERED_BYTES + 4..BLOCK_BYTES].iter().any(|byte| *byte != 0)
        {
            return Err("the checksum of the header block does not hold".to_string());
        }
        let length = usize::from(block[31]).min(NAME_BYTES_MAX);
        let name = String::from_utf8_lossy(&block[32..32 + length]).into_owned();
        Ok(Self { segment: u32_at(block, 8), segment_bytes: u64_at(block, 12), salt: u64_at(block, 20), name })
    }
}

/// The seal: what a full segment holds, written in its last block when the writer moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    pub segment: u32,
    pub end_offset: u32,
    pub first_number: u64,
    pub next_number: u64,
    pub first_group: u64,
    pub next_group: u64,
}

impl Seal {
    /// Writes the seal block.
    pub fn encode(&self, block: &mut [u8], seed: u32) {
        block[..BLOCK_BYTES].fill(0);
        put_u32(block, 0, SEAL_MAGIC);
        block[4] = VERSION;
        put_u32(block, 8, self.segment);
        put_u32(block, 12, self.end_offset);
        put_u64(block, 16, self.first_number);
        put_u64(block, 24, self.next_number);
        put_u64(block, 32, self.first_group);
        put_u64(block, 40, self.next_group);
        let checksum = crc32c::crc32c_append(seed, &block[..SEAL_COVERED_BYTES]);
        put_u32(block, SEAL_COVERED_BYTES, checksum);
    }

    /// Reads the seal; `None` when there is none, or not a whole one.
    pub fn decode(block: &[u8], seed: u32) -> Option<Self> {
        if block.len() < BLOCK_BYTES
            || u32_at(block, 0) != SEAL_MAGIC
            || block[4] != VERSION
            || crc32c::crc32c_append(seed, &block[..SEAL_COVERED_BYTES]) != u32_at(block, SEAL_COVERED_BYTES)
            || block[SEAL_COVERED_BYTES + 4..BLOCK_BYTES].iter().any(|byte| *byte != 0)
        {
            return None;
        }
        Some(Self {
            segment: u32_at(block, 8),
            end_offset: u32_at(block, 12),
            first_number: u64_at(block, 16),
            next_number: u64_at(block, 24),
            first_group: u64_at(block, 32),
            next_group: u64_at(block, 40),
        })
    }
}
