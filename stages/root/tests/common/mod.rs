//! A ledger of accounts in key order and the tree's definition written down naively, for all tests of this crate.

#![allow(dead_code, clippy::unwrap_used)] // Each test file uses its own part; a failed unwrap is a failed test.

use std::collections::BTreeMap;

use tana_hash::{Hash, HashKey, hash, keyed};
use tana_root::{
    AccountTree, ExclusionProof, InclusionProof, LEAF_CONTEXT, Leaf, LeafChanges, NEXT_NONE, NODE_CONTEXT,
    RECORD_BYTES, RECORD_NEXT_OFFSET,
};

/// `node(height, index)` of the definition at the top of the crate, by recursion.
fn naive_node(leaves: &[Leaf], height: u32, index: u64) -> Hash {
    if index * 4u64.pow(height) >= leaves.len() as u64 {
        return [0; 32];
    }
    if height == 0 {
        let Leaf { record, overflow } = &leaves[index as usize];
        let content = [&record[..], overflow.as_ref().map_or(&[][..], |hash| &hash[..])].concat();
        return keyed(&HashKey::from_context(LEAF_CONTEXT), &content);
    }
    let children: Vec<u8> = (0..4).flat_map(|child| naive_node(leaves, height - 1, 4 * index + child)).collect();
    keyed(&HashKey::from_context(NODE_CONTEXT), &children)
}

/// The root by definition.
pub fn naive_root(leaves: &[Leaf]) -> Hash {
    let mut height = 0;
    while 4usize.pow(height) < leaves.len() {
        height += 1;
    }
    naive_node(leaves, height, 0)
}

/// A leaf whose bytes follow from a seed; every third has an overflow.
pub fn leaf(seed: u64) -> Leaf {
    let mut record = [0; RECORD_BYTES];
    for (part, chunk) in record.chunks_mut(32).enumerate() {
        chunk.copy_from_slice(&hash(&[seed.to_le_bytes(), (part as u64).to_le_bytes()].concat()));
    }
    Leaf { record, overflow: seed.is_multiple_of(3).then(|| hash(&seed.to_le_bytes())) }
}

/// Updates a tree with leaves by index.
pub fn update(tree: &mut AccountTree, changes: &BTreeMap<u32, Leaf>, threads: Option<&rayon::ThreadPool>) -> Hash {
    let indexes: Vec<u32> = changes.keys().copied().collect();
    let records: Vec<[u8; RECORD_BYTES]> = changes.values().map(|leaf| leaf.record).collect();
    let overflows: Vec<(u32, Hash)> = changes
        .values()
        .enumerate()
        .filter_map(|(position, leaf)| leaf.overflow.map(|overflow| (position as u32, overflow)))
        .collect();
    let changes = LeafChanges { indexes: &indexes, records: &records, overflows: &overflows };
    tree.update(&changes, threads).unwrap()
}

/// A tree over leaves, in one update.
pub fn tree_of(leaves: &[Leaf]) -> AccountTree {
    let mut tree = AccountTree::new();
    update(&mut tree, &leaves.iter().cloned().enumerate().map(|(index, leaf)| (index as u32, leaf)).collect(), None);
    tree
}

/// Accounts whose `next` fields follow key order, starting with the sentinel at index 0 (key of zeros).
pub struct Ledger {
    pub leaves: Vec<Leaf>,
    pub tree: AccountTree,
}

impl Ledger {
    /// The sentinel and one account for each key, in the order given.
    pub fn new(keys: &[[u8; 32]]) -> Self {
        let mut leaves = vec![Leaf { record: [0; RECORD_BYTES], overflow: None }];
        for (seed, key) in keys.iter().enumerate() {
            let mut leaf = leaf(seed as u64);
            leaf.record[..32].copy_from_slice(key);
            leaves.push(leaf);
        }
        let mut order: Vec<usize> = (1..leaves.len()).collect();
        order.sort_by_key(|&index| leaves[index].key());
        let mut last = 0;
        for index in order {
            set_next(&mut leaves[last], index as u32);
            last = index;
        }
        set_next(&mut leaves[last], NEXT_NONE);
        let tree = tree_of(&leaves);
        Self { leaves, tree }
    }

    pub fn count(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub fn inclusion(&self, index: u32) -> InclusionProof {
        InclusionProof { index, leaf: self.leaves[index as usize].clone(), path: self.tree.prove(index).unwrap() }
    }

    /// The proof that starts at `lower`, whatever key it may be meant for.
    pub fn exclusion_from(&self, lower: u32) -> ExclusionProof {
        let lower = self.inclusion(lower);
        let upper = lower.leaf.next().map(|next| self.inclusion(next));
        ExclusionProof { lower, upper }
    }

    /// The honest proof for a key that is not there.
    pub fn exclusion(&self, key: &[u8; 32]) -> ExclusionProof {
        let below = (1..self.leaves.len()).filter(|&index| self.leaves[index].key() < *key);
        self.exclusion_from(below.max_by_key(|&index| self.leaves[index].key()).unwrap_or(0) as u32)
    }
}

pub fn set_next(leaf: &mut Leaf, next: u32) {
    leaf.record[RECORD_NEXT_OFFSET..RECORD_NEXT_OFFSET + 4].copy_from_slice(&next.to_le_bytes());
}
