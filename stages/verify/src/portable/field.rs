//! GF(2^255 - 19) in plain integers, several elements at a time.
//!
//! An element is five limbs of 51 bits, as in dalek's own 64-bit arithmetic. It is needed for what dalek does not offer:
//! to make a point from both its coordinates, and to take square roots of several numbers side by side ([`power_p58`]).
//! A root is a chain of 254 squarings, each waiting for the one before; two chains in step keep the multiplier busier.
//!
//! Bounds: limbs of inputs are below 2^52 unless a function says otherwise, limbs of results below 2^51 + 2^15.
//! Arithmetic that cannot overflow under these bounds is spelled `wrapping_`, to keep the checks out of the inner loop.

/// One element.
pub(super) type Element = [u64; 5];

const LIMB_BITS: u32 = 51;
const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;

/// 0.
pub(super) const ZERO: Element = [0; 5];

/// 1.
pub(super) const ONE: Element = [1, 0, 0, 0, 0];

/// d of the curve equation -x^2 + y^2 = 1 + d x^2 y^2.
pub(super) const D: Element =
    [929_955_233_495_203, 466_365_720_129_213, 1_662_059_464_998_953, 2_033_849_074_728_123, 1_442_794_654_840_575];

/// A square root of -1.
pub(super) const SQRT_MINUS_ONE: Element =
    [1_718_705_420_411_056, 234_908_883_556_509, 2_233_514_472_574_048, 2_117_202_627_021_982, 765_476_049_583_133];

/// 4 p, limb by limb: what a difference is raised by so that it stays positive.
const P_4: Element = [(1 << 53) - 76, (1 << 53) - 4, (1 << 53) - 4, (1 << 53) - 4, (1 << 53) - 4];

/// From 32 little-endian bytes; bit 255 is ignored. Limbs below 2^51.
pub(super) fn from_bytes(bytes: &[u8; 32]) -> Element {
    let (chunks, _) = bytes.as_chunks::<8>();
    let word = |i: usize| u64::from_le_bytes(chunks[i]);
    [
        word(0) & LIMB_MASK,
        (word(0) >> 51 | word(1) << 13) & LIMB_MASK,
        (word(1) >> 38 | word(2) << 26) & LIMB_MASK,
        (word(2) >> 25 | word(3) << 39) & LIMB_MASK,
        (word(3) >> 12) & LIMB_MASK,
    ]
}

/// To 32 little-endian bytes, from a frozen element.
pub(super) fn to_bytes(frozen: &Element) -> [u8; 32] {
    let [l0, l1, l2, l3, l4] = *frozen;
    let words = [l0 | l1 << 51, l1 >> 13 | l2 << 38, l2 >> 26 | l3 << 25, l3 >> 39 | l4 << 12];
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    bytes
}

/// Carries once around, from limbs below 2^63.
fn carry(limbs: &Element) -> Element {
    let over = limbs.map(|limb| limb >> LIMB_BITS);
    let rest = limbs.map(|limb| limb & LIMB_MASK);
    [rest[0] + 19 * over[4], rest[1] + over[0], rest[2] + over[1], rest[3] + over[2], rest[4] + over[3]]
}

/// The canonical form: limbs below 2^51, value below p. From limbs below 2^63.
pub(super) fn freeze(limbs: &Element) -> Element {
    let mut limbs = carry(&carry(limbs));
    // Now below 2^255 + 2^52; at least p exactly when value + 19 reaches 2^255.
    let mut over = 19;
    for limb in limbs {
        over = (limb + over) >> LIMB_BITS;
    }
    limbs[0] += 19 * over;
    for i in 0..4 {
        limbs[i + 1] += limbs[i] >> LIMB_BITS;
        limbs[i] &= LIMB_MASK;
    }
    limbs[4] &= LIMB_MASK;
    limbs
}

/// `a + b`.
pub(super) fn add(a: &Element, b: &Element) -> Element {
    carry(&core::array::from_fn(|i| a[i] + b[i]))
}

/// `a - b`.
pub(super) fn subtract(a: &Element, b: &Element) -> Element {
    carry(&core::array::from_fn(|i| a[i] + P_4[i] - b[i]))
}

#[inline(always)]
fn product(a: u64, b: u64) -> u128 {
    (a as u128).wrapping_mul(b as u128)
}

