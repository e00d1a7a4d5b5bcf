//! What a stage is to the threads that run it: one non-blocking poll, and counters that say where its time goes.
//!
//! The regimes follow the question that an operator asks of a pipeline: is this stage working, short of input, or held back by what
//! comes behind it? Time in which its thread serves another stage is none of the three.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// What a poll did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// It handled something; poll again.
    Worked,
    /// Nothing waits for it.
    Idle,
    /// Something waits, but there is no room behind.
    Blocked,
}

/// A part of the pipeline. It owns no thread: an executor polls it.
pub trait Stage: Send {
    /// Its name in tables and metrics.
    fn name(&self) -> &'static str;

    /// Handles at most one batch or block and returns at once. `now_ns` is the engine's clock.
    fn poll(&mut self, now_ns: u64) -> Poll;

    /// Its counters.
    fn counters(&self) -> &Arc<StageCounters>;
}

/// Counters of a stage. One thread writes, anyone reads.
#[derive(Debug, Default)]
pub struct StageCounters {
    /// Transactions handled.
    pub transactions: AtomicU64,
    /// Nanoseconds of polls that worked.
    pub busy_ns: AtomicU64,
    /// Nanoseconds without input.
    pub waiting_input_ns: AtomicU64,
    /// Nanoseconds without room behind.
    pub waiting_output_ns: AtomicU64,
}

/// Adds to a counter that only the calling thread writes: a plain load and store, without a locked instruction.
pub fn add(counter: &AtomicU64, value: u64) {
    counter.store(counter.load(Ordering::Relaxed) + value, Ordering::Relaxed);
}

impl StageCounters {
    /// Reads all counters.
    pub fn snapshot(&self, name: &'static str) -> StageSnapshot {
        StageSnapshot {
            name,
            transactions: self.transactions.load(Ordering::Relaxed),
            busy_ns: self.busy_ns.load(Ordering::Relaxed),
            waiting_input_ns: self.waiting_input_ns.load(Ordering::Relaxed),
            waiting_output_ns: self.waiting_output_ns.load(Ordering::Relaxed),
        }
    }
}

/// A reading of a stage's counters since the node's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StageSnapshot {
    /// The stage.
    pub name: &'static str,
    /// Transactions handled.
    pub transactions: u64,
    /// Nanoseconds working, threads of the stage added up.
    pub busy_ns: u64,
    /// Nanoseconds without input.
    pub waiting_input_ns: u64,
    /// Nanoseconds without room behind.
    pub waiting_output_ns: u64,
}
