//! Floods against a real transaction server with an intake of the test's own.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use support::{Behaviour, Node, genesis, quick};
use tana_net::ServerPin;
use tana_types::code::Code;
use tx_gen::{
    Ended, FailureKind, Flood, FloodConfig, FloodError, Load, LoadPlan, Pace, Report, Shares, Target, sign_load,
};

fn signed(plan: &LoadPlan) -> Load {
    sign_load(&genesis(1_000), plan, &mut |_| ()).unwrap()
}

fn plan(count: u64) -> LoadPlan {
    LoadPlan { accounts: 1_000, connections: 3, count, ..LoadPlan::default() }
}

fn flood(load: &Load, config: &FloodConfig) -> Report {
    Flood::run(load, config, &mut |_| ()).unwrap()
}

#[test]
fn every_transaction_arrives_once_and_is_followed_to_its_end() {
    let node = Node::start(Behaviour::default());
    let load = signed(&plan(50_000));
    let report = flood(&load, &quick(&node));
    assert_eq!(report.failure, None);
    assert_eq!(report.ended, Ended::LoadUsedUp);
    let totals = report.totals;
    assert_eq!((totals.sent, totals.accepted, totals.finalized, totals.applied), (50_000, 50_000, 50_000, 50_000));
    assert_eq!((report.unanswered, report.reconnects), (0, 0));
    assert_eq!(report.latency_applied_ms.count, 50_000);
    assert!(report.latency_final_ms.p50 <= report.latency_applied_ms.p50);
    assert_eq!(report.series.iter().map(|row| row.counts.applied).sum::<u64>(), 50_000);
    let seen = node.transactions();
    assert_eq!(seen.len(), 50_000);
    let unique: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(unique.len(), 50_000);
}

#[test]
fn each_sender_arrives_in_the_order_of_its_nonces() {
    let node = Node::start(Behaviour::default());
    let config = FloodConfig { threads: 2, pace: Pace::Closed { in_flight: Some(500) }, ..quick(&node) };
    assert_eq!(flood(&signed(&plan(20_000)), &config).totals.applied, 20_000);
    let mut last = std::collections::BTreeMap::new();
    for transaction in node.transactions() {
        let (sender, nonce) = support::sender_and_nonce(&transaction);
        assert_eq!(last.insert(sender, nonce).unwrap_or(0) + 1, nonce);
    }
}

#[test]
fn several_nodes_share_a_load_and_each_sender_sticks_to_one() {
    let nodes = [(); 3].map(|()| Node::start(Behaviour::default()));
    let others = nodes[1..].iter().map(|node| Target { address: node.address(), pin: ServerPin::Key(node.key()) });
    let config = FloodConfig { others: others.collect(), threads: 2, ..quick(&nodes[0]) };
    let load = signed(&LoadPlan { connections: 6, ..plan(30_000) });
    let report = flood(&load, &config);
    assert_eq!((report.failure, report.totals.applied), (None, 30_000));
    let mut home = std::collections::BTreeMap::new();
    for (number, node) in nodes.iter().enumerate() {
        let seen = node.transactions();
        assert_eq!(seen.len(), 10_000);
        for transaction in seen {
            let (sender, _) = support::sender_and_nonce(&transaction);
            assert_eq!(*home.entry(sender).or_insert(number), number);
        }
    }
    let few = signed(&LoadPlan { connections: 2, ..plan(10) });
    assert!(matches!(Flood::run(&few, &config, &mut |_| ()), Err(FloodError::Config(_))));
}

#[test]
fn in_flight_is_bounded_when_asked_for() {
    let node = Node::start(Behaviour { hold: true, ..Behaviour::default() });
    let config = FloodConfig {
        pace: Pace::Closed { in_flight: Some(640) },
        duration: Some(Duration::from_millis(600)),
        drain: Duration::from_millis(300),
        ..quick(&node)
    };
    let report = flood(&signed(&plan(100_000)), &config);
    assert_eq!(report.totals.sent, 3 * 640);
    assert_eq!(report.unanswered, 3 * 640);
    assert!(!report.notes().is_empty());
}

#[test]
fn latency_counts_from_the_planned_moment() {
    // The node takes nothing for 600 ms: a generator that counts from sending would see nothing of it.
    let node = Node::start(Behaviour { deaf_for: Duration::from_millis(600), ..Behaviour::default() });
    let load = signed(&LoadPlan { rate: Some(20_000), ..plan(10_000) });
    let report = flood(&load, &FloodConfig { pace: Pace::Open { rate: 20_000 }, ..quick(&node) });
    assert_eq!(report.totals.applied, 10_000);
    assert!(report.latency_applied_ms.max >= 400.0, "{:?}", report.latency_applied_ms);
    // Frames due at the very end of the deaf time waited least: the spread shows that each has a moment of its own.
    assert!(report.latency_applied_ms.p50 < report.latency_applied_ms.max * 0.9, "{:?}", report.latency_applied_ms);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let node = Node::start(Behaviour::default());
    let load = signed(&LoadPlan { rate: Some(10_000), ..plan(10_000) });
    let begin = Instant::now();
    let report = flood(&load, &FloodConfig { pace: Pace::Open { rate: 10_000 }, ..quick(&node) });
    assert!(begin.elapsed() >= Duration::from_millis(990), "never faster than asked for");
    assert_eq!(report.totals.applied, 10_000);
    assert_eq!(report.unsent, 0);
}

