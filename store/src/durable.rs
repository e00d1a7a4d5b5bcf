//! How far other processes may read: a node's committed height and the positions that are durable.
//!
//! The file is a courtesy, not a record: it is written without a sync after every commit and says nothing about what survives
//! a crash. It must never say more than is durable, and a reader must never see half of one statement and half of another:
//!
//! 1. Two slots of [`SLOT_BYTES`], each with a sequence number and a checksum. Statement number n goes to slot n mod 2.
//! 2. A reader takes the slot with the larger number, once it has seen both whole and their numbers consecutive: then no
//!    statement was skipped, and what it reads never goes back. While one slot is being overwritten it looks again; the other
//!    slot is whole all the time, and one statement old.
//! 3. At the start the writer goes on from the larger number, so that a reader that stays open never sees it go back.
//!
//! A machine that lost power may leave anything in the file; the node writes a new statement before it serves, and until
//! then the statement there is at worst one that was true before the crash.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::StoreError;
use crate::bytes::{put_u32, put_u64, u32_at, u64_at};
use crate::log::{LOGS_MAX, Position};

/// File name in the data folder.
const DURABLE_FILE: &str = "durable";
/// Bytes of a slot: fixed part, a position per log, checksum; rounded up to whole cache lines.
const SLOT_BYTES: usize = 128;
/// Where the positions begin.
const POSITIONS_AT: usize = 32;
/// Where the checksum stands.
const CHECKSUM_AT: usize = SLOT_BYTES - 4;
const MAGIC: u32 = u32::from_le_bytes(*b"TDUR");
const VERSION: u32 = 1;
/// How often a reader looks when slots were being written meanwhile; it then takes a whole slot that may be one statement old.
const LOOKS_MAX: usize = 1_000;

const _: () = assert!(POSITIONS_AT + 8 * LOGS_MAX <= CHECKSUM_AT);

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DurableState {
    /// The last committed height.
    pub height: u64,
    /// Per log, in the order of their numbers, the position of the last durable record; the default position (0:0) where a
    /// log is empty. At most [`LOGS_MAX`].
    pub positions: Vec<Position>,
}

/// Publishes statements. One per data folder, under the [`crate::DataLock`].
#[derive(Debug)]
pub struct DurableWriter {
    file: File,
    path: PathBuf,
    sequence: u64,
}

impl DurableWriter {
    /// Opens or creates the file in `directory`.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::NoSpace`].
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(DURABLE_FILE);
        let bytes = (2 * SLOT_BYTES) as u64;
        let failed = |source| StoreError::io("open", &path, source, bytes);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() < bytes {
            file.write_all_at(&[0u8; 2 * SLOT_BYTES], 0).map_err(failed)?;
        }
        let sequence = match read_slots(&file).map_err(failed)? {
            Slots::Newest { sequence, .. } => sequence,
            Slots::Blank => 0,
            Slots::Invalid => {
                file.write_all_at(&[0u8; 2 * SLOT_BYTES], 0).map_err(failed)?;
                0
            }
        };
        Ok(Self { file, path, sequence })
    }

    /// Replaces the statement. Costs one small write into the page cache.
    ///
    /// # Errors
    /// [`StoreError::Setting`] for more than [`LOGS_MAX`] positions, [`StoreError::Io`] when the write fails; readers then
    /// still see the statement before.
    pub fn publish(&mut self, state: &DurableState) -> Result<(), StoreError> {
        if state.positions.len() > LOGS_MAX {
            return Err(StoreError::Setting(format!("at most {LOGS_MAX} positions can be published")));
        }
        let sequence = self.sequence.wrapping_add(1);
        let slot = encode(sequence, state);
        self.file
            .write_all_at(&slot, slot_offset(sequence))
            .map_err(|source| StoreError::io("write", &self.path, source, SLOT_BYTES as u64))?;
        self.sequence = sequence;
        Ok(())
    }
}

/// Reads statements, in any process.
#[derive(Debug)]
pub struct DurableReader {
    file: File,
    path: PathBuf,
}

impl DurableReader {
    /// Opens the file in `directory`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when no node has run in this folder yet.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(DURABLE_FILE);
        match File::open(&path) {
            Ok(file) => Ok(Self { file, path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::Missing {
                path,
                what: "no node has published a position in this data folder".to_string(),
                remedy: "check the data folder, or start the node first",
            }),
            Err(source) => Err(StoreError::io("open", &path, source, 0)),
        }
    }

