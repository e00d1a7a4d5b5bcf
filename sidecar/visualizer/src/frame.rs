//! The frames that the visualizer sends: what a client holds, and what it is told when that changes.
//!
//! A message is one JSON object, `{"type":"network_update","data":{...}}`. `data.kind` says how to read the rest: a `snapshot` is a whole
//! [`State`] and takes the place of everything before it; a `delta` is a [`Delta`] and changes only what it names. docs/visualizer.md shows
//! one of each. All times are milliseconds since 1970 (UTC), all shares lie between 0 and 1. Fields may be added; those that are here
//! keep their meaning.

use serde::{Deserialize, Serialize};

/// What `type` says in every message.
pub const NETWORK_UPDATE: &str = "network_update";
/// Events that a state holds at most, see [`trim_events`].
pub const EVENTS_MAX: usize = 100;
/// Of these, how many may be of the routine kinds before those go first.
pub const EVENTS_ROUTINE_MAX: usize = 50;
/// Pending transactions that a state lists at most: the newest. [`State::pending_count`] counts all.
pub const PENDING_MAX: usize = 50;
/// Nodes of the registry that a state lists at most: those that were heard of last. [`NodeCount`] counts all.
pub const MESH_NODES_MAX: usize = 256;

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// [`NETWORK_UPDATE`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The frame.
    pub data: Frame,
}

impl Message {
    /// Puts a frame into its envelope.
    pub fn new(data: Frame) -> Self {
        Self { kind: NETWORK_UPDATE.to_owned(), data }
    }
}

/// What a message carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[allow(clippy::large_enum_variant)] // one is made per message, and serialized at once
pub enum Frame {
    /// Everything. The first frame of a connection, and again for a client that read too slowly to be sent every delta.
    Snapshot(State),
    /// What changed since the frame before, whose sequence number is one less.
    Delta(Delta),
}

/// All that a client shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct State {
    /// The number of the last delta that this holds; the next one has one more.
    pub sequence: u64,
    /// The validators, by id.
    pub validators: Vec<Validator>,
    /// The links between validators that are up: [`EdgeKind::Peer`] only, each pair once, by source and target.
    pub edges: Vec<Edge>,
    /// The registry.
    pub mesh: Mesh,
    /// The newest transactions that wait for a block, newest last.
    pub pending_transactions: Vec<Pending>,
    /// How many wait in all.
    pub pending_count: u64,
    /// What happened last, newest last.
    pub events: Vec<Event>,
    /// The chain.
    pub chain: ChainView,
    /// When this was last changed.
    pub last_update: u64,
}

/// A validator, as itself and the others tell it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Validator {
    /// Its id in the registry; by default `val_` and the first eight hexadecimal digits of its key.
    pub id: String,
    /// Its key, `ed25519_` and 64 hexadecimal digits.
    pub public_key: String,
    /// Whether it answers.
    pub online: bool,
    /// Whether it answers, votes, and is linked to others.
    pub healthy: bool,
    /// Whether its votes count.
    pub voting: bool,
    /// Why it is not healthy; empty when it is.
    pub reason: String,
    /// Whether it leads the present view. At most one does.
    pub is_leader: bool,
    /// The last height that it has executed and stored.
    pub current_height: u64,
    /// The last height that it knows to be final.
    pub finalized_height: u64,
    /// Other validators that it is linked to.
    pub peer_count: u64,
    /// When it was last heard of, to the second; 0 is never.
    pub last_seen: u64,
    /// Transactions applied a second.
    pub applied_tps: f64,
    /// Transactions made final a second.
    pub finalized_tps: f64,
    /// How long transactions take there.
    pub latency: Latency,
    /// What its pipeline does with its time, in the pipeline's order.
    pub stages: Vec<Stage>,
}

/// How long transactions take, from the socket on, in milliseconds; `null` where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// To final, the median.
    #[serde(rename = "finalP50")]
    pub final_p50: Option<f64>,
    /// To final, the slowest of a hundred.
    #[serde(rename = "finalP99")]
    pub final_p99: Option<f64>,
    /// To applied, the median.
    #[serde(rename = "appliedP50")]
    pub applied_p50: Option<f64>,
    /// To applied, the slowest of a hundred.
    #[serde(rename = "appliedP99")]
    pub applied_p99: Option<f64>,
}

/// What one stage did with its time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Stage {
    /// Its name: `verify`, `lane`, `order`, `execute`, `root`, `commit` and others.
    pub name: String,
    /// The share of time that it worked.
    pub busy: f64,
    /// The share of time that it waited for input.
    pub input: f64,
    /// The share of time that it was held back by what comes behind it.
    pub output: f64,
    /// Transactions that passed it, a second.
    pub transactions_per_second: f64,
}

/// What an edge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EdgeKind {
    /// A link that is up. It has no direction; `source` is the lesser id.
    Peer,
    /// A leader's block on its way to a validator: momentary, to be drawn and forgotten.
    Proposal,
    /// A vote on its way to the leader: momentary.
    Vote,
}

/// A line between two validators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// A validator's id.
    pub source: String,
    /// Another one's.
    pub target: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EdgeKind,
    /// When it came up or happened.
    pub at: u64,
}

/// Two validators whose link went down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EdgeEnds {
    /// The lesser id.
    pub source: String,
    /// The greater id.
    pub target: String,
}

