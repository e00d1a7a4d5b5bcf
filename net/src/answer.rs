//! Answer events: what became of the transactions of a submit stream.
//!
//! Each transaction on a submit stream has a sequence number, from 0 in the order of arrival. An event tells the same
//! thing about a run of consecutive sequences, in 32 bytes, little-endian:
//!
//! | offset | bytes | field | |
//! |---|---|---|---|
//! | 0 | 1 | kind | [`AnswerKind`] |
//! | 1 | 1 | code | reason of a rejection or failure, 0 otherwise |
//! | 2 | 2 | reserved | 0 |
//! | 4 | 4 | count | length of the run, at least 1 |
//! | 8 | 8 | first | first sequence of the run |
//! | 16 | 8 | height | block height, 0 where there is none |
//! | 24 | 8 | index | position in the block of the first; the others follow; `u64::MAX` for none |
//!
//! [`AnswerQueue`] holds the events of one stream that wait to be written. It merges an event into the last one where
//! the two make one run, and it is bounded: events that find it full are counted, and one event of kind
//! [`AnswerKind::Lost`] says later how many sequences' answers were lost, in its place among the others.

use std::collections::VecDeque;

use thiserror::Error;

/// Size of an encoded event in bytes.
pub const EVENT_BYTES: usize = 32;

/// The `index` of an event that has no position in a block.
pub const INDEX_NONE: u64 = u64::MAX;

/// What an event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AnswerKind {
    /// Passed admission and verification here; no promise yet.
    Accepted = 1,
    /// Refused here; `code` says why.
    Rejected = 2,
    /// In a finalized block.
    Final = 3,
    /// Executed with success, and the block is committed.
    Applied = 4,
    /// Executed without effect, and the block is committed; `code` says why.
    Failed = 5,
    /// In a block but passed over (its nonce was not next); the same bytes may still succeed later.
    Skipped = 6,
    /// The answers of `count` sequences, of which `first` was the earliest, were dropped because nobody read them.
    Lost = 7,
}

impl AnswerKind {
    /// The kind that `byte` encodes.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => AnswerKind::Accepted,
            2 => AnswerKind::Rejected,
            3 => AnswerKind::Final,
            4 => AnswerKind::Applied,
            5 => AnswerKind::Failed,
            6 => AnswerKind::Skipped,
            7 => AnswerKind::Lost,
            _ => return None,
        })
    }
}

/// What is wrong with an encoded event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// The kind byte names no kind.
    #[error("answer event of unknown kind {0}; the server speaks a newer protocol")]
    UnknownKind(u8),
    /// The reserved bytes are not zero.
    #[error("answer event with reserved bytes {0:#06x}, which must be 0")]
    Reserved(u16),
    /// The run is empty or passes the end of its numbers.
    #[error("answer event with a run of {count} from {first}, which is empty or overflows")]
    Run {
        /// First sequence.
        first: u64,
        /// Length of the run.
        count: u32,
    },
    /// The bytes are not a whole number of events.
    #[error("answer frame of {0} bytes, which is no multiple of 32")]
    Length(usize),
}

/// One thing that is true of a run of sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnswerEvent {
    /// What happened.
    pub kind: AnswerKind,
    /// Reason of a rejection or failure, 0 otherwise.
    pub code: u8,
    /// Length of the run, at least 1.
    pub count: u32,
    /// First sequence of the run.
    pub first: u64,
    /// Block height, 0 where there is none.
    pub height: u64,
    /// Position in the block of the first of the run, [`INDEX_NONE`] for none.
    pub index: u64,
}

impl AnswerEvent {
    /// An event about one sequence that is in no block.
    pub fn here(kind: AnswerKind, code: u8, sequence: u64) -> Self {
        AnswerEvent { kind, code, count: 1, first: sequence, height: 0, index: INDEX_NONE }
    }

    /// An event about one sequence at `index` of the block at `height`.
    pub fn in_block(kind: AnswerKind, code: u8, sequence: u64, height: u64, index: u64) -> Self {
        AnswerEvent { kind, code, count: 1, first: sequence, height, index }
    }

    /// The 32 bytes of this event.
    pub fn encode(&self) -> [u8; EVENT_BYTES] {
        let mut bytes = [0; EVENT_BYTES];
        bytes[0] = self.kind as u8;
        bytes[1] = self.code;
        bytes[4..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.height.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.index.to_le_bytes());
        bytes
    }

    /// The event that `bytes` encode.
    ///
    /// # Errors
    /// [`AnswerError`] when a field holds what no encoder writes.
    pub fn decode(bytes: &[u8; EVENT_BYTES]) -> Result<Self, AnswerError> {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let kind = AnswerKind::from_byte(bytes[0]).ok_or(AnswerError::UnknownKind(bytes[0]))?;
        let reserved = u16::from_le_bytes([bytes[2], bytes[3]]);
        if reserved != 0 {
            return Err(AnswerError::Reserved(reserved));
        }
        let count = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let event = AnswerEvent { kind, code: bytes[1], count, first: word(8), height: word(16), index: word(24) };
        if !event.is_run() {
            return Err(AnswerError::Run { first: event.first, count });
        }
        Ok(event)
    }

