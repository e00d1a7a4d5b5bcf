//! Proofs that hold, that do not, and that cannot be judged from the genesis alone.
#![allow(clippy::unwrap_used)]

use ed25519_dalek::{Signer, SigningKey};
use tana_types::batch::SEAL_TAG;
use tana_types::genesis::Rules;
use zerocopy::byteorder::little_endian::{U16, U32, U64};

use super::*;
use crate::genesis_text::{GenesisChoices, genesis_text};
use crate::keys;

fn author() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn genesis() -> Genesis {
    let text = genesis_text(&GenesisChoices {
        chain: "evidence".to_owned(),
        timestamp_ms: 1_700_000_000_000,
        sovereign: keys::public_key(&SigningKey::from_bytes(&[1; 32])),
        validators: vec![(keys::public_key(&author()), "127.0.0.1:9000".to_owned())],
        rules: Rules::default(),
        bulk: None,
    });
    Genesis::parse(&text.unwrap()).unwrap()
}

fn seal(genesis: &Genesis, sequence: u64, body: u8) -> Seal {
    let mut seal = Seal {
        version: U16::new(1),
        reserved: U16::ZERO,
        count: U32::new(1),
        body_length: U32::new(1),
        skipped: U32::ZERO,
        epoch: U64::new(3),
        sequence: U64::new(sequence),
        expiry_height: U64::new(9),
        genesis_hash: genesis.hash(),
        author: author().verifying_key().to_bytes(),
        body_hash: [body; 32],
        signature: [0; 64],
    };
    let message = [&SEAL_TAG[..], seal.signed_bytes()].concat();
    seal.signature = author().sign(&message).to_bytes();
    seal
}

#[test]
fn two_seals_at_one_sequence_prove_something_and_at_two_nothing() {
    let genesis = genesis();
    let seals = |sequence| Evidence::ConflictingSeals(Box::new([seal(&genesis, 5, 1), seal(&genesis, sequence, 2)]));
    let proof = describe(&seals(5), &genesis, &[]);
    assert_eq!(
        (proof.kind, proof.verdict, proof.epoch, proof.sequence),
        ("conflicting seals", "proven", Some(3), Some(5))
    );
    assert_eq!(proof.author, Some(keys::public_key(&author())));
    let proof = describe(&seals(6), &genesis, &[]);
    assert_eq!(proof.verdict, "false");
    assert!(!proof.reason.is_empty());
}

#[test]
fn votes_that_cannot_be_read_prove_nothing() {
    for kind in [1, 2, 3, 99] {
        let genesis = genesis();
        let sets = known_sets(Path::new("/nowhere"), &genesis);
        let proof = describe(&Evidence::Votes { kind, first: vec![1], second: vec![2] }, &genesis, &sets);
        assert_eq!((proof.verdict, proof.author), ("false", None), "{kind}");
    }
}

#[test]
fn what_lies_in_a_data_folder_is_listed_and_a_false_proof_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let genesis = genesis();
    let path = folder.path().join("genesis.toml");
    std::fs::write(&path, genesis.to_toml().unwrap()).unwrap();
    let arguments = EvidenceArguments { data: Some(folder.path().to_owned()), genesis: Some(path) };
    let run = || run(&arguments, || Err(CliError::NoHome), &Output::new(true));
    run().unwrap();
    let store = tana_engine::evidence_store::EvidenceStore::open(folder.path()).unwrap();
    store.add(&Evidence::ConflictingSeals(Box::new([seal(&genesis, 5, 1), seal(&genesis, 5, 2)]))).unwrap();
    run().unwrap();
    store.add(&Evidence::ConflictingSeals(Box::new([seal(&genesis, 5, 1), seal(&genesis, 5, 1)]))).unwrap();
    let error = run().unwrap_err().to_string();
    assert!(error.contains("1 of the 2 proofs"), "{error}");
}
