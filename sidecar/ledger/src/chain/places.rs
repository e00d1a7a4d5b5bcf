//! Where the record of each height lies in a log, without keeping every place in memory.
//!
//! The open segment's places come from following the log, 4 bytes each. A height in another segment is found by the first heights of segments
//! (read once each, by halving), and then by that segment's places, which are made by reading it once and kept for the segments used last.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use tana_engine::pipeline::{BLOCK_LOG, LOG_NAMES};
use tana_store::log::LogIterator;
use tana_store::{LogReader, OwnedRecord, Position, StoreError};

use super::ChainError;

/// Segments whose places are kept: at 256 MiB a segment and 4 KiB a record at the least, 256 KiB each.
const RUNS_MAX: usize = 64;

/// Consecutive heights in one segment.
struct Run {
    segment: u32,
    first_height: u64,
    /// Where each record begins in the segment.
    offsets: Vec<u32>,
}

impl Run {
    fn find(&self, height: u64) -> Option<Position> {
        let place = usize::try_from(height.checked_sub(self.first_height)?).ok()?;
        Some(Position { segment: self.segment, offset: *self.offsets.get(place)? })
    }
}

struct Known {
    /// The end of the log, as far as it was followed; none before the first record.
    tail: Option<Run>,
    /// First heights of segments that were looked at.
    firsts: BTreeMap<u32, u64>,
    /// Other segments' places, used last at the back.
    runs: VecDeque<Arc<Run>>,
    /// The last record that may be read, with its height.
    last: Option<(u64, Position)>,
}

/// See the module's text.
pub(crate) struct LogPlaces {
    logs: PathBuf,
    log: usize,
    known: RwLock<Known>,
}

/// The height in a record of the block log or the order log, whose layouts begin with (a length and) a version and the height.
fn height_of(log: usize, payload: &[u8]) -> Result<u64, ChainError> {
    let at = if log == BLOCK_LOG { 2 } else { 6 };
    let bytes = payload.get(at..).and_then(|rest| rest.first_chunk::<8>());
    bytes.map(|bytes| u64::from_le_bytes(*bytes)).ok_or_else(|| ChainError::Read("a record is too short".to_owned()))
}

impl LogPlaces {
    /// Of the log number `log` in `logs`, which is followed from `start` on: the last record before, with its height.
    pub(crate) fn new(logs: &Path, log: usize, start: Option<(u64, Position)>) -> Self {
        let known = Known { tail: None, firsts: BTreeMap::new(), runs: VecDeque::new(), last: start };
        Self { logs: logs.to_owned(), log, known: RwLock::new(known) }
    }

    /// The next record was read.
    pub(crate) fn push(&self, height: u64, position: Position) {
        let mut known = self.known.write();
        known.last = Some((height, position));
        match &mut known.tail {
            Some(run) if run.segment == position.segment => run.offsets.push(position.offset),
            _ => {
                known.tail =
                    Some(Run { segment: position.segment, first_height: height, offsets: vec![position.offset] });
            }
        }
    }

    /// The last height that may be read, and where it lies.
    pub(crate) fn last(&self) -> Option<(u64, Position)> {
        self.known.read().last
    }

    fn reader(&self) -> Result<LogReader, ChainError> {
        LogReader::open(&self.logs, LOG_NAMES[self.log]).map_err(ChainError::read)
    }

    /// The first segment that is kept.
    pub(crate) fn first_segment(&self) -> Result<u32, ChainError> {
        self.reader()?.first_position().map(|position| position.segment).map_err(ChainError::read)
    }

    /// The first height that is kept; none when no record may be read.
    pub(crate) fn oldest(&self) -> Result<Option<u64>, ChainError> {
        if self.last().is_none() {
            return Ok(None);
        }
        self.first_height(self.first_segment()?)
    }

