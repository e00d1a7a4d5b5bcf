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
use super::remote::Buffers;
use crate::agreement::{AgreementPort, PipelineEvent};
use crate::answers::{Answers, Place};
use crate::batch_places::BatchPlaces;
use crate::block_index::BlockIndex;
use crate::channel::{Inlet, Outlet};
use crate::checkpointer::{CheckpointMessage, CommittedAt, Resume};
use crate::failure::Failure;
use crate::published::Published;
use crate::stage::{Poll, Stage, StageCounters, add};
use crate::telemetry::Event;

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
    pub buffers: Arc<Buffers>,
    /// Where batches of blocks that are not committed lie; committed ones leave it.
    pub places: Arc<BatchPlaces>,
    /// Hears of committed heights, when validators agree.
    pub port: Option<Arc<AgreementPort>>,
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
    /// The highest place in the batch log that is known to be durable for other processes.
    pub last_batch_position: u64,
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
        published.telemetry.push(Event::Committed {
            height,
            hash: entry.block.block.hash,
            applied: entry.outcome.applied,
            failed: entry.outcome.failed,
            skipped: entry.outcome.skipped,
        });
        for sealed in &entry.block.block.batches {
            self.parts.last_batch_position = self.parts.last_batch_position.max(sealed.position);
        }
        let positions = [self.parts.last_batch_position, entry.block.order_position, block.block_position];
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
            last_sequence: entry.block.batch_mark.own_sequence,
            applied: self.parts.published.applied.load(Ordering::Relaxed),
            account_count: entry.sections.account_count,
            roots: roots.clone(),
        };
        self.parts.checkpoints.send(CheckpointMessage::Committed(CommittedAt {
            height: header.height,
            state_root: entry.state_root,
            batch_position: entry.block.batch_mark.needed_position,
            order_position: entry.block.order_position,
            block_position,
            resume,
        }));
    }

    fn answer(&mut self, entry: &CommitEntry, now_ns: u64) {
        let height = entry.block.block.header.height;
        let (mut first, mut own) = (0, 0);
        for sealed in &entry.block.block.batches {
            let batch = &sealed.batch;
            // Others' transactions are answered, timed and counted by those who took them in.
            if !self.parts.buffers.is_own(batch) {
                first += batch.len();
                continue;
            }
            own += batch.len();
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
        self.parts.published.waiting.fetch_sub(own as u64, Ordering::Relaxed);
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
        let height = entry.block.block.header.height;
        for sealed in entry.block.block.batches {
            self.parts.places.remove(&sealed.digest);
            self.parts.buffers.put(sealed.batch);
        }
        if let Some(port) = &self.parts.port {
            port.send(PipelineEvent::Committed(height));
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
