//! Blocks and transactions, read from the logs as far as the state was followed, with small caches of what is asked for again and again.
//!
//! A whole [`Files`] belongs to one loading of the state: when the data folder was replaced, a new one is made and nothing old is left in it.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tana_commit::CommitRecord;
use tana_engine::history::read_batch;
use tana_engine::pipeline::{BLOCK_LOG, ORDER_LOG};
use tana_engine::replay::DataFolders;
use tana_store::Position;
use tana_types::Hash;
use tana_types::batch::Batch;
use tana_types::header::BlockHeader;
use tana_types::transaction::{Chain as ChainId, Transaction};

use super::cache::Cache;
use super::describe::describe_block;
use super::places::LogPlaces;
use super::recent::Recent;
use super::tables::Tables;
use super::{BlockView, ChainError};

/// Newest blocks, and blocks asked for last, that are kept decoded: about 20 KiB each, at most 300.
const BLOCKS_CACHED: usize = 128;
/// Blocks with their transactions that are kept decoded.
const CONTENTS_CACHED: usize = 4_096;
/// Bytes of those.
const CONTENT_BYTES_CACHED: usize = 48 << 20;
/// Bytes that a block with its transactions takes whatever is in it: views, codes, lists.
const CONTENT_OVERHEAD: usize = 4 << 10;
/// Bytes that a batch adds to its own: its seal, its lists, its digest for people.
const BATCH_OVERHEAD: usize = 1 << 10;
/// Bytes that a transaction adds to its own in a decoded batch: entry, identifier, place in the list by account.
const TRANSACTION_OVERHEAD: usize = 80;
/// How long the oldest block is believed to be the oldest one.
const OLDEST_LOOK: Duration = Duration::from_millis(250);
/// Newest blocks that are found by hash, about 40 bytes each.
pub(crate) const HASHES_MAX: usize = 1 << 20;

/// A decoded block without its accounts.
pub(crate) struct Block {
    /// For people.
    pub view: Arc<BlockView>,
    /// Its header.
    pub header: BlockHeader,
    /// Where its batches lie.
    batch_positions: Vec<u64>,
    /// One code per transaction.
    pub codes: Vec<u8>,
}

impl Block {
    /// From a commit record.
    pub(crate) fn new(record: &CommitRecord<'_>) -> Self {
        Self {
            view: Arc::new(describe_block(record)),
            header: record.header.clone(),
            batch_positions: record.batch_positions.clone(),
            codes: record.codes.to_vec(),
        }
    }
}

/// Which account a transaction of a block is from or to: account, then place in the block; ascending.
pub(crate) type AccountPlaces = Vec<(u32, u32)>;

/// A block with its transactions.
pub(crate) struct Content {
    /// The block.
    pub block: Arc<Block>,
    batches: Vec<Batch>,
    /// The place in the block of each batch's first transaction.
    starts: Vec<u32>,
    /// Made when somebody asks.
    pub by_account: OnceLock<AccountPlaces>,
}

impl Content {
    /// A block with its batches.
    ///
    /// # Errors
    /// When they are not as many transactions as the block has.
    pub(crate) fn new(block: Arc<Block>, batches: Vec<Batch>) -> Result<Self, ChainError> {
        let (mut starts, mut count) = (Vec::with_capacity(batches.len()), 0u32);
        for batch in &batches {
            starts.push(count);
            count += batch.len() as u32;
        }
        if count as usize != block.codes.len() {
            let height = block.header.height;
            return Err(ChainError::Read(format!(
                "block {height} has {count} transactions, but its record other ones"
            )));
        }
        Ok(Self { block, batches, starts, by_account: OnceLock::new() })
    }

    /// The transaction at a place, with its identifier.
    pub(crate) fn transaction(&self, index: u32) -> Option<(Transaction<'_>, &Hash)> {
        let batch = self.starts.partition_point(|start| *start <= index).checked_sub(1)?;
        let place = (index - self.starts[batch]) as usize;
        let batch = &self.batches[batch];
        let id = batch.ids.get(place)?;
        Some((batch.transaction(place), id))
    }

    /// Every transaction with its identifier, in order.
    pub(crate) fn transactions(&self) -> impl Iterator<Item = (Transaction<'_>, &Hash)> {
        self.batches.iter().flat_map(|batch| batch.transactions().zip(&batch.ids))
    }

    fn bytes(&self) -> usize {
        let batch = |batch: &Batch| batch.body_length() + batch.len() * TRANSACTION_OVERHEAD + BATCH_OVERHEAD;
        CONTENT_OVERHEAD + self.batches.iter().map(batch).sum::<usize>()
    }
}

#[derive(Default)]
struct Hashes {
    /// Height by the first eight bytes of the hash; of two alike the newer one.
    heights: HashMap<u64, u64, ahash::RandomState>,
    order: VecDeque<u64>,
}

/// See the module's text.
pub(crate) struct Files {
    logs: PathBuf,
    chain: ChainId,
    /// Where commit records lie.
    pub blocks: LogPlaces,
    /// Where headers with certificates lie.
    pub headers: LogPlaces,
    /// The node's look-up tables.
    pub tables: Tables,
    /// What stands in for tables that are not there yet.
    pub recent: Mutex<Recent>,
    /// Apart from the contents, because the follower puts every new block here.
    kept_blocks: Mutex<Cache<Block>>,
    contents: Mutex<Cache<Content>>,
    hashes: RwLock<Hashes>,
    oldest: Mutex<Option<(Instant, u64)>>,
}

