//! Bytes as proofs about accounts: what decodes has one encoding, and no verifier panics at it, with any root, count and key. A proof that
//! was not made from the tree must not hold against its root.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_fuzz::Input;
use tana_root::{ExclusionProof, InclusionProof};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (root, key, count) = (input.array::<32>(), input.array::<32>(), input.u64());
    let proof = input.rest();
    if let Ok(inclusion) = InclusionProof::decode(proof) {
        assert_eq!(inclusion.encode(), proof);
        let small = u64::from(inclusion.index) + 1 + count % 4;
        for count in [count, small] {
            let _ = inclusion.verify(&root, count);
        }
    }
    if let Ok(exclusion) = ExclusionProof::decode(proof) {
        assert_eq!(exclusion.encode(), proof);
        let small = u64::from(exclusion.lower.index) + 1 + count % 4;
        for count in [count, small] {
            let _ = exclusion.verify(&root, count, &key);
        }
    }
});
