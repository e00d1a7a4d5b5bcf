//! What a flood counts while it runs: cheap per event, because it shares its cores with the node that it measures.
//!
//! Answers come as runs of consecutive sequences. All transactions of a frame have one moment (the planned one in an open loop, that
//! of sending in a closed loop), so a run costs one histogram entry for each frame that it touches, not for each transaction.
//!
//! What counts when:
//! - *totals* count everything;
//! - *measured* counts what happens after the warm-up and before the deadline, for rates;
//! - *latencies* take every transaction whose moment lies after the warm-up, whenever its answer comes: leaving out the slow
//!   ones at the end would be the omission that makes an overloaded system look fast;
//! - *seconds* hold the same by the second in which it happened, from the start, warm-up included.
//!
//! Each sending thread has a recorder of its own; they are merged for display and for the report.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tana_net::{AnswerEvent, AnswerKind};

/// The longest flood that is counted by seconds: a day. Whatever comes later counts in its last second.
pub const SECONDS_MAX: usize = 86_400;
/// The longest latency that is told apart, in microseconds: ten minutes.
pub const LATENCY_MAX_US: u64 = 600_000_000;

/// Transactions by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Handed to QUIC.
    pub sent: u64,
    /// Admitted and verified by the node.
    pub accepted: u64,
    /// Refused by the node.
    pub rejected: u64,
    /// In a finalized block.
    pub finalized: u64,
    /// Executed with success, in a committed block.
    pub applied: u64,
    /// Executed without effect, in a committed block.
    pub failed: u64,
    /// In a block but passed over.
    pub skipped: u64,
    /// Their answers were dropped by the node because this side did not read fast enough.
    pub lost: u64,
}

impl Counts {
    /// How many have their last answer.
    pub fn settled(&self) -> u64 {
        self.rejected + self.applied + self.failed + self.skipped + self.lost
    }

    pub(crate) fn add(&mut self, other: &Counts) {
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.finalized += other.finalized;
        self.applied += other.applied;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.lost += other.lost;
    }

    fn of(&mut self, kind: AnswerKind) -> &mut u64 {
        match kind {
            AnswerKind::Accepted => &mut self.accepted,
            AnswerKind::Rejected => &mut self.rejected,
            AnswerKind::Final => &mut self.finalized,
            AnswerKind::Applied => &mut self.applied,
            AnswerKind::Failed => &mut self.failed,
            AnswerKind::Skipped => &mut self.skipped,
            AnswerKind::Lost => &mut self.lost,
        }
    }
}

/// The moments of a stream's frames.
#[derive(Debug, Default)]
pub struct StreamTimes {
    /// Transactions of each frame but the stream's last.
    pub frame_transactions: u64,
    /// Per frame, nanoseconds from the start of the flood.
    pub moments_ns: Vec<u64>,
}

/// One second.
#[derive(Debug, Clone)]
pub struct Second {
    /// What happened in it.
    pub counts: Counts,
    /// Latencies to final of what became final in it, microseconds.
    pub latency_final: Histogram<u32>,
    /// Latencies to applied of what was applied in it, microseconds.
    pub latency_applied: Histogram<u32>,
}

/// Counts and latencies of one sending thread.
#[derive(Debug, Clone)]
pub struct Recorder {
    warm_up_ns: u64,
    deadline_ns: u64,
    /// Everything.
    pub totals: Counts,
    /// What happened between warm-up and deadline.
    pub measured: Counts,
    /// How many were rejected, failed or skipped, by code.
    pub codes: [u64; 256],
    /// Latency to final, microseconds.
    pub latency_final: Histogram<u64>,
    /// Latency to applied, microseconds.
    pub latency_applied: Histogram<u64>,
    /// By second from the start.
    pub seconds: Vec<Second>,
    /// When something was sent last, nanoseconds from the start.
    pub last_sent_ns: u64,
    /// When an answer came last, nanoseconds from the start.
    pub last_answer_ns: u64,
    /// Bytes handed to QUIC.
    pub sent_bytes: u64,
}

/// A histogram of microseconds. The bounds are constants that the library takes, so the fallback is never reached.
fn histogram<C: hdrhistogram::Counter>(digits: u8) -> Histogram<C> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, digits).or_else(|_| Histogram::new(digits)).unwrap_or_else(|_| {
        unreachable!("bounds 1 to {LATENCY_MAX_US} and {digits} digits are within the library's limits")
    })
}

impl Second {
    fn new() -> Self {
        Self { counts: Counts::default(), latency_final: histogram(2), latency_applied: histogram(2) }
    }
}

