//! What the tree commits to for one account.
//!
//! An account's record is 96 bytes of fixed layout; of it the tree reads only two fields, and only in proofs: the key at
//! bytes 0..32, and at bytes 40..44 the index of the account that follows in key order (little-endian), or [`NEXT_NONE`].
//! An account with more than fits the record has an overflow part, which the leaf commits to by its hash.
//!
//! Key order starts at account 0, the sentinel. It is nobody's account and stands before every key, whatever its own
//! key bytes are.

use std::sync::LazyLock;

use tana_hash::{HASH_BYTES, Hash, HashKey, LANES, keyed, keyed_each_fixed};

/// Bytes of an account's record.
pub const RECORD_BYTES: usize = 96;

/// Bytes of an account's key.
pub const KEY_BYTES: usize = 32;

/// Where the key starts in a record.
pub const RECORD_KEY_OFFSET: usize = 0;

/// Where the index of the next account in key order starts in a record: 4 bytes, little-endian.
pub const RECORD_NEXT_OFFSET: usize = 40;

/// The value of `next` in the account with the highest key.
pub const NEXT_NONE: u32 = u32::MAX;

/// The sentence whose BLAKE3 hash is the key of leaf hashes.
pub const LEAF_CONTEXT: &str = "tana account tree leaf v1";

/// The sentence whose BLAKE3 hash is the key of node hashes.
pub const NODE_CONTEXT: &str = "tana account tree node v1";

/// Bytes of a leaf with an overflow hash.
const LONG_LEAF_BYTES: usize = RECORD_BYTES + HASH_BYTES;

/// Leaves with an overflow that are put together on the stack at a time: 8 KiB.
const LONG_LEAVES: usize = 4 * LANES;

pub(crate) static LEAF_KEY: LazyLock<HashKey> = LazyLock::new(|| HashKey::from_context(LEAF_CONTEXT));
pub(crate) static NODE_KEY: LazyLock<HashKey> = LazyLock::new(|| HashKey::from_context(NODE_CONTEXT));

/// The content of one leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The account's record.
    pub record: [u8; RECORD_BYTES],
    /// The hash of the account's overflow part, if it has one.
    pub overflow: Option<Hash>,
}

impl Leaf {
    /// The account's key.
    pub fn key(&self) -> [u8; KEY_BYTES] {
        std::array::from_fn(|byte| self.record[RECORD_KEY_OFFSET + byte])
    }

    /// The index of the account that follows in key order, or `None` for the last.
    pub fn next(&self) -> Option<u32> {
        let next = u32::from_le_bytes(std::array::from_fn(|byte| self.record[RECORD_NEXT_OFFSET + byte]));
        (next != NEXT_NONE).then_some(next)
    }

    /// The leaf's hash.
    pub fn hash(&self) -> Hash {
        match &self.overflow {
            None => keyed(&LEAF_KEY, &self.record),
            Some(overflow) => keyed(&LEAF_KEY, &long_leaf(&self.record, overflow)),
        }
    }
}

/// The leaf hash of each record, in place. `overflows` names the accounts that have an overflow part, as position in `records`
/// (strictly rising) and hash of the part.
///
/// # Panics
/// If `records` and `out` differ in length, or a position is outside `records`.
pub fn hash_leaves(records: &[[u8; RECORD_BYTES]], overflows: &[(u32, Hash)], out: &mut [Hash]) {
    keyed_each_fixed(&LEAF_KEY, records, out);
    hash_long_leaves(records, overflows, 0, out);
}

/// Puts the hashes of leaves with an overflow part in place of those without. `overflows` are the ones of a part of `records` that
/// begins at `first` and whose hashes are `out`.
pub(crate) fn hash_long_leaves(
    records: &[[u8; RECORD_BYTES]],
    overflows: &[(u32, Hash)],
    first: usize,
    out: &mut [Hash],
) {
    let mut long = [[0; LONG_LEAF_BYTES]; LONG_LEAVES];
    let mut hashes = [[0; HASH_BYTES]; LONG_LEAVES];
    for overflows in overflows.chunks(LONG_LEAVES) {
        let (long, hashes) = (&mut long[..overflows.len()], &mut hashes[..overflows.len()]);
        for (slot, (position, overflow)) in long.iter_mut().zip(overflows) {
            *slot = long_leaf(&records[*position as usize], overflow);
        }
        keyed_each_fixed(&LEAF_KEY, long, hashes);
        for (hash, (position, _)) in hashes.iter().zip(overflows) {
            out[*position as usize - first] = *hash;
        }
    }
}

fn long_leaf(record: &[u8; RECORD_BYTES], overflow: &Hash) -> [u8; LONG_LEAF_BYTES] {
    let mut bytes = [0; LONG_LEAF_BYTES];
    bytes[..RECORD_BYTES].copy_from_slice(record);
    bytes[RECORD_BYTES..].copy_from_slice(overflow);
    bytes
}
