//! One writer per data folder.
//!
//! The lock is an advisory `flock` on `<dir>/LOCK`, so the kernel gives it back when the holder dies, however it dies. The
//! file holds the holder's process id as text, only so that the error can name it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::StoreError;

/// File name of the lock inside the data folder.
const LOCK_FILE: &str = "LOCK";
/// A process id has at most ten digits; anything longer in the file is not one.
const HOLDER_BYTES_MAX: u64 = 20;

/// The exclusive right to write to a data folder; given up when dropped.
#[derive(Debug)]
pub struct DataLock {
    path: PathBuf,
    /// Keeps the lock: closing the file releases it.
    _file: File,
}

impl DataLock {
    /// Takes the lock of `directory`, creating the folder where it is missing.
    ///
    /// # Errors
    /// [`StoreError::Locked`] with the other process's id when it is taken; [`StoreError::Io`] when the folder or the file
    /// cannot be made.
    pub fn acquire(directory: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(directory)
            .map_err(|source| StoreError::io("create the data folder", directory, source, 0))?;
        let path = directory.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| StoreError::io("open the lock file", &path, source, 0))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StoreError::Locked { path: directory.to_path_buf(), holder: read_holder(&mut file) });
            }
            Err(errno) => return Err(StoreError::io("lock", &path, errno.into(), 0)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(|source| StoreError::io("write the process id to", &path, source, 16))?;
        Ok(Self { path: directory.to_path_buf(), _file: file })
    }

    /// The folder that is locked.
    pub fn directory(&self) -> &Path {
        &self.path
    }
}

/// The process id in the lock file, or `unknown`.
fn read_holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(HOLDER_BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => match text.trim().parse::<u32>() {
            Ok(pid) => pid.to_string(),
            Err(_) => "unknown".to_string(),
        },
        Err(_) => "unknown".to_string(),
    }
}
