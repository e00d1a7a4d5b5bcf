//! The key cache saves work and never decides a verdict.

mod common;

use common::{Case, Kind, MapCache, backends, craft, items, verifiers, zebra};
use std::cell::Cell;
use tana_verify::{Backend, DecodedKey, Item, KeyCache, Mode, Verifier};

fn honest(count: u64) -> Vec<Case> {
    (0..count).map(|seed| craft(Kind::Honest, b"", 80, seed)).collect()
}

fn distinct_keys(cases: &[Case]) -> usize {
    let mut keys: Vec<_> = cases.iter().map(|case| case.key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.len()
}

#[test]
fn each_key_is_asked_for_and_decoded_once() {
    let cases = honest(100);
    let keys = distinct_keys(&cases);
    assert!(keys < 40, "keys repeat in this batch");
    for backend in backends() {
        if backend == Backend::Reference {
            continue; // it uses no cache
        }
        let cache = MapCache::default();
        let mut verifier = Verifier::new(backend, [1; 32]);
        for round in 1..=3 {
            let mut verdicts = Vec::new();
            let outcome = verifier.verify(b"", &items(&cases), &cache, Mode::BatchFirst, &mut verdicts);
            assert_eq!(outcome.valid, cases.len());
            assert_eq!(*cache.gets.borrow(), keys * round);
            assert_eq!(*cache.puts.borrow(), keys, "{backend}: decoded in the first round only");
        }
    }
}

/// All paths put the same 32 bytes, and these are the x of the key's point.
#[test]
fn paths_share_one_cache() {
    let cases: Vec<Case> = [Kind::Honest, Kind::MixedOrder, Kind::SmallOrder, Kind::RandomKey]
        .into_iter()
        .flat_map(|kind| (0..30).map(move |seed| craft(kind, b"", 80, seed)))
        .collect();
    let mut contents = Vec::new();
    for backend in [Backend::Ifma, Backend::Portable] {
        if !backend.is_available() {
            println!("not run: {backend} (this CPU cannot)");
            continue;
        }
        let cache = MapCache::default();
        Verifier::new(backend, [1; 32]).verify(b"", &items(&cases), &cache, Mode::BatchFirst, &mut Vec::new());
        let mut entries: Vec<_> = cache.map.into_inner().into_iter().map(|(key, decoded)| (key, decoded.x)).collect();
        entries.sort_unstable();
        assert!(entries.len() > 30);
        for (key, x) in &entries {
            let sign = key[31] >> 7;
            assert!(x[0] & 1 == sign || *x == [0; 32]);
        }
        contents.push(entries);
    }
    assert!(contents.windows(2).all(|pair| pair[0] == pair[1]));
}

/// Answers with something wrong: a flipped bit, another key's x, zeros, ones.
struct Lying<'a> {
    truth: &'a MapCache,
    turn: Cell<usize>,
}

impl KeyCache for Lying<'_> {
    fn get(&self, _hint: u32, key: &[u8; 32]) -> Option<DecodedKey> {
        let turn = self.turn.get();
        self.turn.set(turn + 1);
        let mut x = self.truth.map.borrow().get(key)?.x;
        match turn % 5 {
            0 => x[turn / 5 % 32] ^= 1 << (turn % 7),
            1 => x = self.truth.map.borrow().values().nth(turn % 9)?.x,
            2 => x = [0; 32],
            3 => x = [0xff; 32],
            _ => return None,
        }
        Some(DecodedKey { x })
    }

    fn put(&self, _hint: u32, _key: &[u8; 32], _decoded: &DecodedKey) {}
}

#[test]
fn a_damaged_cache_changes_no_verdict() {
    let mut cases = honest(60);
    cases.extend(Kind::ALL.iter().map(|kind| craft(*kind, b"", 90, 77)));
    let expected: Vec<bool> = cases.iter().map(|case| zebra(b"", case)).collect();
    let truth = MapCache::default();
    for verifier in &mut verifiers() {
        verifier.verify(b"", &items(&cases), &truth, Mode::BatchFirst, &mut Vec::new());
        let lying = Lying { truth: &truth, turn: Cell::new(0) };
        for mode in [Mode::BatchFirst, Mode::EachAlone] {
            for _ in 0..5 {
                let mut verdicts = Vec::new();
                verifier.verify(b"", &items(&cases), &lying, mode, &mut verdicts);
                assert_eq!(verdicts, expected, "{}", verifier.backend());
            }
        }
    }
}

/// Equal hints on different keys, different hints on equal keys: a hint is only a hint.
#[test]
fn hints_do_not_make_keys_equal() {
    let cases = honest(64);
    for verifier in &mut verifiers() {
        for modulus in [1, 3, 64] {
            let items: Vec<Item<'_>> = cases
                .iter()
                .enumerate()
                .map(|(index, case)| Item {
                    key: &case.key,
                    message: &case.message,
                    signature: &case.signature,
                    hint: (index % modulus) as u32,
                })
                .collect();
            let mut verdicts = Vec::new();
            let outcome = verifier.verify(b"", &items, &MapCache::default(), Mode::BatchFirst, &mut verdicts);
            assert_eq!(outcome.valid, 64);
            assert!(!outcome.batch_equation_failed);
        }
    }
}
