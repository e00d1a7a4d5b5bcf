//! Snapshots that others may fetch: files made from the checkpoint of a boundary height, right behind its commit.
//!
//! 1. Take the pages in order and cut them into runs of 4,096 accounts, each with its overflows; write them one behind the other.
//! 2. Hash each run to its node, and the nodes to the root of accounts, which must be the commit record's.
//! 3. Write the manifest and give the folder its name: from then on it is served.
//!
//! At most [`SNAPSHOTS_MAX`] are kept; one that nobody has read for [`IDLE`] is removed, and so is whatever lies there when a node starts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tana_store::{CheckpointSnapshot, StoreError};
use tana_types::account::{HotAccount, RECORD_BYTES};
use tana_types::header::BlockHeader;
use tana_types::state::StateSections;
use thiserror::Error;

use super::chunk::{CHUNK_ACCOUNTS, Chunk, chunk_count, encode_chunk, root_of_chunks};
use super::manifest::StateManifest;
use super::message::{Object, PART_BYTES_MAX};

/// Snapshots kept at a time.
pub const SNAPSHOTS_MAX: usize = 2;
/// How long an unread snapshot stays.
pub const IDLE: Duration = Duration::from_secs(600);

/// Why no snapshot was made.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be written.
    #[error("cannot {action} {path}: {source}; free space, or check the data folder's rights")]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The checkpoint is not what its block's record says.
    #[error("the checkpoint of height {height} cannot be exported: {reason}")]
    Checkpoint {
        /// The height.
        height: u64,
        /// What does not fit.
        reason: String,
    },
}

/// What a snapshot is made from beside the checkpoint's pages.
pub struct SnapshotSource<'a, 'b> {
    /// The checkpoint.
    pub checkpoint: &'a CheckpointSnapshot<'b>,
    /// The state's part of its blob.
    pub meta: &'a [u8],
    /// The header of its height.
    pub header: BlockHeader,
    /// The state of its height.
    pub sections: StateSections,
}

#[derive(Debug)]
struct Snapshot {
    folder: PathBuf,
    state_bytes: u64,
    /// Where each run begins in the file, and behind the last where it ends.
    offsets: Vec<u64>,
    read_at: Mutex<Instant>,
}

/// See the module's text.
#[derive(Debug)]
pub struct SnapshotStore {
    folder: PathBuf,
    snapshots: Mutex<BTreeMap<u64, Arc<Snapshot>>>,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::File { action, path, source }
}

impl SnapshotStore {
    /// An empty store in `folder`; what lies there from before goes.
    ///
    /// # Errors
    /// When the folder cannot be emptied.
    pub fn open(folder: &Path) -> Result<Self, SnapshotError> {
        match std::fs::remove_dir_all(folder) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("remove", folder)(source));
            }
            _ => {}
        }
        Ok(Self { folder: folder.to_owned(), snapshots: Mutex::default() })
    }

    /// Heights of what is there, ascending.
    pub fn heights(&self) -> Vec<u64> {
        self.snapshots.lock().keys().copied().collect()
    }

    /// Makes a snapshot; the oldest go when there are too many.
    ///
    /// # Errors
    /// When the checkpoint is not that of the header and the sections, or the disk refuses.
    pub fn make(&self, source: SnapshotSource<'_, '_>, now: Instant) -> Result<(), SnapshotError> {
        let height = source.header.height;
        let folder = self.folder.join(height.to_string());
        let unfinished = self.folder.join(format!("{height}.new"));
        let _ = std::fs::remove_dir_all(&unfinished);
        std::fs::create_dir_all(&unfinished).map_err(failed("create", &unfinished))?;
        let made = write_files(source, &unfinished);
        let Ok((state_bytes, offsets)) = made else {
            let _ = std::fs::remove_dir_all(&unfinished);
            return made.map(|_| ());
        };
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::rename(&unfinished, &folder).map_err(failed("name", &folder))?;
        let snapshot = Snapshot { folder, state_bytes, offsets, read_at: Mutex::new(now) };
        let mut snapshots = self.snapshots.lock();
        snapshots.insert(height, Arc::new(snapshot));
        while snapshots.len() > SNAPSHOTS_MAX {
            if let Some((_, oldest)) = snapshots.pop_first() {
                let _ = std::fs::remove_dir_all(&oldest.folder);
            }
        }
        Ok(())
    }

    /// Removes what was not read for a while.
    pub fn sweep(&self, now: Instant) {
        self.snapshots.lock().retain(|_, snapshot| {
            let keep = now.saturating_duration_since(*snapshot.read_at.lock()) < IDLE;
            if !keep {
                let _ = std::fs::remove_dir_all(&snapshot.folder);
            }
            keep
        });
    }

    /// The bytes of an object from `offset` on, at most [`PART_BYTES_MAX`], and the object's length; none when it is not here.
    pub fn read(&self, height: u64, object: Object, offset: u64, now: Instant) -> Option<(u64, Vec<u8>)> {
        let snapshot = self.snapshots.lock().get(&height).cloned()?;
        *snapshot.read_at.lock() = now;
        let (file, start, total) = match object {
            Object::State => ("state", 0, snapshot.state_bytes),
            Object::Chunk(number) => {
                let (start, end) = (snapshot.offsets.get(number as usize)?, snapshot.offsets.get(number as usize + 1)?);
                ("chunks", *start, end - start)
            }
            _ => return None,
        };
        let count = total.checked_sub(offset)?.min(PART_BYTES_MAX as u64);
        let mut bytes = vec![0; count as usize];
        let file = File::open(snapshot.folder.join(file)).ok()?;
        file.read_exact_at(&mut bytes, start + offset).ok()?;
        Some((total, bytes))
    }
}