/// The registry of nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Mesh {
    /// Nodes, by id; at most [`MESH_NODES_MAX`].
    pub nodes: Vec<MeshNode>,
    /// How many there are.
    pub node_count: NodeCount,
    /// When it last changed.
    pub last_update: u64,
}

/// Nodes by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeCount {
    /// Registered, and not yet approved.
    pub pending: u64,
    /// Approved and heard of.
    pub active: u64,
    /// Approved, and silent for five minutes.
    pub offline: u64,
    /// Refused.
    pub denied: u64,
    /// All.
    pub total: u64,
}

/// A node of the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MeshNode {
    /// Its id.
    pub id: String,
    /// Its key.
    pub public_key: String,
    /// The host name that it registered.
    pub tailscale_hostname: String,
    /// The IP address that it registered, if any.
    #[serde(rename = "tailscaleIP", skip_serializing_if = "Option::is_none")]
    pub tailscale_ip: Option<String>,
    /// `pending`, `active`, `offline` or `denied`.
    pub status: String,
    /// When it registered.
    pub registered_at: u64,
    /// When it last sent a heartbeat; `null` is never.
    pub last_heartbeat: Option<u64>,
    /// What it offers.
    pub services: Vec<MeshService>,
}

/// A service of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MeshService {
    /// `ledger`, `consensus`, `content` and others.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its TCP port.
    pub port: u16,
    /// Its key.
    pub public_key: String,
    /// What the last heartbeat said of it; `null` when it said nothing.
    pub healthy: Option<bool>,
}

/// A transaction that waits for a block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pending {
    /// Its id.
    pub id: String,
    /// `transfer`, `user_creation` and others.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Who receives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// When it was made.
    pub timestamp: u64,
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A validator answers, for the first time or again.
    Online,
    /// A validator answers no more, or left the registry.
    Offline,
    /// It leads now. Leaders change with every view, so this is told at most once a second.
    Leader,
    /// It led until then.
    Follower,
    /// Blocks were made; told at most once a second, for all since the last time.
    Block,
    /// A validator that answers votes no more or lost its links.
    Unhealthy,
    /// It does again.
    Recovered,
    /// A proof that a validator broke the rules.
    Evidence,
    /// A node was approved.
    Approval,
    /// A node registered.
    Registered,
    /// A node was refused.
    Denied,
}

impl EventKind {
    /// Whether it happens all the time.
    pub fn is_routine(self) -> bool {
        matches!(self, Self::Leader | Self::Follower | Self::Block)
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// `evt_` and a number that counts up.
    pub id: String,
    /// When.
    pub timestamp: u64,
    /// The validator or node that it is about.
    pub validator_id: String,
    /// What.
    pub event: EventKind,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// The height that it is about, for `block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
}

/// Leaves at most [`EVENTS_MAX`] events, as server and clients both do: while there are too many, the oldest goes, and the oldest
/// routine one before that if there are more than [`EVENTS_ROUTINE_MAX`] of them. So blocks do not wash away what matters.
pub fn trim_events(events: &mut Vec<Event>) {
    while events.len() > EVENTS_MAX {
        let routine = events.iter().filter(|event| event.event.is_routine()).count();
        let oldest_routine = events.iter().position(|event| event.event.is_routine());
        let index = oldest_routine.filter(|_| routine > EVENTS_ROUTINE_MAX).unwrap_or(0);
        events.remove(index);
    }
}

/// The chain, as more validators tell it than can lie.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ChainView {
    /// The last height that is executed and stored.
    pub height: u64,
    /// The last height that is final.
    pub finalized_height: u64,
    /// The epoch.
    pub epoch: u64,
    /// The view in that epoch.
    pub view: u64,
    /// The id of the validator that leads it; empty where nobody knows.
    pub leader: String,
    /// Transactions applied since the genesis, as far as the validators' counters go back.
    pub applied_total: u64,
    /// Transactions applied a second.
    pub tps: f64,
    /// Blocks a second, over the last seconds.
    pub blocks_per_second: f64,
}

/// What changed. Whatever is left out is as before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Delta {
    /// One more than the frame before. A client that sees another number has missed something and connects again.
    pub sequence: u64,
    /// Validators that are new (every field) or changed (the id, and the fields that changed: each takes the place of the old one).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validators: Vec<ValidatorPatch>,
    /// Validators that are gone, by id. Their links are in `removed_edges`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed_validators: Vec<String>,
    /// Links that came up (`peer`: to be kept), and what happens (`proposal`, `vote`: to be drawn and forgotten).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<Edge>,
    /// Links that went down.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed_edges: Vec<EdgeEnds>,
    /// The registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<MeshDelta>,
    /// The whole new list, when it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_transactions: Option<Vec<Pending>>,
    /// The new count, when it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_count: Option<u64>,
    /// New events, to be put behind those there are; then see [`trim_events`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// The whole new object, when it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainView>,
    /// When this was made.
    pub last_update: u64,
}

/// What changed in the registry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MeshDelta {
    /// Nodes that are new or changed, whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<MeshNode>,
    /// Nodes that are gone, by id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed_nodes: Vec<String>,
    /// The new counts.
    pub node_count: NodeCount,
    /// When it changed.
    pub last_update: u64,
}

/// The fields of a [`Validator`] that changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(missing_docs)] // as in `Validator`
pub struct ValidatorPatch {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voting: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_leader: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_height: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finalized_height: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied_tps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finalized_tps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<Vec<Stage>>,
}
