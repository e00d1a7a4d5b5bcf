//! Replays the logs: how a node comes back after a stop, and how anybody checks a chain from its beginning.
//!
//! 1. The state comes from the checkpoint, or from the genesis where there is none.
//! 2. Every header behind it in the order log is taken in order; its batches, of all lanes, are found in the batch log by digest.
//! 3. The block is executed and its roots are made, as they were the first time; what its commit record says must be the same, and what
//!    later headers attest too.
//! 4. Headers without a commit record were final but not applied when the node stopped: they go through the pipeline again. Batches that
//!    no header lists are offered again.
//!
//! Nothing here trusts the disk: hashes, counts and order are checked, and a difference is an error that says where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ahash::AHashMap;
use tana_accounts::{Directory, directory};
use tana_commit::CommitRecord;
use tana_execute::{Outcome, State};
use tana_order::{Block, ExecutedRoots, SealedBatch};
use tana_root::{AccountTree, LeafChanges, hash_leaves};
use tana_store::log::LogIterator;
use tana_store::{DurableReader, LogReader, Position, StoreError};
use tana_types::Hash;
use tana_types::batch::Batch;
use tana_types::codec::DecodeError;
use tana_types::genesis::Genesis;
use tana_types::header::BlockHeader;
use tana_types::state::StateSections;
use tana_types::transaction::Chain;
use thiserror::Error;

use crate::attested::Attested;
use crate::pipeline::verify::fill_ids;
use crate::pipeline::{BATCH_LOG, BLOCK_LOG, LOG_NAMES, ORDER_LOG};

/// Why a replay stopped.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// A log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record's bytes break their layout.
    #[error(
        "the {log} log holds a record at {position} that cannot be read: {source}; restore the data folder from a copy"
    )]
    Record {
        /// The log.
        log: &'static str,
        /// Where.
        position: Position,
        /// What is wrong.
        source: DecodeError,
    },
    /// The records do not fit together.
    #[error("block {height}: {reason}; the data folder is damaged or belongs to another chain, restore it from a copy")]
    Broken {
        /// The block.
        height: u64,
        /// What does not fit.
        reason: String,
    },
    /// The checkpoint does not hold what it should.
    #[error(
        "the checkpoint cannot be used: {0}; remove the folder `checkpoint` and the node replays its logs from the genesis"
    )]
    Checkpoint(String),
    /// The genesis is another chain's.
    #[error(
        "{data} is of the chain {found}, but the genesis given is that of {expected}; give the genesis file of that chain"
    )]
    OtherChain {
        /// The data folder.
        data: PathBuf,
        /// Its chain's genesis hash.
        found: String,
        /// The hash of the genesis given.
        expected: String,
    },
    /// The genesis cannot be made into a state.
    #[error("the genesis cannot be made into a state: {0}")]
    Genesis(String),
}

/// Leaves hashed together when a tree is built.
const LEAVES_PER_CHUNK: u32 = 4_096;

/// Unlisted batches from which on those that no block can list any more are let go.
const UNLISTED_SWEEP: usize = 1_024;

/// Finds batches by digest by reading the batch log forward. Batches of all lanes lie in it as they became durable, so a block may list some
/// that were written long before others of an earlier block.
pub struct BatchSource {
    records: LogIterator,
    chain: Chain,
    /// Read and not yet listed by a block.
    unlisted: AHashMap<Hash, SealedBatch>,
    /// The highest sequence seen of each author.
    sequences: BTreeMap<[u8; 32], u64>,
    last_position: u64,
    sweep_at: usize,
}

/// What the batch log holds that no block listed.
pub struct Unlisted {
    /// The batches, by author and sequence.
    pub batches: Vec<SealedBatch>,
    /// The highest sequence seen of each author.
    pub sequences: BTreeMap<[u8; 32], u64>,
    /// The place of the log's last record; 0 when there is none.
    pub last_position: u64,
}

impl BatchSource {
    /// Starts at the batch log's beginning, or with the record at `from`.
    pub fn open(logs: &Path, chain: Chain, from: Option<Position>) -> Result<Self, ReplayError> {
        let reader = LogReader::open(logs, LOG_NAMES[BATCH_LOG])?;
        let records = match from {
            Some(position) => {
                // The record must be there: a log that ends before it has lost what a block needs.
                reader.iter_after(position)?;
                reader.iter_from(position)?
            }
            None => reader.iter()?,
        };
        let (unlisted, sequences) = (AHashMap::new(), BTreeMap::new());
        let last_position = from.map_or(0, |position| position.to_u64());
        Ok(Self { records, chain, unlisted, sequences, last_position, sweep_at: UNLISTED_SWEEP })
    }

