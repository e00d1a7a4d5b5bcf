//! Proofs: what is true can be proven, what is false cannot, and no byte can be altered.

mod common;

use common::{Ledger, leaf, set_next, tree_of};
use proptest::prelude::*;
use tana_hash::hash;
use tana_root::{
    DecodeError, ExclusionProof, InclusionProof, Leaf, PROOF_BYTES_MAX, ProofError, verify_exclusion, verify_inclusion,
};

fn keys(count: u64) -> Vec<[u8; 32]> {
    (0..count).map(|seed| hash(&seed.to_le_bytes())).collect()
}

#[test]
fn every_account_is_included_at_every_count() {
    for count in (1..=66).chain([255, 256, 257]) {
        let leaves: Vec<Leaf> = (0..count).map(leaf).collect();
        let tree = tree_of(&leaves);
        assert_eq!(tree.prove(count as u32), None);
        for (index, leaf) in leaves.iter().enumerate() {
            let index = index as u32;
            let path = tree.prove(index).unwrap();
            assert_eq!(verify_inclusion(&tree.root(), count, index, leaf, &path), Ok(()), "{index} of {count}");
            let elsewhere = (index + 1) % count as u32;
            if count > 1 {
                assert!(verify_inclusion(&tree.root(), count, elsewhere, leaf, &path).is_err());
            }
            let other = common::leaf(u64::from(index) + 7000);
            assert_eq!(verify_inclusion(&tree.root(), count, index, &other, &path), Err(ProofError::Root { index }));
        }
    }
}

#[test]
fn a_million_accounts_need_960_bytes_of_path() {
    let hashes = (0..1_000_000u32).map(|index| if index == 777_777 { leaf(777_777).hash() } else { [1; 32] });
    let tree = tana_root::AccountTree::from_leaves(hashes, None).unwrap();
    let path = tree.prove(777_777).unwrap();
    assert_eq!(path.as_flattened().as_flattened().len(), 960);
    assert_eq!(verify_inclusion(&tree.root(), 1_000_000, 777_777, &leaf(777_777), &path), Ok(()));
}

/// An inner node must not pass as a leaf, nor a leaf as an inner node: the count fixes the levels.
#[test]
fn paths_of_another_length_are_refused() {
    let ledger = Ledger::new(&keys(20));
    let proof = ledger.inclusion(5);
    let root = ledger.tree.root();
    let verify = |path: &[_]| verify_inclusion(&root, ledger.count(), 5, &proof.leaf, path);
    assert_eq!(verify(&proof.path), Ok(()));
    assert_eq!(verify(&proof.path[1..]), Err(ProofError::Levels { levels: 2, expected: 3 }));
    let longer = [proof.path.as_slice(), &[[[0; 32]; 3]]].concat();
    assert_eq!(verify(&longer), Err(ProofError::Levels { levels: 4, expected: 3 }));
    assert_eq!(proof.verify(&root, 5), Err(ProofError::Index { index: 5, count: 5 }));
    assert_eq!(proof.verify(&root, u64::MAX), Err(ProofError::Count { count: u64::MAX }));
}

#[test]
fn absent_keys_are_excluded_and_present_ones_cannot_be() {
    for count in [0, 1, 2, 3, 10, 70] {
        let present = keys(count);
        let ledger = Ledger::new(&present);
        let root = ledger.tree.root();
        for absent in keys(200).iter().skip(count as usize).chain([&[0; 32], &[0xff; 32]]) {
            let proof = ledger.exclusion(absent);
            assert_eq!(verify_exclusion(&root, ledger.count(), absent, &proof), Ok(()), "{count} accounts");
        }
        for key in &present {
            for lower in 0..ledger.count() as u32 {
                let proof = ledger.exclusion_from(lower);
                assert!(
                    verify_exclusion(&root, ledger.count(), key, &proof).is_err(),
                    "{count} accounts, from {lower}"
                );
            }
        }
    }
}

