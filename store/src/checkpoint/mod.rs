//! The checkpoint: state of one height in LMDB, replaced in place, page by page, in one transaction.
//!
//! The live state is in memory and the log is the truth; the checkpoint only makes the replay after a start short. It holds
//! pages of fixed-size records by page number (a full one is 4,032 bytes: with its checksum it fills one LMDB overflow page of
//! 4,096 bytes less a 16-byte header), overflow entries by account index, and one meta record: height, log positions, state
//! root and whatever the caller packs into the blob.
//!
//! 1. Stale readers (processes that died in a read) are cleared, else the file would only grow.
//! 2. [`Checkpoint::begin`] opens the write transaction; changed pages and entries go in.
//! 3. [`CheckpointWrite::commit`] writes the meta record and commits with LMDB's own syncs: all of it or nothing. A full disk is an
//!    error, and the checkpoint before it stays as it was.
//!
//! Every value carries a CRC-32C over its kind, its key and its bytes, verified at each load: LMDB itself notices no flipped
//! bit. Nothing here waits for the log: the caller checkpoints only heights whose log records are durable.

mod environment;
mod format;
#[cfg(test)]
mod tests;
mod write;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, RoTxn, WithoutTls};

pub use format::{CheckpointMeta, META_BLOB_BYTES_MAX, OVERFLOW_BYTES_MAX, PAGE_BYTES_MAX};
pub use write::CheckpointWrite;

use crate::fault::FaultPlan;
use crate::{StoreError, error::RESTORE};
use environment::open_environment;
use format::{KIND_META, KIND_OVERFLOW, KIND_PAGE, META_KEY, number_of_key, open_value};

/// Default size of the map: address space, not memory and not disk.
pub const MAP_BYTES_DEFAULT: usize = 1 << 40;

/// Databases of raw bytes.
type Bytemap = Database<'static, Bytes, Bytes>;
/// The databases: meta, pages, overflow.
type Bytemaps = (Bytemap, Bytemap, Bytemap);
/// Names of the databases, in that order.
const NAMES: [&str; 3] = ["meta", "pages", "overflow"];

/// Whether this process writes the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointMode {
    /// The node: creates it where there is none. One process at a time, under the [`crate::DataLock`].
    ReadWrite,
    /// Everybody else.
    ReadOnly,
}

/// An open checkpoint. At most one per folder and process, which LMDB demands and opening checks.
#[derive(Debug)]
pub struct Checkpoint {
    environment: Env<WithoutTls>,
    folder: PathBuf,
    meta: Bytemap,
    pages: Bytemap,
    overflow: Bytemap,
    faults: FaultPlan,
    commits: AtomicU64,
}

impl Checkpoint {
    /// Opens the checkpoint in `folder`. `map_bytes` is the most it may ever grow to; [`MAP_BYTES_DEFAULT`] unless there is a
    /// reason. Where the system grants less address space, smaller maps are tried, and the log says so.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none and the mode is `ReadOnly`; [`StoreError::Lmdb`] otherwise.
    pub fn open(folder: &Path, mode: CheckpointMode, map_bytes: usize) -> Result<Self, StoreError> {
        let environment = open_environment(folder, mode, map_bytes)?;
        let opened = match mode {
            CheckpointMode::ReadWrite => create_databases(&environment),
            CheckpointMode::ReadOnly => open_databases(&environment),
        };
        let opened = opened.map_err(|error| lmdb_error("open its databases", folder, error))?;
        let (meta, pages, overflow) = opened.ok_or_else(|| no_checkpoint(folder))?;
        Ok(Self {
            environment,
            folder: folder.to_path_buf(),
            meta,
            pages,
            overflow,
            faults: FaultPlan::default(),
            commits: AtomicU64::new(0),
        })
    }

    /// Makes later commits fail as planned; commits are counted from 0 from the opening on.
    pub fn inject(&mut self, faults: FaultPlan) {
        self.faults = faults;
    }

