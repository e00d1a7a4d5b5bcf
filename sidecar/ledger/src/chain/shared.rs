//! What the follower's thread and the readers share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use tana_engine::replay::DataFolders;
use tana_types::genesis::Genesis;
use tana_types::transaction::Chain as ChainId;
use tokio::sync::watch;

use super::files::Files;
use super::state::State;
use super::tree::ProofTree;
use super::{ChainError, Phase};

/// What is loaded.
pub(crate) struct Live {
    /// The state.
    pub state: State,
    /// The files behind it.
    pub files: Arc<Files>,
}

/// See the module's text. Whoever takes both locks takes the tree's first.
pub(crate) struct Shared {
    /// The data folder.
    pub data: PathBuf,
    /// The folders under it.
    pub folders: DataFolders,
    /// The chain's rules.
    pub genesis: Genesis,
    /// The chain.
    pub chain: ChainId,
    /// What the follower does.
    pub phase: RwLock<Phase>,
    /// The committed height, for whoever waits for blocks.
    pub head: watch::Sender<u64>,
    /// The highest height that was held against a header that attests it; 0 before the first one. Apart from the tree, so that nobody who
    /// only asks for the height waits while the tree moves.
    pub attested: AtomicU64,
    /// The height that the node has published as committed, as it was last seen; 0 before. The state may be behind it.
    pub published: AtomicU64,
    /// The proof tree.
    pub tree: RwLock<Option<ProofTree>>,
    /// The state.
    pub live: RwLock<Option<Live>>,
    /// Ends the follower.
    pub stop: AtomicBool,
}

impl Shared {
    /// Says what the follower does.
    pub(crate) fn set_phase(&self, phase: Phase) {
        *self.phase.write() = phase;
    }

    /// The state is up to what the node has published.
    pub(crate) fn follow_on(&self) {
        if *self.phase.read() != Phase::Following {
            self.set_phase(Phase::Following);
            self.head.send_replace(self.height());
        }
    }

    /// A height was applied. While the state catches up nobody is told, because nobody is answered.
    pub(crate) fn tell_head(&self, height: u64) {
        if *self.phase.read() == Phase::Following {
            self.head.send_replace(height);
        }
    }

    /// Lets go of the state; `phase` says why.
    pub(crate) fn unload(&self, phase: Phase) {
        self.set_phase(phase);
        *self.tree.write() = None;
        self.attested.store(0, Ordering::Release);
        self.published.store(0, Ordering::Release);
        *self.live.write() = None;
    }

    /// The height of the state; 0 when none is loaded.
    pub(crate) fn height(&self) -> u64 {
        self.live.read().as_ref().map_or(0, |live| live.state.facts.height)
    }

    /// Why nothing can be answered.
    fn refusal(&self) -> ChainError {
        match &*self.phase.read() {
            Phase::Waiting(reason) => ChainError::NotReady(reason.clone()),
            Phase::Stopped(reason) => ChainError::Stopped(reason.clone()),
            Phase::Loading | Phase::Following => ChainError::NotReady("the state is being loaded".to_owned()),
        }
    }

    /// Hands the state to `read`, once it has caught up.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&Live) -> Result<T, ChainError>) -> Result<T, ChainError> {
        if *self.phase.read() != Phase::Following {
            return Err(self.refusal());
        }
        match self.live.read().as_ref() {
            Some(live) => read(live),
            None => Err(self.refusal()),
        }
    }

    /// As [`Shared::with`], with the proof tree, whose height the state is at or above.
    pub(crate) fn with_tree<T>(
        &self,
        read: impl FnOnce(&ProofTree, &Live) -> Result<T, ChainError>,
    ) -> Result<T, ChainError> {
        let tree = self.tree.read();
        self.with(|live| match tree.as_ref() {
            Some(tree) => read(tree, live),
            None => Err(self.refusal()),
        })
    }

    /// The files, once the state has caught up.
    pub(crate) fn files(&self) -> Result<Arc<Files>, ChainError> {
        self.with(|live| Ok(live.files.clone()))
    }
}
