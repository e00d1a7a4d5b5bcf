//! Round trips, isolation of snapshots, failed commits, damage.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Checkpoint, CheckpointMeta, CheckpointMode, MAP_BYTES_DEFAULT, PAGE_BYTES_MAX};
use crate::log::Position;
use crate::{Fault, FaultPlan, StoreError};

const MAP_BYTES: usize = 1 << 30;

fn meta(height: u64) -> CheckpointMeta {
    CheckpointMeta {
        height,
        positions: vec![Position { segment: height as u32, offset: 4096 }, Position::default()],
        state_root: [height as u8; 32],
        blob: vec![7; height as usize % 50],
    }
}

/// Everything in the checkpoint.
fn contents(checkpoint: &Checkpoint) -> (BTreeMap<u32, Vec<u8>>, BTreeMap<u32, Vec<u8>>) {
    let (mut pages, mut overflow) = (BTreeMap::new(), BTreeMap::new());
    let snapshot = checkpoint.snapshot().unwrap();
    snapshot.for_each_page(|number, bytes| assert!(pages.insert(number, bytes.to_vec()).is_none())).unwrap();
    snapshot.for_each_overflow(|index, bytes| assert!(overflow.insert(index, bytes.to_vec()).is_none())).unwrap();
    (pages, overflow)
}

#[derive(Debug, Clone)]
enum Change {
    Page(u32, Vec<u8>),
    Overflow(u32, Vec<u8>),
    Delete(u32),
}

fn change() -> impl Strategy<Value = Change> {
    let bytes = |limit| prop::collection::vec(any::<u8>(), 0..limit);
    prop_oneof![
        (0u32..300, bytes(PAGE_BYTES_MAX + 1)).prop_map(|(number, bytes)| Change::Page(number, bytes)),
        (0u32..300, bytes(900)).prop_map(|(index, bytes)| Change::Overflow(index, bytes)),
        (0u32..300).prop_map(Change::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_was_committed_is_there_after_reopening(
        rounds in prop::collection::vec((prop::collection::vec(change(), 0..40), any::<bool>()), 1..6)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (mut pages, mut overflow, mut committed) = (BTreeMap::new(), BTreeMap::new(), None);
        for (height, (changes, commit)) in rounds.iter().enumerate() {
            let checkpoint = Checkpoint::open(folder.path(), CheckpointMode::ReadWrite, MAP_BYTES).unwrap();
            prop_assert_eq!(checkpoint.meta().unwrap(), committed.clone());
            let (mut new_pages, mut new_overflow) = (pages.clone(), overflow.clone());
            let mut write = checkpoint.begin().unwrap();
            for change in changes {
                match change {
                    Change::Page(number, bytes) => {
                        write.put_page(*number, bytes).unwrap();
                        new_pages.insert(*number, bytes.clone());
                    }
                    Change::Overflow(index, bytes) => {
                        write.put_overflow(*index, bytes).unwrap();
                        new_overflow.insert(*index, bytes.clone());
                    }
                    Change::Delete(index) => {
                        let was_there = write.delete_overflow(*index).unwrap();
                        prop_assert_eq!(was_there, new_overflow.remove(index).is_some());
                    }
                }
            }
            if *commit {
                write.commit(&meta(height as u64)).unwrap();
                (pages, overflow, committed) = (new_pages, new_overflow, Some(meta(height as u64)));
            } else {
                drop(write);
            }
            prop_assert_eq!(contents(&checkpoint), (pages.clone(), overflow.clone()));
        }
    }
}

#[test]
fn a_snapshot_does_not_change_and_readers_need_no_write_access() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Checkpoint::open(folder.path(), CheckpointMode::ReadOnly, MAP_BYTES);
    assert!(matches!(missing, Err(StoreError::Missing { .. })));
    let checkpoint = Checkpoint::open(folder.path(), CheckpointMode::ReadWrite, MAP_BYTES_DEFAULT).unwrap();
    let mut write = checkpoint.begin().unwrap();
    write.put_page(3, &[1; PAGE_BYTES_MAX]).unwrap();
    write.commit(&meta(1)).unwrap();
    let snapshot = checkpoint.snapshot().unwrap();
    let mut write = checkpoint.begin().unwrap();
    write.put_page(3, &[2; 10]).unwrap();
    write.put_overflow(9, b"name").unwrap();
    write.commit(&meta(2)).unwrap();
    assert_eq!(snapshot.meta().unwrap(), Some(meta(1)));
    assert_eq!(snapshot.page(3).unwrap(), Some(&[1; PAGE_BYTES_MAX][..]));
    assert_eq!(snapshot.overflow(9).unwrap(), None);
    drop(snapshot);
    let again = Checkpoint::open(folder.path(), CheckpointMode::ReadWrite, MAP_BYTES);
    assert!(matches!(again, Err(StoreError::Lmdb { .. })), "one opening per process");
    drop(checkpoint);
    let reader = Checkpoint::open(folder.path(), CheckpointMode::ReadOnly, MAP_BYTES).unwrap();
    assert_eq!(reader.meta().unwrap(), Some(meta(2)));
    assert_eq!(reader.snapshot().unwrap().overflow(9).unwrap(), Some(&b"name"[..]));
    assert!(reader.begin().is_err());
}

#[test]
fn a_failed_commit_leaves_the_checkpoint_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoint = Checkpoint::open(folder.path(), CheckpointMode::ReadWrite, MAP_BYTES).unwrap();
    checkpoint.inject(FaultPlan::one(Fault::NoSpace { write: 1 }));
    let commit = |height: u64| {
        let mut write = checkpoint.begin().unwrap();
        write.put_page(0, &[height as u8; 100]).unwrap();
        write.commit(&meta(height))
    };
    commit(1).unwrap();
    let error = commit(2).unwrap_err();
    assert!(error.is_no_space() && error.to_string().contains("free that much space"), "{error}");
    assert_eq!(checkpoint.meta().unwrap(), Some(meta(1)));
    assert_eq!(checkpoint.snapshot().unwrap().page(0).unwrap(), Some(&[1; 100][..]));
    commit(3).unwrap();
    assert_eq!(checkpoint.meta().unwrap(), Some(meta(3)));
}

