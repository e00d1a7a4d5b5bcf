//! One node behind agreement, as a pure machine: verifies batches, keeps them on its [disk](crate::disk), executes what is final with the
//! real state and tree, and answers with what agreement must hear. Time is an argument, in microseconds of simulated time; how long
//! things take is the node's [`Pace`], which faults change.
//!
//! ```text
//! batch of another ─▶ verify (one at a time) ─▶ disk ─▶ held
//! client's transfers ─▶ verify, seal (the real lane) ─▶ disk ─▶ held, own
//! finalized header ─▶ disk ─▶ reported final ─▶ execute (one at a time) ─▶ executed ─▶ disk ─▶ committed
//! ```
//!
//! The disk syncs as a whole, again and again while something waits: one sync at a time makes everything safe that was written before
//! it began. A crash is [`Replica::crash`]: only the disk is left, and [`Replica::start`] builds everything else from it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tana_execute::Validator;
use tana_lane::{Evidence, HeldBatch, Lane};
use tana_order::ExecutedRoots;
use tana_types::Hash;
use tana_types::batch::{Batch, Seal};
use tana_types::header::BlockHeader;
use tana_verify::Verifier;

use crate::chain::SimChain;
use crate::checks::{Checks, Violation};
use crate::disk::{Disk, Record};
use crate::ledger::Ledger;
use tana_sim_network::dice::Dice;

mod batches;
mod start;

pub use start::Recovered;

/// Batches that wait for verification; with more the node has no room.
const VERIFY_QUEUE_MAX: usize = 8;
/// Transactions that wait to be sealed; a client that offers more is sent away.
const INTAKE_MAX: usize = 64;

/// How long things take, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The verification of a batch.
    pub verify_us: u64,
    /// A sync of the disk.
    pub sync_us: u64,
    /// The execution of a block.
    pub execute_us: u64,
}

/// What a machine in good health needs.
pub const HEALTHY: Pace = Pace { verify_us: 2_000, sync_us: 3_000, execute_us: 1_000 };

/// Validator sets with their epochs.
pub type EpochSets = Vec<(u64, Vec<Validator>)>;

/// What agreement must hear.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A batch is verified and durable.
    Held(HeldBatch, Option<Bytes>),
    /// A batch is not valid.
    Refused {
        /// Its seal.
        seal: Box<Seal>,
        /// The proof, where its author is to blame.
        evidence: Option<Evidence>,
    },
    /// A height was executed: its roots, and the validator sets that are fixed.
    Executed(ExecutedRoots, EpochSets),
    /// A height and all below it are complete on the disk.
    Committed(u64),
}

/// Something that ends at a time.
#[derive(Debug)]
enum Job {
    Verified(Bytes),
    Seal,
    Synced(u64),
    Execute,
}

/// Something that waits for the disk.
enum Waiting {
    Batch(Hash),
    Header(Box<BlockHeader>),
    Commit(u64),
}

/// A batch that the node has.
struct Stored {
    batch: Batch,
    held: HeldBatch,
    durable: bool,
}

/// See the module's text.
pub struct Replica {
    chain: Arc<SimChain>,
    node: usize,
    key: [u8; 32],
    /// A liar computes wrong state roots, and its doings are not checked.
    wrong_roots: bool,
    disk: Disk,
    /// How long things take now.
    pub pace: Pace,
    verifier: Verifier,
    ledger: Ledger,
    lane: Lane,
    batches: BTreeMap<Hash, Stored>,
    own_unlisted: BTreeMap<u64, Hash>,
    /// The last own sequence that was sealed because batches before it expired, until it is held.
    resealing: Option<u64>,
    intake: VecDeque<Vec<u8>>,
    sealing: bool,
    jobs: BTreeMap<(u64, u64), Job>,
    job_count: u64,
    verifying: usize,
    verifier_free_us: u64,
    waiting: VecDeque<(u64, Waiting)>,
    syncing: bool,
    executing: VecDeque<BlockHeader>,
    executor_free_us: u64,
    tip: u64,
    outputs: Vec<Output>,
}

impl Replica {
    /// Power fails: only the disk is left.
    pub fn crash(&mut self, dice: &mut Dice) -> Disk {
        let mut disk = std::mem::take(&mut self.disk);
        disk.crash(dice);
        disk
    }

    /// Makes a liar of it.
    pub fn lie_about_roots(&mut self) {
        self.wrong_roots = true;
    }

    /// The last finalized height that it was given.
    pub fn tip(&self) -> u64 {
        self.tip
    }

