//! Order: which batches form the next block, and what its header says.
//!
//! [`Orderer`] is the interface between the pipeline and agreement. The pipeline offers sealed, durable batches and tells what has been
//! executed; the orderer gives blocks in order of height. [`Solo`] is the orderer of a validator that asks nobody: what it proposes is
//! ordered. It stays as the way to measure the data plane alone. [`Chain`] holds the rules of blocks that many validators agree on: what a leader
//! proposes and what the others accept.
//!
//! Execution runs behind ordering: a header attests the roots of an earlier height (`executed_height`). When that lags more than the
//! genesis allows, blocks are made empty, which lets execution catch up; batches wait meanwhile, and behind them the senders.

mod chain;
mod solo;
#[cfg(test)]
mod tests;

use tana_types::Hash;
use tana_types::batch::Batch;
use tana_types::header::BlockHeader;

pub use chain::{
    AuthorMarks, BLOCK_BODY_BYTES_MAX, BRANCH_BLOCKS_MAX, CLOCK_AHEAD_MS_MAX, Chain, ChainRules, EXECUTED_KEPT_MAX,
    Executed, FINALIZED_KEPT, FinalizeError, Finalized, GATHER_MS_MAX, GATHER_NS_PER_TRANSACTION, Inserted, Proposal,
    StartPoint, StartTip, Verdict, marks_by_author,
};
pub use solo::{Solo, SoloConfig, Tip};
pub use tana_execute::{LaneFloor, LaneFloors, enter_floors};

/// A sealed batch that is durable in the batch log.
#[derive(Debug)]
pub struct SealedBatch {
    /// The batch, with its seal written and its identifiers filled.
    pub batch: Batch,
    /// What a block names it by.
    pub digest: Hash,
    /// Its author's lane.
    pub lane: u16,
    /// Its number in the lane.
    pub sequence: u64,
    /// Where it lies in the batch log.
    pub position: u64,
}

/// The roots that a later header attests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutedRoots {
    /// The height they are of.
    pub height: u64,
    /// The state after it.
    pub state_root: Hash,
    /// Its receipts.
    pub receipts_root: Hash,
    /// The validator set of that height's epoch.
    pub validator_set_hash: Hash,
}

/// A block with the batches that its header lists, in the order of execution.
#[derive(Debug)]
pub struct Block {
    /// What was agreed on.
    pub header: BlockHeader,
    /// The header's hash.
    pub hash: Hash,
    /// Its batches.
    pub batches: Vec<SealedBatch>,
}

/// The time, given by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds on the engine's monotonic clock.
    pub engine_ns: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub wall_ms: u64,
}

/// Decides the order of batches.
pub trait Orderer: Send {
    /// Takes a durable batch of the own lane, in sequence order.
    fn offer(&mut self, batch: SealedBatch);

    /// Hears of an executed height, in order.
    fn executed(&mut self, roots: ExecutedRoots);

    /// The next block in order of height, if there is one now. It is final only once the caller has made it durable in the order log.
    fn poll(&mut self, now: Now) -> Option<Block>;

    /// Transactions that wait to be ordered.
    fn waiting(&self) -> usize;
}
