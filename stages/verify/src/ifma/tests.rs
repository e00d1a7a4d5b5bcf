//! Each layer of the lanes against an independent implementation: field arithmetic against long-hand arithmetic modulo p,
//! scalars and points against curve25519-dalek, hashing against sha2.

use super::field::{self, Field};
use super::memory::{self, LaneWords, NielsEntry};
use super::multiscalar::{self, Multiscalar};
use super::point::{self, AffineNiels, Projective};
use super::{is_available, scalar, sha512, single};
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use sha2::{Digest, Sha512};

/// Runs a test of the lanes, or says that it cannot.
macro_rules! in_lanes {
    ($name:ident, $body:ident) => {
        #[test]
        fn $name() {
            if !is_available() {
                println!("not run: {} (the CPU has no AVX-512 IFMA)", stringify!($name));
                return;
            }
            // SAFETY: the CPU has the features, as just checked.
            unsafe { $body() }
        }
    };
}

fn generator(seed: u64) -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(seed)
}

fn bytes32(random: &mut impl Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    random.fill_bytes(&mut bytes);
    bytes
}

/// Long-hand arithmetic modulo p on 256-bit numbers, one bit at a time.
mod long_hand {
    pub(super) const P: [u64; 4] = [u64::MAX - 18, u64::MAX, u64::MAX, u64::MAX >> 1];

    fn add_raw(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
        let mut carry = 0u128;
        core::array::from_fn(|i| {
            carry += a[i] as u128 + b[i] as u128;
            let word = carry as u64;
            carry >>= 64;
            word
        })
    }

    pub(super) fn reduce(mut a: [u64; 4]) -> [u64; 4] {
        loop {
            let mut borrow = 0i128;
            let difference: [u64; 4] = core::array::from_fn(|i| {
                borrow += a[i] as i128 - P[i] as i128;
                let word = borrow as u64;
                borrow >>= 64;
                word
            });
            if borrow < 0 {
                return a;
            }
            a = difference;
        }
    }

    /// Of two reduced numbers.
    pub(super) fn add(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
        reduce(add_raw(a, b))
    }

    pub(super) fn multiply(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
        let mut product = [0; 4];
        for bit in (0..256).rev() {
            product = add(product, product);
            if b[bit / 64] >> (bit % 64) & 1 == 1 {
                product = add(product, a);
            }
        }
        product
    }

    pub(super) fn negate(a: [u64; 4]) -> [u64; 4] {
        multiply(a, [P[0] - 1, P[1], P[2], P[3]])
    }
}

/// Numbers at the edges, then random ones, eight at a time; 255 bits, reduced or not.
fn field_inputs(random: &mut ChaCha12Rng) -> Vec<[[u64; 4]; 8]> {
    let p = long_hand::P;
    let plus = |low: u64| [p[0].wrapping_add(low), p[1], p[2], p[3]];
    let mut numbers = vec![[0; 4], [1, 0, 0, 0], [19, 0, 0, 0], [p[0] - 1, p[1], p[2], p[3]], plus(0), plus(1)];
    numbers.extend([plus(18), [(1 << 51) - 1, 0, 0, 0], [1 << 51, 0, 0, 0], [0, 0, 0, 1 << 62]]);
    while numbers.len() < 400 {
        let mut words = scalar::words_of(&bytes32(random));
        words[3] &= u64::MAX >> 1;
        numbers.push(words);
    }
    numbers.as_chunks::<8>().0.to_vec()
}

#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn field_of(numbers: &[[u64; 4]; 8]) -> Field {
    let row = |word: usize| LaneWords(core::array::from_fn(|lane| numbers[lane][word]));
    field::from_words(&[memory::load(&row(0)), memory::load(&row(1)), memory::load(&row(2)), memory::load(&row(3))])
}

#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn numbers_of(element: &Field) -> [[u64; 4]; 8] {
    let [w0, w1, w2, w3] = field::to_words(&field::freeze(element));
    let rows = [memory::store(w0), memory::store(w1), memory::store(w2), memory::store(w3)];
    core::array::from_fn(|lane| core::array::from_fn(|word| rows[word].0[lane]))
}

