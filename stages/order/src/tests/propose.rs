//! When and what a leader proposes.

use tana_lane::HeldBatch;

use super::support::*;
use crate::*;

fn ask(node: &Node, parent: tana_types::Hash, ms: u64) -> Proposal {
    node.chain.propose(parent, node.key, 0, now(ms), &node.book)
}

#[test]
fn only_what_enough_validators_hold_is_proposed() {
    let mut nodes = nodes(4, &rules());
    let one = batch(key(0), 1);
    nodes[0].book.held(one.clone());
    nodes[1].book.held(one.clone());
    tell_marks(&mut nodes);
    assert_eq!(nodes[0].book.count_holding(&key(0), 1), 2);
    assert_eq!(ask(&nodes[0], GENESIS, 20), Proposal::WaitUntil(START_MS + 500));
    nodes[2].book.held(one.clone());
    tell_marks(&mut nodes);
    assert_eq!(nodes[0].propose(GENESIS, 20).batch_count(), 1);
    // Whoever does not hold it itself does not propose it, though three others do.
    assert_eq!(ask(&nodes[3], GENESIS, 20), Proposal::WaitUntil(START_MS + 500));
}

#[test]
fn a_lone_validator_is_its_own_quorum() {
    let mut nodes = nodes(1, &rules());
    nodes[0].book.held(batch(key(0), 1));
    assert_eq!(nodes[0].propose(GENESIS, 10).transaction_count, 10);
}

#[test]
fn blocks_come_at_their_size_at_the_interval_or_when_idle() {
    let mut nodes = nodes(4, &rules());
    share(&mut nodes, &[batch(key(0), 1)]);
    assert_eq!(ask(&nodes[0], GENESIS, 9), Proposal::WaitUntil(START_MS + 10));
    let full: Vec<_> = (1..=11).map(|sequence| batch(key(0), sequence)).collect();
    share(&mut nodes, &full);
    let first = nodes[0].propose(GENESIS, 0);
    assert_eq!((first.transaction_count, first.timestamp_ms), (100, START_MS + 1), "full, so at once");
    assert!(first.hash() == nodes[1].commit(&first, 3));
    let second = match ask(&nodes[1], first.hash(), 10) {
        Proposal::WaitUntil(at) if at == START_MS + 11 => nodes[1].propose(first.hash(), 11),
        other => panic!("{other:?}"),
    };
    assert_eq!((second.transaction_count, second.executed_height), (10, 1));
    nodes[1].commit(&second, 11);
    // Nothing waits; the root of height 2 is worth a block, its own root is not.
    let third = nodes[1].propose(second.hash(), 21);
    assert_eq!((third.transaction_count, third.executed_height), (0, 2));
    nodes[1].commit(&third, 21);
    assert_eq!(ask(&nodes[1], third.hash(), 31), Proposal::WaitUntil(START_MS + 521));
    assert_eq!(nodes[1].propose(third.hash(), 521).executed_height, 3);
}