fn prefix(hash: &Hash) -> u64 {
    hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Files {
    /// Of the folder, followed behind `height`, whose records lie at these places.
    pub(crate) fn new(folders: &DataFolders, chain: ChainId, height: u64, positions: &[Option<Position>; 3]) -> Self {
        let start = |log: usize| positions[log].map(|position| (height, position));
        Self {
            logs: folders.logs.clone(),
            chain,
            blocks: LogPlaces::new(&folders.logs, BLOCK_LOG, start(BLOCK_LOG)),
            headers: LogPlaces::new(&folders.logs, ORDER_LOG, start(ORDER_LOG)),
            tables: Tables::new(&folders.tables),
            recent: Mutex::default(),
            kept_blocks: Mutex::new(Cache::new(usize::MAX, BLOCKS_CACHED)),
            contents: Mutex::new(Cache::new(CONTENT_BYTES_CACHED, CONTENTS_CACHED)),
            hashes: RwLock::default(),
            oldest: Mutex::default(),
        }
    }

    /// The first block that is kept, as it was at most [`OLDEST_LOOK`] ago; the next one where none is.
    pub(crate) fn oldest(&self) -> Result<u64, ChainError> {
        let mut known = self.oldest.lock();
        if let Some((_, oldest)) = known.filter(|(looked, _)| looked.elapsed() < OLDEST_LOOK) {
            return Ok(oldest);
        }
        let next = || self.blocks.last().map_or(0, |(height, _)| height) + 1;
        let oldest = self.blocks.oldest()?.unwrap_or_else(next);
        *known = Some((Instant::now(), oldest));
        Ok(oldest)
    }

    /// A record is about to be applied: it will be asked for. It is found once its place is pushed to `blocks`.
    pub(crate) fn expect_block(&self, record: &CommitRecord<'_>) {
        let block = Arc::new(Block::new(record));
        self.push_hash(&record.header.hash(), record.header.height);
        self.kept_blocks.lock().insert(record.header.height, block, 0);
    }

    /// A block's hash is known.
    pub(crate) fn push_hash(&self, hash: &Hash, height: u64) {
        let mut hashes = self.hashes.write();
        if hashes.heights.insert(prefix(hash), height).is_none() {
            hashes.order.push_back(prefix(hash));
        }
        if hashes.order.len() > HASHES_MAX
            && let Some(oldest) = hashes.order.pop_front()
        {
            hashes.heights.remove(&oldest);
        }
    }

    /// The height of the block that a hash may name.
    pub(crate) fn height_of(&self, hash: &Hash) -> Option<u64> {
        self.hashes.read().heights.get(&prefix(hash)).copied()
    }

    /// A block.
    ///
    /// # Errors
    /// [`ChainError::NotFound`], [`ChainError::Pruned`], [`ChainError::Read`].
    pub(crate) fn block(&self, height: u64) -> Result<Arc<Block>, ChainError> {
        if self.blocks.last().is_none_or(|(last, _)| height > last) {
            return Err(self.no_block(height));
        }
        if let Some(block) = self.kept_blocks.lock().get(height) {
            return Ok(block);
        }
        let Some(record) = self.blocks.read(height)? else { return Err(self.no_block(height)) };
        let record = CommitRecord::decode(&record.payload).map_err(ChainError::read)?;
        Ok(self.kept_blocks.lock().insert(height, Arc::new(Block::new(&record)), 0))
    }

    /// Why there is no block at a height.
    pub(crate) fn no_block(&self, height: u64) -> ChainError {
        let head = self.blocks.last().map_or(0, |(height, _)| height);
        if height == 0 {
            let text = "height 0 is the genesis, which has no block: the genesis file says what it holds";
            return ChainError::NotFound(text.to_owned());
        }
        match self.blocks.oldest() {
            Ok(Some(oldest)) if height < oldest => ChainError::Pruned { what: format!("block {height}"), oldest },
            Err(error) => error,
            _ if height > head => {
                ChainError::NotFound(format!("there is no block {height} yet; the last committed height is {head}"))
            }
            // It was committed this moment, and not all that belongs to it is known yet.
            _ => ChainError::NotReady(format!("block {height} is being taken in")),
        }
    }

    /// A block with its transactions; `keep` says whether it is likely to be asked for again.
    pub(crate) fn content(&self, height: u64, keep: bool) -> Result<Arc<Content>, ChainError> {
        if let Some(content) = self.contents.lock().get(height) {
            return Ok(content);
        }
        let block = self.block(height)?;
        let mut batches = Vec::with_capacity(block.batch_positions.len());
        for position in &block.batch_positions {
            let batch =
                read_batch(&self.logs, &self.chain, *position).map_err(|reason| match self.blocks.oldest() {
                    Ok(Some(oldest)) if height < oldest => {
                        ChainError::Pruned { what: format!("block {height}"), oldest }
                    }
                    _ => ChainError::Read(reason),
                })?;
            batches.push(batch);
        }
        let content = Arc::new(Content::new(block, batches)?);
        // One without transactions is made again at no cost.
        if !keep || content.block.codes.is_empty() {
            return Ok(content);
        }
        let bytes = content.bytes();
        Ok(self.contents.lock().insert(height, content, bytes))
    }

    /// The batches of a record that is about to be applied.
    ///
    /// # Errors
    /// What cannot be read.
    pub(crate) fn batches_of(&self, record: &CommitRecord<'_>) -> Result<Vec<Batch>, String> {
        record.batch_positions.iter().map(|position| read_batch(&self.logs, &self.chain, *position)).collect()
    }
}
