//! The root of all accounts, and proofs against it.
//!
//! Accounts have a dense index, so the tree over them is dense too: a 4-ary Merkle tree whose leaf `i` is account `i`.
//! It lives in memory, 42.7 bytes an account, and holds nothing but hashes; the records are the caller's.
//! After a block, [`AccountTree::update`] gets the changed accounts in order of index and hashes only what lies above
//! them, sixteen hashes at a time.
//!
//! - [`Leaf`]: what one account commits to, and the key and neighbour that a verifier reads in it.
//! - [`AccountTree`]: the tree; [`LeafChanges`]: what a block changed.
//! - [`InclusionProof`]: account `i` is this. [`ExclusionProof`]: no account has this key. Both are verified with the root and
//!   the count of accounts alone, and have a strict byte encoding.
//!
//! # Definition of the root
//! With the keys LEAF and NODE (BLAKE3 of the sentences [`LEAF_CONTEXT`] and [`NODE_CONTEXT`]) and `count` accounts:
//! 1. `node(0, i)` = keyed(LEAF, record of account `i`: 96 bytes, followed by the 32-byte hash of its overflow part if it has one).
//! 2. `node(h + 1, i)` = keyed(NODE, `node(h, 4i)` ++ `node(h, 4i + 1)` ++ `node(h, 4i + 2)` ++ `node(h, 4i + 3)`), 128 bytes.
//! 3. A node with no account below it, `i * 4^h >= count`, is 32 zero bytes instead.
//! 4. The root is `node(H, 0)` with the smallest `H` for which `4^H >= count`. Without accounts it is 32 zero bytes.
//!
//! The root does not commit to the count: whoever publishes a root (the state root does) commits to the count beside it.

mod changes;
mod codec;
mod group;
mod huge_pages;
mod leaf;
mod proof;
mod rise;
mod tree;

pub use changes::{ChangesError, LeafChanges};
pub use codec::{DecodeError, PROOF_BYTES_MAX};
pub use leaf::{
    KEY_BYTES, LEAF_CONTEXT, Leaf, NEXT_NONE, NODE_CONTEXT, RECORD_BYTES, RECORD_KEY_OFFSET, RECORD_NEXT_OFFSET,
    hash_leaves,
};
pub use proof::{ExclusionProof, InclusionProof, ProofError, Siblings, verify_exclusion, verify_inclusion};
pub use tree::AccountTree;

/// Most levels between a leaf and the root: `4^16` is one more than the highest count of accounts.
pub const HEIGHT_MAX: usize = 16;

/// Most accounts: indexes are 32-bit, and the highest value, [`NEXT_NONE`], is not an index.
pub const ACCOUNTS_MAX: u64 = u32::MAX as u64;

/// Levels between the leaves and the root: the smallest `h` with `4^h >= count`.
pub(crate) fn height(count: u64) -> usize {
    let mut height = 0;
    while height < HEIGHT_MAX && 1 << (2 * height) < count {
        height += 1;
    }
    height
}
