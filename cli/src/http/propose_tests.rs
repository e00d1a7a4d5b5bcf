//! What is made of a body, without a node.
#![allow(clippy::unwrap_used)]

use ed25519_dalek::SigningKey;
use tana_types::payload::Payload;
use tana_types::transaction::sign;

use super::*;

const GENESIS: [u8; 32] = [7; 32];

fn signed(nonce: u64) -> Vec<u8> {
    let key = SigningKey::from_bytes(&[9; 32]);
    let payload = Payload::Transfer {
        recipient: tana_types::key::PublicKey([1; 32]),
        currency: "USD".parse().unwrap(),
        amount: 1,
    };
    sign(&Chain::new(GENESIS), &key, nonce, 1_000, &payload).unwrap()
}

fn looked_at(texts: &[String]) -> Result<Checked, Problem> {
    check(texts, &Chain::new(GENESIS), &mut Verifier::new(Backend::Portable, [1; 32]))
}

#[test]
fn a_body_is_a_list_of_one_to_a_thousand_texts() {
    assert_eq!(parse(br#"{"transactions":["ab"]}"#).unwrap(), ["ab"]);
    for body in
        ["", "[]", "{}", "null", r#"{"transactions":[]}"#, r#"{"transactions":[1]}"#, r#"{"block":{}}"#, "\u{0}"]
    {
        let problem = parse(body.as_bytes()).unwrap_err();
        assert!(serde_json::to_string(&problem).unwrap().contains("bad_request"), "{body}");
    }
    let list = |count: usize| serde_json::json!({ "transactions": vec!["00"; count] }).to_string();
    assert_eq!(parse(list(TRANSACTIONS_MAX).as_bytes()).unwrap().len(), TRANSACTIONS_MAX);
    let problem = parse(list(TRANSACTIONS_MAX + 1).as_bytes()).unwrap_err();
    assert!(serde_json::to_string(&problem).unwrap().contains("too_large"));
}

#[test]
fn only_what_is_signed_goes_to_the_node_and_keeps_its_place() {
    let good = signed(1);
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut foreign = good.clone();
    foreign[4] ^= 1;
    let texts: Vec<String> =
        [&good[..], &forged, &good[1..], &foreign, &[], &signed(2)].into_iter().map(hex::encode).collect();
    let checked = looked_at(&texts).unwrap();
    assert_eq!(checked.places, [0, 5]);
    assert_eq!(checked.frames, [Bytes::from([good.clone(), signed(2)].concat())]);
    let answers = Answers { accepted: 1, rejected: [(1, Code::NonceTooFar as u8)].into() };
    let proposed = checked.proposed(answers);
    let codes: Vec<_> = proposed.rejected.iter().map(|rejected| (rejected.index, rejected.code)).collect();
    let expected = [(1, "bad_signature"), (2, "malformed"), (3, "wrong_chain"), (4, "malformed"), (5, "nonce_too_far")];
    assert_eq!((proposed.accepted, codes.as_slice()), (1, &expected[..]));
}

#[test]
fn what_is_no_hexadecimal_is_named_by_its_place() {
    for text in ["xy", "abc", "ä"] {
        let problem = looked_at(&[hex::encode(signed(1)), text.to_owned()]).unwrap_err();
        assert!(serde_json::to_string(&problem).unwrap().contains("transactions[1]"), "{text}");
    }
}

#[test]
fn many_transactions_are_packed_into_frames_that_the_node_takes() {
    let texts: Vec<String> = (1..=TRANSACTIONS_MAX as u64).map(|nonce| hex::encode(signed(nonce))).collect();
    let checked = looked_at(&texts).unwrap();
    assert!(checked.frames.len() > 1 && checked.frames.iter().all(|frame| frame.len() <= FRAME_BYTES_MAX));
    assert_eq!(checked.places.len(), TRANSACTIONS_MAX);
    let bytes: usize = checked.frames.iter().map(Bytes::len).sum();
    assert_eq!(bytes, signed(1).len() * TRANSACTIONS_MAX);
}
