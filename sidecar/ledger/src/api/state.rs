//! What the handlers share: the reader, the way to the node, the feeds, and who may read files at this moment.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::config::ApiConfig;
use super::error::Refusal;
use super::feed::Feeds;
use super::limits::{READ_WAIT, READS_MAX};
use super::submit::Submitter;
use crate::chain::{Chain, ChainError};

/// See the module's text. Clones share everything.
#[derive(Clone)]
pub struct ApiState {
    inner: Arc<Inner>,
}

struct Inner {
    chain: Chain,
    config: ApiConfig,
    submitter: Submitter,
    feeds: Feeds,
    reads: Arc<Semaphore>,
}

impl ApiState {
    /// Starts what runs beside the handlers: the connection to the node, and the feeds' look at new blocks. Needs a tokio runtime.
    pub fn start(chain: Chain, config: ApiConfig) -> Self {
        let submitter = Submitter::start(&chain, config.node);
        let feeds = Feeds::start(chain.clone(), config.feed.clone());
        let reads = Arc::new(Semaphore::new(READS_MAX));
        Self { inner: Arc::new(Inner { chain, config, submitter, feeds, reads }) }
    }

    /// The reader, for what it answers from memory.
    pub fn chain(&self) -> &Chain {
        &self.inner.chain
    }

    /// What was configured.
    pub fn config(&self) -> &ApiConfig {
        &self.inner.config
    }

    /// The way to the node.
    pub fn submitter(&self) -> &Submitter {
        &self.inner.submitter
    }

    /// The feeds.
    pub fn feeds(&self) -> &Feeds {
        &self.inner.feeds
    }

    /// Asks the reader what it answers from files, on a thread that may wait, when it is this request's turn.
    ///
    /// # Errors
    /// What the reader says, and 503 `busy` when no turn comes in time.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Chain) -> Result<T, ChainError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = tokio::time::timeout(READ_WAIT, self.inner.reads.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = turn else {
            return Err(Refusal::busy("busy", "too many look-ups are under way; ask again in a moment"));
        };
        let chain = self.inner.chain.clone();
        // The permit goes along: a question whose client is gone still counts until it ends.
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            question(&chain)
        })
        .await;
        match answer {
            Ok(answer) => Ok(answer?),
            Err(error) => {
                tracing::error!("a look-up broke off: {error}");
                Err(Refusal::busy("look_up_broke_off", "the look-up broke off; this is a defect, please report it"))
            }
        }
    }
}