#[inline(always)]
fn sum<const N: usize>(terms: [u128; N]) -> u128 {
    terms.into_iter().fold(0, u128::wrapping_add)
}

/// Limbs from columns below 2^116.
#[inline(always)]
fn carry_columns(mut columns: [u128; 5]) -> Element {
    for i in 0..4 {
        columns[i + 1] = columns[i + 1].wrapping_add(columns[i] >> LIMB_BITS);
    }
    // Below 2^66: in a 128-bit number, 19 times it, and its own carry goes one limb further.
    let over = (columns[4] >> LIMB_BITS).wrapping_mul(19);
    let mut limbs = columns.map(|column| column as u64 & LIMB_MASK);
    let first = over.wrapping_add(limbs[0] as u128);
    limbs[0] = first as u64 & LIMB_MASK;
    limbs[1] = limbs[1].wrapping_add((first >> LIMB_BITS) as u64);
    limbs
}

/// `a * b`.
#[inline(always)]
pub(super) fn multiply(a: &Element, b: &Element) -> Element {
    let [a0, a1, a2, a3, a4] = *a;
    let [b0, b1, b2, b3, b4] = *b;
    let [c1, c2, c3, c4] = [b1, b2, b3, b4].map(|limb| limb.wrapping_mul(19));
    carry_columns([
        sum([product(a0, b0), product(a1, c4), product(a2, c3), product(a3, c2), product(a4, c1)]),
        sum([product(a0, b1), product(a1, b0), product(a2, c4), product(a3, c3), product(a4, c2)]),
        sum([product(a0, b2), product(a1, b1), product(a2, b0), product(a3, c4), product(a4, c3)]),
        sum([product(a0, b3), product(a1, b2), product(a2, b1), product(a3, b0), product(a4, c4)]),
        sum([product(a0, b4), product(a1, b3), product(a2, b2), product(a3, b1), product(a4, b0)]),
    ])
}

/// `a * a`.
#[inline(always)]
pub(super) fn square(a: &Element) -> Element {
    let [a0, a1, a2, a3, a4] = *a;
    let [d0, d1, d2, d4] = [a0, a1, a2, a4].map(|limb| limb.wrapping_mul(2));
    let (c3, c4) = (a3.wrapping_mul(19), a4.wrapping_mul(19));
    carry_columns([
        sum([product(a0, a0), product(d1, c4), product(d2, c3)]),
        sum([product(d0, a1), product(d2, c4), product(a3, c3)]),
        sum([product(d0, a2), product(a1, a1), product(d4, c3)]),
        sum([product(d0, a3), product(d1, a2), product(a4, c4)]),
        sum([product(d0, a4), product(d1, a3), product(a2, a2)]),
    ])
}

#[inline(always)]
fn multiply_each<const N: usize>(a: &[Element; N], b: &[Element; N]) -> [Element; N] {
    core::array::from_fn(|i| multiply(&a[i], &b[i]))
}

/// `a^(2^count)` of each.
fn square_each<const N: usize>(a: &[Element; N], count: u32) -> [Element; N] {
    let mut powers = *a;
    for _ in 0..count {
        for power in &mut powers {
            *power = square(power);
        }
    }
    powers
}

/// `a^((p - 5) / 8) = a^(2^252 - 3)` of each.
pub(super) fn power_p58<const N: usize>(a: &[Element; N]) -> [Element; N] {
    // Names say which exponent: `ones_n` is 2^n - 1.
    let two = square_each(a, 1);
    let nine = multiply_each(a, &square_each(&two, 2));
    let eleven = multiply_each(&two, &nine);
    let ones_5 = multiply_each(&nine, &square_each(&eleven, 1));
    let ones_10 = multiply_each(&square_each(&ones_5, 5), &ones_5);
    let ones_20 = multiply_each(&square_each(&ones_10, 10), &ones_10);
    let ones_40 = multiply_each(&square_each(&ones_20, 20), &ones_20);
    let ones_50 = multiply_each(&square_each(&ones_40, 10), &ones_10);
    let ones_100 = multiply_each(&square_each(&ones_50, 50), &ones_50);
    let ones_200 = multiply_each(&square_each(&ones_100, 100), &ones_100);
    let ones_250 = multiply_each(&square_each(&ones_200, 50), &ones_50);
    multiply_each(&square_each(&ones_250, 2), a)
}
