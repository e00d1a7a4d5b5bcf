//! Reading a log, in the writer's process or another one, while it grows or after it stopped.
//!
//! Only positional reads, never a mapping: a file that shrinks under a mapping kills the process. A reader at the end finds no
//! valid record and cannot know by itself whether that is the end, a write under way or damage. So:
//!
//! - With a limit (the position of the last record that the node published as durable) everything up to it must be valid, and
//!   nothing behind it is looked at. This is how another process follows a node.
//! - Without a limit, no valid record means the end, unless a later group stands whole behind it, which is damage.
//!
//! Since the writer goes on meanwhile, a verdict of damage is given only when looking again finds the same.

use std::path::{Path, PathBuf};

use super::Position;
use super::config::check_name;
use super::format::{BLOCK_BYTES, RECORD_HEADER_BYTES, RecordHeader};
use super::recover::dirty_gap;
use super::scan::{Cursor, Expect, Step, find_later_group, record_at, step};
use super::segment::{Segment, list_segments, log_folder, segment_path};
use super::window::Window;
use crate::StoreError;
use crate::error::RESTORE;

/// Segment files that [`LogReader::read_at`] keeps open.
const OPEN_SEGMENTS_MAX: usize = 16;
/// How often a reader looks again before it calls something damage: the writer may have been in between.
const LOOKS_MAX: u32 = 3;

/// A record, its payload borrowed from the iterator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it stands.
    pub position: Position,
    /// Its number in the log, from 0.
    pub number: u64,
    /// The writer's tag.
    pub kind: u8,
    /// What was written.
    pub payload: &'a [u8],
}

/// A record that owns its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    /// Where it stands.
    pub position: Position,
    /// Its number in the log, from 0.
    pub number: u64,
    /// The writer's tag.
    pub kind: u8,
    /// What was written.
    pub payload: Vec<u8>,
}

/// Access to one log's records.
#[derive(Debug)]
pub struct LogReader {
    folder: PathBuf,
    name: String,
    /// Most recently used last.
    open: Vec<Segment>,
    window: Window,
}

impl LogReader {
    /// A reader of the log `name` under `directory`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such log.
    pub fn open(directory: &Path, name: &str) -> Result<Self, StoreError> {
        check_name(name)?;
        let folder = log_folder(directory, name);
        if !folder.is_dir() {
            return Err(StoreError::Missing {
                path: folder,
                what: format!("there is no log {name} in this data folder"),
                remedy: "check the data folder; a node that has run once has made it",
            });
        }
        Ok(Self { folder, name: name.to_string(), open: Vec::new(), window: Window::new() })
    }

    /// Start of the oldest segment that still exists.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when the log has no segment at all.
    pub fn first_position(&self) -> Result<Position, StoreError> {
        match list_segments(&self.folder)?.first() {
            Some(segment) => Ok(Position { segment: *segment, offset: BLOCK_BYTES as u32 }),
            None => Err(StoreError::Missing {
                path: segment_path(&self.folder, 1),
                what: format!("the log {} has no segment", self.name),
                remedy: RESTORE,
            }),
        }
    }

    /// An iterator from the oldest record on.
    ///
    /// # Errors
    /// As [`LogReader::iter_from`].
    pub fn iter(&self) -> Result<LogIterator, StoreError> {
        self.iter_from(self.first_position()?)
    }

    /// An iterator whose first record is the one at `position`: the position of a record, the start of a segment, or the end
    /// that an open has reported.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when the segment does not exist (any more), [`StoreError::Damaged`] when it is none.
    pub fn iter_from(&self, position: Position) -> Result<LogIterator, StoreError> {
        let segment = Segment::open(&self.folder, &self.name, position.segment)?;
        let cursor = Cursor { offset: u64::from(position.offset), expect: None };
        Ok(LogIterator {
            folder: self.folder.clone(),
            name: self.name.clone(),
            segment,
            cursor,
            window: Window::new(),
            limit: None,
        })
    }

    /// An iterator whose first record is the one after the record at `position`.
    ///
    /// # Errors
    /// As [`LogReader::iter_from`], and [`StoreError::Damaged`] when no record stands at `position`.
    pub fn iter_after(&self, position: Position) -> Result<LogIterator, StoreError> {
        let mut iterator = self.iter_from(position)?;
        if iterator.next_record()?.is_none() {
            return Err(no_record(&segment_path(&self.folder, position.segment), position));
        }
        Ok(iterator)
    }

    /// The record at `position`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when the segment does not exist (any more), [`StoreError::Damaged`] when no valid record
    /// stands there.
    pub fn read_at(&mut self, position: Position) -> Result<OwnedRecord, StoreError> {
        let index = match self.open.iter().position(|segment| segment.header.segment == position.segment) {
            Some(index) => index,
            None => {
                if self.open.len() >= OPEN_SEGMENTS_MAX {
                    self.open.remove(0);
                }
                self.open.push(Segment::open(&self.folder, &self.name, position.segment)?);
                self.open.len() - 1
            }
        };
        self.open[index..].rotate_left(1);
        let last = self.open.len() - 1;
        let segment = &self.open[last];
        self.window.forget();
        let offset = u64::from(position.offset);
        match record_at(segment, &mut self.window, offset)? {
            Some(header) if !header.is_marker() => {
                let payload = payload(segment, &mut self.window, offset, &header)?.to_vec();
                Ok(OwnedRecord { position, number: header.number, kind: header.kind, payload })
            }
            _ => Err(no_record(&segment.path, position)),
        }
    }
}

/// The error for a position at which no record stands.
fn no_record(path: &Path, position: Position) -> StoreError {
    StoreError::damaged(path, u64::from(position.offset), "no valid record stands at this position")
}

