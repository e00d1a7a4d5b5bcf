//! What agreement finds behind it: the pipeline's ends, and the batches that peers ask for.
//!
//! [`PipelineHost`] takes what agreement says into the pipeline; [`AgreementStart`] is what agreement must know to go on where this node
//! stopped; [`Agreement`] is what the node keeps of it. The crate that speaks consensus is tied to these in [`crate::consensus`], and tests
//! tie something simpler.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tana_consensus::{NodeHandle, Observation};
use tana_lane::Evidence;
use tana_order::{ExecutedRoots, LaneFloors};
use tana_store::{LogReader, Position};
use tana_types::Hash;
use tana_types::genesis::Genesis;
use tana_types::header::BlockHeader;

use crate::agreement::{AgreementInput, AgreementPort, Member, PipelineEvent};
use crate::config::NodeConfig;
use crate::evidence_store::EvidenceStore;
use crate::failure::Failure;
use crate::history::History;
use crate::pipeline::held::AgreedBlock;
use crate::pipeline::{BATCH_LOG, LOG_NAMES};
use crate::telemetry::Event;
use crate::votes::VoteBook;
use crate::wiring::AgreementEnds;

/// How long a look-up for a peer may take.
const READ_TIME: Duration = Duration::from_secs(2);

/// Answers peers that synchronise their state.
pub trait AnswerSync: Send + Sync {
    /// The answer; none where the request is not understood or there is nothing to say.
    fn answer(&self, peer: &[u8; 32], request: Bytes) -> Option<Bytes>;
}

/// See the module's text.
pub struct PipelineHost {
    ends: AgreementEnds,
    history: Arc<History>,
    evidence: Arc<EvidenceStore>,
    sync: Option<Arc<dyn AnswerSync>>,
    failure: Arc<Failure>,
    votes: Arc<VoteBook>,
}

impl PipelineHost {
    /// A host over the pipeline's ends.
    pub fn new(
        ends: AgreementEnds,
        history: Arc<History>,
        evidence: Arc<EvidenceStore>,
        sync: Option<Arc<dyn AnswerSync>>,
        failure: Arc<Failure>,
    ) -> Self {
        Self { ends, history, evidence, sync, failure, votes: Arc::default() }
    }

    /// Takes a batch of another validator in, whose seal was checked; false when there is no room at this moment.
    pub fn verify(&self, batch: Bytes, author: [u8; 32]) -> bool {
        self.ends.remote.offer(batch, author)
    }

    /// Takes the next final block; at least once, in order.
    pub fn finalized(&self, block: AgreedBlock) {
        self.votes.finalized(&block.hash, block.header.height);
        self.ends.inputs.send(AgreementInput::Finalized(Box::new(block)));
    }

    /// The sealed bytes of a durable batch: from its place while no committed block lists it, and else through the block at `height`.
    pub fn read_batch(&self, digest: &Hash, height: u64) -> Option<Bytes> {
        let until = Instant::now() + READ_TIME;
        let position = match self.ends.places.get(digest) {
            Some(position) => position,
            None if height == 0 => return None,
            None => self.history.batch_place(digest, height, until).ok().flatten()?,
        };
        let mut reader = LogReader::open(&self.history.logs, LOG_NAMES[BATCH_LOG]).ok()?;
        let record = reader.read_at(Position::from_u64(position)).ok()?;
        Some(Bytes::from(record.payload))
    }

    /// The hash of a committed block.
    pub fn block_hash(&self, height: u64) -> Option<Hash> {
        let header = self.history.header(height, Instant::now() + READ_TIME).ok().flatten()?;
        Some(header.hash())
    }

    /// These batches need not be held any more.
    pub fn forget(&self, digests: &[Hash]) {
        if !digests.is_empty() {
            self.ends.inputs.send(AgreementInput::Forget(digests.to_vec()));
        }
    }

    /// Own batches behind `mark` are dead.
    pub fn reseal_own(&self, mark: u64) {
        self.ends.inputs.send(AgreementInput::Reseal(mark));
    }

    /// Keeps a proof against a validator.
    pub fn evidence(&self, evidence: &Evidence) {
        match self.evidence.add(evidence) {
            Ok(true) => tracing::warn!("a validator was caught; `tana evidence` shows the proof"),
            Ok(false) => {}
            Err(error) => self.failure.tell(format!("a proof against a validator cannot be written: {error}")),
        }
    }

    /// Answers a peer that synchronises its state.
    pub fn answer_sync(&self, peer: &[u8; 32], request: Bytes) -> Option<Bytes> {
        self.sync.as_ref()?.answer(peer, request)
    }

    /// Takes in what agreement saw: votes are remembered, and whoever watches is told.
    pub fn observed(&self, observation: Observation) {
        self.votes.observed(&observation);
        self.history.published.telemetry.push(Event::Agreement(observation));
    }

    /// Who voted for which block.
    pub fn votes(&self) -> &Arc<VoteBook> {
        &self.votes
    }

    /// The stages' events go to `listener` from now on.
    pub fn listen(&self, listener: impl Fn(PipelineEvent) + Send + Sync + 'static) {
        self.ends.port.listen(listener);
    }

    /// The stages' end, for those who must outlive this.
    pub fn port(&self) -> &Arc<AgreementPort> {
        &self.ends.port
    }
}

/// What agreement must know to go on where this node stopped.
#[derive(Clone)]
pub struct AgreementStart {
    /// The node's configuration.
    pub config: NodeConfig,
    /// The chain.
    pub genesis: Genesis,
    /// The validator's key.
    pub key: SigningKey,
    /// Where agreement may keep its own files.
    pub folder: PathBuf,
    /// The last committed block; none at the genesis.
    pub base: Option<BlockHeader>,
    /// The lanes' marks after it, by author.
    pub marks: BTreeMap<[u8; 32], u64>,
    /// What is left of the lanes of authors that left the set before.
    pub floors: LaneFloors,
    /// Roots of heights up to it that later headers may attest; its own at least.
    pub executed: Vec<ExecutedRoots>,
    /// The validator sets that are fixed by it, ascending by epoch, from that of its own on.
    pub sets: Vec<(u64, Vec<Member>)>,
    /// The headers of final blocks above it, which this node executes by itself.
    pub above: Vec<BlockHeader>,
    /// The hash of the last block before the epoch of the next block, where this node has it.
    pub boundary: Option<Hash>,
    /// A certificate of the last committed block, from a state sync.
    pub certificate: Option<Vec<u8>>,
}

/// Agreement as the node keeps it.
pub trait Agreement: Send {
    /// The way to the crate that speaks consensus, where it is that.
    fn handle(&self) -> Option<NodeHandle> {
        None
    }

    /// Why it cannot go on, when it cannot.
    fn failure(&self) -> Option<String> {
        None
    }

    /// Ends it; nothing comes from it any more when this returns.
    fn stop(self: Box<Self>);
}

/// Starts agreement in front of a host.
pub type AgreementMaker<'a> = &'a dyn Fn(AgreementStart, Arc<PipelineHost>) -> Result<Box<dyn Agreement>, String>;