in_lanes!(field_matches_long_hand, field_matches_long_hand_body);
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn field_matches_long_hand_body() {
    let mut random = generator(1);
    let inputs = field_inputs(&mut random);
    for (index, a_numbers) in inputs.iter().enumerate() {
        let b_numbers = &inputs[(index * 7 + 3) % inputs.len()];
        let (a, b) = (field_of(a_numbers), field_of(b_numbers));
        let (a_numbers, b_numbers) = (a_numbers.map(long_hand::reduce), b_numbers.map(long_hand::reduce));
        let expect = |got: [[u64; 4]; 8], what: &str, f: &dyn Fn([u64; 4], [u64; 4]) -> [u64; 4]| {
            for lane in 0..8 {
                assert_eq!(got[lane], f(a_numbers[lane], b_numbers[lane]), "{what}, group {index}, lane {lane}");
            }
        };
        expect(numbers_of(&a), "freeze", &|a, _| a);
        expect(numbers_of(&field::multiply(&a, &b)), "multiply", &long_hand::multiply);
        expect(numbers_of(&field::square(&a)), "square", &|a, _| long_hand::multiply(a, a));
        expect(numbers_of(&field::add(&a, &b)), "add", &long_hand::add);
        expect(numbers_of(&field::subtract(&a, &b)), "subtract", &|a, b| long_hand::add(a, long_hand::negate(b)));
        expect(numbers_of(&field::negate(&a)), "negate", &|a, _| long_hand::negate(a));
        for mask in [0u8, 0xff, 0b0101_1010] {
            let (negated, selected) =
                (numbers_of(&field::negate_where(mask, &a)), numbers_of(&field::select(mask, &a, &b)));
            for lane in 0..8 {
                let (x, y) = (a_numbers[lane], b_numbers[lane]);
                let set = mask >> lane & 1 == 1;
                assert_eq!(negated[lane], if set { long_hand::negate(x) } else { x });
                assert_eq!(selected[lane], if set { y } else { x });
            }
        }
        let (zero, equal, odd) = (field::is_zero(&a), field::is_equal(&a, &b), field::is_odd(&field::freeze(&a)));
        for lane in 0..8 {
            assert_eq!(zero >> lane & 1 == 1, a_numbers[lane] == [0; 4]);
            assert_eq!(equal >> lane & 1 == 1, a_numbers[lane] == b_numbers[lane]);
            assert_eq!(odd >> lane & 1 == 1, a_numbers[lane][0] & 1 == 1);
        }
    }
}

in_lanes!(field_holds_at_the_largest_limbs, field_holds_at_the_largest_limbs_body);
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn field_holds_at_the_largest_limbs_body() {
    // Every limb at the bound that the essay promises, and the same element through freeze.
    let largest = (1u64 << 51) + (1 << 18) - 1;
    let wide = field::constant([largest; 5]);
    let frozen = field::freeze(&wide);
    let (x, y) = (numbers_of(&wide)[0], numbers_of(&frozen)[0]);
    assert_eq!(x, y);
    assert_eq!(numbers_of(&field::multiply(&wide, &wide))[5], long_hand::multiply(x, x));
    assert_eq!(numbers_of(&field::square(&wide))[7], long_hand::multiply(x, x));
    assert_eq!(numbers_of(&field::multiply(&wide, &field::negate_where(0xff, &wide)))[0], {
        long_hand::multiply(x, long_hand::negate(x))
    });
    let difference = field::carry(field::subtract_wide(
        field::square_wide(&wide),
        field::add_wide(field::square_wide(&wide), field::square_wide(&wide)),
    ));
    assert_eq!(numbers_of(&difference)[3], long_hand::negate(long_hand::multiply(x, x)));
}

fn dalek_scalar(words: &[u64; 4]) -> Scalar {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    Scalar::from_canonical_bytes(bytes).unwrap()
}

#[test]
fn scalars_match_dalek() {
    let mut random = generator(2);
    let (mut sum, mut expected_sum) = ([0; 8], Scalar::ZERO);
    for round in 0..3000usize {
        let mut wide = [0u8; 64];
        random.fill_bytes(&mut wide);
        match round % 6 {
            1 => wide[..40].fill(0xff),
            2 => wide.fill(0xff),
            3 => wide[33..].fill(0),
            4 => wide[round % 64..].fill(0),
            _ => {}
        }
        let (chunks, _) = wide.as_chunks::<8>();
        let a = scalar::reduce_wide(&core::array::from_fn(|i| u64::from_le_bytes(chunks[i])));
        let expected = Scalar::from_bytes_mod_order_wide(&wide);
        assert_eq!(dalek_scalar(&a), expected, "round {round}");
        assert!(scalar::is_reduced(&a));
        let coefficient = if round % 5 == 0 { [u64::MAX; 2] } else { [random.next_u64(), random.next_u64()] };
        let factor = Scalar::from((coefficient[1] as u128) << 64 | coefficient[0] as u128);
        assert_eq!(dalek_scalar(&scalar::multiply_coefficient(&coefficient, &a)), factor * expected);
        assert_eq!(dalek_scalar(&scalar::negate(&a)), -expected);
        assert_eq!(dalek_scalar(&scalar::add(&a, &a)), expected + expected);
        scalar::accumulate(&mut sum, &coefficient, &a);
        expected_sum += factor * expected;
    }
    assert_eq!(dalek_scalar(&scalar::reduce_wide(&sum)), expected_sum);
    assert_eq!(scalar::negate(&[0; 4]), [0; 4]);
}

