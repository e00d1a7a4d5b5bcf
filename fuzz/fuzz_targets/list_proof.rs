//! A proof of a place in a list: one made by the tree holds, and any other bytes are refused without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_fuzz::{Input, edit};
use tana_hash::{ListDomain, merkle_proof, merkle_root, merkle_verify};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let domain = ListDomain::from_contexts("fuzz node", "fuzz root");
    let leaves: Vec<[u8; 32]> = (0..input.u8()).map(|number| [number; 32]).collect();
    let (count, index) = (leaves.len() as u64, u64::from(input.u8()));
    let root = merkle_root(&domain, &leaves);
    let proof = merkle_proof(&domain, &leaves, index);
    assert_eq!(proof.is_some(), index < count);
    if let Some(proof) = proof {
        let leaf = leaves[index as usize];
        assert!(merkle_verify(&domain, &root, count, index, &leaf, &proof));
        let mut edited = proof.concat();
        if edit(&mut edited, &mut input) {
            let hashes: Vec<[u8; 32]> = edited.as_chunks().0.to_vec();
            assert!(hashes == proof || !merkle_verify(&domain, &root, count, index, &leaf, &hashes));
        }
    }
    let (count, index) = (input.u64(), input.u64());
    let (root, leaf) = (input.array(), input.array());
    let proof: Vec<[u8; 32]> = input.rest().as_chunks().0.to_vec();
    merkle_verify(&domain, &root, count, index, &leaf, &proof);
});