impl Recorder {
    /// A recorder for a flood that measures from `warm_up_ns` to `deadline_ns` after its start.
    pub fn new(warm_up_ns: u64, deadline_ns: u64) -> Self {
        Self {
            warm_up_ns,
            deadline_ns,
            totals: Counts::default(),
            measured: Counts::default(),
            codes: [0; 256],
            latency_final: histogram(3),
            latency_applied: histogram(3),
            seconds: Vec::new(),
            last_sent_ns: 0,
            last_answer_ns: 0,
            sent_bytes: 0,
        }
    }

    /// Transactions were handed to QUIC.
    pub fn on_sent(&mut self, now_ns: u64, transactions: u64, bytes: u64) {
        self.last_sent_ns = now_ns;
        self.sent_bytes += bytes;
        self.totals.sent += transactions;
        if self.is_measured(now_ns) {
            self.measured.sent += transactions;
        }
        self.second(now_ns).counts.sent += transactions;
    }

    /// Answers came; returns how many transactions got their last one, and how many their first.
    pub fn on_answers(&mut self, now_ns: u64, events: &[AnswerEvent], times: &StreamTimes) -> Answered {
        self.last_answer_ns = now_ns;
        let is_measured = self.is_measured(now_ns);
        let mut answered = Answered::default();
        for event in events {
            let count = u64::from(event.count);
            *self.totals.of(event.kind) += count;
            *self.second(now_ns).counts.of(event.kind) += count;
            if is_measured {
                *self.measured.of(event.kind) += count;
            }
            match event.kind {
                AnswerKind::Accepted => answered.first += count,
                AnswerKind::Final => self.latencies(now_ns, event, times),
                AnswerKind::Applied => {
                    answered.last += count;
                    self.latencies(now_ns, event, times);
                }
                AnswerKind::Lost => answered.last += count,
                AnswerKind::Rejected => {
                    answered.first += count;
                    answered.last += count;
                    self.codes[usize::from(event.code)] += count;
                }
                AnswerKind::Failed | AnswerKind::Skipped => {
                    answered.last += count;
                    self.codes[usize::from(event.code)] += count;
                }
            }
        }
        answered
    }

    /// Takes one histogram entry for each frame that the run touches.
    fn latencies(&mut self, now_ns: u64, event: &AnswerEvent, times: &StreamTimes) {
        let per_frame = times.frame_transactions.max(1);
        let end = event.first.saturating_add(u64::from(event.count));
        let is_final = event.kind == AnswerKind::Final;
        let mut sequence = event.first;
        while sequence < end {
            let frame = sequence / per_frame;
            let frame_end = (frame + 1).saturating_mul(per_frame).min(end);
            // A node that answers what was never sent is not measured.
            let Some(&moment_ns) = usize::try_from(frame).ok().and_then(|frame| times.moments_ns.get(frame)) else {
                return;
            };
            let count = frame_end - sequence;
            let latency_us = (now_ns.saturating_sub(moment_ns) / 1_000).clamp(1, LATENCY_MAX_US);
            if moment_ns >= self.warm_up_ns {
                let total = if is_final { &mut self.latency_final } else { &mut self.latency_applied };
                total.saturating_record_n(latency_us, count);
            }
            let second = self.second(now_ns);
            let of_second = if is_final { &mut second.latency_final } else { &mut second.latency_applied };
            of_second.saturating_record_n(latency_us, count as u32);
            sequence = frame_end;
        }
    }

    /// Adds what another recorder counted.
    pub fn merge(&mut self, other: &Recorder) {
        self.totals.add(&other.totals);
        self.measured.add(&other.measured);
        self.codes.iter_mut().zip(other.codes).for_each(|(count, more)| *count += more);
        // Both have the same bounds, so nothing is out of range.
        let _ = self.latency_final.add(&other.latency_final);
        let _ = self.latency_applied.add(&other.latency_applied);
        while self.seconds.len() < other.seconds.len() {
            self.seconds.push(Second::new());
        }
        for (second, more) in self.seconds.iter_mut().zip(&other.seconds) {
            second.counts.add(&more.counts);
            let _ = second.latency_final.add(&more.latency_final);
            let _ = second.latency_applied.add(&more.latency_applied);
        }
        self.last_sent_ns = self.last_sent_ns.max(other.last_sent_ns);
        self.last_answer_ns = self.last_answer_ns.max(other.last_answer_ns);
        self.sent_bytes += other.sent_bytes;
    }

    fn is_measured(&self, now_ns: u64) -> bool {
        (self.warm_up_ns..self.deadline_ns).contains(&now_ns)
    }

    fn second(&mut self, now_ns: u64) -> &mut Second {
        let index = ((now_ns / 1_000_000_000) as usize).min(SECONDS_MAX - 1);
        while self.seconds.len() <= index {
            self.seconds.push(Second::new());
        }
        &mut self.seconds[index]
    }
}

/// How far a run of answers brought the transactions of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answered {
    /// Transactions that were accepted or rejected.
    pub first: u64,
    /// Transactions of which nothing more will be heard.
    pub last: u64,
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
