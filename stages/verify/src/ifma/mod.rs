//! Eight signatures side by side in the lanes of AVX-512 IFMA.
//!
//! One signature's arithmetic is a chain of dependent steps, and a vector made of one point's coordinates mostly shuffles.
//! Eight *different* signatures have nothing to do with each other: every step is one vector instruction for all eight;
//! only reads of tables shuffle ([`memory`]). A batch goes through:
//!
//! 1. `k = SHA-512(R, A, prefix, message) mod l` for each signature ([`sha512`], [`scalar`]), and s below l or invalid.
//! 2. Every R is decoded, sixteen at a time ([`point`]); one that is not on the curve makes its signature invalid.
//! 3. Keys: the signatures of one key share it. Keys known to the cache come as x and are only checked; the others are
//!    decoded sixteen at a time and given to the cache.
//! 4. The batch equation: with random 126-bit z, is 8 (sum z R + sum (z k) A - (sum z s) B) the neutral point?
//!    ([`multiscalar`]) If so, everything still in the batch is valid, but for a chance of 2^-126.
//! 5. Otherwise, or when the caller asks for it, or when a batch is too small to gain: each signature on its own
//!    ([`single`]).
//!
//! Modules by trust: [`memory`] holds all `unsafe` memory access, behind bounds-safe functions; everything else is safe
//! code that the compiler lets only functions with the same CPU features call. The one remaining `unsafe` call is here,
//! after [`is_available`].

mod field;
mod memory;
mod multiscalar;
mod point;
mod scalar;
mod sha512;
mod single;
#[cfg(test)]
mod tests;

use crate::merge::KeyMerge;
use crate::{DecodedKey, Item, KeyCache, Mode};
use memory::NielsEntry;
use multiscalar::Multiscalar;
use point::AffineNiels;
use rand::Rng;
use scalar::Scalar;
use sha2::{Digest, Sha512};
use single::BaseTable;
use std::sync::OnceLock;

/// Below this many signatures, checking each on its own costs no more than the equation.
const EQUATION_ITEMS_MIN: usize = 17;

/// An encoding of the neutral point: fills the lanes that a group of eight has left.
const NEUTRAL_ENCODING: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
};

/// Whether this CPU has what the lanes need.
pub(crate) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512ifma")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
}

/// The lanes' work space. It exists only where [`is_available`].
pub(crate) struct Engine {
    base: &'static BaseTable,
    blocks: sha512::Blocks,
    /// Items in the order in which they are hashed.
    order: Vec<u32>,
    challenges: Vec<Scalar>,
    responses: Vec<Scalar>,
    /// R of every item, up to a multiple of 16; then the distinct keys; then, for the equation, B and the neutral point.
    points: Vec<NielsEntry>,
    merge: KeyMerge,
    /// Distinct keys that the cache did not have.
    missing: Vec<u32>,
    key_valid: Vec<bool>,
    coefficients: Vec<[u64; 2]>,
    scalars: Vec<Scalar>,
    random: Vec<u8>,
    sum: Multiscalar,
}

impl Engine {
    /// `None` where the CPU lacks the instructions. `merge` finds equal keys.
    pub(crate) fn new(merge: KeyMerge) -> Option<Engine> {
        static BASE: OnceLock<BaseTable> = OnceLock::new();
        if !is_available() {
            return None;
        }
        // SAFETY: the CPU has the features, as just checked.
        let base = BASE.get_or_init(|| unsafe { BaseTable::new() });
        Some(Engine {
            base,
            blocks: sha512::Blocks::default(),
            order: Vec::new(),
            challenges: Vec::new(),
            responses: Vec::new(),
            points: Vec::new(),
            merge,
            missing: Vec::new(),
            key_valid: Vec::new(),
            coefficients: Vec::new(),
            scalars: Vec::new(),
            random: Vec::new(),
            sum: Multiscalar::default(),
        })
    }

