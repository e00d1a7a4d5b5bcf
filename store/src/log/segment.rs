//! Segment files as files: names, creation ahead of need, opening, listing, removal.
//!
//! A segment comes into being whole: zeros are written to a temporary name, then the header block, then all of it is
//! synced, renamed, and the folder synced. A file under its final name therefore always has its full size, and a later
//! write into it changes no metadata, which is what makes a synced append cheap.
//!
//! The file `first` in a log's folder holds the number of the oldest segment that must exist. Pruning moves it before it
//! removes anything, so a segment that vanished otherwise is noticed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Position;
use super::config::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use super::format::{BLOCK_BYTES, RECORD_HEADER_BYTES, RecordHeader, Seal, SegmentHeader};
use super::staging::AlignedBuffer;
use crate::StoreError;
use crate::error::RESTORE;

/// Extension of a segment file.
const SEGMENT_EXTENSION: &str = "seg";
/// Extension of a file that is not finished; removed at the next open.
const UNFINISHED_EXTENSION: &str = "new";
/// Name of the file that holds the oldest segment's number.
const FIRST_FILE: &str = "first";
/// Zeros are written in chunks of this: large enough for full disk speed, small enough to stop soon.
const ZERO_CHUNK_BYTES: usize = 1 << 20;

/// How a file is opened for writing so that a finished write is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// `O_DIRECT | O_DSYNC`: past the page cache, durable when the write returns.
    Direct,
    /// The file system refuses `O_DIRECT`: written through the page cache, then `fdatasync`.
    Synced,
}

impl Durability {
    /// Opens an existing file for writing.
    pub fn open(self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        if self == Self::Direct {
            let flags = rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::DSYNC;
            options.custom_flags(flags.bits() as i32);
        }
        options.open(path)
    }
}

/// The folder of one log.
pub(super) fn log_folder(directory: &Path, name: &str) -> PathBuf {
    directory.join(name)
}

/// Path of a segment in a log's folder.
pub(super) fn segment_path(folder: &Path, segment: u32) -> PathBuf {
    folder.join(format!("{segment:08}.{SEGMENT_EXTENSION}"))
}

/// Syncs a folder, so that names in it survive a crash.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|source| StoreError::io("sync", folder, source, 0))
}

/// Numbers of the segments in `folder`, ascending. Files with other names are not looked at.
pub(super) fn list_segments(folder: &Path) -> Result<Vec<u32>, StoreError> {
    let failed = |source| StoreError::io("list", folder, source, 0);
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == SEGMENT_EXTENSION)
            && let Some(number) = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok())
            && segment_path(folder, number) == path
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes what an interrupted creation left.
pub(super) fn remove_unfinished(folder: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::io("list", folder, source, 0);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == UNFINISHED_EXTENSION) {
            std::fs::remove_file(&path).map_err(|source| StoreError::io("remove", &path, source, 0))?;
        }
    }
    Ok(())
}

/// Writes a segment ahead; returns `false`, with nothing left behind, when `stop` was raised meanwhile.
pub(super) fn create_segment(folder: &Path, header: &SegmentHeader, stop: &AtomicBool) -> Result<bool, StoreError> {
    let path = segment_path(folder, header.segment);
    let unfinished = path.with_extension(UNFINISHED_EXTENSION);
    let result = write_ahead(&unfinished, header, stop);
    if !matches!(result, Ok(true)) {
        // Already failing or stopping: the next open removes it too.
        let _ = std::fs::remove_file(&unfinished);
        return result;
    }
    std::fs::rename(&unfinished, &path).map_err(|source| StoreError::io("name", &path, source, 0))?;
    sync_folder(folder)?;
    Ok(true)
}

/// Zeros, then the header block, then a sync. Direct where possible: hundreds of MiB through the page cache would be
/// flushed at once and hold up the log's own writes.
fn write_ahead(path: &Path, header: &SegmentHeader, stop: &AtomicBool) -> Result<bool, StoreError> {
    let bytes = header.segment_bytes;
    let create = |direct: bool| {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        if direct {
            options.custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32);
        }
        options.open(path)
    };
    let mut file =
        create(true).or_else(|_| create(false)).map_err(|source| StoreError::io("create", path, source, bytes))?;
    let mut chunk = AlignedBuffer::zeroed(ZERO_CHUNK_BYTES.min(bytes as usize));
    let mut done = 0u64;
    while done < bytes {
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let length = (bytes - done).min(chunk.bytes().len() as u64) as usize;
        match file.write_all_at(&chunk.bytes()[..length], done) {
            Ok(()) => done += length as u64,
            Err(error) if done == 0 && error.kind() == io::ErrorKind::InvalidInput => {
                file = create(false).map_err(|source| StoreError::io("create", path, source, bytes))?;
                file.write_all_at(&chunk.bytes()[..length], 0)
                    .map_err(|source| StoreError::io("write ahead", path, source, bytes))?;
                done = length as u64;
            }
            Err(source) => return Err(StoreError::io("write ahead", path, source, bytes - done)),
        }
    }
    header.encode(chunk.bytes_mut());
    file.write_all_at(&chunk.bytes()[..BLOCK_BYTES], 0)
        .and_then(|()| file.sync_all())
        .map_err(|source| StoreError::io("finish", path, source, BLOCK_BYTES as u64))?;
    Ok(true)
}

/// A segment opened for reading.
#[derive(Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    pub file: File,
    pub header: SegmentHeader,
    pub seed: u32,
    /// Bytes that the file has now; less than the header says when something cut it.
    pub file_bytes: u64,
}

