//! Collects entries in memory and writes a table.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::filter::Filter;
use super::format::{BLOCK_ENTRIES, ENTRIES_MAX, Entry, TableHeader, encode_entries};
use crate::StoreError;

/// Extension of a table that is not finished.
const UNFINISHED_EXTENSION: &str = "new";
/// Buffer of the writer.
const BUFFER_BYTES: usize = 1 << 20;

/// Entries of a table to be, in any order.
#[derive(Debug, Default)]
pub struct TableBuilder {
    entries: Vec<Entry>,
}

impl TableBuilder {
    /// No entries yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value for `key`. The same pair twice counts once.
    pub fn add(&mut self, key: u64, value: u64) {
        self.entries.push((key, value));
    }

    /// Pairs added so far.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sorts the entries and writes the table to `path`, replacing one that is there: all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError::Setting`] for more than [`ENTRIES_MAX`] entries or a path without a folder; [`StoreError::NoSpace`],
    /// [`StoreError::Io`].
    pub fn finish(mut self, path: &Path) -> Result<(), StoreError> {
        self.entries.sort_unstable();
        self.entries.dedup();
        let count = self.entries.len() as u64;
        if count > ENTRIES_MAX {
            return Err(StoreError::Setting(format!("a table of {count} entries; the limit is {ENTRIES_MAX}")));
        }
        let Some(folder) = path.parent() else {
            return Err(StoreError::Setting(format!("{} is no path for a table", path.display())));
        };
        let mut filter = Filter::new(count);
        self.entries.iter().for_each(|(key, _)| filter.add(*key));
        let header = TableHeader { entries: count, filter_lines: super::filter::line_count(count) };
        let unfinished = path.with_extension(UNFINISHED_EXTENSION);
        let written = write_table(&unfinished, &header, &self.entries, &filter.finish())
            .and_then(|()| std::fs::rename(&unfinished, path))
            .and_then(|()| File::open(folder)?.sync_all());
        written.map_err(|source| {
            // Already failing; the next attempt overwrites it.
            let _ = std::fs::remove_file(&unfinished);
            StoreError::io("write the table", path, source, header.file_bytes())
        })
    }
}

/// Header, entry blocks, index blocks, filter; synced.
fn write_table(path: &Path, header: &TableHeader, entries: &[Entry], filter: &[u8]) -> std::io::Result<()> {
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
    writer.write_all(&header.encode())?;
    let mut number = 1;
    let mut firsts = Vec::with_capacity(header.entry_blocks() as usize);
    for block in entries.chunks(BLOCK_ENTRIES) {
        writer.write_all(&encode_entries(block, number))?;
        firsts.extend(block.first().copied());
        number += 1;
    }
    for block in firsts.chunks(BLOCK_ENTRIES) {
        writer.write_all(&encode_entries(block, number))?;
        number += 1;
    }
    writer.write_all(filter)?;
    let file = writer.into_inner().map_err(|error| error.into_error())?;
    file.sync_all()
}
