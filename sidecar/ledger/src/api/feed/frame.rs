//! Frames: what goes to subscribers, encoded once for all of them. A WebSocket sends the text as it is, server-sent events put a few lines around it.

use std::collections::VecDeque;

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::limits::{FEED_FRAME_BYTES_MAX, FEED_FRAMES_MAX};
use crate::api::model::{Block, Transaction};
use crate::chain::BlockView;

/// One message. Clones share its bytes.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The height that it is about.
    pub height: u64,
    /// Transactions in the block that it is about; 0 where it is about none.
    pub tx_count: u32,
    /// The JSON object.
    pub text: Utf8Bytes,
    /// What stands before the text in a server-sent event: its id, its name, and the name of the line.
    head: Bytes,
}

/// The end of a server-sent event.
const EVENT_END: &[u8] = b"\n\n";

impl Frame {
    /// `body` must be a JSON object with a field `type`, which becomes the event's name too. `id` is what a reader names to go on behind it.
    fn new<T: Serialize>(height: u64, name: &str, id: Option<&str>, body: &T) -> Self {
        // Our own types have neither maps with other keys than strings nor numbers that JSON lacks.
        let text = serde_json::to_string(body).unwrap_or_else(|_| "{}".to_owned());
        let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
        let head = Bytes::from(format!("{id}event: {name}\ndata: "));
        Self { height, tx_count: 0, text: text.into(), head }
    }

    /// The frame as a server-sent event, in pieces that share the frame's bytes.
    pub fn event(&self) -> [Bytes; 3] {
        [self.head.clone(), Bytes::from(self.text.clone()), Bytes::from_static(EVENT_END)]
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + self.head.len()
    }
}

#[derive(Serialize)]
struct BlockBody<'a> {
    r#type: &'static str,
    block: &'a Block,
}

/// Where a feed begins, or has come to while nothing concerned it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeightNotice {
    /// open: the feed goes on with the block behind `height`. height: everything up to `height` was sent. reset: the chain of this node
    /// goes back to `height`, because its data folder was replaced.
    pub r#type: String,
    /// The height.
    pub height: u64,
}

/// What a reader missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GapNotice {
    /// Always gap.
    pub r#type: String,
    /// The first height that was passed over.
    pub from: u64,
    /// The last one; the feed goes on behind it.
    pub to: u64,
}

/// Transactions of one account in one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionsNotice {
    /// Always transactions.
    pub r#type: String,
    /// Their block.
    pub height: u64,
    /// What to name to go on behind this message: HEIGHT, or HEIGHT-INDEX where more of the same block follows.
    pub cursor: String,
    /// The transactions, in the order of execution.
    pub transactions: Vec<Transaction>,
}

/// A block's frame.
pub fn block_frame(view: &BlockView) -> Frame {
    let block = Block::from(view);
    let id = view.height.to_string();
    let frame = Frame::new(view.height, "block", Some(&id), &BlockBody { r#type: "block", block: &block });
    Frame { tx_count: view.tx_count, ..frame }
}

/// A frame of an account's transactions of a block; `is_last` when no more of this block follow.
pub fn transactions_frame(height: u64, transactions: Vec<Transaction>, is_last: bool) -> Frame {
    let cursor = match transactions.last().filter(|_| !is_last) {
        Some(last) => format!("{height}-{}", last.index),
        None => height.to_string(),
    };
    let notice = TransactionsNotice { r#type: "transactions".to_owned(), height, cursor: cursor.clone(), transactions };
    Frame::new(height, "transactions", Some(&cursor), &notice)
}

/// `height` or `reset`.
pub fn height_frame(kind: &str, height: u64) -> Frame {
    Frame::new(height, kind, Some(&height.to_string()), &HeightNotice { r#type: kind.to_owned(), height })
}

/// `open`: the feed goes on behind `height`, and of the block on top of it behind the transaction at `within`. It has an id like every other
/// frame, so that a reader whose connection breaks before the next one begins where it began, not at the head of that time.
pub fn open_frame(height: u64, within: Option<u32>) -> Frame {
    let id = within.map_or_else(|| height.to_string(), |place| format!("{}-{place}", height + 1));
    Frame::new(height, "open", Some(&id), &HeightNotice { r#type: "open".to_owned(), height })
}

/// What was passed over, both ends included.
pub fn gap_frame(from: u64, to: u64) -> Frame {
    let id = to.to_string();
    Frame::new(to, "gap", Some(&id), &GapNotice { r#type: "gap".to_owned(), from, to })
}

/// The newest blocks' frames, ascending and without a hole, within two bounds.
#[derive(Default)]
pub struct Frames {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Frames {
    /// Forgets all of them.
    pub fn clear(&self) {
        *self.kept.lock() = Kept::default();
    }

    /// Adds the next one; one that does not follow the last takes the place of all.
    pub fn push(&self, frame: Frame) {
        let mut kept = self.kept.lock();
        if kept.frames.back().is_some_and(|last| last.height + 1 != frame.height) {
            *kept = Kept::default();
        }
        kept.bytes += frame.bytes();
        kept.frames.push_back(frame);
        while kept.frames.len() > FEED_FRAMES_MAX || (kept.bytes > FEED_FRAME_BYTES_MAX && kept.frames.len() > 1) {
            if let Some(oldest) = kept.frames.pop_front() {
                kept.bytes -= oldest.bytes();
            }
        }
    }

    /// The frame of a height, if it is kept.
    pub fn get(&self, height: u64) -> Option<Frame> {
        let kept = self.kept.lock();
        let first = kept.frames.front()?.height;
        kept.frames.get(usize::try_from(height.checked_sub(first)?).ok()?).cloned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_newest_frames_are_kept_within_their_bounds() {
        let frames = Frames::default();
        for height in 1..=FEED_FRAMES_MAX as u64 + 10 {
            frames.push(height_frame("height", height));
        }
        assert!(frames.get(10).is_none());
        assert_eq!(frames.get(11).unwrap().height, 11);
        assert_eq!(frames.get(FEED_FRAMES_MAX as u64 + 10).unwrap().height, FEED_FRAMES_MAX as u64 + 10);
        assert!(frames.get(FEED_FRAMES_MAX as u64 + 11).is_none());
        // A hole empties it: what is behind the hole is read from the log.
        frames.push(height_frame("height", 5_000));
        assert!(frames.get(1_000).is_none() && frames.get(5_000).is_some());
        let large = "x".repeat(FEED_FRAME_BYTES_MAX / 3);
        for height in 5_001..5_004 {
            let frame = height_frame("height", height);
            frames.push(Frame { text: large.clone().into(), ..frame });
        }
        assert!(frames.get(5_000).is_none() && frames.get(5_003).is_some());
        assert!(frames.kept.lock().bytes <= FEED_FRAME_BYTES_MAX);
    }

    #[test]
    fn an_event_is_one_line_of_data_with_the_id_to_go_on_from() {
        let frame = gap_frame(3, 7);
        assert_eq!(&frame.event().concat()[..], b"id: 7\nevent: gap\ndata: {\"type\":\"gap\",\"from\":3,\"to\":7}\n\n");
        assert_eq!(frame.text.as_str(), r#"{"type":"gap","from":3,"to":7}"#);
    }

    #[test]
    fn the_first_frame_has_an_id_too_which_names_the_place_within_a_block() {
        assert!(open_frame(7, None).event().concat().starts_with(b"id: 7\nevent: open\n"));
        assert!(open_frame(7, Some(3)).event().concat().starts_with(b"id: 8-3\nevent: open\n"));
        assert_eq!(open_frame(7, Some(3)).text, height_frame("open", 7).text);
    }
}
