//! Signature verification alone: the ceiling that the engine is held against, and the best library beside it in the same run.
//!
//! Messages have the length of a transfer's (48 bytes of prefix and 116 of body), batches are 512 signatures of 512 different keys out of
//! 32,768, and every key has been decoded before, as in a running node.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use commonware_cryptography::ed25519::{PrivateKey, PublicKey, Signature};
use commonware_cryptography::{BatchEntry, BatchVerifier, Signer};
use commonware_math::algebra::Random;
use commonware_parallel::Sequential;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tana_verify::{Backend, DecodedKey, Item, KeyCache, Mode, Verifier};

use crate::step::{pin, rate};

/// Signatures of one batch.
pub const BATCH: usize = 512;
/// Batches that are gone through in turn.
const BATCHES: usize = 64;
const PREFIX_BYTES: usize = 48;
const BODY_BYTES: usize = 116;

/// One signed message.
struct Signed {
    key: [u8; 32],
    body: [u8; BODY_BYTES],
    signature: [u8; 64],
}

/// Signed messages, and their keys decoded.
pub struct Sample {
    prefix: [u8; PREFIX_BYTES],
    signed: Vec<Signed>,
    keys: Keys,
}

/// Decoded keys by number, filled by a first pass.
#[derive(Default)]
struct Keys(Mutex<HashMap<u32, [u8; 32]>>, Vec<[u8; 32]>);

impl KeyCache for Keys {
    fn get(&self, hint: u32, _key: &[u8; 32]) -> Option<DecodedKey> {
        self.1.get(hint as usize).map(|x| DecodedKey { x: *x })
    }

    fn put(&self, hint: u32, _key: &[u8; 32], decoded: &DecodedKey) {
        if let Ok(mut map) = self.0.lock() {
            map.insert(hint, decoded.x);
        }
    }
}