#[test]
fn reduced_means_below_the_order() {
    let order = scalar::ORDER;
    assert!(!scalar::is_reduced(&order));
    assert!(scalar::is_reduced(&[order[0] - 1, order[1], order[2], order[3]]));
    assert!(!scalar::is_reduced(&[order[0] + 1, order[1], order[2], order[3]]));
    assert!(!scalar::is_reduced(&[u64::MAX; 4]));
    assert!(!scalar::is_reduced(&[0, 0, 1, order[3]]));
    assert!(scalar::is_reduced(&[0; 4]));
}

#[test]
fn signed_digits_add_up() {
    let mut random = generator(3);
    let top = [scalar::ORDER[0] - 1, scalar::ORDER[1], 0, scalar::ORDER[3]];
    let mut numbers = vec![[0; 4], [1, 0, 0, 0], top, [0, 1 << 62, 0, 0], [u64::MAX, u64::MAX, u64::MAX, 0]];
    numbers.extend((0..200).map(|_| {
        let mut words = scalar::words_of(&bytes32(&mut random));
        words[3] &= (1 << 60) - 1;
        words
    }));
    for number in numbers {
        for width in 4..=10u32 {
            let split = scalar::SignedDigits::new(width, 255usize.div_ceil(width as usize));
            let digits: Vec<i32> = split.of(&number).collect();
            let mut value = Scalar::ZERO;
            for digit in digits.iter().rev() {
                assert!(digit.unsigned_abs() <= 1 << (width - 1), "width {width}, digit {digit}");
                value *= Scalar::from(1u64 << width);
                let size = Scalar::from(digit.unsigned_abs() as u64);
                value = if *digit < 0 { value - size } else { value + size };
            }
            assert_eq!(value, dalek_scalar(&number));
        }
    }
}

in_lanes!(sha512_matches_sha2, sha512_matches_sha2_body);
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn sha512_matches_sha2_body() {
    let mut random = generator(4);
    let mut blocks = sha512::Blocks::default();
    for round in 0..160usize {
        let texts: [Vec<u8>; 8] = core::array::from_fn(|lane| {
            let length = match round {
                0..40 => round * 8 + lane,
                40 => sha512::TEXT_BYTES_MAX - lane,
                _ => random.next_u64() as usize % 700,
            };
            let mut text = vec![0; length];
            random.fill_bytes(&mut text);
            text
        });
        for (lane, text) in texts.iter().enumerate() {
            let (first, second) = text.split_at(text.len() / 3);
            blocks.set(lane, &[first, &[], second]);
        }
        let rows = blocks.digest().map(|word| memory::store(word));
        for (lane, text) in texts.iter().enumerate() {
            let mut digest = [0; 64];
            for (chunk, row) in digest.as_chunks_mut::<8>().0.iter_mut().zip(&rows) {
                *chunk = row.0[lane].to_le_bytes();
            }
            assert_eq!(digest[..], Sha512::digest(text)[..], "round {round}, lane {lane}, {} bytes", text.len());
        }
    }
}

/// Points with and without a part of small order, encodings that are not canonical, and bytes that are no point.
fn encodings(random: &mut ChaCha12Rng) -> Vec<[u8; 32]> {
    let mut list: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.compress().0).collect();
    for low in 0..19u8 {
        for sign in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (0xed + low, sign);
            list.push(bytes);
        }
    }
    let mut minus_zero = [0; 32];
    (minus_zero[0], minus_zero[31]) = (1, 0x80);
    list.push(minus_zero);
    for index in 0..100 {
        let scalar = Scalar::from_bytes_mod_order(bytes32(random));
        list.push((EdwardsPoint::mul_base(&scalar) + EIGHT_TORSION[index % 8]).compress().0);
        list.push(bytes32(random));
    }
    while !list.len().is_multiple_of(16) {
        list.push(bytes32(random));
    }
    list
}

