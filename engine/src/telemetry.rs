//! What the node does, as it happens, for those who watch: a bounded queue of small values that loses rather than waits.
//!
//! Stages and agreement [push](Telemetry::push) events; one reader at a time [drains](Telemetry::drain) them, on a thread that is none of the
//! pipeline's. A push copies some hundred bytes into a queue without locks, and is one load of a flag when nobody listens. What finds the
//! queue full is dropped and counted; the reader learns how many at its next look.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use tana_consensus::Observation;
use tana_types::Hash;

use crate::clock::wall_ms;

/// Events that wait for the reader at the most, about 120 bytes each. A network of a hundred validators makes some thousand a second.
pub const EVENTS_MAX: usize = 4_096;

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Agreement did or saw something.
    Agreement(Observation),
    /// A block became final here: its header is durable.
    Finalized {
        /// Its height.
        height: u64,
        /// Its hash.
        hash: Hash,
        /// Its proposer's key.
        proposer: [u8; 32],
        /// Transactions that it lists.
        transactions: u32,
    },
    /// A block was executed, and its record is durable.
    Committed {
        /// Its height.
        height: u64,
        /// Its hash.
        hash: Hash,
        /// Transactions that took effect.
        applied: u32,
        /// Transactions that failed.
        failed: u32,
        /// Transactions that were passed over.
        skipped: u32,
    },
}

/// An event and when it was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamped {
    /// Milliseconds since 1970-01-01T00:00:00Z by this machine's clock.
    pub time_ms: u64,
    /// What happened.
    pub event: Event,
}

/// See the module's text.
pub struct Telemetry {
    listening: AtomicBool,
    events: ArrayQueue<Stamped>,
    lost: AtomicU64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::with_room(EVENTS_MAX)
    }
}

impl Telemetry {
    /// Room for so many events, at least one.
    pub fn with_room(events: usize) -> Self {
        let events = ArrayQueue::new(events.max(1));
        Self { listening: AtomicBool::new(false), events, lost: AtomicU64::new(0) }
    }

    /// Tells an event, if anybody listens. Never waits.
    pub fn push(&self, event: Event) {
        if !self.listening.load(Ordering::Relaxed) {
            return;
        }
        if self.events.push(Stamped { time_ms: wall_ms(), event }).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether events are kept.
    pub fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Relaxed)
    }

    /// The reader listens from now on, or no longer. What waits from before is forgotten.
    pub fn listen(&self, listening: bool) {
        self.listening.store(listening, Ordering::Relaxed);
        while self.events.pop().is_some() {}
        self.lost.store(0, Ordering::Relaxed);
    }

    /// Appends what happened since the last look to `events`, at most as many as there is room for, and tells how many were lost meanwhile.
    pub fn drain(&self, events: &mut Vec<Stamped>) -> u64 {
        // Pushes go on meanwhile, so the look is bounded by what can wait.
        for _ in 0..self.events.capacity() {
            match self.events.pop() {
                Some(event) => events.push(event),
                None => break,
            }
        }
        self.lost.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finalized(height: u64) -> Event {
        Event::Finalized { height, hash: [0; 32], proposer: [0; 32], transactions: 0 }
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let telemetry = Telemetry::default();
        telemetry.push(finalized(1));
        let mut events = Vec::new();
        assert_eq!((telemetry.drain(&mut events), events.len()), (0, 0));
        telemetry.listen(true);
        telemetry.push(finalized(2));
        telemetry.listen(false);
        assert_eq!((telemetry.drain(&mut events), events.len()), (0, 0));
    }

    #[test]
    fn events_come_in_order_and_what_finds_no_room_is_counted() {
        let telemetry = Telemetry::with_room(4);
        telemetry.listen(true);
        for height in 1..=7 {
            telemetry.push(finalized(height));
        }
        let mut events = Vec::new();
        assert_eq!(telemetry.drain(&mut events), 3);
        let heights: Vec<_> = events.iter().map(|stamped| stamped.event).collect();
        assert_eq!(heights, [1, 2, 3, 4].map(finalized));
        assert!(events.iter().all(|stamped| stamped.time_ms > 0));
        telemetry.push(finalized(8));
        events.clear();
        assert_eq!((telemetry.drain(&mut events), events.len()), (0, 1));
    }
}
