//! Tests of what the order stage holds.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use tana_order::SealedBatch;
use tana_types::batch::{Batch, Origin};
use tana_types::header::{BlockHeader, LaneBatches};
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::transaction::{Chain, Transaction, sign};

use super::BatchMark;
use super::held::{AgreedBlock, Delivered, HeldBatches, Offered, WAITING_BLOCKS_MAX};

const OWN: u8 = 1;
const OTHER: u8 = 2;

fn key(author: u8) -> SigningKey {
    SigningKey::from_bytes(&[author; 32])
}

fn sealed(author: u8, sequence: u64, position: u64) -> SealedBatch {
    let chain = Chain::new([9; 32]);
    let payload = Payload::Transfer { recipient: PublicKey([3; 32]), currency: "USD".parse().unwrap(), amount: 1 };
    let bytes = sign(&chain, &key(author), sequence, 1, &payload).unwrap();
    let mut batch = Batch::with_capacity(1, 200);
    batch.push(Transaction::exactly(&bytes).unwrap(), 0, Origin::default());
    let digest = batch.seal(&chain, &key(author), 0, sequence, 0, 100);
    SealedBatch { batch, digest, lane: 0, sequence, position }
}

fn block(height: u64, lanes: &[(u16, &[&SealedBatch])]) -> AgreedBlock {
    let lanes = lanes.iter().map(|(lane, batches)| LaneBatches {
        lane: *lane,
        first_sequence: batches[0].sequence,
        digests: batches.iter().map(|batch| batch.digest).collect(),
    });
    let header = BlockHeader {
        height,
        epoch: 0,
        parent: [0; 32],
        proposer: [0; 32],
        timestamp_ms: height,
        executed_height: 0,
        state_root: [0; 32],
        receipts_root: [0; 32],
        transaction_root: [0; 32],
        transaction_count: 0,
        validator_set_hash: [0; 32],
        lanes: lanes.collect(),
    };
    AgreedBlock { hash: header.hash(), header, certificate: vec![height as u8] }
}

fn held() -> HeldBatches {
    HeldBatches::new(key(OWN).verifying_key().to_bytes(), 4, BTreeMap::new(), BatchMark::default())
}

#[test]
fn a_block_waits_for_its_batches_and_leaves_in_order() {
    let mut held = held();
    let (one, two, other) = (sealed(OWN, 1, 10), sealed(OWN, 2, 30), sealed(OTHER, 7, 20));
    assert_eq!(held.deliver(block(4, &[])), Delivered::Again);
    assert_eq!(held.deliver(block(6, &[])), Delivered::Refused);
    let (fifth, sixth) = (block(5, &[(0, &[&one]), (3, &[&other])]), block(6, &[(0, &[&two])]));
    assert_eq!(held.deliver(fifth.clone()), Delivered::Waits);
    assert_eq!(held.deliver(fifth), Delivered::Again);
    assert_eq!(held.deliver(sixth), Delivered::Waits);
    assert!(matches!(held.offer(two), Offered::Held));
    assert!(matches!(held.offer(one), Offered::Held));
    assert!(held.next_complete().is_none());
    assert!(matches!(held.offer(other), Offered::Held));
    let complete = held.next_complete().unwrap();
    assert_eq!((complete.block.header.height, complete.certificate), (5, vec![5]));
    let lanes: Vec<_> = complete.block.batches.iter().map(|batch| (batch.lane, batch.sequence)).collect();
    assert_eq!(lanes, [(0, 1), (3, 7)]);
    // The second own batch still lies there, so a restart must read from it on.
    assert_eq!(complete.batch_mark, BatchMark { needed_position: 30, own_sequence: 2 });
    let complete = held.next_complete().unwrap();
    assert_eq!(complete.block.header.height, 6);
    assert_eq!(complete.batch_mark, BatchMark { needed_position: 30, own_sequence: 2 });
    assert!(held.next_complete().is_none() && held.is_empty());
    // What a block listed is not held again.
    assert!(matches!(held.offer(sealed(OTHER, 7, 40)), Offered::Passed(_)));
    assert!(matches!(held.offer(sealed(OTHER, 6, 41)), Offered::Passed(_)));
    assert!(matches!(held.offer(sealed(OTHER, 8, 42)), Offered::Held));
    assert!(matches!(held.offer(sealed(OTHER, 8, 43)), Offered::Passed(_)));
}

#[test]
fn a_batch_that_a_waiting_block_lists_is_neither_forgotten_nor_sealed_again() {
    let mut held = held();
    let (one, two, three) = (sealed(OWN, 1, 10), sealed(OWN, 2, 11), sealed(OWN, 3, 12));
    let missing = sealed(OTHER, 1, 13);
    held.deliver(block(5, &[(0, &[&one]), (1, &[&missing])]));
    let digests = [one.digest, two.digest];
    for batch in [one, two, three] {
        assert!(matches!(held.offer(batch), Offered::Held));
    }
    let forgotten = held.forget(&digests);
    assert_eq!(forgotten.iter().map(|batch| batch.sequence).collect::<Vec<_>>(), [2]);
    let again = held.take_own_behind(0);
    assert_eq!(again.iter().map(|batch| batch.sequence).collect::<Vec<_>>(), [3]);
    assert_eq!((held.len(), held.own_durable(), held.waiting_blocks()), (1, 3, 1));
    held.offer(missing);
    assert_eq!(held.next_complete().unwrap().block.batches.len(), 2);
}

#[test]
fn too_many_waiting_blocks_are_refused() {
    let mut held = held();
    let missing = sealed(OTHER, 1, 1);
    assert_eq!(held.deliver(block(5, &[(0, &[&missing])])), Delivered::Waits);
    for height in 6..5 + WAITING_BLOCKS_MAX as u64 {
        assert_eq!(held.deliver(block(height, &[])), Delivered::Waits);
    }
    assert_eq!(held.deliver(block(5 + WAITING_BLOCKS_MAX as u64, &[])), Delivered::Refused);
}
