//! Whole nodes that agree over their links on this machine: one alone, and several of which one goes and comes back.

#![allow(clippy::unwrap_used)]

#[path = "agreed/chain.rs"]
mod chain;

use std::net::UdpSocket;

use chain::{applied, no_failure, send, set_up, wait};
use tana_engine::config::NodeConfig;
use tana_engine::node::Node;
use tana_engine::verify_log::verify_log_and_certificates;
use tana_types::genesis::Genesis;

/// Ports that are free at this moment.
fn ports(count: usize) -> Vec<u16> {
    let sockets: Vec<UdpSocket> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect()
}

fn start(config: &NodeConfig) -> Node {
    Node::start(config, &|_, _, _| {}).unwrap()
}

/// Waits until all nodes have applied so much and stand at one state root.
fn converge(nodes: &[&Node], transactions: u64) {
    for node in nodes {
        wait("all transfers", || {
            no_failure(node);
            applied(node) == transactions
        });
    }
    wait("one state root at one height", || {
        let heads: Vec<_> = nodes.iter().map(|node| node.published().head()).collect();
        heads.iter().all(|head| *head == heads[0])
    });
}

#[test]
fn one_validator_agrees_with_itself_and_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let configs = set_up(folder.path(), &ports(1));
    let genesis = Genesis::load(&configs[0].genesis).unwrap();
    let node = start(&configs[0]);
    send(&node, &genesis, 0, 0..20, 1..11);
    converge(&[&node], 200);
    node.stop().unwrap();
    let mut alone = configs[0].clone();
    alone.consensus.enabled = false;
    let refused = Node::start(&alone, &|_, _, _| {}).err().unwrap().to_string();
    assert!(refused.contains("consensus.enabled"), "{refused}");
    let node = start(&configs[0]);
    send(&node, &genesis, 0, 0..20, 11..21);
    converge(&[&node], 400);
    // A stop leaves no block half-way, however many empty ones come meanwhile.
    let published = node.published().clone();
    node.stop().unwrap();
    assert!(published.has_run_dry());
    let report = verify_log_and_certificates(&configs[0].data, &genesis, &|_, _, _| {}).unwrap();
    assert_eq!((report.last_block, report.committed_blocks), (published.head().0, published.head().0));
    assert_eq!(report.applied, 400);
    assert!(report.certificates > 0);
}

#[test]
fn four_validators_agree_and_one_that_was_away_catches_up() {
    let folder = tempfile::tempdir().unwrap();
    let configs = set_up(folder.path(), &ports(4));
    let genesis = Genesis::load(&configs[0].genesis).unwrap();
    let mut nodes: Vec<Option<Node>> = configs.iter().map(|config| Some(start(config))).collect();
    for (number, node) in (0u8..).zip(&nodes) {
        let first = 15 * u32::from(number);
        send(node.as_ref().unwrap(), &genesis, number, first..first + 15, 1..6);
    }
    let all = |nodes: &[Option<Node>], transactions| {
        let running: Vec<&Node> = nodes.iter().flatten().collect();
        converge(&running, transactions);
    };
    all(&nodes, 300);
    nodes[3].take().unwrap().stop().unwrap();
    send(nodes[0].as_ref().unwrap(), &genesis, 0, 0..15, 6..16);
    send(nodes[1].as_ref().unwrap(), &genesis, 1, 15..30, 6..16);
    all(&nodes, 600);
    nodes[3] = Some(start(&configs[3]));
    all(&nodes, 600);
    send(nodes[3].as_ref().unwrap(), &genesis, 3, 45..60, 6..11);
    all(&nodes, 675);
    for node in nodes.into_iter().flatten() {
        node.stop().unwrap();
    }
    for config in &configs {
        assert_eq!(verify_log_and_certificates(&config.data, &genesis, &|_, _, _| {}).unwrap().applied, 675);
    }
}