#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn encode(point: &Projective) -> [[u8; 32]; 8] {
    // 1/z = z^(p - 2) = (z^((p - 5) / 8))^8 z^3.
    let [mut power, _] = field::power_p58(&[point.z, point.z]);
    for _ in 0..3 {
        power = field::square(&power);
    }
    let inverse = field::multiply(&power, &field::multiply(&field::square(&point.z), &point.z));
    let x = numbers_of(&field::multiply(&point.x, &inverse));
    let y = numbers_of(&field::multiply(&point.y, &inverse));
    core::array::from_fn(|lane| {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(y[lane]) {
            *chunk = word.to_le_bytes();
        }
        bytes[31] |= ((x[lane][0] & 1) as u8) << 7;
        bytes
    })
}

in_lanes!(points_match_dalek, points_match_dalek_body);
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn points_match_dalek_body() {
    let list = encodings(&mut generator(5));
    for group in list.as_chunks::<16>().0 {
        let (first, second) = group.split_at(8);
        let halves: [[&[u8; 32]; 8]; 2] = [core::array::from_fn(|i| &first[i]), core::array::from_fn(|i| &second[i])];
        let words = [memory::load_bytes(&halves[0]), memory::load_bytes(&halves[1])];
        let decoded = point::decode_pair(&words);
        for half in 0..2 {
            let points = &decoded[half];
            let expected = halves[half].map(|bytes| CompressedEdwardsY(*bytes).decompress());
            let niels = AffineNiels::from_affine(&points.x, &points.y);
            let plain = niels.extended();
            let sum = encode(&plain.add_affine(&niels).extended().add(&plain.niels()).projective());
            let doubled = encode(&plain.projective().double_times(3));
            let opposite = encode(&niels.negate_where(0xff).extended().projective());
            let neutral = plain.add_affine(&niels.negate_where(0xff)).projective().is_identity();
            for lane in 0..8 {
                assert_eq!(points.valid >> lane & 1 == 1, expected[lane].is_some(), "{:02x?}", halves[half][lane]);
                if let Some(point) = expected[lane] {
                    assert_eq!(encode(&plain.projective())[lane], point.compress().0);
                    assert_eq!(sum[lane], (point + point + point).compress().0);
                    assert_eq!(doubled[lane], point.mul_by_cofactor().compress().0);
                    assert_eq!(opposite[lane], (-point).compress().0);
                    assert_eq!(neutral >> lane & 1, 1);
                }
            }
        }
        known_keys_match(&halves[0], &words[0], &decoded[0]);
    }
}

/// The short way through the cache accepts exactly the true x (a zero with the sign bit goes the long way).
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn known_keys_match(keys: &[&[u8; 32]; 8], words: &[field::Lanes; 4], decoded: &point::Decoded) {
    let x_words = field::to_words(&decoded.x);
    let known = point::decode_known(words, &x_words);
    let opposite = point::decode_known(words, &field::to_words(&field::freeze(&field::negate(&decoded.x))));
    let x = numbers_of(&decoded.x);
    for lane in 0..8 {
        let valid = decoded.valid >> lane & 1 == 1;
        let zero = x[lane] == [0; 4];
        let reachable = !zero || keys[lane][31] < 0x80;
        if valid {
            assert_eq!(known.valid >> lane & 1 == 1, reachable, "{:02x?}", keys[lane]);
            assert_eq!(opposite.valid >> lane & 1 == 1, zero && reachable);
            assert_eq!(numbers_of(&known.x)[lane], x[lane]);
        }
    }
}

#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn table_of(points: &[EdwardsPoint]) -> Vec<NielsEntry> {
    let mut table = vec![NielsEntry::IDENTITY; points.len() + 1];
    let encodings: Vec<[u8; 32]> = points.iter().map(|point| point.compress().0).collect();
    for (index, encoding) in encodings.iter().enumerate() {
        let words = memory::load_bytes(&[encoding; 8]);
        let [decoded, _] = point::decode_pair(&[words, words]);
        let niels = AffineNiels::from_affine(&decoded.x, &decoded.y);
        memory::scatter_affine(&mut table, field::splat(index as u64), 1, &niels);
    }
    table
}

