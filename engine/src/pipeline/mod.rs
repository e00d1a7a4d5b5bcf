//! The pipeline: a file per stage that ties its pure part to channels, and the messages between them.
//!
//! ```text
//! intake ─▶ verify ─▶ lane ─▶ log ─▶ order ─▶ log ─▶ execute ─▶ root ─▶ log ─▶ commit ─▶ pool ─▶ intake
//! ```
//!
//! A batch is handed on by ownership from the pool back to the pool. The pool is the one bound on what is in flight: every channel that
//! carries batches holds as many as exist, so sending never waits; when the pool is empty the intake stops reading. Blocks are bounded
//! by the room of their channels, which the order stage looks at before it makes one.
//!
//! When validators agree on blocks, [`agreed`] stands where [`order`] stands in a node that orders alone, batches of others come in through
//! [`remote`], and [`reseal`] is the way back of own batches that expired.

pub mod agreed;
pub mod commit;
pub mod execute;
pub mod flush;
pub mod held;
#[cfg(test)]
mod held_tests;
pub mod lane;
pub mod membership;
pub mod order;
pub mod remote;
pub mod reseal;
pub mod root;
pub mod verify;

use tana_execute::Outcome;
use tana_order::{Block, ExecutedRoots, SealedBatch};
use tana_store::LogWrite;
use tana_types::Hash;
use tana_types::state::StateSections;

use crate::agreement::Member;

/// Number of the batch log.
pub const BATCH_LOG: usize = 0;
/// Number of the order log.
pub const ORDER_LOG: usize = 1;
/// Number of the block log.
pub const BLOCK_LOG: usize = 2;
/// Names of the logs, by number; also the order in which a group is synced, so that what a record names is there before it.
pub const LOG_NAMES: [&str; 3] = ["batches", "order", "blocks"];
/// The only kind of record in each log.
pub const RECORD_KIND: u8 = 1;
/// Blocks between the order stage and the commit.
pub const BLOCKS_IN_FLIGHT_MAX: usize = 8;

/// A final block on its way to execution.
pub struct FinalBlock {
    /// The block.
    pub block: Block,
    /// Where its header lies in the order log.
    pub order_position: u64,
    /// Where a restart behind it goes on in the batch log.
    pub batch_mark: BatchMark,
}

/// Where a restart behind a block goes on in the batch log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchMark {
    /// The lowest place that later blocks may need; 0 while the log is empty.
    pub needed_position: u64,
    /// The highest own sequence that was durable: no later batch has a number up to it.
    pub own_sequence: u64,
}

/// An executed block on its way to its root.
pub struct ExecutedBlock {
    /// The block.
    pub block: FinalBlock,
    /// What it did.
    pub outcome: Box<Outcome>,
    /// The state after it; the root of accounts is still missing.
    pub sections: StateSections,
    /// The validator set of its epoch.
    pub validator_set_hash: Hash,
    /// The sets that are fixed, for agreement; empty when the node orders alone.
    pub sets: Vec<(u64, Vec<Member>)>,
    /// Whether a checkpoint was begun behind it.
    pub checkpoint: bool,
}

/// A block whose record goes to the block log and then to the commit stage.
pub struct CommitEntry {
    /// The block.
    pub block: FinalBlock,
    /// What it did.
    pub outcome: Box<Outcome>,
    /// The state after it, complete.
    pub sections: StateSections,
    /// The state root.
    pub state_root: Hash,
    /// When a checkpoint was begun behind it: the roots that later headers may attest.
    pub checkpoint: Option<Vec<ExecutedRoots>>,
    /// First part of the record.
    pub head: Vec<u8>,
    /// Last part of the record.
    pub tail: Vec<u8>,
}

/// A block whose header goes to the order log and then, with its batches, to the execute stage.
pub struct OrderEntry {
    /// The block.
    pub block: Block,
    /// The record up to the certificate.
    pub head: Vec<u8>,
    /// What proves that the validators agreed on it; may be empty.
    pub certificate: Vec<u8>,
    /// Where a restart behind it goes on in the batch log.
    pub batch_mark: BatchMark,
}

/// What the log thread writes.
pub enum LogEntry {
    /// A sealed batch.
    Batch(SealedBatch),
    /// A block's header, which makes the block final.
    Order(Box<OrderEntry>),
    /// A block's commit record.
    Commit(Box<CommitEntry>),
}

impl LogWrite for LogEntry {
    fn log(&self) -> usize {
        match self {
            LogEntry::Batch(_) => BATCH_LOG,
            LogEntry::Order(_) => ORDER_LOG,
            LogEntry::Commit(_) => BLOCK_LOG,
        }
    }

    fn kind(&self) -> u8 {
        RECORD_KIND
    }

    fn parts(&self) -> [&[u8]; 4] {
        match self {
            LogEntry::Batch(sealed) => [sealed.batch.sealed_bytes(), &[], &[], &[]],
            LogEntry::Order(entry) => [&entry.head, &entry.certificate, &[], &[]],
            LogEntry::Commit(entry) => {
                [&entry.head, &entry.outcome.codes, entry.outcome.records.as_flattened(), &entry.tail]
            }
        }
    }
}
