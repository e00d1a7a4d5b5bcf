//! Signing a load: Ed25519 signatures that everybody accepts, several times faster than a wallet makes them.
//!
//! An Ed25519 signature is `R = r B` and `s = r + H(R, A, M) a` for a number `r` that nobody may guess. A wallet hashes `r` out of its
//! secret and the message and multiplies the base point by it, which is most of the work. Here a whole load is signed with the keys of
//! accounts made from the genesis' seed, which whoever has the genesis file has too. So `r` has nothing to protect and may be
//! chosen for speed:
//!
//! 1. each chunk of a load starts at an `r` derived from the load's seed (deterministic, and 252 bits wide);
//! 2. the next transaction uses `r + 1`, so the next `R` is one point addition away;
//! 3. 64 points are compressed at a time, with one inversion for all;
//! 4. per transaction remain that addition, one SHA-512 and one multiplication of scalars.
//!
//! **Never use this with a key that guards anything:** two signatures with known difference of `r` reveal the key. It takes the crate's
//! own [`AccountKey`], not a wallet's key, for that reason. What a validator checks costs it the same as any other signature:
//! the points are as different from each other as any. The bench `sign` compares with the library's `sign`.

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::{EdwardsPoint, Scalar};
use sha2::{Digest, Sha512};
use tana_types::transaction::{Chain, SIGNATURE_BYTES};

use crate::accounts::AccountKey;
use crate::random::derive_wide;

/// Signatures made with one inversion.
pub const GROUP: usize = 64;

/// The context under which the first `r` of each chunk is derived.
const CONTEXT: &str = "tana tx-gen signing v1";

/// A transaction to sign: `length` bytes of a buffer, of which the last 64 become the signature.
#[derive(Debug, Clone, Copy)]
pub struct Slot<'a> {
    /// Where it begins.
    pub offset: usize,
    /// Its bytes, signature included.
    pub length: usize,
    /// Whose it is.
    pub key: &'a AccountKey,
}

/// Signs the transactions of one chunk.
#[derive(Debug)]
pub struct ChunkSigner {
    prefix: [u8; 48],
    number: Scalar,
    point: EdwardsPoint,
}

impl ChunkSigner {
    /// The signer of chunk `chunk` of connection `connection` of the load with this seed.
    pub fn new(chain: &Chain, seed: &str, connection: u32, chunk: u32) -> Self {
        let place = u64::from(connection) << 32 | u64::from(chunk);
        // The chain is part of the purpose: loads for two chains share no r.
        let purpose = hex::encode(chain.genesis_hash());
        let number = Scalar::from_bytes_mod_order_wide(&derive_wide(CONTEXT, seed, &purpose, place));
        Self { prefix: *chain.signing_prefix(), number, point: EdwardsPoint::mul_base(&number) }
    }

    /// Signs every transaction that `slots` name in `buffer`. A slot that is not within the buffer, or shorter than a signature,
    /// is left as it is.
    pub fn sign(&mut self, buffer: &mut [u8], slots: &[Slot<'_>]) {
        for group in slots.chunks(GROUP) {
            let mut points = [EdwardsPoint::default(); GROUP];
            for point in &mut points[..group.len()] {
                *point = self.point;
                self.point += ED25519_BASEPOINT_POINT;
            }
            let compressed = EdwardsPoint::compress_batch(&points);
            for (slot, commitment) in group.iter().zip(compressed) {
                if let Some(bytes) = buffer.get_mut(slot.offset..).and_then(|rest| rest.get_mut(..slot.length)) {
                    self.sign_one(bytes, slot.key, &commitment.0);
                }
                self.number += Scalar::ONE;
            }
        }
    }

    fn sign_one(&self, bytes: &mut [u8], key: &AccountKey, commitment: &[u8; 32]) {
        let Some((body, signature)) = bytes.split_last_chunk_mut::<SIGNATURE_BYTES>() else { return };
        let hash = Sha512::new()
            .chain_update(commitment)
            .chain_update(key.public)
            .chain_update(self.prefix)
            .chain_update(body)
            .finalize();
        let challenge = Scalar::from_bytes_mod_order_wide(&hash.into());
        let response = self.number + challenge * key.scalar;
        signature[..32].copy_from_slice(commitment);
        signature[32..].copy_from_slice(response.as_bytes());
    }
}

#[cfg(test)]
#[path = "signer_tests.rs"]
mod tests;
