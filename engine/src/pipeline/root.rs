//! Root: takes the changed accounts into the tree, completes the state root, and writes the commit record.

use std::sync::Arc;

use tana_commit::CommitParts;
use tana_order::ExecutedRoots;
use tana_root::{AccountTree, LeafChanges};

use super::{CommitEntry, ExecutedBlock, LogEntry};
use crate::agreement::{AgreementPort, ExecutedNote, PipelineEvent};
use crate::attested::Attested;
use crate::channel::{Inlet, Outlet};
use crate::failure::Failure;
use crate::stage::{Poll, Stage, StageCounters, add};

/// See the module's text.
pub struct RootStage {
    tree: AccountTree,
    threads: Option<rayon::ThreadPool>,
    attested: Attested,
    input: Inlet<ExecutedBlock>,
    log: Outlet<LogEntry>,
    roots: Outlet<ExecutedRoots>,
    port: Option<Arc<AgreementPort>>,
    failure: Arc<Failure>,
    counters: Arc<StageCounters>,
}

impl RootStage {
    /// The root stage between execution and the block log. Roots go to agreement through `port`, or to the order stage of a node that orders
    /// alone.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        tree: AccountTree,
        threads: Option<rayon::ThreadPool>,
        attested: Attested,
        input: Inlet<ExecutedBlock>,
        log: Outlet<LogEntry>,
        roots: Outlet<ExecutedRoots>,
        port: Option<Arc<AgreementPort>>,
        failure: Arc<Failure>,
    ) -> Self {
        Self { tree, threads, attested, input, log, roots, port, failure, counters: Arc::default() }
    }

    fn complete(&mut self, executed: ExecutedBlock) -> Result<(), String> {
        let ExecutedBlock { block, outcome, mut sections, validator_set_hash, sets, checkpoint } = executed;
        let header = &block.block.header;
        self.attested.check(header)?;
        let changes =
            LeafChanges { indexes: &outcome.changed, records: &outcome.records, overflows: &outcome.overflow_hashes };
        sections.accounts_root = self
            .tree
            .update(&changes, self.threads.as_ref())
            .map_err(|error| format!("the tree of accounts refused block {}: {error}", header.height))?;
        let state_root = sections.root();
        let ids = block.block.batches.iter().flat_map(|sealed| sealed.batch.ids.iter());
        let receipts_root = tana_execute::receipts_root(ids, &outcome.codes, header.height);
        let roots = ExecutedRoots { height: header.height, state_root, receipts_root, validator_set_hash };
        self.attested.executed(roots);
        let positions: Vec<u64> = block.block.batches.iter().map(|sealed| sealed.position).collect();
        let overflows: Vec<(u32, &[u8])> =
            outcome.overflow_changes().map(|(position, bytes)| (position, bytes.unwrap_or_default())).collect();
        let parts = CommitParts {
            header,
            receipts_root,
            sections: &sections,
            batch_positions: &positions,
            codes: &outcome.codes,
            changed: &outcome.changed,
            overflows: &overflows,
        };
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        parts.encode(&mut head, &mut tail);
        add(&self.counters.transactions, u64::from(header.transaction_count));
        match &self.port {
            Some(port) => port.send(PipelineEvent::Executed(ExecutedNote { roots, sets })),
            None => {
                self.roots.send(roots);
            }
        }
        let checkpoint = checkpoint.then(|| self.attested.roots().copied().collect());
        let entry = CommitEntry { block, outcome, sections, state_root, checkpoint, head, tail };
        self.log.send(LogEntry::Commit(Box::new(entry)));
        Ok(())
    }
}

impl Stage for RootStage {
    fn name(&self) -> &'static str {
        "root"
    }

    fn poll(&mut self, _now_ns: u64) -> Poll {
        if self.failure.is_told() {
            return Poll::Idle;
        }
        if self.log.is_full() || self.roots.is_full() {
            return if self.input.is_empty() { Poll::Idle } else { Poll::Blocked };
        }
        let Some(executed) = self.input.take() else { return Poll::Idle };
        if let Err(reason) = self.complete(executed) {
            self.failure.tell(reason);
        }
        Poll::Worked
    }

    fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }
}
