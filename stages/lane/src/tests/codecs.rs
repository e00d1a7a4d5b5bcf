//! Messages and evidence: what is written reads back, anything else is refused, and evidence proves what it says or nothing.

use proptest::prelude::*;
use tana_types::batch::{Batch, Origin, SEAL_BYTES};
use tana_types::transaction::{Chain, Transaction};

use super::support::*;
use crate::*;

fn marks() -> impl Strategy<Value = Marks> {
    proptest::collection::btree_map(any::<[u8; 32]>(), (1u64..=u64::MAX >> 1, any::<[u8; 32]>()), 0..20).prop_map(
        |marks| Marks {
            entries: marks.into_iter().map(|(author, (sequence, digest))| Mark { author, sequence, digest }).collect(),
        },
    )
}

proptest! {
    #[test]
    fn marks_read_back(marks in marks(), cut in any::<prop::sample::Index>()) {
        let bytes = marks.encode();
        prop_assert_eq!(Marks::decode(&bytes), Ok(marks));
        prop_assert!(Marks::decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(Marks::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn requests_read_back(
        wanted in proptest::collection::vec((any::<[u8; 32]>(), any::<u64>()), 1..=FETCH_DIGESTS_MAX),
        cut in any::<prop::sample::Index>(),
    ) {
        let wanted = wanted.into_iter().map(|(digest, height)| Wanted { digest, height }).collect();
        let message = Fetch::Request(FetchRequest { wanted });
        let bytes = message.encode();
        prop_assert_eq!(Fetch::decode(&bytes), Ok(message.clone()));
        prop_assert!(Fetch::decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(Fetch::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn answers_read_back(sealed in proptest::collection::vec(any::<u8>(), SEAL_BYTES..600), digest in any::<[u8; 32]>()) {
        for message in [Fetch::Batch(&sealed), Fetch::NotHeld(digest)] {
            let bytes = message.encode();
            prop_assert_eq!(Fetch::decode(&bytes), Ok(message.clone()));
        }
        prop_assert_eq!(&Fetch::Batch(&sealed).encode()[FETCH_PREFIX_BYTES..], &sealed[..]);
    }

    #[test]
    fn whatever_decodes_has_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..300), start in 0u8..4) {
        let bytes = [&[1, start][..], &bytes].concat();
        if let Ok(marks) = Marks::decode(&bytes) {
            prop_assert_eq!(marks.encode(), bytes.clone());
        }
        if let Ok(message) = Fetch::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes.clone());
        }
        if let Ok(evidence) = Evidence::decode(&bytes) {
            prop_assert_eq!(evidence.encode(), bytes.clone());
            prop_assert!(evidence.verify(&chain()).is_err());
        }
    }
}

#[test]
fn messages_out_of_bounds_are_refused() {
    let mark = |author| Mark { author: [author; 32], sequence: 1, digest: [0; 32] };
    let refused = |entries| Marks::decode(&Marks { entries }.encode()).is_err();
    assert!(!refused(vec![mark(1), mark(2)]));
    assert!(refused(vec![mark(2), mark(1)]) && refused(vec![mark(1), mark(1)]));
    assert!(refused(vec![Mark { sequence: 0, ..mark(1) }]));
    assert!(refused(vec![mark(1); MARKS_MAX + 1]));
    let request =
        |count| Fetch::Request(FetchRequest { wanted: vec![Wanted { digest: [1; 32], height: 1 }; count] }).encode();
    assert!(Fetch::decode(&request(FETCH_DIGESTS_MAX)).is_ok());
    assert!(Fetch::decode(&request(FETCH_DIGESTS_MAX + 1)).is_err() && Fetch::decode(&request(0)).is_err());
    assert!(Fetch::decode(&Fetch::Batch(&vec![0; SEALED_BATCH_BYTES_MAX]).encode()).is_ok());
    assert!(Fetch::decode(&Fetch::Batch(&vec![0; SEALED_BATCH_BYTES_MAX + 1]).encode()).is_err());
    assert!(Fetch::decode(&Fetch::Batch(&[0; SEAL_BYTES - 1]).encode()).is_err());
    assert!(Fetch::decode(&[2, 1]).is_err() && Fetch::decode(&[1, 4]).is_err() && Fetch::decode(&[]).is_err());
}

#[test]
fn messages_have_not_moved() {
    let marks = Marks { entries: vec![Mark { author: [2; 32], sequence: 3, digest: [4; 32] }] };
    let request = FetchRequest { wanted: vec![Wanted { digest: [5; 32], height: 6 }] };
    assert_eq!(marks.encode(), [&[1, 1, 0][..], &[2; 32], &[3, 0, 0, 0, 0, 0, 0, 0], &[4; 32]].concat());
    assert_eq!(request.encode(), [&[1, 1, 1, 0][..], &[5; 32], &[6, 0, 0, 0, 0, 0, 0, 0]].concat());
    assert_eq!(Fetch::NotHeld([7; 32]).encode(), [&[1, 3][..], &[7; 32]].concat());
    let votes = Evidence::Votes { kind: 9, first: vec![1, 2], second: vec![3] };
    assert_eq!(votes.encode(), [1, 3, 9, 2, 0, 0, 0, 1, 2, 3]);
}

fn conflict(first: tana_types::batch::Seal, second: tana_types::batch::Seal) -> Evidence {
    Evidence::ConflictingSeals(Box::new([first, second]))
}

#[test]
fn conflicting_seals_prove_themselves() {
    let (first, second) = (seal(1, 5), *batch(1, 5, 0, 100, 7).seal_header());
    let evidence = conflict(first, second);
    let read = Evidence::decode(&evidence.encode()).unwrap();
    assert_eq!((&read, read.verify(&chain())), (&evidence, Ok(key(1))));
    assert!(matches!(evidence.verify(&Chain::new([2; 32])), Err(EvidenceError::Form(_))));
    assert_eq!(conflict(first, first).verify(&chain()), Err(EvidenceError::NoConflict));
    assert_eq!(conflict(first, seal(1, 6)).verify(&chain()), Err(EvidenceError::NoConflict));
    assert_eq!(conflict(first, seal(2, 5)).verify(&chain()), Err(EvidenceError::NoConflict));
    let mut forged = second;
    forged.skipped.set(1);
    assert_eq!(conflict(first, forged).verify(&chain()), Err(EvidenceError::Unsigned));
    // The same seal signed again is no second batch.
    let mut resigned = first;
    resigned.signature[0] ^= 1;
    assert!(conflict(first, resigned).verify(&chain()).is_err());
}

/// A batch whose second transaction has a signature of another.
fn bad_batch() -> Batch {
    let good = batch(1, 5, 0, 100, 0);
    let mut bad = Batch::with_capacity(2, 400);
    for (place, transaction) in good.transactions().enumerate() {
        let mut bytes = transaction.bytes().to_vec();
        let last = bytes.len() - 40;
        bytes[last] ^= place as u8;
        bad.push(Transaction::exactly(&bytes).unwrap(), 0, Origin::default());
    }
    bad.seal(&chain(), &signer(1), 0, 5, 0, 100);
    bad
}

#[test]
fn a_bad_batch_proves_itself() {
    let bad = bad_batch();
    let evidence = |index| Evidence::BadBatch { sealed: bad.sealed_bytes().to_vec(), index };
    assert_eq!(Evidence::decode(&evidence(1).encode()), Ok(evidence(1)));
    assert_eq!(evidence(1).verify(&chain()), Ok(key(1)));
    for index in [0, 2, BAD_BODY] {
        assert_eq!(evidence(index).verify(&chain()), Err(EvidenceError::NoFault));
    }
    let good = batch(1, 5, 0, 100, 0).sealed_bytes().to_vec();
    for index in [0, 1, 2, BAD_BODY] {
        assert_eq!(Evidence::BadBatch { sealed: good.clone(), index }.verify(&chain()), Err(EvidenceError::NoFault));
    }
    // Somebody else's bytes behind a good seal prove nothing against its author.
    let mut swapped = good.clone();
    swapped[SEAL_BYTES + 20] ^= 1;
    assert_eq!(Evidence::BadBatch { sealed: swapped, index: 0 }.verify(&chain()), Err(EvidenceError::NoFault));
    let mut unsigned = bad.sealed_bytes().to_vec();
    unsigned[140] ^= 1;
    assert_eq!(Evidence::BadBatch { sealed: unsigned, index: 1 }.verify(&chain()), Err(EvidenceError::Unsigned));
}
