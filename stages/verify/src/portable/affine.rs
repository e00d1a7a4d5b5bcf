//! From coordinates to dalek's point and back, without a square root.
//!
//! curve25519-dalek decodes a point from 32 bytes only, which costs half of what a whole signature costs in a batch. With
//! x from the cache, five products do. dalek has no constructor for that, so this file writes its representation, four
//! field elements (x : y : z : t), itself.
//!
//! The representation is dalek's own business and the compiler's. So [`Coordinates::new`] tries it out on known points, and
//! if one does not come out exactly right (another limb size, another order of fields), it is not used: keys are then
//! decoded each time. What remains `unsafe` is to see 160 bytes of plain integers as 160 bytes of plain integers.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;

/// One element of GF(2^255 - 19): five limbs of 51 bits, as dalek's 64-bit arithmetic has it.
type Element = [u64; 5];

/// x, y, z, t.
type Representation = [Element; 4];

const LIMB_BITS: u32 = 51;
const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;
const ONE: Element = [1, 0, 0, 0, 0];

/// d of the curve equation -x^2 + y^2 = 1 + d x^2 y^2.
const D: Element =
    [929_955_233_495_203, 466_365_720_129_213, 1_662_059_464_998_953, 2_033_849_074_728_123, 1_442_794_654_840_575];

/// 2 p, limb by limb: what a difference is raised by so that it stays positive.
const P_2: Element = [(1 << 52) - 38, (1 << 52) - 2, (1 << 52) - 2, (1 << 52) - 2, (1 << 52) - 2];

/// Access to the coordinates of dalek's points, where it works.
pub(super) struct Coordinates {
    understood: bool,
}

impl Coordinates {
    /// Finds out whether dalek's representation is the expected one.
    pub(super) fn new() -> Coordinates {
        let candidate = Coordinates { understood: size_matches() };
        let mut point = ED25519_BASEPOINT_POINT;
        let mut understood = candidate.understood;
        for torsion in EIGHT_TORSION {
            point = point + point + torsion;
            understood = understood && candidate.round_trip_works(&point);
        }
        Coordinates { understood }
    }

    fn round_trip_works(&self, point: &EdwardsPoint) -> bool {
        let encoding = point.compress();
        let Some(decoded) = encoding.decompress() else { return false };
        let Some(x) = self.x_of(&decoded) else { return false };
        let Some(rebuilt) = self.point_of(encoding.as_bytes(), &x) else { return false };
        // The sum uses t, the comparison and the encoding use x, y and z.
        rebuilt == *point && rebuilt.compress() == encoding && rebuilt + point == point + point
    }

    /// The x coordinate of a point fresh from decoding (z = 1), canonical, little-endian.
    pub(super) fn x_of(&self, point: &EdwardsPoint) -> Option<[u8; 32]> {
        let [x, _, z, _] = self.understood.then(|| representation_of(point))?;
        (freeze(&z) == ONE).then(|| to_bytes(&freeze(&x)))
    }

    /// The point with y and sign from `key` and the given x; `None` if that is not on the curve.
    pub(super) fn point_of(&self, key: &[u8; 32], x: &[u8; 32]) -> Option<EdwardsPoint> {
        if !self.understood {
            return None;
        }
        let (x, y) = (freeze(&from_bytes(x)), from_bytes(key));
        let (x_square, y_square) = (multiply(&x, &x), multiply(&y, &y));
        let product = multiply(&multiply(&x_square, &y_square), &D);
        let left = subtract(&y_square, &x_square);
        let right = core::array::from_fn(|i| product[i] + ONE[i]);
        let sign = (key[31] >> 7) as u64;
        let on_curve = freeze(&left) == freeze(&right) && x[0] & 1 == sign;
        on_curve.then(|| point_from(&[x, y, ONE, multiply(&x, &y)]))
    }
}

const fn size_matches() -> bool {
    size_of::<EdwardsPoint>() == size_of::<Representation>()
        && align_of::<EdwardsPoint>() <= align_of::<Representation>()
}

fn representation_of(point: &EdwardsPoint) -> Representation {
    assert!(size_matches());
    // SAFETY: same size, and a point is nothing but integers without padding, of which any bits are a `u64`.
    unsafe { core::mem::transmute_copy(point) }
}

fn point_from(representation: &Representation) -> EdwardsPoint {
    assert!(size_matches());
    // SAFETY: same size and no stricter alignment; a point is nothing but integers, for which any bits are a value.
    unsafe { core::mem::transmute_copy(representation) }
}

/// From 32 little-endian bytes; bit 255 is ignored. Limbs below 2^51.
fn from_bytes(bytes: &[u8; 32]) -> Element {
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
fn to_bytes(frozen: &Element) -> [u8; 32] {
    let [l0, l1, l2, l3, l4] = *frozen;
    let words = [l0 | l1 << 51, l1 >> 13 | l2 << 38, l2 >> 26 | l3 << 25, l3 >> 39 | l4 << 12];
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    bytes
}

/// Carries once around. From limbs below 2^63: limbs below 2^51 + 2^17.
fn carry(limbs: &Element) -> Element {
    let over = limbs.map(|limb| limb >> LIMB_BITS);
    let rest = limbs.map(|limb| limb & LIMB_MASK);
    [rest[0] + 19 * over[4], rest[1] + over[0], rest[2] + over[1], rest[3] + over[2], rest[4] + over[3]]
}

/// The canonical form: limbs below 2^51, value below p.
fn freeze(limbs: &Element) -> Element {
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

/// `a - b`, for `b` with limbs below 2^52 - 38.
fn subtract(a: &Element, b: &Element) -> Element {
    carry(&core::array::from_fn(|i| a[i] + P_2[i] - b[i]))
}

/// `a * b`, for limbs below 2^54. Result limbs below 2^51 + 2^13.
fn multiply(a: &Element, b: &Element) -> Element {
    let mut columns = [0u128; 5];
    for i in 0..5 {
        for j in 0..5 {
            // From column 5 on, 2^255 = 19 takes the product back to the start: at most 5 * 19 * 2^108.
            let weight = if i + j >= 5 { 19 } else { 1 };
            columns[(i + j) % 5] += a[i] as u128 * (b[j] * weight) as u128;
        }
    }
    let mut result = [0; 5];
    let mut over = 0u128;
    for (limb, column) in result.iter_mut().zip(columns) {
        let sum = column + over;
        *limb = sum as u64 & LIMB_MASK;
        over = sum >> LIMB_BITS;
    }
    // over is below 2^65, so 19 times it goes into two limbs.
    let low = result[0] as u128 + 19 * over;
    result[0] = low as u64 & LIMB_MASK;
    result[1] += (low >> LIMB_BITS) as u64;
    result
}
