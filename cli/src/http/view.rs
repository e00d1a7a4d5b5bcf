//! What is told of a node, as JSON objects (docs/node-http.md describes each field), and the trait behind which a node is asked. Fields may be added;
//! those that are here keep their meaning.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tana_engine::telemetry::Telemetry;
use tana_types::Hash;
use tana_types::key::PublicKey;

/// A validator's short name: `val_` and the first eight digits of its key.
pub fn short_name(key: &PublicKey) -> String {
    format!("val_{}", hex::encode(&key.0[..4]))
}

/// The answer of `GET /health`: status 200 when the node votes, 503 when it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// `healthy` when it votes, else `unhealthy`.
    pub status: String,
    /// The validator's short name.
    #[serde(rename = "validatorId")]
    pub validator_id: String,
    /// The same as `height`, by the name of the replaced system.
    #[serde(rename = "currentHeight")]
    pub current_height: u64,
    /// Whether its votes count towards blocks (a validator without consensus orders alone, which is the same).
    pub voting: bool,
    /// Why it does not vote; empty when it does.
    pub reason: String,
    /// The chain's name.
    pub chain: String,
    /// The genesis hash in hexadecimal.
    pub genesis_hash: String,
    /// The validator's key.
    pub validator: String,
    /// The last committed height: blocks up to it are executed and durable.
    pub height: u64,
    /// The state root after that height, in hexadecimal.
    pub state_root: String,
    /// The last final height.
    pub finalized_height: u64,
    /// The epoch of the next block.
    pub epoch: u64,
    /// The view in that epoch.
    pub view: u64,
    /// The key of the view's leader; empty where nobody knows.
    pub leader: String,
    /// Other validators that are connected.
    pub peers: u64,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// The node's version.
    pub version: String,
}

/// The answer of `GET /peers`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Peers {
    /// The other validators.
    pub peers: Vec<PeerView>,
    /// How many they are.
    pub count: usize,
}

/// One entry of the list that `GET /peers` answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerView {
    /// Its short name.
    pub id: String,
    /// Its key.
    pub key: String,
    /// Where its links are, `host:port`.
    pub address: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Seconds since it connected.
    pub connected_s: u64,
    /// The measured round trip, milliseconds.
    pub round_trip_ms: f64,
    /// Bytes of messages received, by channel.
    pub bytes_in: BTreeMap<String, u64>,
    /// Bytes of messages sent, by channel.
    pub bytes_out: BTreeMap<String, u64>,
    /// Messages dropped because a queue was full, by channel.
    pub dropped: BTreeMap<String, u64>,
    /// UDP payload received, QUIC's own words and repeats included.
    pub wire_bytes_in: u64,
    /// UDP payload sent.
    pub wire_bytes_out: u64,
    /// Why it is blocked; empty when it is not.
    pub blocked: String,
    /// Why the last connection or attempt ended.
    pub last_error: String,
}

impl PeerView {
    /// Bytes received on all channels.
    pub fn bytes_in_all(&self) -> u64 {
        self.bytes_in.values().sum()
    }

    /// Bytes sent on all channels.
    pub fn bytes_out_all(&self) -> u64 {
        self.bytes_out.values().sum()
    }
}

/// The answer of `GET /quorum/HASH`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuorumView {
    /// The block's hash in hexadecimal.
    pub block_hash: String,
    /// Validators of its epoch.
    pub total_validators: u32,
    /// Those that voted for or against it.
    pub total: u32,
    /// Those that voted to notarize or to finalize it.
    pub approve: u32,
    /// Those that did not, and voted to skip its view.
    pub reject: u32,
    /// Votes that are needed.
    pub required: u32,
    /// Whether a certificate shows that there were as many, for it or for a later block that makes it final.
    pub has_quorum: bool,
    /// Its height; 0 where that is not known.
    pub height: u64,
    /// The epoch of the votes.
    pub epoch: u64,
    /// The view of the votes.
    pub view: u64,
    /// Whether the block is final.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// The height whose certificate is counted; 0 without one.
    pub certified_height: u64,
}

/// Why the votes for a block are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuorumError {
    /// The node does not know the block.
    Unknown,
    /// The block is final, but no certificate for it is kept here.
    NoCertificate,
    /// It was not found in time.
    TimeOver,
    /// The logs cannot be read.
    Unreadable(String),
}

/// Who a node is: what stays the same while it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The validator's key.
    pub validator: String,
    /// Its short name.
    pub validator_id: String,
    /// The chain's name.
    pub chain: String,
    /// The genesis hash in hexadecimal.
    pub genesis_hash: String,
    /// The node's version.
    pub version: String,
}

