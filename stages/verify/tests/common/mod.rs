//! What the tests share: crafted signatures, ed25519-zebra as the oracle, and a check of every path against it.
#![allow(dead_code)] // each test binary uses a part

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use sha2::{Digest, Sha512};
use std::cell::RefCell;
use std::collections::HashMap;
use tana_verify::{Backend, DecodedKey, Item, KeyCache, Mode, NoCache, Outcome, Verifier};

/// One signature with all that it needs, under some prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    pub key: [u8; 32],
    pub message: Vec<u8>,
    pub signature: [u8; 64],
}

pub fn generator(seed: u64) -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(seed)
}

pub fn draw_scalar(random: &mut impl Rng) -> Scalar {
    let mut wide = [0; 64];
    random.fill_bytes(&mut wide);
    Scalar::from_bytes_mod_order_wide(&wide)
}

/// The 14 encodings of points of small order that ZIP-215 accepts: 8 canonical, 6 not.
pub fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut list: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.compress().0).collect();
    let mut one_signed = [0; 32];
    (one_signed[0], one_signed[31]) = (1, 0x80);
    let mut minus_one_signed = [0xff; 32];
    minus_one_signed[0] = 0xec;
    list.extend([one_signed, minus_one_signed]);
    for low in [0xed, 0xee] {
        for sign in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, sign);
            list.push(bytes);
        }
    }
    list
}

/// How a crafted signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As every wallet makes it.
    Honest,
    /// Key and R carry parts of small order; valid under the cofactored rule only.
    MixedOrder,
    /// Key and R of small order, canonical or not, s = 0.
    SmallOrder,
    /// An honest one with one bit of key, signature or message flipped.
    Corrupted,
    /// Mixed order, and s off by one.
    MixedOrderWrong,
    /// s plus the group order.
    LargeResponse,
    /// The key is random bytes: half of them are no point.
    RandomKey,
    /// R is random bytes: half of them are no point.
    RandomCommitment,
    /// Everything random.
    Noise,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::Honest,
        Kind::MixedOrder,
        Kind::SmallOrder,
        Kind::Corrupted,
        Kind::MixedOrderWrong,
        Kind::LargeResponse,
        Kind::RandomKey,
        Kind::RandomCommitment,
        Kind::Noise,
    ];
}

/// A signature of the given kind over prefix and a random message. Few different keys, so that some repeat in a batch.
pub fn craft(kind: Kind, prefix: &[u8], message_bytes: usize, seed: u64) -> Case {
    let mut random = generator(seed);
    let mut message = vec![0; message_bytes];
    random.fill_bytes(&mut message);
    let secret = Scalar::from(random.next_u64() % 20 + 1) * Scalar::from(0x1234_5678_9abc_def1u64).invert();
    let torsion = |pick: u64, kind: Kind| match kind {
        Kind::MixedOrder | Kind::MixedOrderWrong => EIGHT_TORSION[pick as usize % 8],
        _ => EIGHT_TORSION[0],
    };
    let mut key = (EdwardsPoint::mul_base(&secret) + torsion(random.next_u64(), kind)).compress().0;
    let nonce = draw_scalar(&mut random);
    let mut commitment = (EdwardsPoint::mul_base(&nonce) + torsion(random.next_u64(), kind)).compress().0;
    let small = small_order_encodings();
    match kind {
        Kind::SmallOrder => {
            key = small[random.next_u64() as usize % small.len()];
            commitment = small[random.next_u64() as usize % small.len()];
        }
        Kind::RandomKey => random.fill_bytes(&mut key),
        Kind::RandomCommitment => random.fill_bytes(&mut commitment),
        _ => {}
    }
    let digest = Sha512::new().chain_update(commitment).chain_update(key).chain_update(prefix).chain_update(&message);
    let challenge = Scalar::from_bytes_mod_order_wide(&digest.finalize().into());
    let mut response = match kind {
        Kind::SmallOrder => Scalar::ZERO,
        Kind::MixedOrderWrong => nonce + challenge * secret + Scalar::ONE,
        _ => nonce + challenge * secret,
    }
    .to_bytes();
    if kind == Kind::LargeResponse {
        response = plus_order(&response);
    }
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&commitment);
    signature[32..].copy_from_slice(&response);
    let mut case = Case { key, message, signature };
    match kind {
        Kind::Corrupted => flip_a_bit(&mut case, &mut random),
        Kind::Noise => {
            random.fill_bytes(&mut case.key);
            random.fill_bytes(&mut case.signature);
        }
        _ => {}
    }
    case
}

