//! Whole simulations: the same seed is the same run; seeds that once failed; as many others as fit a minute.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tana_sim::faults::{Fault, Plan, Step};
use tana_sim::run;
use tana_sim::world::run_plan;
use tana_sim_network::Weather;

/// How long the test of many seeds goes on.
const BUDGET: Duration = Duration::from_secs(50);

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in [11, 12, 13] {
        let (first, second) = (run(seed, false), run(seed, false));
        assert_eq!(first.violation, None);
        assert_eq!(first, second);
    }
    assert_ne!(run(11, false).digest, run(12, false).digest);
}

/// Seeds that found something, each with what it found.
const FOUND: &[(u64, &str)] = &[(
    354,
    "a validator that had voted in an epoch and restarted into it without the vote ended in the replay of its own journal",
)];

#[test]
fn seeds_that_found_something_pass() {
    for (seed, what) in FOUND {
        assert_eq!(run(*seed, false).violation, None, "seed {seed}: {what}");
    }
}

/// A plan in which nothing goes wrong.
fn calm(seed: u64) -> Plan {
    let mut plan = Plan::new(seed);
    (plan.numbers.validators, plan.numbers.spare) = (4, 0);
    (plan.liar, plan.power_cut_ms) = (None, None);
    plan.changes.clear();
    plan.steps.clear();
    plan.skews_ms = vec![0; 4];
    (plan.latency_ms, plan.jitter_ms, plan.heal_ms) = (10, 2, 8_000);
    plan
}

#[test]
fn a_calm_chain_applies_all_transfers() {
    let report = run_plan(&calm(1), false);
    assert_eq!((report.violation, report.proofs), (None, 0));
    assert!(report.height > 40 && report.transfers > 60, "{} heights, {} transfers", report.height, report.transfers);
}

#[test]
fn heights_beyond_the_lag_without_a_final_one_do_not_stop_the_chain() {
    let mut plan = calm(2);
    plan.numbers.lag_blocks_max = 3;
    let weather = |nothing_finalizes| Fault::Weather(Weather { nothing_finalizes, ..Weather::default() });
    plan.steps = vec![Step { at_ms: 1_000, fault: weather(true) }, Step { at_ms: 7_000, fault: weather(false) }];
    let report = run_plan(&plan, false);
    assert_eq!(report.violation, None);
}

#[test]
fn a_chain_that_stands_still_is_seen() {
    let mut plan = calm(3);
    // Longer than every time-out: no leader is ever heard in time.
    plan.latency_ms = 60_000;
    let report = run_plan(&plan, false);
    assert!(report.violation.is_some_and(|text| text.contains("after healing")));
}

#[test]
fn as_many_seeds_as_fit_a_minute_pass() {
    let (next, begun) = (AtomicU64::new(1_000), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while begun.elapsed() < BUDGET {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let report = run(seed, false);
                    assert_eq!(report.violation, None, "seed {seed}; again with: sim {seed} --trace");
                }
            });
        }
    });
}
