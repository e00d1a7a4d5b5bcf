//! What the order stage holds when validators agree on blocks: durable batches of all lanes, and final blocks that wait for theirs.
//!
//! 1. A batch that is durable is held by its digest until a final block lists it or agreement says that it is dead.
//! 2. A final block waits, in order of height, until all batches that it lists are held; missing ones are fetched by the lanes and come
//!    here like any other. A block that is delivered again is passed over: what it says is known.
//! 3. When the first waiting block is complete it leaves with its batches.
//! 4. Of the batches that stay the lowest place in the batch log is known: a restart behind this block reads from there.
//!
//! No threads, no clocks: the stage around it does what this says. Its size is bounded by the lanes' quotas, which agreement keeps, and by
//! the blocks that agreement delivers before they are acknowledged ([`WAITING_BLOCKS_MAX`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ahash::{AHashMap, AHashSet};
use tana_order::{Block, SealedBatch};
use tana_types::Hash;
use tana_types::header::{BlockHeader, LANES_MAX};

use super::BatchMark;

/// Final blocks that wait for batches or for room; agreement has far fewer without an acknowledgement.
pub const WAITING_BLOCKS_MAX: usize = 4_096;

/// A block that the validators agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreedBlock {
    /// What was agreed on.
    pub header: BlockHeader,
    /// The header's hash.
    pub hash: Hash,
    /// What proves it; may be empty.
    pub certificate: Vec<u8>,
}

/// What became of a batch that was offered.
#[derive(Debug)]
pub enum Offered {
    /// It is held from now on.
    Held,
    /// It is held already, or its place in the lane is past: its memory comes back.
    Passed(SealedBatch),
}

/// What became of a final block that was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// It waits for its turn.
    Waits,
    /// It was delivered before.
    Again,
    /// A block before it is missing, or too many wait; both are defects of whoever delivers.
    Refused,
}

/// A block that leaves: complete, with its certificate, and where a restart behind it must begin to read batches.
#[derive(Debug)]
pub struct Complete {
    /// The block.
    pub block: Block,
    /// What proves it; may be empty.
    pub certificate: Vec<u8>,
    /// Where a restart behind it goes on in the batch log.
    pub batch_mark: BatchMark,
}

/// See the module's text.
pub struct HeldBatches {
    own: [u8; 32],
    by_digest: AHashMap<Hash, SealedBatch>,
    positions: BTreeSet<u64>,
    own_by_sequence: BTreeMap<u64, Hash>,
    /// By author, the last sequence that a block which left has listed.
    marks: BTreeMap<[u8; 32], u64>,
    waiting: VecDeque<AgreedBlock>,
    listed: AHashSet<Hash>,
    /// The height of the last block that waits or left.
    height: u64,
    last_position: u64,
    own_durable: u64,
}

impl HeldBatches {
    /// Behind the block at `height`, with the lanes' marks after it and where a restart behind it goes on in the batch log.
    pub fn new(own: [u8; 32], height: u64, marks: BTreeMap<[u8; 32], u64>, batch_mark: BatchMark) -> Self {
        Self {
            own,
            by_digest: AHashMap::new(),
            positions: BTreeSet::new(),
            own_by_sequence: BTreeMap::new(),
            marks,
            waiting: VecDeque::new(),
            listed: AHashSet::new(),
            height,
            last_position: batch_mark.needed_position,
            own_durable: batch_mark.own_sequence,
        }
    }

    /// Takes a durable batch.
    pub fn offer(&mut self, batch: SealedBatch) -> Offered {
        let author = batch.batch.seal_header().author;
        let is_own = author == self.own;
        self.last_position = self.last_position.max(batch.position);
        if is_own {
            self.own_durable = self.own_durable.max(batch.sequence);
        }
        let is_past = self.marks.get(&author).is_some_and(|&mark| batch.sequence <= mark);
        if self.by_digest.contains_key(&batch.digest) || (is_past && !self.listed.contains(&batch.digest)) {
            return Offered::Passed(batch);
        }
        if is_own {
            self.own_by_sequence.insert(batch.sequence, batch.digest);
        }
        self.positions.insert(batch.position);
        self.by_digest.insert(batch.digest, batch);
        Offered::Held
    }

