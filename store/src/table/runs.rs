//! Sorts more entries than may be in memory: sorted runs in a file beside the table, merged when they are read.
//!
//! 1. Entries gather in memory; when [`RUN_ENTRIES`] are there they are sorted, and go to the file as one run.
//! 2. [`Runs::merge`] reads all runs side by side through small buffers and gives the entries in order, each once. It can be done again: a
//!    table's header needs the count before its first entry is written.
//!
//! Memory: one run (4 MiB), and while merging a buffer of [`BUFFER_ENTRIES`] for each run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::format::Entry;

/// Entries of a run in memory.
pub(super) const RUN_ENTRIES: usize = 1 << 18;
/// Entries read at a time from one run.
const BUFFER_ENTRIES: usize = 2_048;
const ENTRY_BYTES: usize = 16;

/// Entries in any order, soon to be sorted.
#[derive(Debug)]
pub(super) struct Runs {
    path: PathBuf,
    file: Option<File>,
    /// Where each run in the file begins and ends, in entries.
    ends: Vec<u64>,
    current: Vec<Entry>,
}

impl Runs {
    /// No entries yet; the file is made at `path` when one run does not hold them all.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, ends: Vec::new(), current: Vec::new() }
    }

    /// Adds an entry.
    pub fn add(&mut self, entry: Entry) -> std::io::Result<()> {
        if self.current.len() == RUN_ENTRIES {
            self.spill()?;
        }
        if self.current.capacity() == 0 {
            self.current.reserve_exact(RUN_ENTRIES);
        }
        self.current.push(entry);
        Ok(())
    }

    /// Entries so far, those that are equal counted each.
    pub fn len(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0) + self.current.len() as u64
    }

    /// Sorts what is still in memory; to be called once, before the first merge.
    pub fn seal(&mut self) {
        self.current.sort_unstable();
        self.current.dedup();
    }

    fn spill(&mut self) -> std::io::Result<()> {
        self.seal();
        let file = match &mut self.file {
            Some(file) => file,
            empty => empty.insert(File::options().read(true).write(true).create(true).truncate(true).open(&self.path)?),
        };
        file.seek(SeekFrom::End(0))?;
        for chunk in self.current.chunks(BUFFER_ENTRIES) {
            let bytes: Vec<u8> = chunk.iter().flat_map(encode).collect();
            file.write_all(&bytes)?;
        }
        self.ends.push(self.ends.last().copied().unwrap_or(0) + self.current.len() as u64);
        self.current.clear();
        Ok(())
    }

    /// Gives every entry in order, each once.
    pub fn merge(&self, mut visit: impl FnMut(Entry) -> std::io::Result<()>) -> std::io::Result<()> {
        let Some(file) = &self.file else { return self.current.iter().try_for_each(|entry| visit(*entry)) };
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let mut readers: Vec<RunReader<'_>> = starts
            .zip(&self.ends)
            .map(|(next, &end)| RunReader { file, next, end, buffer: Vec::new(), place: 0 })
            .collect();
        let mut heads = BinaryHeap::with_capacity(readers.len() + 1);
        for (number, reader) in readers.iter_mut().enumerate() {
            heads.extend(reader.next_entry()?.map(|entry| Reverse((entry, number))));
        }
        let in_memory = readers.len();
        let mut rest = self.current.iter().copied();
        heads.extend(rest.next().map(|entry| Reverse((entry, in_memory))));
        let mut last = None;
        while let Some(Reverse((entry, number))) = heads.pop() {
            let next = if number == in_memory { rest.next() } else { readers[number].next_entry()? };
            heads.extend(next.map(|entry| Reverse((entry, number))));
            if last != Some(entry) {
                visit(entry)?;
                last = Some(entry);
            }
        }
        Ok(())
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What stays behind is overwritten by the next attempt.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn encode(entry: &Entry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..8].copy_from_slice(&entry.0.to_le_bytes());
    bytes[8..].copy_from_slice(&entry.1.to_le_bytes());
    bytes
}

struct RunReader<'a> {
    file: &'a File,
    next: u64,
    end: u64,
    buffer: Vec<u8>,
    place: usize,
}

impl RunReader<'_> {
    fn next_entry(&mut self) -> std::io::Result<Option<Entry>> {
        if self.place == self.buffer.len() {
            let count = (self.end - self.next).min(BUFFER_ENTRIES as u64);
            if count == 0 {
                return Ok(None);
            }
            self.buffer.resize(count as usize * ENTRY_BYTES, 0);
            self.file.read_exact_at(&mut self.buffer, self.next * ENTRY_BYTES as u64)?;
            (self.next, self.place) = (self.next + count, 0);
        }
        let at = self.place;
        self.place += ENTRY_BYTES;
        Ok(Some((crate::bytes::u64_at(&self.buffer, at), crate::bytes::u64_at(&self.buffer, at + 8))))
    }
}
