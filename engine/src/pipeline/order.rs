//! Order: gives durable batches to the orderer and its blocks to the order log, where they become final.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tana_order::{ExecutedRoots, Now, Orderer, SealedBatch};

use super::LogEntry;
use crate::channel::{Inlet, Outlet};
use crate::clock::wall_ms;
use crate::failure::Failure;
use crate::published::Published;
use crate::stage::{Poll, Stage, StageCounters, add};

/// See the module's text.
pub struct OrderStage {
    orderer: Box<dyn Orderer>,
    batches: Inlet<SealedBatch>,
    executed: Inlet<ExecutedRoots>,
    log: Outlet<LogEntry>,
    published: Arc<Published>,
    blocks_in_flight_max: u64,
    failure: Arc<Failure>,
    counters: Arc<StageCounters>,
}

impl OrderStage {
    /// An order stage around `orderer`.
    pub fn new(
        orderer: Box<dyn Orderer>,
        batches: Inlet<SealedBatch>,
        executed: Inlet<ExecutedRoots>,
        log: Outlet<LogEntry>,
        published: Arc<Published>,
        blocks_in_flight_max: u64,
        failure: Arc<Failure>,
    ) -> Self {
        let counters = Arc::default();
        Self { orderer, batches, executed, log, published, blocks_in_flight_max, failure, counters }
    }
}

impl Stage for OrderStage {
    fn name(&self) -> &'static str {
        "order"
    }

    fn poll(&mut self, now_ns: u64) -> Poll {
        let mut worked = false;
        while let Some(roots) = self.executed.take() {
            self.orderer.executed(roots);
            worked = true;
        }
        while let Some(batch) = self.batches.take() {
            self.orderer.offer(batch);
            worked = true;
        }
        if self.log.is_full() || self.published.blocks_in_flight() >= self.blocks_in_flight_max {
            let held_back = self.orderer.waiting() > 0;
            return if worked {
                Poll::Worked
            } else if held_back {
                Poll::Blocked
            } else {
                Poll::Idle
            };
        }
        if let Some(block) = self.orderer.poll(Now { engine_ns: now_ns, wall_ms: wall_ms() }) {
            let is_expired =
                |sealed: &SealedBatch| sealed.batch.seal_header().expiry_height.get() < block.header.height;
            if block.batches.iter().any(is_expired) {
                let height = block.header.height;
                self.failure.tell(format!("a batch has expired before block {height} could list it; this is a defect of the node, please report it"));
                return Poll::Idle;
            }
            add(&self.counters.transactions, u64::from(block.header.transaction_count));
            self.published.last_timestamp_ms.store(block.header.timestamp_ms, Ordering::Relaxed);
            self.published.proposed(block.header.height);
            let header = block.header.encode();
            self.log.send(LogEntry::Order { block, header });
            worked = true;
        }
        if worked { Poll::Worked } else { Poll::Idle }
    }

    fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }
}
