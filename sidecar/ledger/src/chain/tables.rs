//! The node's look-up tables of sealed segments, kept open for those that were asked last.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tana_engine::indexer::{TableKind, table_path};
use tana_store::{StoreError, Table};

use super::ChainError;

/// Tables that stay open: an index in memory of about 16 bytes for 255 entries, some 300 KiB for a full segment's.
const OPEN_MAX: usize = 64;

type Open = (TableKind, u32, Arc<Table>);

/// See the module's text.
pub(crate) struct Tables {
    folder: PathBuf,
    open: Mutex<VecDeque<Open>>,
}

impl Tables {
    /// The tables in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: Mutex::default() }
    }

    /// Whether both tables of a segment are there: the accounts' one is written last.
    pub(crate) fn exist(&self, segment: u32) -> bool {
        table_path(&self.folder, TableKind::Accounts, segment).exists()
    }

    /// A segment's table; none when it has not been made (or was pruned).
    pub(crate) fn get(&self, kind: TableKind, segment: u32) -> Result<Option<Arc<Table>>, ChainError> {
        if let Some((_, _, table)) = self.open.lock().iter().find(|open| (open.0, open.1) == (kind, segment)) {
            return Ok(Some(table.clone()));
        }
        if !self.exist(segment) {
            return Ok(None);
        }
        let table = match Table::open(&table_path(&self.folder, kind, segment)) {
            Ok(table) => Arc::new(table),
            Err(StoreError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(ChainError::read(error)),
        };
        let mut open = self.open.lock();
        open.push_back((kind, segment, table.clone()));
        if open.len() > OPEN_MAX {
            open.pop_front();
        }
        Ok(Some(table))
    }
}
