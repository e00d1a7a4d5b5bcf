//! The serving side of state sync as a node holds it: made once at the start, with ends for the execute stage, the checkpoint's thread and the
//! network.

use std::path::Path;
use std::sync::Arc;

use tana_execute::{State, Validator};
use tana_types::genesis::Genesis;

use super::after::AfterCheckpoint;
use super::changes::SetChanges;
use super::headers::LoggedChain;
use super::install::{changes_folder, snapshots_folder};
use super::service::{SyncParts, SyncService};
use super::snapshot::{SnapshotError, SnapshotStore};
use super::wishes::Wishes;
use crate::block_index::BlockIndex;
use crate::checkpointer::AfterCommit;
use crate::prune::{PruneParts, Pruner};
use crate::published::Published;
use crate::replay::DataFolders;

/// See the module's text.
pub struct SyncSide {
    folders: DataFolders,
    genesis: Genesis,
    blocks: Arc<BlockIndex>,
    wishes: Arc<Wishes>,
    snapshots: Arc<SnapshotStore>,
    changes: SetChanges,
    chain: Arc<LoggedChain>,
    known_sets: Vec<Vec<Validator>>,
}

impl SyncSide {
    /// Over a node's data folder, whose state is `state` now. Snapshots that lie there from before go.
    ///
    /// # Errors
    /// When the folder of snapshots cannot be emptied.
    pub fn open(data: &Path, genesis: &Genesis, blocks: Arc<BlockIndex>, state: &State) -> Result<Self, SnapshotError> {
        let folders = DataFolders::new(data);
        let height = state.progress().height;
        let epoch = state.epoch_of(height);
        Ok(Self {
            genesis: genesis.clone(),
            wishes: Arc::new(Wishes::new(genesis.rules.epoch_blocks, height)),
            snapshots: Arc::new(SnapshotStore::open(&snapshots_folder(data))?),
            changes: SetChanges::new(&changes_folder(data), genesis),
            chain: Arc::new(LoggedChain { logs: folders.logs.clone(), blocks: blocks.clone() }),
            known_sets: (epoch..=epoch.saturating_add(1)).map(|epoch| state.validators(epoch)).collect(),
            blocks,
            folders,
        })
    }

    /// Where the execute stage learns which checkpoints are wished for.
    pub fn wishes(&self) -> Arc<Wishes> {
        self.wishes.clone()
    }

    /// What is to be done behind every committed checkpoint; `keep_heights` as in the configuration.
    pub fn after_checkpoint(&self, keep_heights: u64) -> AfterCommit {
        let mut after = AfterCheckpoint {
            logs: self.folders.logs.clone(),
            snapshots: self.snapshots.clone(),
            wishes: self.wishes.clone(),
            changes: self.changes.clone(),
            chain: self.chain.clone(),
            pruner: Pruner::new(PruneParts {
                logs: self.folders.logs.clone(),
                tables: self.folders.tables.clone(),
                chain: self.genesis.to_chain(),
                blocks: self.blocks.clone(),
                keep_heights,
            }),
        };
        Box::new(move |checkpoint, meta| after.committed(checkpoint, meta))
    }

    /// What answers joining nodes.
    pub fn service(&self, published: Arc<Published>) -> SyncService {
        SyncService::new(SyncParts {
            published,
            snapshots: self.snapshots.clone(),
            changes: self.changes.clone(),
            wishes: self.wishes.clone(),
            chain: self.chain.clone(),
            genesis: self.genesis.clone(),
            known_sets: self.known_sets.clone(),
        })
    }
}
