//! From the library's finalized blocks to the host: in order, exactly from the host's tip on, and acknowledged once committed.
//!
//! 1. Marshal reports finalized blocks in order of height, at least once, at most [`BLOCKS_IN_FLIGHT_MAX`] ahead of what was acknowledged.
//! 2. Batches of a block that are not held here are asked for as soon as the block is known; the first block waits until all of its
//!    batches are held. So a node that was away fetches for many blocks at a time and still executes in order.
//! 3. The chain moves its finalized tip, the lanes forget what was settled, and the host gets the block with its certificate, where this
//!    height has one of its own.
//! 4. The block is acknowledged when the host has committed it. What was acknowledged is never asked for again; a block that is reported
//!    again after a restart, at or below the host's tip, is only acknowledged.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;

use commonware_actor::Feedback;
use commonware_consensus::marshal::Update;
use commonware_consensus::marshal::core::Mailbox;
use commonware_consensus::marshal::standard::Standard;
use commonware_consensus::types::Height;
use commonware_consensus::{Heightable, Reporter};
use commonware_cryptography::Digested;
use commonware_utils::Acknowledgement;
use commonware_utils::acknowledgement::Exact;
use tana_order::Inserted;
use tana_types::Hash;
use tana_types::header::BlockHeader;
use tokio::sync::mpsc;

use super::Environment;
use super::block::Block;
use super::scheme::Scheme;
use super::shared::Shared;
use crate::api::FinalizedBlock;
use crate::certificate;

/// Blocks that were reported and are not committed yet.
// 16 is above 0.
pub(crate) const BLOCKS_IN_FLIGHT_MAX: NonZeroUsize = NonZeroUsize::new(16).unwrap();
/// Heights between two prunings of the library's own blocks and certificates.
const PRUNE_HEIGHTS: u64 = 256;

/// Takes marshal's reports; never more than the blocks in flight wait in the queue, because marshal stops there.
#[derive(Clone)]
pub(crate) struct Reports {
    sender: mpsc::UnboundedSender<(Digested<Block>, Exact)>,
}

impl Reporter for Reports {
    type Activity = Update<Block>;

    fn report(&mut self, update: Update<Block>) -> Feedback {
        match update {
            Update::Tip(..) => Feedback::Ok,
            Update::Block(block, acknowledgement) => match self.sender.send((block, acknowledgement)) {
                Ok(()) => Feedback::Ok,
                Err(_) => Feedback::Closed,
            },
        }
    }
}

/// The task behind [`Reports`].
pub(crate) struct Delivery {
    shared: Arc<Shared>,
    marshal: Mailbox<Scheme, Standard<Block>>,
    reports: mpsc::UnboundedReceiver<(Digested<Block>, Exact)>,
    waiting: VecDeque<(Digested<Block>, Exact)>,
    unacknowledged: VecDeque<(u64, Exact)>,
    /// Final blocks that the host had at start, above the last one that it had executed.
    above: VecDeque<(BlockHeader, Hash)>,
    /// Heights that the library keeps for peers; 0 keeps all.
    keep_heights: u64,
    pruned_to: u64,
}

/// What a final block settled.
struct Settled {
    /// Batches that agreement needs no longer.
    forget: Vec<Hash>,
    /// The own mark, where own batches can no longer be listed.
    reseal: Option<u64>,
}

/// The reporter for marshal, and where its reports come out.
pub(crate) fn reports() -> (Reports, mpsc::UnboundedReceiver<(Digested<Block>, Exact)>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Reports { sender }, receiver)
}

impl Delivery {
    pub(crate) fn new(
        shared: Arc<Shared>,
        marshal: Mailbox<Scheme, Standard<Block>>,
        reports: mpsc::UnboundedReceiver<(Digested<Block>, Exact)>,
        above: VecDeque<(BlockHeader, Hash)>,
        keep_heights: u64,
    ) -> Self {
        Self {
            shared,
            marshal,
            reports,
            waiting: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            above,
            keep_heights,
            pruned_to: 0,
        }
    }

    pub(crate) async fn run<E: Environment>(mut self, context: E) {
        let mut bell = self.shared.bell();
        loop {
            while let Ok((block, acknowledgement)) = self.reports.try_recv() {
                self.arrived(block, acknowledgement);
            }
            if let Err(failure) = self.hand_on(&context).await {
                // Dropping the acknowledgements stops the library's delivery as well.
                self.shared.fail(failure);
                return;
            }
            self.acknowledge();
            tokio::select! {
                biased;
                report = self.reports.recv() => match report {
                    Some((block, acknowledgement)) => self.arrived(block, acknowledgement),
                    // Marshal ended: the context is being stopped.
                    None => return,
                },
                () = bell.wait(&context, None) => {}
            }
        }
    }