    /// Takes a final block, in order of height, at least once.
    pub fn deliver(&mut self, block: AgreedBlock) -> Delivered {
        if block.header.height <= self.height {
            return Delivered::Again;
        }
        if block.header.height != self.height + 1 || self.waiting.len() >= WAITING_BLOCKS_MAX {
            return Delivered::Refused;
        }
        self.height = block.header.height;
        self.listed.extend(block.header.batches().map(|(_, _, digest)| *digest));
        self.waiting.push_back(block);
        Delivered::Waits
    }

    /// The next block, when all its batches are held.
    pub fn next_complete(&mut self) -> Option<Complete> {
        let first = self.waiting.front()?;
        if !first.header.batches().all(|(_, _, digest)| self.by_digest.contains_key(digest)) {
            return None;
        }
        let AgreedBlock { header, hash, certificate } = self.waiting.pop_front()?;
        let mut batches = Vec::with_capacity(header.batch_count());
        for (lane, sequence, digest) in header.batches() {
            let Some(mut batch) = self.remove(digest) else { continue };
            self.listed.remove(digest);
            batch.lane = lane;
            let author = batch.batch.seal_header().author;
            let mark = self.marks.entry(author).or_default();
            *mark = sequence.max(*mark);
            batches.push(batch);
        }
        if self.marks.len() > 2 * LANES_MAX {
            // Only authors of former sets can have made it so large; a mark that is forgotten costs memory until agreement forgets the batch.
            self.marks.clear();
        }
        let batch_mark = self.batch_mark();
        Some(Complete { block: Block { header, hash, batches }, certificate, batch_mark })
    }

    /// Where a restart behind the blocks that left goes on in the batch log.
    pub fn batch_mark(&self) -> BatchMark {
        let needed_position = self.positions.first().copied().unwrap_or(self.last_position);
        BatchMark { needed_position, own_sequence: self.own_durable }
    }

    fn remove(&mut self, digest: &Hash) -> Option<SealedBatch> {
        let batch = self.by_digest.remove(digest)?;
        self.positions.remove(&batch.position);
        if batch.batch.seal_header().author == self.own {
            self.own_by_sequence.remove(&batch.sequence);
        }
        Some(batch)
    }

    /// Lets batches go that no block will list any more; those that a waiting block lists stay.
    pub fn forget(&mut self, digests: &[Hash]) -> Vec<SealedBatch> {
        digests
            .iter()
            .filter(|digest| !self.listed.contains(*digest))
            .copied()
            .collect::<Vec<_>>()
            .iter()
            .filter_map(|digest| self.remove(digest))
            .collect()
    }

    /// Takes the own batches behind `mark` that no final block lists, by sequence, to seal them again.
    pub fn take_own_behind(&mut self, mark: u64) -> Vec<SealedBatch> {
        let behind: Vec<Hash> = self
            .own_by_sequence
            .range(mark.saturating_add(1)..)
            .map(|(_, digest)| *digest)
            .filter(|digest| !self.listed.contains(digest))
            .collect();
        behind.iter().filter_map(|digest| self.remove(digest)).collect()
    }

    /// The highest own sequence that was offered.
    pub fn own_durable(&self) -> u64 {
        self.own_durable
    }

    /// Batches held.
    pub fn len(&self) -> usize {
        self.by_digest.len()
    }

    /// Whether no batch is held.
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    /// Final blocks that wait.
    pub fn waiting_blocks(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the batch is held.
    pub fn contains(&self, digest: &Hash) -> bool {
        self.by_digest.contains_key(digest)
    }
}
