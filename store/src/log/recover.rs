//! Opening a log after whatever happened: find the end, cut a torn tail, refuse damage.
//!
//! 1. Leftovers of unfinished creations and of interrupted pruning are removed; the segments must be numbered without a gap,
//!    from the number in the file `first` on.
//! 2. The *tail* is the first segment without a seal. All before it are sealed; their seals must join up (record and group
//!    numbers), and the newest of them, up to `scan_bytes_max`, are read completely. Behind the tail there may be one segment
//!    written ahead; a record in it means that the tail's seal was lost.
//! 3. The tail is read record by record. Where the expected record is not, a later group behind it means damage; otherwise
//!    all bytes from there on are zeroed again and synced, so that no remainder of a torn commit can ever join a later one.
//!    If the cut falls inside a group, a marker record closes that group: each group in a healthy log is closed, which is
//!    what lets the next recovery tell "torn" from "damaged".
//!
//! A crash never shortens a segment, because it had its full size before its name. A tail shorter than its header says was cut
//! by something else; what is still whole is kept, the file is filled up again, and the missing bytes are reported.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::Position;
use super::config::{LogConfig, check_name};
use super::format::{BLOCK_BYTES, FLAG_LAST, FLAG_MARKER, RECORD_HEADER_BYTES, RecordHeader, Seal, SegmentHeader};
use super::scan::{Cursor, Expect, Step, find_later_group, step};
use super::segment::{
    Segment, create_segment, list_segments, log_folder, read_first, read_full, remove_segments_below,
    remove_unfinished, segment_path, sync_folder,
};
use super::window::Window;
use crate::StoreError;
use crate::bytes::align_up;
use crate::error::RESTORE;

/// Chunk in which the rest of the tail is searched for bytes that are not zero.
const SWEEP_BYTES: usize = 1 << 20;

/// What opening a log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFound {
    /// The log's name.
    pub name: String,
    /// Where the oldest record that still exists may stand: the start of the oldest segment.
    pub first: Position,
    /// The last valid record, if the segments that were read hold one.
    pub last: Option<Position>,
    /// Where the next group goes.
    pub end: Position,
    /// Number of the next record: how many records the log has ever held.
    pub next_number: u64,
    /// The torn tail that was cut, if there was one.
    pub cut: Option<Cut>,
}

/// A torn tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Where it began.
    pub position: Position,
    /// Bytes from there to the last one that was not zero.
    pub bytes: u64,
    /// Record headers recognised among them: an estimate from below of the records lost. None was ever acknowledged, unless
    /// the disk itself changed bytes of the last group.
    pub records: u64,
    /// Bytes that the file was shorter than it must be.
    pub missing_bytes: u64,
}

/// A log ready to be continued.
#[derive(Debug)]
pub(super) struct Recovered {
    pub found: LogFound,
    pub folder: PathBuf,
    pub header: SegmentHeader,
    pub offset: u64,
    pub expect: Expect,
    pub first_number: u64,
    pub first_group: u64,
    pub spare_ready: bool,
}

/// Opens the log `name` of `config`, creating it when its folder is empty.
pub(super) fn open_log(config: &LogConfig, name: &str) -> Result<Recovered, StoreError> {
    check_name(name)?;
    let folder = log_folder(&config.directory, name);
    std::fs::create_dir_all(&folder).map_err(|source| StoreError::io("create", &folder, source, 0))?;
    sync_folder(&config.directory)?;
    remove_unfinished(&folder)?;
    let segments = ensure_segments(config, name, &folder)?;
    let (tail_index, seals) = find_tail(name, &folder, &segments)?;
    check_seals(name, &folder, &segments, &seals)?;
    let mut last = None;
    scan_sealed(config, name, &folder, &seals, &mut last)?;
    let start = match seals.last() {
        Some(seal) => Expect { number: seal.next_number, group: seal.next_group, group_index: 0 },
        None => Expect { number: 0, group: 0, group_index: 0 },
    };
    let tail = Segment::open(&folder, name, segments[tail_index])?;
    let TailEnd { cursor, expect, begin, last: tail_last, cut } =
        recover_tail(&tail, start, seals.is_empty() && segments[0] != 1)?;
    let found = LogFound {
        name: name.to_string(),
        first: Position { segment: segments[0], offset: BLOCK_BYTES as u32 },
        last: tail_last.or(last),
        end: tail.position(align_up(cursor.offset, BLOCK_BYTES as u64)),
        next_number: expect.number,
        cut,
    };
    Ok(Recovered {
        offset: u64::from(found.end.offset),
        folder,
        header: tail.header,
        expect,
        first_number: begin.number,
        first_group: begin.group,
        spare_ready: tail_index + 1 < segments.len(),
        found,
    })
}

