//! Eight points of the Edwards curve -x^2 + y^2 = 1 + d x^2 y^2 side by side.
//!
//! The formulas are those of Hisil, Wong, Carter and Dawson (Asiacrypt 2008) for a = -1; they are complete on this curve,
//! so no input, of small order or otherwise, needs a case of its own. Five shapes of a point, each what the next formula
//! wants:
//!
//! 1. [`Extended`] (y+x, y-x, z, t = xy/z): what an addition takes. Sum and difference are kept instead of x and y,
//!    because only they are used.
//! 2. [`AffineNiels`] (y+x, y-x, 2dxy) with z = 1, and [`ProjectiveNiels`] with 2z beside it: the other operand.
//! 3. [`Completed`] (e, f, g, h): what additions and doublings give; x = e/g... by four or three products it becomes
//!    [`Extended`] or [`Projective`].
//! 4. [`Projective`] (x, y, z and x+y): what a doubling takes.
//!
//! Decoding follows ZIP-215: y is taken modulo p whether or not it is below p, and x = 0 with the sign bit set is
//! accepted. The only encodings refused are those whose y is on no point.

use super::field::{self, Field, Lanes, Mask, add_wide, carry, double_wide, multiply_wide, square_wide, subtract_wide};
use core::arch::x86_64::*;

/// d = -121665/121666.
pub(super) const D: [u64; 5] =
    [929_955_233_495_203, 466_365_720_129_213, 1_662_059_464_998_953, 2_033_849_074_728_123, 1_442_794_654_840_575];
/// 2d.
pub(super) const D_2: [u64; 5] =
    [1_859_910_466_990_425, 932_731_440_258_426, 1_072_319_116_312_658, 1_815_898_335_770_999, 633_789_495_995_903];
/// A square root of -1.
const SQRT_MINUS_ONE: [u64; 5] =
    [1_718_705_420_411_056, 234_908_883_556_509, 2_233_514_472_574_048, 2_117_202_627_021_982, 765_476_049_583_133];

/// Points as additions take them on the left.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Extended {
    pub(super) sum: Field,
    pub(super) difference: Field,
    pub(super) z: Field,
    pub(super) t: Field,
}

/// Points as doublings take them; `sum` is x + y.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Projective {
    pub(super) x: Field,
    pub(super) y: Field,
    pub(super) sum: Field,
    pub(super) z: Field,
}

/// The result of an addition or doubling: x = e f, y = g h, z = f g, t = e h.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Completed {
    e: Field,
    f: Field,
    g: Field,
    h: Field,
}

/// Points as additions take them on the right, z = 1; `product` is 2dxy.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct AffineNiels {
    pub(super) sum: Field,
    pub(super) difference: Field,
    pub(super) product: Field,
}

/// Points as additions take them on the right, with 2z; `product` is 2dt.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct ProjectiveNiels {
    pub(super) sum: Field,
    pub(super) difference: Field,
    pub(super) z_2: Field,
    pub(super) product: Field,
}

impl Completed {
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn extended(&self) -> Extended {
        let x = multiply_wide(&self.e, &self.f);
        let y = multiply_wide(&self.g, &self.h);
        let z = multiply_wide(&self.f, &self.g);
        let t = multiply_wide(&self.e, &self.h);
        Extended { sum: carry(add_wide(y, x)), difference: carry(subtract_wide(y, x)), z: carry(z), t: carry(t) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn projective(&self) -> Projective {
        let x = multiply_wide(&self.e, &self.f);
        let y = multiply_wide(&self.g, &self.h);
        let z = multiply_wide(&self.f, &self.g);
        Projective { x: carry(x), y: carry(y), sum: carry(add_wide(y, x)), z: carry(z) }
    }
}

impl Projective {
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn double(&self) -> Completed {
        let a = square_wide(&self.x);
        let b = square_wide(&self.y);
        let z = square_wide(&self.z);
        let s = square_wide(&self.sum);
        let h = add_wide(a, b);
        let g = subtract_wide(a, b);
        Completed { e: carry(subtract_wide(h, s)), h: carry(h), f: carry(add_wide(add_wide(z, z), g)), g: carry(g) }
    }

    /// `2^count` times the points.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn double_times(&self, count: u32) -> Projective {
        let mut point = *self;
        for _ in 0..count {
            point = point.double().projective();
        }
        point
    }

    /// The lanes that hold the neutral point: x = 0 and y = z.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn is_identity(&self) -> Mask {
        field::is_zero(&self.x) & field::is_equal(&self.y, &self.z)
    }

