//! Where nodes stand, for a service that has no registry in its own process: asked of the mesh, and remembered for a moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tana_http::error::ApiError;
use tana_http::guard::{Standing, StandingFuture};
use tana_http::token::{NodeStanding, NodeStatus as Status};
use tana_types::key::PublicKey;

use super::client::{CallError, MeshClient};
use crate::check;
use crate::wire::{NodeAnswer, NodeStatus};

/// How long an answer is remembered: after that time at the latest a revoked node is out.
pub const REMEMBERED: Duration = Duration::from_secs(5);
/// How many answers are remembered, each of less than 200 bytes.
pub const REMEMBERED_MAX: usize = 4_096;

/// Asks the mesh where a node stands.
#[derive(Debug)]
pub struct RemoteStanding {
    mesh: Arc<MeshClient>,
    known: Mutex<HashMap<String, (Instant, Option<NodeStanding>)>>,
}

impl RemoteStanding {
    /// Asks this mesh.
    pub fn new(mesh: Arc<MeshClient>) -> Self {
        Self { mesh, known: Mutex::default() }
    }

    fn remembered(&self, node: &str) -> Option<Option<NodeStanding>> {
        let known = self.known.lock();
        known.get(node).filter(|(since, _)| since.elapsed() < REMEMBERED).map(|(_, standing)| *standing)
    }

    fn remember(&self, node: &str, standing: Option<NodeStanding>) {
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED_MAX {
            known.retain(|_, (since, _)| since.elapsed() < REMEMBERED);
        }
        // A flood of names finds no room and is asked about again; what is in use stays.
        if known.len() < REMEMBERED_MAX || known.contains_key(node) {
            known.insert(node.to_owned(), (Instant::now(), standing));
        }
    }

    async fn look_up(&self, node: &str) -> Result<Option<NodeStanding>, ApiError> {
        // Nobody is registered under what is no id; and `..` would lead to another page of the mesh.
        if check::id("node", node).is_err() {
            return Ok(None);
        }
        if let Some(standing) = self.remembered(node) {
            return Ok(standing);
        }
        let standing = match self.mesh.get::<NodeAnswer>(&["nodes", node], &[]).await {
            Ok(answer) => Some(standing_of(node, &answer)?),
            Err(CallError::Refused { status: 404, .. }) => None,
            Err(error) => {
                tracing::warn!(%error, node, "the mesh does not say where a node stands");
                return Err(ApiError::unavailable("the mesh does not say where the token's node stands; try again"));
            }
        };
        self.remember(node, standing);
        Ok(standing)
    }
}

fn standing_of(node: &str, answer: &NodeAnswer) -> Result<NodeStanding, ApiError> {
    let row = &answer.node.row;
    if row.id != node {
        return Err(ApiError::unavailable("the mesh answers about another node than the token's"));
    }
    let key: PublicKey =
        row.public_key.parse().map_err(|_| ApiError::unavailable("the mesh names a key that is none"))?;
    let status = match row.status {
        NodeStatus::Pending => Status::Pending,
        NodeStatus::Active => Status::Active,
        NodeStatus::Denied => Status::Denied,
        NodeStatus::Offline => Status::Offline,
    };
    Ok(NodeStanding { key, status })
}

impl Standing for RemoteStanding {
    fn standing<'a>(&'a self, node: &'a str) -> StandingFuture<'a> {
        Box::pin(self.look_up(node))
    }
}