/// The segment numbers of the log, without a gap; makes the first one of a new log.
fn ensure_segments(config: &LogConfig, name: &str, folder: &Path) -> Result<Vec<u32>, StoreError> {
    let first = read_first(folder)?;
    let mut segments = list_segments(folder)?;
    remove_segments_below(folder, &segments, first)?;
    segments.retain(|number| *number >= first);
    if segments.is_empty() && first == 1 {
        let header = new_header(config, name, 1)?;
        create_segment(folder, &header, &AtomicBool::new(false))?;
        segments.push(1);
    }
    for (index, number) in (first..).take(segments.len().max(1)).enumerate() {
        if segments.get(index) != Some(&number) {
            return Err(StoreError::Missing {
                path: segment_path(folder, number),
                what: format!("the log {name} has no segment {number} although it needs it"),
                remedy: RESTORE,
            });
        }
    }
    Ok(segments)
}

/// The header of a new segment, with a fresh random salt unless the configuration fixes it.
pub(super) fn new_header(config: &LogConfig, name: &str, segment: u32) -> Result<SegmentHeader, StoreError> {
    let salt = match config.salt {
        Some(salt) => salt,
        None => {
            let path = Path::new("/dev/urandom");
            let mut bytes = [0u8; 8];
            File::open(path)
                .and_then(|mut file| file.read_exact(&mut bytes))
                .map_err(|source| StoreError::io("read randomness from", path, source, 0))?;
            u64::from_le_bytes(bytes)
        }
    };
    Ok(SegmentHeader { segment, segment_bytes: config.segment_bytes, salt, name: name.to_string() })
}

/// Index of the tail, and the seals of all segments before it.
fn find_tail(name: &str, folder: &Path, segments: &[u32]) -> Result<(usize, Vec<Seal>), StoreError> {
    let mut seals = Vec::new();
    for (index, number) in segments.iter().enumerate() {
        let segment = Segment::open(folder, name, *number)?;
        match segment.seal()? {
            Some(seal) => seals.push(seal),
            None => {
                for later in &segments[index + 1..] {
                    let later = Segment::open(folder, name, *later)?;
                    if later.has_records()? || later.seal()?.is_some() {
                        let what =
                            format!("segment {} holds records, but this one has lost its seal", later.path.display());
                        return Err(StoreError::damaged(&segment.path, segment.data_end(), what));
                    }
                }
                return Ok((index, seals));
            }
        }
    }
    let last = segments.last().copied().unwrap_or(0);
    Err(StoreError::Missing {
        path: segment_path(folder, last.saturating_add(1)),
        what: format!("segment {last} is sealed, which happens only after the next one was made"),
        remedy: RESTORE,
    })
}

/// Seals must join up, and sealed files have their full size.
fn check_seals(name: &str, folder: &Path, segments: &[u32], seals: &[Seal]) -> Result<(), StoreError> {
    for (index, seal) in seals.iter().enumerate() {
        let segment = Segment::open(folder, name, segments[index])?;
        if segment.file_bytes != segment.header.segment_bytes {
            let what = format!("it has {} bytes instead of {}", segment.file_bytes, segment.header.segment_bytes);
            return Err(StoreError::damaged(&segment.path, segment.file_bytes, what));
        }
        if let Some(next) = seals.get(index + 1)
            && (next.first_number != seal.next_number || next.first_group != seal.next_group)
        {
            let what = format!(
                "its seal ends with record {} and the next segment begins with record {}",
                seal.next_number, next.first_number
            );
            return Err(StoreError::damaged(&segment.path, segment.data_end(), what));
        }
    }
    Ok(())
}

