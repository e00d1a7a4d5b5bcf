//! One subscriber: a height, and how to get what follows it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinHandle;

use super::chunk::{Chunk, blocks, transactions};
use super::frame::{Frame, gap_frame, height_frame, open_frame};
use super::{RETRY, Shared};
use crate::api::limits::{FEED_ACCOUNT_BACK_MAX, FEED_CHUNK};
use crate::chain::ChainError;

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
    /// The look into the log that is under way, which outlives a [`Reader::next`] that was dropped.
    fetching: Option<Fetch>,
    _places: Vec<OwnedSemaphorePermit>,
}

/// A look into the log from where the reader stands. When the reader goes, one that waits for its turn is given up.
struct Fetch(JoinHandle<Result<Chunk, ChainError>>);

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
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
            fetching: None,
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
                // The genesis has no transactions to begin behind.
                Begin::Within(0, _) => (1, None),
                Begin::Within(height, place) => (height, Some(place)),
            };
            self.at_head = begin == Begin::Now;
            return Some(open_frame(self.next - 1, self.sent_within));
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
        self.fetching = None;
    }

    /// Reads what follows from the log; goes on with the look that is under way.
    async fn fetch(&mut self, tip: u64) {
        let first = self.next;
        let answer = match &mut self.fetching {
            Some(fetch) => (&mut fetch.0).await,
            None => {
                let fetch = self.begin_fetch(tip);
                (&mut self.fetching.insert(fetch).0).await
            }
        };
        self.fetching = None;
        match answer.unwrap_or_else(|_| Err(ChainError::Read("the look-up broke off".to_owned()))) {
            Ok(chunk) => {
                self.ready = chunk.frames;
                self.pass(chunk.next);
                self.sent_within = chunk.sent_within;
            }
            Err(ChainError::Pruned { oldest, .. }) if oldest > first => {
                self.ready.push_back(gap_frame(first, oldest - 1));
                self.pass(oldest);
            }
            Err(error) => tracing::debug!(first, "a feed cannot go on yet: {error}"),
        }
    }

    #[cfg(test)]
    pub(super) fn look_under_way(&self) -> Option<tokio::task::Id> {
        self.fetching.as_ref().map(|fetch| fetch.0.id())
    }

    fn begin_fetch(&self, tip: u64) -> Fetch {
        let (first, last) = (self.next, tip.min(self.next + FEED_CHUNK - 1));
        let (what, sent_within, shared) = (self.what, self.sent_within, self.shared.clone());
        Fetch(tokio::spawn(async move {
            let chunk = shared
                .read(move |chain| match what {
                    What::Blocks => blocks(chain, first, last),
                    What::Account(key) => {
                        let read = |height, after, limit| chain.block_transactions_of(height, &key, after, limit);
                        transactions(read, first, last, sent_within)
                    }
                })
                .await;
            // The pause is part of the look, so that dropping `next` does not shorten it.
            let goes_on = |error: &ChainError| matches!(error, ChainError::Pruned { oldest, .. } if *oldest > first);
            if chunk.as_ref().is_err_and(|error| !goes_on(error)) {
                tokio::time::sleep(RETRY).await;
            }
            chunk
        }))
    }
}
