//! What makes a block valid in numbers, and how a leader paces blocks.
//!
//! The first half of [`ChainRules`] comes from the genesis, and the constants here are part of the protocol: validators that differ in them do not
//! agree. The second half is each leader's own choice.

use tana_types::genesis::Rules;

/// The most bytes of transactions of a block: 100,000 transfers fit, and 32 bodies of the largest batches.
pub const BLOCK_BODY_BYTES_MAX: usize = 32 << 20;
/// How far a block's timestamp may be ahead of a validator's clock, milliseconds.
pub const CLOCK_AHEAD_MS_MAX: u64 = 500;

/// How long a leader gathers for each transaction of the largest recent block, or of all blocks that are not executed yet where those are more,
/// nanoseconds: 80 ms behind 20,000; never for more than a full block. A block costs every validator a fixed number of messages and disk syncs, and one that is made
/// ahead of execution only waits for it. So a chain that carries more than 1 s / 4 us = 250,000 transactions a second makes its blocks as large as
/// they may be instead of as many; below that each block gathers for less than the one before, down to the shortest interval.
pub const GATHER_NS_PER_TRANSACTION: u64 = 4_000;
/// The longest that a leader gathers unless told otherwise, milliseconds: a quarter of the leader timeout of one second.
pub const GATHER_MS_MAX: u64 = 250;

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainRules {
    /// Blocks of an epoch, at least 1.
    pub epoch_blocks: u64,
    /// How many heights execution may lag behind before blocks are proposed empty.
    pub lag_blocks_max: u64,
    /// How far above its block's height a batch may expire at most.
    pub batch_expiry_blocks: u64,
    /// The most transactions of a block.
    pub block_transactions_max: usize,
    /// Transactions at which a block is proposed without waiting, and which it keeps to; at most the former.
    pub block_transactions: usize,
    /// The shortest time between a block and one that lists batches or attests what is not attested, milliseconds.
    pub block_interval_ms: u64,
    /// See [`GATHER_NS_PER_TRANSACTION`].
    pub gather_ns_per_transaction: u64,
    /// The longest that a leader gathers, milliseconds; well below the leader timeout.
    pub gather_ms_max: u64,
    /// The time between blocks of an idle chain, milliseconds; below the leader timeout.
    pub empty_interval_ms: u64,
}

impl ChainRules {
    /// The rules of a genesis, and a leader's pace.
    pub fn new(rules: &Rules, block_transactions: usize, block_interval_ms: u64, empty_interval_ms: u64) -> Self {
        let block_transactions_max = rules.block_transactions.max(1) as usize;
        Self {
            epoch_blocks: rules.epoch_blocks.max(1),
            lag_blocks_max: rules.lag_blocks_max,
            batch_expiry_blocks: rules.batch_expiry_blocks,
            block_transactions_max,
            block_transactions: block_transactions.clamp(1, block_transactions_max),
            block_interval_ms,
            gather_ns_per_transaction: GATHER_NS_PER_TRANSACTION,
            gather_ms_max: GATHER_MS_MAX,
            empty_interval_ms,
        }
    }

    /// The epoch of a height; the genesis counts as part of epoch 0.
    pub fn epoch_of(&self, height: u64) -> u64 {
        height.saturating_sub(1) / self.epoch_blocks
    }

    /// The last height of an epoch.
    pub fn last_height(&self, epoch: u64) -> u64 {
        epoch.saturating_add(1).saturating_mul(self.epoch_blocks)
    }

    /// Whether this height, at least 1, ends its epoch.
    pub fn ends_epoch(&self, height: u64) -> bool {
        height > 0 && height.is_multiple_of(self.epoch_blocks)
    }

    /// The height whose roots a block of this height must attest at least: where it ends an epoch, the end of the epoch before, so that the sets
    /// of the next two epochs stand in a root that everybody has agreed on.
    pub fn attested_min(&self, height: u64) -> u64 {
        if self.ends_epoch(height) { height - self.epoch_blocks } else { 0 }
    }

    /// The highest executed height that a block may attest whose parent attests `before`: no end of an epoch is passed without being named.
    pub fn attested_max(&self, before: u64) -> u64 {
        (before / self.epoch_blocks).saturating_add(1).saturating_mul(self.epoch_blocks)
    }

    /// The last height that must be executed before the set of `epoch` is known; 0 for the epochs that begin with the genesis set.
    pub fn set_known_after(&self, epoch: u64) -> u64 {
        epoch.saturating_sub(1).saturating_mul(self.epoch_blocks)
    }
}
