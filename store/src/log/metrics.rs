//! Counters of a log thread: written by it alone, read by whoever shows them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Totals since the start. Each is exact; two of them read one after the other may be a commit apart.
#[derive(Debug, Default)]
pub struct LogMetrics {
    commits: AtomicU64,
    groups: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    segments: AtomicU64,
    waiting_ns: AtomicU64,
    staging_ns: AtomicU64,
    writing_ns: AtomicU64,
    output_ns: AtomicU64,
}

/// One reading of [`LogMetrics`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogTotals {
    /// Input drains committed.
    pub commits: u64,
    /// Groups written: one per commit and log touched.
    pub groups: u64,
    /// Records made durable.
    pub records: u64,
    /// Bytes written, headers and padding included.
    pub bytes: u64,
    /// Segments begun.
    pub segments: u64,
    /// Nanoseconds without input.
    pub waiting_ns: u64,
    /// Nanoseconds of copying and checksums.
    pub staging_ns: u64,
    /// Nanoseconds in writes and syncs.
    pub writing_ns: u64,
    /// Nanoseconds of handing completions on, held back by the output included.
    pub output_ns: u64,
}

/// Which part of its time the log thread accounts for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Regime {
    Waiting,
    Staging,
    Writing,
    Output,
}

impl LogMetrics {
    /// All counters now.
    pub fn totals(&self) -> LogTotals {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogTotals {
            commits: load(&self.commits),
            groups: load(&self.groups),
            records: load(&self.records),
            bytes: load(&self.bytes),
            segments: load(&self.segments),
            waiting_ns: load(&self.waiting_ns),
            staging_ns: load(&self.staging_ns),
            writing_ns: load(&self.writing_ns),
            output_ns: load(&self.output_ns),
        }
    }

    /// One commit is done.
    pub(super) fn add_commit(&self) {
        add(&self.commits, 1);
    }

    /// One group is written.
    pub(super) fn add_group(&self, records: u64, bytes: u64) {
        add(&self.groups, 1);
        add(&self.records, records);
        add(&self.bytes, bytes);
    }

    /// A new segment is begun.
    pub(super) fn add_segment(&self) {
        add(&self.segments, 1);
    }

    /// Time went by.
    pub(super) fn add_time(&self, regime: Regime, time: Duration) {
        let counter = match regime {
            Regime::Waiting => &self.waiting_ns,
            Regime::Staging => &self.staging_ns,
            Regime::Writing => &self.writing_ns,
            Regime::Output => &self.output_ns,
        };
        add(counter, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// Single writer: a load and a store are cheaper than an atomic addition.
fn add(counter: &AtomicU64, value: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(value), Ordering::Relaxed);
}
