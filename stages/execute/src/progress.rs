//! How far the chain has come: the last executed block, running totals, and how far blocks have listed each lane.
//!
//! An author that leaves the validator set loses its mark, and begins anew when it comes back. Its batches of before may still be about then, so
//! the mark that it left with is kept as a *floor*, at or below which nothing of it is listed again, until none of them can be unexpired. Floors
//! are part of the state: whether a block is valid depends on them, on a validator that was always up as on one that restarted or synced.

use std::collections::BTreeMap;

use tana_types::Hash;
use tana_types::codec::{DecodeError, Reader, Writer};
use tana_types::header::BlockHeader;

use crate::restore::RestoreError;
use crate::validators::Validator;

/// What is left of the lane of an author that left the validator set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneFloor {
    /// The last sequence that a block listed of it.
    pub mark: u64,
    /// The last height at which a batch of before can be unexpired.
    pub until: u64,
}

/// Floors by author.
pub type LaneFloors = BTreeMap<[u8; 32], LaneFloor>;

/// Moves floors on to an epoch whose first block is `height`: those that nothing can lie below any more go, and authors that `left` with
/// these marks get theirs. State and chain rules both go by this.
pub fn enter_floors(
    floors: &mut LaneFloors,
    left: impl IntoIterator<Item = ([u8; 32], u64)>,
    height: u64,
    batch_expiry_blocks: u64,
) {
    floors.retain(|_, floor| floor.until >= height);
    for (author, mark) in left {
        let floor = floors.entry(author).or_default();
        *floor = LaneFloor { mark: floor.mark.max(mark), until: height.saturating_add(batch_expiry_blocks) };
    }
}

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
    /// The marks of authors that left the set, as long as they matter.
    pub lane_floors: LaneFloors,
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

    /// An epoch begins whose first block is `height`. Lanes are places in the validator set: when that changes, a mark follows its validator,
    /// a new one starts at zero, and who left leaves a floor.
    pub(crate) fn enter_epoch(&mut self, before: &[Validator], after: &[Validator], height: u64, expiry_blocks: u64) {
        let marks = std::mem::take(&mut self.lane_marks);
        let left = before.iter().enumerate().filter_map(|(place, member)| {
            let stays = after.iter().any(|other| other.key == member.key);
            // Sets have at most 256 members.
            let mark = marks.get(&(place as u16)).filter(|_| !stays)?;
            Some((member.key.0, *mark))
        });
        enter_floors(&mut self.lane_floors, left, height, expiry_blocks);
        for (place, member) in after.iter().enumerate() {
            let old = before.iter().position(|other| other.key == member.key);
            // Sets have at most 256 members.
            if let Some(&mark) = old.and_then(|old| marks.get(&(old as u16))) {
                self.lane_marks.insert(place as u16, mark);
            }
        }
    }

    /// The section's bytes: height 8, timestamp 8, block hash 32, applied 8, failed 8, skipped 8, count 4, then per lane: lane 2, mark 8;
    /// count 4, then per floor, ascending by author: author 32, mark 8, until 8.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(80 + 10 * self.lane_marks.len() + 48 * self.lane_floors.len());
        writer.u64(self.height).u64(self.timestamp_ms).bytes(&self.block_hash);
        writer.u64(self.applied).u64(self.failed).u64(self.skipped).u32(self.lane_marks.len() as u32);
        for (&lane, &mark) in &self.lane_marks {
            writer.u16(lane).u64(mark);
        }
        writer.u32(self.lane_floors.len() as u32);
        for (author, floor) in &self.lane_floors {
            writer.bytes(author).u64(floor.mark).u64(floor.until);
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
            lane_floors: LaneFloors::new(),
        };
        for _ in 0..reader.u32("lane count")? {
            let (lane, mark) = (reader.u16("lane")?, reader.u64("lane mark")?);
            if progress.lane_marks.last_key_value().is_some_and(|(&last, _)| last >= lane) {
                return Err(DecodeError::Invalid { field: "lane marks", rule: "ascending by lane" }.into());
            }
            progress.lane_marks.insert(lane, mark);
        }
        for _ in 0..reader.u32("floor count")? {
            let author = reader.array("floor author")?;
            let floor = LaneFloor { mark: reader.u64("floor mark")?, until: reader.u64("floor until")? };
            if progress.lane_floors.last_key_value().is_some_and(|(last, _)| *last >= author) {
                return Err(DecodeError::Invalid { field: "lane floors", rule: "ascending by author" }.into());
            }
            progress.lane_floors.insert(author, floor);
        }
        reader.finish()?;
        Ok(progress)
    }
}
