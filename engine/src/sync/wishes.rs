//! Which boundary somebody wants a snapshot of. The execute stage asks at every block whether to begin a checkpoint there, so this is a few atomics.
//!
//! A wish is for one height, the last of an epoch, and lapses when that height has passed without a checkpoint: then whoever asked asks again. While
//! a wished height is near, no other checkpoint is begun, so that none is under way when it comes.

use std::sync::atomic::{AtomicU64, Ordering};

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
    /// One now.
    Now,
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