    /// The same points in extended form: (xz : yz : z^2 : xy).
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn extended(&self) -> Extended {
        let x = field::multiply(&self.x, &self.z);
        let y = field::multiply(&self.y, &self.z);
        Extended {
            sum: field::add(&y, &x),
            difference: field::subtract(&y, &x),
            z: field::square(&self.z),
            t: field::multiply(&self.x, &self.y),
        }
    }
}

impl Extended {
    /// Eight times the neutral point.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn identity() -> Extended {
        Extended { sum: field::one(), difference: field::one(), z: field::one(), t: field::zero() }
    }

    /// Adds points with z = 1: seven products with the conversion that follows.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn add_affine(&self, other: &AffineNiels) -> Completed {
        let a = multiply_wide(&self.difference, &other.difference);
        let b = multiply_wide(&self.sum, &other.sum);
        let c = multiply_wide(&self.t, &other.product);
        complete(a, b, c, double_wide(&self.z))
    }

    /// Adds any points: eight products with the conversion that follows.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn add(&self, other: &ProjectiveNiels) -> Completed {
        let a = multiply_wide(&self.difference, &other.difference);
        let b = multiply_wide(&self.sum, &other.sum);
        let c = multiply_wide(&self.t, &other.product);
        complete(a, b, c, multiply_wide(&self.z, &other.z_2))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn niels(&self) -> ProjectiveNiels {
        ProjectiveNiels {
            sum: self.sum,
            difference: self.difference,
            z_2: carry(double_wide(&self.z)),
            product: field::multiply(&self.t, &field::constant(D_2)),
        }
    }

    /// The same points, scaled by two to spare the halving of sum and difference.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn projective(&self) -> Projective {
        let x = field::subtract(&self.sum, &self.difference);
        let y = field::add(&self.sum, &self.difference);
        Projective { sum: field::add(&x, &y), x, y, z: field::add(&self.z, &self.z) }
    }
}

/// The tail of both additions: e = b - a, h = b + a, f = d - c, g = d + c.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn complete(a: field::Wide, b: field::Wide, c: field::Wide, d: field::Wide) -> Completed {
    Completed {
        e: carry(subtract_wide(b, a)),
        h: carry(add_wide(b, a)),
        f: carry(subtract_wide(d, c)),
        g: carry(add_wide(d, c)),
    }
}

impl AffineNiels {
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn from_affine(x: &Field, y: &Field) -> AffineNiels {
        AffineNiels {
            sum: field::add(y, x),
            difference: field::subtract(y, x),
            product: field::multiply(&field::multiply(x, y), &field::constant(D_2)),
        }
    }

    /// The opposite points in the lanes of `mask`, the same ones elsewhere.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn negate_where(&self, mask: Mask) -> AffineNiels {
        AffineNiels {
            sum: field::select(mask, &self.sum, &self.difference),
            difference: field::select(mask, &self.difference, &self.sum),
            product: field::negate_where(mask, &self.product),
        }
    }

    /// The same points as the left operand of an addition, scaled by four: neutral + point, written out.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn extended(&self) -> Extended {
        let x_2 = field::subtract(&self.sum, &self.difference);
        let y_2 = field::add(&self.sum, &self.difference);
        let (x_4, y_4) = (field::add(&x_2, &x_2), field::add(&y_2, &y_2));
        Extended {
            sum: field::add(&y_4, &x_4),
            difference: field::subtract(&y_4, &x_4),
            z: field::constant([4, 0, 0, 0, 0]),
            t: field::multiply(&x_2, &y_2),
        }
    }

    /// The same points with their z = 1 written as 2z = 2.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn projective_niels(&self) -> ProjectiveNiels {
        ProjectiveNiels {
            sum: self.sum,
            difference: self.difference,
            z_2: field::constant([2, 0, 0, 0, 0]),
            product: self.product,
        }
    }
}

