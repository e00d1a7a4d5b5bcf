//! Bytes as proofs of trust, anchors and floors: what decodes has one encoding, and an anchor gives only the set that its header names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_engine::sync::Floor;
use tana_engine::sync::proof::{Anchor, CHAIN_HEADERS_MAX, TrustProof};
use tana_execute::hash_set;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proof) = TrustProof::decode(bytes) {
        assert_eq!(proof.encode(), bytes);
        let chains = proof.steps.iter().map(|step| &step.chain).chain([&proof.attestation.chain]);
        for chain in chains {
            assert!(!chain.headers.is_empty() && chain.headers.len() <= CHAIN_HEADERS_MAX);
        }
    }
    if let Ok(floor) = Floor::decode(bytes) {
        assert_eq!(floor.encode(), bytes);
    }
    let Ok(anchor) = Anchor::decode(bytes) else { return };
    assert_eq!(anchor.encode(), bytes);
    let (height, hash, named) = (anchor.header.height, anchor.header.hash(), anchor.header.validator_set_hash);
    if let Ok(trusted) = anchor.check(height, &hash, 8) {
        assert_eq!(hash_set(&trusted.set), named);
    }
});
