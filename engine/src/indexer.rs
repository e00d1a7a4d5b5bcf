//! Builds the look-up tables of sealed segments: from a transaction's identifier and from an account to places in blocks.
//!
//! One thread, at the lowest priority, behind the commit, that rests while the pipeline has much to do: when the block log has gone on
//! to another segment, the one before is read once more and two sorted tables are written beside it. Nothing waits for it; what has no table yet is found by reading.
//!
//! A place is the height in the upper 40 bits and the position in the block in the lower 24.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tana_accounts::{Directory, View};
use tana_commit::CommitRecord;
use tana_store::{LogReader, Position, TableBuilder};
use tana_types::Hash;
use tana_types::account::AccountIndex;
use tana_types::payload::Payload;
use tana_types::transaction::{Chain, Transaction};

use crate::block_index::BlockIndex;
use crate::history::read_batch;
use crate::pipeline::{BLOCK_LOG, LOG_NAMES};
use crate::published::Published;

/// How often the thread looks for a newly sealed segment.
const LOOK: Duration = Duration::from_millis(500);
/// Transactions in the pipeline above which the indexer rests.
const BUSY_TRANSACTIONS: u64 = 8_192;
/// How long it rests at the most over one segment: tables come late under a long flood, but they come.
const REST_MAX: Duration = Duration::from_secs(120);
/// Bits of a place that hold the position in the block.
const INDEX_BITS: u32 = 24;

/// What a table is keyed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// The first eight bytes of a transaction's identifier.
    Transactions,
    /// The index of an account that a transaction is from or to.
    Accounts,
}

/// The file of a segment's table.
pub fn table_path(tables: &Path, kind: TableKind, segment: u32) -> PathBuf {
    let ending = match kind {
        TableKind::Transactions => "transactions",
        TableKind::Accounts => "accounts",
    };
    tables.join(format!("{segment:08}.{ending}"))
}

/// The key of an identifier.
pub fn key_of_id(id: &Hash) -> u64 {
    u64::from_be_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]])
}

/// Height and position of a place.
pub fn place_of(place: u64) -> (u64, u32) {
    (place >> INDEX_BITS, (place & ((1 << INDEX_BITS) - 1)) as u32)
}

/// The place of the transaction at `index` of the block at `height`.
pub fn place(height: u64, index: usize) -> u64 {
    height << INDEX_BITS | index as u64
}

/// The indexer's thread.
pub struct Indexer {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

/// What the indexer reads and writes.
pub struct IndexerParts {
    /// The folder of the logs.
    pub logs: PathBuf,
    /// The folder of the tables.
    pub tables: PathBuf,
    /// The chain.
    pub chain: Chain,
    /// Accounts by key.
    pub directory: Arc<Directory>,
    /// Tells in which segment the last block lies.
    pub blocks: Arc<BlockIndex>,
    /// Tells how much the pipeline has to do.
    pub published: Arc<Published>,
}

impl Indexer {
    /// Starts the thread.
    pub fn start(parts: IndexerParts) -> std::io::Result<Self> {
        std::fs::create_dir_all(&parts.tables)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stop_there = stop.clone();
        let thread = std::thread::Builder::new().name("indexer".to_owned()).spawn(move || {
            // Below everything else in this process; where the system refuses, it runs as it is.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 19);
            run(&parts, &stop_there);
        })?;
        Ok(Self { thread, stop })
    }

    /// Ends the thread; a table that is half built is given up and built again next time.
    pub fn join(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let _ = self.thread.join();
    }
}

fn run(parts: &IndexerParts, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        if let Some(segment) = next_segment(parts)
            && let Err(reason) = index_segment(parts, segment, stop)
        {
            tracing::warn!(segment, reason, "a look-up table could not be built; look-ups read the segment instead");
            std::thread::park_timeout(LOOK * 20);
        }
        std::thread::park_timeout(LOOK);
    }
}

/// Waits while the pipeline has much to do, until the deadline at the most; tells whether to go on.
fn rest(parts: &IndexerParts, stop: &AtomicBool, deadline: Instant) -> bool {
    while parts.published.waiting.load(Ordering::Relaxed) > BUSY_TRANSACTIONS && Instant::now() < deadline {
        if stop.load(Ordering::Acquire) {
            break;
        }
        std::thread::park_timeout(LOOK);
    }
    !stop.load(Ordering::Acquire)
}

/// The oldest sealed segment of the block log without tables.
fn next_segment(parts: &IndexerParts) -> Option<u32> {
    let open = Position::from_u64(parts.blocks.last_position()).segment;
    let first = LogReader::open(&parts.logs, LOG_NAMES[BLOCK_LOG]).ok()?.first_position().ok()?.segment;
    (first..open).find(|&segment| !table_path(&parts.tables, TableKind::Accounts, segment).exists())
}

/// The tables of a segment while they are built.
struct Tables {
    transactions: TableBuilder,
    accounts: TableBuilder,
}

/// One pass over the segment, block by block, with rests. Nothing is written when the node stops meanwhile.
fn index_segment(parts: &IndexerParts, segment: u32, stop: &AtomicBool) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let reader = LogReader::open(&parts.logs, LOG_NAMES[BLOCK_LOG]).map_err(|error| text(&error))?;
    let mut records = reader.iter_from(Position::segment_start(segment)).map_err(|error| text(&error))?;
    let mut tables = Tables {
        transactions: TableBuilder::new(&table_path(&parts.tables, TableKind::Transactions, segment)),
        accounts: TableBuilder::new(&table_path(&parts.tables, TableKind::Accounts, segment)),
    };
    let deadline = Instant::now() + REST_MAX;
    while let Some(record) = records.next_record().map_err(|error| text(&error))? {
        if record.position.segment != segment {
            break;
        }
        if !rest(parts, stop, deadline) {
            return Ok(());
        }
        let commit = CommitRecord::decode(record.payload).map_err(|error| text(&error))?;
        index_block(parts, &commit, &mut tables)?;
    }
    // The accounts' table is written last: its being there says that both are.
    tables.transactions.finish().map_err(|error| text(&error))?;
    tables.accounts.finish().map_err(|error| text(&error))
}

fn index_block(parts: &IndexerParts, commit: &CommitRecord<'_>, tables: &mut Tables) -> Result<(), String> {
    let view = parts.directory.view();
    let mut index = 0;
    for &position in &commit.batch_positions {
        let batch = read_batch(&parts.logs, &parts.chain, position)?;
        for (transaction, id) in batch.transactions().zip(&batch.ids) {
            let place = place(commit.header.height, index);
            tables.transactions.add(key_of_id(id), place).map_err(|error| error.to_string())?;
            for account in accounts_of(&view, transaction).into_iter().flatten() {
                tables.accounts.add(u64::from(account), place).map_err(|error| error.to_string())?;
            }
            index += 1;
        }
    }
    Ok(())
}

/// The accounts that a transaction is from and to, each once.
fn accounts_of(view: &View<'_>, transaction: Transaction<'_>) -> [Option<AccountIndex>; 2] {
    let sender = view.find(&transaction.header().sender);
    let other = match transaction.payload() {
        Ok(Payload::Transfer { recipient, .. }) => view.find(&recipient.0),
        Ok(Payload::RoleChange { account, .. }) => view.find(&account.0),
        Ok(Payload::SovereigntyTransfer { account }) => view.find(&account.0),
        Ok(Payload::BalanceAdjustment { account, .. }) => view.find(&account.0),
        _ => None,
    };
    [sender, other.filter(|other| Some(*other) != sender)]
}
