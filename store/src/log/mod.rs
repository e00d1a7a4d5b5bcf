//! Append-only segment logs with group commit.
//!
//! A log is a folder of segment files. One [`LogThread`] serves several logs and makes everything that waits durable in one
//! commit. A [`LogReader`] reads a log, also while another process writes it.
//!
//! - `format`: the bytes. `segment`: the files. `scan`: the rule for what may follow what.
//! - `recover`: opening after a crash. `probe`: which writer. `writer`: the two writers.
//! - `staging`, `appender`, `maker`, `thread`: the way of a record to the disk.
//! - `reader`: the way back.

mod appender;
mod config;
mod format;
mod maker;
mod metrics;
mod position;
mod probe;
mod reader;
mod recover;
mod scan;
mod segment;
mod staging;
#[cfg(test)]
mod tests;
mod thread;
mod window;
mod writer;

pub use config::{LOGS_MAX, LogBackend, LogConfig, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, ThreadStart};
pub use format::{BLOCK_BYTES, RECORD_BYTES_LIMIT, RECORD_HEADER_BYTES};
pub use metrics::{LogMetrics, LogTotals};
pub use position::Position;
pub use probe::BackendChoice;
pub use reader::{LogIterator, LogReader, OwnedRecord, Record};
pub use recover::{Cut, LogFound};
pub(crate) use segment::read_full;
pub use segment::remove_segments_before;
pub use thread::{LogThread, PENDING_MAX};

/// One record to append.
pub trait LogWrite: Send + 'static {
    /// Number of the log: index into [`LogConfig::logs`].
    fn log(&self) -> usize;
    /// The caller's tag, 1-255.
    fn kind(&self) -> u8;
    /// The payload, as the concatenation of these; empty slices are allowed. Must be the same each time it is asked for.
    fn parts(&self) -> [&[u8]; 4];
}

/// A record that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable<T> {
    /// The value that was submitted.
    pub write: T,
    /// Where its record stands.
    pub position: Position,
}