    /// The height of a segment's first record, when that may be read; none also for a segment that does not exist (any more).
    pub(crate) fn first_height(&self, segment: u32) -> Result<Option<u64>, ChainError> {
        let Some((_, last)) = self.last().filter(|(_, last)| segment <= last.segment) else { return Ok(None) };
        if let Some(height) = self.known.read().firsts.get(&segment) {
            return Ok(Some(*height));
        }
        let mut records = match self.reader()?.iter_from(Position::segment_start(segment)) {
            Err(StoreError::Missing { .. }) => return Ok(None),
            other => other.map_err(ChainError::read)?,
        };
        records.set_limit(Some(last));
        let Some(record) = records.next_record().map_err(ChainError::read)? else { return Ok(None) };
        if record.position.segment != segment {
            return Ok(None);
        }
        let height = height_of(self.log, record.payload)?;
        self.known.write().firsts.insert(segment, height);
        Ok(Some(height))
    }

    /// Where the record of `height` lies; none above the last one and below the oldest one.
    pub(crate) fn find(&self, height: u64) -> Result<Option<Position>, ChainError> {
        let (last_height, last) = match self.last() {
            Some(last) if height <= last.0 => last,
            _ => return Ok(None),
        };
        if height == last_height {
            return Ok(Some(last));
        }
        if let Some(position) = self.find_known(height) {
            return Ok(Some(position));
        }
        let low = self.segment_of(height, last.segment)?;
        if self.first_height(low)?.is_none_or(|first| first > height) {
            return Ok(None);
        }
        let run = Arc::new(self.read_run(low)?);
        let found = run.find(height);
        let mut known = self.known.write();
        known.runs.retain(|other| other.segment != low);
        known.runs.push_back(run);
        if known.runs.len() > RUNS_MAX {
            known.runs.pop_front();
        }
        Ok(found)
    }

    /// The last segment up to `last` that begins at or below `height`; the first one that is kept where none does.
    pub(crate) fn segment_of(&self, height: u64, last: u32) -> Result<u32, ChainError> {
        let (mut low, mut high) = (self.first_segment()?, last);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.first_height(middle)?.is_some_and(|first| first <= height) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }

    /// The records from `height` on, up to the last one that may be read; none where [`LogPlaces::find`] finds none.
    pub(crate) fn iter_from(&self, height: u64) -> Result<Option<LogIterator>, ChainError> {
        let Some(position) = self.find(height)? else { return Ok(None) };
        let mut records = match self.reader()?.iter_from(position) {
            Err(StoreError::Missing { .. }) => return Ok(None),
            other => other.map_err(ChainError::read)?,
        };
        records.set_limit(self.last().map(|(_, position)| position));
        Ok(Some(records))
    }

    fn find_known(&self, height: u64) -> Option<Position> {
        let known = self.known.read();
        let tail = known.tail.as_ref().and_then(|run| run.find(height));
        tail.or_else(|| known.runs.iter().rev().find_map(|run| run.find(height)))
    }

    /// Reads a whole segment for its places.
    fn read_run(&self, segment: u32) -> Result<Run, ChainError> {
        let mut records = self.reader()?.iter_from(Position::segment_start(segment)).map_err(ChainError::read)?;
        records.set_limit(self.last().map(|(_, position)| position));
        let mut run = Run { segment, first_height: 0, offsets: Vec::new() };
        while let Some(record) = records.next_record().map_err(ChainError::read)? {
            if record.position.segment != segment {
                break;
            }
            let height = height_of(self.log, record.payload)?;
            if run.offsets.is_empty() {
                run.first_height = height;
            }
            if height != run.first_height + run.offsets.len() as u64 {
                return Err(ChainError::Read(format!("block {height} does not follow the one before it in the log")));
            }
            run.offsets.push(record.position.offset);
        }
        Ok(run)
    }

    /// The record of `height`; none where [`LogPlaces::find`] finds none, or when it was pruned meanwhile.
    pub(crate) fn read(&self, height: u64) -> Result<Option<OwnedRecord>, ChainError> {
        let Some(position) = self.find(height)? else { return Ok(None) };
        match self.reader()?.read_at(position) {
            Ok(record) if height_of(self.log, &record.payload)? == height => Ok(Some(record)),
            Ok(_) => Err(ChainError::Read(format!("another block stands where block {height} should be"))),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(ChainError::read(error)),
        }
    }
}