impl Sample {
    /// Signs 32,768 messages with as many keys.
    pub fn new() -> Self {
        let prefix = [7; PREFIX_BYTES];
        let sign = |number: usize| {
            let mut secret = [3; 32];
            secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
            let key = SigningKey::from_bytes(&secret);
            let mut body = [9; BODY_BYTES];
            body[..8].copy_from_slice(&(number as u64).to_le_bytes());
            let mut message = prefix.to_vec();
            message.extend_from_slice(&body);
            Signed { key: key.verifying_key().to_bytes(), body, signature: key.sign(&message).to_bytes() }
        };
        let signed: Vec<Signed> = (0..BATCH * BATCHES).map(sign).collect();
        let mut sample = Self { prefix, signed, keys: Keys::default() };
        let mut verifier = Verifier::new(Backend::Portable, [1; 32]);
        for batch in 0..BATCHES {
            sample.verify(&mut verifier, batch);
        }
        let known = std::mem::take(&mut *sample.keys.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        sample.keys.1 =
            (0..sample.signed.len() as u32).map(|hint| known.get(&hint).copied().unwrap_or_default()).collect();
        sample
    }

    /// Spoils one signature in a hundred, spread evenly.
    pub fn spoil_one_percent(&mut self) {
        for signed in self.signed.iter_mut().step_by(100) {
            signed.signature[3] ^= 1;
        }
    }

    fn verify(&self, verifier: &mut Verifier, batch: usize) -> usize {
        let first = batch % BATCHES * BATCH;
        let items: Vec<Item<'_>> = self.signed[first..first + BATCH]
            .iter()
            .zip(first as u32..)
            .map(|(signed, hint)| Item { key: &signed.key, message: &signed.body, signature: &signed.signature, hint })
            .collect();
        let mut verdicts = Vec::with_capacity(BATCH);
        verifier.verify(&self.prefix, &items, &self.keys, Mode::BatchFirst, &mut verdicts).valid
    }

    /// Signatures per second on one core.
    pub fn one_core_tps(&self, backend: Backend, duration: Duration) -> f64 {
        std::thread::scope(|scope| {
            let measure = || {
                pin(crate::step::cores()[0]);
                self.rate(backend, duration)
            };
            scope.spawn(measure).join().unwrap_or(0.0)
        })
    }

    fn rate(&self, backend: Backend, duration: Duration) -> f64 {
        let mut verifier = Verifier::new(backend, rand::random());
        let mut batch = 0;
        rate(duration, || {
            batch += 1;
            self.verify(&mut verifier, batch);
            BATCH as u64
        })
    }

    /// Signatures per second on all cores at once, one thread each.
    pub fn all_cores_tps(&self, backend: Backend, duration: Duration) -> f64 {
        std::thread::scope(|scope| {
            let threads: Vec<_> = crate::step::cores()
                .into_iter()
                .map(|core| {
                    scope.spawn(move || {
                        pin(core);
                        self.rate(backend, duration)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(0.0)).sum()
        })
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self::new()
    }
}

/// ed25519-dalek's `verify_batch` of 512 with decoded keys on one core, signatures per second. It is shown for its speed alone: its verdict on
/// some signatures depends on what else is in the batch, so it can never be on the consensus path.
pub fn dalek_batch_one_core_tps(sample: &Sample, duration: Duration) -> f64 {
    let texts: Vec<Vec<u8>> =
        sample.signed.iter().take(BATCH * 16).map(|signed| [&sample.prefix[..], &signed.body].concat()).collect();
    let keys: Vec<VerifyingKey> =
        sample.signed.iter().take(BATCH * 16).filter_map(|signed| VerifyingKey::from_bytes(&signed.key).ok()).collect();
    let signatures: Vec<_> = sample
        .signed
        .iter()
        .take(BATCH * 16)
        .map(|signed| ed25519_dalek::Signature::from_bytes(&signed.signature))
        .collect();
    let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    let (mut batch, mut all_valid) = (0, keys.len() == texts.len());
    let rate = std::thread::scope(|scope| {
        let measure = || {
            pin(crate::step::cores()[0]);
            rate(duration, || {
                batch += 1;
                let range = batch % 16 * BATCH..(batch % 16 + 1) * BATCH;
                all_valid &=
                    ed25519_dalek::verify_batch(&texts[range.clone()], &signatures[range.clone()], &keys[range])
                        .is_ok();
                BATCH as u64
            })
        };
        scope.spawn(measure).join().unwrap_or(0.0)
    });
    if all_valid { rate } else { 0.0 }
}

/// The library's batch of 512 with decoded keys on one core, signatures per second. Its text is a namespace and a message behind a length,
/// of the same length in all.
pub fn library_one_core_tps(duration: Duration) -> f64 {
    let mut random = StdRng::seed_from_u64(1);
    let namespace = [7; PREFIX_BYTES - 1];
    let sign = |number: usize, random: &mut StdRng| -> (PublicKey, [u8; BODY_BYTES], Signature) {
        let key = PrivateKey::random(random);
        let mut body = [9; BODY_BYTES];
        body[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let signature = key.sign(&namespace, &body);
        (key.public_key(), body, signature)
    };
    let signed: Vec<_> = (0..BATCH * 16).map(|number| sign(number, &mut random)).collect();
    let (mut batch, mut all_valid) = (0, true);
    let rate = std::thread::scope(|scope| {
        let measure = || {
            pin(crate::step::cores()[0]);
            rate(duration, || {
                batch += 1;
                let first = batch % 16 * BATCH;
                all_valid &= PublicKey::verify_batch(
                    &mut random,
                    &signed[first..first + BATCH],
                    |_, (key, body, signature)| BatchEntry {
                        namespace: &namespace,
                        message: body,
                        public_key: key,
                        signature,
                    },
                    &Sequential,
                );
                BATCH as u64
            })
        };
        scope.spawn(measure).join().unwrap_or(0.0)
    });
    // A figure made of refused batches would be none.
    if all_valid { rate } else { 0.0 }
}
