//! Which boundary somebody wants a snapshot of. The execute stage asks at every block whether to begin a checkpoint there, so this is a few atomics.
//!
//! The node itself wants one of the end of every epoch behind which a validator is added: with set changes known two epochs ahead, that is the last
//! boundary which the set before it attests for sure. In a small set the newcomer's vote is needed from its first block on, and a later boundary would
//! be attested only by a block that cannot come without it.
//!
//! A wish is for one height, the last of an epoch, and lapses when that height has passed without a checkpoint: then whoever asked asks again. While
//! a wished height is near, no other checkpoint is begun, so that none is under way when it comes.

use std::sync::atomic::{AtomicU64, Ordering};

use tana_execute::{CHANGE_EPOCHS_AHEAD, State};

/// Heights before a wished one in which no other checkpoint is begun.
const CLEARANCE: u64 = 1_024;

/// See the module's text.
#[derive(Debug)]
pub struct Wishes {
    epoch_blocks: u64,
    /// The wished height; 0 for none.
    wished: AtomicU64,
    /// The highest executed height that asked.
    executed: AtomicU64,
}

/// What the execute stage does about a checkpoint behind a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointWish {
    /// What it does otherwise.
    AsUsual,
    /// None now: a wished height is near.
    Wait,
    /// One now, if that can be.
    Now,
    /// One now, and no further block before it has begun: no later one will do.
    Must,
}

impl Wishes {
    /// No wish yet, on a chain with epochs of so many blocks.
    pub fn new(epoch_blocks: u64, executed: u64) -> Self {
        Self { epoch_blocks, wished: AtomicU64::new(0), executed: AtomicU64::new(executed) }
    }

    /// The next epoch's last height that has not been executed.
    pub fn next_boundary(&self) -> u64 {
        let executed = self.executed.load(Ordering::Acquire);
        (executed / self.epoch_blocks).saturating_add(1).saturating_mul(self.epoch_blocks)
    }

    /// Whether a height is the last of its epoch.
    pub fn is_boundary(&self, height: u64) -> bool {
        height > 0 && height.is_multiple_of(self.epoch_blocks)
    }

    /// Wishes for the next boundary; gives it, or none when `height` is another one.
    pub fn wish(&self, height: u64) -> Option<u64> {
        if height != self.next_boundary() {
            return None;
        }
        self.wished.store(height, Ordering::Release);
        Some(height)
    }

    /// The wished height; 0 for none.
    pub fn wished(&self) -> u64 {
        self.wished.load(Ordering::Acquire)
    }

    /// Hears of the state behind a block; tells what to do about a checkpoint there.
    pub fn behind(&self, state: &State) -> CheckpointWish {
        let height = state.progress().height;
        let newcomers = state.epoch_of(height).saturating_add(CHANGE_EPOCHS_AHEAD);
        if !state.validator_changes().iter().any(|change| change.add && change.epoch == newcomers) {
            return self.executed(height);
        }
        self.wish(self.next_boundary());
        match self.executed(height) {
            CheckpointWish::Now => CheckpointWish::Must,
            other => other,
        }
    }

    /// Hears that `height` was executed; tells what to do about a checkpoint there.
    pub fn executed(&self, height: u64) -> CheckpointWish {
        self.executed.store(height, Ordering::Release);
        match self.wished.load(Ordering::Acquire) {
            0 => CheckpointWish::AsUsual,
            wished if wished == height => CheckpointWish::Now,
            wished if wished < height || wished - height > CLEARANCE => CheckpointWish::AsUsual,
            _ => CheckpointWish::Wait,
        }
    }
}
