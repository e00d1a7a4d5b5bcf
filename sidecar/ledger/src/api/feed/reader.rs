//! One subscriber: a height, and how to get what follows it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::frame::{Frame, block_frame, gap_frame, height_frame, transactions_frame};
use super::{RETRY, Shared};
use crate::api::limits::{FEED_ACCOUNT_BACK_MAX, FEED_CHUNK, FEED_TRANSACTIONS_MAX};
use crate::api::model::Transaction;
use crate::chain::{Chain, ChainError};

/// Frames of one look into the log after which it ends, however many blocks are left of its chunk.
const CHUNK_FRAMES: usize = 8;

/// What a subscriber gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Every block.
    Blocks,
    /// The transactions from or to the account with this key.
    Account([u8; 32]),
}

/// Where a subscriber begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Behind the head as it is now.
    Now,
    /// With the block at this height.
    At(u64),
    /// In this block, behind the transaction at this place.
    Within(u64, u32),
}

/// See the module's text. [`Reader::next`] may be dropped and called again: nothing is lost or repeated.
pub struct Reader {
    shared: Arc<Shared>,
    what: What,
    tip: watch::Receiver<u64>,
    /// The height that is sent next.
    next: u64,
    /// Of block `next`, transactions up to this place were sent already.
    sent_within: Option<u32>,
    /// The tip when it was last looked at.
    seen: u64,
    /// Whether it has been at the head: only from then on can it fall behind.
    at_head: bool,
    /// Where it begins, while the first head is waited for.
    begin: Option<Begin>,
    /// Frames that were read together, within a chunk's bounds.
    ready: VecDeque<Frame>,
    _places: Vec<OwnedSemaphorePermit>,
}

/// What a look into the log gave: frames, the height behind them, and the place in that block up to which they go.
struct Chunk {
    frames: VecDeque<Frame>,
    next: u64,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, what: What, begin: Begin, places: Vec<OwnedSemaphorePermit>) -> Self {
        let tip = shared.tip.subscribe();
        Self {
            shared,
            what,
            tip,
            next: 0,
            sent_within: None,
            seen: 0,
            at_head: false,
            begin: Some(begin),
            ready: VecDeque::new(),
            _places: places,
        }
    }

    /// How often a silent feed shows that it is alive.
    pub fn ping(&self) -> Duration {
        self.shared.config.ping
    }

    /// How long a reader may take nothing.
    pub fn stall(&self) -> Duration {
        self.shared.config.stall
    }

    /// A notice of the height up to which everything was sent; none in the middle of something.
    pub fn height(&self) -> Option<Frame> {
        let between = self.ready.is_empty() && self.sent_within.is_none() && self.begin.is_none() && self.next > 0;
        between.then(|| height_frame("height", self.next - 1))
    }

    /// Waits for the next frame.
    pub async fn next(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return frame;
            }
            let tip = *self.tip.borrow_and_update();
            if let Some(frame) = self.look(tip) {
                return frame;
            }
            if self.begin.is_some() || self.next > tip {
                self.at_head |= self.begin.is_none();
                if self.tip.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            if let Some(frame) = self.shared.frames.get(self.next) {
                match self.what {
                    What::Blocks => {
                        self.next += 1;
                        return frame;
                    }
                    What::Account(_) if frame.tx_count == 0 => {
                        self.pass(self.next + 1);
                        continue;
                    }
                    What::Account(_) => {}
                }
            }
            self.fetch(tip).await;
        }
    }

    /// What the tip alone makes necessary to say.
    fn look(&mut self, tip: u64) -> Option<Frame> {
        if let Some(begin) = self.begin {
            if tip == 0 && self.shared.chain.head().is_err() {
                return None;
            }
            self.begin = None;
            self.seen = tip;
            (self.next, self.sent_within) = match begin {
                Begin::Now => (tip + 1, None),
                Begin::At(height) => (height.max(1), None),
                Begin::Within(height, place) => (height.max(1), Some(place)),
            };
            self.at_head = begin == Begin::Now;
            return Some(height_frame("open", self.next - 1));
        }
        if tip < self.seen {
            self.seen = tip;
            if self.next > tip + 1 {
                self.pass(tip + 1);
                return Some(height_frame("reset", tip));
            }
        }
        self.seen = tip;
        let first = match self.what {
            _ if self.at_head => tip.saturating_sub(self.shared.config.lag_blocks_max),
            What::Blocks => 0,
            What::Account(_) => tip.saturating_sub(FEED_ACCOUNT_BACK_MAX),
        };
        if self.next < first {
            // One that fell behind goes on at the head; one that begins too far back, as near as it may.
            let go_on = if self.at_head { tip } else { first };
            let gap = gap_frame(self.next, go_on - 1);
            self.pass(go_on);
            return Some(gap);
        }
        None
    }

    fn pass(&mut self, next: u64) {
        self.next = next;
        self.sent_within = None;
    }

    /// Reads what follows from the log.
    async fn fetch(&mut self, tip: u64) {
        let (first, last) = (self.next, tip.min(self.next + FEED_CHUNK - 1));
        let what = self.what;
        let sent_within = self.sent_within;
        let chunk = self.shared.read(move |chain| match what {
            What::Blocks => blocks(chain, first, last),
            What::Account(key) => transactions(chain, &key, first, last, sent_within),
        });
        match chunk.await {
            Ok(chunk) => {
                self.ready = chunk.frames;
                self.pass(chunk.next);
            }
            Err(ChainError::Pruned { oldest, .. }) if oldest > first => {
                self.ready.push_back(gap_frame(first, oldest - 1));
                self.pass(oldest);
            }
            Err(error) => {
                tracing::debug!(first, "a feed cannot go on yet: {error}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn blocks(chain: &Chain, first: u64, last: u64) -> Result<Chunk, ChainError> {
    let mut frames = VecDeque::new();
    for height in first..=last {
        match chain.block(height) {
            Ok(block) => frames.push_back(block_frame(&block)),
            // What was read so far is sent; the failure comes again when it is alone.
            Err(_) if !frames.is_empty() => break,
            Err(error) => return Err(error),
        }
        if frames.len() >= CHUNK_FRAMES {
            break;
        }
    }
    Ok(Chunk { next: first + frames.len() as u64, frames })
}

fn transactions(
    chain: &Chain,
    key: &[u8; 32],
    first: u64,
    last: u64,
    sent_within: Option<u32>,
) -> Result<Chunk, ChainError> {
    let mut frames = VecDeque::new();
    let mut next = first;
    for height in first..=last {
        let views = match chain.block_transactions_of(height, key) {
            Ok(views) => views,
            Err(_) if next > first => break,
            Err(error) => return Err(error),
        };
        next = height + 1;
        let sent = sent_within.filter(|_| height == first);
        let mut left: Vec<Transaction> = views.into_iter().map(Transaction::from).collect();
        left.retain(|transaction| sent.is_none_or(|sent| transaction.index > sent));
        while !left.is_empty() {
            let behind = left.split_off(left.len().min(FEED_TRANSACTIONS_MAX));
            frames.push_back(transactions_frame(height, left, behind.is_empty()));
            left = behind;
        }
        if frames.len() >= CHUNK_FRAMES {
            break;
        }
    }
    Ok(Chunk { frames, next })
}
