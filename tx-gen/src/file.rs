//! Signed loads in files, so that a long load is signed once and sent many times.
//!
//! ```text
//! offset  size  field
//!      0     8  "TANALOAD"
//!      8     4  version, 1
//!     12     4  length d of the description
//!     16     d  description: JSON with the genesis hash, the plan, and per connection the bytes of each chunk
//! 16 + d    32  BLAKE3 of everything before
//!            …  the chunks, connection by connection, each followed by its BLAKE3 hash
//! ```
//!
//! Numbers are little-endian. Reading checks every length against the file's before anything is reserved, every hash, and that each
//! chunk is whole frames of as many transactions as the plan says. Nothing may follow the last chunk. A file is written under
//! another name and moved into place, so a half-written load is never found.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tana_types::Hash;
use tana_types::transaction::Transaction;
use thiserror::Error;

use crate::chunk::{LENGTH_BYTES, transactions_of_chunk};
use crate::load::{ConnectionLoad, Load};
use crate::plan::{CONNECTIONS_MAX, COUNT_MAX, FRAME_TRANSACTIONS_MAX, LoadPlan};

const MAGIC: &[u8; 8] = b"TANALOAD";
const VERSION: u32 = 1;
/// The longest description: a load of a billion transactions has 244,141 chunks of at most 12 digits and commas.
const DESCRIPTION_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Why a load file could not be written or read.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {action} the load file {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is something else.
    #[error("{0} is no load file; write one with `tx-gen --save FILE`")]
    NotALoad(PathBuf),
    /// It was written by another version.
    #[error(
        "{path} has version {version} of the load format, this tx-gen reads version 1; sign the load again with --save"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// It is damaged.
    #[error("the load file {path} is damaged: {detail}; sign the load again with --save")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// It is for another chain.
    #[error(
        "the load file {path} was signed for the chain {found}, the genesis is that of {wanted}; sign the load again with this genesis"
    )]
    OtherChain {
        /// The file.
        path: PathBuf,
        /// Its chain's genesis hash.
        found: String,
        /// The genesis hash that was wanted.
        wanted: String,
    },
}

/// What a load file says about itself.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    genesis_hash: String,
    plan: LoadPlan,
    frame_transactions: u32,
    chunk_bytes: Vec<Vec<u32>>,
}

/// Writes `load` to `path`.
///
/// # Errors
/// [`FileError::Io`]; what stood at `path` before is unchanged then.
pub fn save(load: &Load, path: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::Io { action: "write", path: path.to_owned(), source };
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let written = write(load, &part).and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        // The error that matters is the first one.
        let _ = std::fs::remove_file(&part);
    }
    written.map_err(failed)
}

fn write(load: &Load, path: &Path) -> io::Result<()> {
    let description = Description {
        genesis_hash: hex::encode(load.genesis_hash),
        plan: load.plan.clone(),
        frame_transactions: load.frame_transactions,
        chunk_bytes: load
            .connections
            .iter()
            .map(|connection| connection.chunks.iter().map(|chunk| chunk.len() as u32).collect())
            .collect(),
    };
    let description = serde_json::to_vec(&description)?;
    let mut head = Vec::with_capacity(16 + description.len());
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&(description.len() as u32).to_le_bytes());
    head.extend_from_slice(&description);
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&head)?;
    file.write_all(blake3::hash(&head).as_bytes())?;
    for chunk in load.connections.iter().flat_map(|connection| &connection.chunks) {
        file.write_all(chunk)?;
        file.write_all(blake3::hash(chunk).as_bytes())?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Reads the load at `path`, which must be for the chain with `genesis_hash`.
///
/// # Errors
/// [`FileError`] when the file cannot be read, is damaged, or is for another chain.
pub fn load(path: &Path, genesis_hash: &Hash) -> Result<Load, FileError> {
    let file = File::open(path).map_err(|source| FileError::Io { action: "open", path: path.to_owned(), source })?;
    let length =
        file.metadata().map_err(|source| FileError::Io { action: "read", path: path.to_owned(), source })?.len();
    let mut source = Source { path, file: BufReader::new(file), left: length };
    let description = source.description()?;
    if description.genesis_hash != hex::encode(genesis_hash) {
        let (found, wanted) = (description.genesis_hash, hex::encode(genesis_hash));
        return Err(FileError::OtherChain { path: path.to_owned(), found, wanted });
    }
    let Description { plan, frame_transactions, chunk_bytes, .. } = description;
    if plan.count > COUNT_MAX
        || plan.connections == 0
        || plan.connections > CONNECTIONS_MAX
        || chunk_bytes.len() != plan.connections as usize
        || !(1..=FRAME_TRANSACTIONS_MAX).contains(&frame_transactions)
    {
        return source.damaged("its description is out of range");
    }
    let mut connections = Vec::with_capacity(chunk_bytes.len());
    for (connection, sizes) in chunk_bytes.iter().enumerate() {
        let mut left = plan.connection_count(connection as u32);
        let mut chunks = Vec::new();
        for &size in sizes {
            let chunk = source.hashed(u64::from(size))?;
            let expected = left.min(transactions_of_chunk(frame_transactions));
            if count_transactions(&chunk, u64::from(frame_transactions)) != Some(expected) {
                return source.damaged("a chunk does not hold the frames that it should");
            }
            left -= expected;
            chunks.push(Bytes::from(chunk));
        }
        if left > 0 {
            return source.damaged("transactions are missing");
        }
        connections.push(ConnectionLoad { chunks, count: plan.connection_count(connection as u32) });
    }
    if source.left > 0 {
        return source.damaged("something follows its end");
    }
    Ok(Load { genesis_hash: *genesis_hash, plan, frame_transactions, connections })
}

/// A file with what is left of it.
struct Source<'a> {
    path: &'a Path,
    file: BufReader<File>,
    left: u64,
}

