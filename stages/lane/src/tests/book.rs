//! The lane book: admission, marks, sending, and what is kept.

use std::collections::BTreeMap;

use super::support::*;
use crate::*;

#[test]
fn a_batch_is_admitted_once_from_its_author_and_within_the_quota() {
    let mut book = book(LaneLimits { batches_per_author: 2, bytes_per_author: 1_000, ..LaneLimits::default() });
    let first = seal(1, 1);
    assert_eq!(book.admit(&key(2), &first, 0), Admission::Stranger, "nobody asked validator 2 for it");
    assert_eq!(book.admit(&key(5), &seal(5, 1), 0), Admission::Stranger);
    assert_eq!(book.admit(&key(4), &seal(4, 1), 0), Admission::Verify, "a member of the next set");
    assert_eq!(book.admit(&key(1), &first, 0), Admission::Verify);
    assert_eq!(book.admit(&key(1), &first, 0), Admission::Known);
    assert!(book.get(&first.digest()).is_none(), "not verified yet");
    book.held(held(&first));
    assert_eq!(book.get(&first.digest()).map(|batch| batch.sequence), Some(1));
    assert_eq!(book.admit(&key(1), &first, 0), Admission::Known);
    assert_eq!(book.admit(&key(1), &seal(1, 2), 0), Admission::Verify);
    assert_eq!(book.in_use(&key(1)), (2, 720));
    assert_eq!(book.admit(&key(1), &seal(1, 3), 0), Admission::OverQuota, "batches");
    book.refused(&key(1), 2, &seal(1, 2).digest());
    assert_eq!(book.admit(&key(1), &seal(1, 3), 0), Admission::Verify);
    book.refused(&key(1), 3, &seal(1, 3).digest());
    assert_eq!(book.in_use(&key(1)), (1, 360));
    book.finalized(&BTreeMap::from([(key(1), 1)]), 99);
    assert_eq!(book.admit(&key(1), &first, 0), Admission::Stale);
    assert_eq!(book.admit(&key(1), &seal(1, 2), 0), Admission::Verify);
    book.finalized(&BTreeMap::from([(key(1), 1)]), 100);
    assert_eq!(book.admit(&key(1), &seal(1, 3), 0), Admission::Stale, "expired");
}

#[test]
fn bytes_are_limited_too() {
    let mut book = book(LaneLimits { bytes_per_author: 719, ..LaneLimits::default() });
    assert_eq!(book.admit(&key(1), &seal(1, 1), 0), Admission::Verify);
    assert_eq!(book.admit(&key(1), &seal(1, 2), 0), Admission::OverQuota);
    assert!(book.want(seal(1, 2).digest(), None, 1, &[]));
    assert_eq!(book.admit(&key(3), &seal(1, 2), 0), Admission::Verify, "a block asks for it");
}

#[test]
fn two_seals_at_one_sequence_are_evidence_and_stop_proposals() {
    let mut book = holding(1, 1);
    let other = *batch(1, 2, 0, 100, 7).seal_header();
    assert_eq!(book.admit(&key(1), &seal(1, 2), 0), Admission::Verify);
    let Admission::Conflict { evidence, verify: false } = book.admit(&key(1), &other, 0) else { panic!("no conflict") };
    assert_eq!(evidence.verify(&chain()), Ok(key(1)));
    assert!(book.is_conflicted(&key(1)) && !book.is_conflicted(&key(2)));
    for member in 1..4 {
        book.on_marks(&key(member), &mark(1, &seal(1, 1)));
    }
    assert_eq!(book.count_holding(&key(1), 1), 4);
    assert_eq!(book.proposable(&key(1), 0, true, 1, 0, 1_000), None);
    // A block lists the other one: it is verified, and both are held.
    assert!(book.want(other.digest(), Some(key(1)), 1, &[key(2)]));
    assert!(matches!(book.admit(&key(2), &other, 0), Admission::Conflict { verify: true, .. }));
    book.held(held(&other));
    book.held(held(&seal(1, 2)));
    assert!(book.get(&other.digest()).is_some() && book.get(&seal(1, 2).digest()).is_some());
}