in_lanes!(sums_match_dalek, sums_match_dalek_body);
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn sums_match_dalek_body() {
    let mut random = generator(6);
    let pool: Vec<EdwardsPoint> = (0..700)
        .map(|i| EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order(bytes32(&mut random))) + EIGHT_TORSION[i % 8])
        .collect();
    let mut sums = Multiscalar::default();
    // Sizes go up and down, so that the work space is used both grown and shrunk.
    for (round, (short_count, long_count)) in
        [(300, 301), (0, 1), (1, 1), (16, 2), (7, 9), (64, 65), (512, 100), (32, 0), (0, 0), (33, 34)]
            .into_iter()
            .enumerate()
    {
        let short: Vec<[u64; 2]> = (0..short_count)
            .map(|i| match i % 9 {
                0 => [0, 1 << 62],
                3 => [u64::MAX, (1 << 62) - 1],
                1 => [0, 0],
                2 => [1, 0],
                _ => [random.next_u64(), random.next_u64() >> 2],
            })
            .collect();
        let long: Vec<[u64; 4]> = (0..long_count)
            .map(|i| match i % 9 {
                0 => [scalar::ORDER[0] - 1, scalar::ORDER[1], 0, scalar::ORDER[3]],
                1 => [0; 4],
                2 => [5, 0, 0, 0],
                _ => scalar::words_of(Scalar::from_bytes_mod_order(bytes32(&mut random)).as_bytes()),
            })
            .collect();
        let points = &pool[..short.len() + long.len()];
        let table = table_of(points);
        let scalars = short.iter().map(|words| [words[0], words[1], 0, 0]).chain(long.iter().copied());
        let expected: EdwardsPoint = scalars
            .zip(points)
            .map(|(words, point)| dalek_scalar(&words) * point)
            .fold(EdwardsPoint::identity(), |a, b| a + b);
        let expected = expected.compress().0;
        assert_eq!(encode(&sums.sum(&table, &short, &long)), [expected; 8], "round {round}");
        for width in multiscalar::WIDTH_MIN..=multiscalar::WIDTH_MAX {
            let sum = sums.sum_of_width(&table, &short, &long, width);
            assert_eq!(encode(&sum), [expected; 8], "round {round}, width {width}");
        }
    }
}

in_lanes!(single_checks_match_the_reference, single_checks_match_the_reference_body);
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn single_checks_match_the_reference_body() {
    let mut random = generator(7);
    let base = single::BaseTable::new();
    for round in 0..12usize {
        let mut keys = Vec::new();
        let mut commitments = Vec::new();
        let mut challenges = Vec::new();
        let mut responses = Vec::new();
        for (lane, torsion) in EIGHT_TORSION.iter().enumerate() {
            let mut draw = || Scalar::from_bytes_mod_order(bytes32(&mut random));
            let (secret, nonce) = (draw(), draw());
            let challenge = if (round + lane) % 5 == 0 { Scalar::ZERO } else { draw() };
            let wrong = Scalar::from(((round * lane) % 3 == 1) as u64);
            keys.push(EdwardsPoint::mul_base(&secret) + EIGHT_TORSION[round % 8]);
            commitments.push(EdwardsPoint::mul_base(&nonce) + torsion);
            responses.push(nonce + challenge * secret + wrong);
            challenges.push(challenge);
        }
        let (key_table, commitment_table) = (table_of(&keys), table_of(&commitments));
        let index = memory::load(&LaneWords([0, 1, 2, 3, 4, 5, 6, 7]));
        let words =
            |list: &[Scalar]| -> [[u64; 4]; 8] { core::array::from_fn(|i| scalar::words_of(list[i].as_bytes())) };
        let (challenge_words, response_words) = (words(&challenges), words(&responses));
        let valid = single::check(
            &base,
            &memory::gather_affine(&key_table, index),
            &memory::gather_affine(&commitment_table, index),
            &single::Scalars { challenge: challenge_words.each_ref(), response: response_words.each_ref() },
        );
        for lane in 0..8 {
            let expected =
                crate::reference::check(&keys[lane], &commitments[lane], &challenges[lane], &responses[lane]);
            assert_eq!(valid >> lane & 1 == 1, expected, "round {round}, lane {lane}");
            assert_eq!(expected, (round * lane) % 3 != 1);
        }
    }
}

in_lanes!(gathers_stay_inside_their_table, gathers_stay_inside_their_table_body);
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn gathers_stay_inside_their_table_body() {
    let table = table_of(&[EdwardsPoint::mul_base(&Scalar::from(3u64))]);
    let beyond = memory::load(&LaneWords([0, 1, 2, 100, u64::MAX, 1 << 40, 1, 0]));
    let points = memory::gather_affine(&table, beyond).extended().projective();
    assert_eq!(points.is_identity(), 0b0111_1110, "index 1 is the neutral point, and whatever lies beyond it");
    let numbers = memory::store(memory::gather_numbers(&[7, 9], beyond, 0b0111_1111, 5));
    assert_eq!(numbers.0, [7, 9, 9, 9, 9, 9, 9, 5]);
}
