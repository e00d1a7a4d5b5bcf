//! Collects entries in sorted runs and writes a table.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::filter::Filter;
use super::format::{BLOCK_ENTRIES, ENTRIES_MAX, Entry, TableHeader, encode_entries};
use super::runs::Runs;
use crate::StoreError;

/// What is put behind the name of a table that is not finished.
const UNFINISHED: &str = ".new";
/// What is put behind the table's name for the entries that are not in memory while it is built.
const RUNS: &str = ".runs";
/// Buffer of the writer.
const BUFFER_BYTES: usize = 1 << 18;

/// Entries of a table to be, in any order.
#[derive(Debug)]
pub struct TableBuilder {
    path: PathBuf,
    runs: Runs,
}

impl TableBuilder {
    /// No entries yet, of a table that will be at `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), runs: Runs::new(&beside(path, RUNS)) }
    }

    /// Adds a value for `key`. The same pair twice counts once.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`], [`StoreError::Io`]: 2^18 entries are kept in memory, the others in a file beside the table.
    pub fn add(&mut self, key: u64, value: u64) -> Result<(), StoreError> {
        let added = self.runs.add((key, value));
        added
            .map_err(|source| StoreError::io("sort the entries of the table", &self.path, source, self.runs.len() * 16))
    }

    /// Sorts the entries and writes the table, replacing one that is there: all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError::Setting`] for more than [`ENTRIES_MAX`] entries or a path without a folder; [`StoreError::NoSpace`],
    /// [`StoreError::Io`].
    pub fn finish(mut self) -> Result<(), StoreError> {
        let path = &self.path;
        self.runs.seal();
        let failed = |source, bytes| StoreError::io("write the table", path, source, bytes);
        let mut count = 0;
        let counted = self.runs.merge(|_| {
            count += 1;
            Ok(())
        });
        counted.map_err(|source| failed(source, self.runs.len() * 16))?;
        if count > ENTRIES_MAX {
            return Err(StoreError::Setting(format!("a table of {count} entries; the limit is {ENTRIES_MAX}")));
        }
        let Some(folder) = path.parent() else {
            return Err(StoreError::Setting(format!("{} is no path for a table", path.display())));
        };
        let header = TableHeader { entries: count, filter_lines: super::filter::line_count(count) };
        let unfinished = beside(path, UNFINISHED);
        let written = write_table(&unfinished, &header, &self.runs)
            .and_then(|()| std::fs::rename(&unfinished, path))
            .and_then(|()| File::open(folder)?.sync_all());
        written.map_err(|source| {
            // Already failing; the next attempt overwrites it.
            let _ = std::fs::remove_file(&unfinished);
            failed(source, header.file_bytes())
        })
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Blocks of entries, numbered, behind the header.
struct Blocks {
    writer: BufWriter<File>,
    number: u64,
    block: Vec<Entry>,
}

impl Blocks {
    fn push(&mut self, entry: Entry) -> std::io::Result<()> {
        self.block.push(entry);
        if self.block.len() == BLOCK_ENTRIES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> std::io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.writer.write_all(&encode_entries(&self.block, self.number))?;
        self.block.clear();
        self.number += 1;
        Ok(())
    }
}

/// Header, entry blocks, index blocks, filter; synced.
fn write_table(path: &Path, header: &TableHeader, runs: &Runs) -> std::io::Result<()> {
    let writer = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
    let mut blocks = Blocks { writer, number: 1, block: Vec::with_capacity(BLOCK_ENTRIES) };
    blocks.writer.write_all(&header.encode())?;
    let mut filter = Filter::new(header.entries);
    let mut firsts = Vec::with_capacity(header.entry_blocks() as usize);
    runs.merge(|entry| {
        if blocks.block.is_empty() {
            firsts.push(entry);
        }
        filter.add(entry.0);
        blocks.push(entry)
    })?;
    blocks.end_block()?;
    firsts.into_iter().try_for_each(|entry| blocks.push(entry))?;
    blocks.end_block()?;
    blocks.writer.write_all(&filter.finish())?;
    let file = blocks.writer.into_inner().map_err(|error| error.into_error())?;
    file.sync_all()
}
