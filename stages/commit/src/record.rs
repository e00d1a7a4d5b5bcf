//! The commit record's bytes. The layout is in the crate's text.

use tana_types::Hash;
use tana_types::account::RECORD_BYTES;
use tana_types::codec::{DecodeError, Reader, Writer};
use tana_types::header::{BlockHeader, HEADER_BYTES_MAX};
use tana_types::state::{STATE_SECTIONS_BYTES, StateSections};

/// The only version.
const VERSION: u16 = 1;

/// What goes into a record.
pub struct CommitParts<'a> {
    /// The block.
    pub header: &'a BlockHeader,
    /// The receipts root of this block.
    pub receipts_root: Hash,
    /// The state after this block.
    pub sections: &'a StateSections,
    /// Where the block's batches lie in the batch log, in the header's order.
    pub batch_positions: &'a [u64],
    /// One code per transaction.
    pub codes: &'a [u8],
    /// The accounts that changed, ascending.
    pub changed: &'a [u32],
    /// Overflows that changed: position in `changed`, canonical bytes, empty when it is gone.
    pub overflows: &'a [(u32, &'a [u8])],
}

impl CommitParts<'_> {
    /// Writes the record's first part into `head` and its last into `tail`. The record is `head ++ codes ++ records ++ tail`, so that codes and
    /// records are written from where they lie, without a copy.
    pub fn encode(&self, head: &mut Vec<u8>, tail: &mut Vec<u8>) {
        tail.clear();
        for (position, bytes) in self.overflows {
            tail.extend_from_slice(&position.to_le_bytes());
            tail.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            tail.extend_from_slice(bytes);
        }
        let header = self.header.encode();
        let mut writer = Writer::with_capacity(512 + header.len() + 4 * self.changed.len());
        writer.u16(VERSION).u64(self.header.height).u32(header.len() as u32);
        writer.bytes(&self.sections.root()).bytes(&self.receipts_root).bytes(&self.sections.encode());
        writer.u32(self.batch_positions.len() as u32).u32(self.codes.len() as u32);
        writer.u32(self.changed.len() as u32).u32(tail.len() as u32).bytes(&header);
        for position in self.batch_positions {
            writer.u64(*position);
        }
        for index in self.changed {
            writer.u32(*index);
        }
        *head = writer.finish();
    }

    /// The whole record in one piece, for tests and tools.
    pub fn assemble(&self, records: &[[u8; RECORD_BYTES]]) -> Vec<u8> {
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        self.encode(&mut head, &mut tail);
        [&head, self.codes, records.as_flattened(), &tail].concat()
    }
}

/// A commit record, read in place.
#[derive(Debug, Clone)]
pub struct CommitRecord<'a> {
    /// The block.
    pub header: BlockHeader,
    /// The state root after this block, as recorded.
    pub state_root: Hash,
    /// The receipts root of this block.
    pub receipts_root: Hash,
    /// The state after this block.
    pub sections: StateSections,
    /// Where the block's batches lie in the batch log.
    pub batch_positions: Vec<u64>,
    /// One code per transaction.
    pub codes: &'a [u8],
    /// The accounts that changed, ascending.
    pub changed: Vec<u32>,
    /// Their new records.
    pub records: &'a [[u8; RECORD_BYTES]],
    /// Overflows that changed: position in `changed`, canonical bytes, empty when it is gone.
    pub overflows: Vec<(u32, &'a [u8])>,
}

impl<'a> CommitRecord<'a> {
    /// Reads a record; every count is checked against the bytes that are there.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let rule = |field, rule| Err(DecodeError::Invalid { field, rule });
        let mut reader = Reader::new(bytes);
        if reader.u16("version")? != VERSION {
            return rule("version", "1");
        }
        let height = reader.u64("height")?;
        let header_length = reader.u32("header length")? as usize;
        if header_length > HEADER_BYTES_MAX {
            return rule("header length", "at most the largest header");
        }
        let state_root = reader.array("state root")?;
        let receipts_root = reader.array("receipts root")?;
        let sections = StateSections::decode(reader.bytes(STATE_SECTIONS_BYTES, "sections")?)?;
        let batches = reader.u32("batch count")? as usize;
        let transactions = reader.u32("transaction count")? as usize;
        let changed_count = reader.u32("changed count")? as usize;
        let overflow_bytes = reader.u32("overflow bytes")? as usize;
        let header = BlockHeader::decode(reader.bytes(header_length, "header")?)?;
        if header.height != height
            || header.batch_count() != batches
            || header.transaction_count as usize != transactions
        {
            return rule("counts", "those of the header");
        }
        if sections.height != height || sections.root() != state_root {
            return rule("state root", "that of the sections, at the header's height");
        }
        let batch_positions = (0..batches).map(|_| reader.u64("batch position")).collect::<Result<_, _>>()?;
        let indexes = reader.bytes(changed_count.saturating_mul(4), "changed indexes")?;
        let changed: Vec<u32> =
            indexes.chunks_exact(4).map(|raw| u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]])).collect();
        if !changed.is_sorted_by(|left, right| left < right) {
            return rule("changed indexes", "ascending");
        }
        let codes = reader.bytes(transactions, "codes")?;
        let (records, _) = reader.bytes(changed_count.saturating_mul(RECORD_BYTES), "records")?.as_chunks();
        let overflows = read_overflows(reader.bytes(overflow_bytes, "overflows")?, changed_count)?;
        reader.finish()?;
        Ok(Self { header, state_root, receipts_root, sections, batch_positions, codes, changed, records, overflows })
    }
}

fn read_overflows(bytes: &[u8], changed_count: usize) -> Result<Vec<(u32, &[u8])>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut overflows = Vec::new();
    while reader.remaining() > 0 {
        let position = reader.u32("overflow position")?;
        let length = reader.u32("overflow length")? as usize;
        if position as usize >= changed_count {
            return Err(DecodeError::Invalid { field: "overflow position", rule: "within the changed accounts" });
        }
        overflows.push((position, reader.bytes(length, "overflow")?));
    }
    Ok(overflows)
}
