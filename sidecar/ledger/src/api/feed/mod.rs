//! Feeds: blocks, and one account's transactions, as they are committed; over WebSocket and as server-sent events.
//!
//! ```text
//! reader's head ──▶ one task: encodes each new block once ──▶ newest frames, shared ──▶ every subscriber, at its own pace
//!                                                              log ──────▶ a subscriber that begins further back, in chunks
//! ```
//!
//! A subscriber has no queue: it has a height, and fetches the next frames when its socket has taken the last one. So one that is slow costs
//! a few frames, and one that was at the head and fell too far behind is told the gap and goes on at the head.

mod chunk;
mod frame;
mod handlers;
mod reader;
mod sse;
#[cfg(test)]
mod tests;
mod websocket;

pub use frame::{Frame, GapNotice, HeightNotice, TransactionsNotice};
pub use handlers::{__path_account, __path_blocks, account, blocks};
pub use reader::{Begin, Reader, What};

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use self::frame::{Frames, block_frame};
use super::config::FeedConfig;
use super::error::Refusal;
use super::limits::{FEED_ACCOUNTS_MAX, FEED_FRAMES_MAX, FEED_READS_MAX, FEED_SUBSCRIBERS_MAX};
use crate::chain::{Chain, ChainError};

/// Newest blocks that are encoded when the first head is seen, for subscribers that begin a little behind it.
const WARM_UP: u64 = 16;
/// The pause after a block could not be read.
const RETRY: Duration = Duration::from_millis(200);
/// So many failures on end let the task go on at the head; subscribers read what it passed over from the log.
const RETRIES_MAX: u32 = 25;

/// What all subscribers share.
pub struct Feeds {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    chain: Chain,
    config: FeedConfig,
    frames: Frames,
    /// The head as far as it is encoded.
    tip: watch::Sender<u64>,
    subscribers: Arc<Semaphore>,
    accounts: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

impl Drop for Feeds {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Feeds {
    /// Starts the task that encodes new blocks.
    pub fn start(chain: Chain, config: FeedConfig) -> Self {
        let shared = Arc::new(Shared {
            chain,
            config,
            frames: Frames::default(),
            tip: watch::Sender::new(0),
            subscribers: Arc::new(Semaphore::new(FEED_SUBSCRIBERS_MAX)),
            accounts: Arc::new(Semaphore::new(FEED_ACCOUNTS_MAX)),
            reads: Arc::new(Semaphore::new(FEED_READS_MAX)),
        });
        let task = tokio::spawn(follow(shared.clone()));
        Self { shared, task }
    }

    /// A subscriber of `what` that begins at `begin`.
    ///
    /// # Errors
    /// 503 when all places are taken.
    pub fn subscribe(&self, what: What, begin: Begin) -> Result<Reader, Refusal> {
        let mut places = vec![place(&self.shared.subscribers)?];
        if matches!(what, What::Account(_)) {
            places.push(place(&self.shared.accounts)?);
        }
        Ok(Reader::new(self.shared.clone(), what, begin, places))
    }
}

fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refusal> {
    places.clone().try_acquire_owned().map_err(|_| Refusal {
        retry_after: Some(10),
        ..Refusal::busy("feeds_full", "as many feeds are open as this ledger serves; try again later")
    })
}

/// Encodes each new block once, and moves the tip.
async fn follow(shared: Arc<Shared>) {
    let mut heads = shared.chain.subscribe();
    let mut tip: Option<u64> = None;
    let mut failures = 0;
    loop {
        let head = *heads.borrow_and_update();
        let done = match tip {
            Some(tip) if tip <= head && head - tip <= FEED_FRAMES_MAX as u64 => tip,
            // The first head, one far ahead (the state was loaded), or one behind (the data folder was replaced).
            _ => {
                shared.frames.clear();
                head.saturating_sub(WARM_UP)
            }
        };
        tip = Some(done);
        for height in done + 1..=head {
            // Not in the readers' queue: one look for all of them must not wait for those that catch up.
            match look(&shared.chain, move |chain| chain.block(height)).await {
                Ok(block) => {
                    shared.frames.push(block_frame(&block));
                    shared.tip.send_replace(height);
                    tip = Some(height);
                    failures = 0;
                }
                Err(error) => {
                    failures += 1;
                    tracing::debug!(height, "a block cannot be read for the feeds: {error}");
                    tokio::time::sleep(RETRY).await;
                    if failures > RETRIES_MAX {
                        tip = Some(head);
                    }
                    break;
                }
            }
        }
        if tip == Some(head) {
            shared.tip.send_replace(head);
            if heads.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Shared {
    /// Reads files for subscribers, a few at a time, on a thread that may wait.
    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Chain) -> Result<T, ChainError> + Send + 'static,
    ) -> Result<T, ChainError> {
        let permit = self.reads.clone().acquire_owned().await;
        look(&self.chain, move |chain| {
            // The permit goes along: a look whose subscriber is gone still counts until it ends.
            let _permit = permit;
            question(chain)
        })
        .await
    }
}

/// Reads files on a thread that may wait.
async fn look<T: Send + 'static>(
    chain: &Chain,
    question: impl FnOnce(&Chain) -> Result<T, ChainError> + Send + 'static,
) -> Result<T, ChainError> {
    let chain = chain.clone();
    let answer = tokio::task::spawn_blocking(move || question(&chain)).await;
    answer.unwrap_or_else(|_| Err(ChainError::Read("the look-up broke off".to_owned())))
}
