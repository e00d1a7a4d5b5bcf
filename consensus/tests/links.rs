//! Agreement as a validator runs it: threads, files, and links over loopback.
#![allow(clippy::unwrap_used)]

mod world;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tana_consensus::{Consensus, ConsensusConfig};
use tana_lane::LaneLimits;
use tana_net::link::LinkLimits;
use world::{GENESIS, Plan, Replica, assert_one_chain, key};

/// The longest that a test waits; it ends as soon as what it waits for is there.
const PATIENCE: Duration = Duration::from_secs(60);

fn free_ports(count: usize) -> Vec<SocketAddr> {
    // All sockets are open at once, so that no port comes twice.
    let sockets: Vec<_> = (0..count).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    sockets.iter().map(|socket| socket.local_addr().unwrap()).collect()
}

struct Running {
    replica: Arc<Replica>,
    consensus: Consensus,
    worker: std::thread::JoinHandle<()>,
}

fn start(replica: Arc<Replica>, number: usize, ports: &[SocketAddr], folder: &std::path::Path) -> Running {
    let plan = replica.plan();
    let start = replica.chain_start();
    let config = ConsensusConfig {
        key: key(number),
        genesis_hash: GENESIS,
        rules: plan.rules.clone(),
        lanes: LaneLimits::default(),
        listen: ports[number],
        links: LinkLimits::default(),
        trouble: None,
        leader_timeout: Duration::from_secs(1),
        keep_heights: 0,
        folder: folder.join(format!("{number}/consensus")),
        record: folder.join(format!("{number}/voted")),
        workers: 1,
    };
    if !config.record.exists() {
        tana_consensus::FileRecord::create(&config.record).unwrap();
    }
    let consensus = Consensus::start(config, start, replica.clone()).unwrap();
    let handle = consensus.handle();
    replica.set_events(move |event| handle.send(event));
    replica.tell_held();
    let there = replica.clone();
    let worker = std::thread::spawn(move || {
        while !there.is_stopped() {
            there.do_work();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    Running { replica, consensus, worker }
}

fn stop(running: Running) -> Arc<Replica> {
    running.replica.stop();
    running.consensus.stop();
    running.worker.join().unwrap();
    running.replica.reset();
    running.replica
}

/// Waits until `reached` holds for all; a failure tells how every node stands.
fn all(nodes: &[Running], what: &str, reached: impl Fn(&Running) -> bool) {
    let begun = Instant::now();
    while !nodes.iter().all(&reached) {
        if begun.elapsed() >= PATIENCE {
            let stand = |node: &Running| {
                let (height, transactions) = (node.replica.height(), node.replica.transactions());
                format!("height {height}, {transactions} transactions, {:?}", node.consensus.handle().status())
            };
            panic!("not in time: {what}\n{}", nodes.iter().map(stand).collect::<Vec<_>>().join("\n"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn four_validators_agree_over_links_and_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let ports = free_ports(4);
    let addresses: Vec<String> = ports.iter().map(SocketAddr::to_string).collect();
    let mut plan = Plan::new(25, |_| (0..4).collect());
    plan.address = Arc::new(move |number| addresses[number].clone());
    let mut nodes: Vec<_> =
        (0..4).map(|number| start(Replica::new(number, plan.clone()), number, &ports, folder.path())).collect();
    for _ in 0..10 {
        for node in &nodes {
            node.replica.make_batch(5);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    all(&nodes, "all batches are listed", |node| node.replica.transactions() == 200);
    let status = nodes[0].consensus.handle().status();
    assert!(status.voting && status.failure.is_none(), "{status:?}");
    assert_eq!(status.peers.iter().filter(|peer| peer.connected).count(), 3);

    let replica = stop(nodes.remove(3));
    nodes[0].replica.make_batch(5);
    all(&nodes, "three go on", |node| node.replica.transactions() == 205);
    nodes.push(start(replica, 3, &ports, folder.path()));
    all(&nodes, "the fourth catches up", |node| node.replica.transactions() == 205);
    all(&nodes, "and votes", |node| node.consensus.handle().status().voting);
    nodes[3].replica.make_batch(5);
    all(&nodes, "its batch is listed", |node| node.replica.transactions() == 210);
    all(&nodes, "two epochs pass", |node| node.replica.height() > 50);
    let replicas: Vec<_> = nodes.into_iter().map(stop).collect();
    assert_one_chain(&replicas.iter().collect::<Vec<_>>());
}
