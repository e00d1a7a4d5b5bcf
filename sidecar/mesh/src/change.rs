//! The feed of what changes in the registry, and the snapshot that it continues.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::broadcast;

use crate::limits::FEED_MAX;
use crate::wire::{NodeCount, NodeView};

/// What happened to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It registered and waits.
    Registered,
    /// The sovereign approved it.
    Approved,
    /// The sovereign refused or revoked it.
    Denied,
    /// It fell silent.
    Offline,
    /// It was offline and is back.
    Back,
    /// It says that it is elsewhere, or offers other services.
    Updated,
    /// It is forgotten: nobody decided about it for too long, or a denied node made room.
    Removed,
}

/// A change of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Counts the changes since the registry was opened, from 1.
    pub sequence: u64,
    /// When it happened, in ms since 1970 by the mesh's clock.
    pub at: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// The node after it; before it when it was removed.
    pub node: NodeView,
}

/// All nodes at a moment, and the number of the last change that is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Changes up to this number are in the snapshot; those behind it may be in it too, and say the same again.
    pub sequence: u64,
    /// The nodes, by id.
    pub nodes: Vec<NodeView>,
    /// How many there are.
    pub count: NodeCount,
}

/// Hands changes to whoever listens. Nobody is waited for.
pub(crate) struct Feed {
    sender: broadcast::Sender<Arc<Change>>,
    sequence: u64,
}

impl Feed {
    /// Nobody listens yet.
    pub fn new() -> Self {
        Self { sender: broadcast::Sender::new(FEED_MAX), sequence: 0 }
    }

    /// The number of the last change.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// From now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Change>> {
        self.sender.subscribe()
    }

    /// Says a change to all.
    pub fn say(&mut self, at: u64, kind: ChangeKind, node: NodeView) {
        self.sequence += 1;
        // An error means that nobody listens.
        let _ = self.sender.send(Arc::new(Change { sequence: self.sequence, at, kind, node }));
    }
}
