//! The orderer of a validator that asks nobody.
//!
//! A block is made when
//! 1. batches with `block_transactions` wait, or
//! 2. any batch waits and `block_interval_ns` have passed since the last block, or
//! 3. something was executed that no header attests yet, and the interval has passed: empty blocks follow until the last root is named, or
//! 4. the chain has been idle for `empty_interval_ns`.
//!
//! None is made while what its parent attests is not executed (again, after a crash). When execution lags more than `lag_blocks_max` behind, only empty blocks are made, at the interval.

use std::collections::VecDeque;

use tana_types::Hash;
use tana_types::header::{BLOCK_BATCHES_MAX, BlockHeader, LaneBatches};

use crate::{Block, ExecutedRoots, Now, Orderer, SealedBatch};

/// How a lone validator makes blocks.
#[derive(Debug, Clone)]
pub struct SoloConfig {
    /// The validator's key.
    pub proposer: [u8; 32],
    /// Transactions at which a block is made without waiting.
    pub block_transactions: usize,
    /// The shortest time between blocks, nanoseconds.
    pub block_interval_ns: u64,
    /// The time between blocks of an idle chain, nanoseconds.
    pub empty_interval_ns: u64,
    /// How many heights execution may lag behind.
    pub lag_blocks_max: u64,
    /// Blocks of an epoch.
    pub epoch_blocks: u64,
}

/// The end of the chain that is already ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Its height; 0 is the genesis.
    pub height: u64,
    /// Its hash; of height 0 the genesis hash.
    pub hash: Hash,
    /// Its timestamp.
    pub timestamp_ms: u64,
    /// The height whose roots it attests.
    pub executed_height: u64,
    /// Whether anything that changed state is at or below it that it does not attest.
    pub unattested: bool,
}

/// See the module's text.
pub struct Solo {
    config: SoloConfig,
    tip: Tip,
    executed: ExecutedRoots,
    batches: VecDeque<SealedBatch>,
    waiting: usize,
    last_block_ns: u64,
    /// The last height that held transactions.
    last_full_height: u64,
}

impl Solo {
    /// An orderer behind `tip`, with `executed` as the last executed height.
    pub fn new(config: SoloConfig, tip: Tip, executed: ExecutedRoots) -> Self {
        let last_full_height = if tip.unattested { tip.height } else { 0 };
        Self { config, tip, executed, batches: VecDeque::new(), waiting: 0, last_block_ns: 0, last_full_height }
    }

    fn due(&self, now: Now) -> bool {
        // After a crash the tip may attest a height that has yet to be executed again; a block that attests less than its parent is invalid for ever.
        if self.executed.height < self.tip.executed_height {
            return false;
        }
        let since = now.engine_ns.saturating_sub(self.last_block_ns);
        if since >= self.config.empty_interval_ns {
            return true;
        }
        let lagging = self.is_lagging();
        if !lagging && self.waiting >= self.config.block_transactions {
            return true;
        }
        let news = self.executed.height > self.tip.executed_height;
        let unattested = self.tip.executed_height < self.last_full_height;
        since >= self.config.block_interval_ns && ((!self.batches.is_empty() && !lagging) || (news && unattested))
    }

    fn is_lagging(&self) -> bool {
        self.tip.height.saturating_sub(self.executed.height) > self.config.lag_blocks_max
    }

    fn take_batches(&mut self) -> Vec<SealedBatch> {
        let (mut taken, mut transactions) = (Vec::new(), 0);
        if self.is_lagging() {
            return taken;
        }
        while let Some(batch) = self.batches.front() {
            let next = batch.batch.len();
            let full = transactions + next > self.config.block_transactions && !taken.is_empty();
            if full || taken.len() == BLOCK_BATCHES_MAX {
                break;
            }
            transactions += next;
            taken.extend(self.batches.pop_front());
        }
        self.waiting -= transactions;
        taken
    }
}

/// Groups consecutive batches of each lane; they come in order of lane.
fn lanes(batches: &[SealedBatch]) -> Vec<LaneBatches> {
    let mut lanes: Vec<LaneBatches> = Vec::new();
    for batch in batches {
        match lanes.last_mut() {
            Some(lane) if lane.lane == batch.lane => lane.digests.push(batch.digest),
            _ => lanes.push(LaneBatches {
                lane: batch.lane,
                first_sequence: batch.sequence,
                digests: vec![batch.digest],
            }),
        }
    }
    lanes
}

impl Orderer for Solo {
    fn offer(&mut self, batch: SealedBatch) {
        self.waiting += batch.batch.len();
        self.batches.push_back(batch);
    }

    fn executed(&mut self, roots: ExecutedRoots) {
        self.executed = roots;
    }

    fn poll(&mut self, now: Now) -> Option<Block> {
        if !self.due(now) {
            return None;
        }
        let batches = self.take_batches();
        let ids: Vec<Hash> = batches.iter().flat_map(|batch| batch.batch.ids.iter().copied()).collect();
        let height = self.tip.height + 1;
        let header = BlockHeader {
            height,
            epoch: (height - 1) / self.config.epoch_blocks,
            parent: self.tip.hash,
            proposer: self.config.proposer,
            timestamp_ms: now.wall_ms.max(self.tip.timestamp_ms + 1),
            executed_height: self.executed.height,
            state_root: self.executed.state_root,
            receipts_root: self.executed.receipts_root,
            transaction_root: tana_execute::transaction_root(&ids),
            transaction_count: ids.len() as u32,
            validator_set_hash: self.executed.validator_set_hash,
            lanes: lanes(&batches),
        };
        let hash = header.hash();
        if !batches.is_empty() {
            self.last_full_height = height;
        }
        self.tip = Tip {
            height,
            hash,
            timestamp_ms: header.timestamp_ms,
            executed_height: header.executed_height,
            unattested: false,
        };
        self.last_block_ns = now.engine_ns;
        Some(Block { header, hash, batches })
    }

    fn waiting(&self) -> usize {
        self.waiting
    }
}
