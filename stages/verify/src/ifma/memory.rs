//! Between memory and lanes: loads, stores, gathers and scatters. All `unsafe` code of the lanes is in this file.
//!
//! Each function is safe to call. Gathers and scatters take indices, not addresses, and clamp them to the table (one
//! instruction against fifteen gathers), so no index can reach outside it.

use super::field::{Field, Lanes, Mask, splat};
use super::point::{AffineNiels, ProjectiveNiels};
use core::arch::x86_64::*;

/// The eight lanes of a vector in memory, lane 0 first.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct LaneWords(pub(super) [u64; 8]);

/// One point as [`AffineNiels`] holds eight: limbs of y+x, y-x and 2dxy, and a filler that makes it two cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
pub(super) struct NielsEntry([u64; 16]);

/// 64-bit words of an entry.
const ENTRY_WORDS: usize = 16;

impl NielsEntry {
    /// The neutral point: x = 0, y = 1.
    pub(super) const IDENTITY: NielsEntry = NielsEntry([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

/// Eight points as [`ProjectiveNiels`] holds them, in memory: row `i` is limb `i` (y+x, y-x, 2z, 2dt), so that one lane
/// can be written or read alone.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct ProjectiveRows([LaneWords; PROJECTIVE_ROWS]);

const PROJECTIVE_ROWS: usize = 20;

/// 64-bit words of a [`ProjectiveRows`].
const PROJECTIVE_WORDS: usize = PROJECTIVE_ROWS * 8;

impl ProjectiveRows {
    pub(super) const ZERO: ProjectiveRows = ProjectiveRows([LaneWords([0; 8]); PROJECTIVE_ROWS]);
}

/// One point as [`ProjectiveNiels`] holds eight: limbs of y+x, y-x, 2z and 2dt, and a filler that makes it three cache
/// lines. A bucket's sum is written and read as a whole, so it lies in as few lines as it can.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct ProjectiveEntry([u64; PROJECTIVE_ENTRY_WORDS]);

/// 64-bit words of a [`ProjectiveEntry`].
const PROJECTIVE_ENTRY_WORDS: usize = 24;

impl ProjectiveEntry {
    pub(super) const ZERO: ProjectiveEntry = ProjectiveEntry([0; PROJECTIVE_ENTRY_WORDS]);
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

/// The points at eight indices of a table.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn gather_affine(table: &[NielsEntry], index: Lanes) -> AffineNiels {
    let offset = _mm512_slli_epi64::<4>(clamp(index, table.len()));
    let base = table.as_ptr().cast::<i64>();
    macro_rules! limb {
        ($word:expr) => {{
            const { assert!($word < ENTRY_WORDS) };
            // SAFETY: offset is 16 times an index below the table's length, so `offset + word` is a word of that entry.
            unsafe { _mm512_i64gather_epi64::<8>(offset, base.add($word)) }
        }};
    }
    AffineNiels {
        sum: Field([limb!(0), limb!(1), limb!(2), limb!(3), limb!(4)]),
        difference: Field([limb!(5), limb!(6), limb!(7), limb!(8), limb!(9)]),
        product: Field([limb!(10), limb!(11), limb!(12), limb!(13), limb!(14)]),
    }
}

/// Writes the points of the lanes in `mask` to eight indices of a table.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn scatter_affine(table: &mut [NielsEntry], index: Lanes, mask: Mask, points: &AffineNiels) {
    let offset = _mm512_slli_epi64::<4>(clamp(index, table.len()));
    let base = table.as_mut_ptr().cast::<i64>();
    for limb in 0..5 {
        // SAFETY: offset is 16 times an index below the table's length, and `10 + limb` is below 16.
        unsafe {
            _mm512_mask_i64scatter_epi64::<8>(base.add(limb), mask, offset, points.sum.0[limb]);
            _mm512_mask_i64scatter_epi64::<8>(base.add(5 + limb), mask, offset, points.difference.0[limb]);
            _mm512_mask_i64scatter_epi64::<8>(base.add(10 + limb), mask, offset, points.product.0[limb]);
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

/// Where eight entries of a table of `len` begin, in words: 24 times the index.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn entry_offset(index: Lanes, len: usize) -> Lanes {
    const { assert!(PROJECTIVE_ENTRY_WORDS == 16 + 8) };
    let index = clamp(index, len);
    _mm512_add_epi64(_mm512_slli_epi64::<4>(index), _mm512_slli_epi64::<3>(index))
}

/// Writes point `i` of eight to `index[i]` of a table.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn scatter_projective(table: &mut [ProjectiveEntry], index: Lanes, points: &ProjectiveNiels) {
    let offset = entry_offset(index, table.len());
    let base = table.as_mut_ptr().cast::<i64>();
    for limb in 0..5 {
        // SAFETY: offset is 24 times an index below the table's length, and `15 + limb` is below 20.
        unsafe {
            _mm512_i64scatter_epi64::<8>(base.add(limb), offset, points.sum.0[limb]);
            _mm512_i64scatter_epi64::<8>(base.add(5 + limb), offset, points.difference.0[limb]);
            _mm512_i64scatter_epi64::<8>(base.add(10 + limb), offset, points.z_2.0[limb]);
            _mm512_i64scatter_epi64::<8>(base.add(15 + limb), offset, points.product.0[limb]);
        }
    }
}

/// The points at `first` to `first + 7` of a table.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn load_projective(table: &[ProjectiveEntry], first: usize) -> ProjectiveNiels {
    let index = _mm512_add_epi64(splat(first as u64), _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0));
    let offset = entry_offset(index, table.len());
    let base = table.as_ptr().cast::<i64>();
    macro_rules! limb {
        ($word:expr) => {{
            const { assert!($word < PROJECTIVE_ENTRY_WORDS) };
            // SAFETY: offset is 24 times an index below the table's length, so `offset + word` is a word of that entry.
            unsafe { _mm512_i64gather_epi64::<8>(offset, base.add($word)) }
        }};
    }
    ProjectiveNiels {
        sum: Field([limb!(0), limb!(1), limb!(2), limb!(3), limb!(4)]),
        difference: Field([limb!(5), limb!(6), limb!(7), limb!(8), limb!(9)]),
        z_2: Field([limb!(10), limb!(11), limb!(12), limb!(13), limb!(14)]),
        product: Field([limb!(15), limb!(16), limb!(17), limb!(18), limb!(19)]),
    }
}

/// Lane `i` of row set `index[i]`, for each lane `i`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn gather_projective(rows: &[ProjectiveRows], index: Lanes) -> ProjectiveNiels {
    // 160 words a row set: 128 + 32.
    const { assert!(PROJECTIVE_WORDS == 128 + 32) };
    let row = clamp(index, rows.len());
    let lane = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    let offset = _mm512_add_epi64(_mm512_add_epi64(_mm512_slli_epi64::<7>(row), _mm512_slli_epi64::<5>(row)), lane);
    let base = rows.as_ptr().cast::<i64>();
    macro_rules! limb {
        ($row:expr) => {{
            const { assert!($row < PROJECTIVE_ROWS) };
            // SAFETY: offset is 160 times an index below the number of row sets, plus a lane below 8; `row` adds at most
            // 19 * 8 to it.
            unsafe { _mm512_i64gather_epi64::<8>(offset, base.add($row * 8)) }
        }};
    }
    ProjectiveNiels {
        sum: Field([limb!(0), limb!(1), limb!(2), limb!(3), limb!(4)]),
        difference: Field([limb!(5), limb!(6), limb!(7), limb!(8), limb!(9)]),
        z_2: Field([limb!(10), limb!(11), limb!(12), limb!(13), limb!(14)]),
        product: Field([limb!(15), limb!(16), limb!(17), limb!(18), limb!(19)]),
    }
}

/// Fills all eight lanes of a row set.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn store_projective(points: &ProjectiveNiels) -> ProjectiveRows {
    let mut rows = ProjectiveRows::ZERO;
    for limb in 0..5 {
        rows.0[limb] = store(points.sum.0[limb]);
        rows.0[5 + limb] = store(points.difference.0[limb]);
        rows.0[10 + limb] = store(points.z_2.0[limb]);
        rows.0[15 + limb] = store(points.product.0[limb]);
    }
    rows
}
