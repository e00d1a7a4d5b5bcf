//! Proofs about single accounts, for someone who has only the root and the count of accounts.
//!
//! **Inclusion** of account `index`: its leaf and, on each level, the three siblings of the node on the way up. The verifier
//! hashes its way to the top, with `index` saying at which of four places its hash stands, and compares with the root. The count
//! fixes the number of levels, so that an inner node can never be shown as a leaf.
//!
//! **Exclusion** of a key: the accounts form one list in key order, because each leaf holds the index of the next. Two
//! neighbours with the key strictly between theirs leave no room for it:
//! 1. `lower` is included, and is the sentinel (account 0, before every key) or has a key below the key in question.
//! 2. `upper` is included, its index is the one that `lower` names as next, and its key is above.
//! 3. If `lower` names nobody (it is the last), there is no `upper`.
//!
//! That the list is in order and complete is the executor's duty; the root commits to the outcome.

use tana_hash::{HASH_BYTES, Hash, keyed};

use crate::leaf::{KEY_BYTES, Leaf, NODE_KEY};
use crate::{ACCOUNTS_MAX, height};

/// The three siblings of a node, in order of their places.
pub type Siblings = [Hash; 3];

/// The index of the account that starts the key order.
const SENTINEL_INDEX: u32 = 0;

/// Account `index` has this leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// The account's index.
    pub index: u32,
    /// The account's leaf.
    pub leaf: Leaf,
    /// The siblings on the way from the leaf to the root, as [`crate::AccountTree::prove`] gives them.
    pub path: Vec<Siblings>,
}

/// No account has a certain key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExclusionProof {
    /// The last account before the key in key order, maybe the sentinel.
    pub lower: InclusionProof,
    /// The account after it, or `None` if `lower` is the last of all.
    pub upper: Option<InclusionProof>,
}

/// Why a proof does not prove what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// No tree has so many accounts.
    #[error(
        "{count} accounts are more than a tree can hold ({ACCOUNTS_MAX}); take root and count from the same header"
    )]
    Count {
        /// The count given.
        count: u64,
    },
    /// The account is beyond the count.
    #[error("the proof is for account {index}, but there are {count} accounts; ask for a proof against this root")]
    Index {
        /// The proof's index.
        index: u32,
        /// The count given.
        count: u64,
    },
    /// The path has too few or too many levels.
    #[error(
        "the proof has {levels} levels, but a tree of this count has {expected}; ask for a proof against this root"
    )]
    Levels {
        /// Levels in the path.
        levels: usize,
        /// Levels of the tree.
        expected: usize,
    },
    /// The path leads to another root.
    #[error("the proof for account {index} leads to another root; it is altered, or made for another height")]
    Root {
        /// The proof's index.
        index: u32,
    },
    /// `lower` does not stand before the key.
    #[error("account {index} does not stand before the key in key order, so that it proves nothing about the key")]
    NotBelow {
        /// The index of `lower`.
        index: u32,
    },
    /// `upper` does not stand after the key.
    #[error("account {index} does not stand after the key in key order; if their keys are equal, the account exists")]
    NotAbove {
        /// The index of `upper`.
        index: u32,
    },
    /// `upper` is not the account that `lower` names as next.
    #[error("account {lower} names another next account than the proof shows; accounts in between may exist")]
    NotNeighbours {
        /// The index of `lower`.
        lower: u32,
    },
}

impl InclusionProof {
    /// Checks the proof; see [`verify_inclusion`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self, root: &Hash, count: u64) -> Result<(), ProofError> {
        verify_inclusion(root, count, self.index, &self.leaf, &self.path)
    }
}

impl ExclusionProof {
    /// Checks the proof; see [`verify_exclusion`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self, root: &Hash, count: u64, key: &[u8; KEY_BYTES]) -> Result<(), ProofError> {
        verify_exclusion(root, count, key, self)
    }
}

/// Checks that account `index` of the `count` accounts under `root` has this `leaf`. At most 17 hashes of work.
///
/// # Errors
/// What is wrong with the proof; the leaf must then not be believed.
pub fn verify_inclusion(root: &Hash, count: u64, index: u32, leaf: &Leaf, path: &[Siblings]) -> Result<(), ProofError> {
    if count > ACCOUNTS_MAX {
        return Err(ProofError::Count { count });
    }
    if u64::from(index) >= count {
        return Err(ProofError::Index { index, count });
    }
    let (levels, expected) = (path.len(), height(count));
    if levels != expected {
        return Err(ProofError::Levels { levels, expected });
    }
    let mut hash = leaf.hash();
    let mut node = index;
    for siblings in path {
        let (before, after) = siblings.split_at(node as usize % 4);
        let mut children = [0; 4 * HASH_BYTES];
        for (slot, child) in children.chunks_exact_mut(HASH_BYTES).zip(before.iter().chain([&hash]).chain(after)) {
            slot.copy_from_slice(child);
        }
        hash = keyed(&NODE_KEY, &children);
        node /= 4;
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root { index }) }
}

/// Checks that none of the `count` accounts under `root` has this `key` (the sentinel is nobody's account).
///
/// # Errors
/// What is wrong with the proof; nothing is then known about the key.
pub fn verify_exclusion(
    root: &Hash,
    count: u64,
    key: &[u8; KEY_BYTES],
    proof: &ExclusionProof,
) -> Result<(), ProofError> {
    let lower = &proof.lower;
    lower.verify(root, count)?;
    if lower.index != SENTINEL_INDEX && lower.leaf.key() >= *key {
        return Err(ProofError::NotBelow { index: lower.index });
    }
    match (&proof.upper, lower.leaf.next()) {
        (None, None) => Ok(()),
        (Some(upper), Some(next)) if upper.index == next => {
            upper.verify(root, count)?;
            // The order starts with the sentinel, so that it follows nobody.
            if upper.index == SENTINEL_INDEX || upper.leaf.key() <= *key {
                return Err(ProofError::NotAbove { index: upper.index });
            }
            Ok(())
        }
        _ => Err(ProofError::NotNeighbours { lower: lower.index }),
    }
}