    /// Judges every item: `verdicts` has one entry each, all `true` on entry, and those of invalid signatures become
    /// `false`. Returns whether a batch equation was tried and failed.
    pub(crate) fn verify(
        &mut self,
        prefix: &[u8],
        items: &[Item<'_>],
        cache: &impl KeyCache,
        mode: Mode,
        random: &mut impl Rng,
        verdicts: &mut [bool],
    ) -> bool {
        // SAFETY: an engine exists only where `is_available`, so the CPU has the features.
        unsafe { self.verify_in_lanes(prefix, items, cache, mode, random, verdicts) }
    }

    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    fn verify_in_lanes(
        &mut self,
        prefix: &[u8],
        items: &[Item<'_>],
        cache: &impl KeyCache,
        mode: Mode,
        random: &mut impl Rng,
        verdicts: &mut [bool],
    ) -> bool {
        self.read_responses(items, verdicts);
        self.hash(prefix, items);
        self.decode_commitments(items, verdicts);
        self.decode_keys(items, cache, verdicts);
        let mut failed = false;
        let left = verdicts.iter().filter(|verdict| **verdict).count();
        if mode == Mode::BatchFirst && left >= EQUATION_ITEMS_MIN {
            if self.equation_holds(random, verdicts) {
                return false;
            }
            failed = true;
        }
        self.check_each(verdicts);
        failed
    }

    /// Step 1a: the second half of each signature; from l up it is invalid.
    fn read_responses(&mut self, items: &[Item<'_>], verdicts: &mut [bool]) {
        self.responses.clear();
        for (item, verdict) in items.iter().zip(verdicts) {
            let response = scalar::words_of(halves(item.signature).1);
            *verdict &= scalar::is_reduced(&response);
            self.responses.push(response);
        }
    }

    /// Step 1b: k of every item. Items of like length are hashed together; very long ones on their own.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    fn hash(&mut self, prefix: &[u8], items: &[Item<'_>]) {
        let text_bytes = |item: &Item<'_>| 64 + prefix.len() + item.message.len();
        self.challenges.clear();
        self.challenges.resize(items.len(), [0; 4]);
        self.order.clear();
        for (index, item) in items.iter().enumerate() {
            if text_bytes(item) <= sha512::TEXT_BYTES_MAX {
                self.order.push(index as u32);
            } else {
                self.challenges[index] = challenge_alone(prefix, item);
            }
        }
        let blocks = |index: &u32| sha512::blocks_of(text_bytes(&items[*index as usize]));
        if !self.order.is_sorted_by_key(blocks) {
            self.order.sort_unstable_by_key(blocks);
        }
        for group in self.order.chunks(8) {
            for lane in 0..8 {
                // Lanes that are left over hash the last text again.
                let item = &items[group[lane.min(group.len() - 1)] as usize];
                self.blocks.set(lane, &[halves(item.signature).0, item.key, prefix, item.message]);
            }
            let digest = self.blocks.digest();
            let mut rows = [memory::LaneWords::default(); 8];
            for (row, word) in rows.iter_mut().zip(digest) {
                *row = memory::store(word);
            }
            for (lane, index) in group.iter().enumerate() {
                let wide = core::array::from_fn(|word| rows[word].0[lane]);
                self.challenges[*index as usize] = scalar::reduce_wide(&wide);
            }
        }
    }

    /// Step 2: `points[i]` becomes R of item `i`; the places up to a multiple of 16 stay neutral.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    fn decode_commitments(&mut self, items: &[Item<'_>], verdicts: &mut [bool]) {
        self.points.clear();
        self.points.resize(items.len().next_multiple_of(16), NielsEntry::IDENTITY);
        for start in (0..items.len()).step_by(16) {
            let encoding = |i: usize| items.get(i).map_or(&NEUTRAL_ENCODING, |item| halves(item.signature).0);
            let decoded = decode_sixteen(start, encoding);
            for (half, points) in decoded.iter().enumerate() {
                let first = start + 8 * half;
                let niels = AffineNiels::from_affine(&points.x, &points.y);
                memory::scatter_affine(&mut self.points, memory::consecutive(first), points.valid, &niels);
                for (lane, verdict) in verdicts.iter_mut().skip(first).take(8).enumerate() {
                    *verdict &= points.valid >> lane & 1 == 1;
                }
            }
        }
    }

    /// Step 3: distinct keys of the items still in the batch, decoded into `points` after the R's.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    fn decode_keys(&mut self, items: &[Item<'_>], cache: &impl KeyCache, verdicts: &mut [bool]) {
        self.merge.run(items, verdicts);
        let first_key = self.points.len();
        let key_count = self.merge.distinct().len();
        self.points.resize(first_key + key_count, NielsEntry::IDENTITY);
        self.key_valid.clear();
        self.key_valid.resize(key_count, false);
        self.missing.clear();
        for start in (0..key_count).step_by(8) {
            self.load_known_keys(items, cache, first_key, start);
        }
        for start in (0..self.missing.len()).step_by(16) {
            self.decode_missing_keys(items, cache, first_key, start);
        }
        for (verdict, slot) in verdicts.iter_mut().zip(self.merge.slots()) {
            *verdict = *verdict && self.key_valid[*slot as usize];
        }
    }

