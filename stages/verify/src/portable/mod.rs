//! The batch equation on curve25519-dalek, for CPUs without the instructions of the lanes.
//!
//! The steps are those of the lanes, one signature after the other: set aside what cannot be valid, decode, merge the
//! terms of each key, check 8 (sum z R + sum (z k) A - (sum z s) B) = 0 by one multiscalar multiplication, and if that
//! fails each signature by [`reference::check`]. dalek chooses the algorithm (Straus below 190 terms, Pippenger above)
//! and the vector instructions.

mod affine;
mod field;
#[cfg(test)]
mod tests;

use crate::merge::KeyMerge;
use crate::{DecodedKey, Item, KeyCache, Mode, reference};
use affine::{Coordinates, DECODE_WIDTH};
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, IsIdentity, VartimeMultiscalarMul};
use rand::Rng;

/// Below this many signatures, checking each on its own costs no more than the equation.
const EQUATION_ITEMS_MIN: usize = 4;

/// The portable path's work space.
pub(crate) struct Portable {
    merge: KeyMerge,
    coordinates: Coordinates,
    challenges: Vec<Scalar>,
    responses: Vec<Scalar>,
    /// R of every item (neutral where it does not decode), then the distinct keys, then B for the equation.
    points: Vec<EdwardsPoint>,
    /// Slot and item of the distinct keys that the cache did not have.
    missing: Vec<(u32, u32)>,
    key_valid: Vec<bool>,
    scalars: Vec<Scalar>,
}

impl Portable {
    pub(crate) fn new(merge: KeyMerge) -> Portable {
        Portable {
            merge,
            coordinates: Coordinates::new(),
            challenges: Vec::new(),
            responses: Vec::new(),
            points: Vec::new(),
            missing: Vec::new(),
            key_valid: Vec::new(),
            scalars: Vec::new(),
        }
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
        self.read_signatures(prefix, items, verdicts);
        self.decode_keys(items, cache, verdicts);
        let left = verdicts.iter().filter(|verdict| **verdict).count();
        let mut failed = false;
        if mode == Mode::BatchFirst && left >= EQUATION_ITEMS_MIN {
            if self.equation_holds(random, verdicts) {
                return false;
            }
            failed = true;
        }
        self.check_each(verdicts);
        failed
    }

    /// s, R and k of every item; an item without s or R is invalid.
    fn read_signatures(&mut self, prefix: &[u8], items: &[Item<'_>], verdicts: &mut [bool]) {
        self.challenges.clear();
        self.responses.clear();
        self.points.clear();
        for (group, verdicts) in items.chunks(DECODE_WIDTH).zip(verdicts.chunks_mut(DECODE_WIDTH)) {
            let halves: [([u8; 32], [u8; 32]); DECODE_WIDTH] =
                core::array::from_fn(|i| reference::halves(group[i.min(group.len() - 1)].signature));
            let commitments = self.coordinates.decode(halves.each_ref().map(|(commitment, _)| commitment));
            for (i, (item, verdict)) in group.iter().zip(verdicts).enumerate() {
                let signature = reference::read_response(halves[i].1).zip(commitments[i]);
                *verdict = signature.is_some();
                let (response, commitment) = signature.unwrap_or((Scalar::ZERO, EdwardsPoint::identity()));
                self.challenges.push(if *verdict { reference::challenge(prefix, item) } else { Scalar::ZERO });
                self.responses.push(response);
                self.points.push(commitment);
            }
        }
    }

    /// The distinct keys of the items still in the batch; an item whose key does not decode is invalid.
    fn decode_keys(&mut self, items: &[Item<'_>], cache: &impl KeyCache, verdicts: &mut [bool]) {
        self.merge.run(items, verdicts);
        let first_key = self.points.len();
        self.key_valid.clear();
        self.missing.clear();
        for (slot, index) in self.merge.distinct().iter().enumerate() {
            let item = &items[*index as usize];
            let known =
                cache.get(item.hint, item.key).and_then(|decoded| self.coordinates.point_of(item.key, &decoded.x));
            if known.is_none() {
                self.missing.push((slot as u32, *index));
            }
            self.key_valid.push(known.is_some());
            self.points.push(known.unwrap_or_else(EdwardsPoint::identity));
        }
        for group in self.missing.chunks(DECODE_WIDTH) {
            let of = |i: usize| &items[group[i].1 as usize];
            let points = self.coordinates.decode(core::array::from_fn(|i| of(i.min(group.len() - 1)).key));
            for (i, (slot, _)) in group.iter().enumerate() {
                let Some(point) = points[i] else { continue };
                self.key_valid[*slot as usize] = true;
                self.points[first_key + *slot as usize] = point;
                if let Some(x) = self.coordinates.x_of(&point) {
                    cache.put(of(i).hint, of(i).key, &DecodedKey { x });
                }
            }
        }
        for (verdict, slot) in verdicts.iter_mut().zip(self.merge.slots()) {
            *verdict = *verdict && self.key_valid[*slot as usize];
        }
    }

    /// The batch equation over the items that are still valid; the others get coefficient 0.
    fn equation_holds(&mut self, random: &mut impl Rng, verdicts: &[bool]) -> bool {
        let first_key = verdicts.len();
        self.scalars.clear();
        self.scalars.resize(first_key + self.merge.distinct().len(), Scalar::ZERO);
        let mut base = Scalar::ZERO;
        for (index, verdict) in verdicts.iter().enumerate() {
            if !verdict {
                continue;
            }
            let mut draw = [0; 16];
            random.fill_bytes(&mut draw);
            // 127 bits, of which the lowest is 1 (a coefficient of 0 would let its signature out of the equation).
            let coefficient = Scalar::from(u128::from_le_bytes(draw) >> 1 | 1);
            self.scalars[index] = coefficient;
            self.scalars[first_key + self.merge.slots()[index] as usize] += coefficient * self.challenges[index];
            base -= coefficient * self.responses[index];
        }
        self.scalars.push(base);
        self.points.push(ED25519_BASEPOINT_POINT);
        let sum = EdwardsPoint::vartime_multiscalar_mul(self.scalars.iter(), self.points.iter());
        sum.mul_by_cofactor().is_identity()
    }

    /// A verdict for each item that is still valid.
    fn check_each(&mut self, verdicts: &mut [bool]) {
        let first_key = verdicts.len();
        for (index, verdict) in verdicts.iter_mut().enumerate() {
            if *verdict {
                let key = &self.points[first_key + self.merge.slots()[index] as usize];
                *verdict = reference::check(key, &self.points[index], &self.challenges[index], &self.responses[index]);
            }
        }
    }
}
