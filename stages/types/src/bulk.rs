//! Accounts made from a seed, for load tests: a genesis may hold a million of them in one line, and a load generator that knows the
//! seed knows their keys. Never for real money: whoever reads the genesis file owns them.

use ed25519_dalek::SigningKey;

/// The context under which secrets are derived from a seed.
pub const BULK_CONTEXT: &str = "tana bulk account v1";

/// The secret key of bulk account `number`, from 0.
pub fn bulk_secret(seed: &str, number: u32) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(BULK_CONTEXT);
    hasher.update(&number.to_le_bytes());
    hasher.update(seed.as_bytes());
    *hasher.finalize().as_bytes()
}

/// The signing key of bulk account `number`, from 0.
pub fn bulk_key(seed: &str, number: u32) -> SigningKey {
    SigningKey::from_bytes(&bulk_secret(seed, number))
}