    /// Decodes a frame's payload of events back to back and appends them to `out`.
    ///
    /// # Errors
    /// [`AnswerError`] at the first event that is wrong; those before it are in `out`.
    pub fn decode_all(payload: &[u8], out: &mut Vec<AnswerEvent>) -> Result<(), AnswerError> {
        let (events, rest) = payload.as_chunks::<EVENT_BYTES>();
        if !rest.is_empty() {
            return Err(AnswerError::Length(payload.len()));
        }
        for bytes in events {
            out.push(AnswerEvent::decode(bytes)?);
        }
        Ok(())
    }

    /// Whether the run is not empty and neither its sequences nor its positions overflow.
    fn is_run(&self) -> bool {
        let count = u64::from(self.count);
        count > 0
            && self.first.checked_add(count).is_some()
            && (self.index == INDEX_NONE || self.index.checked_add(count).is_some())
    }

    /// Extends this run by `next` where both say the same of adjacent sequences. Losses never merge here.
    fn try_extend(&mut self, next: &AnswerEvent) -> bool {
        let count = u64::from(self.count);
        let same = self.kind == next.kind && self.code == next.code && self.height == next.height;
        let positions_follow = match (self.index, next.index) {
            (INDEX_NONE, INDEX_NONE) => true,
            (INDEX_NONE, _) | (_, INDEX_NONE) => false,
            (index, index_next) => index.checked_add(count) == Some(index_next),
        };
        if !same
            || self.kind == AnswerKind::Lost
            || !positions_follow
            || self.first.checked_add(count) != Some(next.first)
        {
            return false;
        }
        let Some(total) = self.count.checked_add(next.count) else { return false };
        self.count = total;
        true
    }
}

/// What became of a pushed event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It extended the last run.
    Merged,
    /// So many more events (1, or 2 with a loss report before it) are waiting.
    Added(usize),
    /// There was no room; it is counted as lost.
    Lost,
}

/// The events of one stream that wait to be written: runs merged, bounded, with losses counted.
#[derive(Debug, Default)]
pub struct AnswerQueue {
    events: VecDeque<AnswerEvent>,
    lost_count: u64,
    lost_first: u64,
}

impl AnswerQueue {
    /// Events that wait.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing waits, not even a loss to report.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.lost_count == 0
    }

    /// Sequences whose answers wait; those that were lost before are not among them.
    pub fn sequences(&self) -> u64 {
        sequences(self.events.iter())
    }

    /// Appends `event`, merged into the last run where that is possible, unless more than `events_max` would wait.
    pub fn push(&mut self, event: AnswerEvent, events_max: usize) -> Pushed {
        if self.lost_count == 0 && self.events.back_mut().is_some_and(|last| last.try_extend(&event)) {
            return Pushed::Merged;
        }
        let needed = if self.lost_count == 0 { 1 } else { 2 };
        if self.events.len() + needed > events_max {
            if self.lost_count == 0 {
                self.lost_first = event.first;
            }
            self.lost_count = self.lost_count.saturating_add(u64::from(event.count));
            return Pushed::Lost;
        }
        self.report_loss();
        self.events.push_back(event);
        Pushed::Added(needed)
    }

    /// Moves up to `count_max` events, in order, to the end of `out`; returns how many left the queue's count.
    ///
    /// When the queue runs empty and a loss is to be reported, its report comes last.
    pub fn drain(&mut self, count_max: usize, out: &mut Vec<AnswerEvent>) -> usize {
        let count = count_max.min(self.events.len());
        out.extend(self.events.drain(..count));
        if self.events.is_empty() {
            if self.lost_count > 0 && count < count_max {
                self.report_loss();
                out.extend(self.events.drain(..));
            }
            // A stream that waits holds no memory; one that works allocates once per burst.
            self.events = VecDeque::new();
        }
        count
    }

    fn report_loss(&mut self) {
        if self.lost_count == 0 {
            return;
        }
        let count = u32::try_from(self.lost_count).unwrap_or(u32::MAX);
        let first = self.lost_first.min(u64::MAX - u64::from(count));
        self.events.push_back(AnswerEvent {
            kind: AnswerKind::Lost,
            code: 0,
            count,
            first,
            height: 0,
            index: INDEX_NONE,
        });
        self.lost_count = 0;
    }
}

/// Sequences that `events` answer, reports of losses left out.
pub(crate) fn sequences<'a>(events: impl Iterator<Item = &'a AnswerEvent>) -> u64 {
    events.filter(|event| event.kind != AnswerKind::Lost).map(|event| u64::from(event.count)).sum()
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
