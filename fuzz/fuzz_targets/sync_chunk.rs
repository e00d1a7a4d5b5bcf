//! Bytes as a run of accounts: what decodes has one encoding, and its node is that of the same accounts in the whole tree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_engine::sync::chunk::{Chunk, encode_chunk};
use tana_root::{AccountTree, hash_leaves};

/// Accounts of the runs that are tried: all that fit few bytes.
const ACCOUNTS_MAX: u32 = 20;

fuzz_target!(|bytes: &[u8]| {
    let Some((count, bytes)) = bytes.split_first() else { return };
    let accounts = u32::from(*count) % (ACCOUNTS_MAX + 1);
    let Ok(chunk) = Chunk::decode(bytes, accounts) else { return };
    let overflows: Vec<(u32, Vec<u8>)> = chunk.overflows.iter().map(|(at, bytes)| (*at, bytes.to_vec())).collect();
    let mut encoded = Vec::new();
    encode_chunk(chunk.records, &overflows, &mut encoded);
    assert_eq!(encoded, bytes);
    let hashes: Vec<_> = overflows.iter().map(|(at, bytes)| (*at, tana_hash::hash(bytes))).collect();
    let mut leaves = vec![[0; 32]; accounts as usize];
    hash_leaves(chunk.records, &hashes, &mut leaves);
    assert_eq!(AccountTree::from_leaves(leaves, None).unwrap().root(), chunk.root(true));
});