    fn read_next(&mut self) -> Result<Option<Hash>, ReplayError> {
        let Some(record) = self.records.next_record()? else { return Ok(None) };
        let broken = |source| ReplayError::Record { log: LOG_NAMES[BATCH_LOG], position: record.position, source };
        let mut batch = Batch::default();
        batch.load_sealed(record.payload, &self.chain).map_err(broken)?;
        let seal = batch.seal_header();
        if !seal.signature_is_valid() {
            return Err(broken(DecodeError::Invalid { field: "seal signature", rule: "the author's" }));
        }
        let (digest, sequence) = (seal.digest(), seal.sequence.get());
        let highest = self.sequences.entry(seal.author).or_default();
        *highest = sequence.max(*highest);
        fill_ids(&mut batch);
        let position = record.position.to_u64();
        self.last_position = position;
        self.unlisted.insert(digest, SealedBatch { batch, digest, lane: 0, sequence, position });
        Ok(Some(digest))
    }

    /// The batches that a header lists.
    pub fn fetch(&mut self, header: &BlockHeader) -> Result<Vec<SealedBatch>, ReplayError> {
        let mut batches = Vec::with_capacity(header.batch_count());
        for (lane, sequence, digest) in header.batches() {
            while !self.unlisted.contains_key(digest) {
                if self.read_next()?.is_none() {
                    let reason = format!("batch {} is not in the batch log", hex::encode(digest));
                    return Err(ReplayError::Broken { height: header.height, reason });
                }
            }
            let Some(mut batch) = self.unlisted.remove(digest) else { continue };
            if batch.sequence != sequence || batch.batch.seal_header().expiry_height.get() < header.height {
                let reason = format!("batch {} has another sequence or has expired", hex::encode(digest));
                return Err(ReplayError::Broken { height: header.height, reason });
            }
            batch.lane = lane;
            batches.push(batch);
        }
        self.sweep(header.height);
        Ok(batches)
    }

    /// Lets batches go that expired before `height`, now and then: a lane may leave many behind that no block ever lists.
    fn sweep(&mut self, height: u64) {
        if self.unlisted.len() >= self.sweep_at {
            self.unlisted.retain(|_, sealed| sealed.batch.seal_header().expiry_height.get() >= height);
            self.sweep_at = UNLISTED_SWEEP.max(2 * self.unlisted.len());
        }
    }

    /// Where a restart behind the last fetched block would have to begin.
    pub fn needed_position(&self) -> u64 {
        self.unlisted.values().map(|sealed| sealed.position).min().unwrap_or(self.last_position)
    }

    /// The highest sequence seen of an author.
    pub fn last_sequence(&self, author: &[u8; 32]) -> u64 {
        self.sequences.get(author).copied().unwrap_or(0)
    }

    /// Reads to the end and gives what no block has listed.
    pub fn rest(mut self) -> Result<Unlisted, ReplayError> {
        while self.read_next()?.is_some() {}
        let mut batches: Vec<SealedBatch> = self.unlisted.into_values().collect();
        batches.sort_by_key(|sealed| (sealed.batch.seal_header().author, sealed.sequence, sealed.position));
        Ok(Unlisted { batches, sequences: self.sequences, last_position: self.last_position })
    }
}

/// Executes blocks again, one after the other.
pub struct Replayer {
    /// The state after the last block.
    pub state: State,
    /// Its accounts by key, shared with whoever looks them up.
    pub accounts: Arc<Directory>,
    /// Its tree.
    pub tree: AccountTree,
    /// Roots that later headers may attest.
    pub attested: Attested,
    /// The last block's hash; the genesis hash at height 0.
    pub parent: Hash,
    /// The last block's height.
    pub height: u64,
    /// The last block's timestamp.
    pub timestamp_ms: u64,
    /// What the last block did.
    pub outcome: Outcome,
}

/// What a block was made into.
pub struct Replayed {
    /// The state after it.
    pub sections: StateSections,
    /// Its roots.
    pub roots: ExecutedRoots,
}

