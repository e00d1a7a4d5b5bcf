//! The directory against a map, and under readers that never stop while it grows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use tana_types::account::{NO_ACCOUNT, SENTINEL};
use tana_types::key::PublicKey;

use crate::directory;

fn key(number: u64) -> PublicKey {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    key[24..].copy_from_slice(&(number + 1).to_le_bytes());
    PublicKey(key)
}

#[test]
fn the_sentinel_is_there_and_never_found() {
    let (mut writer, directory) = directory(10);
    assert_eq!(directory.len(), 1);
    assert!(directory.is_empty());
    assert_eq!(directory.key(SENTINEL), PublicKey([0; 32]));
    assert_eq!(directory.view().find(&[0; 32]), None);
    assert_eq!(writer.insert(PublicKey([0; 32])), SENTINEL);
    assert_eq!(directory.view().find(&[0; 32]), None);
    assert_eq!(writer.insert(key(5)), 1);
    assert_eq!(writer.insert(key(5)), 1, "a known key keeps its index");
    assert_eq!(directory.len(), 2);
}

#[test]
fn what_is_not_there_reads_as_nothing() {
    let (_, directory) = directory(0);
    let view = directory.view();
    assert_eq!(view.key(NO_ACCOUNT), PublicKey::default());
    assert_eq!(view.nonce(77_000_000), 0);
    assert_eq!(view.decoded(77_000_000), None);
    view.set_decoded(77_000_000, &[1; 32]);
    assert_eq!(view.decoded(77_000_000), None);
}

#[test]
fn decoded_keys_are_kept_once_complete() {
    let (mut writer, directory) = directory(1);
    let index = writer.insert(key(1));
    assert_eq!(directory.decoded(index), None);
    let mut x = [0xff; 32];
    directory.set_decoded(index, &x);
    assert_eq!(directory.decoded(index), None, "no coordinate has its top bit set");
    x[31] = 0x7f;
    directory.set_decoded(index, &x);
    assert_eq!(directory.decoded(index), Some(x));
    writer.set_nonce(index, 9);
    assert_eq!(directory.nonce(index), 9);
}

#[test]
fn grows_past_a_chunk_and_finds_every_key() {
    let (mut writer, directory) = directory(0);
    for number in 0..150_000 {
        assert_eq!(u64::from(writer.insert(key(number))), number + 1);
    }
    let view = directory.view();
    let keys: Vec<_> = (0..150_100).map(|number| key(number).0).collect();
    let mut found = Vec::new();
    view.find_each(&keys, &mut found);
    assert_eq!(found.len(), keys.len());
    for (number, &index) in found.iter().enumerate() {
        let expected = if number < 150_000 { number as u32 + 1 } else { NO_ACCOUNT };
        assert_eq!(index, expected);
        assert_eq!(view.find(&keys[number]).unwrap_or(NO_ACCOUNT), expected);
    }
    assert!(directory.memory_bytes() / 150_000 < 130, "{}", directory.memory_bytes());
}

#[test]
fn a_directory_of_the_expected_size_keeps_its_table_and_its_bound() {
    let expected = 65_536 * 4;
    let (mut writer, directory) = directory(expected);
    let before = directory.memory_bytes();
    for number in 1..expected as u64 {
        writer.insert(key(number));
    }
    let spine = directory.memory_bytes() - before;
    assert_eq!(spine % (65_536 * 72), 0, "only chunks were added");
    assert!((directory.memory_bytes() - 2_000_000) / expected <= 96);
}

#[test]
fn readers_see_whole_accounts_while_the_directory_grows() {
    const ACCOUNTS: u64 = 60_000;
    let (mut writer, directory) = directory(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..3u64 {
            let (directory, stop) = (&directory, &stop);
            scope.spawn(move || {
                let mut round = seed;
                let mut last_pass = false;
                while !last_pass {
                    last_pass = stop.load(Ordering::Acquire);
                    let published = u64::from(directory.len()) - 1;
                    let view = directory.view();
                    let mut found = Vec::new();
                    let numbers: Vec<_> = (0..64).map(|step| (round + step * 977) % ACCOUNTS).collect();
                    let keys: Vec<_> = numbers.iter().map(|&number| key(number).0).collect();
                    view.find_each(&keys, &mut found);
                    for (&number, &index) in numbers.iter().zip(&found) {
                        if number < published {
                            assert_eq!(u64::from(index), number + 1, "a published account must be found");
                        }
                        if index != NO_ACCOUNT {
                            assert_eq!(view.key(index), key(number));
                            let x = [number as u8 & 0x7f; 32];
                            assert!(view.decoded(index).is_none_or(|decoded| decoded == x), "never half written");
                            view.set_decoded(index, &x);
                        }
                    }
                    round = round.wrapping_add(7_919);
                }
            });
        }
        for number in 0..ACCOUNTS {
            let index = writer.insert(key(number));
            writer.set_nonce(index, number);
        }
        stop.store(true, Ordering::Release);
    });
    assert_eq!(u64::from(directory.len()), ACCOUNTS + 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn agrees_with_a_map(steps in prop::collection::vec((0u64..3_000, any::<bool>(), any::<u64>()), 1..4_000)) {
        let (mut writer, directory) = directory(0);
        let mut model: HashMap<PublicKey, (u32, u64)> = HashMap::new();
        for (number, insert, nonce) in steps {
            let key = key(number);
            if insert {
                let next = model.len() as u32 + 1;
                let index = model.entry(key).or_insert((next, 0)).0;
                prop_assert_eq!(writer.insert(key), index);
            } else if let Some(entry) = model.get_mut(&key) {
                entry.1 = nonce;
                writer.set_nonce(entry.0, nonce);
            }
            let view = directory.view();
            prop_assert_eq!(view.find(&key.0), model.get(&key).map(|entry| entry.0));
        }
        let keys: Vec<_> = (0..3_000).map(|number| key(number).0).collect();
        let mut found = Vec::new();
        directory.view().find_each(&keys, &mut found);
        for (bytes, index) in keys.iter().zip(found) {
            let expected = model.get(&PublicKey(*bytes));
            prop_assert_eq!(index, expected.map_or(NO_ACCOUNT, |entry| entry.0));
            prop_assert_eq!(directory.nonce(index), expected.map_or(0, |entry| entry.1));
        }
        prop_assert_eq!(directory.len() as usize, model.len() + 1);
    }
}