    /// Begins a write; nothing is changed until its commit. Waits for another write of this process to end.
    ///
    /// # Errors
    /// [`StoreError::Lmdb`], also when the checkpoint was opened read-only.
    pub fn begin(&self) -> Result<CheckpointWrite<'_>, StoreError> {
        let failed = |error| lmdb_error("begin a write", &self.folder, error);
        self.environment.clear_stale_readers().map_err(failed)?;
        let transaction = self.environment.write_txn().map_err(failed)?;
        Ok(CheckpointWrite::new(self, transaction))
    }

    /// A view of the last committed checkpoint, which later commits do not change. Keep it short: while it lives, the file
    /// cannot reuse space and grows with every commit.
    ///
    /// # Errors
    /// [`StoreError::Lmdb`], for example when all reader slots are taken.
    pub fn snapshot(&self) -> Result<CheckpointSnapshot<'_>, StoreError> {
        let transaction =
            self.environment.read_txn().map_err(|error| lmdb_error("begin a read", &self.folder, error))?;
        Ok(CheckpointSnapshot { checkpoint: self, transaction })
    }

    /// The last committed meta record; `None` before the first commit.
    ///
    /// # Errors
    /// As [`CheckpointSnapshot::meta`].
    pub fn meta(&self) -> Result<Option<CheckpointMeta>, StoreError> {
        self.snapshot()?.meta()
    }

    /// Bytes of the file now.
    ///
    /// # Errors
    /// [`StoreError::Lmdb`] when it cannot be measured.
    pub fn file_bytes(&self) -> Result<u64, StoreError> {
        self.environment.real_disk_size().map_err(|error| lmdb_error("measure its file", &self.folder, error))
    }

    /// Number of the next commit, for the fault plan.
    fn next_commit(&self) -> u64 {
        self.commits.fetch_add(1, Ordering::Relaxed)
    }
}

/// One consistent view: meta, pages and overflow entries of the same commit.
pub struct CheckpointSnapshot<'a> {
    checkpoint: &'a Checkpoint,
    transaction: RoTxn<'a, WithoutTls>,
}

impl CheckpointSnapshot<'_> {
    /// The meta record; `None` before the first commit.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when its checksum does not hold, [`StoreError::Lmdb`].
    pub fn meta(&self) -> Result<Option<CheckpointMeta>, StoreError> {
        let folder = &self.checkpoint.folder;
        match self.get(self.checkpoint.meta, KIND_META, &META_KEY)? {
            None => Ok(None),
            Some(bytes) => CheckpointMeta::decode(bytes)
                .map(Some)
                .ok_or_else(|| StoreError::damaged(folder, 0, "the meta record of the checkpoint cannot be read")),
        }
    }

    /// The bytes of page `number`, when it exists.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when its checksum does not hold, [`StoreError::Lmdb`].
    pub fn page(&self, number: u32) -> Result<Option<&[u8]>, StoreError> {
        self.get(self.checkpoint.pages, KIND_PAGE, &number.to_be_bytes())
    }

    /// The overflow entry of account `index`, when it has one.
    ///
    /// # Errors
    /// As [`CheckpointSnapshot::page`].
    pub fn overflow(&self, index: u32) -> Result<Option<&[u8]>, StoreError> {
        self.get(self.checkpoint.overflow, KIND_OVERFLOW, &index.to_be_bytes())
    }

    /// Calls `visit` with every page, ascending by number.
    ///
    /// # Errors
    /// As [`CheckpointSnapshot::page`]; `visit` is not called for a damaged page or any after it.
    pub fn for_each_page(&self, visit: impl FnMut(u32, &[u8])) -> Result<(), StoreError> {
        self.for_each(self.checkpoint.pages, KIND_PAGE, visit)
    }

    /// Calls `visit` with every overflow entry, ascending by account index.
    ///
    /// # Errors
    /// As [`CheckpointSnapshot::for_each_page`].
    pub fn for_each_overflow(&self, visit: impl FnMut(u32, &[u8])) -> Result<(), StoreError> {
        self.for_each(self.checkpoint.overflow, KIND_OVERFLOW, visit)
    }

    /// One verified value.
    fn get(&self, database: Bytemap, kind: u8, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        let folder = &self.checkpoint.folder;
        let value = database.get(&self.transaction, key).map_err(|error| lmdb_error("read", folder, error))?;
        value.map(|value| open_value(kind, key, value).ok_or_else(|| damaged_value(folder, kind, key))).transpose()
    }

    /// Every verified value of one database.
    fn for_each(&self, database: Bytemap, kind: u8, mut visit: impl FnMut(u32, &[u8])) -> Result<(), StoreError> {
        let folder = &self.checkpoint.folder;
        let failed = |error| lmdb_error("read", folder, error);
        for entry in database.iter(&self.transaction).map_err(failed)? {
            let (key, value) = entry.map_err(failed)?;
            let number = number_of_key(key).ok_or_else(|| damaged_value(folder, kind, key))?;
            visit(number, open_value(kind, key, value).ok_or_else(|| damaged_value(folder, kind, key))?);
        }
        Ok(())
    }
}

