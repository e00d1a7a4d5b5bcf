//! Numbers modulo l = 2^252 + 27742317777372353535851937790883648493, the order of the base point.
//!
//! Four little-endian 64-bit words, always below l unless a function says otherwise. Ordinary integer code: a
//! signature needs three of these operations, 50 ns in all, so lanes would gain little. Everything is public data and
//! nothing is constant-time. Arithmetic wraps by intent, so it is spelled out with `wrapping_` and carries.

/// Four little-endian words.
pub(super) type Scalar = [u64; 4];

/// l.
pub(super) const ORDER: Scalar = [0x5812_631a_5cf5_d3ed, 0x14de_f9de_a2f7_9cd6, 0, 0x1000_0000_0000_0000];

/// l - 2^252: replacing 2^252 by minus this is how numbers get shorter.
const TAIL: [u64; 2] = [ORDER[0], ORDER[1]];

/// Bits 192 to 251 in word 3.
const TOP_MASK: u64 = (1 << 60) - 1;

/// `sum + a * b + carry`; the high word becomes the new carry.
#[inline]
fn multiply_add(sum: u64, a: u64, b: u64, carry: &mut u64) -> u64 {
    // (2^64 - 1)^2 + 2 (2^64 - 1) = 2^128 - 1: cannot overflow.
    let total = (a as u128).wrapping_mul(b as u128).wrapping_add(sum as u128).wrapping_add(*carry as u128);
    *carry = (total >> 64) as u64;
    total as u64
}

#[inline]
fn add_carry(a: u64, b: u64, carry: &mut u64) -> u64 {
    let total = (a as u128).wrapping_add(b as u128).wrapping_add(*carry as u128);
    *carry = (total >> 64) as u64;
    total as u64
}

#[inline]
fn subtract_borrow(a: u64, b: u64, borrow: &mut u64) -> u64 {
    let total = (a as u128).wrapping_sub(b as u128).wrapping_sub(*borrow as u128);
    *borrow = ((total >> 64) as u64) & 1;
    total as u64
}

/// `a - l`, or `None` where that is negative.
#[inline]
fn subtract_order(a: &Scalar) -> Option<Scalar> {
    let mut borrow = 0;
    let mut result = [0; 4];
    for i in 0..4 {
        result[i] = subtract_borrow(a[i], ORDER[i], &mut borrow);
    }
    (borrow == 0).then_some(result)
}

/// The words of 32 bytes, of any value.
#[inline]
pub(super) fn words_of(bytes: &[u8; 32]) -> [u64; 4] {
    let (words, _) = bytes.as_chunks::<8>();
    core::array::from_fn(|i| u64::from_le_bytes(words[i]))
}

/// Whether four words are below l.
#[inline]
pub(super) fn is_reduced(words: &[u64; 4]) -> bool {
    subtract_order(words).is_none()
}

/// A number below 2^512 modulo l, in three folds: each writes x = high * 2^252 + low as low - high * TAIL, plus a
/// multiple of l that keeps the result positive. 512 bits become 387, then 262, then 253.
pub(super) fn reduce_wide(x: &[u64; 8]) -> Scalar {
    // First fold. high * TAIL is below 2^(260 + 125); l * 2^134 is above 2^386.
    let high: [u64; 5] = core::array::from_fn(|i| (x[3 + i] >> 60) | if i < 4 { x[4 + i] << 4 } else { 0 });
    let product: [u64; 7] = multiply_tail(&high);
    let multiple = [0, 0, TAIL[0] << 6, (TAIL[1] << 6) | (TAIL[0] >> 58), TAIL[1] >> 58, 0, 1 << 2];
    let low = [x[0], x[1], x[2], x[3] & TOP_MASK, 0, 0, 0];
    let y = add_subtract(&low, &multiple, &product);
    // Second fold. high is below 2^135; l * 2^9 is above 2^261.
    let high: [u64; 3] = core::array::from_fn(|i| (y[3 + i] >> 60) | (y[4 + i] << 4));
    let product: [u64; 5] = multiply_tail(&high);
    let multiple = [TAIL[0] << 9, (TAIL[1] << 9) | (TAIL[0] >> 55), TAIL[1] >> 55, 0, 1 << 5];
    let z = add_subtract(&[y[0], y[1], y[2], y[3] & TOP_MASK, 0], &multiple, &product);
    // Third fold. high is below 2^11.
    let high = [(z[3] >> 60) | (z[4] << 4)];
    let product: [u64; 3] = multiply_tail(&high);
    let product = [product[0], product[1], product[2], 0];
    let result = add_subtract(&[z[0], z[1], z[2], z[3] & TOP_MASK], &ORDER, &product);
    // Between 0 and 2l.
    subtract_order(&result).unwrap_or(result)
}

