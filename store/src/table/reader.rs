//! Looks up keys in a table.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::filter::{LINE_BYTES, line_of, may_hold};
use super::format::{BLOCK_BYTES, BLOCK_ENTRIES, Entry, TableHeader, decode_entries};
use crate::StoreError;

/// Most values that [`Table::lookup`] returns; [`Table::lookup_range`] pages through more.
pub const LOOKUP_MAX: usize = 65_536;

/// What to do about a damaged table.
const REBUILD: &str = "remove the file: the node builds it anew from its log segment";

/// An open table. Any number of threads may look up in it.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    file: File,
    header: TableHeader,
    /// First entry of each entry block.
    firsts: Vec<Entry>,
}

impl Table {
    /// Opens a table and loads its index: 16 bytes per 255 entries.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none, [`StoreError::Damaged`] when it is not whole, [`StoreError::Io`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::Missing {
                path: path.to_path_buf(),
                what: "there is no such table".to_string(),
                remedy: "let the node build it from its log segment",
            },
            _ => StoreError::io("open", path, source, 0),
        })?;
        let failed = |source| StoreError::io("read", path, source, 0);
        let mut block = [0u8; BLOCK_BYTES];
        let file_bytes = file.metadata().map_err(failed)?.len();
        if file_bytes < BLOCK_BYTES as u64 {
            return Err(damaged(path, file_bytes, "the file ends inside its header"));
        }
        file.read_exact_at(&mut block, 0).map_err(failed)?;
        let header = TableHeader::decode(&block).map_err(|what| damaged(path, 0, what))?;
        if file_bytes != header.file_bytes() {
            let what = format!("the file has {file_bytes} bytes instead of {}", header.file_bytes());
            return Err(damaged(path, file_bytes.min(header.file_bytes()), what));
        }
        let mut table = Self { path: path.to_path_buf(), file, header, firsts: Vec::new() };
        let mut firsts = Vec::with_capacity(header.entry_blocks() as usize);
        for index in 0..header.index_blocks() {
            table.read_block(1 + header.entry_blocks() + index, &mut firsts)?;
        }
        if firsts.len() as u64 != header.entry_blocks() || !firsts.is_sorted() {
            let offset = (1 + header.entry_blocks()) * BLOCK_BYTES as u64;
            return Err(damaged(path, offset, "the index does not fit the entries"));
        }
        table.firsts = firsts;
        Ok(table)
    }

    /// Entries in the table.
    pub fn len(&self) -> u64 {
        self.header.entries
    }

    /// Whether the table has no entry.
    pub fn is_empty(&self) -> bool {
        self.header.entries == 0
    }

    /// The values of `key`, ascending; the first [`LOOKUP_MAX`] of them.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a block that was read is not what was written, [`StoreError::Io`].
    pub fn lookup(&self, key: u64) -> Result<Vec<u64>, StoreError> {
        self.lookup_range(key, None, LOOKUP_MAX)
    }

    /// At most `limit` values of `key`, ascending, from the first one that is larger than `after` on.
    ///
    /// # Errors
    /// As [`Table::lookup`].
    pub fn lookup_range(&self, key: u64, after: Option<u64>, limit: usize) -> Result<Vec<u64>, StoreError> {
        let mut values = Vec::new();
        // The smallest entry wanted.
        let lowest = match after {
            None => 0,
            Some(u64::MAX) => return Ok(values),
            Some(value) => value + 1,
        };
        if limit == 0 || !self.may_hold(key)? {
            return Ok(values);
        }
        // The last block that begins at or before the wanted entry; if none does, the first one.
        let mut block = self.firsts.partition_point(|first| *first <= (key, lowest)).saturating_sub(1);
        let mut entries = Vec::with_capacity(BLOCK_ENTRIES);
        while self.firsts.get(block).is_some_and(|first| first.0 <= key) {
            entries.clear();
            self.read_block(1 + block as u64, &mut entries)?;
            let start = entries.partition_point(|entry| *entry < (key, lowest));
            for (_, value) in entries[start..].iter().take_while(|entry| entry.0 == key) {
                if values.len() == limit {
                    return Ok(values);
                }
                values.push(*value);
            }
            if entries.last().is_none_or(|entry| entry.0 > key) {
                break;
            }
            block += 1;
        }
        Ok(values)
    }

    /// At most `limit` values of `key`, descending, from the last one that is smaller than `before` on (from the last one of
    /// all without it): the newest first.
    ///
    /// # Errors
    /// As [`Table::lookup`].
    pub fn lookup_range_descending(&self, key: u64, before: Option<u64>, limit: usize) -> Result<Vec<u64>, StoreError> {
        let mut values = Vec::new();
        let highest = match before {
            None => u64::MAX,
            Some(0) => return Ok(values),
            Some(value) => value - 1,
        };
        if limit == 0 || !self.may_hold(key)? {
            return Ok(values);
        }
        let mut blocks = self.firsts.partition_point(|first| *first <= (key, highest));
        let mut entries = Vec::with_capacity(BLOCK_ENTRIES);
        while blocks > 0 {
            blocks -= 1;
            entries.clear();
            self.read_block(1 + blocks as u64, &mut entries)?;
            let end = entries.partition_point(|entry| *entry <= (key, highest));
            for (_, value) in entries[..end].iter().rev().take_while(|entry| entry.0 == key) {
                if values.len() == limit {
                    return Ok(values);
                }
                values.push(*value);
            }
            if entries.first().is_none_or(|entry| entry.0 < key) {
                break;
            }
        }
        Ok(values)
    }

    /// What the filter says about `key`.
    fn may_hold(&self, key: u64) -> Result<bool, StoreError> {
        let number = line_of(key, self.header.filter_lines);
        let offset = self.header.filter_offset() + number * LINE_BYTES as u64;
        let mut line = [0u8; LINE_BYTES];
        self.read_exact(&mut line, offset)?;
        may_hold(&line, number, key)
            .ok_or_else(|| damaged(&self.path, offset, "the checksum of a filter line does not hold"))
    }

    /// Appends the entries of block number `number` of the file to `entries`.
    fn read_block(&self, number: u64, entries: &mut Vec<Entry>) -> Result<(), StoreError> {
        let offset = number * BLOCK_BYTES as u64;
        let mut block = [0u8; BLOCK_BYTES];
        self.read_exact(&mut block, offset)?;
        decode_entries(&block, number, entries).map_err(|what| damaged(&self.path, offset, what))
    }

    /// Reads exactly `buffer.len()` bytes; an end before that is damage, because opening checked the length.
    fn read_exact(&self, buffer: &mut [u8], offset: u64) -> Result<(), StoreError> {
        self.file.read_exact_at(buffer, offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => damaged(&self.path, offset, "the file became shorter"),
            _ => StoreError::io("read", &self.path, source, 0),
        })
    }
}

/// Damage of a table.
fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> StoreError {
    StoreError::Damaged { path: path.to_path_buf(), offset, what: what.into(), remedy: REBUILD }
}
