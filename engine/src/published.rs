//! What the pipeline shows to the rest of the node: heights, totals and latencies, written by one stage each and read by anyone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hdrhistogram::Histogram;
use parking_lot::{Condvar, Mutex};
use serde::Serialize;
use std::time::Duration;
use tana_types::Hash;

use crate::telemetry::Telemetry;

/// The longest latency that is told apart, nanoseconds: a minute.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// See the module's text.
pub struct Published {
    /// The last height that was proposed.
    pub proposed: AtomicU64,
    /// The last height that is final.
    pub finalized: AtomicU64,
    /// The last height that is committed.
    pub committed: AtomicU64,
    /// Transactions applied since genesis.
    pub applied: AtomicU64,
    /// Transactions that failed since this start.
    pub failed: AtomicU64,
    /// Transactions that execution passed over since this start.
    pub skipped: AtomicU64,
    /// Transactions sealed and not yet committed.
    pub waiting: AtomicU64,
    /// The timestamp of the last proposed block, milliseconds since 1970.
    pub last_timestamp_ms: AtomicU64,
    /// Accounts, the sentinel included.
    pub accounts: AtomicU64,
    /// Batches of the intake that the lane has taken, empty ones too.
    pub lane_batches: AtomicU64,
    /// What happens, for those who watch.
    pub telemetry: Telemetry,
    order_closing: AtomicBool,
    order_closed: AtomicBool,
    state_root: Mutex<Hash>,
    advanced: Condvar,
    latency: Mutex<Latencies>,
}

/// Latencies inside the node, from a batch's first transaction on, one record per transaction.
struct Latencies {
    to_final: Histogram<u64>,
    to_applied: Histogram<u64>,
}

/// A latency distribution in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencySummary {
    /// Transactions recorded.
    pub count: u64,
    /// Half are faster.
    pub p50_ms: f64,
    /// 99 % are faster.
    pub p99_ms: f64,
    /// 99.9 % are faster.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

pub(crate) fn summary(histogram: &Histogram<u64>) -> LatencySummary {
    let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
    LatencySummary {
        count: histogram.len(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        p999_ms: ms(0.999),
        max_ms: histogram.max() as f64 / 1e6,
    }
}

impl Published {
    /// Starts at a committed height.
    pub fn new(height: u64, state_root: Hash, applied: u64, accounts: u64) -> Self {
        // Three digits and a minute are within what the histogram can hold, so the fallback to its smallest form is never taken.
        let histogram = || Histogram::new_with_max(LATENCY_MAX_NS, 3).or_else(|_| Histogram::new(1));
        #[allow(clippy::expect_used)]
        let latencies = Latencies {
            to_final: histogram().expect("one significant digit is always valid"),
            to_applied: histogram().expect("one significant digit is always valid"),
        };
        Self {
            proposed: AtomicU64::new(height),
            finalized: AtomicU64::new(height),
            committed: AtomicU64::new(height),
            applied: AtomicU64::new(applied),
            failed: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            last_timestamp_ms: AtomicU64::new(0),
            accounts: AtomicU64::new(accounts),
            lane_batches: AtomicU64::new(0),
            telemetry: Telemetry::default(),
            order_closing: AtomicBool::new(false),
            order_closed: AtomicBool::new(false),
            state_root: Mutex::new(state_root),
            advanced: Condvar::new(),
            latency: Mutex::new(latencies),
        }
    }

    /// A height was proposed.
    pub fn proposed(&self, height: u64) {
        self.proposed.store(height, Ordering::Release);
    }

    /// Blocks between proposal and commit.
    pub fn blocks_in_flight(&self) -> u64 {
        self.proposed.load(Ordering::Acquire).saturating_sub(self.committed.load(Ordering::Acquire))
    }

    /// Asks order to send what is final already and then no more blocks, for good.
    pub fn close_order(&self) {
        self.order_closing.store(true, Ordering::Release);
    }

    /// Whether order is to come to its end.
    pub fn order_is_closing(&self) -> bool {
        self.order_closing.load(Ordering::Acquire)
    }

    /// Order's answer to [`Self::close_order`]: no block follows the last proposed one.
    pub fn set_order_closed(&self) {
        self.order_closed.store(true, Ordering::Release);
    }

    /// Whether order has answered.
    pub fn order_is_closed(&self) -> bool {
        self.order_closed.load(Ordering::Acquire)
    }

    /// Whether order has closed and every block that it sent is committed.
    pub fn has_run_dry(&self) -> bool {
        self.order_is_closed() && self.blocks_in_flight() == 0
    }

    /// A height was committed with this state root.
    pub fn commit(&self, height: u64, state_root: Hash) {
        let mut current = self.state_root.lock();
        *current = state_root;
        self.committed.store(height, Ordering::Release);
        drop(current);
        self.advanced.notify_all();
    }

    /// The last committed height with its state root, read together.
    pub fn head(&self) -> (u64, Hash) {
        let state_root = self.state_root.lock();
        (self.committed.load(Ordering::Acquire), *state_root)
    }

    /// Waits until `height` is committed, at most `timeout`; tells whether it is.
    pub fn wait_for(&self, height: u64, timeout: Duration) -> bool {
        let mut guard = self.state_root.lock();
        if self.committed.load(Ordering::Acquire) < height {
            self.advanced.wait_for(&mut guard, timeout);
        }
        self.committed.load(Ordering::Acquire) >= height
    }

    /// Records that `count` transactions became final after so long.
    pub fn record_final(&self, latency_ns: u64, count: u64) {
        self.latency.lock().to_final.saturating_record_n(latency_ns, count);
    }

    /// Records that `count` transactions were applied after so long.
    pub fn record_applied(&self, latency_ns: u64, count: u64) {
        self.latency.lock().to_applied.saturating_record_n(latency_ns, count);
    }

    /// Copies of the distributions of latencies to final and to applied.
    pub fn histograms(&self) -> (Histogram<u64>, Histogram<u64>) {
        let latency = self.latency.lock();
        (latency.to_final.clone(), latency.to_applied.clone())
    }

    /// Latencies to final and to applied.
    pub fn latencies(&self) -> (LatencySummary, LatencySummary) {
        // Quantiles are looked for in copies: the pipeline waits for the lock.
        let (to_final, to_applied) = self.histograms();
        (summary(&to_final), summary(&to_applied))
    }
}