    /// Keys `start` to `start + 7`, as far as the cache has them; the others are noted as missing.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    fn load_known_keys(&mut self, items: &[Item<'_>], cache: &impl KeyCache, first_key: usize, start: usize) {
        let group = &self.merge.distinct()[start..];
        let group = &group[..group.len().min(8)];
        let mut known = [[0u8; 32]; 8];
        let mut keys = [&NEUTRAL_ENCODING; 8];
        let mut found = 0u8;
        for (lane, index) in group.iter().enumerate() {
            let item = &items[*index as usize];
            keys[lane] = item.key;
            if let Some(decoded) = cache.get(item.hint, item.key) {
                known[lane] = decoded.x;
                found |= 1 << lane;
            }
        }
        if found != 0 {
            let points = point::decode_known(&memory::load_bytes(&keys), &memory::load_bytes(&known.each_ref()));
            found &= points.valid;
            let niels = AffineNiels::from_affine(&points.x, &points.y);
            memory::scatter_affine(&mut self.points, memory::consecutive(first_key + start), found, &niels);
        }
        for lane in 0..group.len() {
            if found >> lane & 1 == 1 {
                self.key_valid[start + lane] = true;
            } else {
                self.missing.push((start + lane) as u32);
            }
        }
    }

    /// Decodes sixteen of the missing keys and hands their x to the cache.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    fn decode_missing_keys(&mut self, items: &[Item<'_>], cache: &impl KeyCache, first_key: usize, start: usize) {
        let (missing, distinct) = (&self.missing, self.merge.distinct());
        let item_of = |slot: u32| &items[distinct[slot as usize] as usize];
        let encoding = |i: usize| missing.get(i).map_or(&NEUTRAL_ENCODING, |slot| item_of(*slot).key);
        let decoded = decode_sixteen(start, encoding);
        for (half, points) in decoded.iter().enumerate() {
            let Some(group) = missing.get(start + 8 * half..) else { continue };
            let group = &group[..group.len().min(8)];
            let mut index = memory::LaneWords::default();
            let mut valid = points.valid;
            for lane in 0..8 {
                match group.get(lane) {
                    Some(slot) => index.0[lane] = (first_key + *slot as usize) as u64,
                    None => valid &= !(1 << lane),
                }
            }
            let niels = AffineNiels::from_affine(&points.x, &points.y);
            memory::scatter_affine(&mut self.points, memory::load(&index), valid, &niels);
            let x_rows = field::to_words(&points.x).map(|word| memory::store(word));
            for (lane, slot) in group.iter().enumerate() {
                if valid >> lane & 1 == 1 {
                    self.key_valid[*slot as usize] = true;
                    let item = item_of(*slot);
                    let mut x = [0; 32];
                    for (bytes, row) in x.as_chunks_mut::<8>().0.iter_mut().zip(&x_rows) {
                        *bytes = row.0[lane].to_le_bytes();
                    }
                    cache.put(item.hint, item.key, &DecodedKey { x });
                }
            }
        }
    }

    /// Step 4: the batch equation over the items that are still valid; the others get coefficient 0.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    fn equation_holds(&mut self, random: &mut impl Rng, verdicts: &[bool]) -> bool {
        let first_key = verdicts.len().next_multiple_of(16);
        self.random.resize(verdicts.len() * 16, 0);
        random.fill_bytes(&mut self.random);
        self.coefficients.clear();
        self.coefficients.resize(first_key, [0; 2]);
        self.scalars.clear();
        self.scalars.resize(self.merge.distinct().len(), [0; 4]);
        let mut base_sum = [0; 8];
        let (draws, _) = self.random.as_chunks::<16>();
        for (index, draw) in draws.iter().enumerate() {
            if !verdicts[index] {
                continue;
            }
            // From 1 to 2^126: a coefficient of 0 would let its signature out of the equation.
            let draw = (u128::from_le_bytes(*draw) >> (128 - multiscalar::COEFFICIENT_BITS)).wrapping_add(1);
            let coefficient = [draw as u64, (draw >> 64) as u64];
            self.coefficients[index] = coefficient;
            scalar::accumulate(&mut base_sum, &coefficient, &self.responses[index]);
            let term = scalar::multiply_coefficient(&coefficient, &self.challenges[index]);
            let of_key = &mut self.scalars[self.merge.slots()[index] as usize];
            *of_key = scalar::add(of_key, &term);
        }
        self.scalars.push(scalar::negate(&scalar::reduce_wide(&base_sum)));
        self.points.push(self.base.base_point());
        self.points.push(NielsEntry::IDENTITY);
        let sum = self.sum.sum(&self.points, &self.coefficients, &self.scalars);
        sum.double_times(3).is_identity() & 1 == 1
    }

    /// Step 5: a verdict for each item that is still valid, eight at a time.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    fn check_each(&mut self, verdicts: &mut [bool]) {
        let first_key = verdicts.len().next_multiple_of(16);
        self.order.clear();
        self.order.extend((0..verdicts.len() as u32).filter(|index| verdicts[*index as usize]));
        for group in self.order.chunks(8) {
            // Lanes that are left over check the last item again.
            let members: [usize; 8] = core::array::from_fn(|lane| group[lane.min(group.len() - 1)] as usize);
            let (mut commitments, mut keys) = (memory::LaneWords::default(), memory::LaneWords::default());
            for (lane, index) in members.iter().enumerate() {
                commitments.0[lane] = *index as u64;
                keys.0[lane] = (first_key + self.merge.slots()[*index] as usize) as u64;
            }
            let valid = single::check(
                self.base,
                &memory::gather_affine(&self.points, memory::load(&keys)),
                &memory::gather_affine(&self.points, memory::load(&commitments)),
                &single::Scalars {
                    challenge: members.map(|index| &self.challenges[index]),
                    response: members.map(|index| &self.responses[index]),
                },
            );
            for (lane, index) in group.iter().enumerate() {
                verdicts[*index as usize] = valid >> lane & 1 == 1;
            }
        }
    }
}

