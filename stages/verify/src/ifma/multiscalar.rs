//! The sum of many points times many scalars: Pippenger's bucket method, in lanes.
//!
//! Scalars are cut into signed digits of `width` bits; window `j` of a scalar weighs 2^(width j). Terms come in two
//! lengths, coefficients up to 2^126 (half the windows) and full scalars.
//!
//! 1. **Sort.** Every (window, |digit|) is a bucket; a term goes into one bucket of each of its windows, with the
//!    digit's sign. Counting sort, so buckets are runs in one list.
//! 2. **Fill.** Eight buckets at a time are summed, one in each lane. Buckets are taken in the order of how full they
//!    are, so that the eight of a group are done at the same time and no lane idles.
//! 3. **Reduce.** The bucket sums lie so that lane `i` holds window `8 g + i`: for each group `g` of eight windows, the
//!    running-sum trick (sum of `q` times bucket `q` by two additions a bucket) works on eight windows at once.
//! 4. **Join.** Groups are joined by `8 width` doublings each, from the top; then the eight lanes by `width` doublings
//!    each. The result is in every lane.
//!
//! Nothing depends on secrets. Memory: the work space grows to the largest batch seen and stays.

use super::field::{self, Lanes, splat};
use super::memory::{self, LaneWords, NielsEntry, ProjectiveEntry};
use super::point::{AffineNiels, Extended, Projective, ProjectiveNiels};
use super::scalar::{Scalar, SignedDigits};
use core::arch::x86_64::*;

/// Coefficients are at most 2^126.
pub(super) const COEFFICIENT_BITS: u32 = 126;

/// Scalars are below l, and so below 2^253.
const SCALAR_BITS: u32 = 253;

/// What [`SignedDigits`] wants above a number's bits.
const DIGIT_BITS_SPARE: u32 = 2;

pub(super) const WIDTH_MIN: u32 = 4;
pub(super) const WIDTH_MAX: u32 = 10;

/// Windows of a scalar at [`WIDTH_MIN`].
const WINDOWS_MAX: usize = 64;
const _: () = assert!((SCALAR_BITS + DIGIT_BITS_SPARE).div_ceil(WIDTH_MIN) as usize <= WINDOWS_MAX);

/// The place of a term that is in no bucket of a window.
const NO_BUCKET: u32 = u32::MAX;

/// How the scalars of one sum are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Windows {
    /// Bits of a window.
    width: u32,
    /// Windows of a coefficient.
    short: usize,
    /// Windows of a scalar.
    long: usize,
    /// Groups of eight windows.
    groups: usize,
    /// Buckets of a window: digits 1 to 2^(width - 1).
    buckets: usize,
}

impl Windows {
    fn of_width(width: u32) -> Windows {
        let long = (SCALAR_BITS + DIGIT_BITS_SPARE).div_ceil(width) as usize;
        Windows {
            width,
            short: (COEFFICIENT_BITS + DIGIT_BITS_SPARE).div_ceil(width) as usize,
            long,
            groups: long.div_ceil(8),
            buckets: 1 << (width - 1),
        }
    }

    /// The cheapest split for so many terms. Costs are in hundredths of an eight-lane addition, measured on Sapphire Rapids: filling takes
    /// one addition and its reads (135) for every eight digits, reducing two for every eight buckets, with their
    /// writes and reads (300). That gives windows of 5 bits for batches of 64, 7 for 256, 8 for 512 to 2,048.
    fn cheapest(short_terms: usize, long_terms: usize) -> Windows {
        let cost = |width: u32| {
            let windows = Windows::of_width(width);
            let digits = short_terms * windows.short + long_terms * windows.long;
            digits * 135 / 8 + windows.groups * windows.buckets * 300
        };
        let width = (WIDTH_MIN..=WIDTH_MAX).min_by_key(|width| cost(*width)).unwrap_or(WIDTH_MIN);
        Windows::of_width(width)
    }
}

