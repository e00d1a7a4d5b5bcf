//! What a sync has fetched becomes a data folder: accounts in two files while they come in any order, then the checkpoint in one transaction.
//!
//! 1. [`Staging`]: checked runs of accounts are written at their place in a file, overflows one behind the other into another.
//! 2. [`Staging::install`]: the voting record of a key that is new here, floor and changes of the validator set are written and synced, then the checkpoint with its meta record is committed.
//!
//! Before the commit the data folder is as good as empty, and the next attempt starts over; behind it the normal start goes on from the checkpoint:
//! it reads the whole state, checks it against the state root, and finds logs that begin behind the snapshot's height.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tana_execute::{PAGE_RECORDS, Validator};
use tana_store::checkpoint::MAP_BYTES_DEFAULT;
use tana_store::{Checkpoint, CheckpointMeta, CheckpointMode, CheckpointWrite, LogReader, Position, StoreError};
use tana_types::account::RECORD_BYTES;
use thiserror::Error;

use super::changes::SetChanges;
use super::chunk::{CHUNK_ACCOUNTS, Chunk, OVERFLOW_BYTES_MAX};
use super::floor::Floor;
use super::manifest::CheckedManifest;
use super::proof::{Proven, SetStep};
use crate::checkpointer::Resume;
use crate::consensus::{create_vote_record, vote_record};
use crate::pipeline::LOG_NAMES;
use crate::replay::DataFolders;

/// Folder of what is being fetched, under the data folder.
const STAGING: &str = "sync.new";

/// Why what was fetched could not be kept.
#[derive(Debug, Error)]
pub enum InstallError {
    /// The checkpoint refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file refused.
    #[error("cannot {action} {path}: {source}; free space, or check the data folder's rights")]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is a chain already.
    #[error("{path} already holds a chain; start the node without a sync, or move the data folder away to join anew")]
    NotEmpty {
        /// What was found.
        path: PathBuf,
    },
    /// The changes of the validator set could not be kept.
    #[error("{0}")]
    Changes(String),
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { action, path, source }
}

/// Where everything about state sync lies under the data folder.
pub fn sync_folder(data: &Path) -> PathBuf {
    data.join("sync")
}

/// The folder of snapshots for others.
pub fn snapshots_folder(data: &Path) -> PathBuf {
    data.join("snapshots")
}

/// The folder of changes of the validator set.
pub fn changes_folder(data: &Path) -> PathBuf {
    sync_folder(data).join("changes")
}

