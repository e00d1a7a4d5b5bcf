//! Every message comes back as it was, and nothing else is read.

use proptest::prelude::*;

use crate::sync::manifest::StateManifest;
use crate::sync::message::{Answer, HEIGHTS_MAX, Head, Object, PART_BYTES_MAX, Refusal, Request};
use crate::sync::proof::{Anchor, TrustProof};

fn object() -> impl Strategy<Value = Object> {
    prop_oneof![
        Just(Object::State),
        any::<u32>().prop_map(Object::Chunk),
        any::<u64>().prop_map(|from_epoch| Object::Proof { from_epoch }),
        any::<u64>().prop_map(|height| Object::Anchor { height }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::Head),
        any::<u64>().prop_map(|height| Request::Freeze { height }),
        (any::<u64>(), object(), any::<u64>()).prop_map(|(height, object, offset)| Request::Part {
            height,
            object,
            offset
        }),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let heights = proptest::collection::btree_set(any::<u64>(), 0..=HEIGHTS_MAX);
    let head = (any::<u64>(), any::<u64>(), any::<u64>(), heights).prop_map(
        |(finalized, committed, next_boundary, heights)| {
            Answer::Head(Head { finalized, committed, next_boundary, snapshots: heights.into_iter().collect() })
        },
    );
    let part = (0..1u64 << 40, proptest::collection::vec(any::<u8>(), 0..500), 0..1_000u64)
        .prop_map(|(offset, bytes, more)| Answer::Part { total: offset + bytes.len() as u64 + more, offset, bytes });
    let refused = prop_oneof![Just(Refusal::NotHere), Just(Refusal::Later), Just(Refusal::NoBoundary)];
    prop_oneof![
        head,
        any::<u64>().prop_map(|height| Answer::Frozen { height }),
        part,
        refused.prop_map(Answer::Refused)
    ]
}

proptest! {
    #[test]
    fn requests_come_back(request in request(), number in any::<u32>()) {
        let bytes = request.encode(number);
        prop_assert_eq!(Request::decode(&bytes).unwrap(), (number, request));
        for end in 0..bytes.len() {
            prop_assert!(Request::decode(&bytes[..end]).is_err());
        }
        prop_assert!(Request::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn answers_come_back(answer in answer(), number in any::<u32>()) {
        let bytes = answer.encode(number);
        prop_assert_eq!(Answer::decode(&bytes).unwrap(), (number, answer.clone()));
        if !matches!(answer, Answer::Part { .. }) {
            prop_assert!(Answer::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_canonically_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok((number, request)) = Request::decode(&bytes) {
            prop_assert_eq!(request.encode(number), bytes.clone());
        }
        if let Ok((number, answer)) = Answer::decode(&bytes) {
            prop_assert_eq!(answer.encode(number), bytes.clone());
        }
        let _ = (StateManifest::decode(&bytes), TrustProof::decode(&bytes), Anchor::decode(&bytes));
    }
}

#[test]
fn a_part_is_bounded_and_inside_its_object() {
    let part = |total, offset, length| {
        let answer = Answer::Part { total, offset, bytes: vec![0; length] };
        Answer::decode(&answer.encode(1)).is_ok()
    };
    assert!(part(PART_BYTES_MAX as u64, 0, PART_BYTES_MAX));
    assert!(!part(u64::MAX, 0, PART_BYTES_MAX + 1));
    assert!(!part(10, 8, 3));
    assert!(!part(10, u64::MAX, 3));
}
