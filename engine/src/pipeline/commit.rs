//! Commit: a block whose record is durable is acknowledged, published and answered, and its batches go back to the pool.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tana_commit::Watermark;
use tana_execute::Outcome;
use tana_ingest::Admission;
use tana_store::{DurableState, DurableWriter, Position};
use tana_types::account::NO_ACCOUNT;
use tana_types::batch::{Entry, NO_SOURCE};

use super::CommitEntry;
use crate::answers::{Answers, Place};
use crate::block_index::BlockIndex;
use crate::channel::{Inlet, Outlet};
use crate::checkpointer::{CheckpointMessage, CommittedAt, Resume};
use crate::failure::Failure;
use crate::pool::Pool;
use crate::published::Published;
use crate::stage::{Poll, Stage, StageCounters, add};

/// A block whose record is durable.
pub struct DurableBlock {
    /// The block.
    pub entry: Box<CommitEntry>,
    /// Where its record lies in the block log.
    pub block_position: u64,
}

/// See the module's text.
pub struct CommitStage {
    parts: CommitStageParts,
    watermark: Watermark,
    input: Inlet<DurableBlock>,
    counters: Arc<StageCounters>,
}

/// What a commit stage is made of.
pub struct CommitStageParts {
    /// Where batches go back to.
    pub pool: Arc<Pool>,
    /// Where outcomes go back to.
    pub outcomes: Outlet<Box<Outcome>>,
    /// Where a checkpoint learns that its block is durable.
    pub checkpoints: Outlet<CheckpointMessage>,
    /// Where answers go.
    pub answers: Answers,
    /// Hears of user creations that have ended.
    pub admission: Arc<Admission>,
    /// Heights and latencies.
    pub published: Arc<Published>,
    /// Where blocks lie.
    pub blocks: Arc<BlockIndex>,
    /// Tells other processes how far the logs are durable.
    pub durable: DurableWriter,
    /// The last batch of a committed block: place in the batch log and sequence.
    pub last_batch: (u64, u64),
    /// Where a broken rule is told.
    pub failure: Arc<Failure>,
}

impl CommitStage {
    /// The end of the pipeline, behind a committed height.
    pub fn new(parts: CommitStageParts, committed_height: u64, input: Inlet<DurableBlock>) -> Self {
        Self { parts, watermark: Watermark::new(committed_height), input, counters: Arc::default() }
    }

    fn publish(&mut self, block: &DurableBlock) -> Result<(), String> {
        let entry = &block.entry;
        let height = entry.block.block.header.height;
        if !self.watermark.advance(height) {
            return Err(format!(
                "block {height} was committed out of order; this is a defect of the node, please report it"
            ));
        }
        let published = &self.parts.published;
        published.applied.fetch_add(u64::from(entry.outcome.applied), Ordering::Relaxed);
        published.failed.fetch_add(u64::from(entry.outcome.failed), Ordering::Relaxed);
        published.skipped.fetch_add(u64::from(entry.outcome.skipped), Ordering::Relaxed);
        published.accounts.store(u64::from(entry.sections.account_count), Ordering::Relaxed);
        self.parts.blocks.push(height, block.block_position);
        published.commit(height, entry.state_root);
        if let Some(sealed) = entry.block.block.batches.last() {
            self.parts.last_batch = (sealed.position, sealed.sequence);
        }
        let positions = [self.parts.last_batch.0, entry.block.order_position, block.block_position];
        let state = DurableState { height, positions: positions.map(Position::from_u64).to_vec() };
        let published = self.parts.durable.publish(&state);
        published.map_err(|error| format!("the durable position cannot be published: {error}"))
    }

    fn tell_checkpoint(&self, entry: &CommitEntry, block_position: u64) {
        let Some(roots) = &entry.checkpoint else { return };
        let header = &entry.block.block.header;
        let resume = Resume {
            hash: entry.block.block.hash,
            timestamp_ms: header.timestamp_ms,
            executed_height: header.executed_height,
            last_sequence: self.parts.last_batch.1,
            applied: self.parts.published.applied.load(Ordering::Relaxed),
            account_count: entry.sections.account_count,
            roots: roots.clone(),
        };
        self.parts.checkpoints.send(CheckpointMessage::Committed(CommittedAt {
            height: header.height,
            state_root: entry.state_root,
            batch_position: self.parts.last_batch.0,
            order_position: entry.block.order_position,
            block_position,
            resume,
        }));
    }

    fn answer(&mut self, entry: &CommitEntry, now_ns: u64) {
        let height = entry.block.block.header.height;
        let mut first = 0;
        for sealed in &entry.block.block.batches {
            let batch = &sealed.batch;
            let codes = &entry.outcome.codes[first..first + batch.len()];
            self.parts.answers.committed(batch.entries(), codes, Place { height, first_index: first as u64 });
            self.parts.published.record_applied(now_ns.saturating_sub(batch.arrived_ns), batch.len() as u64);
            // What a restart found in the logs was never let through the gate of this process.
            let is_creation = |entry: &&Entry| entry.sender == NO_ACCOUNT && entry.origin.source != NO_SOURCE;
            let creations = batch.entries().iter().filter(is_creation).count();
            if creations > 0 {
                self.parts.admission.creations().ended(creations as u32);
            }
            first += batch.len();
        }
        self.parts.published.waiting.fetch_sub(first as u64, Ordering::Relaxed);
        add(&self.counters.transactions, first as u64);
    }
}

impl Stage for CommitStage {
    fn name(&self) -> &'static str {
        "commit"
    }

    fn poll(&mut self, now_ns: u64) -> Poll {
        let Some(block) = self.input.take() else { return Poll::Idle };
        if let Err(reason) = self.publish(&block) {
            self.parts.failure.tell(reason);
            return Poll::Idle;
        }
        self.answer(&block.entry, now_ns);
        self.tell_checkpoint(&block.entry, block.block_position);
        let entry = *block.entry;
        for sealed in entry.block.block.batches {
            // What a restart found in the logs never came from the pool, which must not grow by it.
            if sealed.batch.entries().first().is_some_and(|entry| entry.origin.source != NO_SOURCE) {
                self.parts.pool.put(sealed.batch);
            }
        }
        if !self.parts.outcomes.is_full() {
            self.parts.outcomes.send(entry.outcome);
        }
        Poll::Worked
    }

    fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }
}