/// The height that a node last published as committed. The file is never synced, so after a power cut it may be behind the logs, but never
/// ahead of them: a log that ends below it has lost what was acknowledged.
pub fn published_height(folders: &DataFolders) -> u64 {
    let state = DurableReader::open(&folders.logs).and_then(|reader| reader.read());
    state.ok().flatten().map_or(0, |state| state.height)
}

/// Refuses logs that end below what was published.
pub fn check_published(published: u64, committed: u64) -> Result<(), ReplayError> {
    if committed >= published {
        return Ok(());
    }
    let reason = format!(
        "height {published} was published as committed, but the logs hold committed blocks only up to {committed}"
    );
    Err(ReplayError::Broken { height: committed + 1, reason })
}

/// Progress: what is being done, how far, of how much (0 when unknown).
pub type Progress<'a> = &'a dyn Fn(&'static str, u64, u64);

impl Replayer {
    /// At the genesis.
    pub fn from_genesis(genesis: &Genesis, progress: Progress<'_>) -> Result<Self, ReplayError> {
        let expected = genesis.bulk.as_ref().map_or(0, |bulk| bulk.count as usize) + 2;
        let (writer, accounts) = directory(expected);
        let state = State::from_genesis(genesis, writer, &|done, all| progress("accounts", done, all))
            .map_err(|error| ReplayError::Genesis(error.to_string()))?;
        let tree = build_tree(&state)?;
        let sections = state.sections(tree.root());
        let roots = ExecutedRoots {
            height: 0,
            state_root: sections.root(),
            receipts_root: tana_execute::receipts_root(std::iter::empty(), &[], 0),
            validator_set_hash: state.validator_set_hash(state.epoch_of(0)),
        };
        Ok(Self {
            state,
            accounts,
            tree,
            attested: Attested::new([roots]),
            parent: genesis.hash(),
            height: 0,
            timestamp_ms: genesis.timestamp_ms,
            outcome: Outcome::default(),
        })
    }

    /// Executes the next block and checks all that its header says.
    pub fn apply(&mut self, block: &Block) -> Result<Replayed, ReplayError> {
        let header = &block.header;
        let broken = |reason: String| ReplayError::Broken { height: header.height, reason };
        if header.height != self.height + 1 || header.parent != self.parent || header.timestamp_ms <= self.timestamp_ms
        {
            return Err(broken(format!("its height, parent or timestamp does not follow block {}", self.height)));
        }
        self.attested.check(header).map_err(&broken)?;
        let ids: Vec<Hash> = block.batches.iter().flat_map(|sealed| sealed.batch.ids.iter().copied()).collect();
        if ids.len() != header.transaction_count as usize
            || tana_execute::transaction_root(&ids) != header.transaction_root
        {
            return Err(broken("its transactions are not those that its transaction root commits to".to_owned()));
        }
        let batches: Vec<&Batch> = block.batches.iter().map(|sealed| &sealed.batch).collect();
        self.state.execute(header, &batches, &mut self.outcome).map_err(|error| broken(error.to_string()))?;
        let outcome = &self.outcome;
        let changes =
            LeafChanges { indexes: &outcome.changed, records: &outcome.records, overflows: &outcome.overflow_hashes };
        let accounts_root = self.tree.update(&changes, None).map_err(|error| broken(error.to_string()))?;
        let sections = self.state.sections(accounts_root);
        let roots = ExecutedRoots {
            height: header.height,
            state_root: sections.root(),
            receipts_root: tana_execute::receipts_root(ids.iter(), &outcome.codes, header.height),
            validator_set_hash: self.state.validator_set_hash(self.state.epoch_of(header.height)),
        };
        self.attested.executed(roots);
        (self.height, self.parent, self.timestamp_ms) = (header.height, block.hash, header.timestamp_ms);
        Ok(Replayed { sections, roots })
    }

    /// Holds what was executed against the block's commit record.
    pub fn compare(&self, replayed: &Replayed, record: &CommitRecord<'_>) -> Result<(), ReplayError> {
        let differs = |what: &str| {
            let reason = format!("its commit record has other {what} than the replay");
            Err(ReplayError::Broken { height: self.height, reason })
        };
        if record.header.hash() != self.parent {
            return differs("contents of the header");
        }
        if record.codes != self.outcome.codes {
            return differs("codes");
        }
        if record.state_root != replayed.roots.state_root || record.sections != replayed.sections {
            return differs("state root");
        }
        if record.receipts_root != replayed.roots.receipts_root {
            return differs("receipts root");
        }
        let overflows: Vec<(u32, &[u8])> =
            self.outcome.overflow_changes().map(|(position, bytes)| (position, bytes.unwrap_or_default())).collect();
        let accounts = (&record.changed, record.records, &record.overflows);
        if accounts != (&self.outcome.changed, &self.outcome.records, &overflows) {
            return differs("changed accounts");
        }
        Ok(())
    }
}

/// Builds the tree of a whole state.
pub fn build_tree(state: &State) -> Result<AccountTree, ReplayError> {
    let chunks = (0..state.account_count()).step_by(LEAVES_PER_CHUNK as usize);
    let leaves = chunks.flat_map(|first| {
        let (mut records, mut overflows) = (Vec::with_capacity(LEAVES_PER_CHUNK as usize), Vec::new());
        for (record, overflow) in state.leaves(first..first + LEAVES_PER_CHUNK) {
            overflows.extend(overflow.map(|hash| (records.len() as u32, hash)));
            records.push(record);
        }
        let mut hashes = vec![[0; 32]; records.len()];
        hash_leaves(&records, &overflows, &mut hashes);
        hashes
    });
    AccountTree::from_leaves(leaves, None).map_err(|error| ReplayError::Checkpoint(error.to_string()))
}

/// Reads the order log from its beginning or behind a place.
pub struct HeaderSource {
    records: LogIterator,
}

/// A final block as the order log names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedHeader {
    /// What was agreed on.
    pub header: BlockHeader,
    /// What proves it; may be empty.
    pub certificate: Vec<u8>,
    /// Where its record lies.
    pub position: Position,
}

