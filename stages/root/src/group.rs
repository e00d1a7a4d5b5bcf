//! Four sibling hashes, which are hashed together where they lie.

use tana_hash::{HASH_BYTES, Hash};

/// Children of a node.
pub(crate) const ARITY: usize = 4;

/// Bytes of a node's children.
pub(crate) const GROUP_BYTES: usize = ARITY * HASH_BYTES;

/// The children of one node, on two cache lines of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Group(pub(crate) [u8; GROUP_BYTES]);

impl Group {
    /// Four places without a node.
    pub(crate) const MISSING: Self = Self([0; GROUP_BYTES]);

    pub(crate) fn child(&self, slot: usize) -> Hash {
        std::array::from_fn(|byte| self.0[slot * HASH_BYTES + byte])
    }

    pub(crate) fn set_child(&mut self, slot: usize, hash: &Hash) {
        self.0[slot * HASH_BYTES..(slot + 1) * HASH_BYTES].copy_from_slice(hash);
    }
}

/// Writes `hashes` into a level as its nodes `nodes`, and appends their groups to `groups`, each once: nodes rise, also from call
/// to call, so that comparing with the last one is enough.
pub(crate) fn store(level: &mut [Group], nodes: &[u32], hashes: &[Hash], groups: &mut Vec<u32>) {
    for (node, hash) in nodes.iter().zip(hashes) {
        let group = node / ARITY as u32;
        level[group as usize].set_child(*node as usize % ARITY, hash);
        if groups.last() != Some(&group) {
            groups.push(group);
        }
    }
}