/// A peer as a snapshot names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PeerLine {
    /// Its short name.
    pub id: String,
    /// Its key.
    pub key: String,
    /// Where its links are.
    pub address: String,
    /// Whether it is connected.
    pub connected: bool,
}

/// What a stage's threads did in a window.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StageLoad {
    /// The stage.
    pub name: &'static str,
    /// Transactions per second.
    pub per_s: f64,
    /// Share of its time working; the three shares are together 1, or all 0.
    pub busy: f64,
    /// Share of its time waiting for input.
    pub input: f64,
    /// Share of its time held back by what is behind it.
    pub output: f64,
    /// Cores that it kept busy.
    pub cores: f64,
}

/// Latencies of a window.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Transactions.
    pub count: u64,
    /// Half were faster, milliseconds.
    pub p50_ms: f64,
    /// 99 % were faster, milliseconds.
    pub p99_ms: f64,
}

/// Counters and rates at a moment; rates and shares are over the last `window_ms`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sample {
    /// When, milliseconds since 1970.
    pub time_ms: u64,
    /// Over how long.
    pub window_ms: u64,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// The last committed height.
    pub height: u64,
    /// The last final height.
    pub finalized_height: u64,
    /// The epoch of the next block.
    pub epoch: u64,
    /// The view in that epoch.
    pub view: u64,
    /// The key of the view's leader; empty where nobody knows.
    pub leader: String,
    /// Whether the node votes.
    pub voting: bool,
    /// Why not.
    pub reason: String,
    /// Validators that it is connected with.
    pub peers_connected: u64,
    /// Transactions applied since genesis.
    pub applied: u64,
    /// Transactions that failed since the start.
    pub failed: u64,
    /// Transactions that execution passed over since the start.
    pub skipped: u64,
    /// Transactions applied per second.
    pub applied_per_s: f64,
    /// Transactions admitted at ingest per second.
    pub admitted_per_s: f64,
    /// Blocks committed per second.
    pub blocks_per_s: f64,
    /// Transactions admitted at ingest since the start.
    pub admitted: u64,
    /// Transactions refused since the start.
    pub refused: u64,
    /// Own transactions sealed and not committed.
    pub waiting: u64,
    /// Batches that are free.
    pub pool_free: usize,
    /// Batches in existence.
    pub pool_batches: usize,
    /// Open connections of clients.
    pub clients: u64,
    /// Accounts of the state.
    pub accounts: u64,
    /// Resident memory, mapped files included.
    pub resident_bytes: u64,
    /// Stages in the order of the pipeline.
    pub stages: Vec<StageLoad>,
    /// From arrival to final, inside the node.
    pub latency_final: Latency,
    /// From arrival to applied, inside the node.
    pub latency_applied: Latency,
}

impl Sample {
    /// Brings what `/health` knows up to now; counters and rates stay as they were measured.
    pub fn refresh(&mut self, health: &Health) {
        (self.height, self.finalized_height) = (health.height, health.finalized_height);
        (self.epoch, self.view) = (health.epoch, health.view);
        self.leader.clone_from(&health.leader);
        self.voting = health.voting;
        self.reason.clone_from(&health.reason);
        self.peers_connected = health.peers;
    }
}

/// Where a node takes transactions, and how to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IngestPort {
    /// Its QUIC address, reachable from this machine.
    pub address: SocketAddr,
    /// The key that it must hold.
    pub key: [u8; 32],
    /// The chain.
    pub genesis_hash: Hash,
}

/// Measures a node again and again: rates are since the call before.
pub trait Sampler: Send {
    /// Counters and rates now.
    fn sample(&mut self) -> Sample;
}

/// What can be told of a node; implemented by [`super::telemetry::NodeTelemetry`] and by tests.
pub trait NodeView: Send + Sync + 'static {
    /// Whether it votes, and how far it is.
    fn health(&self) -> Health;
    /// The other validators.
    fn peers(&self) -> Vec<PeerView>;
    /// Every counter in Prometheus' text form.
    fn metrics(&self) -> String;
    /// Who it is.
    fn identity(&self) -> Identity;
    /// What happens, as it happens.
    fn events(&self) -> &Telemetry;
    /// Measures it from now on.
    fn sampler(&self) -> Box<dyn Sampler>;
    /// How the validators stand to a block, from memory; none where it is not there.
    fn quorum_seen(&self, block: &Hash) -> Option<QuorumView>;
    /// The same from the logs; may read from a disk until `until`.
    ///
    /// # Errors
    /// [`QuorumError`].
    fn quorum_logged(&self, block: &Hash, height: Option<u64>, until: Instant) -> Result<QuorumView, QuorumError>;
    /// Where it takes transactions; none when it is in no validator set.
    fn ingest(&self) -> Option<IngestPort>;
}
