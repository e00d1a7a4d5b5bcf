//! Merkle trees over lists of hashes: the root of a block's transactions and of its receipts.
//!
//! The tree is 4-ary, because four hashes are two BLAKE3 blocks and the tree is then half as deep as a binary one for the same
//! work. All hashes of a level are computed side by side.
//!
//! Definition, for a list of `count` leaves and a [`ListDomain`] with the keys NODE and ROOT:
//! 1. Level 0 is the list. While a level has more than one hash, the next one is made from it: hashes `4i .. 4i + 3`, as many of
//!    them as there are, become hash `i` = keyed(NODE, their concatenation: 32, 64, 96 or 128 bytes).
//! 2. The last level's only hash is the top. The top of an empty list is 32 zero bytes; of a list of one it is the leaf.
//! 3. The root is keyed(ROOT, count as 8 bytes little-endian ++ top).
//!
//! The root commits to the count, so that lists of different lengths never share one, and a verifier that knows the count knows
//! the shape of every proof. Leaves must be hashes of another domain than NODE (transaction ids and receipt hashes are).
//!
//! A proof lists, from level 0 upward, the other hashes of the group that the proven hash belongs to, in order: 3 on a
//! full level, fewer at the right edge.

use crate::{HASH_BYTES, Hash, HashKey, keyed, keyed_each_fixed};

/// Children of a node.
const ARITY: usize = 4;

/// Most leaves in a list: far above any block, and small enough that sizes never overflow.
pub const LIST_LEAVES_MAX: u64 = 1 << 32;

/// Most hashes in a proof: 3 on each of the 16 levels of a list of [`LIST_LEAVES_MAX`] leaves.
pub const PROOF_HASHES_MAX: usize = 3 * 16;

/// The two keys of one kind of list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListDomain {
    /// Key of inner nodes.
    pub node: HashKey,
    /// Key of the root.
    pub root: HashKey,
}

impl ListDomain {
    /// The domain whose keys come from two sentences, which must differ from each other and from all other uses.
    pub fn from_contexts(node: &'static str, root: &'static str) -> Self {
        Self { node: HashKey::from_context(node), root: HashKey::from_context(root) }
    }
}

/// The root of a list of hashes.
pub fn merkle_root(domain: &ListDomain, leaves: &[Hash]) -> Hash {
    let count = leaves.len() as u64;
    if leaves.len() <= 1 {
        return root_of(domain, count, leaves.first().unwrap_or(&[0; HASH_BYTES]));
    }
    let mut level = next_level(domain, leaves);
    while level.len() > 1 {
        level = next_level(domain, &level);
    }
    root_of(domain, count, &level[0])
}

/// The proof that leaf `index` is in the list, or `None` if there is no such leaf.
pub fn merkle_proof(domain: &ListDomain, leaves: &[Hash], index: u64) -> Option<Vec<Hash>> {
    let mut place = usize::try_from(index).ok().filter(|&place| place < leaves.len())?;
    let mut proof = Vec::new();
    let mut owned: Vec<Hash>;
    let mut level = leaves;
    while level.len() > 1 {
        let first = place / ARITY * ARITY;
        let group = &level[first..level.len().min(first + ARITY)];
        proof.extend(group.iter().enumerate().filter(|(at, _)| first + at != place).map(|(_, hash)| *hash));
        place /= ARITY;
        owned = next_level(domain, level);
        level = &owned;
    }
    Some(proof)
}

/// Whether `proof` shows that `leaf` stands at `index` in the list of `count` hashes with this `root`.
///
/// Any bytes may be given: what does not fit is refused, nothing panics, and the work is at most 16 hashes.
pub fn merkle_verify(domain: &ListDomain, root: &Hash, count: u64, index: u64, leaf: &Hash, proof: &[Hash]) -> bool {
    if index >= count || count > LIST_LEAVES_MAX || proof.len() > PROOF_HASHES_MAX {
        return false;
    }
    let arity = ARITY as u64;
    let (mut width, mut place, mut hash, mut rest) = (count, index, *leaf, proof);
    while width > 1 {
        let first = place / arity * arity;
        // Between 1 and 4, because `place` is below `width`.
        let group = (width - first).min(arity) as usize;
        let Some((siblings, above)) = rest.split_at_checked(group - 1) else { return false };
        let (before, after) = siblings.split_at((place - first) as usize);
        let mut node = [0; ARITY * HASH_BYTES];
        let children = before.iter().chain([&hash]).chain(after);
        for (slot, child) in node.chunks_exact_mut(HASH_BYTES).zip(children) {
            slot.copy_from_slice(child);
        }
        hash = keyed(&domain.node, &node[..group * HASH_BYTES]);
        (width, place, rest) = (width.div_ceil(arity), place / arity, above);
    }
    rest.is_empty() && root_of(domain, count, &hash) == *root
}

/// The level above a level of at least two hashes.
fn next_level(domain: &ListDomain, level: &[Hash]) -> Vec<Hash> {
    let (nodes, rest) = level.as_flattened().as_chunks::<{ ARITY * HASH_BYTES }>();
    let mut above = vec![[0; HASH_BYTES]; level.len().div_ceil(ARITY)];
    keyed_each_fixed(&domain.node, nodes, &mut above[..nodes.len()]);
    if let Some(last) = above.get_mut(nodes.len()) {
        *last = keyed(&domain.node, rest);
    }
    above
}

fn root_of(domain: &ListDomain, count: u64, top: &Hash) -> Hash {
    let mut message = [0; 8 + HASH_BYTES];
    message[..8].copy_from_slice(&count.to_le_bytes());
    message[8..].copy_from_slice(top);
    keyed(&domain.root, &message)
}
