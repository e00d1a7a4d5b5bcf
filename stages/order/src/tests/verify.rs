//! Every rule of validity, broken on its own.

use tana_lane::HeldBatch;
use tana_types::header::BlockHeader;

use super::support::*;
use crate::*;

/// Four validators that hold batches 1 and 2 of everybody, at height 2 behind an empty block; and a good block at height 2.
fn scene() -> (Vec<Node>, BlockHeader) {
    let mut nodes = nodes(4, &rules());
    let first = nodes[1].propose(GENESIS, 600);
    assert_eq!(first.lanes, []);
    for node in &mut nodes {
        node.commit(&first, 600);
    }
    let batches: Vec<HeldBatch> = keys(4).into_iter().flat_map(|author| [batch(author, 1), batch(author, 2)]).collect();
    share(&mut nodes, &batches);
    let header = nodes[2].propose(first.hash(), 700);
    assert_eq!((header.batch_count(), header.transaction_count, header.executed_height), (8, 80, 1));
    assert_eq!(nodes[0].verify(&header, 700), Verdict::Valid);
    (nodes, header)
}

/// What node 0 says of the good block after `change`.
fn changed(change: impl FnOnce(&mut BlockHeader)) -> Verdict {
    let (nodes, mut header) = scene();
    change(&mut header);
    nodes[0].chain.verify(&header, &key(2), now(700), &nodes[0].book)
}

/// What node 0 says of a block that lists these batches, everything else being right.
fn listing(lists: &[(u16, &[HeldBatch])]) -> Verdict {
    let (mut nodes, mut header) = scene();
    header.lanes.clear();
    let mut ids = Vec::new();
    for (lane, batches) in lists {
        let digests = batches.iter().map(|batch| batch.digest).collect();
        let first_sequence = batches[0].sequence;
        header.lanes.push(tana_types::header::LaneBatches { lane: *lane, first_sequence, digests });
        for batch in *batches {
            nodes[0].book.held(batch.clone());
            ids.extend_from_slice(&batch.ids);
        }
    }
    header.transaction_count = lists.iter().flat_map(|list| list.1).map(|batch| batch.transactions).sum();
    header.transaction_root = tana_execute::transaction_root(&ids);
    nodes[0].verify(&header, 700)
}

fn is_invalid(verdict: Verdict, about: &str) {
    match verdict {
        Verdict::Invalid(rule) => assert!(rule.contains(about), "said `{rule}`, not something about `{about}`"),
        other => panic!("{other:?} instead of invalid about {about}"),
    }
}

#[test]
fn what_the_header_says_of_itself_and_its_parent() {
    is_invalid(changed(|header| header.epoch = 1), "epoch");
    is_invalid(changed(|header| header.proposer = key(3)), "leader");
    is_invalid(changed(|header| header.height = 3), "height");
    is_invalid(changed(|header| header.timestamp_ms = START_MS + 600), "timestamp");
    assert_eq!(changed(|header| header.parent = [9; 32]), Verdict::WaitParent);
    is_invalid(changed(|header| header.height = 1), "finalized");
    assert_eq!(changed(|header| header.timestamp_ms = START_MS + 1_200), Verdict::Valid);
    assert_eq!(changed(|header| header.timestamp_ms = START_MS + 1_201), Verdict::WaitClock(START_MS + 701));
}

#[test]
fn a_question_about_a_finalized_height_has_one_right_answer() {
    let (mut nodes, header) = scene();
    nodes[0].commit(&header, 700);
    assert_eq!(nodes[0].verify(&header, 700), Verdict::Valid);
    let mut other = header.clone();
    other.timestamp_ms += 1;
    is_invalid(nodes[0].verify(&other, 700), "another block is finalized");
}

#[test]
fn what_is_attested() {
    assert_eq!(changed(|header| (header.executed_height, header.state_root) = (0, roots(0).state_root)), {
        Verdict::Invalid("the receipts root is not the one computed here")
    });
    is_invalid(changed(|header| header.state_root[0] ^= 1), "state root");
    is_invalid(changed(|header| header.receipts_root[0] ^= 1), "receipts root");
    is_invalid(changed(|header| header.validator_set_hash[0] ^= 1), "validator-set");
    is_invalid(changed(|header| header.executed_height = 2), "executed height");
    // Not below the parent's, and a height that is not executed here yet is waited for.
    let (mut nodes, header) = scene();
    let mut next = header.clone();
    let parent = nodes[0].insert(&header, 700);
    (next.height, next.parent, next.timestamp_ms, next.lanes) = (3, parent, header.timestamp_ms + 1, vec![]);
    (next.transaction_count, next.transaction_root) = (0, tana_execute::transaction_root(&[]));
    assert_eq!(nodes[0].verify(&next, 700), Verdict::Valid);
    next.executed_height = 2;
    assert_eq!(nodes[0].verify(&next, 700), Verdict::WaitExecuted(2));
    next.executed_height = 0;
    is_invalid(nodes[0].verify(&next, 700), "below the parent's");
}

#[test]
fn what_is_counted() {
    is_invalid(changed(|header| header.transaction_count += 1), "transaction count");
    is_invalid(changed(|header| header.transaction_root[0] ^= 1), "transaction root");
    let many = |changes: fn(&mut HeldBatch)| {
        let batches: Vec<_> = (1..=40).map(|sequence| batch(key(0), sequence)).collect();
        let batches = batches.into_iter().map(|mut batch| {
            batch.digest[0] ^= 1;
            changes(&mut batch);
            batch
        });
        listing(&[(0, &batches.collect::<Vec<_>>())])
    };
    assert_eq!(many(|_| ()), Verdict::Valid);
    is_invalid(many(|batch| batch.transactions = 4_096), "more transactions");
    is_invalid(many(|batch| batch.bytes = 1 << 20), "more bytes");
}

