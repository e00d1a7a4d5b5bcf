//! The agent: speaks for one node. It registers the node once, says every few seconds that it is alive and how its services are, and reads who
//! else is there.
//!
//! It never ends by itself. Whatever fails (the mesh is gone, or somebody else answers in its place) is tried again, after waits that grow up to
//! [`AgentConfig::retry_max`]; so a node that comes back after an outage, or whose mesh does, needs no hand. Its own failures touch nothing but itself.

mod backoff;
pub mod client;
mod probe;
mod round;
mod standing;

#[cfg(test)]
mod tests;

use std::time::Duration;

use ed25519_dalek::SigningKey;
use tana_http::clock::Clock;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::limits::SERVICES_MAX;
use crate::wire::{ActiveValidator, NodeStatus, Service};

pub use client::{AddressError, CallError, MeshClient};
pub use standing::{REMEMBERED, REMEMBERED_MAX, RemoteStanding};

/// How often a node says that it is alive.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// How long the mesh, and a service that is asked for its health, may take.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// The wait after a first failure.
pub const RETRY_MIN: Duration = Duration::from_millis(500);
/// The longest wait after failures: well below the silence after which the mesh calls a node offline.
pub const RETRY_MAX: Duration = Duration::from_secs(15);

/// Whom the agent speaks for, and to whom.
#[derive(Clone)]
pub struct AgentConfig {
    /// The node's id.
    pub node_id: String,
    /// The node's key: it signs registration and heartbeats.
    pub key: SigningKey,
    /// The host name or URL that it is registered with.
    pub hostname: String,
    /// The IP address that it is registered with.
    pub ip: Option<String>,
    /// What it offers, as it is registered.
    pub services: Vec<Service>,
    /// Which services are asked for their health: the type, and the URL (`http://127.0.0.1:8080/health`).
    pub probes: Vec<(String, String)>,
    /// Addresses of the mesh, as `http://host:8190`. The first that answers is used.
    pub meshes: Vec<String>,
    /// What time it is.
    pub clock: Clock,
    /// See [`HEARTBEAT_INTERVAL`].
    pub interval: Duration,
    /// See [`TIMEOUT`].
    pub timeout: Duration,
    /// See [`RETRY_MIN`].
    pub retry_min: Duration,
    /// See [`RETRY_MAX`].
    pub retry_max: Duration,
}

impl AgentConfig {
    /// For a node without services, with the usual times.
    pub fn new(node_id: impl Into<String>, key: SigningKey, hostname: impl Into<String>, meshes: Vec<String>) -> Self {
        Self {
            node_id: node_id.into(),
            key,
            hostname: hostname.into(),
            ip: None,
            services: Vec::new(),
            probes: Vec::new(),
            meshes,
            clock: tana_http::clock::system(),
            interval: HEARTBEAT_INTERVAL,
            timeout: TIMEOUT,
            retry_min: RETRY_MIN,
            retry_max: RETRY_MAX,
        }
    }
}

impl std::fmt::Debug for AgentConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the key.
        f.debug_struct("AgentConfig")
            .field("node_id", &self.node_id)
            .field("meshes", &self.meshes)
            .finish_non_exhaustive()
    }
}

/// Why an agent cannot begin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AgentError {
    /// An address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// More services than the mesh takes.
    #[error("a node has at most {SERVICES_MAX} services")]
    Services,
}

/// How the node stands with the mesh, as far as the agent knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentState {
    /// Whether the mesh has the node, with its key.
    pub registered: bool,
    /// What the mesh said of it last.
    pub status: Option<NodeStatus>,
    /// The address of the mesh that answered last.
    pub mesh: Option<String>,
    /// The last heartbeat that counted, in ms since 1970.
    pub last_heartbeat: Option<u64>,
    /// What is wrong now; nothing when all is well.
    pub problem: Option<String>,
}

/// A running agent. Dropping it ends it.
#[derive(Debug)]
pub struct Agent {
    state: watch::Receiver<AgentState>,
    peers: watch::Receiver<Vec<ActiveValidator>>,
    task: JoinHandle<()>,
}

impl Agent {
    /// Starts an agent. Needs to be called inside a tokio runtime.
    ///
    /// # Errors
    /// A configuration that can never work. That nobody answers is no error.
    pub fn start(config: AgentConfig) -> Result<Self, AgentError> {
        if config.services.len() > SERVICES_MAX || config.probes.len() > SERVICES_MAX {
            return Err(AgentError::Services);
        }
        let (state_sender, state) = watch::channel(AgentState::default());
        let (peers_sender, peers) = watch::channel(Vec::new());
        let rounds = round::Rounds::new(config, state_sender, peers_sender)?;
        Ok(Self { state, peers, task: tokio::spawn(rounds.run()) })
    }

    /// How the node stands with the mesh.
    pub fn state(&self) -> watch::Receiver<AgentState> {
        self.state.clone()
    }

    /// The active nodes, by id; the node itself is among them when it is active. The last list stays when the mesh is gone.
    pub fn peers(&self) -> watch::Receiver<Vec<ActiveValidator>> {
        self.peers.clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}