#[test]
fn marks_count_only_with_the_digest_that_is_here() {
    let mut book = holding(1, 3);
    assert_eq!(book.count_holding(&key(1), 3), 1);
    book.on_marks(&key(1), &mark(1, &seal(1, 3)));
    book.on_marks(&key(2), &mark(1, &seal(1, 2)));
    book.on_marks(&key(3), &mark(1, batch(1, 3, 0, 100, 7).seal_header()));
    book.on_marks(&key(4), &mark(1, &seal(1, 3)));
    assert_eq!(
        [1, 2, 3, 4].map(|sequence| book.count_holding(&key(1), sequence)),
        [3, 3, 2, 0],
        "4 is of the next set"
    );
    assert_eq!(book.quorum(), 3);
    assert_eq!(book.proposable(&key(1), 1, true, 1, 0, 1_000).map(|batch| batch.sequence), Some(2));
    assert_eq!(book.proposable(&key(1), 2, true, 1, 0, 1_000), None);
    // A mark ahead of what is here counts as soon as the batch comes.
    book.on_marks(&key(2), &mark(1, &seal(1, 5)));
    book.on_marks(&key(3), &mark(1, &seal(1, 6)));
    assert_eq!(book.count_holding(&key(1), 3), 2);
    book.held(held(&seal(1, 5)));
    assert_eq!(book.count_holding(&key(1), 3), 3);
    assert_eq!(book.marks().entries.iter().map(|mark| mark.sequence).collect::<Vec<_>>(), [3], "4 is missing");
    book.held(held(&seal(1, 4)));
    assert_eq!(book.marks().entries[0].digest, seal(1, 5).digest());
    assert_eq!(Marks::decode(&book.marks().encode()), Ok(book.marks()));
}

#[test]
fn a_mark_that_stepped_over_a_batch_does_not_count_for_it() {
    let mut book = holding(1, 2);
    let stepping = *batch(1, 4, 2, 100, 0).seal_header();
    book.held(held(&stepping));
    assert_eq!(book.marks().entries[0].sequence, 4);
    for member in 1..4 {
        book.on_marks(&key(member), &mark(1, &stepping));
    }
    assert_eq!([1, 2, 4].map(|sequence| book.count_holding(&key(1), sequence)), [4, 1, 4]);
    assert_eq!(book.proposable(&key(1), 1, true, 1, 0, 1_000).map(|batch| batch.sequence), Some(4));
    assert_eq!(book.proposable(&key(1), 1, false, 1, 0, 1_000), None, "only as a block's first of the lane");
}

#[test]
fn proposals_keep_to_expiry_and_epoch() {
    let mut book = LaneBook::new(key(0), LaneLimits::default());
    book.set_members(&[key(0)], &[]);
    book.held(HeldBatch { epoch: 3, ..held(&seal(0, 1)) });
    let ask = |height, epoch, expiry_blocks| book.proposable(&key(0), 0, true, height, epoch, expiry_blocks).is_some();
    assert_eq!(
        [ask(100, 3, 50), ask(101, 3, 50), ask(50, 3, 50), ask(49, 3, 50), ask(60, 2, 50)],
        [true, false, true, false, false]
    );
}

#[test]
fn own_batches_are_sent_ahead_of_the_mark_and_again_when_it_stands_still() {
    let mut book = holding(0, 5);
    let sequence =
        |book: &LaneBook, digest: Option<_>| digest.and_then(|digest| book.get(&digest)).map(|batch| batch.sequence);
    let pump = |book: &mut LaneBook, now_ms| {
        let mut sent = Vec::new();
        while let Some(digest) = book.own_to_send(&key(1), now_ms) {
            sent.extend(sequence(book, Some(digest)));
            book.sent(&key(1), &digest, now_ms);
        }
        sent
    };
    assert_eq!(pump(&mut book, 10), [1, 2, 3, 4, 5]);
    book.on_marks(&key(1), &mark(0, &seal(0, 2)));
    assert_eq!(pump(&mut book, 500), []);
    assert_eq!(pump(&mut book, 500 + RESEND_MS - 1), []);
    assert_eq!(pump(&mut book, 500 + RESEND_MS), [3], "one, to see whether it moves");
    assert_eq!(pump(&mut book, 500 + 3 * RESEND_MS - 1), [], "twice as patient");
    book.on_marks(&key(1), &mark(0, &seal(0, 3)));
    assert_eq!(pump(&mut book, 501 + 3 * RESEND_MS), [4, 5]);
    book.connected(&key(1));
    assert_eq!(pump(&mut book, 502 + 3 * RESEND_MS), [4, 5], "what was under way on the old connection is lost");
    assert_eq!(book.own_to_send(&key(7), 0), None);
    // What finalized blocks listed is not sent any more.
    book.finalized(&BTreeMap::from([(key(0), 4)]), 1);
    book.connected(&key(1));
    assert_eq!(pump(&mut book, 503 + 3 * RESEND_MS), [5]);
}

#[test]
fn no_more_is_under_way_than_a_peer_has_room_for() {
    let mut book = book(LaneLimits { batches_per_author: 2, ..LaneLimits::default() });
    (1..=5).for_each(|sequence| book.held(held(&seal(0, sequence))));
    for expected in [1, 2] {
        let digest = book.own_to_send(&key(2), 0).unwrap();
        assert_eq!(book.get(&digest).unwrap().sequence, expected);
        book.sent(&key(2), &digest, 0);
    }
    assert_eq!(book.own_to_send(&key(2), 0), None);
    book.on_marks(&key(2), &mark(0, &seal(0, 1)));
    assert_eq!(book.own_to_send(&key(2), 0), Some(seal(0, 3).digest()));
}

