//! What a running node tells over HTTP, read from what its pipeline, its agreement and its links publish.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use tana_consensus::{ConsensusStatus, NodeHandle, certificate, quorum};
use tana_engine::evidence_store::EvidenceStore;
use tana_engine::metrics::NodeMetrics;
use tana_engine::node::Node;
use tana_engine::published::Published;
use tana_engine::sync::LoggedChain;
use tana_engine::sync::headers::{FoundBlock, NotFound};
use tana_engine::telemetry::Telemetry;
use tana_engine::votes::{Quorum, VoteBook};
use tana_net::link::{CHANNELS, ChannelCount, PeerStatus};
use tana_types::Hash;
use tana_types::key::PublicKey;

use super::prometheus::{self, Counter};
use super::sampler::NodeSampler;
use super::view::{Health, Identity, IngestPort, NodeView, PeerView, QuorumError, QuorumView, Sampler, short_name};
use crate::node::reachable;

/// What the channels of links are for, by number.
const CHANNEL_NAMES: [&str; CHANNELS] = [
    "votes",
    "certificates",
    "certificate_fetches",
    "blocks",
    "block_fetches",
    "marks",
    "batches",
    "batch_fetches",
    "sync",
];

/// Reads a node. It holds counters, heights and a way to ask agreement, not the node: that can be stopped once this is dropped. Clones share.
#[derive(Clone)]
pub struct NodeTelemetry {
    identity: Identity,
    ingest: IngestPort,
    started: Instant,
    published: Arc<Published>,
    metrics: Arc<NodeMetrics>,
    evidence: Arc<EvidenceStore>,
    votes: Arc<VoteBook>,
    logged: Arc<LoggedChain>,
    consensus: Option<NodeHandle>,
}

impl NodeTelemetry {
    /// Reads `node`.
    pub fn new(node: &Node) -> Self {
        let report = node.report();
        let mut genesis_hash = [0; 32];
        // The node has made the text from a hash.
        let _ = hex::decode_to_slice(&report.genesis_hash, &mut genesis_hash);
        Self {
            identity: Identity {
                validator: report.validator.to_string(),
                validator_id: short_name(&report.validator),
                chain: report.chain.clone(),
                genesis_hash: report.genesis_hash.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            ingest: IngestPort { address: reachable(report.listen), key: report.validator.0, genesis_hash },
            started: Instant::now(),
            published: node.published().clone(),
            metrics: node.metrics().clone(),
            evidence: node.evidence().clone(),
            votes: node.votes().clone(),
            logged: node.chain().clone(),
            consensus: node.consensus(),
        }
    }

    /// How agreement is doing; a validator that orders alone needs nobody's consent.
    fn agreement(&self) -> ConsensusStatus {
        match &self.consensus {
            Some(consensus) => consensus.status(),
            None => ConsensusStatus { voting: true, ..ConsensusStatus::default() },
        }
    }

    fn counters(&self) -> Vec<Counter> {
        let counts = self.agreement().counts;
        let counter = |name, help, value| Counter { name, help, value };
        vec![
            counter("tana_views_nullified_total", "Views that ended without a block.", counts.views_nullified),
            counter("tana_blocks_proposed_total", "Blocks proposed here.", counts.proposed),
            counter("tana_blocks_verified_total", "Blocks of others found valid.", counts.verified),
            counter("tana_blocks_rejected_total", "Blocks of others found invalid for good.", counts.rejected),
            counter("tana_batches_received_total", "Batches of others taken in.", counts.batches_received),
            counter("tana_batches_refused_total", "Batches of others left alone.", counts.batches_refused),
            counter("tana_malformed_messages_total", "Messages of others that cannot be read.", counts.malformed),
            counter("tana_batch_fetches_total", "Batches asked for by digest.", counts.fetches),
            counter("tana_batch_answers_total", "Batches sent to peers that asked.", counts.answers),
            counter("tana_evidence_found_total", "Proofs against validators found here.", counts.evidence),
            counter(
                "tana_evidence_kept_total",
                "Different proofs against validators kept.",
                self.evidence.count() as u64,
            ),
        ]
    }
}

impl NodeView for NodeTelemetry {
    fn health(&self) -> Health {
        let (height, state_root) = self.published.head();
        let agreement = self.agreement();
        let voting = agreement.voting && agreement.failure.is_none();
        Health {
            status: if voting { "healthy" } else { "unhealthy" }.to_owned(),
            validator_id: self.identity.validator_id.clone(),
            current_height: height,
            voting,
            reason: agreement.failure.unwrap_or(agreement.reason),
            chain: self.identity.chain.clone(),
            genesis_hash: self.identity.genesis_hash.clone(),
            validator: self.identity.validator.clone(),
            height,
            state_root: hex::encode(state_root),
            finalized_height: self.published.finalized.load(Ordering::Relaxed),
            epoch: agreement.epoch,
            view: agreement.view,
            leader: if agreement.leader == [0; 32] { String::new() } else { PublicKey(agreement.leader).to_string() },
            peers: agreement.peers.iter().filter(|peer| peer.connected).count() as u64,
            uptime_s: self.started.elapsed().as_secs(),
            version: self.identity.version.clone(),
        }
    }

    fn peers(&self) -> Vec<PeerView> {
        let now = SystemTime::now();
        let status = self.consensus.as_ref().map(|consensus| consensus.links().status()).unwrap_or_default();
        status.into_iter().map(|peer| describe(peer, now)).collect()
    }

    fn metrics(&self) -> String {
        prometheus::text(&self.metrics.read(), &self.health(), &self.peers(), &self.counters())
    }

    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    fn events(&self) -> &Telemetry {
        &self.published.telemetry
    }

