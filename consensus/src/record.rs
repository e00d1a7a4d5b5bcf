//! The voting record: a few bytes beside the node's other data that say whether its key has voted, and how often agreement was started.
//!
//! A validator that lost its journal does not know what it voted for, and a second, different vote forks the chain's trust in it. So the
//! number of starts is kept twice: inside agreement's folder, with the journal, and here, outside of it. A folder that is missing, or was
//! put back from an older copy, has the lower number, and the node then follows without voting (`core::guard` decides).
//!
//! A record of zero starts is written when a key is made ([`FileRecord::create`]): it says that the key has not voted yet, wherever the
//! chain stands by the time the node first starts. A start never makes one: without a record the node follows and does not vote.
//!
//! ```text
//! magic 8, starts 8, epoch 8 (the last one voted in), check 8: the first bytes of the BLAKE3 hash of the 24 before
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What the record begins with.
const MAGIC: [u8; 8] = *b"tanavote";
/// Bytes of a record.
const RECORD_BYTES: usize = 32;

/// What is remembered of voting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// How often agreement was started with this key in this folder.
    pub starts: u64,
    /// The last epoch in which it voted; 0 also before the first.
    pub epoch: u64,
}

impl Record {
    /// The bytes as they are stored.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.starts.to_le_bytes());
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        let check = blake3::hash(&bytes);
        bytes.extend_from_slice(&check.as_bytes()[..8]);
        bytes
    }

    /// Reads stored bytes; none where they are damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_BYTES] = bytes.try_into().ok()?;
        let (content, check) = bytes.split_at(24);
        if content[..8] != MAGIC || check != &blake3::hash(content).as_bytes()[..8] {
            return None;
        }
        let number = |at: usize| content[at..at + 8].iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        Some(Self { starts: number(8), epoch: number(16) })
    }
}

/// A place outside agreement's folder where the record survives.
pub trait RecordStore: Send + Sync + 'static {
    /// The stored bytes; none where nothing was ever stored. An error stops the start.
    fn load(&self) -> Result<Option<Vec<u8>>, String>;
    /// Stores bytes so that they survive a crash, before it returns.
    fn store(&self, bytes: &[u8]) -> Result<(), String>;
}

/// The record as a file.
#[derive(Debug, Clone)]
pub struct FileRecord {
    path: PathBuf,
}

impl FileRecord {
    /// The record at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Writes the record of a key that was just made and has not voted. Refuses where a record is.
    pub fn create(path: &Path) -> io::Result<()> {
        if path.symlink_metadata().is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is there already: the key has been used", path.display()),
            ));
        }
        write_synced(path, &Record::default().encode())
    }
}

impl RecordStore for FileRecord {
    fn load(&self) -> Result<Option<Vec<u8>>, String> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read the voting record {}: {error}", self.path.display())),
        }
    }

    fn store(&self, bytes: &[u8]) -> Result<(), String> {
        write_synced(&self.path, bytes)
            .map_err(|error| format!("cannot write the voting record {}: {error}", self.path.display()))
    }
}

/// Replaces a file so that a crash leaves the old content or the new.
fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let next = path.with_extension("next");
    let mut file = File::create(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    File::open(folder)?.sync_all()
}
