//! The two lists that a header commits to by a root: the identifiers of a block's transactions, and their receipts.
//!
//! A receipt's leaf is keyed BLAKE3 under [`RECEIPT_CONTEXT`] over 64 bytes: identifier 32, height 8, place in the block 4, code 1, zeros.

use std::sync::LazyLock;

use tana_hash::{HashKey, ListDomain, keyed_each_fixed, merkle_root};
use tana_types::Hash;

/// The key of a receipt's leaf is the BLAKE3 hash of this text.
pub const RECEIPT_CONTEXT: &str = "tana receipt v1";

/// Leaves hashed at a time: 16 KiB of messages stay in the nearest cache.
const LEAVES_PER_STEP: usize = 256;

static RECEIPT_KEY: LazyLock<HashKey> = LazyLock::new(|| HashKey::from_context(RECEIPT_CONTEXT));

/// The keys of the tree over receipts.
pub static RECEIPTS_DOMAIN: LazyLock<ListDomain> =
    LazyLock::new(|| ListDomain::from_contexts("tana receipts node v1", "tana receipts root v1"));

/// The keys of the tree over transaction identifiers.
pub static TRANSACTIONS_DOMAIN: LazyLock<ListDomain> =
    LazyLock::new(|| ListDomain::from_contexts("tana transactions node v1", "tana transactions root v1"));

fn message(id: &Hash, height: u64, index: u32, code: u8) -> [u8; 64] {
    let mut message = [0; 64];
    message[..32].copy_from_slice(id);
    message[32..40].copy_from_slice(&height.to_le_bytes());
    message[40..44].copy_from_slice(&index.to_le_bytes());
    message[44] = code;
    message
}

/// The leaf of one receipt, for whoever checks a proof.
pub fn receipt_leaf(id: &Hash, height: u64, index: u32, code: u8) -> Hash {
    tana_hash::keyed(&RECEIPT_KEY, &message(id, height, index, code))
}

/// The leaves of a block's receipts: one per identifier and code, in block order.
pub fn receipt_leaves<'a>(ids: impl Iterator<Item = &'a Hash>, codes: &[u8], height: u64) -> Vec<Hash> {
    let mut leaves = vec![[0; 32]; codes.len()];
    let mut messages = Vec::with_capacity(LEAVES_PER_STEP);
    let mut done = 0;
    let mut items = ids.zip(codes).zip(0u32..);
    loop {
        messages.clear();
        messages
            .extend(items.by_ref().take(LEAVES_PER_STEP).map(|((id, &code), index)| message(id, height, index, code)));
        if messages.is_empty() {
            leaves.truncate(done);
            return leaves;
        }
        keyed_each_fixed(&RECEIPT_KEY, &messages, &mut leaves[done..done + messages.len()]);
        done += messages.len();
    }
}

/// The root over a block's receipts.
pub fn receipts_root<'a>(ids: impl Iterator<Item = &'a Hash>, codes: &[u8], height: u64) -> Hash {
    merkle_root(&RECEIPTS_DOMAIN, &receipt_leaves(ids, codes, height))
}

/// The root over a block's transaction identifiers, in block order.
pub fn transaction_root<'a>(ids: impl IntoIterator<Item = &'a Hash>) -> Hash {
    let ids: Vec<Hash> = ids.into_iter().copied().collect();
    merkle_root(&TRANSACTIONS_DOMAIN, &ids)
}

/// Like [`transaction_root`], over the identifiers of whole batches, one after the other.
pub fn transaction_root_of_parts<'a>(parts: impl IntoIterator<Item = &'a [Hash], IntoIter: Clone>) -> Hash {
    let parts = parts.into_iter();
    let mut ids = Vec::with_capacity(parts.clone().map(<[Hash]>::len).sum());
    parts.for_each(|part| ids.extend_from_slice(part));
    merkle_root(&TRANSACTIONS_DOMAIN, &ids)
}
