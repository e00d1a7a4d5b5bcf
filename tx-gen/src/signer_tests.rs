//! The signatures of a load, checked by the library that wallets use.

use ed25519_dalek::{Signature, VerifyingKey};
use proptest::prelude::*;
use tana_types::bulk::bulk_secret;

use super::*;

fn signed(chain: &Chain, chunk: u32, lengths: &[usize]) -> (Vec<u8>, Vec<(usize, usize, AccountKey)>) {
    let mut buffer = Vec::new();
    let mut slots = Vec::new();
    for (number, &length) in lengths.iter().enumerate() {
        let key = AccountKey::from_secret(&bulk_secret("signer", number as u32 % 7));
        slots.push((buffer.len(), length + SIGNATURE_BYTES, key));
        buffer.extend((0..length).map(|byte| (byte * 31 + number) as u8));
        buffer.extend([0; SIGNATURE_BYTES]);
    }
    let named: Vec<_> =
        slots.iter().map(|(offset, length, key)| Slot { offset: *offset, length: *length, key }).collect();
    ChunkSigner::new(chain, "seed", 3, chunk).sign(&mut buffer, &named);
    (buffer, slots)
}

fn assert_valid(chain: &Chain, buffer: &[u8], slots: &[(usize, usize, AccountKey)]) {
    for (offset, length, key) in slots {
        let (body, signature) = buffer[*offset..offset + length].split_last_chunk::<SIGNATURE_BYTES>().unwrap();
        let message = [&chain.signing_prefix()[..], body].concat();
        let key = VerifyingKey::from_bytes(&key.public).unwrap();
        key.verify_strict(&message, &Signature::from_bytes(signature)).unwrap();
    }
}

#[test]
fn another_chunk_or_chain_has_other_signatures() {
    let chain = Chain::new([1; 32]);
    assert_eq!(signed(&chain, 0, &[116; 3]).0, signed(&chain, 0, &[116; 3]).0);
    assert_ne!(signed(&chain, 0, &[116; 3]).0, signed(&chain, 1, &[116; 3]).0);
    assert_ne!(signed(&chain, 0, &[116; 3]).0, signed(&Chain::new([2; 32]), 0, &[116; 3]).0);
}

#[test]
fn commitments_never_repeat_within_a_chunk() {
    let (buffer, slots) = signed(&Chain::new([1; 32]), 0, &[80; 300]);
    let mut commitments: Vec<_> =
        slots.iter().map(|(offset, length, _)| &buffer[offset + length - 64..offset + length - 32]).collect();
    commitments.sort_unstable();
    commitments.dedup();
    assert_eq!(commitments.len(), 300);
}

#[test]
fn a_slot_outside_of_the_buffer_is_left_alone() {
    let key = AccountKey::from_secret(&[1; 32]);
    let mut buffer = vec![0; 100];
    let slots = [Slot { offset: 90, length: 80, key: &key }, Slot { offset: 0, length: 10, key: &key }];
    ChunkSigner::new(&Chain::new([1; 32]), "seed", 0, 0).sign(&mut buffer, &slots);
    assert_eq!(buffer, vec![0; 100]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_signature_is_valid(lengths in proptest::collection::vec(0usize..400, 1..140), chunk: u32, hash: [u8; 32]) {
        let chain = Chain::new(hash);
        let (buffer, slots) = signed(&chain, chunk, &lengths);
        assert_valid(&chain, &buffer, &slots);
    }
}
