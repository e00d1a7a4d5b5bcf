//! Agreement on the deterministic runtime: blocks with batches finalize in one order, whatever single nodes go through.
#![allow(clippy::unwrap_used)]

mod world;

use commonware_runtime::{Runner, deterministic};
use std::time::Duration;
use tana_consensus::{certificate, record::Record};
use world::{GENESIS, Plan, World, assert_one_chain, key_bytes};

fn runner(seed: u64) -> deterministic::Runner {
    let config = deterministic::Config::new().with_seed(seed).with_timeout(Some(Duration::from_secs(600)));
    deterministic::Runner::new(config)
}

#[test]
fn one_validator_is_its_own_quorum() {
    runner(1).start(|context| async move {
        let world = World::new(context, Plan::new(1_000, |_| vec![0]), 1).await;
        let node = world.start(0).await;
        for _ in 0..50 {
            node.replica.make_batch(10);
            world.sleep(5).await;
        }
        world.until("all batches are listed", 10, || node.replica.transactions() == 500).await;
        assert_eq!(node.replica.listed().len(), 50);
        assert!(node.replica.handle().status().voting);
    });
}

#[test]
fn four_validators_agree_on_blocks_with_batches() {
    runner(2).start(|context| async move {
        let world = World::new(context, Plan::new(1_000, |_| (0..4).collect()), 4).await;
        let mut nodes = Vec::new();
        for number in 0..4 {
            nodes.push(world.start(number).await);
        }
        for _ in 0..20 {
            for node in &nodes {
                node.replica.make_batch(5);
            }
            world.sleep(20).await;
        }
        for node in &nodes {
            world.until("all batches are listed", 20, || node.replica.transactions() == 400).await;
        }
        let replicas: Vec<_> = nodes.iter().map(|node| &node.replica).collect();
        assert_one_chain(&replicas);
        let mut listed = replicas[0].listed();
        assert_eq!(listed.len(), 80);
        listed.sort_unstable();
        listed.dedup();
        assert_eq!(listed.len(), 80, "no batch is listed twice");
        // Certificates are of these validators, of this chain, and of these blocks.
        let set: Vec<_> = (0..4).map(key_bytes).collect();
        let certified =
            replicas[1].blocks().into_iter().filter(|block| !block.certificate.is_empty()).collect::<Vec<_>>();
        assert!(!certified.is_empty());
        for block in certified {
            let checked = certificate::check(&GENESIS, &set, &block.certificate).unwrap();
            assert_eq!((checked.hash, checked.epoch, checked.view), (block.hash, 0, block.view));
            assert!(certificate::check(&[8; 32], &set, &block.certificate).is_none());
            assert!(certificate::check(&GENESIS, &set[1..], &block.certificate).is_none());
        }
    });
}

#[test]
fn an_idle_chain_makes_blocks_only_as_configured() {
    runner(3).start(|context| async move {
        let world = World::new(context, Plan::new(1_000, |_| (0..4).collect()), 4).await;
        let mut nodes = Vec::new();
        for number in 0..4 {
            nodes.push(world.start(number).await);
        }
        world.sleep(2_000).await;
        let before = nodes[0].replica.height();
        world.sleep(10_000).await;
        let made = nodes[0].replica.height() - before;
        assert!((40..=50).contains(&made), "{made} blocks in 10 seconds at an interval of 200 ms");
        assert_eq!(nodes[0].replica.handle().status().counts.views_nullified, 0);
    });
}

#[test]
fn three_of_four_go_on_and_the_fourth_catches_up() {
    runner(4).start(|context| async move {
        let world = World::new(context, Plan::new(1_000, |_| (0..4).collect()), 4).await;
        let mut nodes = Vec::new();
        for number in 0..3 {
            nodes.push(world.start(number).await);
        }
        for _ in 0..40 {
            for node in &nodes {
                node.replica.make_batch(3);
            }
            world.sleep(100).await;
        }
        for node in &nodes {
            world.until("three agree", 60, || node.replica.transactions() == 360).await;
        }
        let late = world.start(3).await;
        world.until("the fourth has all blocks", 60, || late.replica.transactions() == 360).await;
        late.replica.make_batch(7);
        world.until("the fourth's batch is listed", 60, || nodes[0].replica.transactions() == 367).await;
        assert_one_chain(&[&nodes[0].replica, &nodes[1].replica, &nodes[2].replica, &late.replica]);
    });
}

