//! Every path against the `blake3` crate, and the list tree against its definition written down once more, naively.

use proptest::prelude::*;

use crate::*;

/// Deterministic bytes that differ everywhere.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

fn test_key() -> HashKey {
    HashKey::from_context("tana-hash test key")
}

/// Hashes the messages in one batch, plain and keyed, and compares each with the reference.
fn check_batch(messages: &[Vec<u8>]) {
    let inputs: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let mut plain = vec![[0; 32]; inputs.len()];
    let mut keyed = plain.clone();
    hash_each(&inputs, &mut plain);
    keyed_each(&test_key(), &inputs, &mut keyed);
    for (index, input) in inputs.iter().enumerate() {
        assert_eq!(plain[index], *blake3::hash(input).as_bytes(), "plain, message {index} of {} bytes", input.len());
        let expected = blake3::keyed_hash(test_key().as_bytes(), input);
        assert_eq!(keyed[index], *expected.as_bytes(), "keyed, message {index} of {} bytes", input.len());
    }
}

#[test]
fn every_length_in_a_uniform_group() {
    for length in 0..=1024 {
        check_batch(&(0..16).map(|lane| bytes(lane * 2000 + length as u64, length)).collect::<Vec<_>>());
    }
}

#[test]
fn all_lengths_mixed_and_some_beyond_a_chunk() {
    check_batch(&(0..=1100).map(|length| bytes(length as u64, length)).collect::<Vec<_>>());
    check_batch(&(0..=1100).rev().map(|length| bytes(length as u64, length)).collect::<Vec<_>>());
}

#[test]
fn every_batch_size_around_the_groups() {
    for count in 0..70 {
        check_batch(&(0..count).map(|index| bytes(index, 180)).collect::<Vec<_>>());
    }
}

fn check_fixed<const N: usize>() {
    for count in [0usize, 1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 100] {
        let table: Vec<[u8; N]> = (0..count).map(|index| bytes(index as u64, N).try_into().unwrap()).collect();
        let expected: Vec<Hash> = table.iter().map(|message| keyed(&test_key(), message)).collect();
        let mut out = vec![[0; 32]; count];
        keyed_each_fixed(&test_key(), &table, &mut out);
        assert_eq!(out, expected, "{count} messages of {N} bytes");
        let indexes: Vec<u32> = (0..count).map(|index| (index * 7 % count) as u32).collect();
        let touched: Vec<std::cell::Cell<bool>> = vec![std::cell::Cell::new(false); count];
        let message = |place: usize| &table[indexes[place] as usize];
        keyed_each_from(&test_key(), message, |place| touched[place].set(true), &mut out);
        assert!(touched.iter().all(std::cell::Cell::get));
        let picked: Vec<Hash> = indexes.iter().map(|&index| expected[index as usize]).collect();
        assert_eq!(out, picked, "{count} picked messages of {N} bytes");
    }
}

#[test]
fn fixed_lengths() {
    check_fixed::<1>();
    check_fixed::<40>();
    check_fixed::<63>();
    check_fixed::<64>();
    check_fixed::<65>();
    check_fixed::<96>();
    check_fixed::<128>();
    check_fixed::<180>();
    check_fixed::<192>();
    check_fixed::<1000>();
    check_fixed::<1024>();
}

#[test]
fn single_messages_match_the_reference() {
    for length in [0, 1, 64, 1024, 1025, 5000] {
        let message = bytes(1, length);
        assert_eq!(hash(&message), *blake3::hash(&message).as_bytes());
        assert_eq!(keyed(&test_key(), &message), *blake3::keyed_hash(test_key().as_bytes(), &message).as_bytes());
    }
    assert_eq!(*test_key().as_bytes(), *blake3::hash(b"tana-hash test key").as_bytes());
}

/// What a machine without the vector instructions computes.
#[test]
fn the_portable_path_matches_the_reference() {
    let messages: Vec<Vec<u8>> = (0..70).map(|index| bytes(index, 31 * index as usize)).collect();
    let inputs: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let mut out = vec![[0; 32]; inputs.len()];
    each::each(None, &lanes::Mode::PLAIN, &inputs, &mut out, hash);
    let expected: Vec<Hash> = inputs.iter().map(|input| *blake3::hash(input).as_bytes()).collect();
    assert_eq!(out, expected);
    let table: Vec<[u8; 96]> = (0..70).map(|index| bytes(index, 96).try_into().unwrap()).collect();
    each::fixed(None, &test_key(), 70, |place| &table[place], |_| {}, &mut out);
    let expected: Vec<Hash> = table.iter().map(|message| keyed(&test_key(), message)).collect();
    assert_eq!(out, expected);
}

