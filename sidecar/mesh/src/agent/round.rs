//! What the agent does at every turn: register if that is still to do, tell the mesh where the node is if it has something else, ask the own services, send a heartbeat, read who is there.

use std::collections::BTreeSet;

use tana_http::token::{Claims, Service as Speaker, issue};
use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::client::{CallError, MeshClient};
use super::probe::Prober;
use super::{AgentConfig, AgentError, AgentState};
use crate::limits::{NODES_MAX, PAGE_MAX};
use crate::routes::AUDIENCE;
use crate::wire::{
    ActiveValidator, ActiveValidators, HeartbeatAnswer, HeartbeatRequest, NodeAnswer, NodeStatus, NodeView,
    RegisterAnswer, RegisterRequest, Service, ServiceRow, UpdateAnswer,
};

/// How long the token of one update lasts, in ms.
const TOKEN_MS: u64 = 60_000;
/// What is wrong while the mesh has something else of the node.
const DIFFERS: &str = "the mesh has another address or other services of this node than are configured; it is told them once the node is approved";

/// The most pages of active nodes that are read: as many as a full registry has.
const PAGES_MAX: usize = NODES_MAX.div_ceil(PAGE_MAX);

/// The agent's turns.
pub(super) struct Rounds {
    config: AgentConfig,
    public_key: String,
    mesh: MeshClient,
    prober: Prober,
    state: watch::Sender<AgentState>,
    peers: watch::Sender<Vec<ActiveValidator>>,
    registered: bool,
    /// Whether the mesh has another address or other services of the node than are configured.
    differs: bool,
}

impl Rounds {
    pub(super) fn new(
        config: AgentConfig,
        state: watch::Sender<AgentState>,
        peers: watch::Sender<Vec<ActiveValidator>>,
    ) -> Result<Self, AgentError> {
        let mesh = MeshClient::new(&config.meshes, config.timeout)?;
        let prober = Prober::new(&config.probes, config.timeout)?;
        let public_key = tana_types::key::PublicKey(config.key.verifying_key().to_bytes()).to_string();
        Ok(Self { config, public_key, mesh, prober, state, peers, registered: false, differs: false })
    }