impl HeaderSource {
    /// Starts at the order log's beginning, or with the record at `from`.
    pub fn open(logs: &Path, from: Option<Position>) -> Result<Self, ReplayError> {
        let reader = LogReader::open(logs, LOG_NAMES[ORDER_LOG])?;
        let records = match from {
            Some(position) => reader.iter_from(position)?,
            None => reader.iter()?,
        };
        Ok(Self { records })
    }

    /// The next header with its certificate and its place.
    pub fn next_header(&mut self) -> Result<Option<OrderedHeader>, ReplayError> {
        let Some(record) = self.records.next_record()? else { return Ok(None) };
        let position = record.position;
        let broken = |source| ReplayError::Record { log: LOG_NAMES[ORDER_LOG], position, source };
        let (header, certificate) = crate::order_record::decode(record.payload).map_err(broken)?;
        Ok(Some(OrderedHeader { header, certificate: certificate.to_vec(), position }))
    }
}

/// Reads the block log from its beginning or behind a place.
pub struct RecordSource {
    records: LogIterator,
}

impl RecordSource {
    /// Starts at the block log's beginning, or behind `after`.
    pub fn open(logs: &Path, after: Option<Position>) -> Result<Self, ReplayError> {
        let reader = LogReader::open(logs, LOG_NAMES[BLOCK_LOG])?;
        let records = match after {
            Some(position) => reader.iter_after(position)?,
            None => reader.iter()?,
        };
        Ok(Self { records })
    }

    /// Starts with the record at `position`, or at the start of a segment.
    pub fn open_at(logs: &Path, position: Position) -> Result<Self, ReplayError> {
        Ok(Self { records: LogReader::open(logs, LOG_NAMES[BLOCK_LOG])?.iter_from(position)? })
    }

    /// Hands the next record to `visit`; none at the end.
    pub fn next_record<T>(
        &mut self,
        visit: impl FnOnce(CommitRecord<'_>, Position) -> Result<T, ReplayError>,
    ) -> Result<Option<T>, ReplayError> {
        let Some(record) = self.records.next_record()? else { return Ok(None) };
        let position = record.position;
        let broken = |source| ReplayError::Record { log: LOG_NAMES[BLOCK_LOG], position, source };
        visit(CommitRecord::decode(record.payload).map_err(broken)?, position).map(Some)
    }
}

/// The folders under a node's data folder.
#[derive(Debug, Clone)]
pub struct DataFolders {
    /// The logs.
    pub logs: PathBuf,
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// Look-up tables.
    pub tables: PathBuf,
}

impl DataFolders {
    /// The folders under `data`.
    pub fn new(data: &Path) -> Self {
        Self { logs: data.join("logs"), checkpoint: data.join("checkpoint"), tables: data.join("tables") }
    }
}
