//! Bytes as evidence: what decodes has one encoding, and nothing that the fuzzer can write proves anything, because it cannot sign. Edits of a
//! good proof are tried too: they prove the same of the same author, or nothing.
#![no_main]

use ed25519_dalek::SigningKey;
use libfuzzer_sys::fuzz_target;
use tana_fuzz::{Input, chain, edit};
use tana_lane::Evidence;
use tana_types::batch::{Batch, Origin};
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::transaction::{Transaction, sign};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(evidence) = Evidence::decode(bytes) {
        assert_eq!(evidence.encode(), bytes);
        assert!(evidence.verify(&chain()).is_err());
    }
    let author = SigningKey::from_bytes(&[5; 32]);
    let seal = |amount| {
        let payload = Payload::Transfer { recipient: PublicKey([3; 32]), currency: "USD".parse().unwrap(), amount };
        let transaction = sign(&chain(), &author, 1, 1, &payload).unwrap();
        let mut batch = Batch::with_capacity(1, 200);
        batch.push(Transaction::exactly(&transaction).unwrap(), 0, Origin::default());
        batch.seal(&chain(), &author, 0, 4, 1, 90);
        *batch.seal_header()
    };
    let mut good = Evidence::ConflictingSeals(Box::new([seal(1), seal(2)])).encode();
    edit(&mut good, &mut Input::new(bytes));
    if let Ok(culprit) = Evidence::decode(&good).map_err(|_| ()).and_then(|evidence| evidence.verify(&chain()).map_err(|_| ())) {
        assert_eq!(culprit, author.verifying_key().to_bytes());
    }
});
