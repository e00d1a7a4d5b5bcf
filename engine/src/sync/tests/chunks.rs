//! Runs of accounts against the tree of all accounts.

use proptest::prelude::*;
use tana_root::{AccountTree, hash_leaves};
use tana_types::account::RECORD_BYTES;

use crate::sync::chunk::{
    CHUNK_ACCOUNTS, CHUNK_BYTES_MAX, Chunk, OVERFLOW_BYTES_MAX, accounts_in, chunk_count, encode_chunk, root_of_chunks,
};

/// A record whose account has an overflow or not; the flag is the byte behind nonce, next and role.
fn record(number: u32, overflow: bool) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..32].copy_from_slice(blake3::hash(&number.to_le_bytes()).as_bytes());
    record[32 + 8 + 4 + 1] = u8::from(overflow);
    record
}

#[test]
fn runs_hang_under_the_root_of_all_accounts() {
    for count in [1, 2, 4, 5, 4_095, 4_096, 4_097, 8_193, 4 * CHUNK_ACCOUNTS, 4 * CHUNK_ACCOUNTS + 1, 70_000] {
        let has_overflow = |number: u32| number % 7 == 3;
        let bytes_of = |number: u32| vec![number as u8 | 1; 1 + number as usize % 40];
        let records: Vec<_> = (0..count).map(|number| record(number, has_overflow(number))).collect();
        let overflows: Vec<_> = (0..count)
            .filter(|number| has_overflow(*number))
            .map(|number| (number, *blake3::hash(&bytes_of(number)).as_bytes()))
            .collect();
        let mut leaves = vec![[0; 32]; count as usize];
        hash_leaves(&records, &overflows, &mut leaves);
        let root = AccountTree::from_leaves(leaves, None).unwrap().root();
        let chunks = chunk_count(count);
        let nodes: Vec<_> = (0..chunks)
            .map(|number| {
                let first = number * CHUNK_ACCOUNTS;
                let accounts = accounts_in(count, number);
                let overflows: Vec<_> = (0..accounts)
                    .filter(|place| has_overflow(first + place))
                    .map(|place| (place, bytes_of(first + place)))
                    .collect();
                let mut bytes = Vec::new();
                encode_chunk(&records[first as usize..(first + accounts) as usize], &overflows, &mut bytes);
                assert!(bytes.len() <= CHUNK_BYTES_MAX);
                let chunk = Chunk::decode(&bytes, accounts).unwrap();
                assert_eq!(chunk.overflows.len(), overflows.len());
                chunk.root(chunks == 1)
            })
            .collect();
        assert_eq!(root_of_chunks(&nodes), root, "{count} accounts");
        assert_eq!(accounts_in(count, chunks), 0);
    }
}

#[test]
fn overflows_are_those_of_the_flagged_accounts() {
    let records = [record(0, false), record(1, true), record(2, true)];
    let encode = |overflows: &[(u32, Vec<u8>)]| {
        let mut bytes = Vec::new();
        encode_chunk(&records, overflows, &mut bytes);
        bytes
    };
    let whole = encode(&[(1, vec![1]), (2, vec![2, 3])]);
    assert!(Chunk::decode(&whole, 3).is_ok());
    assert!(Chunk::decode(&whole, 2).is_err());
    assert!(Chunk::decode(&whole, 4).is_err());
    assert!(Chunk::decode(&encode(&[(1, vec![1])]), 3).is_err());
    assert!(Chunk::decode(&encode(&[(2, vec![2]), (1, vec![1])]), 3).is_err());
    assert!(Chunk::decode(&encode(&[(0, vec![1]), (1, vec![1]), (2, vec![1])]), 3).is_err());
    assert!(Chunk::decode(&encode(&[(1, vec![]), (2, vec![1])]), 3).is_err());
    assert!(Chunk::decode(&encode(&[(1, vec![0; OVERFLOW_BYTES_MAX]), (2, vec![1])]), 3).is_ok());
    assert!(Chunk::decode(&encode(&[(1, vec![0; OVERFLOW_BYTES_MAX + 1]), (2, vec![1])]), 3).is_err());
    let mut huge = whole.clone();
    huge[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(Chunk::decode(&huge, 3).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), accounts in any::<u32>()) {
        let accounts = accounts % 20;
        if let Ok(chunk) = Chunk::decode(&bytes, accounts) {
            chunk.root(false);
            prop_assert_eq!(chunk.records.len(), accounts as usize);
        }
    }
}