#[test]
fn a_busy_chain_gathers_longer_for_its_blocks() {
    let mut nodes = nodes(4, &ChainRules { gather_ns_per_transaction: 500_000, ..rules() });
    share(&mut nodes, &(1..=8).map(|sequence| batch(key(0), sequence)).collect::<Vec<_>>());
    let first = nodes[0].propose(GENESIS, 10);
    assert_eq!((first.transaction_count, first.timestamp_ms), (80, START_MS + 10));
    nodes[0].commit(&first, 10);
    share(&mut nodes, &[batch(key(0), 9)]);
    assert_eq!(
        ask(&nodes[0], first.hash(), 10),
        Proposal::WaitUntil(START_MS + 50),
        "80 times 0.5 ms behind the parent"
    );
    // Large blocks weigh a while, and what is not executed counts.
    let second = nodes[0].propose(first.hash(), 50);
    nodes[0].commit(&second, 50);
    share(&mut nodes, &(10..=16).map(|sequence| batch(key(0), sequence)).collect::<Vec<_>>());
    assert_eq!(ask(&nodes[0], second.hash(), 50), Proposal::WaitUntil(START_MS + 80), "three quarters of 80");
    let third = nodes[0].propose(second.hash(), 80);
    assert_eq!(third.transaction_count, 70);
    nodes[0].finalize(&third, 80);
    share(&mut nodes, &(17..=21).map(|sequence| batch(key(0), sequence)).collect::<Vec<_>>());
    let fourth = nodes[0].propose(third.hash(), 115);
    assert_eq!(fourth.transaction_count, 50);
    nodes[0].finalize(&fourth, 115);
    share(&mut nodes, &[batch(key(0), 22)]);
    assert_eq!(
        ask(&nodes[0], fourth.hash(), 115),
        Proposal::WaitUntil(START_MS + 165),
        "120 that are not executed, but no more than a full block"
    );
    nodes[0].execute(third.height);
    nodes[0].execute(fourth.height);
    assert_eq!(ask(&nodes[0], fourth.hash(), 115), Proposal::WaitUntil(START_MS + 141), "three quarters of 70");
    // Full is full.
    share(&mut nodes, &(23..=33).map(|sequence| batch(key(0), sequence)).collect::<Vec<_>>());
    assert_eq!(nodes[0].propose(fourth.hash(), 116).transaction_count, 100);
    // Never so long that the others give the leader up.
    let mut slow = self::nodes(1, &ChainRules { gather_ns_per_transaction: 1 << 40, ..rules() });
    slow[0].book.held(batch(key(0), 1));
    let first = slow[0].propose(GENESIS, 10);
    slow[0].commit(&first, 10);
    slow[0].book.held(batch(key(0), 2));
    assert_eq!(ask(&slow[0], first.hash(), 10), Proposal::WaitUntil(START_MS + 10 + GATHER_MS_MAX));
}

#[test]
fn a_root_is_not_named_twice_for_nothing() {
    let mut nodes = nodes(4, &rules());
    share(&mut nodes, &[batch(key(0), 1)]);
    let first = nodes[0].propose(GENESIS, 10);
    let hash = nodes[0].insert(&first, 10);
    // Not final yet: a block on top of it helps.
    assert_eq!(nodes[0].propose(hash, 20).executed_height, 0);
    nodes[0].chain.finalize(&hash).unwrap();
    assert_eq!(ask(&nodes[0], hash, 20), Proposal::WaitUntil(START_MS + 510), "final, but not executed");
    nodes[0].execute(1);
    assert_eq!(nodes[0].propose(hash, 20).executed_height, 1);
}

#[test]
fn a_parent_from_a_fast_clock_does_not_hold_the_next_leader_back() {
    let mut nodes = nodes(4, &rules());
    let mut first = nodes[0].propose(GENESIS, 500);
    first.timestamp_ms += 400;
    nodes[1].commit(&first, 510);
    share(&mut nodes, &[batch(key(0), 1)]);
    let second = nodes[1].propose(first.hash(), 520);
    assert_eq!(second.timestamp_ms, first.timestamp_ms + 1);
    // A clock that was set back by hours does not stop the chain either.
    assert_eq!(nodes[1].propose(first.hash(), 0).timestamp_ms, first.timestamp_ms + 1);
}

#[test]
fn lanes_take_turns_and_order_within_a_lane_is_kept() {
    let mut nodes = nodes(4, &rules());
    let batches: Vec<HeldBatch> =
        keys(4).into_iter().flat_map(|author| (1..=9).map(move |sequence| batch(author, sequence))).collect();
    share(&mut nodes, &batches);
    let first = nodes[0].propose(GENESIS, 0);
    let counts = |header: &tana_types::header::BlockHeader| {
        header.lanes.iter().map(|lane| lane.digests.len()).collect::<Vec<_>>()
    };
    // Ten batches have room: two each, and two more from the lanes that are first in turn at height 1.
    assert_eq!(counts(&first), [2, 3, 3, 2]);
    nodes[0].commit(&first, 0);
    let second = nodes[0].propose(first.hash(), 0);
    assert_eq!(counts(&second), [2, 2, 3, 3]);
    assert_eq!(second.lanes[1].first_sequence, 4);
    assert!(first.batches().zip(first.batches().skip(1)).all(|(left, right)| left < right));
}