/// Opens the databases, making those that do not exist.
fn create_databases(environment: &Env<WithoutTls>) -> Result<Option<Bytemaps>, heed::Error> {
    let transaction = environment.write_txn()?;
    let opened = environment.create_databases_and_commit(transaction, |opener, transaction| {
        let [meta, pages, overflow] = NAMES.map(|name| opener.create_database::<Bytes, Bytes>(transaction, Some(name)));
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((meta?, pages?, overflow?)))
    })?;
    Ok(opened.commit())
}

/// Opens the databases; `None` when one does not exist.
fn open_databases(environment: &Env<WithoutTls>) -> Result<Option<Bytemaps>, heed::Error> {
    let transaction = environment.read_txn()?;
    let opened = environment.open_databases_and_commit(transaction, |opener, transaction| {
        let [meta, pages, overflow] = NAMES.map(|name| opener.open_database::<Bytes, Bytes>(transaction, Some(name)));
        Ok::<_, heed::Error>(match (meta?, pages?, overflow?) {
            (Some(meta), Some(pages), Some(overflow)) => CommitOrAbort::Commit((meta, pages, overflow)),
            _ => CommitOrAbort::Abort(()),
        })
    })?;
    Ok(opened.commit())
}

/// The error for a value whose checksum does not hold.
fn damaged_value(folder: &Path, kind: u8, key: &[u8]) -> StoreError {
    let what = format!("the checksum of a value of kind {kind} with key {key:02x?} does not hold");
    let remedy = "remove the checkpoint's folder: the node rebuilds it from its block log";
    StoreError::Damaged { path: folder.to_path_buf(), offset: 0, what, remedy }
}

/// The error for a folder without a checkpoint.
fn no_checkpoint(folder: &Path) -> StoreError {
    StoreError::Missing {
        path: folder.to_path_buf(),
        what: "there is no checkpoint in this folder".to_string(),
        remedy: "start the node first: it makes one",
    }
}

/// Sorts LMDB's errors: a full disk, and the rest with its remedy.
fn lmdb_error(action: &'static str, folder: &Path, error: heed::Error) -> StoreError {
    use heed::MdbError;
    let remedy = match &error {
        heed::Error::Io(source) if source.kind() == std::io::ErrorKind::StorageFull => {
            return StoreError::NoSpace { action, path: folder.to_path_buf(), bytes_needed: 4096 };
        }
        heed::Error::Mdb(MdbError::MapFull) => "open it with a larger map",
        heed::Error::Mdb(MdbError::ReadersFull) => "stop some of the processes that read it",
        heed::Error::Mdb(MdbError::Corrupted | MdbError::Invalid | MdbError::PageNotFound) => RESTORE,
        heed::Error::EnvAlreadyOpened => "share the one that this process has opened already",
        _ => "check the folder's permissions, the disk and the kernel log (dmesg)",
    };
    StoreError::Lmdb { action, path: folder.to_path_buf(), cause: error.to_string(), remedy }
}
