//! One node's peers, as it tracks them. The library's simulated network keeps one such set for all nodes; validators have each their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use commonware_actor::Feedback;
use commonware_p2p::{Manager, PeerSetSubscription, PeerSetUpdate, Provider, TrackedPeers};
use commonware_utils::channel::mpsc;
use parking_lot::Mutex;
use tana_consensus::core::keys::PublicKey;

/// One node's peers, as it tracks them. Clones share.
#[derive(Debug, Clone, Default)]
pub struct Company {
    state: Arc<Mutex<CompanyState>>,
}

#[derive(Debug, Default)]
struct CompanyState {
    sets: BTreeMap<u64, TrackedPeers<PublicKey>>,
    subscribers: Vec<mpsc::UnboundedSender<PeerSetUpdate<PublicKey>>>,
}

/// Sets of peers that can be asked for by number.
const SETS_REMEMBERED_MAX: usize = 8;

impl CompanyState {
    fn latest(&self) -> Option<PeerSetUpdate<PublicKey>> {
        let (&index, latest) = self.sets.last_key_value()?;
        Some(PeerSetUpdate { index, latest: latest.clone(), all: latest.clone() })
    }
}

impl Provider for Company {
    type PublicKey = PublicKey;

    async fn peer_set(&mut self, id: u64) -> Option<TrackedPeers<PublicKey>> {
        self.state.lock().sets.get(&id).cloned()
    }

    async fn subscribe(&mut self) -> PeerSetSubscription<PublicKey> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state.lock();
        if let Some(update) = state.latest() {
            let _ = sender.send(update);
        }
        state.subscribers.push(sender);
        receiver
    }
}

impl Manager for Company {
    fn track<R: Into<TrackedPeers<PublicKey>> + Send>(&mut self, id: u64, peers: R) -> Feedback {
        let mut state = self.state.lock();
        if state.sets.last_key_value().is_some_and(|(&last, _)| last >= id) {
            return Feedback::Ok;
        }
        state.sets.insert(id, peers.into());
        while state.sets.len() > SETS_REMEMBERED_MAX {
            state.sets.pop_first();
        }
        if let Some(update) = state.latest() {
            state.subscribers.retain(|subscriber| subscriber.send(update.clone()).is_ok());
        }
        Feedback::Ok
    }
}
