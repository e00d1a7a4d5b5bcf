//! Liars of every kind beside one honest peer: each is named and left alone, and the node joins all the same.

use std::sync::Arc;
use std::time::Duration;

use super::joining::join;
use super::world::{ACCOUNTS, EPOCH_BLOCKS, Network, World, certificate, validator};
use crate::sync::message::{Answer, Object, Request};
use crate::sync::proof::TrustProof;
use crate::sync::service::SyncService;
use crate::sync::{SyncConfig, SyncError, is_empty};

fn world(folder: &std::path::Path, accounts: u32) -> World {
    let mut world = World::new(folder, accounts);
    world.steps_to(EPOCH_BLOCKS);
    world.make_snapshot();
    world.steps_to(EPOCH_BLOCKS + 6);
    world
}

/// Changes the parts of one kind of object.
fn on_parts(
    wanted: fn(Object) -> bool,
    mut change: impl FnMut(u64, u64, Vec<u8>) -> Answer + 'static,
) -> impl FnMut(&[u8], Vec<u8>) -> Option<Vec<u8>> {
    move |request, answer| {
        let (number, request) = Request::decode(request).unwrap();
        match (request, Answer::decode(&answer).unwrap().1) {
            (Request::Part { object, .. }, Answer::Part { total, offset, bytes }) if wanted(object) => {
                Some(change(total, offset, bytes).encode(number))
            }
            _ => Some(answer),
        }
    }
}

type Lie = Box<dyn FnMut(&[u8], Vec<u8>) -> Option<Vec<u8>>>;

fn lie(wanted: fn(Object) -> bool, change: impl FnMut(u64, u64, Vec<u8>) -> Answer + 'static) -> Lie {
    Box::new(on_parts(wanted, change))
}

/// Joins beside the liar, which has the lower key and so is asked first, and an honest peer; gives what was said of the liar.
fn joins_beside(world: &World, service: &Arc<SyncService>, lie: Lie) -> String {
    let data = tempfile::tempdir().unwrap();
    let mut network = Network::default();
    let mut numbers = [0, 1];
    numbers.sort_by_key(|number| validator(*number));
    network.lying(numbers[0], service, lie);
    network.honest(numbers[1], service);
    let synced = join(&world.config(data.path()), &mut network).unwrap();
    assert_eq!(synced.state_root, world.remembered.blocks[&EPOCH_BLOCKS].1.root());
    assert_eq!(network.expelled.len(), 1, "{:?}", network.expelled);
    assert_eq!(network.expelled[0].0, validator(numbers[0]));
    network.expelled.remove(0).1
}

fn is_chunk(object: Object) -> bool {
    matches!(object, Object::Chunk(_))
}

fn is_state(object: Object) -> bool {
    object == Object::State
}

fn is_proof(object: Object) -> bool {
    matches!(object, Object::Proof { .. })
}

fn flip(place: usize) -> impl FnMut(u64, u64, Vec<u8>) -> Answer {
    move |total, offset, mut bytes| {
        let place = place % bytes.len();
        bytes[place] ^= 1;
        Answer::Part { total, offset, bytes }
    }
}

#[test]
fn corrupted_runs_of_accounts_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path(), ACCOUNTS);
    let service = world.service();
    for place in [4, 40, 96 * 1_000, 49 + 96 * 20, 0] {
        let reason = joins_beside(&world, &service, lie(is_chunk, flip(place)));
        assert!(reason.contains("accounts") || reason.contains("overflow"), "{reason}");
    }
}

#[test]
fn corrupted_manifests_and_proofs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path(), 50);
    let service = world.service();
    let (state, _) = world.snapshots.read(EPOCH_BLOCKS, Object::State, 0, std::time::Instant::now()).unwrap();
    for place in (0..state as usize).step_by(37) {
        joins_beside(&world, &service, lie(is_state, flip(place)));
    }
    for place in (0..1_500).step_by(41) {
        joins_beside(&world, &service, lie(is_proof, flip(place)));
    }
}

#[test]
fn wrong_lengths_and_places_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path(), 50);
    let service = world.service();
    for wanted in [is_chunk as fn(Object) -> bool, is_state, is_proof] {
        let truncated = |total, offset, mut bytes: Vec<u8>| {
            bytes.pop();
            Answer::Part { total, offset, bytes }
        };
        let shorter = |total: u64, offset, mut bytes: Vec<u8>| {
            bytes.pop();
            Answer::Part { total: total - 1, offset, bytes }
        };
        let longer = |total: u64, offset, mut bytes: Vec<u8>| {
            bytes.push(0);
            Answer::Part { total: total + 1, offset, bytes }
        };
        let huge = |_, offset, bytes| Answer::Part { total: u64::MAX, offset, bytes };
        let elsewhere = |total: u64, _, _| Answer::Part { total, offset: total - 1, bytes: vec![0] };
        let empty = |_, _, _| Answer::Part { total: 0, offset: 0, bytes: Vec::new() };
        let another = |_, _, _| Answer::Frozen { height: 1 };
        let lies = [
            lie(wanted, truncated),
            lie(wanted, shorter),
            lie(wanted, longer),
            lie(wanted, huge),
            lie(wanted, elsewhere),
            lie(wanted, empty),
            lie(wanted, another),
        ];
        for lie in lies {
            joins_beside(&world, &service, lie);
        }
    }
}

