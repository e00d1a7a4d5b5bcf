//! One write transaction of the checkpoint.

use heed::RwTxn;

use super::format::{
    CheckpointMeta, KIND_META, KIND_OVERFLOW, KIND_PAGE, META_BLOB_BYTES_MAX, META_KEY, OVERFLOW_BYTES_MAX,
    PAGE_BYTES_MAX, seal_value,
};
use super::{Bytemap, Checkpoint, lmdb_error};
use crate::StoreError;
use crate::fault::{Verdict, no_space};
use crate::log::LOGS_MAX;

/// Changes that become visible, all at once, with [`CheckpointWrite::commit`]; dropped, they never were. After an error only
/// dropping it is left.
pub struct CheckpointWrite<'a> {
    checkpoint: &'a Checkpoint,
    transaction: RwTxn<'a>,
    /// Holds one value at a time.
    value: Vec<u8>,
}

impl<'a> CheckpointWrite<'a> {
    /// A write over an open transaction.
    pub(super) fn new(checkpoint: &'a Checkpoint, transaction: RwTxn<'a>) -> Self {
        Self { checkpoint, transaction, value: Vec::with_capacity(PAGE_BYTES_MAX + 4) }
    }

    /// Sets page `number` to `bytes`. Ascending numbers are the fastest.
    ///
    /// # Errors
    /// [`StoreError::Setting`] for more than [`PAGE_BYTES_MAX`] bytes; [`StoreError::NoSpace`], [`StoreError::Lmdb`].
    pub fn put_page(&mut self, number: u32, bytes: &[u8]) -> Result<(), StoreError> {
        check_length("a page", bytes.len(), PAGE_BYTES_MAX)?;
        self.put(self.checkpoint.pages, KIND_PAGE, &number.to_be_bytes(), bytes)
    }

    /// Sets the overflow entry of account `index`.
    ///
    /// # Errors
    /// As [`CheckpointWrite::put_page`], with [`OVERFLOW_BYTES_MAX`].
    pub fn put_overflow(&mut self, index: u32, bytes: &[u8]) -> Result<(), StoreError> {
        check_length("an overflow entry", bytes.len(), OVERFLOW_BYTES_MAX)?;
        self.put(self.checkpoint.overflow, KIND_OVERFLOW, &index.to_be_bytes(), bytes)
    }

    /// Removes the overflow entry of account `index`; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`], [`StoreError::Lmdb`].
    pub fn delete_overflow(&mut self, index: u32) -> Result<bool, StoreError> {
        let checkpoint = self.checkpoint;
        checkpoint
            .overflow
            .delete(&mut self.transaction, &index.to_be_bytes())
            .map_err(|error| lmdb_error("remove an entry", &checkpoint.folder, error))
    }

    /// Removes all pages and overflow entries: the caller writes the whole state anew.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`], [`StoreError::Lmdb`].
    pub fn clear(&mut self) -> Result<(), StoreError> {
        let checkpoint = self.checkpoint;
        for database in [checkpoint.pages, checkpoint.overflow] {
            database
                .clear(&mut self.transaction)
                .map_err(|error| lmdb_error("be cleared", &checkpoint.folder, error))?;
        }
        Ok(())
    }

    /// Writes the meta record and makes everything durable and visible.
    ///
    /// # Errors
    /// [`StoreError::Setting`] when the record exceeds its limits; [`StoreError::NoSpace`], [`StoreError::Lmdb`]. In each case
    /// the checkpoint before it stays whole.
    pub fn commit(mut self, meta: &CheckpointMeta) -> Result<(), StoreError> {
        check_length("the meta blob", meta.blob.len(), META_BLOB_BYTES_MAX)?;
        check_length("the list of positions", meta.positions.len(), LOGS_MAX)?;
        let checkpoint = self.checkpoint;
        self.put(checkpoint.meta, KIND_META, &META_KEY, &meta.encode())?;
        if checkpoint.faults.verdict(checkpoint.next_commit()) != Verdict::Pass {
            return Err(lmdb_error("commit", &checkpoint.folder, heed::Error::Io(no_space())));
        }
        self.transaction.commit().map_err(|error| lmdb_error("commit", &checkpoint.folder, error))
    }

    /// Writes one sealed value.
    fn put(&mut self, database: Bytemap, kind: u8, key: &[u8], bytes: &[u8]) -> Result<(), StoreError> {
        seal_value(kind, key, bytes, &mut self.value);
        database
            .put(&mut self.transaction, key, &self.value)
            .map_err(|error| lmdb_error("be written", &self.checkpoint.folder, error))
    }
}

/// Refuses what is longer than its limit.
fn check_length(what: &str, length: usize, limit: usize) -> Result<(), StoreError> {
    if length > limit {
        return Err(StoreError::Setting(format!("{what} has length {length}, the limit is {limit}")));
    }
    Ok(())
}