#[test]
fn a_full_map_is_an_error_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(folder.path(), CheckpointMode::ReadWrite, 1 << 20).unwrap();
    let mut write = checkpoint.begin().unwrap();
    write.put_page(0, &[1; 100]).unwrap();
    write.commit(&meta(1)).unwrap();
    let mut write = checkpoint.begin().unwrap();
    let error = (1..2_000).find_map(|number| write.put_page(number, &[2; PAGE_BYTES_MAX]).err()).unwrap();
    assert!(error.to_string().contains("larger map"), "{error}");
    drop(write);
    assert_eq!(checkpoint.meta().unwrap(), Some(meta(1)));
    assert_eq!(contents(&checkpoint).0.len(), 1);
}

#[test]
fn limits_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(folder.path(), CheckpointMode::ReadWrite, MAP_BYTES).unwrap();
    let mut write = checkpoint.begin().unwrap();
    assert!(matches!(write.put_page(0, &[0; PAGE_BYTES_MAX + 1]), Err(StoreError::Setting(_))));
    let positions = vec![Position::default(); 9];
    assert!(write.commit(&CheckpointMeta { positions, ..CheckpointMeta::default() }).is_err());
}

#[test]
fn a_flipped_bit_in_a_page_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(folder.path(), CheckpointMode::ReadWrite, MAP_BYTES).unwrap();
    let mut write = checkpoint.begin().unwrap();
    let page: Vec<u8> = (0..PAGE_BYTES_MAX).map(|index| (index % 251) as u8).collect();
    write.put_page(5, &page).unwrap();
    write.commit(&meta(1)).unwrap();
    drop(checkpoint);
    let path = folder.path().join("data.mdb");
    let mut bytes = std::fs::read(&path).unwrap();
    let needle = &page[100..160];
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let checkpoint = Checkpoint::open(folder.path(), CheckpointMode::ReadOnly, MAP_BYTES).unwrap();
    let snapshot = checkpoint.snapshot().unwrap();
    let error = snapshot.page(5).unwrap_err().to_string();
    assert!(error.contains("checksum") && error.contains("remove the checkpoint"), "{error}");
    assert!(snapshot.for_each_page(|_, _| panic!("a damaged page was handed out")).is_err());
}
