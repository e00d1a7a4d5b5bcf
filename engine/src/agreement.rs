//! What the pipeline tells agreement, and what agreement tells the pipeline, when validators agree on blocks.
//!
//! The stages speak of batches and heights only; agreement is started after them and stopped before them. [`AgreementPort`] is the stages'
//! end: events are kept until agreement listens. [`AgreementInput`] is what comes back, in order, over one channel to the order stage.

use std::sync::OnceLock;

use bytes::Bytes;
use parking_lot::Mutex;
use tana_lane::{Evidence, HeldBatch};
use tana_order::ExecutedRoots;
use tana_types::Hash;

use crate::pipeline::held::AgreedBlock;

/// Events kept before agreement listens: what recovery found, and what the first moments bring. It listens within a second, or the node does
/// not start.
const EARLY_EVENTS_MAX: usize = 1 << 20;

/// A batch that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its author's key.
    pub author: [u8; 32],
    /// Its number in the lane; 0 when not even that could be read.
    pub sequence: u64,
    /// What blocks would name it by.
    pub digest: Hash,
    /// Proof against the author. Without it the bytes are not what the seal says, which proves nothing against anybody but whoever sent
    /// them.
    pub evidence: Option<Evidence>,
}

impl Refusal {
    /// A refusal that proves nothing against the author.
    pub fn malformed(author: [u8; 32], sequence: u64, digest: Hash) -> Self {
        Self { author, sequence, digest, evidence: None }
    }
}

/// A member of a validator set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its key.
    pub key: [u8; 32],
    /// Where its links listen, `host:port`.
    pub address: String,
}

/// What is known behind an executed height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutedNote {
    /// What later headers attest.
    pub roots: ExecutedRoots,
    /// The validator sets that are fixed, by epoch, ascending: that of the height's epoch and the one after it.
    pub sets: Vec<(u64, Vec<Member>)>,
}

/// What the pipeline tells.
#[derive(Debug)]
pub enum PipelineEvent {
    /// A batch is durable.
    Held {
        /// What blocks are made of.
        batch: HeldBatch,
        /// Seal and body of an own batch, to be sent to the others.
        own: Option<Bytes>,
    },
    /// A batch was refused.
    Refused(Refusal),
    /// A height was executed.
    Executed(ExecutedNote),
    /// A height is committed.
    Committed(u64),
}

/// What agreement tells the order stage.
#[derive(Debug)]
pub enum AgreementInput {
    /// The next final block; at least once, in order.
    Finalized(Box<AgreedBlock>),
    /// Batches that no block will list any more, or that a final block has listed.
    Forget(Vec<Hash>),
    /// The own batches behind this mark are dead: their transactions are to be sealed again.
    Reseal(u64),
}

type Listener = Box<dyn Fn(PipelineEvent) + Send + Sync>;

/// The stages' end. Without a listener events are kept; without agreement none are made.
#[derive(Default)]
pub struct AgreementPort {
    listener: OnceLock<Listener>,
    early: Mutex<Vec<PipelineEvent>>,
}

impl AgreementPort {
    /// Tells agreement, or keeps the event until it listens.
    pub fn send(&self, event: PipelineEvent) {
        if let Some(listener) = self.listener.get() {
            return listener(event);
        }
        let mut early = self.early.lock();
        match self.listener.get() {
            Some(listener) => listener(event),
            None if early.len() < EARLY_EVENTS_MAX => early.push(event),
            None => tracing::warn!("agreement does not listen; an event is dropped"),
        }
    }

    /// Agreement listens from now on, and hears first what was kept.
    pub fn listen(&self, listener: impl Fn(PipelineEvent) + Send + Sync + 'static) {
        let mut early = self.early.lock();
        for event in early.drain(..) {
            listener(event);
        }
        let _ = self.listener.set(Box::new(listener));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn early_events_come_first_and_in_order() {
        let port = AgreementPort::default();
        port.send(PipelineEvent::Committed(1));
        port.send(PipelineEvent::Committed(2));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let there = heard.clone();
        port.listen(move |event| {
            if let PipelineEvent::Committed(height) = event {
                there.lock().push(height);
            }
        });
        port.send(PipelineEvent::Committed(3));
        assert_eq!(*heard.lock(), [1, 2, 3]);
    }
}
