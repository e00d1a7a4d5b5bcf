//! Every rule is broken once on purpose, and seen.

use tana_types::code::Code;
use tana_types::header::LaneBatches;

use super::*;

fn header(height: u64, digests: &[Hash]) -> BlockHeader {
    BlockHeader {
        height,
        epoch: 0,
        parent: [height as u8 - 1; 32],
        proposer: [1; 32],
        timestamp_ms: height,
        executed_height: height - 1,
        state_root: [height as u8 - 1; 32],
        receipts_root: [0; 32],
        transaction_root: [0; 32],
        transaction_count: 0,
        validator_set_hash: [0; 32],
        lanes: if digests.is_empty() {
            Vec::new()
        } else {
            vec![LaneBatches { lane: 0, first_sequence: 1, digests: digests.to_vec() }]
        },
    }
}

fn done(height: u64, codes: &[Code]) -> Executed {
    Executed {
        roots: ExecutedRoots {
            height,
            state_root: [height as u8; 32],
            receipts_root: [0; 32],
            validator_set_hash: [0; 32],
        },
        codes: codes.iter().map(|code| *code as u8).collect(),
        money: 100,
        sovereigns: 1,
    }
}

fn give(checks: &mut Checks, node: usize, header: &BlockHeader) {
    checks.finalized(node, header, &header.hash());
}

/// A good chain of three blocks on two nodes.
fn good() -> Checks {
    let mut checks = Checks::new(100);
    for node in 0..2 {
        checks.started(node, 0);
        for height in 1..=3 {
            let header = header(height, &[[height as u8; 32]]);
            give(&mut checks, node, &header);
            checks.reported(node, height, [[40 + height as u8; 32]]);
            checks.executed(node, &header, &[[40 + height as u8; 32]], &done(height, &[Code::Applied]));
        }
    }
    assert_eq!(checks.violation(), None);
    checks
}

fn chain(heights: u64) -> Vec<(u64, Vec<Hash>, Vec<u8>)> {
    (1..=heights).map(|height| (height, vec![[40 + height as u8; 32]], vec![Code::Applied as u8])).collect()
}

#[test]
fn a_good_chain_passes() {
    let mut checks = good();
    checks.started(0, 3);
    checks.audited(0, &chain(3));
    assert_eq!((checks.violation(), checks.highest(), checks.reported_count()), (None, 3, 3));
}

#[test]
fn a_second_block_at_a_height_is_seen() {
    let mut checks = good();
    checks.started(2, 2);
    give(&mut checks, 2, &header(3, &[[9; 32]]));
    assert!(matches!(checks.violation(), Some(Violation::Fork { height: 3, second_node: 2, .. })));
}

#[test]
fn a_gap_is_seen() {
    let mut checks = good();
    give(&mut checks, 0, &header(5, &[]));
    assert_eq!(checks.violation(), Some(&Violation::Order { node: 0, height: 5, tip: 3 }));
}

#[test]
fn different_roots_and_codes_are_seen() {
    for other in [done(4, &[Code::Duplicate]), Executed { roots: done(5, &[]).roots, ..done(4, &[Code::Applied]) }] {
        let (mut checks, next) = (good(), header(4, &[]));
        checks.executed(0, &next, &[[44; 32]], &done(4, &[Code::Applied]));
        checks.executed(1, &next, &[[44; 32]], &other);
        assert_eq!(checks.violation(), Some(&Violation::Roots { height: 4, first_node: 0, second_node: 1 }));
    }
}

#[test]
fn wrong_attested_roots_are_seen() {
    let mut checks = good();
    let lie = BlockHeader { state_root: [99; 32], ..header(4, &[]) };
    give(&mut checks, 0, &lie);
    checks.executed(0, &lie, &[], &done(4, &[]));
    assert_eq!(checks.violation(), Some(&Violation::Attested { height: 4, attested: 3, node: 0 }));
}

#[test]
fn a_batch_listed_twice_is_seen() {
    let mut checks = good();
    give(&mut checks, 0, &header(4, &[[2; 32]]));
    assert_eq!(checks.violation(), Some(&Violation::ListedTwice { first: 2, second: 4 }));
}

#[test]
fn a_second_effect_is_seen() {
    let (mut checks, next) = (good(), header(4, &[]));
    checks.executed(0, &next, &[[42; 32]], &done(4, &[Code::Applied]));
    assert!(matches!(checks.violation(), Some(Violation::AppliedTwice { first: 2, second: 4, .. })));
}

#[test]
fn a_second_copy_without_effect_is_fine() {
    let (mut checks, next) = (good(), header(4, &[]));
    checks.executed(0, &next, &[[42; 32]], &done(4, &[Code::Duplicate]));
    assert_eq!(checks.violation(), None);
}

#[test]
fn a_final_height_that_is_gone_is_seen() {
    let mut checks = good();
    checks.started(1, 2);
    assert_eq!(checks.violation(), Some(&Violation::FinalLost { node: 1, reported: 3, recovered: 2 }));
}

#[test]
fn a_final_transaction_that_is_gone_is_seen() {
    let mut checks = good();
    let mut short = chain(3);
    short[1].1.clear();
    checks.audited(0, &short);
    assert!(matches!(checks.violation(), Some(Violation::Missing { height: 2, node: 0, count: 0, .. })));
}

#[test]
fn a_final_transaction_that_is_there_twice_is_seen() {
    let mut checks = good();
    let mut double = chain(3);
    double[2].1.push([42; 32]);
    double[2].2.push(Code::Applied as u8);
    checks.audited(0, &double);
    assert!(matches!(checks.violation(), Some(Violation::Missing { height: 2, node: 0, count: 2, .. })));
}

#[test]
fn a_copy_that_takes_effect_above_a_nodes_end_is_fine() {
    let mut checks = good();
    // At height 4 without effect, at height 5 with it.
    for (height, code) in [(4, Code::NonceGap), (5, Code::Applied)] {
        let header = header(height, &[[height as u8; 32]]);
        give(&mut checks, 0, &header);
        checks.reported(0, height, [[50; 32]]);
        checks.executed(0, &header, &[[50; 32]], &done(height, &[code]));
    }
    let mut chain = chain(3);
    chain.push((4, vec![[50; 32]], vec![Code::NonceGap as u8]));
    checks.audited(1, &chain);
    assert_eq!(checks.violation(), None);
    chain.push((5, vec![[50; 32]], vec![Code::NonceGap as u8]));
    checks.audited(1, &chain);
    assert!(matches!(checks.violation(), Some(Violation::Missing { height: 4, node: 1, .. })));
}

#[test]
fn money_and_sovereigns_are_counted() {
    let (mut checks, next) = (good(), header(4, &[]));
    checks.executed(0, &next, &[], &Executed { money: 101, ..done(4, &[]) });
    assert_eq!(checks.violation(), Some(&Violation::Money { height: 4, node: 0, found: 101, expected: 100 }));
    for count in [0, 2] {
        let mut checks = good();
        checks.executed(0, &next, &[], &Executed { sovereigns: count, ..done(4, &[]) });
        assert_eq!(checks.violation(), Some(&Violation::Sovereigns { height: 4, node: 0, count }));
    }
}

#[test]
fn the_first_violation_is_kept() {
    let mut checks = good();
    checks.started(1, 2);
    checks.broken(Violation::Stalled { waited_ms: 1, what: "nothing".into() });
    assert!(matches!(checks.violation(), Some(Violation::FinalLost { .. })));
}