    /// Turns for ever.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(self.config.retry_min, self.config.retry_max);
        loop {
            let begun = Instant::now();
            let outcome = self.turn().await;
            let wait = match &outcome {
                Ok(()) => {
                    backoff.reset();
                    self.config.interval.saturating_sub(begun.elapsed())
                }
                Err(_) => backoff.fail(rand::random()),
            };
            let differs = self.differs.then(|| DIFFERS.to_owned());
            self.tell(outcome.err().map(|error| error.to_string()).or(differs));
            tokio::time::sleep(wait).await;
        }
    }

    async fn turn(&mut self) -> Result<(), CallError> {
        if !self.registered {
            self.register().await?;
            self.registered = true;
        }
        self.beat().await?;
        let peers = self.active().await?;
        self.peers.send_if_modified(|known| {
            // That somebody was seen again is no news; who is there and where, is.
            let same = known.len() == peers.len()
                && known
                    .iter()
                    .zip(&peers)
                    .all(|(a, b)| (&a.id, &a.public_key, &a.ws_url) == (&b.id, &b.public_key, &b.ws_url));
            *known = peers;
            !same
        });
        // Last, so that a mesh that does not take it is still told that the node is alive and asked who else is.
        if self.differs && self.state.borrow().status == Some(NodeStatus::Active) {
            self.update().await?;
            self.differs = false;
        }
        Ok(())
    }

    /// Registers the node. That it is there already, with its key, is as good.
    async fn register(&mut self) -> Result<(), CallError> {
        let request = self.said();
        let config = &self.config;
        match self.mesh.post::<_, RegisterAnswer>(&["register"], &request).await {
            Ok(answer) => {
                self.differs = false;
                self.state.send_modify(|state| state.status = Some(answer.status));
                tracing::info!(
                    node = config.node_id,
                    mesh = self.mesh.address(),
                    "registered; waits for the sovereign's approval"
                );
                Ok(())
            }
            Err(refusal) if refusal.status() == Some(409) => match self.known().await {
                Ok(Some(node)) => {
                    self.differs = self.is_other(&node);
                    self.state.send_modify(|state| state.status = Some(node.row.status));
                    Ok(())
                }
                Ok(None) => Err(refusal),
                Err(error) if error.status().is_some() => Err(refusal),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// What the node says of itself, signed now.
    fn said(&self) -> RegisterRequest {
        let config = &self.config;
        let request = RegisterRequest {
            node_id: config.node_id.clone(),
            public_key: self.public_key.clone(),
            tailscale_hostname: config.hostname.clone(),
            tailscale_ip: config.ip.clone(),
            services: config.services.clone(),
            signature: String::new(),
            timestamp: None,
        };
        request.sign(&config.key, (config.clock)())
    }

    /// Says it to a mesh that has something else, with a token of the node.
    async fn update(&self) -> Result<(), CallError> {
        let config = &self.config;
        let service =
            config.services.iter().find_map(|service| service.kind.parse().ok()).unwrap_or(Speaker::Consensus);
        let claims = Claims::new(service, &config.node_id, AUDIENCE, (config.clock)()).lasting(TOKEN_MS);
        let token = issue(&config.key, &claims).map_err(|error| CallError::NoAnswer(error.to_string()))?;
        let _: UpdateAnswer = self.mesh.put(&["nodes", &config.node_id], &self.said(), &token).await?;
        tracing::info!(node = config.node_id, mesh = self.mesh.address(), "the mesh has the new address and services");
        Ok(())
    }

    /// Whether the mesh has another address or other services of the node than are configured.
    fn is_other(&self, node: &NodeView) -> bool {
        let config = &self.config;
        let of_row = |service: &ServiceRow| (service.service_type.clone(), service.port, service.public_key.clone());
        let own = |service: &Service| (service.kind.clone(), service.port, service.public_key.clone());
        let known: BTreeSet<_> = node.services.iter().map(of_row).collect();
        let configured: BTreeSet<_> = config.services.iter().map(own).collect();
        (&node.row.tailscale_hostname, &node.row.tailscale_ip) != (&config.hostname, &config.ip) || known != configured
    }

    /// What the mesh has under this node's id; nothing when it has another key there.
    async fn known(&self) -> Result<Option<NodeView>, CallError> {
        let answer: NodeAnswer = self.mesh.get(&["nodes", &self.config.node_id], &[]).await?;
        Ok(Some(answer.node).filter(|node| node.row.public_key == self.public_key))
    }

    async fn beat(&mut self) -> Result<(), CallError> {
        let services = self.prober.ask(&self.config.clock).await;
        let timestamp = (self.config.clock)();
        let mut request = HeartbeatRequest::signed(&self.config.node_id, &self.config.key, timestamp);
        request.tailscale_ip.clone_from(&self.config.ip);
        request.services = services;
        match self.mesh.post::<_, HeartbeatAnswer>(&["heartbeat"], &request).await {
            Ok(_) => {
                self.state.send_modify(|state| {
                    state.status = Some(NodeStatus::Active);
                    state.last_heartbeat = Some(timestamp);
                });
                Ok(())
            }
            // Not approved yet, or denied: nothing to hurry for, and nothing to give up.
            Err(CallError::Refused { status: 403, .. }) => {
                let status = self.known().await?.map(|node| node.row.status);
                self.state.send_modify(|state| state.status = status);
                Ok(())
            }
            Err(error) => {
                // The mesh forgot the node, or it is another mesh: the next turn registers it.
                if error.status() == Some(404) {
                    self.registered = false;
                    self.state.send_modify(|state| state.status = None);
                }
                Err(error)
            }
        }
    }

    /// All active nodes, page by page.
    async fn active(&self) -> Result<Vec<ActiveValidator>, CallError> {
        let mut all = Vec::new();
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let query: Vec<(&str, &str)> = after.as_deref().map(|after| ("after", after)).into_iter().collect();
            let page: ActiveValidators = self.mesh.get(&["validators", "active"], &query).await?;
            all.extend(page.validators);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(all)
    }

    /// Says how it went: to whoever watches, and to the log when it is news.
    fn tell(&self, problem: Option<String>) {
        let node = self.config.node_id.as_str();
        self.state.send_modify(|state| {
            match (&state.problem, &problem) {
                (None, Some(problem)) => tracing::warn!(node, problem, "the mesh is not reached; it is tried again"),
                (Some(_), None) => tracing::info!(node, mesh = self.mesh.address(), "the mesh is reached again"),
                _ => {}
            }
            if problem.is_none() {
                state.mesh = Some(self.mesh.address().to_owned());
            }
            state.registered = self.registered;
            state.problem = problem;
        });
    }
}
