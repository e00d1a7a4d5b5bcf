//! How far the chain has come: the last executed block and running totals.

use std::collections::BTreeMap;

use tana_types::Hash;
use tana_types::codec::{DecodeError, Reader, Writer};
use tana_types::header::BlockHeader;

use crate::restore::RestoreError;
use crate::validators::Validator;

/// Where execution stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The last executed height; 0 at genesis.
    pub height: u64,
    /// Its block's timestamp, milliseconds; the genesis timestamp at height 0.
    pub timestamp_ms: u64,
    /// The hash of its header; the genesis hash at height 0. The next block's parent.
    pub block_hash: Hash,
    /// Transactions that took effect since genesis.
    pub applied: u64,
    /// Transactions that failed with a final receipt.
    pub failed: u64,
    /// Transactions that were passed over.
    pub skipped: u64,
    /// Per lane the sequence of the last batch that a block listed.
    pub lane_marks: BTreeMap<u16, u64>,
}

impl Progress {
    /// Moves on to `header`.
    pub(crate) fn advance(&mut self, header: &BlockHeader) {
        self.height = header.height;
        self.timestamp_ms = header.timestamp_ms;
        self.block_hash = header.hash();
        for lane in &header.lanes {
            // A lane is listed with at least one digest, from sequence 1 on.
            let last = lane.first_sequence.saturating_add(lane.digests.len() as u64).saturating_sub(1);
            self.lane_marks.insert(lane.lane, last);
        }
    }

    /// Lanes are places in the validator set: when the set changes, a mark follows its validator, and a new one starts at zero.
    pub(crate) fn move_lanes(&mut self, before: &[Validator], after: &[Validator]) {
        let marks = std::mem::take(&mut self.lane_marks);
        for (place, member) in after.iter().enumerate() {
            let old = before.iter().position(|other| other.key == member.key);
            // Sets have at most 256 members.
            if let Some(&mark) = old.and_then(|old| marks.get(&(old as u16))) {
                self.lane_marks.insert(place as u16, mark);
            }
        }
    }

    /// The section's bytes: height 8, timestamp 8, block hash 32, applied 8, failed 8, skipped 8, count 4, then per lane: lane 2, mark 8.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(76 + 10 * self.lane_marks.len());
        writer.u64(self.height).u64(self.timestamp_ms).bytes(&self.block_hash);
        writer.u64(self.applied).u64(self.failed).u64(self.skipped).u32(self.lane_marks.len() as u32);
        for (&lane, &mark) in &self.lane_marks {
            writer.u16(lane).u64(mark);
        }
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RestoreError> {
        let mut reader = Reader::new(bytes);
        let mut progress = Self {
            height: reader.u64("height")?,
            timestamp_ms: reader.u64("timestamp_ms")?,
            block_hash: reader.array("block hash")?,
            applied: reader.u64("applied")?,
            failed: reader.u64("failed")?,
            skipped: reader.u64("skipped")?,
            lane_marks: BTreeMap::new(),
        };
        for _ in 0..reader.u32("lane count")? {
            let (lane, mark) = (reader.u16("lane")?, reader.u64("lane mark")?);
            if progress.lane_marks.last_key_value().is_some_and(|(&last, _)| last >= lane) {
                return Err(DecodeError::Invalid { field: "lane marks", rule: "ascending by lane" }.into());
            }
            progress.lane_marks.insert(lane, mark);
        }
        reader.finish()?;
        Ok(progress)
    }
}