    /// The newest statement; `None` when none was made yet.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Damaged`] when the file holds something, but no statement.
    pub fn read(&self) -> Result<Option<DurableState>, StoreError> {
        let mut best = None;
        for _ in 0..LOOKS_MAX {
            match read_slots(&self.file).map_err(|source| StoreError::io("read", &self.path, source, 0))? {
                Slots::Blank => return Ok(None),
                Slots::Newest { state, exact: true, .. } => return Ok(Some(state)),
                Slots::Newest { sequence, state, exact: false } => {
                    if best.as_ref().is_none_or(|(newest, _)| *newest < sequence) {
                        best = Some((sequence, state));
                    }
                }
                Slots::Invalid => {}
            }
            std::thread::yield_now();
        }
        if let Some((_, state)) = best {
            return Ok(Some(state));
        }
        let what = "neither slot holds a valid statement".to_string();
        let remedy = "start the node: it writes a new statement";
        Err(StoreError::Damaged { path: self.path.clone(), offset: 0, what, remedy })
    }
}

/// Where statement number `sequence` goes.
fn slot_offset(sequence: u64) -> u64 {
    (sequence % 2) * SLOT_BYTES as u64
}

/// The bytes of one statement.
fn encode(sequence: u64, state: &DurableState) -> [u8; SLOT_BYTES] {
    let mut slot = [0u8; SLOT_BYTES];
    put_u32(&mut slot, 0, MAGIC);
    put_u32(&mut slot, 4, VERSION);
    put_u64(&mut slot, 8, sequence);
    put_u64(&mut slot, 16, state.height);
    put_u32(&mut slot, 24, state.positions.len() as u32);
    for (index, position) in state.positions.iter().enumerate() {
        put_u64(&mut slot, POSITIONS_AT + 8 * index, position.to_u64());
    }
    let checksum = crc32c::crc32c(&slot[..CHECKSUM_AT]);
    put_u32(&mut slot, CHECKSUM_AT, checksum);
    slot
}

/// One statement and its number, when the bytes hold one.
fn decode(slot: &[u8]) -> Option<(u64, DurableState)> {
    if slot.len() != SLOT_BYTES
        || u32_at(slot, 0) != MAGIC
        || u32_at(slot, 4) != VERSION
        || crc32c::crc32c(&slot[..CHECKSUM_AT]) != u32_at(slot, CHECKSUM_AT)
    {
        return None;
    }
    let count = u32_at(slot, 24) as usize;
    if count > LOGS_MAX {
        return None;
    }
    let positions = (0..count).map(|index| Position::from_u64(u64_at(slot, POSITIONS_AT + 8 * index))).collect();
    Some((u64_at(slot, 8), DurableState { height: u64_at(slot, 16), positions }))
}

/// What both slots say.
enum Slots {
    /// Nothing was ever written.
    Blank,
    /// The valid statement with the larger number; exact when it cannot have been replaced before the reading began.
    Newest { sequence: u64, state: DurableState, exact: bool },
    /// Bytes, but no statement.
    Invalid,
}

/// Reads both slots.
fn read_slots(file: &File) -> io::Result<Slots> {
    let mut bytes = [0u8; 2 * SLOT_BYTES];
    let length = crate::log::read_full(file, &mut bytes, 0)?;
    if bytes[..length].iter().all(|byte| *byte == 0) {
        return Ok(Slots::Blank);
    }
    let (first, second) = bytes.split_at(SLOT_BYTES);
    Ok(match (decode(first), decode(second)) {
        (None, None) => Slots::Invalid,
        (Some((sequence, state)), None) | (None, Some((sequence, state))) => {
            // The very first statement stands beside a slot that was never written.
            Slots::Newest { sequence, state, exact: sequence == 1 && first.iter().all(|byte| *byte == 0) }
        }
        (Some(first), Some(second)) => {
            let exact = first.0.abs_diff(second.0) == 1;
            let (sequence, state) = if first.0 > second.0 { first } else { second };
            Slots::Newest { sequence, state, exact }
        }
    })
}
