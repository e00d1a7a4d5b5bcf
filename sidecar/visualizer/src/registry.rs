//! The mesh's registry as a list of nodes.

use std::sync::Arc;

use tana_mesh::Registry;
use tana_mesh::wire::{NodeView, ServiceRow};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::frame::{MeshNode, MeshService};
use crate::nodes::Nodes;

/// See the module's text. It follows the registry's changes until it is dropped.
pub struct RegistryNodes {
    registry: Registry,
    version: Arc<watch::Sender<u64>>,
    task: JoinHandle<()>,
}

impl RegistryNodes {
    /// Follows `registry`, on the tokio runtime that this is called in.
    pub fn new(registry: Registry) -> Self {
        let version = Arc::new(watch::Sender::new(0));
        let mut changes = registry.subscribe();
        let told = version.clone();
        let task = tokio::spawn(async move {
            // Whoever is told reads everything again, so changes that were missed are no loss.
            while let Ok(_) | Err(RecvError::Lagged(_)) = changes.recv().await {
                told.send_modify(|version| *version += 1);
            }
        });
        Self { registry, version, task }
    }
}

impl Drop for RegistryNodes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Nodes for RegistryNodes {
    fn list(&self) -> Result<Vec<MeshNode>, String> {
        Ok(self.registry.snapshot().nodes.into_iter().map(node).collect())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

fn node(view: NodeView) -> MeshNode {
    let NodeView { row, services } = view;
    MeshNode {
        id: row.id,
        public_key: row.public_key,
        tailscale_hostname: row.tailscale_hostname,
        tailscale_ip: row.tailscale_ip,
        status: row.status.name().to_owned(),
        registered_at: row.registered_at,
        last_heartbeat: row.last_heartbeat,
        services: services.into_iter().map(service).collect(),
    }
}

fn service(row: ServiceRow) -> MeshService {
    MeshService { kind: row.service_type, port: row.port, public_key: row.public_key, healthy: row.healthy }
}
