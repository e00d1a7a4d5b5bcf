//! Flush: sends on open batches that have waited long enough. The rest of ingest runs on the network's threads.

use std::sync::Arc;

use crate::intake::NodeIntake;
use crate::stage::{Poll, Stage, StageCounters};

/// See the module's text.
pub struct FlushStage {
    intake: Arc<NodeIntake>,
    age_ns: u64,
    next_ns: u64,
    counters: Arc<StageCounters>,
}

impl FlushStage {
    /// Flushes batches that are `age_ns` old.
    pub fn new(intake: Arc<NodeIntake>, age_ns: u64) -> Self {
        Self { intake, age_ns, next_ns: 0, counters: Arc::default() }
    }
}

impl Stage for FlushStage {
    fn name(&self) -> &'static str {
        "flush"
    }

    fn poll(&mut self, now_ns: u64) -> Poll {
        if now_ns >= self.next_ns {
            // Half the age: a batch leaves at most one and a half ages after its first transaction.
            self.next_ns = now_ns + self.age_ns / 2;
            self.intake.flush(now_ns.saturating_sub(self.age_ns));
        }
        Poll::Idle
    }

    fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }
}
