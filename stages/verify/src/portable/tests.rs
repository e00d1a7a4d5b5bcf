//! dalek's representation is understood on this target, and coordinates survive the way there and back.

use super::affine::Coordinates;
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
