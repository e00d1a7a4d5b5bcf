//! From coordinates to dalek's point and back, and the decoding of two points at a time.
//!
//! curve25519-dalek decodes a point from 32 bytes only, one at a time, which costs half of what a whole signature costs in
//! a batch. With x from the cache, five products do; without, two square roots side by side cost less than twice one.
//! dalek has no constructor for that, so this file writes its representation, four field elements (x : y : z : t), itself.
//!
//! The representation is dalek's own business and the compiler's. So [`Coordinates::new`] tries it out on known points, and
//! if one does not come out exactly right (another limb size, another order of fields), it is not used: points are then
//! decoded by dalek, each time. What remains `unsafe` is to see 160 bytes of plain integers as 160 bytes of plain integers.

use super::field::{self, D, Element, ONE, SQRT_MINUS_ONE, ZERO, freeze, multiply, square};
use crate::reference;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;

/// x, y, z, t.
type Representation = [Element; 4];

/// How many points are decoded side by side; more than two gained nothing (registers run out).
pub(super) const DECODE_WIDTH: usize = 2;

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
        (freeze(&z) == ONE).then(|| field::to_bytes(&freeze(&x)))
    }

    /// The point with y and sign from `key` and the given x; `None` if that is not on the curve.
    pub(super) fn point_of(&self, key: &[u8; 32], x: &[u8; 32]) -> Option<EdwardsPoint> {
        if !self.understood {
            return None;
        }
        let (x, y) = (freeze(&field::from_bytes(x)), field::from_bytes(key));
        let (x_square, y_square) = (square(&x), square(&y));
        let left = field::subtract(&y_square, &x_square);
        let right = field::add(&multiply(&multiply(&x_square, &y_square), &D), &ONE);
        let on_curve = freeze(&left) == freeze(&right) && x[0] & 1 == sign_of(key);
        on_curve.then(|| point_from(&[x, y, ONE, multiply(&x, &y)]))
    }

    /// The points that the bytes encode, canonical or not.
    pub(super) fn decode(&self, encodings: [&[u8; 32]; DECODE_WIDTH]) -> [Option<EdwardsPoint>; DECODE_WIDTH] {
        if !self.understood {
            return encodings.map(reference::decode);
        }
        // x^2 = u/v; the candidate root is u v^3 (u v^7)^((p-5)/8), a root of u/v or of -u/v, or there is none.
        let y = encodings.map(field::from_bytes);
        let y_square = y.map(|y| square(&y));
        let u = y_square.map(|y_square| field::subtract(&y_square, &ONE));
        let v = y_square.map(|y_square| field::add(&multiply(&y_square, &D), &ONE));
        let v3: [Element; DECODE_WIDTH] = core::array::from_fn(|i| multiply(&square(&v[i]), &v[i]));
        let u_v7: [Element; DECODE_WIDTH] =
            core::array::from_fn(|i| multiply(&u[i], &multiply(&square(&v3[i]), &v[i])));
        let power = field::power_p58(&u_v7);
        core::array::from_fn(|i| {
            let root = multiply(&multiply(&u[i], &v3[i]), &power[i]);
            let check = multiply(&square(&root), &v[i]);
            let x = if freeze(&field::subtract(&check, &u[i])) == ZERO {
                freeze(&root)
            } else if freeze(&field::add(&check, &u[i])) == ZERO {
                freeze(&multiply(&root, &SQRT_MINUS_ONE))
            } else {
                return None;
            };
            let flip = x[0] & 1 != sign_of(encodings[i]);
            let x = if flip { freeze(&field::subtract(&ZERO, &x)) } else { x };
            Some(point_from(&[x, y[i], ONE, multiply(&x, &y[i])]))
        })
    }
}

/// Bit 255: whether x is odd.
fn sign_of(encoding: &[u8; 32]) -> u64 {
    (encoding[31] >> 7) as u64
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
