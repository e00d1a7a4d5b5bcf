//! What sending costs tx-gen itself: processor time of its threads per transaction, answers included.
//!
//! Run with `cargo bench -p tx-gen --bench flood`. The node is a real transaction server whose intake answers every frame at once, so
//! rates here say what the client can do, not what a validator does. Criterion measures time that passes; what matters here is
//! the time that a core works, which a report knows, so this prints reports.

#[path = "../tests/support/mod.rs"]
mod support;

use support::{Behaviour, Node, genesis, quick};
use tx_gen::{Flood, FloodConfig, LoadPlan, Pace, sign_load};

const COUNT: u64 = 4_000_000;

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let genesis = genesis(100_000);
    let plan = LoadPlan { accounts: 100_000, count: COUNT, ..LoadPlan::default() };
    let load = match sign_load(&genesis, &plan, &mut |_| ()) {
        Ok(load) => load,
        Err(error) => return eprintln!("{error}"),
    };
    for (name, in_flight, without_answers) in
        [("in_flight=16384", Some(16_384), false), ("in_flight=max", None, false), ("answers=none", None, true)]
    {
        let node = Node::start(Behaviour { forget: true, ..Behaviour::default() });
        let config = FloodConfig { pace: Pace::Closed { in_flight }, without_answers, ..quick(&node) };
        match Flood::run(&load, &config, &mut |_| ()) {
            Ok(report) => println!(
                "flood::run/{name}: {:.0} sent/s, {:.0} ns of a core per transaction, p99 {:.2} ms, failure {:?}",
                report.per_second.sent,
                report.client_cpu_ns_per_transaction.unwrap_or_default(),
                report.latency_applied_ms.p99,
                report.failure
            ),
            Err(error) => eprintln!("{error}"),
        }
    }
}
