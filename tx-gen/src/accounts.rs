//! The keys of the accounts that take part in a load.
//!
//! A bulk account's secret follows from the genesis' seed and the account's number. Signing needs its expanded form and its public
//! key at every use, and a recipient is named by its public key, so both are made once: the fixed-base multiplication that makes a
//! public key costs several times what a signature costs here. Points are compressed 64 at a time, with one inversion for all of
//! them. A million accounts take 64 MB.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};

use curve25519_dalek::{EdwardsPoint, Scalar};
use ed25519_dalek::hazmat::ExpandedSecretKey;
use tana_types::bulk::bulk_secret;

use crate::random::derive;

/// Points compressed with one inversion.
const GROUP: usize = 64;

/// The context under which the secrets of accounts that a load creates are derived.
const CREATION_CONTEXT: &str = "tana tx-gen creation v1";

/// A key, ready to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountKey {
    /// The secret scalar.
    pub scalar: Scalar,
    /// The public key.
    pub public: [u8; 32],
}

impl AccountKey {
    /// The key with this 32-byte secret.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        let scalar = ExpandedSecretKey::from(secret).scalar;
        Self { scalar, public: EdwardsPoint::mul_base(&scalar).compress().0 }
    }
}

/// The key of the `number`-th account that a load with this seed creates.
pub fn creation_key(seed: &str, number: u32) -> AccountKey {
    AccountKey::from_secret(&derive(CREATION_CONTEXT, seed, "", u64::from(number)))
}

/// The username of the `number`-th account that a load with this seed creates: unique for seed and number.
pub fn creation_username(seed: &str, number: u32) -> String {
    let hash = derive(CREATION_CONTEXT, seed, "username", 0);
    format!("@load-{}-{number}", hex::encode(&hash[..6]))
}

/// How many threads signing uses: one a core.
pub fn thread_count() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// The keys of the bulk accounts `first` to `first + count` of `seed`, made on all cores; `done` counts them as they are made.
pub fn bulk_keys(seed: &str, first: u32, count: u32, done: &AtomicU64) -> Vec<AccountKey> {
    let empty = AccountKey { scalar: Scalar::ZERO, public: [0; 32] };
    let mut keys = vec![empty; count as usize];
    let next = parking_lot::Mutex::new(keys.chunks_mut(GROUP).zip((0u32..).map(|group| first + group * GROUP as u32)));
    std::thread::scope(|scope| {
        for _ in 0..thread_count() {
            scope.spawn(|| {
                loop {
                    let Some((group, number)) = next.lock().next() else { break };
                    fill(seed, number, group);
                    done.fetch_add(group.len() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    keys
}

/// Makes the keys of one group, whose first has this number.
fn fill(seed: &str, number: u32, group: &mut [AccountKey]) {
    let mut points = [EdwardsPoint::default(); GROUP];
    for ((key, point), number) in group.iter_mut().zip(&mut points).zip(number..) {
        key.scalar = ExpandedSecretKey::from(&bulk_secret(seed, number)).scalar;
        *point = EdwardsPoint::mul_base(&key.scalar);
    }
    for (key, compressed) in group.iter_mut().zip(EdwardsPoint::compress_batch(&points)) {
        key.public = compressed.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tana_types::bulk::bulk_key;
    use tana_types::username::Username;

    #[test]
    fn keys_are_those_of_the_genesis() {
        let done = AtomicU64::new(0);
        let keys = bulk_keys("seed", 5, 131, &done);
        assert_eq!(done.into_inner(), 131);
        for (key, number) in keys.iter().zip(5..) {
            assert_eq!(key.public, bulk_key("seed", number).verifying_key().to_bytes());
            assert_eq!(*key, AccountKey::from_secret(&bulk_secret("seed", number)));
        }
    }

    #[test]
    fn created_accounts_differ_by_seed_and_number() {
        assert_ne!(creation_key("a", 0), creation_key("a", 1));
        assert_ne!(creation_key("a", 0), creation_key("b", 0));
        assert_ne!(creation_username("a", 0), creation_username("b", 0));
        assert!(Username::new(&creation_username("a", u32::MAX)).is_ok());
    }
}
