//! Eight signatures, each with a verdict of its own: is 8 (s B - k A - R) the neutral point?
//!
//! `k A` by signed windows of five bits, from a table of 0 to 16 times A that is made for the eight keys; `s B` by
//! windows of ten bits, from a table of 0 to 512 times B that is made once. Both share the doublings. This is the
//! equation of ZIP-215 and of ed25519-zebra, so a signature is accepted here exactly if it is there.

use super::field::{Lanes, Mask};
use super::memory::{self, NielsEntry, ProjectiveEntry};
use super::point::{AffineNiels, Extended, ProjectiveNiels, decode_pair};
use super::scalar::{Scalar, SignedDigits};
use core::arch::x86_64::*;
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::traits::Identity;

const KEY_WIDTH: u32 = 5;
const KEY_WINDOWS: usize = 51;
const KEY_MULTIPLES: usize = 1 << (KEY_WIDTH - 1);
const BASE_WIDTH: u32 = 10;
const BASE_WINDOWS: usize = 26;
const BASE_MULTIPLES: usize = 1 << (BASE_WIDTH - 1);

// Scalars have 253 bits and signed digits want two more. The two splits meet at every second window of the key.
const _: () = assert!(KEY_WIDTH as usize * KEY_WINDOWS >= 255 && BASE_WIDTH as usize * BASE_WINDOWS >= 255);
const _: () = assert!(BASE_WIDTH == 2 * KEY_WIDTH && KEY_WINDOWS.div_ceil(2) == BASE_WINDOWS);

const KEY_DIGITS: SignedDigits = SignedDigits::new(KEY_WIDTH, KEY_WINDOWS);
const BASE_DIGITS: SignedDigits = SignedDigits::new(BASE_WIDTH, BASE_WINDOWS);

/// The multiples 0 to 512 of the base point; 64 KiB.
pub(super) struct BaseTable(Vec<NielsEntry>);

impl BaseTable {
    /// Computes the table, in a few milliseconds.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn new() -> BaseTable {
        let mut multiples = vec![EdwardsPoint::identity()];
        for i in 0..BASE_MULTIPLES {
            multiples.push(multiples[i] + ED25519_BASEPOINT_POINT);
        }
        let encodings: Vec<[u8; 32]> =
            EdwardsPoint::compress_batch_alloc(&multiples).iter().map(|encoding| encoding.to_bytes()).collect();
        let mut entries = vec![NielsEntry::IDENTITY; encodings.len()];
        let last = encodings.len() - 1;
        for base in (0..encodings.len()).step_by(8) {
            let values = core::array::from_fn(|lane| &encodings[(base + lane).min(last)]);
            let words = memory::load_bytes(&values);
            let [points, _] = decode_pair(&[words, words]);
            let index = memory::consecutive(base);
            // Lanes past the end repeat the last point and write it to its own place.
            let niels = AffineNiels::from_affine(&points.x, &points.y);
            memory::scatter_affine(&mut entries, index, points.valid, &niels);
        }
        BaseTable(entries)
    }

    /// The base point itself.
    pub(super) fn base_point(&self) -> NielsEntry {
        self.0[1]
    }
}

/// What eight checks need beside the points.
pub(super) struct Scalars<'a> {
    /// k = SHA-512(R, A, text) mod l.
    pub(super) challenge: [&'a Scalar; 8],
    /// The second half of the signature, below l.
    pub(super) response: [&'a Scalar; 8],
}

/// The lanes whose signature is valid, from decoded keys and R.
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn check(base: &BaseTable, key: &AffineNiels, commitment: &AffineNiels, scalars: &Scalars<'_>) -> Mask {
    let mut key_digits = [[0i16; 8]; KEY_WINDOWS];
    let mut base_digits = [[0i16; 8]; BASE_WINDOWS];
    transpose(&scalars.challenge, &KEY_DIGITS, &mut key_digits);
    transpose(&scalars.response, &BASE_DIGITS, &mut base_digits);
    let table = key_table(&key.negate_where(0xff));
    let mut sum = Extended::identity();
    for window in (0..KEY_WINDOWS).rev() {
        let digits = memory::load_digits(&key_digits[window]);
        let multiple = memory::gather_projective(&table, place_of(_mm512_abs_epi64(digits)));
        let mut completed = sum.add(&multiple.negate_where(_mm512_movepi64_mask(digits)));
        if window % 2 == 0 {
            let digits = memory::load_digits(&base_digits[window / 2]);
            let multiple = memory::gather_affine(&base.0, _mm512_abs_epi64(digits));
            completed = completed.extended().add_affine(&multiple.negate_where(_mm512_movepi64_mask(digits)));
        }
        if window > 0 {
            completed = completed.projective().double_times(KEY_WIDTH - 1).double();
        }
        sum = completed.extended();
    }
    let difference = sum.add_affine(&commitment.negate_where(0xff)).projective();
    difference.double_times(3).is_identity()
}

/// Digits of eight scalars, window by window.
fn transpose<const WINDOWS: usize>(scalars: &[&Scalar; 8], split: &SignedDigits, digits: &mut [[i16; 8]; WINDOWS]) {
    for (lane, scalar) in scalars.iter().enumerate() {
        for (row, digit) in digits.iter_mut().zip(split.of(scalar)) {
            row[lane] = digit as i16;
        }
    }
}

/// The multiples 0 to 16 of eight points: that of lane `i` by `m` stands at `8 m + i`.
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn key_table(point: &AffineNiels) -> [ProjectiveEntry; 8 * (KEY_MULTIPLES + 1)] {
    let step = *point;
    let mut table = [ProjectiveEntry::ZERO; 8 * (KEY_MULTIPLES + 1)];
    memory::scatter_projective(&mut table, memory::consecutive(0), &ProjectiveNiels::identity());
    memory::scatter_projective(&mut table, memory::consecutive(8), &step.projective_niels());
    let mut multiple = step.extended();
    for m in 2..=KEY_MULTIPLES {
        multiple = multiple.add_affine(&step).extended();
        memory::scatter_projective(&mut table, memory::consecutive(8 * m), &multiple.niels());
    }
    table
}

/// Where each lane's multiple stands in [`key_table`].
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn place_of(multiple: Lanes) -> Lanes {
    _mm512_add_epi64(_mm512_slli_epi64::<3>(multiple), memory::consecutive(0))
}