#[test]
fn a_node_goes_on_from_its_storage() {
    runner(5).start(|context| async move {
        let world = World::new(context, Plan::new(1_000, |_| (0..4).collect()), 4).await;
        let mut nodes = Vec::new();
        for number in 0..4 {
            nodes.push(world.start(number).await);
        }
        for round in 0..6 {
            for node in &nodes {
                node.replica.make_batch(2);
            }
            world.sleep(300).await;
            let crashed = nodes.remove(round % 4);
            let prefix = format!("node-{}", (round % 4));
            let replica = crashed.crash().await;
            world.sleep(700).await;
            let node = world.start_on(replica, &prefix).await;
            assert!(node.replica.handle().status().reason.is_empty());
            nodes.insert(round % 4, node);
        }
        for node in &nodes {
            world.until("all agree", 60, || node.replica.transactions() == 48).await;
            world.until("all vote", 10, || node.replica.handle().status().voting).await;
        }
        let replicas: Vec<_> = nodes.iter().map(|node| &node.replica).collect();
        assert_one_chain(&replicas);
    });
}

#[test]
fn the_whole_network_goes_on_from_its_storage() {
    runner(6).start(|context| async move {
        let world = World::new(context, Plan::new(20, |_| (0..4).collect()), 4).await;
        let mut replicas = Vec::new();
        for number in 0..4 {
            replicas.push(world::Replica::new(number, world.plan.clone()));
        }
        let mut heights = Vec::new();
        for _ in 0..4 {
            let mut nodes = Vec::new();
            for (number, replica) in replicas.drain(..).enumerate() {
                nodes.push(world.start_on(replica, &format!("node-{number}")).await);
            }
            let before = nodes[0].replica.height();
            world.until("blocks are made", 30, || nodes[0].replica.height() > before + 15).await;
            heights.push(nodes[0].replica.height());
            for node in nodes {
                replicas.push(node.crash().await);
            }
        }
        assert!(heights.is_sorted());
        assert_one_chain(&replicas.iter().collect::<Vec<_>>());
    });
}

#[test]
fn validators_change_at_the_boundary_of_an_epoch() {
    // Validator 4 joins in epoch 2, validator 0 leaves in epoch 4 and comes back in epoch 6.
    let schedule = |epoch: u64| match epoch {
        0 | 1 => vec![0, 1, 2, 3],
        2 | 3 => vec![0, 1, 2, 3, 4],
        4 | 5 => vec![4, 3, 2, 1],
        _ => vec![0, 1, 2, 3, 4],
    };
    runner(7).start(move |context| async move {
        let world = World::new(context, Plan::new(12, schedule), 5).await;
        let mut nodes = Vec::new();
        for number in 0..5 {
            nodes.push(world.start(number).await);
        }
        for round in 0..150 {
            for (number, node) in nodes.iter().enumerate() {
                // Whoever is in the set of the epoch that its node is in makes batches.
                let epoch = node.replica.height() / 12;
                if round % 5 == 0 && schedule(epoch).contains(&number) {
                    node.replica.make_batch(1);
                }
            }
            world.sleep(100).await;
        }
        world.until("seven epochs pass", 60, || nodes.iter().all(|node| node.replica.height() > 84)).await;
        let replicas: Vec<_> = nodes.iter().map(|node| &node.replica).collect();
        assert_one_chain(&replicas);
        for height in 1..=84 {
            let header = world::header(replicas[1], height);
            let members: Vec<_> = schedule(header.epoch).into_iter().map(key_bytes).collect();
            assert!(members.contains(&header.proposer), "height {height}");
        }
        for node in &nodes {
            world.until("all vote again", 10, || node.replica.handle().status().voting).await;
        }
    });
}

