//! Eight elements of GF(2^255 - 19) side by side, one in each 64-bit lane of a 512-bit vector.
//!
//! An element is five limbs of 51 bits (radix 2^51), so a [`Field`] is five vectors: vector `i` holds limb `i` of all
//! eight elements. AVX-512 IFMA multiplies 52-bit numbers and adds the low or the high 52 bits of the product to a
//! 64-bit sum: that is what [`multiply_wide`] and [`square_wide`] are made of.
//!
//! Bounds, because IFMA silently ignores bits above 52:
//!
//! 1. Limbs of a [`Field`] are below 2^51 + 2^18 (so below 2^52). Every function here returns such limbs.
//! 2. A product before carrying is a [`Wide`]: at most 125 * 2^52, so limbs are below 2^59. Sums of up to eight of them,
//!    or a difference with the multiple of p in [`subtract_wide`] (2^62), stay below 2^63.
//! 3. [`carry`] takes any limbs below 2^64: a carry is below 2^13, and 19 times it below 2^18.
//!
//! Values are only known modulo p; [`freeze`] gives the one canonical form. Nothing here is secret, so nothing is
//! constant-time. All of it is safe code: the functions need the CPU features that [`super::is_available`] checks, and
//! the compiler lets only functions with the same features call them without `unsafe`.

use core::arch::x86_64::*;

/// One 64-bit number in each of eight lanes.
pub(super) type Lanes = __m512i;

/// Which of the eight lanes: bit `i` for lane `i`.
pub(super) type Mask = __mmask8;

/// Eight field elements with carried limbs (see the bounds above).
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Field(pub(super) [Lanes; 5]);

/// Eight field elements with limbs that wait for [`carry`].
pub(super) type Wide = [Lanes; 5];

const LIMB_BITS: u32 = 51;
const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;

/// The limbs of p: the lowest, and the other four.
const P_LOW: u64 = LIMB_MASK - 18;
const P_HIGH: u64 = LIMB_MASK;

/// The same number in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn splat(value: u64) -> Lanes {
    _mm512_set1_epi64(value as i64)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn low(sum: Lanes, a: Lanes, b: Lanes) -> Lanes {
    _mm512_madd52lo_epu64(sum, a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn high(sum: Lanes, a: Lanes, b: Lanes) -> Lanes {
    _mm512_madd52hi_epu64(sum, a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn plus(a: Lanes, b: Lanes) -> Lanes {
    _mm512_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn twice(a: Lanes) -> Lanes {
    _mm512_add_epi64(a, a)
}

/// `sum + 19 * a`: what overflows 2^255 comes back multiplied by 19.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn plus_19_times(sum: Lanes, a: Lanes) -> Lanes {
    let a_3 = plus(twice(a), a);
    plus(plus(sum, a_3), _mm512_slli_epi64::<4>(a))
}

/// The same element, given by its five limbs, in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn constant(limbs: [u64; 5]) -> Field {
    Field([splat(limbs[0]), splat(limbs[1]), splat(limbs[2]), splat(limbs[3]), splat(limbs[4])])
}

/// Eight times 0.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn zero() -> Field {
    constant([0; 5])
}

/// Eight times 1.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn one() -> Field {
    constant([1, 0, 0, 0, 0])
}

/// `a * b`, not carried. The high half of a product of limbs `i` and `j` weighs 2^(51 (i + j) + 52), which is twice the
/// weight of limb `i + j + 1`; hence the doublings of the high sums.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn multiply_wide(a: &Field, b: &Field) -> Wide {
    let [a0, a1, a2, a3, a4] = a.0;
    let [b0, b1, b2, b3, b4] = b.0;
    let z = splat(0);
    let h0 = high(z, a0, b0);
    let h1 = high(high(z, a0, b1), a1, b0);
    let h2 = high(high(high(z, a0, b2), a1, b1), a2, b0);
    let h3 = high(high(high(high(z, a0, b3), a1, b2), a2, b1), a3, b0);
    let h4 = high(high(high(high(high(z, a0, b4), a1, b3), a2, b2), a3, b1), a4, b0);
    let h5 = high(high(high(high(z, a1, b4), a2, b3), a3, b2), a4, b1);
    let h6 = high(high(high(z, a2, b4), a3, b3), a4, b2);
    let h7 = high(high(z, a3, b4), a4, b3);
    let h8 = high(z, a4, b4);
    let r0 = low(z, a0, b0);
    let r1 = low(low(twice(h0), a0, b1), a1, b0);
    let r2 = low(low(low(twice(h1), a0, b2), a1, b1), a2, b0);
    let r3 = low(low(low(low(twice(h2), a0, b3), a1, b2), a2, b1), a3, b0);
    let r4 = low(low(low(low(low(twice(h3), a0, b4), a1, b3), a2, b2), a3, b1), a4, b0);
    let r5 = low(low(low(low(twice(h4), a1, b4), a2, b3), a3, b2), a4, b1);
    let r6 = low(low(low(twice(h5), a2, b4), a3, b3), a4, b2);
    let r7 = low(low(twice(h6), a3, b4), a4, b3);
    let r8 = low(twice(h7), a4, b4);
    let r9 = twice(h8);
    fold(r0, r1, r2, r3, r4, [r5, r6, r7, r8, r9])
}

