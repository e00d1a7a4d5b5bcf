//! Which heights are of which epoch: epoch e holds the heights from e * L + 1 to (e + 1) * L, and the chain's start, height 0, counts as
//! of epoch 0.

use std::num::NonZeroU64;

use commonware_consensus::types::{Epoch, EpochInfo, Epocher, Height};

/// Epochs of a fixed number of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epochs {
    blocks: NonZeroU64,
}

impl Epochs {
    /// Epochs of `blocks` blocks.
    pub fn new(blocks: NonZeroU64) -> Self {
        Self { blocks }
    }

    /// The epoch of a height.
    pub fn of(&self, height: u64) -> u64 {
        height.saturating_sub(1) / self.blocks
    }

    /// The last height of an epoch.
    pub fn last_height(&self, epoch: u64) -> u64 {
        epoch.saturating_add(1).saturating_mul(self.blocks.get())
    }

    /// The height below an epoch's first: the last one of the epoch before, or 0.
    pub fn boundary(&self, epoch: u64) -> u64 {
        epoch.saturating_mul(self.blocks.get())
    }
}

impl Epocher for Epochs {
    fn containing(&self, height: Height) -> Option<EpochInfo> {
        let epoch = Epoch::new(self.of(height.get()));
        Some(EpochInfo::new(epoch, height, self.first(epoch)?, self.last(epoch)?))
    }

    fn first(&self, epoch: Epoch) -> Option<Height> {
        let boundary = epoch.get().checked_mul(self.blocks.get())?;
        // Height 0 has no block of its own to agree on, but it must lie in some epoch.
        Some(Height::new(if boundary == 0 { 0 } else { boundary.checked_add(1)? }))
    }

    fn last(&self, epoch: Epoch) -> Option<Height> {
        epoch.get().checked_add(1)?.checked_mul(self.blocks.get()).map(Height::new)
    }
}
