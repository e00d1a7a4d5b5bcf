//! The bytes of a table. All integers little-endian.
//!
//! ```text
//! header      4096 bytes: magic, version, counts, checksum
//! entries     blocks of 4096 bytes: 255 entries of key and value, count, checksum
//! index       blocks of 4096 bytes, the same layout: the first entry of each entry block
//! filter      lines of 64 bytes: 480 bits and a checksum
//! ```
//!
//! Entries are sorted by key, then value; no entry appears twice. A checksum starts from the block's number, so that a block in
//! the wrong place does not pass.

use crate::bytes::{put_u32, put_u64, u32_at, u64_at};

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 4096;
/// Entries of a full block: 255 times 16 bytes, then 16 bytes of count and checksum.
pub(super) const BLOCK_ENTRIES: usize = 255;
/// Most entries of one table: bounds the memory of building and opening one (the index of a table this large has 17 MB).
pub const ENTRIES_MAX: u64 = 1 << 28;
/// Where a block's count stands; its checksum is in the last four bytes.
const COUNT_AT: usize = BLOCK_ENTRIES * 16;
const CHECKSUM_AT: usize = BLOCK_BYTES - 4;
const MAGIC: u32 = u32::from_le_bytes(*b"TTAB");
const VERSION: u32 = 1;

const _: () = assert!(COUNT_AT + 16 == BLOCK_BYTES);

/// A key and one of its values.
pub(super) type Entry = (u64, u64);

/// The header of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TableHeader {
    pub entries: u64,
    pub filter_lines: u64,
}

impl TableHeader {
    /// Entry blocks of the table.
    pub fn entry_blocks(&self) -> u64 {
        self.entries.div_ceil(BLOCK_ENTRIES as u64)
    }

    /// Index blocks of the table.
    pub fn index_blocks(&self) -> u64 {
        self.entry_blocks().div_ceil(BLOCK_ENTRIES as u64)
    }

    /// Offset of the first filter line.
    pub fn filter_offset(&self) -> u64 {
        (1 + self.entry_blocks() + self.index_blocks()) * BLOCK_BYTES as u64
    }

    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.filter_offset() + self.filter_lines * super::filter::LINE_BYTES as u64
    }

    /// The header's block.
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0u8; BLOCK_BYTES];
        put_u32(&mut block, 0, MAGIC);
        put_u32(&mut block, 4, VERSION);
        put_u64(&mut block, 8, self.entries);
        put_u64(&mut block, 16, self.filter_lines);
        seal_block(&mut block, 0);
        block
    }

    /// Reads the header's block; the error says what is wrong.
    pub fn decode(block: &[u8]) -> Result<Self, String> {
        if block.len() != BLOCK_BYTES || u32_at(block, 0) != MAGIC {
            return Err("it does not begin as a table".to_string());
        }
        if u32_at(block, 4) != VERSION {
            return Err(format!("its format version is {}, this program reads {VERSION}", u32_at(block, 4)));
        }
        if !block_holds(block, 0) {
            return Err("the checksum of the header does not hold".to_string());
        }
        let header = Self { entries: u64_at(block, 8), filter_lines: u64_at(block, 16) };
        if header.entries > ENTRIES_MAX || header.filter_lines != super::filter::line_count(header.entries) {
            return Err(format!(
                "its header names {} entries and {} filter lines",
                header.entries, header.filter_lines
            ));
        }
        Ok(header)
    }
}

/// Encodes up to a block of entries as block number `number` of the file.
pub(super) fn encode_entries(entries: &[Entry], number: u64) -> [u8; BLOCK_BYTES] {
    let mut block = [0u8; BLOCK_BYTES];
    for (index, (key, value)) in entries.iter().take(BLOCK_ENTRIES).enumerate() {
        put_u64(&mut block, index * 16, *key);
        put_u64(&mut block, index * 16 + 8, *value);
    }
    put_u32(&mut block, COUNT_AT, entries.len().min(BLOCK_ENTRIES) as u32);
    seal_block(&mut block, number);
    block
}

/// Appends the entries of block number `number` to `entries`; the error says what is wrong.
pub(super) fn decode_entries(block: &[u8], number: u64, entries: &mut Vec<Entry>) -> Result<(), String> {
    if block.len() != BLOCK_BYTES || !block_holds(block, number) {
        return Err(format!("the checksum of block {number} does not hold"));
    }
    let count = u32_at(block, COUNT_AT) as usize;
    if count == 0 || count > BLOCK_ENTRIES {
        return Err(format!("block {number} names {count} entries"));
    }
    entries.extend((0..count).map(|index| (u64_at(block, index * 16), u64_at(block, index * 16 + 8))));
    Ok(())
}

/// Checksum of a block as block number `number`.
fn checksum(block: &[u8], number: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), &block[..CHECKSUM_AT])
}

/// Writes the checksum of a block.
fn seal_block(block: &mut [u8; BLOCK_BYTES], number: u64) {
    let value = checksum(block, number);
    put_u32(block, CHECKSUM_AT, value);
}

/// Whether a block's checksum holds.
fn block_holds(block: &[u8], number: u64) -> bool {
    checksum(block, number) == u32_at(block, CHECKSUM_AT)
}