#[test]
fn a_batch_that_no_block_has_room_for_holds_up_its_own_lane_alone() {
    let mut nodes = nodes(4, &ChainRules { block_transactions_max: 20, block_transactions: 20, ..rules() });
    let mut batches: Vec<HeldBatch> = keys(4).into_iter().map(|author| batch(author, 1)).collect();
    batches[1].transactions = 21;
    share(&mut nodes, &batches);
    let first = nodes[0].propose(GENESIS, 0);
    assert_eq!(first.lanes.iter().map(|lane| lane.lane).collect::<Vec<_>>(), [2, 3]);
    let parent = nodes[0].commit(&first, 0);
    let second = nodes[0].propose(parent, 10);
    assert_eq!(second.lanes.iter().map(|lane| lane.lane).collect::<Vec<_>>(), [0]);
}

#[test]
fn when_execution_lags_blocks_are_empty() {
    let mut nodes = nodes(1, &ChainRules { lag_blocks_max: 2, ..rules() });
    let batches: Vec<_> = (1..=60).map(|sequence| batch(key(0), sequence)).collect();
    share(&mut nodes, &batches);
    let node = &mut nodes[0];
    let mut parent = GENESIS;
    for expected in [100, 100] {
        let header = node.propose(parent, 0);
        assert_eq!(header.transaction_count, expected);
        parent = node.finalize(&header, 0);
    }
    assert!(matches!(ask(node, parent, 0), Proposal::WaitUntil(_)));
    assert_eq!(node.propose(parent, 600).transaction_count, 0);
    node.execute(1);
    assert_eq!(node.propose(parent, 600).transaction_count, 100);
}

#[test]
fn an_expired_lane_goes_on_by_withdrawing() {
    let mut nodes = nodes(4, &rules());
    let old: Vec<_> = (1..=3).map(|sequence| HeldBatch { expiry_height: 5, ..batch(key(0), sequence) }).collect();
    // Only two hold them, so nobody proposes them while they live.
    nodes[..2].iter_mut().for_each(|node| old.iter().for_each(|batch| node.book.held(batch.clone())));
    tell_marks(&mut nodes);
    let mut parent = GENESIS;
    for height in 1..=5 {
        assert!(!nodes[0].book.own_expired(height - 1), "height {height} may still list them");
        let header = nodes[0].propose(parent, height * 600);
        assert_eq!(header.batch_count(), 0);
        nodes.iter_mut().for_each(|node| parent = node.commit(&header, height * 600));
    }
    assert!(nodes[0].book.own_expired(5));
    share(&mut nodes, &[batch(key(0), 4)]);
    assert!(nodes[0].book.own_expired(5), "number 4 alone does not help");
    let sealed_again = HeldBatch { skipped: 4, ..batch(key(0), 5) };
    share(&mut nodes, &[sealed_again.clone(), batch(key(0), 6)]);
    assert!(!nodes[0].book.own_expired(5));
    let header = nodes[2].propose(parent, 6_000);
    assert_eq!(header.lanes[0].digests, [sealed_again.digest, batch(key(0), 6).digest]);
    assert_eq!(nodes[3].verify(&header, 6_000), Verdict::Valid);
    let hash = nodes[3].commit(&header, 6_000);
    assert_eq!(nodes[3].chain.marks(&hash).unwrap()[&key(0)], 6);
}

#[test]
fn who_has_not_executed_what_the_parent_attests_names_it_again() {
    let mut nodes = nodes(4, &rules());
    let first = nodes[0].propose(GENESIS, 600);
    nodes[0].commit(&first, 600);
    let second = nodes[0].propose(first.hash(), 1_200);
    assert_eq!(second.executed_height, 1);
    nodes[1].finalize(&first, 600);
    nodes[1].insert(&second, 1_200);
    let third = nodes[1].propose(second.hash(), 1_800);
    assert_eq!((third.executed_height, third.state_root), (1, roots(1).state_root));
}