/// R and s of a signature.
fn halves(signature: &[u8; 64]) -> (&[u8; 32], &[u8; 32]) {
    match signature.as_chunks::<32>().0 {
        [commitment, response] => (commitment, response),
        // 64 bytes are two chunks of 32.
        _ => unreachable!(),
    }
}

/// k of one item without lanes.
fn challenge_alone(prefix: &[u8], item: &Item<'_>) -> Scalar {
    let digest: [u8; 64] = Sha512::new()
        .chain_update(halves(item.signature).0)
        .chain_update(item.key)
        .chain_update(prefix)
        .chain_update(item.message)
        .finalize()
        .into();
    let (words, _) = digest.as_chunks::<8>();
    scalar::reduce_wide(&core::array::from_fn(|i| u64::from_le_bytes(words[i])))
}

/// Decodes the sixteen points that `encoding` gives for `start` and the following numbers.
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn decode_sixteen<'a>(start: usize, encoding: impl Fn(usize) -> &'a [u8; 32]) -> [point::Decoded; 2] {
    let values: [&[u8; 32]; 16] = core::array::from_fn(|i| encoding(start + i));
    let [first, second] = [&values[..8], &values[8..]].map(|half| core::array::from_fn(|lane| half[lane]));
    point::decode_pair(&[memory::load_bytes(&first), memory::load_bytes(&second)])
}
