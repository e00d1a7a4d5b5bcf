//! Batches of every size and mix: each path agrees with ed25519-zebra on each signature, whatever the others are.

mod common;

use common::{Case, Kind, assert_all_agree, craft, verifiers, verify, zebra};
use proptest::prelude::*;
use tana_verify::{Backend, Mode, NoCache, Verifier};

/// Like the engine's: domain tag and genesis hash.
const PREFIX: [u8; 48] = [0x5a; 48];

/// Mostly honest, so that equations hold often enough to be tested.
fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![8 => Just(Kind::Honest), 6 => proptest::sample::select(Kind::ALL.to_vec())]
}

/// Kinds that are valid under ZIP-215, and some that are refused on sight.
fn kind_that_keeps_the_equation() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Honest),
        4 => Just(Kind::MixedOrder),
        2 => Just(Kind::SmallOrder),
        1 => Just(Kind::LargeResponse),
    ]
}

fn message_bytes() -> impl Strategy<Value = usize> {
    // Around the ends of SHA-512's blocks, the usual size, and longer than what lanes hash.
    prop_oneof![4 => Just(112usize), 4 => 0usize..300, 1 => 8000usize..9000]
}

fn cases(kind: impl Strategy<Value = Kind>, size: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Case>> {
    prop::collection::vec((kind, message_bytes(), any::<u64>()), size)
        .prop_map(|list| list.into_iter().map(|(kind, bytes, seed)| craft(kind, &PREFIX, bytes, seed)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn all_paths_agree_with_zebra(
        mut batch in cases(kind(), 0..80),
        swaps in prop::collection::vec(any::<(u8, u8)>(), 0..3),
    ) {
        // Signatures in each other's place: valid ones, of something else.
        if !batch.is_empty() {
            for (a, b) in swaps {
                let (a, b) = (a as usize % batch.len(), b as usize % batch.len());
                let signature = batch[a].signature;
                batch[a].signature = batch[b].signature;
                batch[b].signature = signature;
            }
        }
        assert_all_agree(&mut verifiers(), &PREFIX, &batch);
    }

    #[test]
    fn what_zebra_accepts_never_fails_the_equation(batch in cases(kind_that_keeps_the_equation(), 0..120)) {
        let expected: Vec<bool> = batch.iter().map(|case| zebra(&PREFIX, case)).collect();
        for verifier in &mut verifiers() {
            let (verdicts, outcome) = verify(verifier, &PREFIX, &batch, Mode::BatchFirst);
            prop_assert_eq!(&verdicts, &expected);
            prop_assert!(!outcome.batch_equation_failed, "{}", verifier.backend());
        }
    }
}

/// One bad signature at every place of every small batch, and at some places of larger ones.
#[test]
fn one_bad_signature_is_found_at_every_place() {
    let honest: Vec<Case> = (0..520).map(|seed| craft(Kind::Honest, &PREFIX, 112, seed)).collect();
    let mut verifiers = verifiers();
    let small = (1..=36).flat_map(|size| (0..size).map(move |place| (size, place)));
    let large = [63, 64, 65, 127, 128, 129, 255, 257, 511, 512, 513].into_iter();
    let large = large.flat_map(|size| [0, 7, 8, 15, 16, size / 2, size - 2, size - 1].map(|place| (size, place)));
    for (size, place) in small.chain(large) {
        let mut batch = honest[..size].to_vec();
        batch[place].signature[32 + place % 31] ^= 1;
        for verifier in &mut verifiers {
            if verifier.backend() == Backend::Reference && size > 36 {
                continue; // it knows no batches
            }
            let (verdicts, outcome) = verify(verifier, &PREFIX, &batch, Mode::BatchFirst);
            assert_eq!(outcome.invalid, 1, "{}, {size} signatures, bad at {place}", verifier.backend());
            assert!(!verdicts[place]);
            let equation_tried = verifier.backend() != Backend::Reference && size > 20;
            assert!(outcome.batch_equation_failed || !equation_tried);
        }
    }
}

/// Two wrong signatures whose errors cancel in a sum without coefficients.
#[test]
fn errors_do_not_cancel() {
    use curve25519_dalek::scalar::Scalar;
    let mut batch: Vec<Case> = (0..64).map(|seed| craft(Kind::Honest, &PREFIX, 112, seed)).collect();
    for (index, error) in [(5, Scalar::ONE), (40, -Scalar::ONE)] {
        let mut response = [0; 32];
        response.copy_from_slice(&batch[index].signature[32..]);
        let response = Scalar::from_canonical_bytes(response).unwrap() + error;
        batch[index].signature[32..].copy_from_slice(response.as_bytes());
    }
    for verifier in &mut verifiers() {
        let (verdicts, outcome) = verify(verifier, &PREFIX, &batch, Mode::BatchFirst);
        assert_eq!(outcome.invalid, 2, "{}", verifier.backend());
        assert!(!verdicts[5] && !verdicts[40]);
    }
}

/// The verdict on a signature is the same alone, in any company, at any place, and under any seed.
#[test]
fn verdicts_do_not_depend_on_company() {
    let watched: Vec<Case> =
        Kind::ALL.iter().flat_map(|kind| (0..6).map(|seed| craft(*kind, &PREFIX, 100, 1000 + seed))).collect();
    let expected: Vec<bool> = watched.iter().map(|case| zebra(&PREFIX, case)).collect();
    assert!(expected.contains(&true) && expected.contains(&false));
    for backend in common::backends() {
        for round in 0..12usize {
            let mut verifier = Verifier::new(backend, [round as u8; 32]);
            // Company that all passes, or in which every kind occurs; before, between and after the watched ones.
            let company: Vec<Case> = (0..round * 7)
                .map(|index| {
                    let kind = if round % 2 == 0 { Kind::MixedOrder } else { Kind::ALL[index % Kind::ALL.len()] };
                    craft(kind, &PREFIX, 60 + index, (round * 1000 + index) as u64)
                })
                .collect();
            let mut batch = Vec::new();
            let mut places = Vec::new();
            let mut company = company.into_iter();
            for index in 0..watched.len() {
                let index = (index * 5 + round) % watched.len();
                batch.extend(company.by_ref().take(round % 3));
                places.push((index, batch.len()));
                batch.push(watched[index].clone());
            }
            batch.extend(company);
            let (verdicts, _) = verify(&mut verifier, &PREFIX, &batch, Mode::BatchFirst);
            for (index, place) in places {
                assert_eq!(verdicts[place], expected[index], "{backend}, round {round}, watched {index}");
            }
            let alone = &watched[round % watched.len()];
            let (verdict, _) = verify(&mut verifier, &PREFIX, std::slice::from_ref(alone), Mode::BatchFirst);
            assert_eq!(verdict[0], expected[round % watched.len()]);
        }
    }
}

/// The text is prefix then message: moving the border changes nothing, changing the prefix everything.
#[test]
fn the_prefix_is_part_of_the_text() {
    let batch: Vec<Case> = (0..40).map(|seed| craft(Kind::Honest, b"", 100, seed)).collect();
    for verifier in &mut verifiers() {
        for border in [0, 1, 48, 100] {
            for case in &batch {
                let (prefix, rest) = case.message.split_at(border);
                let shifted = Case { message: rest.to_vec(), ..case.clone() };
                assert_eq!(verify(verifier, prefix, &[shifted], Mode::BatchFirst).0, [true]);
            }
        }
        let (_, outcome) = verify(verifier, b"x", &batch, Mode::BatchFirst);
        assert_eq!(outcome.valid, 0, "{}", verifier.backend());
    }
}

#[test]
fn an_empty_batch_is_fine() {
    for verifier in &mut verifiers() {
        let mut verdicts = vec![true];
        let outcome = verifier.verify(&PREFIX, &[], &NoCache, Mode::BatchFirst, &mut verdicts);
        assert!(verdicts.is_empty());
        assert_eq!((outcome.valid, outcome.invalid, outcome.batch_equation_failed), (0, 0, false));
    }
}

#[test]
fn the_detected_backend_runs() {
    let (backend, reason) = Backend::detect();
    assert!(backend.is_available() && !reason.is_empty());
    assert_eq!(Verifier::new(backend, [0; 32]).backend(), backend);
    assert_eq!(Backend::Ifma.to_string(), "avx512-ifma");
    assert_eq!(Backend::Reference.to_string(), "reference");
    assert!(Backend::Portable.to_string().starts_with("portable-"));
    let lanes = Verifier::new(Backend::Ifma, [0; 32]).backend();
    assert_eq!(lanes, if Backend::Ifma.is_available() { Backend::Ifma } else { Backend::Portable });
}