    fn arrived(&mut self, block: Digested<Block>, acknowledgement: Exact) {
        let height = block.height().get();
        if height <= self.shared.with(|state| state.finalized.0) {
            self.unacknowledged.push_back((height, acknowledgement));
            return;
        }
        if let Some(header) = block.inner().header() {
            let missing = self.missing(header);
            super::fetch::want(&self.shared, header, &missing);
        }
        self.waiting.push_back((block, acknowledgement));
    }

    /// The listed batches that are not held here.
    fn missing(&self, header: &BlockHeader) -> Vec<Hash> {
        self.shared.with(|state| {
            header
                .batches()
                .filter(|(_, _, digest)| state.book.get(digest).is_none())
                .map(|(_, _, digest)| *digest)
                .collect()
        })
    }

    /// Hands on every block at the front whose batches are all held.
    async fn hand_on<E: Environment>(&mut self, context: &E) -> Result<(), String> {
        while let Some((header, hash)) = self.above.front() {
            let Some(settled) = self.settle(context, header, *hash)? else { return Ok(()) };
            self.above.pop_front();
            self.tell(settled);
        }
        while let Some((block, _)) = self.waiting.front() {
            let (Some(header), hash) = (block.inner().header().cloned(), block.inner().hash()) else {
                return Err("the library delivered the chain's start again".into());
            };
            let missing = self.missing(&header);
            if !missing.is_empty() {
                super::fetch::want(&self.shared, &header, &missing);
                return Ok(());
            }
            let Some(settled) = self.settle(context, &header, hash)? else { return Ok(()) };
            let Some((_, acknowledgement)) = self.waiting.pop_front() else { return Ok(()) };
            let height = header.height;
            let finalization = self.marshal.get_finalization(Height::new(height)).await;
            let certified = finalization.as_ref().map(certificate::certified);
            self.shared.host.finalized(FinalizedBlock {
                epoch: header.epoch,
                view: certified.map_or(0, |certified| certified.view),
                certificate: finalization.as_ref().map(certificate::encode).unwrap_or_default(),
                header,
                hash,
            });
            self.tell(settled);
            self.unacknowledged.push_back((height, acknowledgement));
        }
        Ok(())
    }

    /// Moves chain and lanes on with a final block; none while its validator set is not known yet, an error where it contradicts what
    /// is final here.
    fn settle<E: Environment>(&self, context: &E, header: &BlockHeader, hash: Hash) -> Result<Option<Settled>, String> {
        let (height, epochs, now) = (header.height, self.shared.epochs, self.shared.now(context));
        self.shared.with(|state| {
            match state.chain.insert(header.clone(), hash, now) {
                Inserted::Yes => {}
                Inserted::WaitExecuted(_) | Inserted::Full => return Ok(None),
                Inserted::WaitParent | Inserted::Refused => {
                    let (tip, _) = state.chain.tip();
                    return Err(format!("the finalized block at height {height} does not follow the own tip at {tip}"));
                }
            }
            let marks = state.chain.finalize(&hash).map_err(|error| error.to_string())?.marks;
            let mut forget = state.book.finalized(&marks, height);
            forget.extend(state.drop_unplaced(height));
            for digest in &forget {
                state.own.remove(digest);
            }
            if height >= state.finalized.0 {
                state.finalized = (height, hash);
                state.status.finalized_height = height;
            }
            state.marks_changed = true;
            if height == epochs.last_height(epochs.of(height)) {
                state.boundary = Some((epochs.of(height) + 1, hash));
            }
            let reseal = state.book.own_expired(height).then(|| state.book.own_mark());
            Ok(Some(Settled { forget, reseal }))
        })
    }

    fn tell(&self, settled: Settled) {
        if !settled.forget.is_empty() {
            self.shared.host.forget(&settled.forget);
        }
        if let Some(mark) = settled.reseal {
            self.shared.host.reseal_own(mark);
        }
        self.shared.ring();
    }

    fn acknowledge(&mut self) {
        let committed = self.shared.with(|state| state.committed);
        while self.unacknowledged.front().is_some_and(|(height, _)| *height <= committed) {
            if let Some((_, acknowledgement)) = self.unacknowledged.pop_front() {
                acknowledgement.acknowledge();
            }
        }
        if self.keep_heights > 0 && committed > self.pruned_to + self.keep_heights + PRUNE_HEIGHTS {
            self.pruned_to = committed - self.keep_heights;
            self.marshal.prune(Height::new(self.pruned_to));
        }
    }
}