#[test]
fn uni_streams_carry_everything_without_answers() {
    let node = Node::start(Behaviour::default());
    let report = flood(&signed(&plan(30_000)), &FloodConfig { without_answers: true, ..quick(&node) });
    assert_eq!((report.totals.sent, report.totals.accepted, report.unanswered), (30_000, 0, 0));
    assert_eq!(report.failure, None);
    assert_eq!(node.transactions().len(), 30_000);
}

#[test]
fn rejections_are_counted_by_name_and_a_hopeless_flood_ends_with_the_cause() {
    let node = Node::start(Behaviour { reject: Some(Code::NonceUsed), hold: false, ..Behaviour::default() });
    let config = FloodConfig { pace: Pace::Closed { in_flight: Some(1_000) }, ..quick(&node) };
    let report = flood(&signed(&plan(2_000_000)), &config);
    let failure = report.failure.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::AllRejected);
    assert!(failure.message.contains("nonce_used") && failure.message.contains("--start-nonce"), "{}", failure.message);
    assert_eq!(report.ended, Ended::Failed);
    assert!(report.totals.sent < 2_000_000);
    assert_eq!(report.codes["nonce_used"], report.totals.rejected);
}

#[test]
fn rejections_that_were_asked_for_are_no_failure() {
    let node = Node::start(Behaviour { reject: Some(Code::BadSignature), ..Behaviour::default() });
    let shares = Shares { bad_signatures: 1.0, ..Shares::default() };
    let report = flood(&signed(&LoadPlan { shares, ..plan(10_000) }), &quick(&node));
    assert_eq!(report.failure, None);
    assert_eq!(report.totals.rejected, 10_000);
}

#[test]
fn a_node_that_goes_away_is_a_failure_with_a_cause_and_a_bounded_number_of_reconnects() {
    let mut node = Node::start(Behaviour::default());
    let config =
        FloodConfig { pace: Pace::Open { rate: 5_000 }, reconnects: 1, drain: Duration::from_secs(1), ..quick(&node) };
    let load = signed(&LoadPlan { rate: Some(5_000), ..plan(500_000) });
    let mut server = node.take_server();
    let begin = Instant::now();
    let report = Flood::run(&load, &config, &mut |tick| {
        if tick.totals.applied > 500
            && let Some(server) = server.take()
        {
            server.shutdown(Duration::from_millis(100));
        }
    })
    .unwrap();
    let failure = report.failure.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::Connection);
    assert!(failure.message.contains("127.0.0.1"), "{}", failure.message);
    assert!((1..=3).contains(&report.reconnects), "{}", report.reconnects);
    assert!(report.totals.applied > 500, "what was measured until then is there");
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_closed_port_and_a_wrong_key_are_said_at_once() {
    let load = signed(&plan(100));
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Flood::run(&load, &FloodConfig::new(nobody, ServerPin::Insecure), &mut |_| ()).unwrap_err();
    assert!(matches!(error, FloodError::Connect(_)), "{error}");
    let node = Node::start(Behaviour::default());
    let config = FloodConfig::new(node.address(), ServerPin::Key([7; 32]));
    let error = Flood::run(&load, &config, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("ed25519_0707"), "{error}");
}

#[test]
fn a_stop_from_outside_ends_soon_with_a_report() {
    let node = Node::start(Behaviour { hold: true, ..Behaviour::default() });
    let config = FloodConfig { pace: Pace::Closed { in_flight: Some(640) }, ..quick(&node) };
    let begin = Instant::now();
    let report = Flood::run(&signed(&plan(100_000)), &config, &mut |tick| {
        if tick.totals.sent > 0 {
            config.stop.stop();
        }
    })
    .unwrap();
    assert_eq!(report.ended, Ended::Stopped);
    assert!(report.totals.sent > 0);
    assert!(begin.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_silent_node_is_a_failure() {
    let node = Node::start(Behaviour { hold: true, ..Behaviour::default() });
    let config = FloodConfig {
        pace: Pace::Closed { in_flight: Some(640) },
        patience: Duration::from_millis(500),
        ..quick(&node)
    };
    let report = flood(&signed(&plan(100_000)), &config);
    assert_eq!(report.failure.unwrap().kind, FailureKind::Silent);
}

#[test]
fn a_load_outside_of_the_window_does_not_start() {
    let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
    let base = FloodConfig { window_ms: Some(60_000), ..FloodConfig::new(to, ServerPin::Insecure) };
    let fresh = signed(&plan(100));
    let long = FloodConfig { duration: Some(Duration::from_secs(90)), ..base.clone() };
    let error = Flood::run(&fresh, &long, &mut |_| ()).unwrap_err();
    assert!(matches!(error, FloodError::Window { .. }), "{error}");
    assert!(error.to_string().contains("--rate"));
    let old = signed(&LoadPlan { timestamp_ms: Some(1_000), ..plan(100) });
    let error = Flood::run(&old, &base, &mut |_| ()).unwrap_err();
    assert!(matches!(error, FloodError::Stale { .. }), "{error}");
    // Planned moments carry their own timestamps, so a long flood is fine.
    let planned = signed(&LoadPlan { rate: Some(1), ..plan(200) });
    let open = FloodConfig { pace: Pace::Open { rate: 1 }, ..base };
    let error = Flood::run(&planned, &open, &mut |_| ()).unwrap_err();
    assert!(matches!(error, FloodError::Connect(_)), "{error}");
}