#[test]
fn what_was_not_listed_before_a_validator_left_is_listed_when_it_is_back() {
    // Validator 3 is away for two epochs, or for one, of which the set after it is known when it begins.
    for (seed, back) in [(11, 4), (12, 3)] {
        let schedule =
            move |epoch: u64| if epoch == 2 || (3..back).contains(&epoch) { vec![0, 1, 2] } else { vec![0, 1, 2, 3] };
        runner(seed).start(move |context| async move {
            let world = World::new(context, Plan::new(12, schedule), 4).await;
            let mut nodes = Vec::new();
            for number in 0..4 {
                nodes.push(world.start(number).await);
            }
            let leaver = &nodes[3].replica;
            leaver.make_batch(2);
            world.until("its first batch is listed", 30, || leaver.listed_of(3).len() == 2).await;
            world.until("it is a validator's last epoch", 60, || leaver.height() > 12).await;
            for other in 0..3 {
                world.unlink(3, other).await;
                world.unlink(other, 3).await;
            }
            leaver.make_batch(3);
            leaver.make_batch(4);
            world.until("it has left", 60, || nodes[0].replica.height() > 25).await;
            assert_eq!(nodes[0].replica.listed_of(3).len(), 2, "nobody has its last batches");
            for other in 0..3 {
                world.link(3, other, 3).await;
                world.link(other, 3, 3).await;
            }
            let all = || nodes.iter().all(|node| node.replica.listed_of(3).len() == 9);
            world.until("it is back, and its batches are listed", 120, all).await;
            let mut ids = nodes[0].replica.listed_of(3);
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 9, "each once");
            assert!(nodes[0].replica.height() > 12 * back, "not before");
            assert_one_chain(&nodes.iter().map(|node| &node.replica).collect::<Vec<_>>());
        });
    }
}

#[test]
fn a_lost_journal_keeps_a_validator_from_voting() {
    runner(8).start(|context| async move {
        let world = World::new(context, Plan::new(1_000, |_| (0..4).collect()), 4).await;
        let mut nodes = Vec::new();
        for number in 0..4 {
            nodes.push(world.start(number).await);
        }
        world.until("blocks are made", 30, || nodes[3].replica.height() > 5).await;
        let replica = nodes.remove(3).crash().await;
        // The same host, but agreement's storage begins anew.
        let node = world.start_on(replica, "another").await;
        world.sleep(100).await;
        let status = node.replica.handle().status();
        assert!(!status.voting && status.reason.contains("missing"), "{status:?}");
        let before = node.replica.height();
        world.until("it follows", 30, || node.replica.height() > before + 5).await;
        // It stays so after another start with that storage, and also without any record outside.
        let replica = node.crash().await;
        replica.forget_record();
        let node = world.start_on(replica, "another").await;
        world.sleep(100).await;
        assert!(!node.replica.handle().status().voting);
    });
}

#[test]
fn a_key_that_was_just_made_votes_wherever_the_chain_stands() {
    runner(9).start(|context| async move {
        let world = World::new(context, Plan::new(1_000, |_| (0..4).collect()), 4).await;
        let mut nodes = Vec::new();
        for number in 0..3 {
            nodes.push(world.start(number).await);
        }
        world.until("blocks are made", 30, || nodes[0].replica.height() > 5).await;
        let late = world::Replica::new(3, world.plan.clone());
        late.forget_record();
        let late = world.start_on(late, "node-3").await;
        world.until("it follows", 30, || late.replica.height() > 5).await;
        let status = late.replica.handle().status();
        assert!(!status.voting && status.reason.contains("voting record"), "{status:?}");
        let late = late.crash().await;
        assert!(!late.has_record(), "a start makes no record of its own");
        late.set_record(Record::default().encode());
        let late = world.start_on(late, "node-3").await;
        world.until("it votes", 30, || late.replica.handle().status().voting).await;
    });
}

#[test]
fn a_seed_replays_the_same_run() {
    let run = |seed: u64| {
        let runner = runner(seed);
        runner.start(|context| async move {
            let world = World::new(context.child("world"), Plan::new(15, |_| (0..4).collect()), 4).await;
            let mut nodes = Vec::new();
            for number in 0..4 {
                nodes.push(world.start(number).await);
            }
            for _ in 0..10 {
                for node in &nodes {
                    node.replica.make_batch(4);
                }
                world.sleep(150).await;
            }
            (context.auditor().state(), nodes[0].replica.hashes())
        })
    };
    use commonware_runtime::Supervisor as _;
    let (first, again, other) = (run(10), run(10), run(11));
    assert!(!first.1.is_empty());
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
}