    /// The last executed height.
    pub fn executed_height(&self) -> u64 {
        self.ledger.state().progress().height
    }

    /// The state.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Its disk.
    pub fn disk(&mut self) -> &mut Disk {
        &mut self.disk
    }

    /// When it has something to do next.
    pub fn next_due_us(&self) -> Option<u64> {
        self.jobs.first_key_value().map(|((due_us, _), _)| *due_us)
    }

    /// Whether it may seal batches: whether its key is in the set of the next block's epoch, as far as it knows.
    pub fn is_member(&self) -> bool {
        let state = self.ledger.state();
        let epoch = self.chain.epoch_of(state.progress().height + 1);
        state.validators(epoch).iter().any(|validator| validator.key.0 == self.key)
    }

    /// Takes a batch of another validator; false when there is no room.
    pub fn verify(&mut self, sealed: Bytes, now_us: u64) -> bool {
        if self.verifying >= VERIFY_QUEUE_MAX {
            return false;
        }
        self.verifying += 1;
        self.verifier_free_us = self.verifier_free_us.max(now_us) + self.pace.verify_us;
        self.schedule(self.verifier_free_us, Job::Verified(sealed));
        true
    }

    /// Takes a client's transaction; false when there is no room or the node seals nothing now.
    pub fn submit(&mut self, transaction: &[u8], now_us: u64) -> bool {
        if self.intake.len() >= INTAKE_MAX || !self.is_member() {
            return false;
        }
        self.intake.push_back(transaction.to_vec());
        self.seal_later(now_us);
        true
    }

    /// Takes a finalized block.
    pub fn finalized(&mut self, header: BlockHeader, hash: &Hash, now_us: u64, checks: Option<&mut Checks>) {
        if let Some(checks) = checks {
            checks.finalized(self.node, &header, hash);
        }
        self.tip = header.height;
        self.settle_own(&header);
        self.write(&Record::Header(header.encode()), Waiting::Header(Box::new(header)), now_us);
        self.seal_later(now_us);
    }

    /// The sealed bytes of a durable batch.
    pub fn read_batch(&self, digest: &Hash) -> Option<Bytes> {
        let stored = self.batches.get(digest).filter(|stored| stored.durable)?;
        Some(Bytes::copy_from_slice(stored.batch.sealed_bytes()))
    }

    /// Keeps proof against a validator.
    pub fn keep_evidence(&mut self, evidence: &Evidence) {
        self.disk.append(&Record::Evidence(evidence.encode()));
    }

    /// Own batches behind `mark` expired: seals their transactions again.
    pub fn reseal_own(&mut self, mark: u64, now_us: u64) {
        if self.resealing.is_some() {
            return;
        }
        let expired = self.own_unlisted.split_off(&(mark + 1));
        self.lane.withdraw(mark);
        for digest in expired.values() {
            let Some(stored) = self.batches.get(digest) else { continue };
            let transactions: Vec<Vec<u8>> =
                stored.batch.transactions().map(|transaction| transaction.bytes().to_vec()).collect();
            self.seal(&transactions, now_us);
        }
        self.resealing = self.own_unlisted.last_key_value().map(|(&sequence, _)| sequence);
    }

    /// Does everything that is due; gives what agreement must hear.
    pub fn run(&mut self, now_us: u64, mut checks: Option<&mut Checks>) -> Vec<Output> {
        while let Some(entry) = self.jobs.first_entry().filter(|entry| entry.key().0 <= now_us) {
            match entry.remove() {
                Job::Verified(sealed) => self.verified(&sealed, now_us),
                Job::Seal => self.seal_intake(now_us),
                Job::Synced(position) => self.synced(position, now_us, checks.as_deref_mut()),
                Job::Execute => self.execute(now_us, checks.as_deref_mut()),
            }
        }
        std::mem::take(&mut self.outputs)
    }

    fn schedule(&mut self, due_us: u64, job: Job) {
        self.job_count += 1;
        self.jobs.insert((due_us, self.job_count), job);
    }

    /// Writes a record, and says what waits for it to be safe.
    fn write(&mut self, record: &Record, waiting: Waiting, now_us: u64) {
        let end = self.disk.append(record);
        self.waiting.push_back((end, waiting));
        self.sync(now_us);
    }

    fn sync(&mut self, now_us: u64) {
        if !self.syncing && self.disk.end() > self.disk.synced() {
            self.syncing = true;
            self.schedule(now_us + self.pace.sync_us, Job::Synced(self.disk.end()));
        }
    }

