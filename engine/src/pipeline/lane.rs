//! Lane: puts verified batches back into ingest's order, seals them and hands them to the log.
//!
//! Own batches that expired before a block listed them come back through the [`ResealGate`] and are sealed again before anything else.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tana_lane::{Lane, Resequencer};
use tana_order::SealedBatch;
use tana_types::batch::Batch;

use super::LogEntry;
use super::reseal::{LaneTurn, ResealGate};
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
    gate: Arc<ResealGate>,
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
    /// The way back of batches that expired.
    pub gate: Arc<ResealGate>,
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
            gate: parts.gate,
            failure: parts.failure,
            counters: Arc::default(),
        }
    }

    fn accept(&mut self, batch: Batch) {
        if batch.is_empty() {
            self.pool.put(batch);
            return;
        }
        add(&self.counters.transactions, batch.len() as u64);
        self.answers.accepted(batch.entries());
        self.published.waiting.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.seal(batch);
    }

    /// Seals a batch. Epoch and expiry count from the last final block.
    fn seal(&mut self, mut batch: Batch) {
        let height = self.published.finalized.load(Ordering::Acquire);
        let epoch = height.saturating_sub(1) / self.epoch_blocks;
        let sealed = self.lane.seal(&mut batch, epoch, height);
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
        match self.gate.turn(self.lane.next_sequence() - 1) {
            LaneTurn::Open => {}
            LaneTurn::Wait => return self.take_in(),
            LaneTurn::Again { batch, mark } => {
                if let Some(mark) = mark {
                    self.lane.withdraw(mark);
                }
                self.seal(batch);
                return Poll::Worked;
            }
        }
        if let Some(batch) = self.order.take() {
            self.accept(batch);
            self.published.lane_batches.fetch_add(1, Ordering::Release);
            return Poll::Worked;
        }
        self.take_in()
    }

    fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }
}

impl LaneStage {
    /// Takes one verified batch in.
    fn take_in(&mut self) -> Poll {
        let Some(batch) = self.input.take() else { return Poll::Idle };
        if self.order.put(batch.number, batch).is_err() {
            self.failure.tell("the verified batches lost their order; this is a defect of the node, please report it");
        }
        Poll::Worked
    }
}
