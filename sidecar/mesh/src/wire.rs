//! What travels between the mesh and those who ask it: bodies of requests and answers, and the texts that signatures cover.
//!
//! Field names are those of the system that this one takes the place of: `camelCase` in what is sent, `snake_case` in the rows of a node.
//! Keys stay texts in requests, because a signature covers them as they were written. Fields that the old system did not ask for are
//! optional here, so that leaving one out is answered as a bad signature and not as a body that cannot be read.

mod sign;
#[cfg(test)]
mod tests;
mod view;

use serde::{Deserialize, Serialize};

pub use view::{
    ActiveValidator, ActiveValidators, HealthAnswer, HeartbeatRow, InfoAnswer, NodeAnswer, NodeCount, NodeList,
    NodeRow, NodeView, ServiceRow, Topology, TopologyNode, ValidatorView,
};

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeStatus {
    /// Registered; the sovereign has not decided.
    Pending,
    /// Approved and heard of within the last five minutes.
    Active,
    /// Refused or revoked by the sovereign.
    Denied,
    /// Approved, but silent; its next valid heartbeat brings it back.
    Offline,
}

impl NodeStatus {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Active, Self::Denied, Self::Offline];

    /// The word used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Denied => "denied",
            Self::Offline => "offline",
        }
    }

    /// The status with this word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// What the sovereign decides about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// `POST /approve/{nodeId}`.
    Approve,
    /// `POST /deny/{nodeId}`.
    Deny,
}

impl Decision {
    /// The word that the path and the signed text begin with.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }
}

/// A service that a node offers, in a registration and in `GET /topology`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// `ledger`, `content`, `consensus` and the like.
    #[serde(rename = "type")]
    pub kind: String,
    /// The TCP or UDP port that it listens on.
    pub port: u16,
    /// The key that it signs with; for `consensus` the validator's key.
    pub public_key: String,
}

/// `POST /register`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterRequest {
    /// The name under which the node is known from now on.
    pub node_id: String,
    /// The node's key, which signs its heartbeats and tokens.
    pub public_key: String,
    /// A host name, or a URL whose host it is.
    pub tailscale_hostname: String,
    /// An IP address. `tailscaleIp` is taken too, the spelling of the signed text.
    #[serde(rename = "tailscaleIP", alias = "tailscaleIp", default, skip_serializing_if = "Option::is_none")]
    pub tailscale_ip: Option<String>,
    /// What it offers; may be empty.
    pub services: Vec<Service>,
    /// By the node's key over [`RegisterRequest::text`].
    pub signature: String,
    /// When it was signed, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
}

/// The registration as it is signed; the order of the fields is part of the text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RegisterText<'a> {
    node_id: &'a str,
    public_key: &'a str,
    tailscale_hostname: &'a str,
    tailscale_ip: Option<&'a str>,
    services: &'a [Service],
    timestamp: u64,
}

/// What the old system signed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OldRegisterText<'a> {
    node_id: &'a str,
    public_key: &'a str,
    tailscale_hostname: &'a str,
}

/// The same for a registration by `POST /validators`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ValidatorText<'a> {
    id: &'a str,
    public_key: &'a str,
    ws_url: &'a str,
    services: &'a [Service],
    timestamp: u64,
}

/// JSON without a blank, as `JSON.stringify` writes it.
fn compact<T: Serialize>(value: &T) -> String {
    // Structs of texts and numbers always have a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}

impl RegisterRequest {
    /// The form of [`RegisterRequest::text`], for error messages.
    pub const FORM: &'static str = "compact JSON of nodeId, publicKey, tailscaleHostname, tailscaleIp (null when absent), \
        services[{type,port,publicKey}], timestamp";

    /// What the signature covers: compact JSON of all fields but the signature, in this order, with `timestamp` in ms.
    pub fn text(&self, timestamp: u64) -> String {
        compact(&RegisterText {
            node_id: &self.node_id,
            public_key: &self.public_key,
            tailscale_hostname: &self.tailscale_hostname,
            tailscale_ip: self.tailscale_ip.as_deref(),
            services: &self.services,
            timestamp,
        })
    }

    /// What it covered in the old system; such a signature is refused by name.
    pub fn old_text(&self) -> String {
        compact(&OldRegisterText {
            node_id: &self.node_id,
            public_key: &self.public_key,
            tailscale_hostname: &self.tailscale_hostname,
        })
    }
}

/// Answer to `POST /register`, status 201.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterAnswer {
    /// Always true.
    pub success: bool,
    /// The node's id.
    pub node_id: String,
    /// Always pending.
    pub status: NodeStatus,
    /// What happens next, for people.
    pub message: String,
}

