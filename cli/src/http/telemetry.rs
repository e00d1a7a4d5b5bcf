//! What a running node tells over HTTP, read from what its pipeline, its agreement and its links publish.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use tana_consensus::{ConsensusStatus, NodeHandle};
use tana_engine::evidence_store::EvidenceStore;
use tana_engine::metrics::NodeMetrics;
use tana_engine::node::Node;
use tana_engine::published::Published;
use tana_net::link::{CHANNELS, ChannelCount, PeerStatus};
use tana_types::key::PublicKey;

use super::prometheus::{self, Counter};
use super::view::{Health, NodeView, PeerView};

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

/// Reads a node. It holds counters, heights and a way to ask agreement, not the node: that can be stopped once this is dropped.
pub struct NodeTelemetry {
    chain: String,
    genesis_hash: String,
    validator: String,
    started: Instant,
    published: Arc<Published>,
    metrics: Arc<NodeMetrics>,
    evidence: Arc<EvidenceStore>,
    consensus: Option<NodeHandle>,
}

impl NodeTelemetry {
    /// Reads `node`.
    pub fn new(node: &Node) -> Self {
        let report = node.report();
        Self {
            chain: report.chain.clone(),
            genesis_hash: report.genesis_hash.clone(),
            validator: report.validator.to_string(),
            started: Instant::now(),
            published: node.published().clone(),
            metrics: node.metrics().clone(),
            evidence: node.evidence().clone(),
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
            status: if voting { "voting" } else { "not voting" }.to_owned(),
            voting,
            reason: agreement.failure.unwrap_or(agreement.reason),
            chain: self.chain.clone(),
            genesis_hash: self.genesis_hash.clone(),
            validator: self.validator.clone(),
            height,
            state_root: hex::encode(state_root),
            finalized_height: self.published.finalized.load(Ordering::Relaxed),
            epoch: agreement.epoch,
            view: agreement.view,
            leader: if agreement.leader == [0; 32] { String::new() } else { PublicKey(agreement.leader).to_string() },
            peers: agreement.peers.iter().filter(|peer| peer.connected).count() as u64,
            uptime_s: self.started.elapsed().as_secs(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
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
}

fn describe(peer: PeerStatus, now: SystemTime) -> PeerView {
    let by_channel = |count: fn(&ChannelCount) -> u64| -> BTreeMap<String, u64> {
        let counts = CHANNEL_NAMES.iter().zip(&peer.channels);
        counts.map(|(name, channel)| ((*name).to_owned(), count(channel))).collect()
    };
    PeerView {
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
