//! Walking through one segment record by record: the rule that recovery and readers share.
//!
//! What must come next is known exactly: after a group's last record, index 0 of the next group on the next block boundary;
//! after any other record, the next index of the same group on the next 8-byte boundary; and always the next record
//! number. So a record that merely has a good checksum does not pass: it must be the expected one. When it is not there,
//! three cases remain, told apart by what lies behind:
//!
//! 1. a valid record of a *later* group than the expected one: the expected one was durable once (a group is only written
//!    after the one before it), so this is damage;
//! 2. only zeros: the end;
//! 3. anything else: a commit that was never acknowledged, the torn tail.

use super::format::{BLOCK_BYTES, RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES, RecordHeader};
use super::segment::Segment;
use super::window::Window;
use crate::StoreError;
use crate::bytes::align_up;

/// What the next record must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expect {
    pub number: u64,
    pub group: u64,
    pub group_index: u32,
}

impl Expect {
    /// What must follow `header`.
    pub fn after(header: &RecordHeader) -> Self {
        let number = if header.is_marker() { header.number } else { header.number.saturating_add(1) };
        if header.is_last() {
            Self { number, group: header.group.saturating_add(1), group_index: 0 }
        } else {
            Self { number, group: header.group, group_index: header.group_index.saturating_add(1) }
        }
    }

    /// Whether `header` is what must come next.
    fn matches(&self, header: &RecordHeader) -> bool {
        header.number == self.number && header.group == self.group && header.group_index == self.group_index
    }
}

/// What one step found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A valid record at this offset.
    Record { offset: u64, header: RecordHeader },
    /// No valid record where one could stand: the end, a torn tail or damage.
    Nothing,
    /// The expected record is there, but bytes between it and the one before are not zero.
    DirtyGap { offset: u64 },
}

/// A place in a segment and what must stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// End of the record before (its gap not included), or where to begin.
    pub offset: u64,
    /// `None`: whatever valid record stands exactly at `offset` is taken.
    pub expect: Option<Expect>,
}

impl Cursor {
    /// The start of a segment.
    pub fn start(expect: Option<Expect>) -> Self {
        Self { offset: BLOCK_BYTES as u64, expect }
    }

    /// Where the next record must begin.
    pub fn candidate(&self) -> u64 {
        match self.expect {
            None => self.offset,
            Some(expect) if expect.group_index == 0 => align_up(self.offset, BLOCK_BYTES as u64),
            Some(_) => align_up(self.offset, RECORD_ALIGN_BYTES),
        }
    }
}

/// Looks for the next record and moves the cursor behind it when it is there.
pub(super) fn step(segment: &Segment, window: &mut Window, cursor: &mut Cursor) -> Result<Step, StoreError> {
    let offset = cursor.candidate();
    let Some(header) = record_at(segment, window, offset)? else { return Ok(Step::Nothing) };
    if cursor.expect.is_some_and(|expect| !expect.matches(&header)) {
        return Ok(Step::Nothing);
    }
    if let Some(dirty) = first_non_zero(segment, window, cursor.offset, offset)? {
        return Ok(Step::DirtyGap { offset: dirty });
    }
    cursor.offset = offset + RECORD_HEADER_BYTES as u64 + u64::from(header.length);
    cursor.expect = Some(Expect::after(&header));
    Ok(Step::Record { offset, header })
}

/// The header of the record at `offset`, when its checksum holds.
pub(super) fn record_at(
    segment: &Segment,
    window: &mut Window,
    offset: u64,
) -> Result<Option<RecordHeader>, StoreError> {
    let failed = |source| StoreError::io("read", &segment.path, source, 0);
    if offset + RECORD_HEADER_BYTES as u64 > segment.data_end() {
        return Ok(None);
    }
    let bytes = window.read(&segment.file, offset, RECORD_HEADER_BYTES).map_err(failed)?;
    let Some(header) = RecordHeader::decode(bytes) else { return Ok(None) };
    let length = RECORD_HEADER_BYTES + header.length as usize;
    if header.segment != segment.header.segment || offset + length as u64 > segment.data_end() {
        return Ok(None);
    }
    let record = window.read(&segment.file, offset, length).map_err(failed)?;
    let valid = record.len() == length && RecordHeader::checksum_holds(record, segment.seed);
    Ok(valid.then_some(header))
}

/// Offset of the first byte in `from..to` that is not zero; the range is shorter than a block.
fn first_non_zero(segment: &Segment, window: &mut Window, from: u64, to: u64) -> Result<Option<u64>, StoreError> {
    if from >= to {
        return Ok(None);
    }
    let length = (to - from).min(BLOCK_BYTES as u64) as usize;
    let bytes =
        window.read(&segment.file, from, length).map_err(|source| StoreError::io("read", &segment.path, source, 0))?;
    Ok(bytes.iter().position(|byte| *byte != 0).map(|index| from + index as u64))
}

/// Offset of the first group start from `from` on that holds a valid record of a group after `group`.
pub(super) fn find_later_group(
    segment: &Segment,
    window: &mut Window,
    from: u64,
    group: u64,
) -> Result<Option<u64>, StoreError> {
    let mut offset = align_up(from, BLOCK_BYTES as u64);
    while offset < segment.data_end() {
        if let Some(header) = record_at(segment, window, offset)?
            && header.group > group
        {
            return Ok(Some(offset));
        }
        offset += BLOCK_BYTES as u64;
    }
    Ok(None)
}