/// `s + l`: the same number modulo l, in an encoding that is not allowed.
fn plus_order(response: &[u8; 32]) -> [u8; 32] {
    // l - 1, from its encoding, and one more through the carry.
    let order_less_one = (-Scalar::ONE).to_bytes();
    let mut carry = 1u16;
    core::array::from_fn(|i| {
        carry += response[i] as u16 + order_less_one[i] as u16;
        let byte = carry as u8;
        carry >>= 8;
        byte
    })
}

fn flip_a_bit(case: &mut Case, random: &mut impl Rng) {
    let bit = random.next_u64() as usize % ((96 + case.message.len()) * 8);
    let mask = 1 << (bit % 8);
    match bit / 8 {
        at @ 0..32 => case.key[at] ^= mask,
        at @ 32..96 => case.signature[at - 32] ^= mask,
        at => case.message[at - 96] ^= mask,
    }
}

/// The oracle: what ed25519-zebra says of this signature alone.
pub fn zebra(prefix: &[u8], case: &Case) -> bool {
    let text = [prefix, &case.message].concat();
    ed25519_zebra::VerificationKey::try_from(case.key)
        .and_then(|key| key.verify(&ed25519_zebra::Signature::from(case.signature), &text))
        .is_ok()
}

pub fn items(cases: &[Case]) -> Vec<Item<'_>> {
    cases
        .iter()
        .map(|case| Item { key: &case.key, message: &case.message, signature: &case.signature, hint: u32::MAX })
        .collect()
}

/// The backends that this machine runs; says so when one is missing.
pub fn backends() -> Vec<Backend> {
    Backend::ALL
        .into_iter()
        .filter(|backend| {
            if !backend.is_available() {
                println!("not run: {backend} (this CPU cannot)");
            }
            backend.is_available()
        })
        .collect()
}

pub fn verify(verifier: &mut Verifier, prefix: &[u8], cases: &[Case], mode: Mode) -> (Vec<bool>, Outcome) {
    let mut verdicts = vec![true; 3]; // left-overs of the caller must not matter
    let outcome = verifier.verify(prefix, &items(cases), &NoCache, mode, &mut verdicts);
    assert_eq!(verdicts.len(), cases.len());
    assert_eq!(outcome.valid, verdicts.iter().filter(|verdict| **verdict).count());
    assert_eq!(outcome.invalid, cases.len() - outcome.valid);
    (verdicts, outcome)
}

/// One verifier of each backend, for many batches.
pub fn verifiers() -> Vec<Verifier> {
    backends().into_iter().map(|backend| Verifier::new(backend, [3; 32])).collect()
}

/// Every path, both modes, with and without a warm cache: all give what zebra gives. Returns zebra's verdicts.
pub fn assert_all_agree(verifiers: &mut [Verifier], prefix: &[u8], cases: &[Case]) -> Vec<bool> {
    let expected: Vec<bool> = cases.iter().map(|case| zebra(prefix, case)).collect();
    let items = items(cases);
    for verifier in verifiers {
        let backend = verifier.backend();
        for mode in [Mode::BatchFirst, Mode::EachAlone] {
            let (verdicts, _) = verify(verifier, prefix, cases, mode);
            assert_eq!(verdicts, expected, "{backend}, {mode:?}, no cache");
        }
        let cache = MapCache::default();
        for round in ["cold", "warm"] {
            let mut verdicts = Vec::new();
            verifier.verify(prefix, &items, &cache, Mode::BatchFirst, &mut verdicts);
            assert_eq!(verdicts, expected, "{backend}, {round} cache");
        }
    }
    expected
}

/// A cache by key bytes that counts what happens to it.
#[derive(Default)]
pub struct MapCache {
    pub map: RefCell<HashMap<[u8; 32], DecodedKey>>,
    pub puts: RefCell<usize>,
    pub gets: RefCell<usize>,
}

impl KeyCache for MapCache {
    fn get(&self, _hint: u32, key: &[u8; 32]) -> Option<DecodedKey> {
        *self.gets.borrow_mut() += 1;
        self.map.borrow().get(key).copied()
    }

    fn put(&self, _hint: u32, key: &[u8; 32], decoded: &DecodedKey) {
        *self.puts.borrow_mut() += 1;
        self.map.borrow_mut().insert(*key, *decoded);
    }
}
