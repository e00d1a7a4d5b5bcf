//! Sealed batches with real signatures, and a book of validator 0 among four.

use ed25519_dalek::SigningKey;
use tana_types::Hash;
use tana_types::batch::{Batch, Origin, Seal};
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::transaction::{Chain, Transaction, sign};

use crate::*;

pub fn chain() -> Chain {
    Chain::new([1; 32])
}

pub fn signer(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number + 1; 32])
}

pub fn key(number: u8) -> [u8; 32] {
    signer(number).verifying_key().to_bytes()
}

/// A batch of `author` with so many transactions of 180 bytes; `salt` makes another one at the same sequence.
pub fn batch(author: u8, sequence: u64, skipped: u32, expiry_height: u64, salt: u64) -> Batch {
    let mut batch = Batch::with_capacity(2, 400);
    for nonce in 1..=2 {
        let amount = u128::from(salt) + 1;
        let payload = Payload::Transfer { recipient: PublicKey([3; 32]), currency: "USD".parse().unwrap(), amount };
        let bytes = sign(&chain(), &signer(9), nonce, 1, &payload).unwrap();
        batch.push(Transaction::exactly(&bytes).unwrap(), 0, Origin::default());
    }
    batch.seal(&chain(), &signer(author), 0, sequence, skipped, expiry_height);
    batch
}

pub fn seal(author: u8, sequence: u64) -> Seal {
    *batch(author, sequence, 0, 100, 0).seal_header()
}

pub fn held(seal: &Seal) -> HeldBatch {
    let ids: Vec<Hash> = vec![[seal.sequence.get() as u8; 32]; seal.count.get() as usize];
    HeldBatch::from_seal(seal, ids.into())
}

pub fn book(limits: LaneLimits) -> LaneBook {
    let mut book = LaneBook::new(key(0), limits);
    assert!(book.set_members(&[key(0), key(1), key(2), key(3)], &[key(4)]).is_empty());
    book
}

/// A book that holds batches 1 to `to` of `author`.
pub fn holding(author: u8, to: u64) -> LaneBook {
    let mut book = book(LaneLimits::default());
    (1..=to).for_each(|sequence| book.held(held(&seal(author, sequence))));
    book
}

pub fn mark(author: u8, seal: &Seal) -> Marks {
    Marks { entries: vec![Mark { author: key(author), sequence: seal.sequence.get(), digest: seal.digest() }] }
}
