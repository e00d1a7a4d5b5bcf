//! The orderer that asks nobody.

use crate::*;
use tana_types::batch::Origin;
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::transaction::{Chain, Transaction, sign};

const MS: u64 = 1_000_000;

fn at(ms: u64) -> Now {
    Now { engine_ns: ms * MS, wall_ms: 1_000_000 + ms }
}

fn roots(height: u64) -> ExecutedRoots {
    ExecutedRoots { height, state_root: [height as u8; 32], receipts_root: [1; 32], validator_set_hash: [2; 32] }
}

fn config(lag_blocks_max: u64) -> SoloConfig {
    SoloConfig {
        proposer: [9; 32],
        block_transactions: 4,
        block_interval_ns: 10 * MS,
        empty_interval_ns: 1_000 * MS,
        lag_blocks_max,
        epoch_blocks: 10,
    }
}

fn solo(lag_blocks_max: u64) -> Solo {
    let tip = Tip { height: 0, hash: [7; 32], timestamp_ms: 5, executed_height: 0, unattested: false };
    Solo::new(config(lag_blocks_max), tip, roots(0))
}

fn batch(sequence: u64, transactions: usize) -> SealedBatch {
    let key = ed25519_dalek::SigningKey::from_bytes(&[4; 32]);
    let payload = Payload::Transfer { recipient: PublicKey([3; 32]), currency: "USD".parse().unwrap(), amount: 1 };
    let mut batch = Batch::with_capacity(transactions, 4_096);
    for nonce in 0..transactions as u64 {
        let bytes = sign(&Chain::new([7; 32]), &key, nonce, 1, &payload).unwrap();
        let transaction = Transaction::exactly(&bytes).unwrap();
        batch.push(transaction, 0, Origin::default());
        batch.ids.push(transaction.id());
    }
    SealedBatch { batch, digest: [sequence as u8; 32], lane: 0, sequence, position: sequence }
}

#[test]
fn a_restart_makes_no_block_before_what_the_tip_attests_is_executed_again() {
    let tip = Tip { height: 12, hash: [7; 32], timestamp_ms: 5, executed_height: 11, unattested: true };
    let mut solo = Solo::new(config(64), tip, roots(9));
    solo.offer(batch(1, 4));
    assert!(solo.poll(at(5_000)).is_none(), "full, and long due, but it would attest less than its parent");
    solo.executed(roots(10));
    assert!(solo.poll(at(5_001)).is_none());
    solo.executed(roots(11));
    let next = solo.poll(at(5_002)).expect("nothing is missing any more").header;
    assert_eq!((next.height, next.executed_height, next.transaction_count), (13, 11, 4));
}

#[test]
fn a_block_is_made_at_its_size_or_at_the_interval_and_chains_to_its_parent() {
    let mut solo = solo(64);
    assert!(solo.poll(at(1)).is_none());
    solo.offer(batch(1, 2));
    assert!(solo.poll(at(2)).is_none(), "too early and too small");
    solo.offer(batch(2, 2));
    let first = solo.poll(at(3)).expect("four transactions wait");
    assert_eq!((first.header.height, first.header.parent, first.header.transaction_count), (1, [7; 32], 4));
    assert_eq!(first.header.lanes[0].digests.len(), 2);
    solo.offer(batch(3, 1));
    assert!(solo.poll(at(12)).is_none());
    let second = solo.poll(at(13)).expect("the interval has passed");
    assert_eq!((second.header.parent, second.header.lanes[0].first_sequence), (first.hash, 3));
    assert!(second.header.timestamp_ms > first.header.timestamp_ms);
}

#[test]
fn a_clock_that_goes_back_does_not_take_timestamps_along() {
    let mut solo = solo(64);
    solo.offer(batch(1, 4));
    let first = solo.poll(Now { engine_ns: 1, wall_ms: 500 }).unwrap();
    solo.offer(batch(2, 4));
    let second = solo.poll(Now { engine_ns: 2, wall_ms: 400 }).unwrap();
    assert_eq!(second.header.timestamp_ms, first.header.timestamp_ms + 1);
}

#[test]
fn empty_blocks_follow_until_the_last_root_is_attested_then_the_chain_idles() {
    let mut solo = solo(64);
    solo.offer(batch(1, 4));
    assert_eq!(solo.poll(at(0)).unwrap().header.executed_height, 0);
    assert!(solo.poll(at(20)).is_none(), "nothing new has been executed");
    solo.executed(roots(1));
    let attesting = solo.poll(at(21)).expect("height 1 is executed and not attested");
    assert_eq!((attesting.header.executed_height, attesting.header.state_root), (1, [1; 32]));
    solo.executed(roots(2));
    assert!(solo.poll(at(500)).is_none(), "an empty block's own root may wait");
    assert_eq!(solo.poll(at(1_021)).unwrap().header.executed_height, 2);
}

#[test]
fn when_execution_lags_blocks_are_empty_and_batches_wait() {
    let mut solo = solo(2);
    for sequence in 1..=4 {
        solo.offer(batch(sequence, 4));
    }
    for height in 1..=3 {
        assert_eq!(solo.poll(at(height)).unwrap().batches.len(), 1);
    }
    assert!(solo.poll(at(4)).is_none());
    solo.executed(roots(1));
    assert_eq!(solo.poll(at(14)).unwrap().batches.len(), 1, "one behind the limit again");
    assert_eq!(solo.waiting(), 0);
}

#[test]
fn blocks_keep_to_their_size_and_epoch() {
    let mut solo = solo(64);
    for sequence in 1..=3 {
        solo.offer(batch(sequence, 3));
    }
    let blocks: Vec<_> = (1..=3).filter_map(|ms| solo.poll(at(ms * 20))).collect();
    assert!(blocks.iter().all(|block| block.header.transaction_count == 3));
    assert_eq!(solo.waiting(), 0);
    for ms in 4..=12 {
        solo.poll(at(ms * 1_100));
    }
    assert_eq!(solo.poll(at(90_000)).unwrap().header.epoch, 1);
}