/// `high * TAIL`, where `N2 = N + 2`.
#[inline]
fn multiply_tail<const N: usize, const N2: usize>(high: &[u64; N]) -> [u64; N2] {
    const { assert!(N2 == N + 2) };
    let mut product = [0; N2];
    for (j, tail) in TAIL.iter().enumerate() {
        let mut carry = 0;
        for i in 0..N {
            product[i + j] = multiply_add(product[i + j], *tail, high[i], &mut carry);
        }
        product[N + j] = carry;
    }
    product
}

/// `a + b - c`, which must be between 0 and 2^(64 N).
#[inline]
fn add_subtract<const N: usize>(a: &[u64; N], b: &[u64; N], c: &[u64; N]) -> [u64; N] {
    let (mut carry, mut borrow) = (0, 0);
    let mut result = [0; N];
    for i in 0..N {
        let sum = add_carry(a[i], b[i], &mut carry);
        result[i] = subtract_borrow(sum, c[i], &mut borrow);
    }
    result
}

#[inline]
fn multiply_short(coefficient: &[u64; 2], factor: &[u64; 4]) -> [u64; 6] {
    let mut product = [0; 6];
    for j in 0..2 {
        let mut carry = 0;
        for i in 0..4 {
            product[i + j] = multiply_add(product[i + j], coefficient[j], factor[i], &mut carry);
        }
        product[4 + j] = carry;
    }
    product
}

/// A 128-bit coefficient times a scalar.
pub(super) fn multiply_coefficient(coefficient: &[u64; 2], factor: &Scalar) -> Scalar {
    let [p0, p1, p2, p3, p4, p5] = multiply_short(coefficient, factor);
    reduce_wide(&[p0, p1, p2, p3, p4, p5, 0, 0])
}

/// Adds a 128-bit coefficient times a scalar to a sum of up to 2^128 such terms, which stays unreduced.
pub(super) fn accumulate(sum: &mut [u64; 8], coefficient: &[u64; 2], factor: &Scalar) {
    let product = multiply_short(coefficient, factor);
    let mut carry = 0;
    for i in 0..6 {
        sum[i] = add_carry(sum[i], product[i], &mut carry);
    }
    for word in &mut sum[6..] {
        *word = add_carry(*word, 0, &mut carry);
    }
}

/// `a + b`.
pub(super) fn add(a: &Scalar, b: &Scalar) -> Scalar {
    let mut carry = 0;
    let mut sum = [0; 4];
    for i in 0..4 {
        sum[i] = add_carry(a[i], b[i], &mut carry);
    }
    subtract_order(&sum).unwrap_or(sum)
}

/// `-a`.
pub(super) fn negate(a: &Scalar) -> Scalar {
    if *a == [0; 4] {
        return *a;
    }
    let mut borrow = 0;
    core::array::from_fn(|i| subtract_borrow(ORDER[i], a[i], &mut borrow))
}

/// A way to cut numbers into signed digits: a number is the sum of `digit[i] * 2^(width * i)`.
///
/// With half of 2^width added at every digit's place, digits can be read without carries: the digit is what stands in its
/// bits, less that half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SignedDigits {
    width: u32,
    count: usize,
    /// 2^(width - 1) at every digit's place.
    bias: [u64; 5],
}

impl SignedDigits {
    /// `count` digits of `width` bits, each from -2^(width - 1) to 2^(width - 1) - 1, for numbers up to
    /// 2^(width * count - 2), so that the added halves do not overflow the last digit. `width` is 2 to 10,
    /// `width * count` at most 264.
    pub(super) const fn new(width: u32, count: usize) -> SignedDigits {
        assert!(width >= 2 && width <= 10 && width as usize * count <= 264);
        let mut bias = [0; 5];
        let mut i = 0;
        while i < count {
            let bit = i * width as usize + width as usize - 1;
            bias[bit / 64] |= 1 << (bit % 64);
            i += 1;
        }
        SignedDigits { width, count, bias }
    }

    /// The digits of a number, lowest first.
    #[inline]
    pub(super) fn of(&self, number: &[u64; 4]) -> impl Iterator<Item = i32> + use<> {
        let SignedDigits { width, count, bias } = *self;
        let mut carry = 0;
        let mut bytes = [0u8; 48];
        for (i, chunk) in bytes.as_chunks_mut::<8>().0.iter_mut().take(5).enumerate() {
            let word = if i < 4 { number[i] } else { 0 };
            *chunk = add_carry(word, bias[i], &mut carry).to_le_bytes();
        }
        let mask = (1u64 << width) - 1;
        let half = 1i32 << (width - 1);
        (0..count as u32).map(move |i| {
            let bit = i.wrapping_mul(width);
            // The last digit begins below bit 264: eight bytes from there end within 48.
            let chunk = bytes[(bit / 8) as usize..].first_chunk().copied().unwrap_or_default();
            ((u64::from_le_bytes(chunk) >> (bit % 8) & mask) as i32).wrapping_sub(half)
        })
    }
}
