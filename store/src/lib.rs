//! Files of a validator: append-only logs, the LMDB checkpoint, segment tables, and readers of them for other processes.
//!
//! This crate knows bytes and positions, nothing of transactions. It keeps one promise above all: what it reported durable
//! is still there, unchanged and in order, after any crash; and where a disk broke that promise, it says so instead of
//! going on.
//!
//! - [`log`]: segment logs written ahead, one thread, group commit, recovery, a reader that follows a live writer.
//! - [`checkpoint`]: pages of state in LMDB, all of one height in one transaction.
//! - [`table`]: sorted immutable files from a 64-bit key to 64-bit values, for look-ups in sealed segments.
//! - [`durable`]: the small file by which a node tells other processes how far they may read.
//! - [`lock`]: one writer per data folder.
//! - [`fault`]: failures on demand, so that disk-full and torn writes are tested in process.

mod bytes;
pub mod checkpoint;
pub mod durable;
mod error;
pub mod fault;
pub mod lock;
pub mod log;
pub mod table;

pub use checkpoint::{Checkpoint, CheckpointMeta, CheckpointMode, CheckpointSnapshot, CheckpointWrite};
pub use durable::{DurableReader, DurableState, DurableWriter};
pub use error::StoreError;
pub use fault::{Fault, FaultPlan};
pub use lock::DataLock;
pub use log::{
    Durable, LogBackend, LogConfig, LogFound, LogReader, LogThread, LogWrite, OwnedRecord, Position, Record,
    remove_segments_before,
};
pub use table::{Table, TableBuilder};
