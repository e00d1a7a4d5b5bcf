//! What a running node tells over HTTP, read from what its pipeline publishes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tana_engine::metrics::NodeMetrics;
use tana_engine::node::Node;
use tana_engine::published::Published;

use super::prometheus;
use super::view::{Health, NodeView, PeerView};

/// Reads a node. It holds counters and heights, not the node, so that the node can be stopped while it is asked.
pub struct NodeTelemetry {
    chain: String,
    genesis_hash: String,
    validator: String,
    published: Arc<Published>,
    metrics: Arc<NodeMetrics>,
}

impl NodeTelemetry {
    /// Reads `node`.
    pub fn new(node: &Node) -> Self {
        let report = node.report();
        Self {
            chain: report.chain.clone(),
            genesis_hash: report.genesis_hash.clone(),
            validator: report.validator.to_string(),
            published: node.published().clone(),
            metrics: node.metrics().clone(),
        }
    }
}

impl NodeView for NodeTelemetry {
    fn health(&self) -> Health {
        let (height, state_root) = self.published.head();
        Health {
            status: "voting".to_owned(),
            voting: true,
            reason: String::new(),
            chain: self.chain.clone(),
            genesis_hash: self.genesis_hash.clone(),
            validator: self.validator.clone(),
            height,
            state_root: hex::encode(state_root),
            finalized_height: self.published.finalized.load(Ordering::Relaxed),
            epoch: 0,
            view: 0,
            leader: self.validator.clone(),
            peers: 0,
            uptime_s: self.metrics.read().uptime_ns / 1_000_000_000,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn peers(&self) -> Vec<PeerView> {
        Vec::new()
    }

    fn metrics(&self) -> String {
        prometheus::text(&self.metrics.read(), &self.health(), &self.peers())
    }
}
