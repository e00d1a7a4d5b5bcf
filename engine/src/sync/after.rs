//! What happens behind every committed checkpoint, on its thread: a snapshot if somebody wished for one at that height, changes of the validator
//! set put together, unread snapshots swept, logs pruned. None of it may stop the node: what fails is told in the log and tried again later.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tana_commit::CommitRecord;
use tana_store::{Checkpoint, CheckpointMeta, LogReader};

use super::changes::SetChanges;
use super::headers::ChainReader;
use super::snapshot::{SnapshotSource, SnapshotStore};
use super::wishes::Wishes;
use crate::checkpointer::Resume;
use crate::pipeline::{BLOCK_LOG, LOG_NAMES};
use crate::prune::Pruner;

/// See the module's text.
pub struct AfterCheckpoint {
    /// The folder of the logs.
    pub logs: PathBuf,
    /// Snapshots.
    pub snapshots: Arc<SnapshotStore>,
    /// Wishes for them.
    pub wishes: Arc<Wishes>,
    /// Changes of the validator set.
    pub changes: SetChanges,
    /// The node's chain.
    pub chain: Arc<dyn ChainReader>,
    /// What removes old segments.
    pub pruner: Pruner,
}

impl AfterCheckpoint {
    /// A checkpoint was committed.
    pub fn committed(&mut self, checkpoint: &Checkpoint, meta: &CheckpointMeta) {
        let height = meta.height;
        if self.wishes.wished() == height {
            match self.make_snapshot(checkpoint, meta) {
                Ok(()) => tracing::info!(height, "a snapshot for a joining validator was made"),
                Err(reason) => tracing::warn!(height, reason, "no snapshot could be made"),
            }
        }
        self.snapshots.sweep(Instant::now());
        if self.changes.lowest_noted().is_some() {
            self.changes.complete(self.chain.as_ref());
        }
        let snapshot = self.snapshots.heights().first().copied();
        let needed = snapshot.into_iter().chain(self.changes.lowest_noted()).min();
        if let Err(error) = self.pruner.prune(meta, needed) {
            tracing::warn!(height, %error, "the logs could not be pruned");
        }
    }

    fn make_snapshot(&self, checkpoint: &Checkpoint, meta: &CheckpointMeta) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let position = meta.positions.get(BLOCK_LOG).copied().unwrap_or_default();
        let mut reader = LogReader::open(&self.logs, LOG_NAMES[BLOCK_LOG]).map_err(|error| text(&error))?;
        let record = reader.read_at(position).map_err(|error| text(&error))?;
        let record = CommitRecord::decode(&record.payload).map_err(|error| text(&error))?;
        let (_, state_meta) = Resume::split_blob(&meta.blob).map_err(|error| text(&error))?;
        let snapshot = checkpoint.snapshot().map_err(|error| text(&error))?;
        let source = SnapshotSource {
            checkpoint: &snapshot,
            meta: state_meta,
            header: record.header.clone(),
            sections: record.sections,
        };
        self.snapshots.make(source, Instant::now()).map_err(|error| text(&error))
    }
}
