//! The serving side: wishes, snapshots that come and go, requests for what is not there.

use std::time::{Duration, Instant};

use tana_types::key::PublicKey;
use tana_types::payload::Payload;

use super::world::{EPOCH_BLOCKS, World, sovereign, validator};
use crate::sync::message::{Answer, Object, Refusal, Request};
use crate::sync::snapshot::{IDLE, SNAPSHOTS_MAX};
use crate::sync::wishes::{CheckpointWish, Wishes};

#[test]
fn a_wish_is_for_the_next_boundary_and_lapses_behind_it() {
    let wishes = Wishes::new(2_000, 0);
    assert_eq!(wishes.next_boundary(), 2_000);
    assert_eq!(wishes.executed(10), CheckpointWish::AsUsual);
    assert_eq!(wishes.wish(4_000), None);
    assert_eq!(wishes.wish(1_999), None);
    assert_eq!(wishes.wish(2_000), Some(2_000));
    assert_eq!(wishes.executed(900), CheckpointWish::AsUsual);
    assert_eq!(wishes.executed(1_999), CheckpointWish::Wait);
    assert_eq!(wishes.executed(2_000), CheckpointWish::Now);
    assert_eq!(wishes.executed(2_001), CheckpointWish::AsUsual);
    assert_eq!(wishes.next_boundary(), 4_000);
    assert!(wishes.is_boundary(4_000) && !wishes.is_boundary(0) && !wishes.is_boundary(4_001));
}

#[test]
fn a_newcomer_finds_a_snapshot_that_the_set_before_it_attests() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path(), 50);
    world.steps_to(3);
    let change = |add, number, epoch, address| Payload::ValidatorSetChange {
        add,
        validator: PublicKey(validator(number)),
        epoch,
        address,
    };
    let transactions = vec![
        world.signed(&sovereign(), &change(true, 9, 3, "127.0.0.1:9990")),
        world.signed(&sovereign(), &change(false, 0, 5, "")),
    ];
    world.step(transactions);
    world.steps_to(2 * EPOCH_BLOCKS - 1);
    assert!(world.snapshots.heights().is_empty(), "the set of epoch 3 is not settled yet");
    world.steps_to(3 * EPOCH_BLOCKS);
    assert_eq!(world.snapshots.heights(), [2 * EPOCH_BLOCKS], "nobody asked, and epoch 2 goes on without the newcomer");
    world.steps_to(6 * EPOCH_BLOCKS);
    assert_eq!(world.snapshots.heights(), [2 * EPOCH_BLOCKS], "who leaves needs none");
}

fn ask(world: &World, request: Request) -> Answer {
    let answer = world.service().answer(&request.encode(9)).unwrap();
    let (number, answer) = Answer::decode(&answer).unwrap();
    assert_eq!(number, 9);
    answer
}

#[test]
fn snapshots_are_made_on_request_and_only_a_few_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path(), 50);
    world.steps_to(3);
    assert_eq!(ask(&world, Request::Freeze { height: 5 }), Answer::Refused(Refusal::NoBoundary));
    for epoch in 1..=4 {
        let height = epoch * EPOCH_BLOCKS;
        assert_eq!(ask(&world, Request::Freeze { height }), Answer::Frozen { height });
        world.steps_to(height + 1);
        let Answer::Head(head) = ask(&world, Request::Head) else { panic!() };
        assert_eq!(head.committed, height + 1);
        assert_eq!(head.next_boundary, height + EPOCH_BLOCKS);
        assert_eq!(head.snapshots.last(), Some(&height));
        assert!(head.snapshots.len() <= SNAPSHOTS_MAX);
        assert_eq!(ask(&world, Request::Freeze { height }), Answer::Frozen { height });
    }
    let folders = std::fs::read_dir(folder.path().join("snapshots")).unwrap().count();
    assert_eq!(folders, SNAPSHOTS_MAX);
    let now = Instant::now();
    world.snapshots.sweep(now);
    assert_eq!(world.snapshots.heights().len(), SNAPSHOTS_MAX);
    world.snapshots.sweep(now + IDLE + Duration::from_secs(1));
    assert!(world.snapshots.heights().is_empty());
    assert_eq!(std::fs::read_dir(folder.path().join("snapshots")).unwrap().count(), 0);
}

#[test]
fn what_is_not_there_is_refused_and_what_is_no_request_is_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path(), 50);
    world.steps_to(EPOCH_BLOCKS);
    world.make_snapshot();
    let part = |height, object, offset| Request::Part { height, object, offset };
    let refused = Answer::Refused(Refusal::NotHere);
    assert_eq!(ask(&world, part(EPOCH_BLOCKS * 9, Object::State, 0)), refused);
    assert_eq!(ask(&world, part(EPOCH_BLOCKS, Object::State, u64::MAX)), refused);
    assert_eq!(ask(&world, part(EPOCH_BLOCKS, Object::Chunk(1), 0)), refused);
    assert_eq!(ask(&world, part(EPOCH_BLOCKS, Object::Chunk(u32::MAX), 0)), refused);
    assert_eq!(ask(&world, part(EPOCH_BLOCKS - 1, Object::Proof { from_epoch: 0 }, 0)), refused);
    assert_eq!(ask(&world, part(0, Object::Anchor { height: 77 }, 0)), refused);
    assert!(matches!(ask(&world, part(EPOCH_BLOCKS, Object::Chunk(0), 0)), Answer::Part { .. }));
    // The blocks behind it are still to come.
    let proof = part(EPOCH_BLOCKS, Object::Proof { from_epoch: 0 }, 0);
    assert_eq!(ask(&world, proof), Answer::Refused(Refusal::Later));
    world.steps_to(EPOCH_BLOCKS + 4);
    assert!(matches!(ask(&world, proof), Answer::Part { .. }));
    assert_eq!(world.service().answer(b"nonsense"), None);
}