/// `a * a`, not carried: [`multiply_wide`] with the equal halves computed once.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn square_wide(a: &Field) -> Wide {
    let [a0, a1, a2, a3, a4] = a.0;
    let z = splat(0);
    let h0 = high(z, a0, a0);
    let h1 = twice(high(z, a0, a1));
    let h2 = high(twice(high(z, a0, a2)), a1, a1);
    let h3 = twice(high(high(z, a0, a3), a1, a2));
    let h4 = high(twice(high(high(z, a0, a4), a1, a3)), a2, a2);
    let h5 = twice(high(high(z, a1, a4), a2, a3));
    let h6 = high(twice(high(z, a2, a4)), a3, a3);
    let h7 = twice(high(z, a3, a4));
    let h8 = high(z, a4, a4);
    let r0 = low(z, a0, a0);
    let r1 = twice(low(h0, a0, a1));
    let r2 = low(twice(low(h1, a0, a2)), a1, a1);
    let r3 = twice(low(low(h2, a0, a3), a1, a2));
    let r4 = low(twice(low(low(h3, a0, a4), a1, a3)), a2, a2);
    let r5 = twice(low(low(h4, a1, a4), a2, a3));
    let r6 = low(twice(low(h5, a2, a4)), a3, a3);
    let r7 = twice(low(h6, a3, a4));
    let r8 = low(twice(h7), a4, a4);
    let r9 = twice(h8);
    fold(r0, r1, r2, r3, r4, [r5, r6, r7, r8, r9])
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn fold(r0: Lanes, r1: Lanes, r2: Lanes, r3: Lanes, r4: Lanes, over: Wide) -> Wide {
    [
        plus_19_times(r0, over[0]),
        plus_19_times(r1, over[1]),
        plus_19_times(r2, over[2]),
        plus_19_times(r3, over[3]),
        plus_19_times(r4, over[4]),
    ]
}

/// Moves what each limb has above 51 bits into the next one, once, all limbs at the same time.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn carry(wide: Wide) -> Field {
    let mask = splat(LIMB_MASK);
    let c0 = _mm512_srli_epi64::<LIMB_BITS>(wide[0]);
    let c1 = _mm512_srli_epi64::<LIMB_BITS>(wide[1]);
    let c2 = _mm512_srli_epi64::<LIMB_BITS>(wide[2]);
    let c3 = _mm512_srli_epi64::<LIMB_BITS>(wide[3]);
    let c4 = _mm512_srli_epi64::<LIMB_BITS>(wide[4]);
    Field([
        low(_mm512_and_si512(wide[0], mask), c4, splat(19)),
        plus(_mm512_and_si512(wide[1], mask), c0),
        plus(_mm512_and_si512(wide[2], mask), c1),
        plus(_mm512_and_si512(wide[3], mask), c2),
        plus(_mm512_and_si512(wide[4], mask), c3),
    ])
}

/// `a * b`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn multiply(a: &Field, b: &Field) -> Field {
    carry(multiply_wide(a, b))
}

