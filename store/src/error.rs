//! What can go wrong with files, each with its cause and what a person should do about it.
//!
//! Two kinds of failure are kept apart: the machine refuses (`Io`, `NoSpace`, `Locked`, `Lmdb`), and the bytes are not what
//! was written (`Damaged`, `Missing`). The store never repairs the second kind silently, except for the torn tail of a
//! log, which a crash produces by itself.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the store. The text names the file, the cause and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused an operation for a reason other than a full disk.
    #[error("cannot {action} {}: {source}; {}", path.display(), io_remedy(source))]
    Io {
        /// The operation, as a verb phrase.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The disk or the quota is full.
    #[error(
        "disk full: cannot {action} {}, at least {bytes_needed} more bytes are needed there; \
         free that much space on its file system (or raise the quota), then start again: nothing that was acknowledged is lost",
        path.display()
    )]
    NoSpace {
        /// The operation, as a verb phrase.
        action: &'static str,
        /// The file or folder that must grow.
        path: PathBuf,
        /// Bytes that the operation still had to write.
        bytes_needed: u64,
    },
    /// A file holds bytes that this store did not write there.
    #[error("{} is damaged at offset {offset}: {what}; {remedy}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Byte offset of the first wrong thing.
        offset: u64,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A file that must be there is not.
    #[error("{} is missing: {what}; {remedy}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Why it must be there.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Another process holds the data folder.
    #[error(
        "{} is in use by process {holder}; stop that process, or give this one a data folder of its own",
        path.display()
    )]
    Locked {
        /// The data folder.
        path: PathBuf,
        /// Process id of the holder as it wrote it, or `unknown`.
        holder: String,
    },
    /// A value given by the caller is out of range.
    #[error("storage setting refused: {0}")]
    Setting(String),
    /// LMDB refused for a reason other than a full disk.
    #[error("the checkpoint {} cannot {action}: {cause}; {remedy}", path.display())]
    Lmdb {
        /// The operation, as a verb phrase.
        action: &'static str,
        /// The checkpoint's folder.
        path: PathBuf,
        /// LMDB's own words.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The log thread ended by a panic, which is a defect of this program.
    #[error("the log thread panicked: {0}; this is a defect, please report it with the log output")]
    Panicked(String),
}

/// What to do about damage that only a copy can mend.
pub(crate) const RESTORE: &str = "restore the data folder from a copy; only where other validators run, move it away and let this node fetch its state from them (`tana validator --join`)";

impl StoreError {
    /// Wraps an I/O error, telling a full disk from the rest; `bytes_needed` is what the operation still had to write.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error, bytes_needed: u64) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::NoSpace { action, path: path.to_path_buf(), bytes_needed }
            }
            _ => Self::Io { action, path: path.to_path_buf(), source },
        }
    }

    /// Damage with the usual remedy.
    pub(crate) fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_path_buf(), offset, what: what.into(), remedy: RESTORE }
    }

    /// Whether the cause is a full disk or quota.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}

/// The remedy that fits an error of the operating system.
fn io_remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "give this user read and write permission there",
        io::ErrorKind::NotFound => "check the path in the configuration",
        io::ErrorKind::ReadOnlyFilesystem => "mount the file system writable",
        _ => "check the disk and the kernel log (dmesg), then start again",
    }
}
