//! What the mesh answers to those who read: nodes, services, counts.

use serde::{Deserialize, Serialize};

use super::{ChainStanding, NodeStatus, Service, ValidatorLink};

/// One validator in [`ActiveValidators`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveValidator {
    /// The node's id.
    pub id: String,
    /// The node's key.
    pub public_key: String,
    /// Its host name or URL, as it was registered.
    pub ws_url: String,
    /// Its last heartbeat, in ms since 1970.
    pub last_seen: Option<u64>,
}

/// Answer to `GET /validators/active`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveValidators {
    /// Every active node, by id.
    pub validators: Vec<ActiveValidator>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A node as the registry holds it; the columns of the old table, and what came since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// The node's id.
    pub id: String,
    /// The node's key, in its printed form.
    pub public_key: String,
    /// A host name, or a URL whose host it is.
    pub tailscale_hostname: String,
    /// An IP address, when one was registered.
    pub tailscale_ip: Option<String>,
    /// Where it stands.
    pub status: NodeStatus,
    /// When it was registered, in ms since 1970.
    pub registered_at: u64,
    /// When it was last approved.
    pub approved_at: Option<u64>,
    /// By which key, in its printed form.
    pub approved_by: Option<String>,
    /// The time of the newest heartbeat.
    pub last_heartbeat: Option<u64>,
    /// The signature of its registration.
    pub registration_signature: String,
    /// The `timestamp` that the registration's signature covers.
    pub registration_timestamp: u64,
    /// Whether its validator is in the chain's set; absent for others, and where the mesh does not read a chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainStanding>,
}

/// A service as the registry holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRow {
    /// Whose it is.
    pub node_id: String,
    /// `ledger`, `content`, `consensus` and the like.
    pub service_type: String,
    /// The port that it listens on.
    pub port: u16,
    /// The key that it signs with, in its printed form.
    pub public_key: String,
    /// When it was registered, in ms since 1970.
    pub created_at: u64,
    /// What the last heartbeat said of it.
    pub healthy: Option<bool>,
    /// When the node had asked it, in ms since 1970.
    pub last_check: Option<u64>,
}

/// A node with its services, in `GET /nodes`, `/nodes/{id}` and `/validators/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// The node.
    #[serde(flatten)]
    pub row: NodeRow,
    /// Its services, by type.
    pub services: Vec<ServiceRow>,
}

/// Answer to `GET /nodes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeList {
    /// The nodes, by id.
    pub nodes: Vec<NodeView>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A heartbeat that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatRow {
    /// What the node signed, in ms since 1970.
    pub timestamp: u64,
    /// The address that it named.
    pub tailscale_ip: Option<String>,
}

/// Answer to `GET /nodes/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAnswer {
    /// The node.
    pub node: NodeView,
    /// Its last heartbeats, newest first.
    #[serde(default)]
    pub heartbeats: Vec<HeartbeatRow>,
    /// For a node with a `consensus` service: what a validator-set transaction would say of it, as in [`super::DecisionAnswer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<ValidatorLink>,
}

/// Answer to `GET /validators/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorView {
    /// The node.
    pub validator: NodeView,
}

/// A node in [`Topology`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyNode {
    /// The node.
    #[serde(flatten)]
    pub row: NodeRow,
    /// Its services, by type.
    pub services: Vec<Service>,
}

/// Answer to `GET /topology`: active nodes and where their services are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The active nodes, by id.
    pub nodes: Vec<TopologyNode>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How many nodes there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCount {
    /// Waiting for the sovereign.
    pub pending: usize,
    /// Approved and heard of.
    pub active: usize,
    /// Approved and silent.
    pub offline: usize,
    /// Refused or revoked.
    pub denied: usize,
    /// All of them.
    pub total: usize,
}

/// Answer to `GET /info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InfoAnswer {
    /// `mesh`.
    pub service: String,
    /// How many nodes there are.
    pub nodes: NodeCount,
}

/// Answer to `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthAnswer {
    /// `ok`.
    pub status: String,
    /// `mesh`.
    pub service: String,
}