impl Segment {
    /// Opens segment `number` of the log `name` and checks its header block.
    pub fn open(folder: &Path, name: &str, number: u32) -> Result<Self, StoreError> {
        let path = segment_path(folder, number);
        let file = File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::Missing {
                path: path.clone(),
                what: format!("the log {name} needs its segment {number}"),
                remedy: RESTORE,
            },
            _ => StoreError::io("open", &path, source, 0),
        })?;
        let mut block = [0u8; BLOCK_BYTES];
        let file_bytes = file.metadata().map_err(|source| StoreError::io("measure", &path, source, 0))?.len();
        let length = read_full(&file, &mut block, 0).map_err(|source| StoreError::io("read", &path, source, 0))?;
        let header = SegmentHeader::decode(&block[..length]).map_err(|what| StoreError::damaged(&path, 0, what))?;
        if header.segment != number || header.name != name {
            let what = format!("it is segment {} of the log {:?}", header.segment, header.name);
            return Err(StoreError::damaged(&path, 0, what));
        }
        let bytes = header.segment_bytes;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) || !bytes.is_multiple_of(BLOCK_BYTES as u64) {
            return Err(StoreError::damaged(&path, 0, format!("its header says {bytes} bytes")));
        }
        let seed = header.seed();
        Ok(Self { path, file, header, seed, file_bytes })
    }

    /// Where records end at the latest: the seal block begins there.
    pub fn data_end(&self) -> u64 {
        self.header.segment_bytes - BLOCK_BYTES as u64
    }

    /// The seal, read now; `None` when the segment is not sealed.
    pub fn seal(&self) -> Result<Option<Seal>, StoreError> {
        let mut block = [0u8; BLOCK_BYTES];
        let length = read_full(&self.file, &mut block, self.data_end())
            .map_err(|source| StoreError::io("read", &self.path, source, 0))?;
        Ok(Seal::decode(&block[..length], self.seed).filter(|seal| seal.segment == self.header.segment))
    }

    /// The position of `offset`; offsets inside a segment fit 32 bits because its size does.
    pub fn position(&self, offset: u64) -> Position {
        Position { segment: self.header.segment, offset: offset as u32 }
    }

    /// Whether a whole record stands at the start of this segment.
    pub fn has_records(&self) -> Result<bool, StoreError> {
        let mut window = super::window::Window::new();
        let failed = |source| StoreError::io("read", &self.path, source, 0);
        let start = BLOCK_BYTES as u64;
        let bytes = window.read(&self.file, start, RECORD_HEADER_BYTES).map_err(failed)?;
        let Some(header) = RecordHeader::decode(bytes) else { return Ok(false) };
        let length = RECORD_HEADER_BYTES + header.length as usize;
        if header.segment != self.header.segment || start + length as u64 > self.data_end() {
            return Ok(false);
        }
        let record = window.read(&self.file, start, length).map_err(failed)?;
        Ok(record.len() == length && RecordHeader::checksum_holds(record, self.seed))
    }
}

/// Reads until `buffer` is full or the file ends; returns the bytes read.
pub(crate) fn read_full(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Number of the oldest segment that must exist: 1 until something was pruned.
pub(super) fn read_first(folder: &Path) -> Result<u32, StoreError> {
    let path = folder.join(FIRST_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => text
            .trim()
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| StoreError::damaged(&path, 0, "it holds no segment number")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(1),
        Err(source) => Err(StoreError::io("read", &path, source, 0)),
    }
}

/// Durably states that segments before `number` are no longer needed.
fn write_first(folder: &Path, number: u32) -> Result<(), StoreError> {
    let path = folder.join(FIRST_FILE);
    let unfinished = path.with_extension(UNFINISHED_EXTENSION);
    let write = || {
        std::fs::write(&unfinished, format!("{number}\n"))?;
        File::open(&unfinished)?.sync_all()?;
        std::fs::rename(&unfinished, &path)
    };
    write().map_err(|source| StoreError::io("write", &path, source, BLOCK_BYTES as u64))?;
    sync_folder(folder)
}

/// Removes the whole segments of the log `name` that lie before `position`; returns how many went. May run beside the
/// log thread and beside readers (a reader that stands in a removed segment finishes it). A segment stays when it is not
/// sealed, or when the next one holds no record yet, so that the numbering never loses its thread.
///
/// # Errors
/// [`StoreError::Io`] when a file cannot be removed; what was removed stays removed.
pub fn remove_segments_before(directory: &Path, name: &str, position: Position) -> Result<u32, StoreError> {
    super::config::check_name(name)?;
    let folder = log_folder(directory, name);
    let segments = list_segments(&folder)?;
    let mut first = None;
    for pair in segments.windows(2) {
        let (number, next) = (pair[0], pair[1]);
        if number >= position.segment
            || Segment::open(&folder, name, number)?.seal()?.is_none()
            || !Segment::open(&folder, name, next)?.has_records()?
        {
            break;
        }
        first = Some(next);
    }
    let Some(first) = first else { return Ok(0) };
    write_first(&folder, first)?;
    remove_segments_below(&folder, &segments, first)
}

/// Removes the files of segments below `first`.
pub(super) fn remove_segments_below(folder: &Path, segments: &[u32], first: u32) -> Result<u32, StoreError> {
    let mut removed = 0;
    for number in segments.iter().filter(|number| **number < first) {
        let path = segment_path(folder, *number);
        std::fs::remove_file(&path).map_err(|source| StoreError::io("remove", &path, source, 0))?;
        removed += 1;
    }
    Ok(removed)
}
