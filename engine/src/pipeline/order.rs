//! Order: gives durable batches to the orderer and its blocks to the order log, where they become final.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tana_order::{ExecutedRoots, Now, Orderer, SealedBatch};

use super::{BLOCKS_IN_FLIGHT_MAX, BatchMark, LogEntry, OrderEntry};
use crate::channel::{Inlet, Outlet};
use crate::clock::wall_ms;
use crate::failure::Failure;
use crate::order_record::encode_head;
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
    /// The last batch that a block listed: a lone lane is listed in the order in which it was written.
    batch_mark: BatchMark,
    counters: Arc<StageCounters>,
}

impl OrderStage {
    /// An order stage around `orderer`; `batch_mark` is that of the last final block.
    pub fn new(
        orderer: Box<dyn Orderer>,
        batches: Inlet<SealedBatch>,
        executed: Inlet<ExecutedRoots>,
        log: Outlet<LogEntry>,
        published: Arc<Published>,
        batch_mark: BatchMark,
        failure: Arc<Failure>,
    ) -> Self {
        let (counters, blocks_in_flight_max) = (Arc::default(), BLOCKS_IN_FLIGHT_MAX as u64);
        Self { orderer, batches, executed, log, published, blocks_in_flight_max, failure, batch_mark, counters }
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
        if self.published.order_is_closing() {
            self.published.set_order_closed();
            return if worked { Poll::Worked } else { Poll::Idle };
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
            if let Some(last) = block.batches.last() {
                self.batch_mark = BatchMark { needed_position: last.position, own_sequence: last.sequence };
            }
            let (head, certificate, batch_mark) = (encode_head(&block.header), Vec::new(), self.batch_mark);
            self.log.send(LogEntry::Order(Box::new(OrderEntry { block, head, certificate, batch_mark })));
            worked = true;
        }
        if worked { Poll::Worked } else { Poll::Idle }
    }

    fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }
}
