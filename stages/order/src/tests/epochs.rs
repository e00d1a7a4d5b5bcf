//! Epochs: what their last blocks attest, when a set is known, and how marks follow authors.

use tana_lane::HeldBatch;
use tana_types::Hash;
use tana_types::header::BlockHeader;

use super::support::*;
use crate::*;

fn short() -> ChainRules {
    ChainRules { epoch_blocks: 4, batch_expiry_blocks: 1_000, ..rules() }
}

/// The next block of `node` on its tip, however late it has to be.
fn next(node: &Node) -> BlockHeader {
    let (height, tip) = node.chain.tip();
    node.propose(tip, (height + 1) * 1_000)
}

fn ask(node: &Node) -> Proposal {
    let (height, tip) = node.chain.tip();
    node.chain.propose(tip, node.key, node.chain.rules().epoch_of(height + 1), now((height + 1) * 1_000), &node.book)
}

fn grow(node: &mut Node, to: u64, execute_to: u64) {
    while node.chain.tip().0 < to {
        let header = next(node);
        assert_eq!(node.verify(&header, header.height * 1_000), Verdict::Valid);
        node.finalize(&header, header.height * 1_000);
        if header.height <= execute_to {
            node.execute(header.height);
        }
    }
}

fn sets(node: &mut Node, height: u64, sets: &[(u64, &[u8])]) {
    let sets = sets.iter().map(|(epoch, members)| (*epoch, members.iter().map(|&number| key(number)).collect()));
    node.chain.executed(Executed { roots: roots(height), sets: sets.collect() });
}

#[test]
fn heights_of_epochs() {
    let rules = short();
    assert_eq!([0, 1, 4, 5, 8, 9].map(|height| rules.epoch_of(height)), [0, 0, 0, 1, 1, 2]);
    assert_eq!([0, 1, 4, 5, 8].map(|height| rules.ends_epoch(height)), [false, false, true, false, true]);
    assert_eq!([4, 7, 8, 12].map(|height| rules.attested_min(height)), [0, 0, 4, 8]);
    assert_eq!([0, 3, 4, 5].map(|before| rules.attested_max(before)), [4, 4, 8, 8]);
    assert_eq!([0, 1, 2, 3].map(|epoch| rules.set_known_after(epoch)), [0, 0, 4, 8]);
    assert_eq!([0, 1].map(|epoch| rules.last_height(epoch)), [4, 8]);
}

#[test]
fn the_last_block_of_an_epoch_attests_the_end_of_the_one_before() {
    let mut node = Node::new(0, &keys(4), short());
    grow(&mut node, 7, 3);
    assert_eq!(ask(&node), Proposal::Wait);
    let (_, tip) = node.chain.tip();
    let mut early = node.chain.header(&tip).unwrap().as_ref().clone();
    (early.height, early.parent, early.timestamp_ms) = (8, tip, early.timestamp_ms + 1);
    assert!(matches!(node.verify(&early, 9_000), Verdict::Invalid(rule) if rule.contains("last block of an epoch")));
    node.execute(4);
    let header = next(&node);
    assert_eq!(header.executed_height, 4);
    assert_eq!(node.verify(&header, 9_000), Verdict::Valid);
}

#[test]
fn every_end_of_an_epoch_is_attested() {
    let mut node = Node::new(0, &keys(4), short());
    grow(&mut node, 6, 2);
    assert_eq!(node.chain.tip_header().unwrap().executed_height, 2);
    (3..=6).for_each(|height| node.execute(height));
    let header = next(&node);
    assert_eq!(header.executed_height, 4, "not 6: block 4 ended an epoch");
    assert_eq!(node.verify(&header, 7_000), Verdict::Valid);
    let passing = BlockHeader {
        executed_height: 5,
        state_root: roots(5).state_root,
        receipts_root: roots(5).receipts_root,
        validator_set_hash: roots(5).validator_set_hash,
        ..header.clone()
    };
    assert!(matches!(node.verify(&passing, 7_000), Verdict::Invalid(rule) if rule.contains("passes the end")));
    node.finalize(&header, 7_000);
    assert_eq!(next(&node).executed_height, 6);
}

#[test]
fn a_set_is_waited_for_and_taken_only_when_it_is_fixed() {
    let mut node = Node::new(0, &keys(4), short());
    grow(&mut node, 3, 2);
    sets(&mut node, 3, &[(1, &[0, 1, 2, 3]), (2, &[9])]);
    assert_eq!(node.chain.set(2), None, "a change in block 4 may still come");
    grow(&mut node, 7, 0);
    node.chain.executed(Executed { roots: roots(4), sets: vec![] });
    let last = next(&node);
    node.finalize(&last, 8_000);
    assert_eq!(ask(&node), Proposal::Wait);
    let child = BlockHeader { height: 9, epoch: 2, parent: last.hash(), timestamp_ms: last.timestamp_ms + 1, ..last };
    assert_eq!(node.verify(&child, 9_000), Verdict::WaitExecuted(4));
    assert_eq!(node.chain.insert(child.clone(), child.hash(), now(9_000)), Inserted::WaitExecuted(4));
    sets(&mut node, 4, &[(2, &[0, 2, 3, 4]), (3, &[8])]);
    assert_eq!((node.chain.set(2).map(<[_]>::len), node.chain.set(3)), (Some(4), None));
    assert_eq!(node.verify(&child, 9_000), Verdict::Valid);
    assert_eq!(node.chain.insert(child.clone(), child.hash(), now(9_000)), Inserted::Yes);
}