/// `a * a`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn square(a: &Field) -> Field {
    carry(square_wide(a))
}

/// `a + b`, not carried.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn add_wide(a: Wide, b: Wide) -> Wide {
    [plus(a[0], b[0]), plus(a[1], b[1]), plus(a[2], b[2]), plus(a[3], b[3]), plus(a[4], b[4])]
}

/// `a - b + 2^SHIFT p`, not carried; limbs of `b` must be below 2^(51 + SHIFT) - 2^(SHIFT + 5).
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn subtract_biased<const SHIFT: u32>(a: Wide, b: Wide) -> Wide {
    let (bias_low, bias_high) = (splat(P_LOW << SHIFT), splat(P_HIGH << SHIFT));
    [
        _mm512_sub_epi64(plus(a[0], bias_low), b[0]),
        _mm512_sub_epi64(plus(a[1], bias_high), b[1]),
        _mm512_sub_epi64(plus(a[2], bias_high), b[2]),
        _mm512_sub_epi64(plus(a[3], bias_high), b[3]),
        _mm512_sub_epi64(plus(a[4], bias_high), b[4]),
    ]
}

/// `a - b`, not carried, where `b` may be a product or a sum of two (limbs below 2^61).
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn subtract_wide(a: Wide, b: Wide) -> Wide {
    subtract_biased::<11>(a, b)
}

/// `2 a`, not carried.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn double_wide(a: &Field) -> Wide {
    add_wide(a.0, a.0)
}

/// `a + b`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn add(a: &Field, b: &Field) -> Field {
    carry(add_wide(a.0, b.0))
}

/// `a - b`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn subtract(a: &Field, b: &Field) -> Field {
    carry(subtract_biased::<2>(a.0, b.0))
}

/// `-a`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn negate(a: &Field) -> Field {
    subtract(&zero(), a)
}

/// `-a` in the lanes of `mask`, `a` elsewhere, without carrying: from limbs below 2^51 + 2^18, 2p - a has limbs
/// between 1 and 2^52 - 1.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn negate_where(mask: Mask, a: &Field) -> Field {
    let (bias_low, bias_high) = (splat(P_LOW << 1), splat(P_HIGH << 1));
    let a = a.0;
    Field([
        _mm512_mask_sub_epi64(a[0], mask, bias_low, a[0]),
        _mm512_mask_sub_epi64(a[1], mask, bias_high, a[1]),
        _mm512_mask_sub_epi64(a[2], mask, bias_high, a[2]),
        _mm512_mask_sub_epi64(a[3], mask, bias_high, a[3]),
        _mm512_mask_sub_epi64(a[4], mask, bias_high, a[4]),
    ])
}

/// `b` in the lanes of `mask`, `a` elsewhere.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn select(mask: Mask, a: &Field, b: &Field) -> Field {
    let (a, b) = (a.0, b.0);
    Field([
        _mm512_mask_mov_epi64(a[0], mask, b[0]),
        _mm512_mask_mov_epi64(a[1], mask, b[1]),
        _mm512_mask_mov_epi64(a[2], mask, b[2]),
        _mm512_mask_mov_epi64(a[3], mask, b[3]),
        _mm512_mask_mov_epi64(a[4], mask, b[4]),
    ])
}

/// The canonical form: limbs of 51 bits, value below p.
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn freeze(a: &Field) -> Field {
    let mask = splat(LIMB_MASK);
    // Two carries leave a value below 2^255 + 2^52; it is at least p exactly when value + 19 reaches 2^255.
    let mut limbs = carry(carry(a.0).0).0;
    let mut over = _mm512_srli_epi64::<LIMB_BITS>(plus(limbs[0], splat(19)));
    for limb in &limbs[1..] {
        over = _mm512_srli_epi64::<LIMB_BITS>(plus(*limb, over));
    }
    limbs[0] = low(limbs[0], over, splat(19));
    for i in 0..4 {
        let carried = _mm512_srli_epi64::<LIMB_BITS>(limbs[i]);
        limbs[i] = _mm512_and_si512(limbs[i], mask);
        limbs[i + 1] = plus(limbs[i + 1], carried);
    }
    limbs[4] = _mm512_and_si512(limbs[4], mask);
    Field(limbs)
}