/// The hash of the empty message, from the BLAKE3 test vectors: holds the whole crate to the published function.
#[test]
fn empty_message_has_the_published_hash() {
    let published = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    let mut out = [[0; 32]; 2];
    hash_each(&[&[], &[]], &mut out);
    for hash in out {
        assert_eq!(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), published);
    }
}

#[test]
#[should_panic(expected = "one hash for each message")]
fn output_of_another_length_is_refused() {
    hash_each(&[b"a", b"b"], &mut [[0; 32]; 1]);
}

fn domain() -> ListDomain {
    ListDomain::from_contexts("tana-hash test list node", "tana-hash test list root")
}

/// The definition in the docs of `list_tree`, one hash at a time.
fn naive_root(leaves: &[Hash]) -> Hash {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level.chunks(4).map(|group| keyed(&domain().node, &group.concat())).collect();
    }
    let top = level.first().copied().unwrap_or([0; 32]);
    keyed(&domain().root, &[&(leaves.len() as u64).to_le_bytes()[..], &top].concat())
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|index| hash(&(index as u64).to_le_bytes())).collect()
}

#[test]
fn list_roots_follow_the_definition_and_all_proofs_hold() {
    for count in (0..70).chain([255, 256, 257, 300]) {
        let list = leaves(count);
        let root = merkle_root(&domain(), &list);
        assert_eq!(root, naive_root(&list), "{count} leaves");
        assert_eq!(merkle_proof(&domain(), &list, count as u64), None);
        for index in 0..count as u64 {
            let proof = merkle_proof(&domain(), &list, index).unwrap();
            let leaf = &list[index as usize];
            assert!(merkle_verify(&domain(), &root, count as u64, index, leaf, &proof), "{index} of {count}");
            assert!(!merkle_verify(&domain(), &root, count as u64 + 1, index, leaf, &proof));
            assert!(!merkle_verify(&domain(), &root, count as u64, (index + 1) % 400, leaf, &proof));
            let other = hash(leaf);
            assert!(!merkle_verify(&domain(), &root, count as u64, index, &other, &proof));
        }
    }
}

#[test]
fn altered_list_proofs_fail() {
    let list = leaves(77);
    let root = merkle_root(&domain(), &list);
    for index in [0, 4, 63, 64, 76] {
        let proof = merkle_proof(&domain(), &list, index).unwrap();
        let verify = |proof: &[Hash]| merkle_verify(&domain(), &root, 77, index, &list[index as usize], proof);
        assert!(verify(&proof));
        for byte in 0..proof.len() * 32 {
            let mut altered = proof.clone();
            altered[byte / 32][byte % 32] ^= 1;
            assert!(!verify(&altered), "leaf {index}, byte {byte}");
        }
        assert!(!verify(&proof[1..]));
        assert!(!verify(&[proof.as_slice(), &[[0; 32]]].concat()));
        assert!(!verify(&vec![[0; 32]; PROOF_HASHES]));
    }
    assert!(!merkle_verify(&domain(), &root, u64::MAX, 5, &list[5], &[]));
}

const PROOF_HASHES: usize = list_tree::PROOF_HASHES_MAX + 1;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_mixes_match_the_reference(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..1100), 0..80),
    ) {
        check_batch(&messages);
    }

    #[test]
    fn random_mixes_of_usual_transactions(lengths in proptest::collection::vec(150usize..260, 0..600)) {
        check_batch(&lengths.iter().enumerate().map(|(seed, &length)| bytes(seed as u64, length)).collect::<Vec<_>>());
    }

    #[test]
    fn garbage_list_proofs_never_panic(
        count in any::<u64>(), index in any::<u64>(), small in 0u64..400,
        proof in proptest::collection::vec(any::<[u8; 32]>(), 0..60),
    ) {
        prop_assert!(!merkle_verify(&domain(), &[7; 32], count, index, &[1; 32], &proof));
        prop_assert!(!merkle_verify(&domain(), &[7; 32], small, index % 400, &[1; 32], &proof));
    }
}