/// Answer to `PUT /nodes/{id}`, whose body is a [`RegisterRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateAnswer {
    /// Always true.
    pub success: bool,
    /// The node's id.
    pub node_id: String,
    /// Where it stands, as before.
    pub status: NodeStatus,
}

/// `POST /approve/{nodeId}` and `POST /deny/{nodeId}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRequest {
    /// A key that is sovereign on the chain.
    pub approver_public_key: String,
    /// By that key over [`decision_text`].
    pub signature: String,
    /// When it was signed, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    /// 16 to 64 characters of `0-9 A-Z a-z _ -`, never used before by this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// What an approver signs: `approve:<nodeId>:<timestamp ms>:<nonce>`, and likewise `deny:`.
pub fn decision_text(decision: Decision, node_id: &str, timestamp: u64, nonce: &str) -> String {
    format!("{}:{node_id}:{timestamp}:{nonce}", decision.verb())
}

/// What an approver signed in the old system.
pub fn old_decision_text(decision: Decision, node_id: &str) -> String {
    format!("{}:{node_id}", decision.verb())
}

/// Answer to `POST /approve/{nodeId}` and `POST /deny/{nodeId}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionAnswer {
    /// Always true.
    pub success: bool,
    /// The node's id.
    pub node_id: String,
    /// Active, or denied.
    pub status: NodeStatus,
    /// For a node with a `consensus` service: what the approver's client puts into the validator-set transaction that follows. Absent when a
    /// node is denied that was never approved, and for one that names the key of another node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<ValidatorLink>,
}

/// What a validator-set transaction says of a validator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorLink {
    /// The validator's key: that of its `consensus` service.
    pub public_key: String,
    /// `host:port` of its links, when the registration tells.
    pub address: Option<String>,
    /// Whether the chain's validator set has it once every change that is decided already is in force; absent where the mesh does not read a chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<ChainStanding>,
}

/// Whether a validator is in the set of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChainStanding {
    /// It is.
    InSet,
    /// It is not.
    NotInSet,
}

/// Health of a service, as a heartbeat reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceHealth {
    /// The service's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it answered when it was last asked.
    pub healthy: bool,
    /// When that was, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_check: Option<u64>,
}

/// `POST /heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatRequest {
    /// Who is alive.
    pub node_id: String,
    /// When it was signed, in ms since 1970.
    pub timestamp: u64,
    /// The address that the node has now; kept in its history of heartbeats only, because the signature does not cover it.
    #[serde(rename = "tailscaleIP", alias = "tailscaleIp", default, skip_serializing_if = "Option::is_none")]
    pub tailscale_ip: Option<String>,
    /// How its services are; not covered by the signature, so it is for display only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceHealth>,
    /// By the node's key over [`heartbeat_text`].
    pub signature: String,
}

/// What a node signs to say that it is alive: `heartbeat:<nodeId>:<timestamp ms>`.
pub fn heartbeat_text(node_id: &str, timestamp: u64) -> String {
    format!("heartbeat:{node_id}:{timestamp}")
}

/// Answer to `POST /heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatAnswer {
    /// Always true.
    pub success: bool,
    /// The newest time under which the node was heard of, in ms since 1970.
    pub timestamp: u64,
}

