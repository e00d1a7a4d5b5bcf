//! Validators with a chain and a lane book each; batches and roots are made up, because the rules never look inside them.

use std::collections::BTreeMap;

use tana_lane::{HeldBatch, LaneBook, LaneLimits};
use tana_types::Hash;
use tana_types::header::BlockHeader;

use crate::*;

pub const GENESIS: Hash = [7; 32];
pub const START_MS: u64 = 1_000_000;

pub fn key(number: u8) -> [u8; 32] {
    [number + 1; 32]
}

pub fn keys(count: u8) -> Vec<[u8; 32]> {
    (0..count).map(key).collect()
}

pub fn now(ms: u64) -> Now {
    Now { engine_ns: ms * 1_000_000, wall_ms: START_MS + ms }
}

pub fn rules() -> ChainRules {
    ChainRules {
        epoch_blocks: 1_000,
        lag_blocks_max: 64,
        batch_expiry_blocks: 1_000,
        block_transactions_max: 100_000,
        block_transactions: 100,
        block_interval_ms: 10,
        gather_ns_per_transaction: GATHER_NS_PER_TRANSACTION,
        gather_ms_max: GATHER_MS_MAX,
        empty_interval_ms: 500,
    }
}

pub fn roots(height: u64) -> ExecutedRoots {
    let hash = |what: u8| *blake3::hash(&[&[what][..], &height.to_le_bytes()].concat()).as_bytes();
    ExecutedRoots { height, state_root: hash(1), receipts_root: hash(2), validator_set_hash: hash(3) }
}

/// A batch of ten transactions.
pub fn batch(author: [u8; 32], sequence: u64) -> HeldBatch {
    let name = [&author[..], &sequence.to_le_bytes()].concat();
    let ids: Vec<Hash> = (0..10u8).map(|index| *blake3::hash(&[&name[..], &[index]].concat()).as_bytes()).collect();
    HeldBatch {
        author,
        epoch: 0,
        sequence,
        digest: *blake3::hash(&name).as_bytes(),
        transactions: 10,
        bytes: 1_800,
        skipped: 0,
        expiry_height: 500,
        ids: ids.into(),
    }
}

/// A validator.
pub struct Node {
    pub key: [u8; 32],
    pub chain: Chain,
    pub book: LaneBook,
}

impl Node {
    pub fn new(number: u8, members: &[[u8; 32]], rules: ChainRules) -> Self {
        let start = StartPoint {
            tip: StartTip::Genesis { hash: GENESIS, timestamp_ms: START_MS },
            marks: BTreeMap::new(),
            floors: BTreeMap::new(),
            executed: vec![roots(0)],
            sets: BTreeMap::from([(0, members.to_vec()), (1, members.to_vec())]),
        };
        let mut book = LaneBook::new(key(number), LaneLimits::default());
        book.set_members(members, &[]);
        Self { key: key(number), chain: Chain::new(rules, start), book }
    }

    /// What it proposes on `parent`, which must be due.
    pub fn propose(&self, parent: Hash, ms: u64) -> BlockHeader {
        let height = self.chain.header(&parent).map_or(0, |header| header.height) + 1;
        match self.chain.propose(parent, self.key, self.chain.rules().epoch_of(height), now(ms), &self.book) {
            Proposal::Block(header) => header,
            other => panic!("{other:?} instead of a block at height {height}"),
        }
    }

    pub fn verify(&self, header: &BlockHeader, ms: u64) -> Verdict {
        self.chain.verify(header, &header.proposer, now(ms), &self.book)
    }

    pub fn insert(&mut self, header: &BlockHeader, ms: u64) -> Hash {
        let hash = header.hash();
        assert_eq!(self.chain.insert(header.clone(), hash, now(ms)), Inserted::Yes);
        hash
    }

    /// Inserts, finalizes and executes a block.
    pub fn commit(&mut self, header: &BlockHeader, ms: u64) -> Hash {
        let hash = self.finalize(header, ms);
        self.execute(header.height);
        hash
    }

    pub fn finalize(&mut self, header: &BlockHeader, ms: u64) -> Hash {
        let hash = self.insert(header, ms);
        let finalized = self.chain.finalize(&hash).unwrap();
        self.book.finalized(&finalized.marks, header.height);
        hash
    }

    pub fn execute(&mut self, height: u64) {
        self.chain.executed(Executed { roots: roots(height), sets: Vec::new() });
    }
}

/// Everybody holds these batches and knows that everybody does.
pub fn share(nodes: &mut [Node], batches: &[HeldBatch]) {
    for node in nodes.iter_mut() {
        batches.iter().for_each(|batch| node.book.held(batch.clone()));
    }
    tell_marks(nodes);
}

/// Everybody's marks reach everybody.
pub fn tell_marks(nodes: &mut [Node]) {
    let marks: Vec<_> = nodes.iter().map(|node| (node.key, node.book.marks())).collect();
    for node in nodes {
        marks.iter().for_each(|(from, marks)| node.book.on_marks(from, marks));
    }
}

pub fn nodes(count: u8, rules: &ChainRules) -> Vec<Node> {
    (0..count).map(|number| Node::new(number, &keys(count), rules.clone())).collect()
}
