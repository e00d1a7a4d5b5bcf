//! dalek's representation is understood on this target, and coordinates survive the way there and back.

use super::affine::{Coordinates, DECODE_WIDTH};
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;

#[test]
fn coordinates_round_trip() {
    let coordinates = Coordinates::new();
    for number in 0..200u64 {
        let scalar = Scalar::from_bytes_mod_order([number as u8; 32]) + Scalar::from(number);
        let point = EdwardsPoint::mul_base(&scalar) + EIGHT_TORSION[number as usize % 8];
        let key = point.compress();
        let decoded = key.decompress().unwrap();
        let Some(x) = coordinates.x_of(&decoded) else {
            println!("not run: dalek's representation is another one on this target");
            return;
        };
        let rebuilt = coordinates.point_of(key.as_bytes(), &x).unwrap();
        assert_eq!(rebuilt, point);
        assert_eq!((rebuilt * scalar).compress(), (point * scalar).compress());
        assert_eq!((rebuilt + point).compress(), (point + point).compress());
    }
}

/// Where the engine runs, a changed representation (which would make cached keys slow, not wrong) must not go unnoticed.
#[cfg(target_arch = "x86_64")]
#[test]
fn representation_is_understood_here() {
    let point = EdwardsPoint::mul_base(&Scalar::from(5u64)).compress().decompress().unwrap();
    assert!(Coordinates::new().x_of(&point).is_some());
}

#[test]
fn wrong_coordinates_are_refused() {
    let coordinates = Coordinates::new();
    let key = EdwardsPoint::mul_base(&Scalar::from(77u64)).compress();
    let Some(x) = coordinates.x_of(&key.decompress().unwrap()) else {
        println!("not run: dalek's representation is another one on this target");
        return;
    };
    for bit in 0..255 {
        let mut wrong = x;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(coordinates.point_of(key.as_bytes(), &wrong).is_none(), "bit {bit}");
    }
    let mut opposite = key.0;
    opposite[31] ^= 0x80;
    assert!(coordinates.point_of(&opposite, &x).is_none(), "x of the other sign");
    let minus = coordinates.x_of(&CompressedEdwardsY(opposite).decompress().unwrap()).unwrap();
    assert!(coordinates.point_of(&opposite, &minus).is_some());
    assert!(coordinates.point_of(key.as_bytes(), &minus).is_none());
}

/// The decoding of several points at a time gives dalek's points, for encodings of all sorts.
#[test]
fn decoding_matches_dalek() {
    let coordinates = Coordinates::new();
    let mut list: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.compress().0).collect();
    for low in 0xda..=0xffu8 {
        for sign in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, sign);
            list.push(bytes);
        }
    }
    for low in 0..40u8 {
        for sign in [0, 0x80] {
            let mut bytes = [0; 32];
            (bytes[0], bytes[31]) = (low, sign);
            list.push(bytes);
        }
    }
    let mut scalar = Scalar::from(3u64);
    for _ in 0..200 {
        scalar = scalar * scalar + Scalar::ONE;
        // A point, and the bytes of a scalar: a point half of the time.
        list.extend([EdwardsPoint::mul_base(&scalar).compress().0, scalar.to_bytes()]);
    }
    for group in list.as_chunks::<DECODE_WIDTH>().0 {
        let decoded = coordinates.decode(group.each_ref());
        for (bytes, point) in group.iter().zip(decoded) {
            let expected = CompressedEdwardsY(*bytes).decompress();
            assert_eq!(point, expected, "{bytes:02x?}");
            if let (Some(point), Some(expected)) = (point, expected) {
                assert_eq!((point + point).compress(), (expected + expected).compress());
                assert_eq!(coordinates.x_of(&point), coordinates.x_of(&expected));
            }
        }
    }
}