impl Source<'_> {
    fn damaged<T>(&self, detail: &str) -> Result<T, FileError> {
        Err(FileError::Damaged { path: self.path.to_owned(), detail: detail.to_owned() })
    }

    /// The next `length` bytes.
    fn bytes(&mut self, length: u64) -> Result<Vec<u8>, FileError> {
        if length > self.left {
            return self.damaged("it is cut off");
        }
        self.left -= length;
        let mut bytes = vec![0; length as usize];
        let read = self.file.read_exact(&mut bytes);
        read.map_err(|source| FileError::Io { action: "read", path: self.path.to_owned(), source })?;
        Ok(bytes)
    }

    /// The next `length` bytes, checked against the hash behind them.
    fn hashed(&mut self, length: u64) -> Result<Vec<u8>, FileError> {
        let bytes = self.bytes(length)?;
        let hash = self.bytes(32)?;
        if blake3::hash(&bytes).as_bytes()[..] != hash[..] {
            return self.damaged("a hash does not fit its bytes");
        }
        Ok(bytes)
    }

    fn description(&mut self) -> Result<Description, FileError> {
        if self.left < 16 {
            return Err(FileError::NotALoad(self.path.to_owned()));
        }
        let mut head = self.bytes(16)?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (version, length) = (word(8), word(12));
        if head[..8] != MAGIC[..] {
            return Err(FileError::NotALoad(self.path.to_owned()));
        }
        if version != VERSION {
            return Err(FileError::Version { path: self.path.to_owned(), version });
        }
        if length > DESCRIPTION_BYTES_MAX {
            return self.damaged("its description is too long");
        }
        head.extend(self.bytes(u64::from(length))?);
        if blake3::hash(&head).as_bytes()[..] != self.bytes(32)?[..] {
            return self.damaged("a hash does not fit its description");
        }
        serde_json::from_slice(&head[16..]).or_else(|error| self.damaged(&error.to_string()))
    }
}

/// The transactions of a chunk, if it is whole frames of `per_frame` transactions each (the last of them up to so many).
fn count_transactions(mut chunk: &[u8], per_frame: u64) -> Option<u64> {
    let (mut count, mut is_full) = (0, true);
    while !chunk.is_empty() {
        let (length, rest) = chunk.split_first_chunk::<LENGTH_BYTES>()?;
        let (mut payload, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let mut in_frame = 0;
        while !payload.is_empty() {
            payload = &payload[Transaction::first_of(payload)?.bytes().len()..];
            in_frame += 1;
        }
        if !is_full || in_frame == 0 || in_frame > per_frame {
            return None;
        }
        is_full = in_frame == per_frame;
        count += in_frame;
        chunk = rest;
    }
    Some(count)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
