//! Joining: what a node has after a sync is what the chain has, however it got there.

use std::path::Path;
use std::sync::Arc;

use tana_store::checkpoint::MAP_BYTES_DEFAULT;
use tana_store::{Checkpoint, CheckpointMode, DataLock, Durable, LogConfig, LogThread, StoreError};
use tana_types::payload::Payload;

use super::world::{ACCOUNTS, EPOCH_BLOCKS, Hashed, Network, World, sovereign, validator};
use crate::consensus::vote_record;
use crate::pipeline::{LOG_NAMES, LogEntry};
use crate::recover::recover;
use crate::replay::{DataFolders, Replayer};
use crate::sync::install::{InstallError, changes_folder};
use crate::sync::service::SyncService;
use crate::sync::{Floor, SyncClient, SyncConfig, SyncError, Synced, is_empty};
use tana_types::key::PublicKey;

pub fn join(config: &SyncConfig, network: &mut Network) -> Result<Synced, SyncError> {
    SyncClient::new(config, network, &Hashed).run(&|_, _, _| {})
}

/// The usual start on a data folder.
pub(super) fn start(world: &World, data: &Path) -> Replayer {
    let folders = DataFolders::new(data);
    let (_ends, input) = crossbeam::channel::bounded::<LogEntry>(1);
    drop(_ends);
    let mut config = LogConfig::new(&folders.logs, &LOG_NAMES);
    config.segment_bytes = 1 << 20;
    config.record_bytes_max = 1 << 19;
    let log = LogThread::start(config, input, |_: Durable<LogEntry>| {}, |_| {}).unwrap();
    let checkpoint = Checkpoint::open(&folders.checkpoint, CheckpointMode::ReadWrite, MAP_BYTES_DEFAULT).unwrap();
    let recovered = recover(&world.genesis, &validator(2), &folders, &checkpoint, log.found(), &|_, _, _| {}).unwrap();
    assert!(recovered.from_checkpoint);
    log.join().unwrap();
    recovered.replayer
}

/// Goes on from what was synced through all blocks that the world has.
pub(super) fn follow(world: &World, replayer: &mut Replayer) {
    for height in replayer.height + 1..=world.height() {
        let replayed = replayer.apply(&world.block(height)).unwrap();
        assert_eq!(replayed.sections, world.remembered.blocks[&height].1);
    }
}

fn network(services: &[&Arc<SyncService>]) -> Network {
    let mut network = Network::default();
    for (number, service) in (0..).zip(services) {
        network.honest(number, service);
    }
    network
}

#[test]
fn a_node_joins_from_several_peers_and_follows_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path(), ACCOUNTS);
    let keys: Vec<_> = (50..60).map(|seed| ed25519_dalek::SigningKey::from_bytes(&[seed; 32])).collect();
    let creations = keys.iter().enumerate().map(|(number, key)| {
        let username = format!("@user-{number}");
        let payload = Payload::UserCreation { username: &username, display_name: "Somebody", biography: "Was here." };
        world.signed(key, &payload)
    });
    let creations = creations.collect();
    world.step(creations);
    world.steps_to(EPOCH_BLOCKS * 2);
    world.make_snapshot();
    world.steps_to(EPOCH_BLOCKS * 2 + 6);
    let (one, two, three) = (world.service(), world.service(), world.service());
    let data = tempfile::tempdir().unwrap();
    let mut network = network(&[&one, &two, &three]);
    assert!(is_empty(data.path()).unwrap());
    let config = world.config(data.path());
    let accounts = std::cell::Cell::new((0, 0));
    let hear = |what: &'static str, done, all| {
        if what == "fetch accounts" {
            accounts.set((done, all));
        }
    };
    let synced = SyncClient::new(&config, &mut network, &Hashed).run(&hear).unwrap();
    assert_eq!(synced.height, EPOCH_BLOCKS * 2);
    assert_eq!(synced.account_count, ACCOUNTS + 2 + 10);
    assert_eq!(accounts.get(), (u64::from(synced.account_count), u64::from(synced.account_count)));
    assert!(synced.expelled.is_empty() && network.expelled.is_empty());
    assert!(!is_empty(data.path()).unwrap());
    let floor = Floor::load(data.path()).unwrap().unwrap();
    assert_eq!(floor, synced.floor);
    assert_eq!((floor.header.height, floor.header.hash()), (synced.height, synced.hash));
    assert_eq!(floor.chain.headers[0].height, synced.height + 1);
    let mut replayer = start(&world, data.path());
    assert_eq!((replayer.height, replayer.parent), (synced.height, synced.hash));
    follow(&world, &mut replayer);
    assert_eq!(replayer.parent, world.replayer.parent);
    // A second sync into the same folder is refused.
    let error = join(&config, &mut network).unwrap_err();
    assert!(matches!(error, SyncError::Install(InstallError::NotEmpty { .. })), "{error}");
}

