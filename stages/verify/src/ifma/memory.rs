//! Between memory and lanes: loads, stores, and points of a table. All `unsafe` code of the lanes is in this file.
//!
//! A point in a table is whole cache lines, so eight points of eight places are read line by line and turned by a transpose: eight loads
//! and 24 shuffles for eight limbs of eight lanes. Gathers and scatters of single words would say the same in fewer lines; where a processor takes
//! them apart into micro-operations (Zen 4 does) they cost more than the arithmetic on what they bring.
//!
//! Each function is safe to call. Indices are clamped to the table, so none can reach outside it.

use super::field::{Field, Lanes, Mask, splat};
use super::point::{AffineNiels, ProjectiveNiels};
use core::arch::x86_64::*;

/// The eight lanes of a vector in memory, lane 0 first; also a cache line of a point.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct LaneWords(pub(super) [u64; 8]);

/// One point as [`AffineNiels`] holds eight: limbs of y+x, y-x and 2dxy, and a filler that makes it two cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
pub(super) struct NielsEntry([LaneWords; 2]);

impl NielsEntry {
    /// The neutral point: x = 0, y = 1.
    pub(super) const IDENTITY: NielsEntry =
        NielsEntry([LaneWords([1, 0, 0, 0, 0, 1, 0, 0]), LaneWords([0, 0, 0, 0, 0, 0, 0, 0])]);
}

/// One point as [`ProjectiveNiels`] holds eight: limbs of y+x, y-x, 2z and 2dt, and a filler that makes it three cache
/// lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct ProjectiveEntry([LaneWords; 3]);

impl ProjectiveEntry {
    pub(super) const ZERO: ProjectiveEntry = ProjectiveEntry([LaneWords([0; 8]); 3]);
}

/// The vector that eight words in memory make.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn load(words: &LaneWords) -> Lanes {
    // SAFETY: `LaneWords` is 64 bytes, aligned to 64.
    unsafe { _mm512_load_si512(words.0.as_ptr().cast()) }
}

/// The eight lanes of a vector as words in memory.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn store(lanes: Lanes) -> LaneWords {
    let mut words = LaneWords::default();
    // SAFETY: `LaneWords` is 64 bytes, aligned to 64.
    unsafe { _mm512_store_si512(words.0.as_mut_ptr().cast(), lanes) };
    words
}

/// Eight digits, widened to 64 bits with their sign.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn load_digits(digits: &[i16; 8]) -> Lanes {
    // SAFETY: the array is 16 bytes; the load needs no alignment.
    _mm512_cvtepi16_epi64(unsafe { _mm_loadu_si128(digits.as_ptr().cast()) })
}

/// Eight 32-byte values as four vectors of little-endian words.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn load_bytes(values: &[&[u8; 32]; 8]) -> [Lanes; 4] {
    let mut rows = [LaneWords::default(); 4];
    for (lane, value) in values.iter().enumerate() {
        let (words, _) = value.as_chunks::<8>();
        for (row, word) in rows.iter_mut().zip(words) {
            row.0[lane] = u64::from_le_bytes(*word);
        }
    }
    [load(&rows[0]), load(&rows[1]), load(&rows[2]), load(&rows[3])]
}

/// `index`, or the last index of a table of `len` entries where it is beyond. An empty table is refused.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn clamp(index: Lanes, len: usize) -> Lanes {
    assert!(len > 0, "a table that lanes read from has at least one entry");
    _mm512_min_epu64(index, splat(len as u64 - 1))
}

/// [`clamp`], as places of the table.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn places(index: Lanes, len: usize) -> [usize; 8] {
    store(clamp(index, len)).0.map(|place| place as usize)
}

/// Word `i` of row `j` becomes word `j` of row `i`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn transpose(rows: [Lanes; 8]) -> [Lanes; 8] {
    // Pairs of rows side by side: in each 128 bits the same word of both.
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    let (l0, h0) = (_mm512_unpacklo_epi64(r0, r1), _mm512_unpackhi_epi64(r0, r1));
    let (l1, h1) = (_mm512_unpacklo_epi64(r2, r3), _mm512_unpackhi_epi64(r2, r3));
    let (l2, h2) = (_mm512_unpacklo_epi64(r4, r5), _mm512_unpackhi_epi64(r4, r5));
    let (l3, h3) = (_mm512_unpacklo_epi64(r6, r7), _mm512_unpackhi_epi64(r6, r7));
    let [c0, c2, c4, c6] = columns([l0, l1, l2, l3]);
    let [c1, c3, c5, c7] = columns([h0, h1, h2, h3]);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

