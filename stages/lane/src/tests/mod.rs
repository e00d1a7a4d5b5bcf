//! Tests of this crate as a whole.
#![allow(clippy::unwrap_used)]

mod book;
mod codecs;
mod fetching;
mod support;

use crate::*;
use ed25519_dalek::SigningKey;
use tana_types::batch::Origin;
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::transaction::{Transaction, sign};

#[test]
fn sequences_go_on_and_seals_are_valid() {
    let chain = Chain::new([1; 32]);
    let key = SigningKey::from_bytes(&[2; 32]);
    let payload = Payload::Transfer { recipient: PublicKey([3; 32]), currency: "USD".parse().unwrap(), amount: 1 };
    let bytes = sign(&chain, &key, 1, 1, &payload).unwrap();
    let mut lane = Lane::new(chain, key, 41, 100);
    for expected in [42, 43] {
        let mut batch = Batch::with_capacity(1, 200);
        batch.push(Transaction::exactly(&bytes).unwrap(), 0, Origin::default());
        let sealed = lane.seal(&mut batch, 0, 7);
        assert_eq!((sealed.sequence, sealed.digest), (expected, batch.seal_header().digest()));
        assert_eq!(batch.seal_header().expiry_height.get(), 107);
        assert!(batch.seal_header().signature_is_valid());
    }
}

#[test]
fn a_withdrawal_reaches_back_to_the_mark_and_is_said_once() {
    let mut lane = Lane::new(support::chain(), support::signer(1), 41, 100);
    lane.withdraw(38);
    for (sequence, skipped) in [(42, 3), (43, 0)] {
        let mut batch = support::batch(1, 1, 0, 1, 0);
        assert_eq!(lane.seal(&mut batch, 0, 7).sequence, sequence);
        assert_eq!(batch.seal_header().skipped.get(), skipped);
    }
    assert_eq!(lane.next_sequence(), 44);
}