#[test]
fn only_a_key_that_is_in_no_set_is_said_to_be_new_here() {
    let folder = tempfile::tempdir().unwrap();
    let world = changing_world(folder.path());
    let service = world.service();
    // 0 was removed in epoch 5, 2 is a validator, 7 never was one; the snapshot ends epoch 5.
    for (own, is_new) in [(7, true), (0, true), (2, false), (9, false)] {
        let data = tempfile::tempdir().unwrap();
        let config = SyncConfig { own_key: validator(own), ..world.config(data.path()) };
        join(&config, &mut network(&[&service])).unwrap();
        let record = std::fs::read(vote_record(data.path())).ok();
        assert_eq!(record.is_some(), is_new, "validator {own}");
        let unused = tana_consensus::record::Record::default().encode();
        assert!(record.is_none_or(|record| record == unused));
    }
}

#[test]
fn a_joining_process_has_the_data_folder_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path(), 50);
    world.steps_to(EPOCH_BLOCKS);
    world.make_snapshot();
    world.steps_to(EPOCH_BLOCKS + 6);
    let (service, data) = (world.service(), tempfile::tempdir().unwrap());
    let config = world.config(data.path());
    let other = DataLock::acquire(data.path()).unwrap();
    let error = join(&config, &mut network(&[&service])).unwrap_err();
    assert!(matches!(error, SyncError::Install(InstallError::Store(StoreError::Locked { .. }))), "{error}");
    drop(other);
    let looks = std::cell::Cell::new(0);
    let look = |_: &'static str, _, _| {
        assert!(matches!(DataLock::acquire(data.path()), Err(StoreError::Locked { .. })));
        looks.set(looks.get() + 1);
    };
    SyncClient::new(&config, &mut network(&[&service]), &Hashed).run(&look).unwrap();
    assert!(looks.get() > 0);
    DataLock::acquire(data.path()).unwrap();
}

#[test]
fn a_snapshot_is_asked_for_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path(), 50);
    world.steps_to(3);
    let data = tempfile::tempdir().unwrap();
    let config = world.config(data.path());
    let world = std::rc::Rc::new(std::cell::RefCell::new(world));
    let mut network = Network::default();
    for number in 0..2 {
        let world = world.clone();
        // The chain goes on a little with every request.
        let answer = move |request: &[u8]| {
            let mut world = world.borrow_mut();
            if world.height() < EPOCH_BLOCKS + 5 {
                world.step(Vec::new());
            }
            world.service().answer(request)
        };
        network.peers.insert(validator(number), Box::new(answer));
    }
    let synced = join(&config, &mut network).unwrap();
    assert_eq!(synced.height, EPOCH_BLOCKS);
    let mut replayer = start(&world.borrow(), data.path());
    follow(&world.borrow(), &mut replayer);
}

/// A chain whose validator set changes twice, in epochs 3 and 5, with a snapshot at the end of epoch 5.
fn changing_world(folder: &Path) -> World {
    let mut world = World::new(folder, 50);
    world.steps_to(2);
    let add = Payload::ValidatorSetChange {
        add: true,
        validator: PublicKey(validator(9)),
        epoch: 3,
        address: "127.0.0.1:9990",
    };
    let remove = Payload::ValidatorSetChange { add: false, validator: PublicKey(validator(0)), epoch: 5, address: "" };
    let transactions = vec![world.signed(&sovereign(), &add), world.signed(&sovereign(), &remove)];
    world.step(transactions);
    world.steps_to(EPOCH_BLOCKS * 6);
    world.make_snapshot();
    world.steps_to(EPOCH_BLOCKS * 6 + 6);
    assert_eq!(world.remembered.sets[&2].len(), 4);
    assert_eq!(world.remembered.sets[&4].len(), 5);
    assert!(!world.remembered.sets[&5].contains(&validator(0)));
    world
}