/// Whether a data folder holds no chain yet: no checkpoint and no logs with records.
///
/// # Errors
/// When it holds something that cannot be read.
pub fn is_empty(data: &Path) -> Result<bool, StoreError> {
    let folders = DataFolders::new(data);
    for name in LOG_NAMES {
        if folders.logs.join(name).is_dir() {
            match LogReader::open(&folders.logs, name)?.iter() {
                Ok(mut records) => {
                    if records.next_record()?.is_some() {
                        return Ok(false);
                    }
                }
                Err(StoreError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    match Checkpoint::open(&folders.checkpoint, CheckpointMode::ReadOnly, MAP_BYTES_DEFAULT) {
        Ok(checkpoint) => Ok(checkpoint.meta()?.is_none()),
        Err(StoreError::Missing { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// See the module's text.
pub struct Staging {
    data: PathBuf,
    folder: PathBuf,
    records: File,
    overflows: BufWriter<File>,
}

/// All that an install needs beside the accounts.
pub struct Installation<'a> {
    /// The snapshot.
    pub snapshot: &'a CheckedManifest,
    /// What its proof gave.
    pub proven: &'a Proven,
    /// Where agreement goes on.
    pub floor: &'a Floor,
    /// The changes of the validator set on the way.
    pub steps: &'a [SetStep],
    /// The epoch whose set was trusted at first.
    pub trusted_epoch: u64,
    /// The chain's rules.
    pub genesis: &'a tana_types::genesis::Genesis,
    /// The node's own key, whose lane goes on behind its mark.
    pub own_key: [u8; 32],
}

impl Staging {
    /// Starts anew: what an interrupted sync left goes.
    ///
    /// # Errors
    /// When the data folder holds a chain, or cannot be written.
    pub fn begin(data: &Path) -> Result<Self, InstallError> {
        if !is_empty(data)? {
            return Err(InstallError::NotEmpty { path: data.to_owned() });
        }
        let folder = data.join(STAGING);
        for leftover in [&folder, &sync_folder(data)] {
            match std::fs::remove_dir_all(leftover) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed("remove", leftover)(source));
                }
                _ => {}
            }
        }
        std::fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        let create = |name: &str| {
            let path = folder.join(name);
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(true).open(&path).map_err(failed("create", &path))
        };
        let (records, overflows) = (create("records")?, BufWriter::new(create("overflows")?));
        Ok(Self { data: data.to_owned(), folder, records, overflows })
    }

    /// Keeps a checked run.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn put(&mut self, number: u32, chunk: &Chunk<'_>) -> Result<(), InstallError> {
        let first = u64::from(number) * u64::from(CHUNK_ACCOUNTS);
        let bytes = chunk.records.as_flattened();
        self.records
            .write_all_at(bytes, first * RECORD_BYTES as u64)
            .map_err(failed("write", &self.folder.join("records")))?;
        for (position, bytes) in &chunk.overflows {
            let index = number * CHUNK_ACCOUNTS + position;
            let parts = [&index.to_le_bytes()[..], &(bytes.len() as u32).to_le_bytes(), bytes];
            for part in parts {
                self.overflows.write_all(part).map_err(failed("write", &self.folder.join("overflows")))?;
            }
        }
        Ok(())
    }

    /// Makes the data folder a node's whose last committed height is the snapshot's.
    ///
    /// # Errors
    /// When the disk refuses something; the data folder is then still as good as empty.
    pub fn install(mut self, what: &Installation<'_>) -> Result<(), InstallError> {
        let floor_path = Floor::path(&self.data);
        what.floor.save(&self.data).map_err(failed("write", &floor_path))?;
        let changes = SetChanges::new(&changes_folder(&self.data), what.genesis);
        changes.begin_at(what.trusted_epoch).map_err(InstallError::Changes)?;
        for step in what.steps {
            changes.keep(step).map_err(InstallError::Changes)?;
        }
        self.create_vote_record(what)?;
        self.overflows.flush().map_err(failed("write", &self.folder.join("overflows")))?;
        let folder = DataFolders::new(&self.data).checkpoint;
        let checkpoint = Checkpoint::open(&folder, CheckpointMode::ReadWrite, MAP_BYTES_DEFAULT)?;
        let mut write = checkpoint.begin()?;
        write.clear()?;
        self.write_pages(&mut write, what.snapshot.account_count())?;
        self.write_overflows(&mut write)?;
        write.commit(&CheckpointMeta {
            height: what.snapshot.height(),
            positions: vec![Position::default(); LOG_NAMES.len()],
            state_root: what.snapshot.state_root,
            blob: resume_of(what).to_blob(&what.snapshot.manifest.meta),
        })?;
        // The chain is there; what is left over disturbs nobody.
        let _ = std::fs::remove_dir_all(&self.folder);
        Ok(())
    }

    /// A key that no set up to the snapshot's end and two epochs on holds is new here, and may vote when its epoch begins. One that is in a set
    /// already may have voted from a folder that is lost, so for that one nothing is written.
    fn create_vote_record(&self, what: &Installation<'_>) -> Result<(), InstallError> {
        let is_member = |set: &Vec<Validator>| set.iter().any(|member| member.key.0 == what.own_key);
        if what.snapshot.sets.iter().any(is_member) || vote_record(&self.data).symlink_metadata().is_ok() {
            return Ok(());
        }
        create_vote_record(&self.data).map_err(failed("write", &vote_record(&self.data)))
    }

    fn write_pages(&self, write: &mut CheckpointWrite<'_>, account_count: u32) -> Result<(), InstallError> {
        let page_bytes = PAGE_RECORDS as usize * RECORD_BYTES;
        let mut bytes = vec![0; page_bytes];
        for page in 0..account_count.div_ceil(PAGE_RECORDS) {
            let records = (account_count - page * PAGE_RECORDS).min(PAGE_RECORDS) as usize;
            let bytes = &mut bytes[..records * RECORD_BYTES];
            self.records
                .read_exact_at(bytes, u64::from(page) * page_bytes as u64)
                .map_err(failed("read", &self.folder.join("records")))?;
            write.put_page(page, bytes)?;
        }
        Ok(())
    }

    fn write_overflows(&self, write: &mut CheckpointWrite<'_>) -> Result<(), InstallError> {
        let path = self.folder.join("overflows");
        let file = File::open(&path).map_err(failed("open", &path))?;
        let mut left = file.metadata().map_err(failed("measure", &path))?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut bytes = Vec::new();
        while left > 0 {
            let mut head = [0; 8];
            file.read_exact(&mut head).map_err(failed("read", &path))?;
            let [index, length] =
                [0, 4].map(|at| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
            // This process wrote it, of overflows that were checked.
            bytes.resize((length as usize).min(OVERFLOW_BYTES_MAX), 0);
            file.read_exact(&mut bytes).map_err(failed("read", &path))?;
            write.put_overflow(index, &bytes)?;
            left = left.saturating_sub(8 + u64::from(length));
        }
        Ok(())
    }
}

/// What the start behind the snapshot must know of the chain.
fn resume_of(what: &Installation<'_>) -> Resume {
    let snapshot = what.snapshot;
    let header = &snapshot.manifest.header;
    let own_place = snapshot.sets[0].iter().position(|member| member.key.0 == what.own_key);
    // Sets have at most 256 members.
    let own_mark = own_place.and_then(|place| snapshot.progress.lane_marks.get(&(place as u16))).copied();
    let own_floor = snapshot.progress.lane_floors.get(&what.own_key).map(|floor| floor.mark);
    Resume {
        hash: snapshot.hash,
        timestamp_ms: header.timestamp_ms,
        executed_height: header.executed_height,
        last_sequence: own_mark.max(own_floor).unwrap_or(0),
        applied: snapshot.progress.applied,
        account_count: snapshot.account_count(),
        roots: what.proven.roots.clone(),
    }
}
