//! Proofs against validators, kept in one file of the data folder.
//!
//! Each is a record: bytes of the proof (u32), the first eight bytes of their BLAKE3 hash, the proof as [`Evidence::encode`] writes it. Records
//! are appended and synced; one that is known is not written again; a torn end is cut at start. The file is bounded
//! ([`EVIDENCE_FILE_BYTES_MAX`]): proofs are for people who then act, and the first thousand say what the next would.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tana_lane::{EVIDENCE_BYTES_MAX, Evidence};
use tana_types::Hash;

/// The most bytes of the file.
pub const EVIDENCE_FILE_BYTES_MAX: u64 = 64 << 20;
/// The most proofs of one file.
pub const EVIDENCE_COUNT_MAX: usize = 4_096;
/// Bytes in front of a proof.
const PREFIX_BYTES: usize = 12;

struct Inner {
    file: File,
    length: u64,
    known: BTreeSet<Hash>,
}

/// See the module's text.
pub struct EvidenceStore {
    path: PathBuf,
    inner: Mutex<Inner>,
}

impl EvidenceStore {
    /// Opens the file `evidence` in `folder`, or makes it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("evidence");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(EVIDENCE_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        let (records, length) = split(&bytes);
        let known = records.iter().map(|record| tana_hash::hash(record)).collect();
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        Ok(Self { path, inner: Mutex::new(Inner { file, length, known }) })
    }

    /// Keeps a proof; tells whether it is new and was kept.
    pub fn add(&self, evidence: &Evidence) -> io::Result<bool> {
        let bytes = evidence.encode();
        let hash = tana_hash::hash(&bytes);
        let mut inner = self.inner.lock();
        let length = inner.length + (PREFIX_BYTES + bytes.len()) as u64;
        let is_full = length > EVIDENCE_FILE_BYTES_MAX || inner.known.len() >= EVIDENCE_COUNT_MAX;
        if is_full || inner.known.contains(&hash) {
            return Ok(false);
        }
        let mut record = Vec::with_capacity(PREFIX_BYTES + bytes.len());
        record.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        record.extend_from_slice(&hash[..8]);
        record.extend_from_slice(&bytes);
        let start = inner.length;
        let written = inner.file.write_all(&record).and_then(|()| inner.file.sync_data());
        if let Err(error) = written {
            // Half a record would hide what is written behind it.
            inner.file.set_len(start)?;
            inner.file.seek(SeekFrom::Start(start))?;
            return Err(error);
        }
        inner.length = length;
        inner.known.insert(hash);
        Ok(true)
    }

    /// Proofs kept.
    pub fn count(&self) -> usize {
        self.inner.lock().known.len()
    }

    /// Reads all proofs, the oldest first.
    pub fn list(&self) -> io::Result<Vec<Evidence>> {
        read(&self.path)
    }
}

/// Reads the proofs of a file, also of a node that does not run.
pub fn read(path: &Path) -> io::Result<Vec<Evidence>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(EVIDENCE_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(split(&bytes).0.into_iter().filter_map(|record| Evidence::decode(record).ok()).collect())
}

/// The records up to the first that is torn or damaged, and where they end.
fn split(bytes: &[u8]) -> (Vec<&[u8]>, u64) {
    let (mut records, mut offset) = (Vec::new(), 0);
    while let Some((prefix, rest)) = bytes[offset..].split_first_chunk::<PREFIX_BYTES>() {
        let length = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]) as usize;
        let Some(record) = rest.get(..length).filter(|_| length <= EVIDENCE_BYTES_MAX) else { break };
        if tana_hash::hash(record)[..8] != prefix[4..] {
            break;
        }
        records.push(record);
        offset += PREFIX_BYTES + length;
    }
    (records, offset as u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn votes(number: u8) -> Evidence {
        Evidence::Votes { kind: 1, first: vec![number; 9], second: vec![number; 3] }
    }

    #[test]
    fn proofs_are_kept_once_and_survive_a_torn_end() {
        let folder = tempfile::tempdir().unwrap();
        let store = EvidenceStore::open(folder.path()).unwrap();
        assert!(store.add(&votes(1)).unwrap());
        assert!(!store.add(&votes(1)).unwrap());
        assert!(store.add(&votes(2)).unwrap());
        drop(store);
        let path = folder.path().join("evidence");
        let length = std::fs::metadata(&path).unwrap().len();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
        let store = EvidenceStore::open(folder.path()).unwrap();
        assert_eq!((store.count(), store.list().unwrap()), (1, vec![votes(1)]));
        assert!(store.add(&votes(3)).unwrap());
        assert_eq!(read(&path).unwrap(), [votes(1), votes(3)]);
    }
}