/// Reads the newest sealed segment completely, and older ones until the configured number of bytes is used up.
fn scan_sealed(
    config: &LogConfig,
    name: &str,
    folder: &Path,
    seals: &[Seal],
    last: &mut Option<Position>,
) -> Result<(), StoreError> {
    let mut budget = config.scan_bytes_max;
    for (age, seal) in seals.iter().rev().enumerate() {
        match budget.checked_sub(u64::from(seal.end_offset)) {
            Some(rest) => budget = rest,
            None if age == 0 => budget = 0,
            None => break,
        }
        let segment = Segment::open(folder, name, seal.segment)?;
        let found = check_sealed(&segment, seal)?;
        *last = last.or(found);
    }
    Ok(())
}

/// Reads one sealed segment completely; returns its last record.
pub(super) fn check_sealed(segment: &Segment, seal: &Seal) -> Result<Option<Position>, StoreError> {
    let expect = Expect { number: seal.first_number, group: seal.first_group, group_index: 0 };
    let mut cursor = Cursor::start(Some(expect));
    let mut window = Window::new();
    let mut last = None;
    while align_up(cursor.offset, BLOCK_BYTES as u64) < u64::from(seal.end_offset) || !at_group_start(&cursor) {
        match step(segment, &mut window, &mut cursor)? {
            Step::Record { offset, header } if !header.is_marker() => last = Some(segment.position(offset)),
            Step::Record { .. } => {}
            Step::Nothing => {
                let what = format!("the record that must stand there (in a sealed segment) is not valid: {cursor:?}");
                return Err(StoreError::damaged(&segment.path, cursor.candidate(), what));
            }
            Step::DirtyGap { offset } => return Err(dirty_gap(segment, offset)),
        }
    }
    let end = Expect { number: seal.next_number, group: seal.next_group, group_index: 0 };
    if cursor.candidate() != u64::from(seal.end_offset) || cursor.expect != Some(end) {
        let what = "its records do not end where its seal says".to_string();
        return Err(StoreError::damaged(&segment.path, cursor.candidate(), what));
    }
    Ok(last)
}

/// Whether the cursor stands behind a whole group.
fn at_group_start(cursor: &Cursor) -> bool {
    cursor.expect.is_none_or(|expect| expect.group_index == 0)
}

/// The error for bytes between records that are not zero.
pub(super) fn dirty_gap(segment: &Segment, offset: u64) -> StoreError {
    StoreError::damaged(&segment.path, offset, "a byte between two records is not zero")
}

/// How the tail begins and ends.
struct TailEnd {
    cursor: Cursor,
    /// What comes next.
    expect: Expect,
    /// What its first record is, or would be.
    begin: Expect,
    last: Option<Position>,
    cut: Option<Cut>,
}

/// Walks through the tail to its end and cuts what is torn. `open_start`: everything before it was pruned, so that only its
/// first record says how it begins; pruning saw that record, so it must be there.
fn recover_tail(tail: &Segment, start: Expect, open_start: bool) -> Result<TailEnd, StoreError> {
    let mut cursor = Cursor::start(if open_start { None } else { Some(start) });
    let mut window = Window::new();
    let mut begin = start;
    let mut last = None;
    loop {
        let inside_group = cursor.expect.is_some_and(|expect| expect.group_index != 0);
        match step(tail, &mut window, &mut cursor)? {
            Step::Record { offset, header } => {
                if offset == BLOCK_BYTES as u64 {
                    begin = Expect { number: header.number, group: header.group, group_index: 0 };
                }
                if !header.is_marker() {
                    last = Some(tail.position(offset));
                }
            }
            Step::DirtyGap { offset } if !inside_group => return Err(dirty_gap(tail, offset)),
            Step::DirtyGap { .. } | Step::Nothing => break,
        }
    }
    let Some(expect) = cursor.expect else {
        let what = "the first record after the pruned segments is not valid";
        return Err(StoreError::damaged(&tail.path, cursor.offset, what));
    };
    if let Some(later) = find_later_group(tail, &mut window, cursor.candidate(), expect.group)? {
        let what = format!(
            "record {} of group {} is not valid there, but a later group stands whole at offset {later}",
            expect.number, expect.group
        );
        return Err(StoreError::damaged(&tail.path, cursor.candidate(), what));
    }
    let cut = cut_tail(tail, &mut cursor, expect)?;
    let expect = cursor.expect.unwrap_or(expect);
    Ok(TailEnd { cursor, expect, begin, last, cut })
}

