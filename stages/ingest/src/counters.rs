//! What ingest counted since the process started: transactions admitted, and refused by code.
//!
//! All numbers only grow. They are read for telemetry and reports while ingest runs, so a reading is not one instant's.

use std::sync::atomic::{AtomicU64, Ordering};

use tana_types::code::Code;

/// Counters shared by the ingest threads.
#[derive(Debug)]
pub struct Counters {
    accepted: AtomicU64,
    accepted_bytes: AtomicU64,
    batches: AtomicU64,
    rejected: [AtomicU64; 256],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            accepted: AtomicU64::new(0),
            accepted_bytes: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            rejected: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Counters {
    /// Transactions that went into a batch.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Bytes of the transactions that went into a batch.
    pub fn accepted_bytes(&self) -> u64 {
        self.accepted_bytes.load(Ordering::Relaxed)
    }

    /// Batches that left; also the number that the next one gets.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Transactions that were refused with `code`.
    pub fn rejected(&self, code: Code) -> u64 {
        self.rejected[code as usize].load(Ordering::Relaxed)
    }

    /// Each code that was used at least once, with its count, by number.
    pub fn rejected_by_code(&self) -> impl Iterator<Item = (Code, u64)> + '_ {
        Code::ALL.iter().map(|&code| (code, self.rejected(code))).filter(|&(_, count)| count > 0)
    }

    pub(crate) fn count_accepted(&self, count: u64, bytes: u64) {
        if count > 0 {
            self.accepted.fetch_add(count, Ordering::Relaxed);
            self.accepted_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn count_rejected(&self, code: Code) {
        self.rejected[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The next batch's number: 0, 1, 2 ... over all shards.
    pub(crate) fn next_batch_number(&self) -> u64 {
        self.batches.fetch_add(1, Ordering::Relaxed)
    }
}