/// Writes both files; gives the length of the manifest and the offsets of the runs.
fn write_files(source: SnapshotSource<'_, '_>, folder: &Path) -> Result<(u64, Vec<u64>), SnapshotError> {
    let height = source.header.height;
    let refuse = |reason: String| SnapshotError::Checkpoint { height, reason };
    let account_count = source.sections.account_count;
    let path = folder.join("chunks");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(failed("create", &path))?);
    let (mut offsets, mut chunk_roots) = (vec![0u64], Vec::new());
    let mut records: Vec<[u8; RECORD_BYTES]> = Vec::with_capacity(CHUNK_ACCOUNTS as usize);
    let mut bytes = Vec::new();
    let mut page = 0u32;
    let count = chunk_count(account_count);
    for number in 0..count {
        let wanted = super::chunk::accounts_in(account_count, number) as usize;
        while records.len() < wanted {
            let Some(found) = source.checkpoint.page(page)? else {
                return Err(refuse(format!("page {page} is missing")));
            };
            records.extend_from_slice(found.as_chunks().0);
            page += 1;
        }
        let rest = records.split_off(wanted);
        let overflows = overflows_of(&source, number * CHUNK_ACCOUNTS, &records)?;
        bytes.clear();
        encode_chunk(&records, &overflows, &mut bytes);
        let chunk = Chunk::decode(&bytes, wanted as u32).map_err(|error| refuse(error.to_string()))?;
        chunk_roots.push(chunk.root(count == 1));
        file.write_all(&bytes).map_err(failed("write", &path))?;
        offsets.push(offsets.last().map_or(0, |last| last + bytes.len() as u64));
        records.clear();
        records.extend(rest);
    }
    file.flush().map_err(failed("write", &path))?;
    if root_of_chunks(&chunk_roots) != source.sections.accounts_root {
        return Err(refuse("its accounts do not make the root of its block's record".to_owned()));
    }
    let manifest =
        StateManifest { header: source.header, sections: source.sections, meta: source.meta.to_vec(), chunk_roots };
    let (path, bytes) = (folder.join("state"), manifest.encode());
    std::fs::write(&path, &bytes).map_err(failed("write", &path))?;
    Ok((bytes.len() as u64, offsets))
}

/// The overflows of a run of records that begins at account `first`.
fn overflows_of(
    source: &SnapshotSource<'_, '_>,
    first: u32,
    records: &[[u8; RECORD_BYTES]],
) -> Result<Vec<(u32, Vec<u8>)>, SnapshotError> {
    let mut overflows = Vec::new();
    for (position, record) in (0u32..).zip(records) {
        if !HotAccount::from_record(record).1.has_overflow() {
            continue;
        }
        match source.checkpoint.overflow(first + position)? {
            Some(bytes) => overflows.push((position, bytes.to_vec())),
            None => {
                let reason = format!("account {} has no overflow although it says so", first + position);
                return Err(SnapshotError::Checkpoint { height: source.header.height, reason });
            }
        }
    }
    Ok(overflows)
}
