//! Lane: puts verified batches back into ingest's order, seals them and hands them to the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tana_lane::{Lane, Resequencer};
use tana_order::SealedBatch;
use tana_types::batch::Batch;

use super::LogEntry;
use crate::answers::Answers;
use crate::channel::{Inlet, Outlet};
use crate::failure::Failure;
use crate::pool::Pool;
use crate::published::Published;
use crate::stage::{Poll, Stage, StageCounters, add};

/// See the module's text.
pub struct LaneStage {
    lane: Lane,
    lane_number: u16,
    epoch_blocks: u64,
    order: Resequencer<Batch>,
    input: Inlet<Batch>,
    log: Outlet<LogEntry>,
    pool: Arc<Pool>,
    answers: Answers,
    published: Arc<Published>,
    failure: Arc<Failure>,
    counters: Arc<StageCounters>,
}

/// What a lane stage is made of.
pub struct LaneParts {
    /// The author.
    pub lane: Lane,
    /// The author's place in the validator set.
    pub lane_number: u16,
    /// Blocks of an epoch.
    pub epoch_blocks: u64,
    /// Where answers go.
    pub answers: Answers,
    /// The heights, for expiry.
    pub published: Arc<Published>,
    /// Where a broken rule is told.
    pub failure: Arc<Failure>,
}

impl LaneStage {
    /// A lane between the verifiers and the log.
    pub fn new(parts: LaneParts, input: Inlet<Batch>, log: Outlet<LogEntry>, pool: Arc<Pool>) -> Self {
        Self {
            lane: parts.lane,
            lane_number: parts.lane_number,
            epoch_blocks: parts.epoch_blocks,
            order: Resequencer::new(pool.size()),
            input,
            log,
            pool,
            answers: parts.answers,
            published: parts.published,
            failure: parts.failure,
            counters: Arc::default(),
        }
    }

    fn seal(&mut self, mut batch: Batch) {
        if batch.is_empty() {
            self.pool.put(batch);
            return;
        }
        add(&self.counters.transactions, batch.len() as u64);
        self.answers.accepted(batch.entries());
        let height = self.published.committed.load(Ordering::Acquire);
        let sealed = self.lane.seal(&mut batch, height / self.epoch_blocks, height);
        self.published.waiting.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.log.send(LogEntry::Batch(SealedBatch {
            batch,
            digest: sealed.digest,
            lane: self.lane_number,
            sequence: sealed.sequence,
            position: 0,
        }));
    }
}

impl Stage for LaneStage {
    fn name(&self) -> &'static str {
        "lane"
    }

    fn poll(&mut self, _now_ns: u64) -> Poll {
        if self.log.is_full() {
            return Poll::Blocked;
        }
        if let Some(batch) = self.order.take() {
            self.seal(batch);
            self.published.lane_batches.fetch_add(1, Ordering::Release);
            return Poll::Worked;
        }
        let Some(batch) = self.input.take() else { return Poll::Idle };
        if self.order.put(batch.number, batch).is_err() {
            self.failure.tell("the verified batches lost their order; this is a defect of the node, please report it");
        }
        Poll::Worked
    }

    fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }
}