/// A lone talker for all: its book believes that every member holds what it holds.
fn all_hold(node: &mut Node, members: &[u8], batches: &[HeldBatch]) {
    let members: Vec<_> = members.iter().map(|&number| key(number)).collect();
    node.book.set_members(&members, &[]);
    batches.iter().for_each(|batch| node.book.held(batch.clone()));
    let marks = node.book.marks();
    members.iter().for_each(|member| node.book.on_marks(member, &marks));
}

fn listed(header: &BlockHeader) -> Vec<(u16, u64)> {
    header.batches().map(|(lane, sequence, _)| (lane, sequence)).collect()
}

/// The same validator, started behind the tip of `node` with what is known of that height.
fn started_at_tip_of(node: &Node) -> Node {
    let (height, tip) = node.chain.tip();
    let epoch = node.chain.rules().epoch_of(height);
    let sets = (epoch..epoch + 3).filter_map(|epoch| Some((epoch, node.chain.set(epoch)?.to_vec()))).collect();
    let start = StartPoint {
        tip: StartTip::Block(node.chain.tip_header().unwrap().as_ref().clone()),
        marks: node.chain.marks(&tip).unwrap().clone(),
        floors: node.chain.floors(&tip).unwrap().clone(),
        executed: (node.chain.tip_header().unwrap().executed_height..=node.chain.executed_height())
            .map(roots)
            .collect(),
        sets,
    };
    let book = tana_lane::LaneBook::new(node.key, tana_lane::LaneLimits::default());
    Node { key: node.key, chain: Chain::new(node.chain.rules().clone(), start), book }
}

#[test]
fn marks_follow_authors_and_an_author_that_comes_back_begins_anew() {
    let mut node = Node::new(0, &keys(4), short());
    let old: Vec<HeldBatch> =
        (1..=3).flat_map(|author| (1..=2).map(move |sequence| batch(key(author), sequence))).collect();
    all_hold(&mut node, &[0, 1, 2, 3], &old);
    let first = next(&node);
    assert_eq!(listed(&first), [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]);
    node.commit(&first, 1_000);
    grow(&mut node, 4, 3);
    // From epoch 2 on without validator 1, from epoch 3 on with it again, at the end.
    sets(&mut node, 4, &[(2, &[0, 2, 3])]);
    grow(&mut node, 8, 7);
    all_hold(&mut node, &[0, 2, 3], &[batch(key(2), 3), batch(key(3), 3)]);
    let ninth = next(&node);
    assert_eq!(listed(&ninth), [(1, 3), (2, 3)], "places have moved up, marks have not");
    assert_eq!(node.verify(&ninth, 9_000), Verdict::Valid);
    node.finalize(&ninth, 9_000);
    sets(&mut node, 8, &[(3, &[0, 2, 3, 1])]);
    node.execute(9);
    grow(&mut node, 12, 11);
    assert!(!node.chain.marks(&node.chain.tip().1).unwrap().contains_key(&key(1)));
    let again: Vec<_> = (1..=3).map(|sequence| batch(key(1), sequence)).collect();
    all_hold(&mut node, &[0, 2, 3, 1], &again);
    let tip: Hash = node.chain.tip().1;
    let thirteenth = next(&node);
    assert_eq!((thirteenth.epoch, listed(&thirteenth)), (3, vec![]), "its old batches were listed before");
    let mut relisting = thirteenth.clone();
    relisting.lanes =
        vec![tana_types::header::LaneBatches { lane: 3, first_sequence: 1, digests: vec![again[0].digest] }];
    assert!(matches!(node.verify(&relisting, 13_000), Verdict::Invalid(rule) if rule.contains("listed before")));
    // A validator that started anew behind the block at which the author came back judges alike, from the marks and floors of that block.
    let left = tana_execute::LaneFloor { mark: 2, until: 9 + 1_000 };
    assert_eq!(node.chain.floors(&tip).unwrap().iter().collect::<Vec<_>>(), [(&key(1), &left)]);
    let mut restarted = started_at_tip_of(&node);
    all_hold(&mut restarted, &[0, 2, 3, 1], &again);
    assert_eq!(restarted.verify(&relisting, 13_000), node.verify(&relisting, 13_000));
    assert_eq!(listed(&next(&restarted)), vec![]);
    // It seals what was not listed again, from its new mark on, which is 0.
    let sealed_again = HeldBatch { skipped: 3, epoch: 3, ..batch(key(1), 4) };
    all_hold(&mut node, &[0, 2, 3, 1], &[sealed_again]);
    let thirteenth = next(&node);
    assert_eq!((thirteenth.parent, listed(&thirteenth)), (tip, vec![(3, 4)]));
    assert_eq!(node.verify(&thirteenth, 13_000), Verdict::Valid);
}