#[test]
fn exclusions_need_true_neighbours_around_the_key() {
    let sorted = {
        let mut keys = keys(8);
        keys.sort();
        keys
    };
    let ledger = Ledger::new(&sorted); // Account i + 1 has the i-th key in order.
    let (root, count) = (ledger.tree.root(), ledger.count());
    let mut absent = sorted[3];
    absent[31] ^= 1; // Just beside the fourth key.
    let (lower, upper) = if absent > sorted[3] { (4, 5) } else { (3, 4) };
    let check = |proof: &ExclusionProof| verify_exclusion(&root, count, &absent, proof);
    let proof = |lower, upper: Option<u32>| ExclusionProof {
        lower: ledger.inclusion(lower),
        upper: upper.map(|upper| ledger.inclusion(upper)),
    };
    assert_eq!(check(&proof(lower, Some(upper))), Ok(()));
    assert_eq!(check(&proof(lower, Some(upper + 1))), Err(ProofError::NotNeighbours { lower }));
    assert_eq!(check(&proof(lower, None)), Err(ProofError::NotNeighbours { lower }));
    assert_eq!(check(&proof(8, Some(1))), Err(ProofError::NotBelow { index: 8 }));
    assert_eq!(check(&proof(upper, Some(upper + 1))), Err(ProofError::NotBelow { index: upper }));
    assert_eq!(check(&proof(lower - 1, Some(lower))), Err(ProofError::NotAbove { index: lower }));
    assert_eq!(check(&proof(0, Some(1))), Err(ProofError::NotAbove { index: 1 }));
}

/// Even a root whose order was broken cannot use the sentinel as an upper end.
#[test]
fn the_sentinel_follows_nobody() {
    let mut ledger = Ledger::new(&keys(3));
    ledger.leaves[0].record[..32].copy_from_slice(&[0xff; 32]);
    set_next(&mut ledger.leaves[2], 0);
    ledger.tree = tree_of(&ledger.leaves);
    let mut key = ledger.leaves[2].key();
    key[31] = key[31].saturating_add(1);
    let proof = ledger.exclusion_from(2);
    let outcome = verify_exclusion(&ledger.tree.root(), ledger.count(), &key, &proof);
    assert_eq!(outcome, Err(ProofError::NotAbove { index: 0 }));
}

/// Flips each bit group of each byte of an encoded proof: every one must be refused, by the decoder or by the verifier.
#[test]
fn no_byte_of_a_proof_can_be_altered() {
    let ledger = Ledger::new(&keys(30));
    let (root, count) = (ledger.tree.root(), ledger.count());
    let absent = hash(b"nobody");
    for index in [0, 1, 4, 29, 30] {
        let bytes = ledger.inclusion(index).encode();
        assert_eq!(InclusionProof::decode(&bytes).unwrap().verify(&root, count), Ok(()));
        for (at, flip) in (0..bytes.len()).flat_map(|at| [1, 2, 0x80, 0xff].map(|flip| (at, flip))) {
            let mut altered = bytes.clone();
            altered[at] ^= flip;
            let accepted = InclusionProof::decode(&altered).is_ok_and(|proof| proof.verify(&root, count).is_ok());
            assert!(!accepted, "account {index}, byte {at}");
        }
    }
    let bytes = ledger.exclusion(&absent).encode();
    assert_eq!(ExclusionProof::decode(&bytes).unwrap().verify(&root, count, &absent), Ok(()));
    for (at, flip) in (0..bytes.len()).flat_map(|at| [1, 2, 0x80, 0xff].map(|flip| (at, flip))) {
        let mut altered = bytes.clone();
        altered[at] ^= flip;
        let accepted = ExclusionProof::decode(&altered).is_ok_and(|proof| proof.verify(&root, count, &absent).is_ok());
        assert!(!accepted, "byte {at}");
    }
}

#[test]
fn every_cut_and_every_extension_is_refused() {
    let ledger = Ledger::new(&keys(30));
    let inclusion = ledger.inclusion(3).encode();
    let exclusion = ledger.exclusion(&hash(b"nobody")).encode();
    for length in 0..inclusion.len() {
        assert_eq!(InclusionProof::decode(&inclusion[..length]), Err(DecodeError::Truncated { length }));
    }
    for length in 0..exclusion.len() {
        assert_eq!(ExclusionProof::decode(&exclusion[..length]), Err(DecodeError::Truncated { length }));
    }
    let longer = [&inclusion[..], &[0, 0]].concat();
    assert_eq!(InclusionProof::decode(&longer), Err(DecodeError::Trailing { extra: 2 }));
    let longer = [&exclusion[..], &[0]].concat();
    assert_eq!(ExclusionProof::decode(&longer), Err(DecodeError::Trailing { extra: 1 }));
    assert_eq!(ExclusionProof::decode(&inclusion), Err(DecodeError::Kind { kind: 1, expected: 2 }));
    assert_eq!(InclusionProof::decode(&[2, 1]), Err(DecodeError::Version { version: 2 }));
}

