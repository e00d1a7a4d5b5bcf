//! The table against a `BTreeMap`, its paging, and damage.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::format::BLOCK_ENTRIES;
use super::runs::{RUN_ENTRIES, Runs};
use super::{Table, TableBuilder};
use crate::StoreError;

/// A table of `entries` and the model of it.
fn build(entries: &[(u64, u64)]) -> (tempfile::TempDir, Table, BTreeMap<u64, BTreeSet<u64>>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids.table");
    let mut builder = TableBuilder::new(&path);
    let mut model: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for (key, value) in entries {
        builder.add(*key, *value).unwrap();
        model.entry(*key).or_default().insert(*value);
    }
    builder.finish().unwrap();
    let table = Table::open(&path).unwrap();
    (folder, table, model)
}

fn entries() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let key = prop_oneof![0u64..40, Just(0), Just(u64::MAX), any::<u64>()];
    let value = prop_oneof![0u64..400, Just(u64::MAX), any::<u64>()];
    prop::collection::vec((key, value), 0..2_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_table_answers_as_a_map_does(entries in entries(), absent in prop::collection::vec(any::<u64>(), 20), page in 1usize..300) {
        let (_folder, table, model) = build(&entries);
        prop_assert_eq!(table.len(), model.values().map(|values| values.len() as u64).sum::<u64>());
        for (key, values) in &model {
            let expected: Vec<u64> = values.iter().copied().collect();
            prop_assert_eq!(&table.lookup(*key).unwrap(), &expected);
            let mut paged = Vec::new();
            loop {
                let next = table.lookup_range(*key, paged.last().copied(), page).unwrap();
                prop_assert!(next.len() <= page);
                if next.is_empty() { break }
                paged.extend(next);
            }
            prop_assert_eq!(&paged, &expected);
            let mut back = Vec::new();
            loop {
                let next = table.lookup_range_descending(*key, back.last().copied(), page).unwrap();
                if next.is_empty() { break }
                back.extend(next);
            }
            back.reverse();
            prop_assert_eq!(&back, &expected);
        }
        for key in absent.iter().filter(|key| !model.contains_key(key)) {
            prop_assert!(table.lookup(*key).unwrap().is_empty());
            prop_assert!(table.lookup_range_descending(*key, None, 5).unwrap().is_empty());
        }
    }
}

#[test]
fn the_values_of_a_key_run_over_many_blocks() {
    let count = 3 * BLOCK_ENTRIES as u64 + 7;
    let mut entries: Vec<(u64, u64)> = (0..count).map(|value| (5, value * 2)).collect();
    entries.extend([(4, 1), (6, 1)]);
    let (_folder, table, _) = build(&entries);
    assert_eq!(table.lookup(5).unwrap().len() as u64, count);
    assert_eq!(table.lookup_range(5, Some(2 * count - 4), 10).unwrap(), [2 * count - 2]);
    assert_eq!(table.lookup_range_descending(5, None, 2).unwrap(), [2 * count - 2, 2 * count - 4]);
    assert_eq!(table.lookup(4).unwrap(), [1]);
    assert_eq!(table.lookup(6).unwrap(), [1]);
}

#[test]
fn the_filter_turns_most_absent_keys_away() {
    let mut filter = super::filter::Filter::new(10_000);
    (0..10_000u64).for_each(|key| filter.add(key * 3));
    let bytes = filter.finish();
    let lines = super::filter::line_count(10_000);
    let passes = |key: u64| {
        let line = super::filter::line_of(key, lines);
        let start = line as usize * super::filter::LINE_BYTES;
        super::filter::may_hold(&bytes[start..start + super::filter::LINE_BYTES], line, key).unwrap()
    };
    assert!((0..10_000u64).all(|key| passes(key * 3)));
    let wrong = (0..10_000u64).filter(|key| passes(key * 3 + 1)).count();
    assert!(wrong < 500, "{wrong} of 10000 absent keys pass");
}

#[test]
fn a_flipped_bit_is_refused_or_changes_no_answer() {
    let entries: Vec<(u64, u64)> = (0..1_000).map(|key| (key * 7, key)).collect();
    let (folder, table, _) = build(&entries);
    drop(table);
    let path = folder.path().join("ids.table");
    let good = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for index in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[index] ^= 1 << (index % 8);
        std::fs::write(&path, &bad).unwrap();
        let Ok(table) = Table::open(&path) else {
            refused += 1;
            continue;
        };
        for (key, value) in &entries {
            match table.lookup(*key) {
                Ok(values) => assert_eq!(values, [*value]),
                Err(StoreError::Damaged { .. }) => {
                    refused += 1;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(refused, good.len().div_ceil(97), "each byte of the file is under a checksum");
}

#[test]
fn a_shortened_or_missing_table_is_named() {
    let (folder, table, _) = build(&[(1, 2), (3, 4)]);
    drop(table);
    let path = folder.path().join("ids.table");
    let good = std::fs::read(&path).unwrap();
    for length in [0, 100, 4096, good.len() - 1] {
        std::fs::write(&path, &good[..length]).unwrap();
        let error = Table::open(&path).unwrap_err().to_string();
        assert!(error.contains("ids.table") && error.contains("remove the file"), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Table::open(&path), Err(StoreError::Missing { .. })));
}

#[test]
fn more_entries_than_a_run_come_out_sorted_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs");
    let mut runs = Runs::new(&path);
    let count = 2 * RUN_ENTRIES as u64 + 1_001;
    for number in 0..count {
        // An odd factor makes a permutation of the numbers below 2^20; every tenth comes twice.
        let key = number.wrapping_mul(0x9e37_79b1) % (1 << 20);
        runs.add((key, key + 1)).unwrap();
        if number % 10 == 0 {
            runs.add((key, key + 1)).unwrap();
        }
    }
    runs.seal();
    assert!(path.exists());
    for _ in 0..2 {
        let mut merged = Vec::new();
        runs.merge(|entry| {
            merged.push(entry);
            Ok(())
        })
        .unwrap();
        let mut expected: Vec<_> = (0..count).map(|number| number.wrapping_mul(0x9e37_79b1) % (1 << 20)).collect();
        expected.sort_unstable();
        assert!(merged.iter().map(|entry| entry.0).eq(expected));
        assert!(merged.iter().all(|entry| entry.1 == entry.0 + 1));
    }
    drop(runs);
    assert!(!path.exists(), "the file of runs goes with the builder");
}

#[test]
fn an_empty_table_answers_nothing() {
    let (_folder, table, _) = build(&[]);
    assert!(table.is_empty() && table.lookup(0).unwrap().is_empty());
}
