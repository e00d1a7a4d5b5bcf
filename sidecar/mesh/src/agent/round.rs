//! What the agent does at every turn: register if that is still to do, ask the own services, send a heartbeat, read who is there.

use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::client::{CallError, MeshClient};
use super::probe::Prober;
use super::{AgentConfig, AgentError, AgentState};
use crate::limits::{NODES_MAX, PAGE_MAX};
use crate::wire::{
    ActiveValidator, ActiveValidators, HeartbeatAnswer, HeartbeatRequest, NodeAnswer, NodeStatus, RegisterAnswer,
    RegisterRequest,
};

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
        Ok(Self { config, public_key, mesh, prober, state, peers, registered: false })
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
            self.tell(outcome.err().map(|error| error.to_string()));
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
        Ok(())
    }

    /// Registers the node. That it is there already, with its key, is as good.
    async fn register(&self) -> Result<(), CallError> {
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
        let request = request.sign(&config.key, (config.clock)());
        match self.mesh.post::<_, RegisterAnswer>(&["register"], &request).await {
            Ok(answer) => {
                self.state.send_modify(|state| state.status = Some(answer.status));
                tracing::info!(
                    node = config.node_id,
                    mesh = self.mesh.address(),
                    "registered; waits for the sovereign's approval"
                );
                Ok(())
            }
            Err(refusal) if refusal.status() == Some(409) => match self.status().await {
                Ok(Some(status)) => {
                    self.state.send_modify(|state| state.status = Some(status));
                    Ok(())
                }
                Ok(None) => Err(refusal),
                Err(error) if error.status().is_some() => Err(refusal),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// What the mesh has under this node's id; nothing when it has another key there.
    async fn status(&self) -> Result<Option<NodeStatus>, CallError> {
        let answer: NodeAnswer = self.mesh.get(&["nodes", &self.config.node_id], &[]).await?;
        let row = answer.node.row;
        Ok((row.public_key == self.public_key).then_some(row.status))
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
                let status = self.status().await?;
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