/// The lanes whose element is 0 modulo p.
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn is_zero(a: &Field) -> Mask {
    let limbs = freeze(a).0;
    let any = _mm512_or_si512(
        _mm512_or_si512(limbs[0], limbs[1]),
        _mm512_or_si512(_mm512_or_si512(limbs[2], limbs[3]), limbs[4]),
    );
    _mm512_testn_epi64_mask(any, any)
}

/// The lanes where `a` equals `b` modulo p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn is_equal(a: &Field, b: &Field) -> Mask {
    is_zero(&subtract(a, b))
}

/// The lanes whose frozen element is odd.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn is_odd(frozen: &Field) -> Mask {
    _mm512_test_epi64_mask(frozen.0[0], splat(1))
}

/// From four little-endian 64-bit words; bit 255 is ignored, and values from p up are accepted.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn from_words(words: &[Lanes; 4]) -> Field {
    let mask = splat(LIMB_MASK);
    let [w0, w1, w2, w3] = *words;
    Field([
        _mm512_and_si512(w0, mask),
        _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<51>(w0), _mm512_slli_epi64::<13>(w1)), mask),
        _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<38>(w1), _mm512_slli_epi64::<26>(w2)), mask),
        _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<25>(w2), _mm512_slli_epi64::<39>(w3)), mask),
        _mm512_and_si512(_mm512_srli_epi64::<12>(w3), mask),
    ])
}

/// To four little-endian 64-bit words, from a frozen element.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn to_words(frozen: &Field) -> [Lanes; 4] {
    let [l0, l1, l2, l3, l4] = frozen.0;
    [
        _mm512_or_si512(l0, _mm512_slli_epi64::<51>(l1)),
        _mm512_or_si512(_mm512_srli_epi64::<13>(l1), _mm512_slli_epi64::<38>(l2)),
        _mm512_or_si512(_mm512_srli_epi64::<26>(l2), _mm512_slli_epi64::<25>(l3)),
        _mm512_or_si512(_mm512_srli_epi64::<39>(l3), _mm512_slli_epi64::<12>(l4)),
    ]
}

/// Two independent groups of eight: work on both keeps the multipliers busy while each waits for its own last result.
pub(super) type Pair = [Field; 2];

#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn multiply_pair(a: &Pair, b: &Pair) -> Pair {
    [multiply(&a[0], &b[0]), multiply(&a[1], &b[1])]
}

/// `a^(2^count)` for both groups.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn square_pair_times(a: &Pair, count: u32) -> Pair {
    let [mut first, mut second] = *a;
    for _ in 0..count {
        let (first_wide, second_wide) = (square_wide(&first), square_wide(&second));
        first = carry(first_wide);
        second = carry(second_wide);
    }
    [first, second]
}

/// `a^((p - 5) / 8) = a^(2^252 - 3)`, the power that square roots are made of, for two groups at once.
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn power_p58(a: &Pair) -> Pair {
    // Names say which exponent: `ones_n` is 2^n - 1.
    let two = square_pair_times(a, 1);
    let nine = multiply_pair(a, &square_pair_times(&two, 2));
    let eleven = multiply_pair(&two, &nine);
    let ones_5 = multiply_pair(&nine, &square_pair_times(&eleven, 1));
    let ones_10 = multiply_pair(&square_pair_times(&ones_5, 5), &ones_5);
    let ones_20 = multiply_pair(&square_pair_times(&ones_10, 10), &ones_10);
    let ones_40 = multiply_pair(&square_pair_times(&ones_20, 20), &ones_20);
    let ones_50 = multiply_pair(&square_pair_times(&ones_40, 10), &ones_10);
    let ones_100 = multiply_pair(&square_pair_times(&ones_50, 50), &ones_50);
    let ones_200 = multiply_pair(&square_pair_times(&ones_100, 100), &ones_100);
    let ones_250 = multiply_pair(&square_pair_times(&ones_200, 50), &ones_50);
    multiply_pair(&square_pair_times(&ones_250, 2), a)
}