/// Zeroes everything behind the cursor, fills a shortened file up, closes a group that was cut in the middle, and syncs.
fn cut_tail(tail: &Segment, cursor: &mut Cursor, expect: Expect) -> Result<Option<Cut>, StoreError> {
    let failed = |source| StoreError::io("repair", &tail.path, source, tail.header.segment_bytes - tail.file_bytes);
    let missing_bytes = tail.header.segment_bytes.saturating_sub(tail.file_bytes);
    let file = OpenOptions::new().read(true).write(true).open(&tail.path).map_err(failed)?;
    let from = cursor.offset;
    let (end, records) = sweep(tail, &file, from, expect.group)?;
    let inside_group = expect.group_index != 0;
    if end <= from && missing_bytes == 0 && !inside_group {
        return Ok(None);
    }
    if inside_group {
        close_group(tail, &file, cursor, expect)?;
    }
    file.sync_all().map_err(failed)?;
    let cut = Cut { position: tail.position(from), bytes: end.saturating_sub(from), records, missing_bytes };
    tracing::warn!(
        file = %tail.path.display(), offset = from, bytes = cut.bytes, records, missing_bytes,
        "cut a torn tail: the last commit before the crash was not finished"
    );
    Ok(Some(cut))
}

/// Zeroes every chunk behind `from` that is not zero, up to the full size of the segment. Returns the offset behind the last
/// byte that was not zero, and how many record headers of `group` were among them.
fn sweep(tail: &Segment, file: &File, from: u64, group: u64) -> Result<(u64, u64), StoreError> {
    let bytes = tail.header.segment_bytes;
    let failed = |source| StoreError::io("repair", &tail.path, source, bytes);
    let zeros = vec![0u8; SWEEP_BYTES];
    let mut chunk = vec![0u8; SWEEP_BYTES];
    let (mut end, mut records, mut offset) = (from, 0u64, from);
    while offset < bytes {
        let length = (bytes - offset).min(SWEEP_BYTES as u64) as usize;
        let present = read_full(file, &mut chunk[..length], offset).map_err(failed)?;
        if let Some(index) = chunk[..present].iter().rposition(|byte| *byte != 0) {
            end = offset + index as u64 + 1;
            records += count_headers(&chunk[..present], tail.header.segment, group);
        }
        if present < length || end > offset {
            file.write_all_at(&zeros[..length], offset).map_err(failed)?;
        }
        offset += length as u64;
    }
    Ok((end, records))
}

/// Record headers of `group` among `bytes`, which start wherever the cut fell; a header across a chunk's edge is missed.
fn count_headers(bytes: &[u8], segment: u32, group: u64) -> u64 {
    let magic = b"TREC";
    let mut count = 0;
    let mut at = 0;
    while at + RECORD_HEADER_BYTES <= bytes.len() {
        match bytes[at..].iter().position(|byte| *byte == magic[0]) {
            None => break,
            Some(skip) => at += skip,
        }
        if let Some(header) = bytes.get(at..at + RECORD_HEADER_BYTES).and_then(RecordHeader::decode)
            && header.segment == segment
            && header.group == group
            && !header.is_marker()
        {
            count += 1;
        }
        at += 1;
    }
    count
}

/// Writes the marker that closes a cut group.
fn close_group(tail: &Segment, file: &File, cursor: &mut Cursor, expect: Expect) -> Result<(), StoreError> {
    let offset = cursor.candidate();
    if offset + RECORD_HEADER_BYTES as u64 > tail.data_end() {
        let what = "a group runs over the end of the segment".to_string();
        return Err(StoreError::damaged(&tail.path, offset, what));
    }
    let header = RecordHeader {
        kind: 0,
        flags: FLAG_LAST | FLAG_MARKER,
        length: 0,
        segment: tail.header.segment,
        number: expect.number,
        group: expect.group,
        group_index: expect.group_index,
    };
    let mut bytes = [0u8; RECORD_HEADER_BYTES];
    header.encode(&mut bytes, tail.seed);
    file.write_all_at(&bytes, offset)
        .map_err(|source| StoreError::io("repair", &tail.path, source, BLOCK_BYTES as u64))?;
    cursor.offset = offset + RECORD_HEADER_BYTES as u64;
    cursor.expect = Some(Expect::after(&header));
    Ok(())
}
