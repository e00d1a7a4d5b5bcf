//! One signature at a time, as ZIP-215 writes it down. Slow and plain: the other paths are held against it, and the
//! portable path falls back to it.

use crate::{Item, KeyCache};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};

/// R and s of a signature.
pub(crate) fn halves(signature: &[u8; 64]) -> ([u8; 32], [u8; 32]) {
    let (mut commitment, mut response) = ([0; 32], [0; 32]);
    commitment.copy_from_slice(&signature[..32]);
    response.copy_from_slice(&signature[32..]);
    (commitment, response)
}

/// k = SHA-512(R, A, prefix, message) modulo the group order.
pub(crate) fn challenge(prefix: &[u8], item: &Item<'_>) -> Scalar {
    let digest = Sha512::new()
        .chain_update(&item.signature[..32])
        .chain_update(item.key)
        .chain_update(prefix)
        .chain_update(item.message)
        .finalize();
    Scalar::from_bytes_mod_order_wide(&digest.into())
}

/// The point that 32 bytes encode, canonical or not.
pub(crate) fn decode(encoding: &[u8; 32]) -> Option<EdwardsPoint> {
    CompressedEdwardsY(*encoding).decompress()
}

/// s, if it is below the group order.
pub(crate) fn read_response(bytes: [u8; 32]) -> Option<Scalar> {
    Scalar::from_canonical_bytes(bytes).into_option()
}

/// Whether 8 (s B - k A - R) is the neutral point.
pub(crate) fn check(key: &EdwardsPoint, commitment: &EdwardsPoint, challenge: &Scalar, response: &Scalar) -> bool {
    let recovered = EdwardsPoint::vartime_double_scalar_mul_basepoint(challenge, &-key, response);
    (commitment - recovered).mul_by_cofactor().is_identity()
}

/// The verdict on one item, from its bytes alone. The cache is neither asked nor filled.
fn is_valid(prefix: &[u8], item: &Item<'_>) -> bool {
    let (commitment, response) = halves(item.signature);
    let (Some(response), Some(commitment), Some(key)) =
        (read_response(response), decode(&commitment), decode(item.key))
    else {
        return false;
    };
    check(&key, &commitment, &challenge(prefix, item), &response)
}

/// Judges every item; `verdicts` has one entry each.
pub(crate) fn verify(prefix: &[u8], items: &[Item<'_>], _cache: &impl KeyCache, verdicts: &mut [bool]) {
    for (item, verdict) in items.iter().zip(verdicts) {
        *verdict = is_valid(prefix, item);
    }
}