/// Work space for sums.
#[derive(Default)]
pub(super) struct Multiscalar {
    /// For each window of each term: twice the bucket, plus one where the digit is negative; [`NO_BUCKET`] for digit 0.
    digits: Vec<[u32; WINDOWS_MAX]>,
    /// Terms in each bucket. Bucket `q` of window `8 g + i` is at `8 (g * buckets + q) + i`, so that the same bucket of a
    /// group's eight windows stands in a row.
    counts: Vec<u32>,
    /// Where each bucket's run ends in `list`.
    ends: Vec<u32>,
    /// Twice the index of a term's point, plus one where its digit is negative; bucket after bucket.
    list: Vec<u32>,
    /// Buckets from the fullest to the emptiest.
    order: Vec<u32>,
    histogram: Vec<u32>,
    /// Bucket sums, in the order of `counts`.
    sums: Vec<ProjectiveEntry>,
}

impl Multiscalar {
    /// The sum of `short[i]` times point `i` and `long[i]` times point `short.len() + i`, in every lane.
    ///
    /// One point more than there are scalars must follow, the neutral one: idle lanes add it. Coefficients are at most
    /// 2 to the [`COEFFICIENT_BITS`], scalars below l.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn sum(&mut self, points: &[NielsEntry], short: &[[u64; 2]], long: &[Scalar]) -> Projective {
        self.sum_in(points, short, long, Windows::cheapest(short.len(), long.len()))
    }

    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    fn sum_in(&mut self, points: &[NielsEntry], short: &[[u64; 2]], long: &[Scalar], windows: Windows) -> Projective {
        assert_eq!(points.len(), short.len() + long.len() + 1, "one neutral point follows the terms");
        self.sort(short, long, windows);
        self.rank(windows);
        self.fill(points, windows);
        self.reduce(windows)
    }

    /// [`Multiscalar::sum`] with windows of a given width, to try them all.
    #[cfg(test)]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn sum_of_width(
        &mut self,
        points: &[NielsEntry],
        short: &[[u64; 2]],
        long: &[Scalar],
        width: u32,
    ) -> Projective {
        self.sum_in(points, short, long, Windows::of_width(width))
    }

    /// Step 1: digits, then a counting sort of the terms into buckets.
    fn sort(&mut self, short: &[[u64; 2]], long: &[Scalar], windows: Windows) {
        let bucket_count = windows.groups * 8 * windows.buckets;
        self.counts.clear();
        self.counts.resize(bucket_count, 0);
        self.digits.resize(short.len() + long.len(), [0; WINDOWS_MAX]);
        let (short_digits, long_digits) = self.digits.split_at_mut(short.len());
        let split = SignedDigits::new(windows.width, windows.short);
        for (codes, coefficient) in short_digits.iter_mut().zip(short) {
            let digits = split.of(&[coefficient[0], coefficient[1], 0, 0]);
            count(digits, codes, windows.buckets, &mut self.counts);
        }
        let split = SignedDigits::new(windows.width, windows.long);
        for (codes, scalar) in long_digits.iter_mut().zip(long) {
            count(split.of(scalar), codes, windows.buckets, &mut self.counts);
        }
        let mut total = 0u32;
        self.ends.clear();
        self.ends.extend(self.counts.iter().map(|count| {
            let start = total;
            total = total.wrapping_add(*count);
            start
        }));
        self.list.clear();
        self.list.resize(total as usize + 1, 0);
        for (index, codes) in self.digits.iter().enumerate() {
            let used = if index < short.len() { windows.short } else { windows.long };
            let term = (index as u32) << 1;
            for code in &codes[..used] {
                if *code != NO_BUCKET {
                    let end = &mut self.ends[(code >> 1) as usize];
                    self.list[*end as usize] = term | code & 1;
                    *end = end.wrapping_add(1);
                }
            }
        }
    }

    /// Step 2a: the order of the buckets, fullest first (a counting sort by count).
    fn rank(&mut self, windows: Windows) {
        let bucket_count = windows.groups * 8 * windows.buckets;
        let count_max = self.counts.iter().copied().max().unwrap_or(0);
        self.histogram.clear();
        self.histogram.resize(count_max as usize + 2, 0);
        for count in &self.counts {
            let entry = &mut self.histogram[(count_max - count) as usize + 1];
            *entry = entry.wrapping_add(1);
        }
        let mut total = 0;
        for entry in &mut self.histogram {
            total = entry.wrapping_add(total);
            *entry = total;
        }
        self.order.resize(bucket_count, 0);
        for (bucket, count) in self.counts.iter().enumerate() {
            let place = &mut self.histogram[(count_max - count) as usize];
            self.order[*place as usize] = bucket as u32;
            *place = place.wrapping_add(1);
        }
    }

    /// Step 2b: the sum of every bucket.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    fn fill(&mut self, points: &[NielsEntry], windows: Windows) {
        self.sums.resize(windows.groups * 8 * windows.buckets, ProjectiveEntry::ZERO);
        let neutral = (points.len() as u32 - 1) << 1;
        let (groups, _) = self.order.as_chunks::<8>();
        for group in groups {
            let (mut counts, mut starts) = (LaneWords::default(), LaneWords::default());
            let mut places = LaneWords::default();
            for (lane, bucket) in group.iter().enumerate() {
                let (count, end) = (self.counts[*bucket as usize], self.ends[*bucket as usize]);
                counts.0[lane] = count as u64;
                starts.0[lane] = end.wrapping_sub(count) as u64;
                places.0[lane] = *bucket as u64;
            }
            let run = Run { list: &self.list, counts: memory::load(&counts), starts: memory::load(&starts), neutral };
            let sum = match counts.0[0] {
                0 => ProjectiveNiels::identity(),
                1 => run.points(points, 0).projective_niels(),
                count => {
                    let mut sum = run.points(points, 0).extended();
                    for step in 1..count {
                        sum = sum.add_affine(&run.points(points, step)).extended();
                    }
                    sum.niels()
                }
            };
            memory::scatter_projective(&mut self.sums, memory::load(&places), &sum);
        }
    }

    /// Steps 3 and 4.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    fn reduce(&self, windows: Windows) -> Projective {
        let mut total: Option<Projective> = None;
        for buckets in self.sums.chunks_exact(8 * windows.buckets).rev() {
            let (mut running, mut weighted) = (Extended::identity(), Extended::identity());
            for bucket in (0..windows.buckets).rev() {
                running = running.add(&memory::gather_projective(buckets, memory::consecutive(8 * bucket))).extended();
                weighted = weighted.add(&running.niels()).extended();
            }
            total = Some(match total {
                None => weighted.projective(),
                Some(total) => {
                    let shifted = total.double_times(8 * windows.width - 1).double().extended();
                    shifted.add(&weighted.niels()).projective()
                }
            });
        }
        // There is always a group: a split has at least 26 windows.
        let lanes = total.unwrap_or(Extended::identity().projective()).extended().niels();
        let mut joined = Extended::identity().add(&lanes.broadcast(7)).extended();
        for lane in (0..7).rev() {
            let shifted = joined.projective().double_times(windows.width - 1).double().extended();
            joined = shifted.add(&lanes.broadcast(lane)).extended();
        }
        joined.projective()
    }
}

