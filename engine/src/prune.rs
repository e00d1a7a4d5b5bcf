//! Pruning: whole segments of the logs go when nothing needs them any more. A node that keeps everything is an archive, which is the default.
//!
//! Behind each checkpoint, on the checkpoint's thread:
//! 1. The kept height is the checkpoint's less `keep_heights`, and never above what a snapshot or a change of the validator set still needs.
//! 2. A segment of the block log goes when the next one begins at or below the kept height; the same in the order log. The segments that the
//!    checkpoint's own places lie in stay: a restart begins there.
//! 3. A segment of the batch log goes when every batch in it expired below the oldest height that is left in the block log: no block that is
//!    left can list one of them, and no block to come may.
//! 4. The look-up tables of removed segments go, and the index of blocks forgets them.
//!
//! Block records go first, so that nothing that is left names what is gone. A batch segment is read once to learn when its batches expire.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tana_commit::CommitRecord;
use tana_store::{CheckpointMeta, LogReader, Position, StoreError, remove_segments_before};
use tana_types::batch::Seal;
use tana_types::transaction::Chain;

use crate::block_index::BlockIndex;
use crate::indexer::{TableKind, table_path};
use crate::pipeline::{BATCH_LOG, BLOCK_LOG, LOG_NAMES, ORDER_LOG};

/// Batch segments whose expiry is remembered; more are read again.
const EXPIRIES_MAX: usize = 65_536;

/// What pruning works on.
pub struct PruneParts {
    /// The folder of the logs.
    pub logs: PathBuf,
    /// The folder of the tables.
    pub tables: PathBuf,
    /// The chain.
    pub chain: Chain,
    /// Where blocks lie.
    pub blocks: Arc<BlockIndex>,
    /// Heights kept below a checkpoint; 0 keeps everything.
    pub keep_heights: u64,
}

/// See the module's text.
pub struct Pruner {
    parts: PruneParts,
    /// The highest expiry height in a batch segment, by segment.
    expiries: BTreeMap<u32, u64>,
}

/// Segments that went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Of the batch log.
    pub batch_segments: u32,
    /// Of the order log.
    pub order_segments: u32,
    /// Of the block log.
    pub block_segments: u32,
}

impl Pruner {
    /// A pruner that has read nothing yet.
    pub fn new(parts: PruneParts) -> Self {
        Self { parts, expiries: BTreeMap::new() }
    }

    /// Prunes below a committed checkpoint; `needed` is the lowest height that something else still needs.
    ///
    /// # Errors
    /// When a log cannot be read or a file not be removed; what was removed stays removed, and nothing that is left needs it.
    pub fn prune(&mut self, checkpoint: &CheckpointMeta, needed: Option<u64>) -> Result<Pruned, StoreError> {
        let keep = self.parts.keep_heights;
        let kept = checkpoint.height.saturating_sub(keep).min(needed.unwrap_or(u64::MAX));
        if keep == 0 || kept <= 1 {
            return Ok(Pruned::default());
        }
        let block_segments = self.prune_by_height(BLOCK_LOG, checkpoint, kept)?;
        let order_segments = self.prune_by_height(ORDER_LOG, checkpoint, kept)?;
        let first_segment = self.reader(BLOCK_LOG)?.first_position()?;
        let oldest = self.first_height(BLOCK_LOG, first_segment.segment)?.unwrap_or(kept);
        if block_segments > 0 {
            self.parts.blocks.forget_before(oldest, first_segment.to_u64());
            self.remove_tables(first_segment.segment);
        }
        let batch_segments = self.prune_batches(checkpoint, oldest)?;
        let pruned = Pruned { batch_segments, order_segments, block_segments };
        if pruned != Pruned::default() {
            tracing::info!(oldest, ?pruned, "pruned the logs");
        }
        Ok(pruned)
    }

    fn reader(&self, log: usize) -> Result<LogReader, StoreError> {
        LogReader::open(&self.parts.logs, LOG_NAMES[log])
    }

    /// The segment in which a restart from the checkpoint begins to read; none when it reads from the log's beginning.
    fn start_segment(checkpoint: &CheckpointMeta, log: usize) -> Option<u32> {
        checkpoint.positions.get(log).filter(|position| **position != Position::default()).map(|place| place.segment)
    }

    /// The height of a segment's first record; none when it holds none yet.
    fn first_height(&self, log: usize, segment: u32) -> Result<Option<u64>, StoreError> {
        let mut records = match self.reader(log)?.iter_from(Position::segment_start(segment)) {
            Err(StoreError::Missing { .. }) => return Ok(None),
            other => other?,
        };
        let Some(record) = records.next_record()? else { return Ok(None) };
        if record.position.segment != segment {
            return Ok(None);
        }
        let height = match log {
            BLOCK_LOG => CommitRecord::decode(record.payload).map(|record| record.header.height),
            _ => crate::order_record::decode(record.payload).map(|(header, _)| header.height),
        };
        // A record that cannot be read is for whoever needs it to complain about; pruning leaves it where it is.
        Ok(height.ok())
    }

    fn prune_by_height(&self, log: usize, checkpoint: &CheckpointMeta, kept: u64) -> Result<u32, StoreError> {
        let Some(last) = Self::start_segment(checkpoint, log) else { return Ok(0) };
        let mut first_kept = self.reader(log)?.first_position()?.segment;
        while first_kept < last && self.first_height(log, first_kept + 1)?.is_some_and(|height| height <= kept) {
            first_kept += 1;
        }
        remove_segments_before(&self.parts.logs, LOG_NAMES[log], Position::segment_start(first_kept))
    }

    fn prune_batches(&mut self, checkpoint: &CheckpointMeta, oldest: u64) -> Result<u32, StoreError> {
        let Some(last) = Self::start_segment(checkpoint, BATCH_LOG) else { return Ok(0) };
        let mut first_kept = self.reader(BATCH_LOG)?.first_position()?.segment;
        while first_kept < last && self.expiry_of(first_kept)? < oldest {
            first_kept += 1;
        }
        self.expiries.retain(|segment, _| *segment >= first_kept);
        remove_segments_before(&self.parts.logs, LOG_NAMES[BATCH_LOG], Position::segment_start(first_kept))
    }

    /// The highest expiry height of a sealed batch segment's batches.
    fn expiry_of(&mut self, segment: u32) -> Result<u64, StoreError> {
        if let Some(expiry) = self.expiries.get(&segment) {
            return Ok(*expiry);
        }
        let mut records = self.reader(BATCH_LOG)?.iter_from(Position::segment_start(segment))?;
        let mut highest = 0;
        while let Some(record) = records.next_record()? {
            if record.position.segment != segment {
                break;
            }
            let expiry = Seal::decode(record.payload, &self.parts.chain).map(|(seal, _)| seal.expiry_height.get());
            highest = highest.max(expiry.unwrap_or(u64::MAX));
        }
        if self.expiries.len() < EXPIRIES_MAX {
            self.expiries.insert(segment, highest);
        }
        Ok(highest)
    }

    /// Tables that cannot be removed only take room; the next start finds them again.
    fn remove_tables(&self, first_kept: u32) {
        let Ok(entries) = std::fs::read_dir(&self.parts.tables) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let segment: Option<u32> = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            let is_table = |kind| segment.is_some_and(|segment| table_path(&self.parts.tables, kind, segment) == path);
            if segment.is_some_and(|segment| segment < first_kept)
                && (is_table(TableKind::Transactions) || is_table(TableKind::Accounts))
            {
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