    fn synced(&mut self, position: u64, now_us: u64, mut checks: Option<&mut Checks>) {
        self.syncing = false;
        self.disk.sync_to(position);
        while self.waiting.front().is_some_and(|(end, _)| *end <= position) {
            match self.waiting.pop_front() {
                Some((_, Waiting::Batch(digest))) => self.batch_is_durable(&digest),
                Some((_, Waiting::Header(header))) => self.header_is_durable(*header, now_us, checks.as_deref_mut()),
                Some((_, Waiting::Commit(height))) => self.outputs.push(Output::Committed(height)),
                None => break,
            }
        }
        self.sync(now_us);
    }

    fn batch_is_durable(&mut self, digest: &Hash) {
        let Some(stored) = self.batches.get_mut(digest) else { return };
        stored.durable = true;
        let held = stored.held.clone();
        let own = (held.author == self.key).then(|| Bytes::copy_from_slice(stored.batch.sealed_bytes()));
        if own.is_some() && self.resealing.is_some_and(|last| held.sequence >= last) {
            self.resealing = None;
        }
        self.outputs.push(Output::Held(held, own));
    }

    /// From here on the node's clients are told that the block's transactions are final.
    fn header_is_durable(&mut self, header: BlockHeader, now_us: u64, checks: Option<&mut Checks>) {
        if let Some(checks) = checks {
            match self.ids(&header) {
                Some(ids) => checks.reported(self.node, header.height, ids),
                None => {
                    checks.broken(self.broken(format!("a batch of the final height {} is not held", header.height)))
                }
            }
        }
        self.executing.push_back(header);
        self.executor_free_us = self.executor_free_us.max(now_us) + self.pace.execute_us;
        self.schedule(self.executor_free_us, Job::Execute);
    }

    fn execute(&mut self, now_us: u64, checks: Option<&mut Checks>) {
        let Some(header) = self.executing.pop_front() else { return };
        let height = header.height;
        match self.execute_now(&header, checks) {
            Ok((roots, sets)) => {
                self.outputs.push(Output::Executed(roots, sets));
                self.write(&Record::Commit(height, roots.state_root), Waiting::Commit(height), now_us);
            }
            // The checks have it; without this block nothing can go on here.
            Err(_) => self.executing.clear(),
        }
    }

    /// Executes a block of whatever age; the error is in the checks already.
    fn execute_now(
        &mut self,
        header: &BlockHeader,
        checks: Option<&mut Checks>,
    ) -> Result<(ExecutedRoots, EpochSets), String> {
        let batches: Option<Vec<&Batch>> =
            header.batches().map(|(_, _, digest)| self.batches.get(digest).map(|stored| &stored.batch)).collect();
        let result = match batches {
            Some(batches) => self.ledger.execute(header, &batches).map_err(|error| error.to_string()),
            None => Err(format!("a batch of the final height {} is not held", header.height)),
        };
        match (result, checks) {
            (Ok(executed), checks) => {
                if let Some(checks) = checks {
                    let ids = self.ids(header).unwrap_or_default();
                    checks.executed(self.node, header, &ids, &executed);
                }
                let mut roots = executed.roots;
                if self.wrong_roots {
                    roots.state_root[0] ^= 1;
                }
                Ok((roots, self.sets(header.height)))
            }
            (Err(what), Some(checks)) => {
                checks.broken(self.broken(what.clone()));
                Err(what)
            }
            (Err(what), None) => Err(what),
        }
    }

    /// The identifiers of a block's transactions, in order; none if a batch is not here.
    fn ids(&self, header: &BlockHeader) -> Option<Vec<Hash>> {
        let mut ids = Vec::new();
        for (_, _, digest) in header.batches() {
            ids.extend_from_slice(&self.batches.get(digest)?.batch.ids);
        }
        Some(ids)
    }

    /// The validator sets that are fixed once `height` is executed, from that of its epoch on.
    fn sets(&self, height: u64) -> EpochSets {
        let epoch = self.chain.epoch_of(height);
        let ends = height > 0 && height.is_multiple_of(self.chain.numbers.epoch_blocks);
        let last = if ends { epoch + 2 } else { epoch + 1 };
        (epoch..=last).map(|epoch| (epoch, self.ledger.state().validators(epoch))).collect()
    }

    fn broken(&self, what: String) -> Violation {
        Violation::Broken { node: self.node, what }
    }
}

#[cfg(test)]
mod tests;
