//! Held-up-to marks: how far into each lane a validator holds every batch, verified and durable.
//!
//! Bytes (little-endian): version 1 (u8), count (u16, at most [`MARKS_MAX`]), then per mark, ascending by author: author 32, sequence u64 (at
//! least 1), digest 32. The digest is that of the batch at that sequence; without it, an author that seals two batches at one sequence could
//! make validators believe that they hold the same. It is zeros where the sender has no batch at the mark itself, because finalized blocks
//! carried the lane past what it holds.

use tana_types::Hash;
use tana_types::codec::{COUNTER_MAX, DecodeError, Reader, Writer};
use tana_types::genesis::VALIDATORS_MAX;

/// The only version of the message.
const MARKS_VERSION: u8 = 1;
/// The most marks of one message: the lanes of this epoch's validators and of the next one's.
pub const MARKS_MAX: usize = 2 * VALIDATORS_MAX;
/// Bytes of one mark.
const MARK_BYTES: usize = 72;

/// How far one lane is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Whose lane.
    pub author: [u8; 32],
    /// The last sequence of those that are held without a gap.
    pub sequence: u64,
    /// The digest of the batch there; zeros where none is held at this very place.
    pub digest: Hash,
}

/// What a validator tells all others: how far it holds each lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// Ascending by author, each at most once.
    pub entries: Vec<Mark>,
}

impl Marks {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(3 + MARK_BYTES * self.entries.len());
        // At most 512 entries: `LaneBook::marks` has one per member of two sets.
        writer.u8(MARKS_VERSION).u16(self.entries.len() as u16);
        for mark in &self.entries {
            writer.bytes(&mark.author).u64(mark.sequence).bytes(&mark.digest);
        }
        writer.finish()
    }

    /// Reads canonical bytes; anything else is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8("marks version")? != MARKS_VERSION {
            return Err(DecodeError::Invalid { field: "marks version", rule: "1" });
        }
        let count = reader.u16("mark count")? as usize;
        if count > MARKS_MAX {
            return Err(DecodeError::Invalid { field: "mark count", rule: "at most 512" });
        }
        let mut entries: Vec<Mark> = Vec::with_capacity(count);
        for _ in 0..count {
            let author = reader.array("mark author")?;
            let sequence = reader.u64("mark sequence")?;
            let digest = reader.array("mark digest")?;
            if sequence == 0 || sequence > COUNTER_MAX || entries.last().is_some_and(|last| last.author >= author) {
                return Err(DecodeError::Invalid {
                    field: "marks",
                    rule: "ascending by author, from sequence 1 on and below 2^63",
                });
            }
            entries.push(Mark { author, sequence, digest });
        }
        reader.finish()?;
        Ok(Self { entries })
    }
}
