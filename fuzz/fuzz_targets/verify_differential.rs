//! Signature verification: every path, with and without the batch equation and with keys cached or not, gives ed25519-zebra's verdict on every
//! signature of a batch that the input makes up.
//!
//! Random bytes are no signature, so the input says how to make each one: honest, with parts of small order, of small order altogether, copied
//! from another place of the batch, or taken from the input as it is; then come edits of single bytes.
#![no_main]

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha512};
use std::cell::RefCell;
use std::collections::HashMap;
use tana_fuzz::Input;
use tana_verify::{Backend, DecodedKey, Item, KeyCache, Mode, NoCache, Verifier};

/// Above the size at which every path tries the batch equation, and small enough for many batches a second.
const BATCH_ITEMS_MAX: usize = 40;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let seed = [input.u8(); 32];
    let prefix = input.array::<48>();
    let prefix = &prefix[..usize::from(input.u8()) % 49];
    // Honest company first, so that the equation is reached with few bytes.
    let mut batch: Vec<Case> =
        (0..usize::from(input.u8()) % 24).map(|index| signed(prefix, index as u64, 0, 0, vec![index as u8; 112])).collect();
    while !input.is_empty() && batch.len() < BATCH_ITEMS_MAX {
        let case = make(prefix, &batch, &mut input);
        batch.push(case);
    }
    let expected: Vec<bool> = batch.iter().map(|case| zebra(prefix, case)).collect();
    let items: Vec<Item<'_>> = batch
        .iter()
        .map(|case| Item { key: &case.key, message: &case.message, signature: &case.signature, hint: u32::from(case.key[0]) })
        .collect();
    for backend in Backend::ALL.into_iter().filter(|backend| backend.is_available()) {
        let mut verifier = Verifier::new(backend, seed);
        let cache = MapCache::default();
        let mut verdicts = Vec::new();
        // The reference knows neither modes nor caches.
        let modes = if backend == Backend::Reference { &[Mode::EachAlone][..] } else { &[Mode::BatchFirst, Mode::EachAlone] };
        for mode in modes.iter().copied() {
            verifier.verify(prefix, &items, &NoCache, mode, &mut verdicts);
            assert_eq!(verdicts, expected, "{backend}, {mode:?}");
            // The second round finds in the cache what the first has put there.
            let outcome = verifier.verify(prefix, &items, &cache, mode, &mut verdicts);
            assert_eq!(verdicts, expected, "{backend}, {mode:?}, cache");
            assert_eq!(outcome.valid + outcome.invalid, batch.len());
            assert!(!outcome.batch_equation_failed || outcome.invalid > 0, "{backend}");
        }
    }
});

#[derive(Clone)]
struct Case {
    key: [u8; 32],
    message: Vec<u8>,
    signature: [u8; 64],
}

fn make(prefix: &[u8], batch: &[Case], input: &mut Input<'_>) -> Case {
    let kind = input.u8();
    let mut case = match kind % 5 {
        0 => {
            let (number, length) = (u64::from(input.u8()), usize::from(input.u16()) % 600);
            signed(prefix, number, 0, 0, vec![kind; length])
        }
        1 => {
            let [number, torsion, length] = input.array();
            signed(prefix, u64::from(number), torsion % 8, torsion / 8, vec![kind; usize::from(length)])
        }
        2 => {
            let [key, commitment] = input.array();
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&small_order(commitment));
            Case { key: small_order(key), message: b"Zcash".to_vec(), signature }
        }
        3 if !batch.is_empty() => {
            // The signature of one with the key or message of another.
            let [from, other] = input.array::<2>().map(|place| &batch[usize::from(place) % batch.len()]);
            match kind / 5 % 3 {
                0 => from.clone(),
                1 => Case { key: other.key, ..from.clone() },
                _ => Case { message: other.message.clone(), ..from.clone() },
            }
        }
        _ => Case { key: input.array(), message: input.bytes(usize::from(kind)).to_vec(), signature: input.array() },
    };
    if kind >= 128 {
        for _ in 0..input.u8() % 4 {
            let [place, value] = input.array();
            match usize::from(place) % 100 {
                place @ 0..32 => case.key[place] = value,
                place @ 32..96 => case.signature[place - 32] = value,
                _ => case.message.push(value),
            }
        }
    }
    case
}

/// A signature that ZIP-215 accepts, by a key and a nonce with the given parts of small order.
fn signed(prefix: &[u8], number: u64, key_torsion: u8, nonce_torsion: u8, message: Vec<u8>) -> Case {
    let secret = Scalar::from(number % 16 + 1) * Scalar::from(0x0123_4567_89ab_cdefu64).invert();
    let nonce = Scalar::from(number + 3) * Scalar::from(0xfedc_ba98_7654_3211u64).invert();
    let torsion = |index: u8| EIGHT_TORSION[usize::from(index % 8)];
    let key = (EdwardsPoint::mul_base(&secret) + torsion(key_torsion)).compress().0;
    let commitment = (EdwardsPoint::mul_base(&nonce) + torsion(nonce_torsion)).compress().0;
    let digest = Sha512::new().chain_update(commitment).chain_update(key).chain_update(prefix).chain_update(&message);
    let challenge = Scalar::from_bytes_mod_order_wide(&digest.finalize().into());
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&commitment);
    signature[32..].copy_from_slice((nonce + challenge * secret).as_bytes());
    Case { key, message, signature }
}

/// One of the encodings of points of small order: the eight canonical ones, or one that is not canonical.
fn small_order(index: u8) -> [u8; 32] {
    match index % 14 {
        index @ 0..8 => EIGHT_TORSION[usize::from(index)].compress().0,
        8 => {
            let mut bytes = [0; 32];
            (bytes[0], bytes[31]) = (1, 0x80);
            bytes
        }
        index => {
            // y = -1 with the sign set, then p and p + 1 with either sign.
            let (low, high) = [(0xec, 0xff), (0xed, 0x7f), (0xed, 0xff), (0xee, 0x7f), (0xee, 0xff)][usize::from(index - 9)];
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, high);
            bytes
        }
    }
}

fn zebra(prefix: &[u8], case: &Case) -> bool {
    let text = [prefix, &case.message].concat();
    ed25519_zebra::VerificationKey::try_from(case.key)
        .and_then(|key| key.verify(&ed25519_zebra::Signature::from(case.signature), &text))
        .is_ok()
}

#[derive(Default)]
struct MapCache(RefCell<HashMap<[u8; 32], DecodedKey>>);

impl KeyCache for MapCache {
    fn get(&self, _hint: u32, key: &[u8; 32]) -> Option<DecodedKey> {
        self.0.borrow().get(key).copied()
    }

    fn put(&self, _hint: u32, key: &[u8; 32], decoded: &DecodedKey) {
        self.0.borrow_mut().insert(*key, *decoded);
    }
}