/// Counts a term's digits into the buckets of their windows, and notes which buckets these are.
#[inline]
fn count(digits: impl Iterator<Item = i32>, codes: &mut [u32; WINDOWS_MAX], buckets: usize, counts: &mut [u32]) {
    for (window, (digit, code)) in digits.zip(codes).enumerate() {
        *code = NO_BUCKET;
        if digit != 0 {
            let first = (window / 8) * 8 * buckets + window % 8;
            let bucket = first + 8 * (digit.unsigned_abs() as usize - 1);
            counts[bucket] = counts[bucket].wrapping_add(1);
            *code = (bucket as u32) << 1 | (digit < 0) as u32;
        }
    }
}

/// Eight runs of the list, one in each lane.
struct Run<'a> {
    list: &'a [u32],
    counts: Lanes,
    starts: Lanes,
    neutral: u32,
}

impl Run<'_> {
    /// The points at `step` of each run, negated where their digit is; the neutral point where a run has ended.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    fn points(&self, points: &[NielsEntry], step: u64) -> AffineNiels {
        let step = splat(step);
        let running = _mm512_cmpgt_epu64_mask(self.counts, step);
        let codes = memory::gather_numbers(self.list, _mm512_add_epi64(self.starts, step), running, self.neutral);
        let negative = _mm512_test_epi64_mask(codes, field::splat(1));
        memory::gather_affine(points, _mm512_srli_epi64::<1>(codes)).negate_where(negative)
    }
}
