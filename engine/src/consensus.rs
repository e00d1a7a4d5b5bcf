//! Ties the crate that speaks consensus to the pipeline: its host is the [`PipelineHost`], its events are the stages'.
//!
//! Nothing here decides anything. Types are turned into each other, and the pace and the bounds are taken from the configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tana_consensus::{
    ChainStart, Consensus, ConsensusConfig, EpochSet, Event, Execution, FileRecord, FinalizedBlock, Host, NodeHandle,
    Observation, Validator,
};
use tana_lane::{Evidence, LaneLimits};
use tana_net::link::LinkLimits;
use tana_order::ChainRules;
use tana_types::Hash;

use crate::agreement::{Member, PipelineEvent};
use crate::agreement_host::{Agreement, AgreementStart, PipelineHost};
use crate::pipeline::held::AgreedBlock;

/// Bytes of batch bodies per author that are kept before a block lists them, for each batch of the quota.
const QUOTA_BYTES_PER_BATCH: usize = 256 << 10;
/// Batches that are asked for at a time.
const FETCHES_IN_FLIGHT: usize = 64;
/// Threads of agreement's runtime.
const WORKERS: usize = 1;
/// Free bytes of a file system below which it counts as full: a small part of one segment of the agreement library's journals.
const FULL_BYTES: u64 = 4 << 20;

/// Stands behind agreement.
struct EngineHost(Arc<PipelineHost>);

impl Host for EngineHost {
    fn verify(&self, batch: Bytes, author: [u8; 32]) -> bool {
        self.0.verify(batch, author)
    }

    fn finalized(&self, block: FinalizedBlock) {
        let FinalizedBlock { header, hash, certificate, .. } = block;
        self.0.finalized(AgreedBlock { header, hash, certificate });
    }

    fn read_batch(&self, digest: &Hash, height_hint: u64) -> Option<Bytes> {
        self.0.read_batch(digest, height_hint)
    }

    fn forget(&self, digests: &[Hash]) {
        self.0.forget(digests);
    }

    fn reseal_own(&self, mark: u64) {
        self.0.reseal_own(mark);
    }

    fn evidence(&self, evidence: Evidence) {
        self.0.evidence(&evidence);
    }

    fn answer_sync(&self, peer: &[u8; 32], request: Bytes) -> Option<Bytes> {
        self.0.answer_sync(peer, request)
    }

    fn observed(&self, observation: Observation) {
        self.0.observed(observation);
    }
}

/// Agreement by the crate `tana-consensus`.
struct Running {
    consensus: Consensus,
    handle: Arc<NodeHandle>,
    data: PathBuf,
}

impl Agreement for Running {
    fn handle(&self) -> Option<NodeHandle> {
        Some(NodeHandle::clone(&self.handle))
    }

    fn failure(&self) -> Option<String> {
        let told = self.handle.status().failure;
        let ended =
            || (!self.consensus.is_alive()).then(|| "agreement's thread has ended; the log says why".to_owned());
        told.or_else(ended).map(|reason| match is_full(&self.data) {
            true => format!("{reason}; the file system of {} is full: make room and start again", self.data.display()),
            false => reason,
        })
    }

    fn stop(self: Box<Self>) {
        self.consensus.stop();
    }
}

/// Agreement's library ends without the system's reason when it cannot write; a file system with next to nothing left is that reason.
fn is_full(data: &Path) -> bool {
    rustix::fs::statvfs(data).is_ok_and(|space| space.f_bavail.saturating_mul(space.f_frsize) < FULL_BYTES)
}

fn epoch_set((epoch, members): (u64, Vec<Member>)) -> EpochSet {
    let validator = |member: Member| Validator { key: member.key, address: member.address };
    EpochSet { epoch, validators: members.into_iter().map(validator).collect() }
}

fn event_of(event: PipelineEvent) -> Event {
    match event {
        PipelineEvent::Held { batch, own } => Event::Held { batch, own },
        PipelineEvent::Refused(refused) => Event::Refused {
            author: refused.author,
            sequence: refused.sequence,
            digest: refused.digest,
            evidence: refused.evidence,
        },
        PipelineEvent::Executed(note) => {
            let sets = note.sets.into_iter().map(epoch_set).collect();
            Event::Executed(Execution { roots: note.roots, sets })
        }
        PipelineEvent::Committed(height) => Event::Committed(height),
    }
}

fn settings(start: &AgreementStart) -> ConsensusConfig {
    let config = &start.config;
    let order = &config.order;
    let quota = config.consensus.lane_quota_batches;
    ConsensusConfig {
        key: start.key.clone(),
        genesis_hash: start.genesis.hash(),
        rules: ChainRules {
            gather_ns_per_transaction: order.gather_ns_per_transaction,
            gather_ms_max: config.consensus.leader_timeout_ms / 4,
            ..ChainRules::new(
                &start.genesis.rules,
                order.block_transactions,
                order.block_interval_ms,
                order.empty_interval_ms,
            )
        },
        lanes: LaneLimits {
            batches_per_author: quota,
            bytes_per_author: quota * QUOTA_BYTES_PER_BATCH,
            fetches_in_flight: FETCHES_IN_FLIGHT,
        },
        listen: config.consensus.listen,
        links: LinkLimits::default(),
        trouble: config.consensus.trouble.clone().map(crate::trouble::follow),
        leader_timeout: Duration::from_millis(config.consensus.leader_timeout_ms),
        keep_heights: config.consensus.keep_heights,
        folder: start.folder.clone(),
        record: vote_record(&config.data),
        workers: WORKERS,
    }
}

/// Where a data folder says whether its key has voted.
pub fn vote_record(data: &Path) -> PathBuf {
    data.join("voted")
}

/// Says in a data folder that its key was just made and has not voted anywhere; a node without this word does not vote. For whoever makes a key.
///
/// # Errors
/// When there is such a word already, of whatever content, or it cannot be written.
pub fn create_vote_record(data: &Path) -> std::io::Result<()> {
    FileRecord::create(&vote_record(data))
}

/// Starts agreement in front of the pipeline.
///
/// # Errors
/// A sentence that says why it cannot start.
pub fn start(start: AgreementStart, host: Arc<PipelineHost>) -> Result<Box<dyn Agreement>, String> {
    let settings = settings(&start);
    let data = start.config.data.clone();
    let chain = ChainStart {
        genesis_timestamp_ms: start.genesis.timestamp_ms,
        base: start.base,
        marks: start.marks,
        floors: start.floors,
        executed: start.executed,
        sets: start.sets.into_iter().map(epoch_set).collect(),
        above: start.above,
        boundary: start.boundary,
        certificate: start.certificate,
    };
    let consensus =
        Consensus::start(settings, chain, Arc::new(EngineHost(host.clone()))).map_err(|error| error.to_string())?;
    let handle = Arc::new(consensus.handle());
    // The host lives in agreement: a handle in its listener would keep both, and the links' port, for ever.
    let there = Arc::downgrade(&handle);
    host.listen(move |event| {
        if let Some(handle) = there.upgrade() {
            handle.send(event_of(event));
        }
    });
    Ok(Box::new(Running { consensus, handle, data }))
}
