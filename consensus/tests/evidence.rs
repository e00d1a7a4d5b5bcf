//! Evidence of conflicting votes is believed from its bytes and the epoch's set, and from nothing less.
#![allow(clippy::unwrap_used)]

use commonware_codec::Encode;
use commonware_consensus::simplex::types::{Finalize, Notarize, Nullify, Proposal};
use commonware_consensus::types::{Epoch, Round, View};
use ed25519_dalek::SigningKey;
use tana_consensus::core::block::{Digest, digest};
use tana_consensus::core::keys::{namespace, participants, private_key};
use tana_consensus::core::scheme::Scheme;
use tana_consensus::evidence::{
    CONFLICTING_FINALIZE, CONFLICTING_NOTARIZE, NULLIFY_FINALIZE, Offence, VotesError, check, epoch,
};

const GENESIS: [u8; 32] = [7; 32];

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number + 1; 32])
}

fn set() -> Vec<[u8; 32]> {
    (0..4).map(|number| key(number).verifying_key().to_bytes()).collect()
}

fn scheme(number: u8) -> Scheme {
    Scheme::signer(&namespace(&GENESIS), participants(&set()).unwrap(), private_key(&key(number))).unwrap()
}

fn round(view: u64) -> Round {
    Round::new(Epoch::new(3), View::new(view))
}

fn proposal(view: u64, payload: u8) -> Proposal<Digest> {
    Proposal::new(round(view), View::new(view - 1), digest(&[payload; 32]))
}

fn notarize(number: u8, view: u64, payload: u8) -> Vec<u8> {
    Notarize::<Scheme, Digest>::sign(&scheme(number), proposal(view, payload)).unwrap().encode().to_vec()
}

fn finalize(number: u8, view: u64, payload: u8) -> Vec<u8> {
    Finalize::<Scheme, Digest>::sign(&scheme(number), proposal(view, payload)).unwrap().encode().to_vec()
}

fn nullify(number: u8, view: u64) -> Vec<u8> {
    Nullify::<Scheme>::sign::<Digest>(&scheme(number), round(view)).unwrap().encode().to_vec()
}

#[test]
fn each_kind_names_its_culprit() {
    let culprit = key(2).verifying_key().to_bytes();
    let pairs = [
        (CONFLICTING_NOTARIZE, notarize(2, 9, 1), notarize(2, 9, 2)),
        (CONFLICTING_FINALIZE, finalize(2, 9, 1), finalize(2, 9, 2)),
        (NULLIFY_FINALIZE, nullify(2, 9), finalize(2, 9, 1)),
    ];
    for (kind, first, second) in pairs {
        assert_eq!(epoch(kind, &first, &second), Some(3));
        let offence = check(&GENESIS, &set(), kind, &first, &second).unwrap();
        assert_eq!(offence, Offence { culprit, epoch: 3, view: 9, kind });
        assert_eq!(check(&[8; 32], &set(), kind, &first, &second), Err(VotesError::Unsigned), "another chain");
        // In a set without the culprit, its place is somebody else's or nobody's.
        let without: Vec<_> = set().into_iter().filter(|key| *key != culprit).collect();
        assert_eq!(check(&GENESIS, &without, kind, &first, &second), Err(VotesError::Unsigned));
        assert_eq!(check(&GENESIS, &[culprit, culprit], kind, &first, &second), Err(VotesError::Set));
    }
}

#[test]
fn votes_that_do_not_contradict_each_other_prove_nothing() {
    let cases = [
        (CONFLICTING_NOTARIZE, notarize(2, 9, 1), notarize(2, 9, 1)),
        (CONFLICTING_NOTARIZE, notarize(2, 9, 1), notarize(2, 10, 2)),
        (CONFLICTING_NOTARIZE, notarize(2, 9, 1), notarize(1, 9, 2)),
        (CONFLICTING_FINALIZE, finalize(2, 9, 1), finalize(0, 9, 2)),
        (NULLIFY_FINALIZE, nullify(2, 9), finalize(2, 10, 1)),
    ];
    for (kind, first, second) in cases {
        assert_eq!(check(&GENESIS, &set(), kind, &first, &second), Err(VotesError::NoConflict));
    }
}

#[test]
fn damaged_bytes_are_refused() {
    let (first, second) = (notarize(2, 9, 1), notarize(2, 9, 2));
    assert_eq!(check(&GENESIS, &set(), 9, &first, &second), Err(VotesError::Form));
    assert_eq!(check(&GENESIS, &set(), CONFLICTING_NOTARIZE, &first[1..], &second), Err(VotesError::Form));
    for at in 0..first.len() {
        let mut changed = first.clone();
        changed[at] ^= 1;
        assert!(check(&GENESIS, &set(), CONFLICTING_NOTARIZE, &changed, &second).is_err(), "byte {at}");
    }
}