/// The payload of the record at `offset`, which was just found valid and is still in the window.
fn payload<'a>(
    segment: &Segment,
    window: &'a mut Window,
    offset: u64,
    header: &RecordHeader,
) -> Result<&'a [u8], StoreError> {
    window
        .read(&segment.file, offset + RECORD_HEADER_BYTES as u64, header.length as usize)
        .map_err(|source| StoreError::io("read", &segment.path, source, 0))
}

/// Reads records one after the other. At the end it answers `None`, and may be asked again later.
#[derive(Debug)]
pub struct LogIterator {
    folder: PathBuf,
    name: String,
    segment: Segment,
    cursor: Cursor,
    window: Window,
    limit: Option<Position>,
}

/// What the iterator found at its cursor.
enum Look {
    Record(u64, RecordHeader),
    End,
    NextSegment(Expect),
}

impl LogIterator {
    /// From now on records up to and including the one at `limit` are read, and must be valid. `None`: up to whatever is the
    /// end.
    pub fn set_limit(&mut self, limit: Option<Position>) {
        self.limit = limit;
    }

    /// Forgets bytes that were read ahead. Whoever follows a writer that may crash and start again does this before each turn: what was read
    /// beyond the limit may have been cut off since, and other records may stand there.
    pub fn refresh(&mut self) {
        self.window.forget();
    }

    /// Where the next record will stand if it goes into the same segment.
    pub fn position(&self) -> Position {
        self.segment.position(self.cursor.candidate())
    }

    /// The next record; `None` at the end or past the limit. Whoever follows a live log sets a limit: without one, each answer
    /// of `None` costs a look at the whole rest of the segment, in search of damage.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a record is not valid although it must be, [`StoreError::Missing`] when the next segment
    /// is gone, [`StoreError::Io`].
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, StoreError> {
        loop {
            let past = |limit: Position| self.segment.position(self.cursor.candidate()) > limit;
            if self.limit.is_some_and(past) {
                return Ok(None);
            }
            match self.look_patiently()? {
                Look::End => return Ok(None),
                Look::NextSegment(expect) => {
                    self.segment = Segment::open(&self.folder, &self.name, self.segment.header.segment + 1)?;
                    self.cursor = Cursor::start(Some(expect));
                    self.window.forget();
                }
                Look::Record(_, header) if header.is_marker() => {}
                Look::Record(offset, header) => {
                    let position = self.segment.position(offset);
                    let payload = payload(&self.segment, &mut self.window, offset, &header)?;
                    return Ok(Some(Record { position, number: header.number, kind: header.kind, payload }));
                }
            }
        }
    }

    /// Looks once, and again when it seems to be damage: with fresh bytes the verdict may differ.
    fn look_patiently(&mut self) -> Result<Look, StoreError> {
        let mut looks = 1;
        loop {
            match self.look() {
                Err(StoreError::Damaged { .. }) if looks < LOOKS_MAX => {
                    looks += 1;
                    self.window.forget();
                }
                other => return other,
            }
        }
    }

    /// What stands at the cursor; moves it behind a record.
    fn look(&mut self) -> Result<Look, StoreError> {
        let before = self.cursor;
        match step(&self.segment, &mut self.window, &mut self.cursor)? {
            Step::Record { offset, header } => return Ok(Look::Record(offset, header)),
            Step::DirtyGap { offset } => return Err(dirty_gap(&self.segment, offset)),
            Step::Nothing => {}
        }
        // What the window holds may be older than the file.
        self.window.forget();
        match step(&self.segment, &mut self.window, &mut self.cursor)? {
            Step::Record { offset, header } => return Ok(Look::Record(offset, header)),
            Step::DirtyGap { offset } => return Err(dirty_gap(&self.segment, offset)),
            Step::Nothing => {}
        }
        self.no_record_here(before)
    }

    /// No valid record at the cursor: the end of the segment, the end of the log, or damage.
    fn no_record_here(&mut self, cursor: Cursor) -> Result<Look, StoreError> {
        let offset = cursor.candidate();
        let path = self.segment.path.clone();
        let damaged = |what: &str| Err(StoreError::damaged(&path, offset, what));
        if let Some(seal) = self.segment.seal()? {
            let end = Expect { number: seal.next_number, group: seal.next_group, group_index: 0 };
            if offset == u64::from(seal.end_offset) && cursor.expect.is_none_or(|expect| expect == end) {
                return Ok(Look::NextSegment(end));
            }
            return damaged("no valid record stands there, and it is not where the segment's seal says that it ends");
        }
        if self.limit.is_some() {
            return damaged("no valid record stands there, although the node has published it as durable");
        }
        let group = match cursor.expect {
            Some(expect) => expect.group,
            None if self.is_blank(offset)? => return Ok(Look::End),
            // A first commit that was torn, not repaired yet: nothing valid may stand behind it.
            None if offset == BLOCK_BYTES as u64 => 0,
            None => return damaged("no valid record stands at this position"),
        };
        match find_later_group(&self.segment, &mut self.window, offset, group)? {
            None => Ok(Look::End),
            Some(later) => {
                let what = format!("no valid record stands there, but a later group stands whole at offset {later}");
                Err(StoreError::damaged(&self.segment.path, offset, what))
            }
        }
    }

    /// Whether the bytes of a header at `offset` are all zero, or beyond the file's end.
    fn is_blank(&mut self, offset: u64) -> Result<bool, StoreError> {
        let bytes = self
            .window
            .read(&self.segment.file, offset, RECORD_HEADER_BYTES)
            .map_err(|source| StoreError::io("read", &self.segment.path, source, 0))?;
        Ok(bytes.iter().all(|byte| *byte == 0))
    }
}