/// The transpose of four vectors of four 128-bit parts.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn columns(rows: [Lanes; 4]) -> [Lanes; 4] {
    const EVEN: i32 = 0b10_00_10_00;
    const ODD: i32 = 0b11_01_11_01;
    let [r0, r1, r2, r3] = rows;
    let (even_01, odd_01) = (_mm512_shuffle_i64x2::<EVEN>(r0, r1), _mm512_shuffle_i64x2::<ODD>(r0, r1));
    let (even_23, odd_23) = (_mm512_shuffle_i64x2::<EVEN>(r2, r3), _mm512_shuffle_i64x2::<ODD>(r2, r3));
    [
        _mm512_shuffle_i64x2::<EVEN>(even_01, even_23),
        _mm512_shuffle_i64x2::<EVEN>(odd_01, odd_23),
        _mm512_shuffle_i64x2::<ODD>(even_01, even_23),
        _mm512_shuffle_i64x2::<ODD>(odd_01, odd_23),
    ]
}

/// Line `$line` of the entries at eight places, turned: vector `i` holds word `i` of all eight.
macro_rules! turned_lines {
    ($table:expr, $places:expr, $line:expr) => {{
        let [p0, p1, p2, p3, p4, p5, p6, p7] = $places;
        transpose([
            load(&$table[p0].0[$line]),
            load(&$table[p1].0[$line]),
            load(&$table[p2].0[$line]),
            load(&$table[p3].0[$line]),
            load(&$table[p4].0[$line]),
            load(&$table[p5].0[$line]),
            load(&$table[p6].0[$line]),
            load(&$table[p7].0[$line]),
        ])
    }};
}

/// The points at eight indices of a table.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn gather_affine(table: &[NielsEntry], index: Lanes) -> AffineNiels {
    let places = places(index, table.len());
    let [s0, s1, s2, s3, s4, d0, d1, d2] = turned_lines!(table, places, 0);
    let [d3, d4, p0, p1, p2, p3, p4, _] = turned_lines!(table, places, 1);
    AffineNiels {
        sum: Field([s0, s1, s2, s3, s4]),
        difference: Field([d0, d1, d2, d3, d4]),
        product: Field([p0, p1, p2, p3, p4]),
    }
}

/// Writes the points of the lanes in `mask` to eight indices of a table.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn scatter_affine(table: &mut [NielsEntry], index: Lanes, mask: Mask, points: &AffineNiels) {
    let places = places(index, table.len());
    let (Field([s0, s1, s2, s3, s4]), Field([d0, d1, d2, d3, d4])) = (points.sum, points.difference);
    let Field([p0, p1, p2, p3, p4]) = points.product;
    let first = transpose([s0, s1, s2, s3, s4, d0, d1, d2]);
    let second = transpose([d3, d4, p0, p1, p2, p3, p4, splat(0)]);
    for lane in 0..8 {
        if mask >> lane & 1 == 1 {
            table[places[lane]] = NielsEntry([store(first[lane]), store(second[lane])]);
        }
    }
}

/// The numbers at eight positions of a list for the lanes in `mask`, `default` in the others.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn gather_numbers(list: &[u32], position: Lanes, mask: Mask, default: u32) -> Lanes {
    let position = clamp(position, list.len());
    let default = _mm256_set1_epi32(default as i32);
    // SAFETY: every position is below the list's length.
    let numbers = unsafe { _mm512_mask_i64gather_epi32::<4>(default, mask, position, list.as_ptr().cast()) };
    _mm512_cvtepu32_epi64(numbers)
}

/// Writes point `i` of eight to `index[i]` of a table.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn scatter_projective(table: &mut [ProjectiveEntry], index: Lanes, points: &ProjectiveNiels) {
    let places = places(index, table.len());
    let (Field([s0, s1, s2, s3, s4]), Field([d0, d1, d2, d3, d4])) = (points.sum, points.difference);
    let (Field([z0, z1, z2, z3, z4]), Field([p0, p1, p2, p3, p4])) = (points.z_2, points.product);
    let zero = splat(0);
    let first = transpose([s0, s1, s2, s3, s4, d0, d1, d2]);
    let second = transpose([d3, d4, z0, z1, z2, z3, z4, p0]);
    let third = transpose([p1, p2, p3, p4, zero, zero, zero, zero]);
    for lane in 0..8 {
        table[places[lane]] = ProjectiveEntry([store(first[lane]), store(second[lane]), store(third[lane])]);
    }
}

/// The points at eight indices of a table.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn gather_projective(table: &[ProjectiveEntry], index: Lanes) -> ProjectiveNiels {
    let places = places(index, table.len());
    let [s0, s1, s2, s3, s4, d0, d1, d2] = turned_lines!(table, places, 0);
    let [d3, d4, z0, z1, z2, z3, z4, p0] = turned_lines!(table, places, 1);
    let [p1, p2, p3, p4, ..] = turned_lines!(table, places, 2);
    ProjectiveNiels {
        sum: Field([s0, s1, s2, s3, s4]),
        difference: Field([d0, d1, d2, d3, d4]),
        z_2: Field([z0, z1, z2, z3, z4]),
        product: Field([p0, p1, p2, p3, p4]),
    }
}

/// `first`, `first + 1`, ... `first + 7`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn consecutive(first: usize) -> Lanes {
    _mm512_add_epi64(splat(first as u64), _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0))
}