#[test]
fn missing_batches_are_waited_for_and_named() {
    let (nodes, header) = scene();
    let mut late = Node::new(3, &keys(4), rules());
    let parent = nodes[0].chain.header(&header.parent).unwrap();
    late.commit(parent, 600);
    let all: Vec<_> = header.batches().map(|(_, _, digest)| *digest).collect();
    assert_eq!(late.verify(&header, 700), Verdict::WaitBatches(all.clone()));
    late.book.held(batch(key(0), 2));
    assert_eq!(late.verify(&header, 700), Verdict::WaitBatches([&all[..1], &all[2..]].concat()));
    for author in keys(4) {
        (1..=2).for_each(|sequence| late.book.held(batch(author, sequence)));
    }
    assert_eq!(late.verify(&header, 700), Verdict::Valid);
}

#[test]
fn lanes_are_those_of_the_set_and_hold_their_own_batches() {
    is_invalid(changed(|header| header.lanes[3].lane = 4), "no author");
    is_invalid(changed(|header| header.lanes[1].lane = 0), "ascending");
    is_invalid(changed(|header| header.lanes[0].digests.clear()), "empty");
    is_invalid(changed(|header| header.lanes[0].digests.swap(0, 1)), "own");
    is_invalid(
        changed(|header| {
            (header.lanes[0].digests[0], header.lanes[1].digests[0]) =
                (header.lanes[1].digests[0], header.lanes[0].digests[0])
        }),
        "own",
    );
    is_invalid(changed(|header| header.lanes[0].digests[1] = header.lanes[0].digests[0]), "twice");
}

#[test]
fn lanes_go_on_behind_their_marks() {
    assert_eq!(listing(&[(0, &[batch(key(0), 1)]), (2, &[batch(key(2), 1)])]), Verdict::Valid);
    is_invalid(listing(&[(0, &[batch(key(0), 2)])]), "leaves out");
    let mut skipping = HeldBatch { skipped: 1, ..batch(key(0), 3) };
    is_invalid(listing(&[(0, &[skipping.clone()])]), "leaves out");
    skipping.skipped = 2;
    assert_eq!(listing(&[(0, &[skipping.clone()])]), Verdict::Valid);
    assert_eq!(listing(&[(0, &[skipping.clone(), batch(key(0), 4)])]), Verdict::Valid);
    // Only the first of a lane may leave others out; a header cannot even say so of a later one.
    is_invalid(listing(&[(0, &[batch(key(0), 1), skipping])]), "own");
    // Listed before on the branch, whether final or not.
    let (mut nodes, header) = scene();
    for final_too in [false, true] {
        if final_too {
            nodes[0].chain.finalize(&header.hash()).unwrap();
        } else {
            nodes[0].insert(&header, 700);
        }
        let mut again = header.clone();
        (again.height, again.parent, again.timestamp_ms) = (3, header.hash(), header.timestamp_ms + 1);
        is_invalid(nodes[0].verify(&again, 700), "listed before");
    }
}

#[test]
fn batches_are_of_no_later_epoch_and_within_their_expiry() {
    let one = |change: fn(&mut HeldBatch)| {
        let mut batch = batch(key(1), 1);
        batch.digest[0] ^= 1;
        change(&mut batch);
        listing(&[(1, &[batch])])
    };
    assert_eq!(one(|batch| batch.expiry_height = 2), Verdict::Valid);
    is_invalid(one(|batch| batch.expiry_height = 1), "expired");
    assert_eq!(one(|batch| batch.expiry_height = 1_002), Verdict::Valid);
    is_invalid(one(|batch| batch.expiry_height = 1_003), "expires later");
    is_invalid(one(|batch| batch.epoch = 1), "later epoch");
}

#[test]
fn blocks_are_finalized_one_by_one_and_dead_branches_go() {
    let (mut nodes, header) = scene();
    let node = &mut nodes[0];
    let mut other = header.clone();
    other.timestamp_ms += 5;
    let hash = node.insert(&header, 700);
    let dead = node.insert(&other, 700);
    let mut child =
        BlockHeader { height: 3, parent: hash, timestamp_ms: header.timestamp_ms + 9, lanes: vec![], ..header.clone() };
    let child_hash = node.insert(&child, 700);
    child.parent = dead;
    let dead_child = node.insert(&child, 700);
    assert_eq!(node.chain.finalize(&child_hash).unwrap_err(), FinalizeError::NotNext { height: 3, tip: 1 });
    assert_eq!(node.chain.finalize(&[9; 32]).unwrap_err(), FinalizeError::Unknown);
    let finalized = node.chain.finalize(&hash).unwrap();
    assert_eq!(finalized.marks, keys(4).into_iter().map(|author| (author, 2)).collect());
    assert!(node.chain.contains(&child_hash) && !node.chain.contains(&dead) && !node.chain.contains(&dead_child));
    assert_eq!(node.chain.insert(child, dead_child, now(700)), Inserted::WaitParent);
    assert_eq!(node.chain.branch_blocks(), 1);
}