#[test]
fn trust_follows_changes_of_the_validator_set() {
    let folder = tempfile::tempdir().unwrap();
    let world = changing_world(folder.path());
    let data = tempfile::tempdir().unwrap();
    let service = world.service();
    let synced = join(&world.config(data.path()), &mut network(&[&service])).unwrap();
    assert_eq!(synced.height, EPOCH_BLOCKS * 6);
    // Who left is not forgotten: what it listed before stays listed, on a validator that synced as on the others.
    let floors = &world.state().progress().lane_floors;
    assert_eq!(floors.keys().collect::<Vec<_>>(), [&validator(0)]);
    assert_eq!(&start(&world, data.path()).state.progress().lane_floors, floors);
    // The one that joined can lead the next one over the same changes.
    let kept = crate::sync::changes::SetChanges::new(&changes_folder(data.path()), &world.genesis);
    let steps = kept.steps(0, 6).unwrap();
    assert_eq!(steps.iter().map(|step| step.next_epoch()).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(steps, world.changes.steps(0, 6).unwrap());
    assert_eq!(kept.steps(3, 6).unwrap().len(), 1);
}

#[test]
fn without_its_changes_the_new_set_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let world = changing_world(folder.path());
    let service = world.service();
    // Put the steps together, then lose one.
    world.changes.complete(&world.remembered);
    let lost = changes_folder(folder.path()).join("0000000005.step");
    std::fs::remove_file(lost).unwrap();
    let data = tempfile::tempdir().unwrap();
    let config = SyncConfig { patience: std::time::Duration::from_millis(300), ..world.config(data.path()) };
    let mut network = network(&[&service]);
    let error = join(&config, &mut network).unwrap_err();
    assert!(matches!(error, SyncError::Patience { .. }), "{error}");
    assert!(network.expelled[0].1.contains("another validator set"), "{:?}", network.expelled);
    assert!(is_empty(data.path()).unwrap());
}

#[test]
fn one_that_is_told_to_stop_does_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path(), 50);
    let data = tempfile::tempdir().unwrap();
    let config = world.config(data.path());
    // There is nothing to take yet, so it would wait.
    let service = world.service();
    let mut network = network(&[&service]);
    config.stopping.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(matches!(join(&config, &mut network), Err(SyncError::Stopped)));
    assert!(is_empty(data.path()).unwrap());
}

#[test]
fn an_operator_may_name_a_block_to_trust() {
    let folder = tempfile::tempdir().unwrap();
    let world = changing_world(folder.path());
    let service = world.service();
    // A height in epoch 4, so that only the second change is needed; and one whose set is that of the snapshot.
    for height in [EPOCH_BLOCKS * 4 + 5, EPOCH_BLOCKS * 6 - 1] {
        let data = tempfile::tempdir().unwrap();
        let hash = world.remembered.blocks[&height].0.hash();
        let config = SyncConfig { trust: Some((height, hash)), ..world.config(data.path()) };
        join(&config, &mut network(&[&service])).unwrap();
        let kept = crate::sync::changes::SetChanges::new(&changes_folder(data.path()), &world.genesis);
        assert!(kept.steps(0, 6).is_err(), "what was before the trusted block is not known here");
    }
    let data = tempfile::tempdir().unwrap();
    let patience = std::time::Duration::from_millis(300);
    let config = SyncConfig { trust: Some((9, [7; 32])), patience, ..world.config(data.path()) };
    let mut network = network(&[&service]);
    assert!(join(&config, &mut network).is_err());
    assert!(network.expelled[0].1.contains("operator trusts"), "{:?}", network.expelled);
}

#[test]
fn an_interrupted_sync_starts_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path(), ACCOUNTS);
    world.steps_to(EPOCH_BLOCKS);
    world.make_snapshot();
    world.steps_to(EPOCH_BLOCKS + 6);
    let service = world.service();
    let data = tempfile::tempdir().unwrap();
    let patience = std::time::Duration::from_millis(300);
    let config = SyncConfig { patience, ..world.config(data.path()) };
    let mut whole = network(&[&service]);
    let other = tempfile::tempdir().unwrap();
    join(&world.config(other.path()), &mut whole).unwrap();
    for end in 0..whole.sent {
        let mut ending = network(&[&service]);
        ending.ends_after = Some(end);
        // The last messages may not be needed any more.
        if join(&config, &mut ending).is_ok() {
            assert!(end + 2 > whole.sent, "{end} of {}", whole.sent);
            break;
        }
        assert!(is_empty(data.path()).unwrap());
    }
    if is_empty(data.path()).unwrap() {
        join(&world.config(data.path()), &mut network(&[&service])).unwrap();
    }
    follow(&world, &mut start(&world, data.path()));
    assert!(!data.path().join("sync.new").exists());
}