#[test]
fn counts_that_the_bytes_do_not_hold_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path(), 50);
    let service = world.service();
    for (wanted, place) in [(is_chunk as fn(Object) -> bool, 0), (is_proof, 2), (is_proof, 6), (is_state, 2)] {
        let change = move |total, offset, mut bytes: Vec<u8>| {
            bytes[place..place + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            Answer::Part { total, offset, bytes }
        };
        joins_beside(&world, &service, lie(wanted, change));
    }
}

/// Changes the whole proof, which fits one part here.
fn change_proof(mut change: impl FnMut(&mut TrustProof) + 'static) -> Lie {
    lie(is_proof, move |_, offset, bytes| {
        let mut proof = TrustProof::decode(&bytes).unwrap();
        change(&mut proof);
        let bytes = proof.encode();
        Answer::Part { total: bytes.len() as u64, offset, bytes }
    })
}

#[test]
fn certificates_of_others_and_broken_chains_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path(), 50);
    let service = world.service();
    let set: Vec<_> = world.remembered.sets[&0].clone();
    let foreign = vec![validator(8), validator(9)];
    let lies: Vec<(Lie, &str)> = vec![
        (change_proof(|proof| proof.attestation.certificate = vec![1; 32]), "certificate"),
        (change_proof(|proof| proof.attestation.chain.certificate.clear()), "certificate"),
        (
            change_proof(move |proof| {
                let hash = proof.attestation.chain.headers.last().unwrap().hash();
                proof.attestation.chain.certificate = certificate(1, &foreign, &hash);
            }),
            "certificate",
        ),
        (
            change_proof(move |proof| {
                // Another block, which the set did sign, but which does not attest the snapshot.
                proof.attestation.chain.headers.truncate(1);
                let hash = proof.attestation.chain.headers[0].hash();
                proof.attestation.chain.certificate = certificate(1, &set, &hash);
            }),
            "attests the snapshot",
        ),
        (change_proof(|proof| drop(proof.attestation.chain.headers.remove(0))), "follow"),
        (change_proof(|proof| proof.attestation.chain.headers[0].timestamp_ms += 1), "parent"),
    ];
    for (lie, expected) in lies {
        let reason = joins_beside(&world, &service, lie);
        assert!(reason.contains(expected), "{reason:?} does not say {expected:?}");
    }
}

#[test]
fn a_state_of_ones_own_is_refused() {
    // A liar with a whole chain of its own, whose certificates the trusted validators never gave.
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = world(folder.path(), 50);
    let mut forged = World::new(other.path(), 50);
    let payload = tana_types::payload::Payload::UserCreation { username: "@me", display_name: "", biography: "" };
    let transaction = forged.signed(&ed25519_dalek::SigningKey::from_bytes(&[77; 32]), &payload);
    forged.step(vec![transaction]);
    forged.steps_to(EPOCH_BLOCKS);
    forged.make_snapshot();
    forged.steps_to(EPOCH_BLOCKS + 6);
    for set in forged.remembered.sets.values_mut() {
        *set = vec![validator(8), validator(9)];
    }
    let forging = forged.service();
    let lie: Lie = Box::new(move |request, _| forging.answer(request));
    let reason = joins_beside(&world, &world.service(), lie);
    assert!(reason.contains("certificate"), "{reason}");
}

#[test]
fn garbage_is_refused_and_silence_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path(), 50);
    let service = world.service();
    let reason = joins_beside(&world, &service, Box::new(|_, _| Some(b"garbage".to_vec())));
    assert!(reason.contains("no message"), "{reason}");
    let silent = |request: &[u8], answer| match Request::decode(request).unwrap().1 {
        Request::Part { .. } => None,
        _ => Some(answer),
    };
    let data = tempfile::tempdir().unwrap();
    let mut network = Network::default();
    network.lying(0, &service, silent);
    network.honest(1, &service);
    join(&world.config(data.path()), &mut network).unwrap();
}

#[test]
fn heights_that_nobody_has_do_not_keep_a_node_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path(), 50);
    let service = world.service();
    let data = tempfile::tempdir().unwrap();
    let mut network = Network::default();
    network.lying(0, &service, |request, answer| {
        let (number, request) = Request::decode(request).unwrap();
        if request != Request::Head {
            return Some(answer);
        }
        let head = crate::sync::message::Head {
            finalized: u64::MAX,
            committed: u64::MAX,
            next_boundary: u64::MAX,
            snapshots: vec![EPOCH_BLOCKS, u64::MAX],
        };
        Some(Answer::Head(head).encode(number))
    });
    network.honest(1, &service);
    join(&world.config(data.path()), &mut network).unwrap();
}

#[test]
fn among_liars_alone_nothing_is_installed_and_each_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path(), 50);
    let service = world.service();
    let data = tempfile::tempdir().unwrap();
    let mut network = Network::default();
    network.lying(0, &service, on_parts(is_chunk, flip(8)));
    network.lying(1, &service, on_parts(is_chunk, flip(9)));
    let config = SyncConfig { patience: Duration::from_millis(500), ..world.config(data.path()) };
    let error = join(&config, &mut network).unwrap_err();
    assert!(matches!(error, SyncError::Patience { .. }));
    let text = error.to_string();
    assert!([0, 1].iter().all(|number| text.contains(&hex::encode(&validator(*number)[..4]))), "{text}");
    assert!(is_empty(data.path()).unwrap());
}
