//! Where a record stands: segment number and byte offset of its header.

use std::fmt;

/// Place of a record in one log. Ordered as the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Segment number, from 1.
    pub segment: u32,
    /// Byte offset of the record's header inside the segment file.
    pub offset: u32,
}

impl Position {
    /// The position as one number that orders the same way: segment in the upper half, offset in the lower.
    pub fn to_u64(self) -> u64 {
        u64::from(self.segment) << 32 | u64::from(self.offset)
    }

    /// Where the first record of a segment stands: behind its header block.
    pub fn segment_start(segment: u32) -> Self {
        Self { segment, offset: super::format::BLOCK_BYTES as u32 }
    }

    /// The inverse of [`Position::to_u64`]; every number is some position.
    pub fn from_u64(value: u64) -> Self {
        Self { segment: (value >> 32) as u32, offset: value as u32 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.segment, self.offset)
    }
}
