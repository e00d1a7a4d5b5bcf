//! What arrives of lanes: batches from their authors, answers to requests, requests, and marks.
//!
//! A batch is looked at in the order of cost: its seal's fields, whether it is here already, the seal's signature, the lane book's admission
//! (author, quota, conflict, age); then the host verifies and stores it. While the host has no room, the channel is not read, so the
//! link fills up and its sender is held back; votes and blocks have channels of their own and do not wait for it.

use std::sync::Arc;

use bytes::Bytes;
use commonware_p2p::{Blocker, LimitedSender, Receiver};
use tana_lane::{Admission, Evidence, Fetch, Marks};
use tana_types::batch::Seal;
use tana_types::transaction::Chain;

use super::Environment;
use super::fetch::Answers;
use super::keys::{PublicKey, key_bytes};
use super::shared::Shared;

/// How long a batch waits before it is offered to a full host again, where no bell rings before, milliseconds.
const HOST_FULL_WAIT_MS: u64 = 5;
/// How often a full host is asked again before the batch is let go; its author, or whoever wants it, sends it again: 10 seconds.
const HOST_FULL_OFFERS_MAX: usize = 2_000;

/// The receiving side of the lanes. Clones share.
pub(crate) struct Intake<E, B> {
    context: Arc<E>,
    shared: Arc<Shared>,
    chain: Arc<Chain>,
    blocker: B,
}

impl<E, B: Clone> Clone for Intake<E, B> {
    fn clone(&self) -> Self {
        Self {
            context: self.context.clone(),
            shared: self.shared.clone(),
            chain: self.chain.clone(),
            blocker: self.blocker.clone(),
        }
    }
}

impl<E: Environment, B: Blocker<PublicKey = PublicKey> + Sync> Intake<E, B> {
    pub(crate) fn new(context: E, shared: Arc<Shared>, chain: Chain, blocker: B) -> Self {
        Self { context: Arc::new(context), shared, chain: Arc::new(chain), blocker }
    }

    /// Reads the channel of batches.
    pub(crate) async fn batches(mut self, mut receiver: impl Receiver<PublicKey = PublicKey>) {
        while let Ok((peer, message)) = receiver.recv().await {
            self.take(&peer, Bytes::from(message)).await;
        }
    }

    /// Reads the channel of requests and answers.
    pub(crate) async fn fetches<S: LimitedSender<PublicKey = PublicKey>>(
        mut self,
        mut receiver: impl Receiver<PublicKey = PublicKey>,
        answers: Answers<E, S>,
    ) {
        while let Ok((peer, message)) = receiver.recv().await {
            let message = Bytes::from(message);
            match Fetch::decode(&message) {
                Ok(Fetch::Request(request)) => answers.answer(peer, request),
                Ok(Fetch::Batch(sealed)) => {
                    let sealed = message.slice_ref(sealed);
                    self.take(&peer, sealed).await;
                }
                Ok(Fetch::NotHeld(digest)) => {
                    self.shared.with(|state| state.book.fetch_failed(&key_bytes(&peer), &digest));
                    self.shared.ring();
                }
                Err(_) => self.malformed(peer),
            }
        }
    }

    /// Reads the channel of marks.
    pub(crate) async fn marks(mut self, mut receiver: impl Receiver<PublicKey = PublicKey>) {
        while let Ok((peer, message)) = receiver.recv().await {
            match Marks::decode(message.as_ref()) {
                Ok(marks) => {
                    self.shared.with(|state| state.book.on_marks(&key_bytes(&peer), &marks));
                    self.shared.ring();
                }
                Err(_) => self.malformed(peer),
            }
        }
    }

    fn malformed(&mut self, peer: PublicKey) {
        self.shared.count(|counts| counts.malformed += 1);
        commonware_p2p::block!(self.blocker, peer, "a message about lanes cannot be read");
    }

    async fn take(&mut self, peer: &PublicKey, sealed: Bytes) {
        let Ok((seal, _)) = Seal::decode(&sealed, &self.chain) else {
            return self.malformed(peer.clone());
        };
        let (from, seal) = (key_bytes(peer), *seal);
        let digest = seal.digest();
        let held = self.shared.with(|state| {
            let held = state.book.get(&digest).is_some();
            if held {
                state.book.fetched(&digest);
            }
            held
        });
        if held {
            return;
        }
        if !seal.signature_is_valid() {
            // Only its author could have signed it, so whoever passes it on unsigned is at fault.
            self.shared.with(|state| state.book.fetch_failed(&from, &digest));
            return self.malformed(peer.clone());
        }
        let now_ms = self.shared.now_ms(&*self.context);
        match self.shared.with(|state| state.book.admit(&from, &seal, now_ms)) {
            Admission::Verify => self.pass_on(seal.author, seal.sequence.get(), digest, sealed).await,
            Admission::Known => {}
            Admission::OverQuota | Admission::Stranger | Admission::Stale => {
                self.shared.count(|counts| counts.batches_refused += 1);
            }
            Admission::Conflict { evidence, verify } => {
                self.conflict(*evidence);
                if verify {
                    self.pass_on(seal.author, seal.sequence.get(), digest, sealed).await;
                }
            }
        }
    }

    fn conflict(&self, evidence: Evidence) {
        let culprit = match &evidence {
            Evidence::ConflictingSeals(seals) => Some(seals[0].author),
            _ => None,
        };
        self.shared.evidence(culprit, evidence);
    }

    /// Gives a batch to the host, waiting while it has no room.
    async fn pass_on(&self, author: [u8; 32], sequence: u64, digest: tana_types::Hash, sealed: Bytes) {
        self.shared.count(|counts| counts.batches_received += 1);
        let mut bell = self.shared.bell();
        for _ in 0..HOST_FULL_OFFERS_MAX {
            if self.shared.host.verify(sealed.clone(), author) {
                return;
            }
            bell.wait(&*self.context, Some(HOST_FULL_WAIT_MS)).await;
        }
        self.shared.with(|state| state.book.refused(&author, sequence, &digest));
    }
}
