//! What one look into the log gives a subscriber that catches up: a few frames, which may end within a block.

use std::collections::VecDeque;

use super::frame::{Frame, block_frame, transactions_frame};
use crate::api::limits::{FEED_CHUNK_BYTES, FEED_CHUNK_FRAMES, FEED_TRANSACTIONS_MAX};
use crate::api::model::Transaction;
use crate::chain::{Chain, ChainError, TransactionView};

/// Frames, and where the next look begins.
#[derive(Default)]
pub(super) struct Chunk {
    /// The frames.
    pub frames: VecDeque<Frame>,
    /// The height that is sent next.
    pub next: u64,
    /// Of block `next`, transactions up to this place are in the frames or were sent before.
    pub sent_within: Option<u32>,
    bytes: usize,
}

impl Chunk {
    fn push(&mut self, frame: Frame) {
        self.bytes += frame.bytes();
        self.frames.push_back(frame);
    }

    /// Whether no further frame is taken in.
    fn is_full(&self) -> bool {
        self.frames.len() >= FEED_CHUNK_FRAMES || self.bytes >= FEED_CHUNK_BYTES
    }
}

/// Blocks from `first` to at most `last`.
pub(super) fn blocks(chain: &Chain, first: u64, last: u64) -> Result<Chunk, ChainError> {
    let mut chunk = Chunk { next: first, ..Chunk::default() };
    while chunk.next <= last && !chunk.is_full() {
        match chain.block(chunk.next) {
            Ok(block) => chunk.push(block_frame(&block)),
            // What was read so far is sent; the failure comes again when it is alone.
            Err(_) if chunk.next > first => break,
            Err(error) => return Err(error),
        }
        chunk.next += 1;
    }
    Ok(chunk)
}

/// One account's transactions of the blocks from `first` to at most `last`. `read` gives at most so many of a block's, behind a place in it.
pub(super) fn transactions(
    read: impl Fn(u64, Option<u32>, usize) -> Result<Vec<TransactionView>, ChainError>,
    first: u64,
    last: u64,
    sent_within: Option<u32>,
) -> Result<Chunk, ChainError> {
    let mut chunk = Chunk { next: first, sent_within, ..Chunk::default() };
    while chunk.next <= last && !chunk.is_full() {
        // One more than a frame holds shows whether the block has more.
        let mut views = match read(chunk.next, chunk.sent_within, FEED_TRANSACTIONS_MAX + 1) {
            Ok(views) => views,
            Err(_) if (chunk.next, chunk.sent_within) != (first, sent_within) => break,
            Err(error) => return Err(error),
        };
        let is_more = views.len() > FEED_TRANSACTIONS_MAX;
        views.truncate(FEED_TRANSACTIONS_MAX);
        let last_place = views.last().map(|view| view.index);
        if last_place.is_some() {
            let views = views.into_iter().map(Transaction::from).collect();
            chunk.push(transactions_frame(chunk.next, views, !is_more));
        }
        if is_more {
            chunk.sent_within = last_place;
        } else {
            (chunk.next, chunk.sent_within) = (chunk.next + 1, None);
        }
    }
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn view(height: u64, index: u32) -> TransactionView {
        TransactionView {
            id: String::new(),
            block_height: height,
            index,
            block_timestamp_ms: 0,
            status: String::new(),
            code: String::new(),
            kind: String::new(),
            from: String::new(),
            to: None,
            amount: None,
            minor_units: false,
            currency_code: None,
            nonce: 0,
            timestamp_ms: 0,
            signature: String::new(),
            metadata: serde_json::Map::new(),
        }
    }

    #[test]
    fn a_chunk_ends_within_a_block_and_the_next_one_goes_on_there() {
        // 10,000 transactions in block 5, three in block 6, of which the last look cannot read.
        let count = |height: u64| [10_000, 3][(height - 5) as usize];
        let read = |height: u64, after: Option<u32>, limit: usize| {
            assert!(limit <= FEED_TRANSACTIONS_MAX + 1);
            let first = after.map_or(0, |after| after + 1);
            Ok((first..count(height)).take(limit).map(|index| view(height, index)).collect())
        };
        let (mut next, mut within, mut seen, mut looks) = (5, None, 0, 0);
        while next <= 6 {
            let chunk = transactions(read, next, 6, within).unwrap();
            assert!(chunk.frames.len() <= FEED_CHUNK_FRAMES);
            assert!((chunk.next, chunk.sent_within) > (next, within), "a look must come further");
            seen += chunk.frames.iter().map(|frame| frame.text.matches("\"index\":").count()).sum::<usize>();
            (next, within) = (chunk.next, chunk.sent_within);
            looks += 1;
        }
        assert_eq!((next, within, seen), (7, None, 10_003));
        assert!(looks >= 5, "{looks} looks took a block of forty frames");
    }

    #[test]
    fn what_was_read_before_a_failure_is_sent() {
        let gone = || ChainError::Read("gone".to_owned());
        let read = |height: u64, after: Option<u32>, _: usize| match (height, after) {
            (1, None) => Ok((0..=FEED_TRANSACTIONS_MAX as u32).map(|index| view(1, index)).collect()),
            _ => Err(gone()),
        };
        let chunk = transactions(read, 1, 9, None).unwrap();
        assert_eq!((chunk.frames.len(), chunk.next, chunk.sent_within), (1, 1, Some(FEED_TRANSACTIONS_MAX as u32 - 1)));
        assert_eq!(transactions(read, 1, 9, chunk.sent_within).err(), Some(gone()));
    }
}