#[test]
fn a_lane_whose_author_left_the_set_begins_anew() {
    let mut book = book(LaneLimits::default());
    (1..=3).for_each(|sequence| book.held(held(&seal(0, sequence))));
    book.finalized(&BTreeMap::from([(key(0), 2)]), 1);
    assert!(!book.own_expired(1), "the third may still be listed");
    assert_eq!(book.own_unlisted().map(|batch| batch.sequence).collect::<Vec<_>>(), [3]);
    // No mark any more: the author is not in the set, but it is known already that it comes back.
    assert_eq!(book.finalized(&BTreeMap::new(), 2), Vec::<tana_types::Hash>::new());
    assert!(book.own_expired(2) && book.own_mark() == 0, "a third batch does not follow no batch");
    book.held(held(batch(0, 4, 3, 100, 0).seal_header()));
    assert!(!book.own_expired(2));
    let marks = book.marks().entries;
    assert_eq!(marks.iter().find(|mark| mark.author == key(0)).map(|mark| mark.sequence), Some(4));
}

#[test]
fn what_was_withdrawn_is_not_sent_to_a_peer_that_can_make_nothing_of_it() {
    let mut book = book(LaneLimits::default());
    (1..=3).for_each(|sequence| book.held(held(&seal(0, sequence))));
    book.finalized(&BTreeMap::from([(key(0), 1)]), 1);
    let pump = |book: &mut LaneBook, now_ms| {
        let mut sent = Vec::new();
        while let Some(digest) = book.own_to_send(&key(1), now_ms) {
            sent.push(book.get(&digest).unwrap().sequence);
            book.sent(&key(1), &digest, now_ms);
        }
        sent
    };
    assert_eq!(pump(&mut book, 0), [2, 3], "they get lost");
    assert_eq!(pump(&mut book, RESEND_MS), [2], "one at a time from now on");
    // The author left the set, and seals again what was not listed.
    book.finalized(&BTreeMap::new(), 2);
    book.held(held(batch(0, 4, 3, 100, 0).seal_header()));
    book.held(held(&seal(0, 5)));
    assert_eq!(pump(&mut book, 4 * RESEND_MS), [4], "with which the lane goes on");
    book.on_marks(&key(1), &mark(0, batch(0, 4, 3, 100, 0).seal_header()));
    assert_eq!(pump(&mut book, 4 * RESEND_MS), [5]);
}

#[test]
fn settled_and_expired_batches_are_forgotten_and_others_stay() {
    let mut book = holding(1, 3);
    let soon = *batch(2, 1, 0, 5, 0).seal_header();
    let own = *batch(0, 1, 0, 5, 0).seal_header();
    [soon, own].iter().for_each(|seal| book.held(held(seal)));
    assert_eq!(book.finalized(&BTreeMap::from([(key(1), 2)]), 4), [seal(1, 1).digest(), seal(1, 2).digest()]);
    assert!(book.get(&seal(1, 3).digest()).is_some() && book.get(&soon.digest()).is_some());
    assert!(!book.own_expired(4));
    assert_eq!(
        book.finalized(&BTreeMap::from([(key(1), 2)]), 5),
        [soon.digest()],
        "the own one waits to be sealed again"
    );
    assert!(book.own_expired(5) && book.own_mark() == 0);
    book.held(held(batch(0, 2, 1, 100, 0).seal_header()));
    assert!(!book.own_expired(5));
    assert_eq!(book.finalized(&BTreeMap::from([(key(1), 2)]), 6), [own.digest()]);
    // What comes late is not kept, and a mark that blocks carried past what is here says so.
    book.held(held(&seal(1, 1)));
    assert!(book.get(&seal(1, 1).digest()).is_none());
    book.finalized(&BTreeMap::from([(key(1), 2), (key(3), 9)]), 7);
    let marks = book.marks().entries;
    let of = |number| marks.iter().find(|mark| mark.author == key(number)).map(|mark| (mark.sequence, mark.digest));
    assert_eq!((of(1), of(3)), (Some((3, seal(1, 3).digest())), Some((9, [0; 32]))));
}

#[test]
fn a_change_of_the_set_drops_the_lanes_of_who_left() {
    let mut book = holding(1, 2);
    let mut gone = book.set_members(&[key(0), key(2), key(4)], &[]);
    gone.sort_unstable();
    let mut expected = vec![seal(1, 1).digest(), seal(1, 2).digest()];
    expected.sort_unstable();
    assert_eq!(gone, expected);
    assert_eq!((book.quorum(), book.get(&expected[0])), (3, None));
    assert_eq!(book.admit(&key(1), &seal(1, 3), 0), Admission::Stranger);
    assert!(book.want(seal(1, 3).digest(), None, 9, &[]));
    assert_eq!(book.admit(&key(2), &seal(1, 3), 0), Admission::Verify, "a block of the old epoch lists it");
    book.held(held(&seal(1, 3)));
    assert_eq!(book.wanted(), 0);
}