    fn sampler(&self) -> Box<dyn Sampler> {
        let node = self.clone();
        let health = Box::new(move || node.health());
        Box::new(NodeSampler::new(self.metrics.clone(), self.published.clone(), health))
    }

    fn quorum_seen(&self, block: &Hash) -> Option<QuorumView> {
        self.votes.quorum(block).map(seen)
    }

    fn quorum_logged(&self, block: &Hash, height: Option<u64>, until: Instant) -> Result<QuorumView, QuorumError> {
        let found = self.logged.find(block, height, until).map_err(|error| match error {
            NotFound::Unknown => QuorumError::Unknown,
            NotFound::TimeOver => QuorumError::TimeOver,
            NotFound::Unreadable(reason) => QuorumError::Unreadable(reason),
        })?;
        logged(block, &found, self.consensus.is_none())
    }

    fn ingest(&self) -> Option<IngestPort> {
        self.metrics.is_validating().then_some(self.ingest)
    }
}

/// Votes that were seen as they came.
fn seen(votes: Quorum) -> QuorumView {
    QuorumView {
        block_hash: hex::encode(votes.block),
        total_validators: votes.validators,
        total: votes.approve + votes.reject,
        approve: votes.approve,
        reject: votes.reject,
        required: votes.required,
        // A block that is final without a certificate of its own that was seen here has a quorum by a later one.
        has_quorum: votes.has_quorum || votes.is_final,
        height: votes.height,
        epoch: votes.epoch,
        view: votes.view,
        is_final: votes.is_final,
        certified_height: if votes.has_quorum { votes.height } else { 0 },
    }
}

/// A block in the log, with the certificate that stands there; `alone` when the node orders by itself, a quorum of one without certificates.
fn logged(block: &Hash, found: &FoundBlock, alone: bool) -> Result<QuorumView, QuorumError> {
    let view = QuorumView {
        block_hash: hex::encode(block),
        has_quorum: true,
        height: found.height,
        epoch: found.epoch,
        is_final: true,
        ..QuorumView::default()
    };
    let Some((certified_height, bytes)) = &found.certificate else {
        let one = QuorumView { total_validators: 1, total: 1, approve: 1, required: 1, ..view };
        return if alone { Ok(one) } else { Err(QuorumError::NoCertificate) };
    };
    let read = certificate::voters(bytes).zip(certificate::claimed(bytes));
    let ((voters, validators), certified) =
        read.ok_or_else(|| QuorumError::Unreadable(format!("the certificate of block {certified_height}")))?;
    Ok(QuorumView {
        total_validators: validators,
        total: voters.count(),
        approve: voters.count(),
        required: quorum(validators),
        view: certified.view,
        certified_height: *certified_height,
        ..view
    })
}

fn describe(peer: PeerStatus, now: SystemTime) -> PeerView {
    let by_channel = |count: fn(&ChannelCount) -> u64| -> BTreeMap<String, u64> {
        let counts = CHANNEL_NAMES.iter().zip(&peer.channels);
        counts.map(|(name, channel)| ((*name).to_owned(), count(channel))).collect()
    };
    PeerView {
        id: short_name(&PublicKey(peer.key)),
        key: PublicKey(peer.key).to_string(),
        connected: peer.connected_since.is_some(),
        connected_s: peer
            .connected_since
            .and_then(|since| now.duration_since(since).ok())
            .map_or(0, |duration| duration.as_secs()),
        round_trip_ms: peer.round_trip.map_or(0.0, |time| time.as_secs_f64() * 1e3),
        bytes_in: by_channel(|channel| channel.bytes_received),
        bytes_out: by_channel(|channel| channel.bytes_sent),
        dropped: by_channel(|channel| channel.dropped_sending + channel.dropped_receiving),
        wire_bytes_in: peer.wire_bytes_received,
        wire_bytes_out: peer.wire_bytes_sent,
        blocked: peer.blocked.map(|(reason, _)| reason).unwrap_or_default(),
        last_error: peer.last_error.unwrap_or_default(),
        address: peer.address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BLOCK: Hash = [7; 32];

    fn votes(has_quorum: bool, is_final: bool) -> Quorum {
        Quorum {
            block: BLOCK,
            height: 9,
            epoch: 1,
            view: 3,
            validators: 4,
            approve: 3,
            reject: 1,
            required: 3,
            has_quorum,
            is_final,
        }
    }

    #[test]
    fn votes_that_were_seen_make_a_quorum_by_a_certificate_alone() {
        let open = seen(votes(false, false));
        assert_eq!((open.has_quorum, open.certified_height, open.total), (false, 0, 4));
        let certified = seen(votes(true, false));
        assert_eq!((certified.has_quorum, certified.certified_height, certified.is_final), (true, 9, false));
        let by_a_later_one = seen(votes(false, true));
        assert_eq!((by_a_later_one.has_quorum, by_a_later_one.certified_height), (true, 0));
    }

    #[test]
    fn a_block_of_the_log_needs_a_certificate_unless_the_node_is_alone() {
        let found = |certificate| FoundBlock { height: 9, epoch: 1, certificate };
        let alone = logged(&BLOCK, &found(None), true).unwrap();
        assert_eq!((alone.total_validators, alone.approve, alone.required, alone.is_final), (1, 1, 1, true));
        assert_eq!(logged(&BLOCK, &found(None), false), Err(QuorumError::NoCertificate));
        let damaged = logged(&BLOCK, &found(Some((10, vec![1, 2, 3]))), false);
        assert!(matches!(damaged, Err(QuorumError::Unreadable(_))), "{damaged:?}");
    }
}
