//! Signed loads: valid, in order, the same for the same seed, with the shares that were asked for.

use std::collections::BTreeMap;

use ed25519_dalek::{Signature, VerifyingKey};
use tana_types::payload::Kind;
use tana_types::transaction::Transaction;

use super::*;
use crate::plan::Shares;
use crate::testing::{genesis, transactions};

fn plan() -> LoadPlan {
    LoadPlan { accounts: 50, connections: 3, count: 9_001, timestamp_ms: Some(1_000_000), ..LoadPlan::default() }
}

fn is_valid(load: &Load, transaction: &Transaction<'_>) -> bool {
    let chain = tana_types::transaction::Chain::new(load.genesis_hash);
    let message = [&chain.signing_prefix()[..], transaction.body()].concat();
    let key = VerifyingKey::from_bytes(&transaction.header().sender).unwrap();
    key.verify_strict(&message, &Signature::from_bytes(transaction.signature())).is_ok()
}

#[test]
fn a_load_is_what_its_plan_says_and_signed() {
    let genesis = genesis(60);
    let mut stages = Vec::new();
    let load = sign_load(&genesis, &plan(), &mut |progress| stages.push(progress)).unwrap();
    assert_eq!(load.count(), 9_001);
    assert_eq!(stages.last(), Some(&Progress { stage: Stage::Signing, done: 9_001, total: 9_001 }));
    let mut nonces = BTreeMap::new();
    for (connection, frames) in transactions(&load).iter().enumerate() {
        let counts: Vec<usize> = frames.iter().map(Vec::len).collect();
        let (last, full) = counts.split_last().unwrap();
        assert!(full.iter().all(|&count| count == 64) && *last <= 64);
        assert_eq!(counts.iter().sum::<usize>() as u64, load.plan.connection_count(connection as u32));
        for bytes in frames.iter().flatten() {
            let transaction = Transaction::exactly(bytes).unwrap();
            assert_eq!(bytes.len(), 180);
            assert_eq!(transaction.header().timestamp_ms.get(), 1_000_000);
            assert!(transaction.payload().is_ok());
            assert!(is_valid(&load, &transaction));
            let (stream, nonce) = nonces.entry(transaction.sender()).or_insert((connection, 0));
            *nonce += 1;
            assert_eq!((*stream, *nonce), (connection, transaction.header().nonce.get()));
        }
    }
    assert_eq!(nonces.len(), 50);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let genesis = genesis(60);
    let sign = |plan: &LoadPlan| transactions(&sign_load(&genesis, plan, &mut |_| ()).unwrap());
    assert!(sign(&plan()) == sign(&plan()));
    assert!(sign(&plan()) != sign(&LoadPlan { seed: "other".to_owned(), ..plan() }));
}

#[test]
fn bad_ones_are_bad_in_the_way_that_was_asked_for() {
    let shares = Shares { bad_signatures: 0.1, duplicates: 0.1, unfunded: 0.1, stale_nonces: 0.1, creations: 0.1 };
    let load = sign_load(&genesis(60), &LoadPlan { shares, ..plan() }, &mut |_| ()).unwrap();
    let (mut bad, mut copies, mut created, mut unfunded) = (0, 0, 0, 0);
    for frames in transactions(&load) {
        let mut before: Vec<u8> = Vec::new();
        for bytes in frames.into_iter().flatten() {
            let transaction = Transaction::exactly(&bytes).unwrap();
            copies += u32::from(before == bytes);
            bad += u32::from(before != bytes && !is_valid(&load, &transaction));
            created += u32::from(transaction.kind() == Some(Kind::UserCreation));
            if let Ok(tana_types::payload::Payload::Transfer { amount, .. }) = transaction.payload() {
                unfunded += u32::from(before != bytes && amount > 1_000_000_000);
            }
            before = bytes;
        }
    }
    assert!((800..1_000).contains(&bad), "{bad}");
    // A copy of a creation's neighbour has another length and stays a stale nonce.
    assert!((700..1_000).contains(&copies), "{copies}");
    assert!((800..1_200).contains(&created), "{created}");
    assert!((800..1_000).contains(&unfunded), "{unfunded}");
}

#[test]
fn at_a_rate_timestamps_follow_the_plan_and_frames_are_small() {
    let plan = LoadPlan { rate: Some(6_000), ..plan() };
    let load = sign_load(&genesis(60), &plan, &mut |_| ()).unwrap();
    assert_eq!(load.frame_transactions, 2);
    assert_eq!(load.timestamps_ms(), (1_000_000, 1_001_500));
    for (connection, frames) in transactions(&load).iter().enumerate() {
        for (index, bytes) in frames.iter().flatten().enumerate() {
            let timestamp_ms = Transaction::exactly(bytes).unwrap().header().timestamp_ms.get();
            assert_eq!(timestamp_ms, 1_000_000 + (index as u64 * 3 + connection as u64) / 6);
        }
    }
}

#[test]
fn a_plan_that_does_not_fit_is_refused_with_what_is_allowed() {
    let refused = |plan: LoadPlan| sign_load(&genesis(60), &plan, &mut |_| ()).unwrap_err().to_string();
    assert!(refused(LoadPlan { accounts: 61, ..plan() }).contains("60 bulk accounts"));
    assert!(refused(LoadPlan { first_account: 11, ..plan() }).contains("60 bulk accounts"));
    assert!(refused(LoadPlan { connections: 51, ..plan() }).contains("--connections"));
    assert!(refused(LoadPlan { rate: Some(0), ..plan() }).contains("--rate"));
    assert!(refused(LoadPlan { skew: f64::NAN, ..plan() }).contains("--skew"));
    assert!(refused(LoadPlan { count: 0, ..plan() }).contains("--count"));
    let half = Shares { unfunded: 0.6, creations: 0.6, ..Shares::default() };
    assert!(refused(LoadPlan { shares: half, ..plan() }).contains("shares"));
    let mut bare = genesis(60);
    bare.bulk = None;
    assert!(sign_load(&bare, &plan(), &mut |_| ()).unwrap_err().to_string().contains("tana init"));
}
