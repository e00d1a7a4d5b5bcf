//! What a log thread is told at its start.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{BLOCK_BYTES, NAME_BYTES_MAX, RECORD_BYTES_LIMIT, RECORD_HEADER_BYTES};
use crate::{FaultPlan, StoreError};

/// Most logs that one thread serves.
pub const LOGS_MAX: usize = 8;
/// Smallest segment: a header block, a seal block and a little room; only tests want it that small.
pub const SEGMENT_BYTES_MIN: u64 = 16 << 10;
/// Largest segment: offsets are 32 bits wide, and half of that leaves room for every sum.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 31;

/// Which writer to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogBackend {
    /// Measure both at the first start in a data folder, keep the faster, remember it.
    #[default]
    Auto,
    /// Positional writes.
    Plain,
    /// io_uring through tokio-uring; falls back to plain writes, and says so, where the kernel denies it.
    Uring,
}

/// Called on the log thread before its first work: the place to pin it to a core.
pub type ThreadStart = Arc<dyn Fn() + Send + Sync>;

/// Settings of a log thread.
#[derive(Clone)]
pub struct LogConfig {
    /// Folder that holds one folder per log.
    pub directory: PathBuf,
    /// Names of the logs, in the order of their numbers; the order of syncing is this order. At most [`LOGS_MAX`], each of
    /// 1-32 letters, digits, `-` or `_`.
    pub logs: Vec<String>,
    /// Bytes of a new segment file, a multiple of 4096. Default 256 MiB.
    pub segment_bytes: u64,
    /// Bytes of one log that one commit collects before it writes. Default 4 MiB: past that a larger write is not faster.
    pub group_bytes_max: usize,
    /// Largest payload accepted. Default 16 MiB.
    pub record_bytes_max: usize,
    /// Which writer. Default `Auto`.
    pub backend: LogBackend,
    /// Bytes of sealed segments that opening a log verifies completely, newest first (the newest one always); of the older
    /// ones it checks the header, the seal and that they join up; readers verify every record that they read. Default
    /// 256 MiB, a fraction of a second.
    pub scan_bytes_max: u64,
    /// Failures to inject, none by default.
    pub faults: FaultPlan,
    /// Called on the log thread before its first work. Default: nothing.
    pub thread_start: Option<ThreadStart>,
    /// Salt of new segments' checksums. Default `None`: random, as it must be outside tests of the file format.
    pub salt: Option<u64>,
}

impl LogConfig {
    /// The defaults for logs of these names under `directory`.
    pub fn new(directory: &Path, logs: &[&str]) -> Self {
        Self {
            directory: directory.to_path_buf(),
            logs: logs.iter().map(|name| (*name).to_string()).collect(),
            segment_bytes: 256 << 20,
            group_bytes_max: 4 << 20,
            record_bytes_max: 16 << 20,
            backend: LogBackend::Auto,
            scan_bytes_max: 256 << 20,
            faults: FaultPlan::default(),
            thread_start: None,
            salt: None,
        }
    }

    /// Checks every value and how they fit together.
    ///
    /// # Errors
    /// [`StoreError::Setting`] naming the value and its range.
    pub fn validate(&self) -> Result<(), StoreError> {
        let refuse = |text: String| Err(StoreError::Setting(text));
        if self.logs.is_empty() || self.logs.len() > LOGS_MAX {
            return refuse(format!("a log thread serves 1 to {LOGS_MAX} logs, not {}", self.logs.len()));
        }
        for (index, name) in self.logs.iter().enumerate() {
            check_name(name)?;
            if self.logs[..index].contains(name) {
                return refuse(format!("two logs are named {name:?}"));
            }
        }
        let bytes = self.segment_bytes;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) || !bytes.is_multiple_of(BLOCK_BYTES as u64) {
            return refuse(format!(
                "segment_bytes is {bytes}, it must be a multiple of {BLOCK_BYTES} \
                 from {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}"
            ));
        }
        let room = bytes - 2 * BLOCK_BYTES as u64 - RECORD_HEADER_BYTES as u64;
        let limit = room.min(RECORD_BYTES_LIMIT as u64);
        if self.record_bytes_max == 0 || self.record_bytes_max as u64 > limit {
            return refuse(format!(
                "record_bytes_max is {}, it must be from 1 to {limit} with segments of {bytes} bytes",
                self.record_bytes_max
            ));
        }
        if self.group_bytes_max < BLOCK_BYTES || self.group_bytes_max as u64 > SEGMENT_BYTES_MAX {
            return refuse(format!(
                "group_bytes_max is {}, it must be from {BLOCK_BYTES} to {SEGMENT_BYTES_MAX}",
                self.group_bytes_max
            ));
        }
        Ok(())
    }
}

/// A log's name is a folder's name and stands in its segments' headers.
pub(super) fn check_name(name: &str) -> Result<(), StoreError> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !plain {
        return Err(StoreError::Setting(format!(
            "{name:?} is no name for a log: use 1 to {NAME_BYTES_MAX} letters, digits, - or _"
        )));
    }
    Ok(())
}

impl fmt::Debug for LogConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LogConfig")
            .field("directory", &self.directory)
            .field("logs", &self.logs)
            .field("segment_bytes", &self.segment_bytes)
            .field("group_bytes_max", &self.group_bytes_max)
            .field("record_bytes_max", &self.record_bytes_max)
            .field("backend", &self.backend)
            .field("scan_bytes_max", &self.scan_bytes_max)
            .field("faults", &self.faults)
            .field("thread_start", &self.thread_start.is_some())
            .finish()
    }
}
