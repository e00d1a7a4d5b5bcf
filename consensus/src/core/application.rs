//! What the library asks an application: make a block, judge a block.
//!
//! Both walk the branch that they are given down to what the [`Chain`](tana_order::Chain) knows, so that the chain's rules can be applied on it,
//! and both *wait* as long as the answer may still change: for content, for the block interval, for batches (which are asked for at
//! once), for an execution, for the clock. No is said only to what is wrong for good. The library cancels what it no longer needs by
//! dropping the future.

use std::sync::Arc;

use commonware_consensus::Heightable;
use commonware_consensus::marshal::ancestry::Ancestry;
use commonware_consensus::simplex::types::Context;
use commonware_consensus::types::{Epoch, View};
use commonware_consensus::{Epochable, Viewable};
use commonware_cryptography::Digested;
use futures::StreamExt;
use tana_order::{Inserted, Proposal, Verdict};
use tana_types::Hash;
use tana_types::header::BlockHeader;

use super::Environment;
use super::block::{Block, Digest};
use super::keys::{PublicKey, key_bytes};
use super::scheme::Scheme;
use super::shared::Shared;
use crate::observation::Observation;

/// The shortest wait for a time that a machine named, milliseconds: timers below it cost more than they bring.
const WAIT_MS_MIN: u64 = 1;
/// The most ancestors that are walked: above it the branch cannot be one on which this node may vote.
const ANCESTORS_MAX: usize = 4_096;

/// The application of one validator. Clones share.
#[derive(Clone)]
pub(crate) struct Application {
    shared: Arc<Shared>,
}

impl Application {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Notes which view is asked about.
    fn note(&self, context: &Context<Digest, PublicKey>) {
        let (epoch, view): (Epoch, View) = (context.epoch(), context.view());
        self.shared.entered(epoch.get(), view.get(), key_bytes(&context.leader));
    }

    /// Tells those who watch of a block that was made here or came to be judged.
    fn proposed(&self, context: &Context<Digest, PublicKey>, header: &BlockHeader, block: Hash) {
        let (epoch, view): (Epoch, View) = (context.epoch(), context.view());
        self.shared.host.observed(Observation::Proposal {
            epoch: epoch.get(),
            view: view.get(),
            height: header.height,
            proposer: header.proposer,
            block,
            transactions: header.transaction_count,
            batches: header.batch_count() as u32,
        });
    }

    /// Makes a branch known to the chain: `newest` and what lies below it, down to a known block. None where it can no longer be reached,
    /// because other blocks were finalized.
    async fn learn(
        &self,
        clock: &impl Environment,
        newest: Digested<Block>,
        mut ancestry: impl Ancestry<Block>,
    ) -> Option<()> {
        let mut unknown = Vec::new();
        let mut next = newest;
        loop {
            let hash = next.inner().hash();
            let (known, finalized) = self.shared.with(|state| (state.chain.contains(&hash), state.finalized.0));
            if known {
                break;
            }
            if next.height().get() <= finalized || unknown.len() == ANCESTORS_MAX {
                return None;
            }
            unknown.push(next);
            next = ancestry.next().await?;
        }
        let mut bell = self.shared.bell();
        while let Some(block) = unknown.last() {
            let header = block.inner().header()?;
            let (hash, now) = (block.inner().hash(), self.shared.now(clock));
            match self.shared.with(|state| state.chain.insert(header.clone(), hash, now)) {
                Inserted::Yes => drop(unknown.pop()),
                Inserted::WaitExecuted(_) | Inserted::Full => bell.wait(clock, None).await,
                Inserted::WaitParent | Inserted::Refused => return None,
            }
        }
        Some(())
    }

    async fn build(
        &self,
        clock: &impl Environment,
        context: &Context<Digest, PublicKey>,
        mut ancestry: impl Ancestry<Block>,
    ) -> Option<Digested<Block>> {
        self.note(context);
        let parent = ancestry.next().await?;
        let hash = parent.inner().hash();
        self.learn(clock, parent, ancestry).await?;
        let mut bell = self.shared.bell();
        loop {
            let now = self.shared.now(clock);
            let (me, epoch) = (self.shared.me, context.epoch().get());
            let proposal = self.shared.with(|state| state.chain.propose(hash, me, epoch, now, &state.book));
            match proposal {
                Proposal::Block(header) => {
                    let block = Block::new(header);
                    self.shared.with(|state| {
                        if let Some(header) = block.header() {
                            state.chain.insert(header.clone(), block.hash(), now);
                        }
                        state.status.counts.proposed += 1;
                    });
                    if let Some(header) = block.header() {
                        self.proposed(context, header, block.hash());
                    }
                    return Some(block.digested());
                }
                Proposal::WaitUntil(wall_ms) => {
                    let wait = wall_ms.saturating_sub(now.wall_ms).max(WAIT_MS_MIN);
                    bell.wait(clock, Some(wait)).await;
                }
                Proposal::Wait => bell.wait(clock, None).await,
            }
        }
    }

    /// Whether a block is valid; waits as long as that is open.
    async fn judge(&self, clock: &impl Environment, leader: [u8; 32], header: &BlockHeader, hash: Hash) -> bool {
        let mut bell = self.shared.bell();
        loop {
            let now = self.shared.now(clock);
            let verdict = self.shared.with(|state| state.chain.verify(header, &leader, now, &state.book));
            match verdict {
                Verdict::Valid => {
                    self.shared.with(|state| {
                        state.chain.insert(header.clone(), hash, now);
                        state.status.counts.verified += 1;
                    });
                    return true;
                }
                Verdict::Invalid(reason) => {
                    tracing::warn!(height = header.height, reason, "a proposal is invalid");
                    self.shared.count(|counts| counts.rejected += 1);
                    return false;
                }
                Verdict::WaitBatches(missing) => {
                    super::fetch::want(&self.shared, header, &missing);
                    bell.wait(clock, None).await;
                }
                Verdict::WaitClock(wall_ms) => {
                    let wait = wall_ms.saturating_sub(now.wall_ms).max(WAIT_MS_MIN);
                    bell.wait(clock, Some(wait)).await;
                }
                Verdict::WaitExecuted(_) | Verdict::WaitParent => bell.wait(clock, None).await,
            }
        }
    }
}

impl<E: Environment> commonware_consensus::Application<E> for Application {
    type SigningScheme = Scheme;
    type Context = Context<Digest, PublicKey>;
    type Block = Block;
    type Input = ();

    async fn propose(
        &mut self,
        (clock, context): (E, Self::Context),
        ancestry: impl Ancestry<Block>,
        (): (),
    ) -> Option<Digested<Block>> {
        self.build(&clock, &context, ancestry).await
    }

    async fn verify(&mut self, (clock, context): (E, Self::Context), mut ancestry: impl Ancestry<Block>) -> bool {
        self.note(&context);
        let Some(block) = ancestry.next().await else { return never().await };
        let Some(header) = block.inner().header() else { return false };
        self.proposed(&context, header, block.inner().hash());
        let Some(parent) = ancestry.next().await else { return never().await };
        if self.learn(&clock, parent, ancestry).await.is_none() {
            // Other blocks were finalized meanwhile; the library drops this question.
            return never().await;
        }
        self.judge(&clock, key_bytes(&context.leader), header, block.inner().hash()).await
    }
}

/// No answer: to abstain.
async fn never<T>() -> T {
    std::future::pending().await
}
