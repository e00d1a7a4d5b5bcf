//! The pipeline: a file per stage that ties its pure part to channels, and the messages between them.
//!
//! ```text
//! intake ─▶ verify ─▶ lane ─▶ log ─▶ order ─▶ log ─▶ execute ─▶ root ─▶ log ─▶ commit ─▶ pool ─▶ intake
//! ```
//!
//! A batch is handed on by ownership from the pool back to the pool. The pool is the one bound on what is in flight: every channel that
//! carries batches holds as many as exist, so sending never waits; when the pool is empty the intake stops reading. Blocks are bounded
//! by the room of their channels, which the order stage looks at before it makes one.

pub mod commit;
pub mod execute;
pub mod flush;
pub mod lane;
pub mod order;
pub mod root;
pub mod verify;

use tana_execute::Outcome;
use tana_order::{Block, ExecutedRoots, SealedBatch};
use tana_store::LogWrite;
use tana_types::Hash;
use tana_types::state::StateSections;

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

/// What the log thread writes.
pub enum LogEntry {
    /// A sealed batch.
    Batch(SealedBatch),
    /// A block's header, which makes the block final.
    Order {
        /// The block.
        block: Block,
        /// Its header's bytes.
        header: Vec<u8>,
    },
    /// A block's commit record.
    Commit(Box<CommitEntry>),
}

impl LogWrite for LogEntry {
    fn log(&self) -> usize {
        match self {
            LogEntry::Batch(_) => BATCH_LOG,
            LogEntry::Order { .. } => ORDER_LOG,
            LogEntry::Commit(_) => BLOCK_LOG,
        }
    }

    fn kind(&self) -> u8 {
        RECORD_KIND
    }

    fn parts(&self) -> [&[u8]; 4] {
        match self {
            LogEntry::Batch(sealed) => [sealed.batch.sealed_bytes(), &[], &[], &[]],
            LogEntry::Order { header, .. } => [header, &[], &[], &[]],
            LogEntry::Commit(entry) => {
                [&entry.head, &entry.outcome.codes, entry.outcome.records.as_flattened(), &entry.tail]
            }
        }
    }
}
