//! Schedules: order of nonces, shares, senders that stick to their connection.

use std::collections::BTreeMap;

use super::*;
use crate::plan::Shares;

fn plan() -> LoadPlan {
    LoadPlan { accounts: 103, connections: 4, count: 40_000, start_nonce: 7, ..LoadPlan::default() }
}

fn all(plan: &LoadPlan) -> Vec<Vec<Planned>> {
    let sampler = Sampler::new(plan.accounts, plan.skew);
    (0..plan.connections)
        .map(|connection| {
            let mut schedule = Schedule::new(plan, connection, &sampler);
            (0..plan.connection_count(connection)).map(|_| schedule.draw()).collect()
        })
        .collect()
}

#[test]
fn senders_stick_to_one_connection_and_their_nonces_go_up() {
    let plan = plan();
    let mut last = BTreeMap::new();
    for (connection, planned) in all(&plan).iter().enumerate() {
        for transaction in planned {
            assert_eq!(transaction.purpose, Purpose::Transfer);
            assert_eq!(transaction.sender as usize % 4, connection);
            assert_ne!(transaction.sender, transaction.recipient);
            assert!(transaction.sender < 103 && transaction.recipient < 103);
            let nonce = last.entry(transaction.sender).or_insert(7);
            *nonce += 1;
            assert_eq!(transaction.nonce, *nonce);
        }
    }
    assert_eq!(last.len(), 103, "every account sends");
    // 10,000 transactions of 25 or 26 senders: rounds differ by one at most.
    assert!(last.values().all(|&nonce| (391..=407).contains(&nonce)), "{last:?}");
}

#[test]
fn the_seed_decides_everything() {
    let plan = plan();
    assert_eq!(all(&plan), all(&plan));
    assert_ne!(all(&plan), all(&LoadPlan { seed: "other".to_owned(), ..plan }));
}

#[test]
fn shares_are_kept_and_only_what_takes_effect_takes_a_nonce() {
    let shares = Shares { bad_signatures: 0.1, duplicates: 0.05, unfunded: 0.2, stale_nonces: 0.15, creations: 0.25 };
    let plan = LoadPlan { shares, ..plan() };
    let mut counts = BTreeMap::new();
    let mut created = Vec::new();
    for planned in all(&plan) {
        let mut last = BTreeMap::new();
        for transaction in planned {
            *counts.entry(format!("{:?}", transaction.purpose)).or_insert(0u32) += 1;
            let used = last.entry(transaction.sender).or_insert(7);
            match transaction.purpose {
                Purpose::Transfer | Purpose::Unfunded => {
                    *used += 1;
                    assert_eq!(transaction.nonce, *used);
                }
                Purpose::BadSignature => assert_eq!(transaction.nonce, *used + 1),
                Purpose::StaleNonce => assert_eq!(transaction.nonce, *used),
                Purpose::Creation => created.push(transaction.sender),
                Purpose::Duplicate => {}
            }
        }
    }
    for (purpose, share) in [
        ("BadSignature", 0.1),
        ("Duplicate", 0.05),
        ("Unfunded", 0.2),
        ("StaleNonce", 0.15),
        ("Creation", 0.25),
        ("Transfer", 0.25),
    ] {
        let found = f64::from(counts[purpose]) / 40_000.0;
        assert!((found - share).abs() < 0.01, "{purpose}: {found}");
    }
    created.sort_unstable();
    let before = created.len();
    created.dedup();
    assert_eq!(created.len(), before, "each new account has a number of its own");
}

#[test]
fn a_share_of_one_leaves_nothing_else() {
    let shares = Shares { bad_signatures: 1.0, ..Shares::default() };
    let plan = LoadPlan { shares, ..plan() };
    assert!(all(&plan).iter().flatten().all(|transaction| transaction.purpose == Purpose::BadSignature));
}