#[test]
fn the_longest_proof_has_the_stated_size() {
    let account = InclusionProof {
        index: 1,
        leaf: Leaf { record: [1; 96], overflow: Some([2; 32]) },
        path: vec![[[3; 32]; 3]; tana_root::HEIGHT_MAX],
    };
    let proof = ExclusionProof { lower: account.clone(), upper: Some(account.clone()) };
    assert_eq!(proof.encode().len(), PROOF_BYTES_MAX);
    assert_eq!(ExclusionProof::decode(&proof.encode()), Ok(proof));
    let mut bytes = InclusionProof { path: Vec::new(), ..account }.encode();
    *bytes.last_mut().unwrap() = 17;
    assert_eq!(InclusionProof::decode(&bytes), Err(DecodeError::Levels { levels: 17 }));
}

/// The bytes of version 1, fixed for ever: clients in other languages read them.
#[test]
fn encodings_are_the_ones_of_version_1() {
    let ledger = Ledger::new(&keys(6));
    let text = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let fixture = include_str!("fixtures/proofs.txt");
    let lines: Vec<&str> = fixture.lines().collect();
    let proofs = [
        ledger.inclusion(0).encode(),
        ledger.inclusion(4).encode(),
        ledger.exclusion(&hash(b"nobody")).encode(),
        ledger.exclusion(&[0xff; 32]).encode(),
    ];
    assert_eq!(proofs.map(text).to_vec(), lines);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn encodings_round_trip(
        index in any::<u32>(), seed in any::<u64>(), levels in 0usize..=16, upper in any::<bool>(),
    ) {
        let path = vec![[hash(&seed.to_be_bytes()), [1; 32], [2; 32]]; levels];
        let lower = InclusionProof { index, leaf: leaf(seed), path };
        prop_assert_eq!(InclusionProof::decode(&lower.encode()), Ok(lower.clone()));
        let upper = upper.then(|| InclusionProof { index: !index, leaf: leaf(!seed), path: Vec::new() });
        let proof = ExclusionProof { lower, upper };
        prop_assert!(proof.encode().len() <= PROOF_BYTES_MAX);
        prop_assert_eq!(ExclusionProof::decode(&proof.encode()), Ok(proof));
    }

    /// Garbage behind a valid start, so that it reaches deep into the decoder. What decodes has one encoding: itself.
    #[test]
    fn garbage_never_panics(kind in 1u8..=2, bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0u8..2], 0..700)) {
        let bytes = [&[1, kind], &bytes[..]].concat();
        if let Ok(proof) = InclusionProof::decode(&bytes) {
            prop_assert_eq!(proof.encode(), bytes.clone());
            prop_assert!(proof.verify(&[0; 32], 1000).is_err());
        }
        if let Ok(proof) = ExclusionProof::decode(&bytes) {
            prop_assert_eq!(proof.encode(), bytes);
            prop_assert!(proof.verify(&[0; 32], 1000, &[5; 32]).is_err());
        }
    }

    #[test]
    fn random_ledgers_prove_presence_and_absence(
        seeds in proptest::collection::btree_set(any::<u16>(), 0..60), wanted in any::<u16>(),
    ) {
        let key = |seed: u16| { let mut key = [0; 32]; key[..2].copy_from_slice(&seed.to_be_bytes()); key[31] = 1; key };
        let present: Vec<[u8; 32]> = seeds.iter().copied().map(key).collect();
        let ledger = Ledger::new(&present);
        let root = ledger.tree.root();
        match present.iter().position(|known| *known == key(wanted)) {
            Some(position) => prop_assert_eq!(ledger.inclusion(position as u32 + 1).verify(&root, ledger.count()), Ok(())),
            None => prop_assert_eq!(ledger.exclusion(&key(wanted)).verify(&root, ledger.count(), &key(wanted)), Ok(())),
        }
    }
}
