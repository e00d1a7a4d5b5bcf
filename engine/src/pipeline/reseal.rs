//! The gate between the order stage and the lane stage when own batches must be sealed again.
//!
//! A batch that no block listed until its expiry is dead, and those behind it in the lane can never be listed, because a lane's batches are
//! consecutive. The author then seals the transactions of all its unlisted batches again, under new sequences, and says in the first of
//! them how many sequences it withdraws. Nothing may be sealed between: the order stage closes the gate, the lane stage says which
//! sequence was its last, and when all up to that one are durable the batches come back through the gate, first in line.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tana_types::batch::Batch;

enum GateState {
    Open,
    Closing,
    Closed { last_sequence: u64 },
    Again { mark: u64, batches: VecDeque<Batch> },
}

/// What the lane stage shall do next.
pub enum LaneTurn {
    /// Seal what comes.
    Open,
    /// Seal nothing.
    Wait,
    /// Seal this batch again; with the first comes the mark behind which everything is withdrawn.
    Again {
        /// The batch.
        batch: Batch,
        /// The lane's mark, for the first batch.
        mark: Option<u64>,
    },
}

/// See the module's text.
pub struct ResealGate {
    /// Whether the state is anything but open: a look at it costs the lane nothing.
    active: AtomicBool,
    state: Mutex<(GateState, bool)>,
}

impl Default for ResealGate {
    fn default() -> Self {
        Self { active: AtomicBool::new(false), state: Mutex::new((GateState::Open, false)) }
    }
}

impl ResealGate {
    /// A gate that first hands over batches whose sequences were withdrawn before a restart.
    pub fn with_withdrawn(batches: Vec<Batch>) -> Self {
        let gate = Self::default();
        if !batches.is_empty() {
            gate.active.store(true, Ordering::Release);
            *gate.state.lock() = (GateState::Again { mark: 0, batches: batches.into() }, false);
        }
        gate
    }

    /// The order stage asks the lane to stop; without effect while the gate is in use.
    pub fn close(&self) {
        let mut state = self.state.lock();
        if matches!(state.0, GateState::Open) {
            *state = (GateState::Closing, false);
            self.active.store(true, Ordering::Release);
        }
    }

    /// The lane's last sequence, once it has stopped.
    pub fn closed_at(&self) -> Option<u64> {
        match self.state.lock().0 {
            GateState::Closed { last_sequence } => Some(last_sequence),
            _ => None,
        }
    }

    /// The order stage hands back what shall be sealed again, in order; with nothing the gate opens at once.
    pub fn give(&self, mark: u64, batches: VecDeque<Batch>) {
        let mut state = self.state.lock();
        if batches.is_empty() {
            self.active.store(false, Ordering::Release);
            *state = (GateState::Open, false);
        } else {
            *state = (GateState::Again { mark, batches }, true);
        }
    }

    /// What the lane stage shall do, whose last sequence is `last_sequence`.
    pub fn turn(&self, last_sequence: u64) -> LaneTurn {
        if !self.active.load(Ordering::Acquire) {
            return LaneTurn::Open;
        }
        let mut guard = self.state.lock();
        let (state, first) = &mut *guard;
        match state {
            GateState::Open => LaneTurn::Open,
            GateState::Closing => {
                *state = GateState::Closed { last_sequence };
                LaneTurn::Wait
            }
            GateState::Closed { .. } => LaneTurn::Wait,
            GateState::Again { mark, batches } => {
                let mark = std::mem::take(first).then_some(*mark);
                let batch = batches.pop_front();
                if batches.is_empty() {
                    *state = GateState::Open;
                    self.active.store(false, Ordering::Release);
                }
                batch.map_or(LaneTurn::Open, |batch| LaneTurn::Again { batch, mark })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sealed_between_closing_and_the_last_batch_that_comes_back() {
        let gate = ResealGate::default();
        assert!(matches!(gate.turn(4), LaneTurn::Open));
        gate.close();
        assert_eq!(gate.closed_at(), None);
        assert!(matches!(gate.turn(5), LaneTurn::Wait));
        assert!(matches!(gate.turn(9), LaneTurn::Wait));
        assert_eq!(gate.closed_at(), Some(5));
        gate.close();
        assert_eq!(gate.closed_at(), Some(5));
        gate.give(2, [Batch::default(), Batch::default()].into());
        assert!(matches!(gate.turn(5), LaneTurn::Again { mark: Some(2), .. }));
        assert!(matches!(gate.turn(6), LaneTurn::Again { mark: None, .. }));
        assert!(matches!(gate.turn(7), LaneTurn::Open));
        gate.close();
        assert!(matches!(gate.turn(7), LaneTurn::Wait));
        gate.give(7, VecDeque::new());
        assert!(matches!(gate.turn(7), LaneTurn::Open));
    }
}
