//! A sliding buffer over a file, filled by positional reads: sequential scans cost one system call per 256 KiB.

use std::fs::File;
use std::io;

use super::segment::read_full;

/// Bytes that a refill asks for when the caller wants less.
const WINDOW_BYTES: usize = 256 << 10;

/// Bytes `start..start + filled` of some file.
#[derive(Debug)]
pub(super) struct Window {
    buffer: Vec<u8>,
    start: u64,
    filled: usize,
}

impl Window {
    /// An empty window; it allocates with its first read.
    pub fn new() -> Self {
        Self { buffer: Vec::new(), start: 0, filled: 0 }
    }

    /// Forgets what it holds: the file may have changed, or it is another file from now on.
    pub fn forget(&mut self) {
        self.filled = 0;
    }

    /// `length` bytes from `offset`, fewer when the file ends before. The caller has checked `length` against a limit.
    pub fn read(&mut self, file: &File, offset: u64, length: usize) -> io::Result<&[u8]> {
        if !self.holds(offset, length) {
            let wanted = length.max(WINDOW_BYTES);
            if self.buffer.len() < wanted {
                self.buffer.resize(wanted, 0);
            }
            self.filled = 0;
            self.filled = read_full(file, &mut self.buffer[..wanted], offset)?;
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.buffer[from..self.filled.min(from + length)])
    }

    /// Whether the wanted bytes are all in the buffer.
    fn holds(&self, offset: u64, length: usize) -> bool {
        offset >= self.start && offset + length as u64 <= self.start + self.filled as u64
    }
}