/// `POST /validators`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorRequest {
    /// The node's id.
    pub id: String,
    /// The node's key, which is the validator's too unless a `consensus` service names another.
    pub public_key: String,
    /// `ws://host:port` or `wss://host:port`; the port is 9000 when it is left out.
    pub ws_url: String,
    /// What it offers besides; a `consensus` service on the URL's port is added unless it is listed.
    #[serde(default)]
    pub services: Vec<Service>,
    /// By the node's key over [`ValidatorRequest::text`]. The old system did not ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// When it was signed, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
}

impl ValidatorRequest {
    /// The form of [`ValidatorRequest::text`], for error messages.
    pub const FORM: &'static str =
        "compact JSON of id, publicKey, wsUrl, services[{type,port,publicKey}] ([] when absent), timestamp";

    /// What the signature covers: compact JSON of all fields but the signature, in this order, with `timestamp` in ms.
    pub fn text(&self, timestamp: u64) -> String {
        compact(&ValidatorText {
            id: &self.id,
            public_key: &self.public_key,
            ws_url: &self.ws_url,
            services: &self.services,
            timestamp,
        })
    }
}

/// Answer to `POST /validators`, status 201.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorAnswer {
    /// Always true.
    pub success: bool,
    /// The node's id.
    pub validator_id: String,
    /// Always pending.
    pub status: NodeStatus,
    /// What happens next, for people.
    pub message: String,
}

/// `POST /validators/{id}/heartbeat`. The old system took an empty body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorHeartbeatRequest {
    /// When it was signed, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    /// By the node's key over [`heartbeat_text`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// Answer to `POST /validators/{id}/heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorHeartbeatAnswer {
    /// Always true.
    pub success: bool,
    /// The newest time under which the node was heard of, in ms since 1970.
    pub timestamp: u64,
    /// Whether the id is registered: always true, because a heartbeat registers nobody.
    pub registered: bool,
}

/// `POST /sovereign/add`: gives a sovereign key a description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SovereignAddRequest {
    /// The key that is described.
    pub public_key: String,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// By a key that is sovereign on the chain now, over [`SovereignAddRequest::text`]. The old system did not ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_signature: Option<String>,
    /// When it was signed, in ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    /// As in [`DecisionRequest::nonce`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// The order of the fields is part of the text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SovereignText<'a> {
    public_key: &'a str,
    description: Option<&'a str>,
    timestamp: u64,
    nonce: &'a str,
}

impl SovereignAddRequest {
    /// The form of [`SovereignAddRequest::text`], for error messages.
    pub const FORM: &'static str = "compact JSON of publicKey, description (null when absent), timestamp, nonce";

    /// What `adminSignature` covers: compact JSON of these four, in this order.
    pub fn text(&self, timestamp: u64, nonce: &str) -> String {
        let (public_key, description) = (self.public_key.as_str(), self.description.as_deref());
        compact(&SovereignText { public_key, description, timestamp, nonce })
    }
}

/// Answer to `POST /sovereign/add`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SovereignAddAnswer {
    /// Always true.
    pub success: bool,
    /// Whether the key is sovereign on the chain. Only then does it count: the mesh makes nobody sovereign.
    pub on_chain: bool,
}

/// A sovereign key in [`SovereignList`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SovereignRow {
    /// The key, in its printed form.
    pub public_key: String,
    /// What it is, for people.
    pub description: Option<String>,
    /// When it was described, in ms since 1970.
    pub added_at: Option<u64>,
    /// Whether it is sovereign on the chain.
    pub on_chain: bool,
}

/// Answer to `GET /sovereigns`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SovereignList {
    /// Those of the chain, and those that were described.
    pub sovereigns: Vec<SovereignRow>,
}

/// `POST /sovereign/verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SovereignVerifyRequest {
    /// The signed text.
    pub message: String,
    /// The signature.
    pub signature: String,
    /// By which key; without it every sovereign key is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

/// Answer to `POST /sovereign/verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SovereignVerifyAnswer {
    /// Always true; a bad signature is status 401.
    pub valid: bool,
    /// The sovereign key that made it, in its printed form.
    pub public_key: String,
}