impl ProjectiveNiels {
    /// Eight times the neutral point.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn identity() -> ProjectiveNiels {
        ProjectiveNiels {
            sum: field::one(),
            difference: field::one(),
            z_2: field::constant([2, 0, 0, 0, 0]),
            product: field::zero(),
        }
    }

    /// The opposite points in the lanes of `mask`, the same ones elsewhere.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn negate_where(&self, mask: Mask) -> ProjectiveNiels {
        ProjectiveNiels {
            sum: field::select(mask, &self.sum, &self.difference),
            difference: field::select(mask, &self.difference, &self.sum),
            z_2: self.z_2,
            product: field::negate_where(mask, &self.product),
        }
    }

    /// The point of lane `lane` in every lane.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn broadcast(&self, lane: usize) -> ProjectiveNiels {
        let index = field::splat(lane as u64);
        ProjectiveNiels {
            sum: broadcast(&self.sum, index),
            difference: broadcast(&self.difference, index),
            z_2: broadcast(&self.z_2, index),
            product: broadcast(&self.product, index),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn broadcast(a: &Field, index: Lanes) -> Field {
    let a = a.0;
    Field([
        _mm512_permutexvar_epi64(index, a[0]),
        _mm512_permutexvar_epi64(index, a[1]),
        _mm512_permutexvar_epi64(index, a[2]),
        _mm512_permutexvar_epi64(index, a[3]),
        _mm512_permutexvar_epi64(index, a[4]),
    ])
}

/// Eight decoded points; coordinates of lanes outside `valid` mean nothing. `x` is frozen.
#[derive(Clone, Copy)]
pub(super) struct Decoded {
    pub(super) x: Field,
    pub(super) y: Field,
    pub(super) valid: Mask,
}

/// Decodes two groups of eight points, given as the little-endian words of their encodings.
///
/// x^2 = u/v with u = y^2 - 1 and v = d y^2 + 1. The candidate root is u v^3 (u v^7)^((p-5)/8); it is a root of u/v, or
/// of -u/v and then wants the factor sqrt(-1), or there is none.
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn decode_pair(words: &[[Lanes; 4]; 2]) -> [Decoded; 2] {
    let first = decode_ratio(&words[0]);
    let second = decode_ratio(&words[1]);
    let [first_power, second_power] = field::power_p58(&[first.u_v7, second.u_v7]);
    [decode_root(&words[0], &first, &first_power), decode_root(&words[1], &second, &second_power)]
}

struct Ratio {
    y: Field,
    u: Field,
    v: Field,
    u_v3: Field,
    u_v7: Field,
}

#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn decode_ratio(words: &[Lanes; 4]) -> Ratio {
    let y = field::from_words(words);
    let y_square = field::square(&y);
    let u = field::subtract(&y_square, &field::one());
    let v = field::add(&field::multiply(&y_square, &field::constant(D)), &field::one());
    let v3 = field::multiply(&field::square(&v), &v);
    let v7 = field::multiply(&field::square(&v3), &v);
    Ratio { y, u_v3: field::multiply(&u, &v3), u_v7: field::multiply(&u, &v7), u, v }
}

#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn decode_root(words: &[Lanes; 4], ratio: &Ratio, power: &Field) -> Decoded {
    let root = field::multiply(&ratio.u_v3, power);
    let check = field::multiply(&field::square(&root), &ratio.v);
    let direct = field::is_equal(&check, &ratio.u);
    let opposite = field::is_zero(&field::add(&check, &ratio.u));
    let turned = field::multiply(&root, &field::constant(SQRT_MINUS_ONE));
    let x = field::freeze(&field::select(opposite & !direct, &root, &turned));
    let flip = field::is_odd(&x) ^ sign_bits(words);
    let x = field::freeze(&field::select(flip, &x, &field::negate(&x)));
    Decoded { x, y: ratio.y, valid: direct | opposite }
}

/// Points whose x is known already: `valid` says in which lanes (x, y) is on the curve and x has the encoding's sign.
/// Costs a tenth of [`decode_pair`], and makes a wrong cache entry harmless.
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
pub(super) fn decode_known(words: &[Lanes; 4], x_words: &[Lanes; 4]) -> Decoded {
    let y = field::from_words(words);
    let x = field::freeze(&field::from_words(x_words));
    let (x_square, y_square) = (field::square(&x), field::square(&y));
    let left = field::subtract(&y_square, &x_square);
    let product = field::multiply(&x_square, &y_square);
    let right = field::add(&field::multiply(&product, &field::constant(D)), &field::one());
    let sign = !(field::is_odd(&x) ^ sign_bits(words));
    Decoded { x, y, valid: field::is_equal(&left, &right) & sign }
}

/// Bit 255 of each encoding: whether x is odd.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn sign_bits(words: &[Lanes; 4]) -> Mask {
    _mm512_movepi64_mask(words[3])
}
