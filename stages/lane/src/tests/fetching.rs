//! Whom the book asks for missing batches.

use std::collections::{BTreeMap, BTreeSet};

use tana_types::Hash;

use super::support::*;
use crate::*;

/// A digest whose first byte, by which requests are spread, is zero.
fn digest(number: u8) -> Hash {
    let mut digest = [number; 32];
    digest[0] = 0;
    digest
}

#[test]
fn likely_holders_come_first_then_the_author_then_everybody_and_then_a_rest() {
    let mut book = book(LaneLimits::default());
    assert!(book.want(digest(1), Some(key(2)), 5, &[key(3)]));
    let mut asked = Vec::new();
    while let Some((peer, request)) = book.next_fetch(0) {
        assert_eq!(request.wanted, [Wanted { digest: digest(1), height: 5 }]);
        asked.push(peer);
        book.fetch_failed(&peer, &digest(1));
    }
    assert_eq!(asked, [key(3), key(2), key(1), key(4)], "never itself");
    assert_eq!(book.next_fetch(FETCH_RETRY_MS - 1), None);
    assert_eq!(book.next_fetch(FETCH_RETRY_MS).map(|fetch| fetch.0), Some(key(3)));
}

#[test]
fn silence_moves_on_to_the_next_holder() {
    let mut book = book(LaneLimits::default());
    book.want(digest(1), None, 5, &[key(3), key(1)]);
    assert_eq!(book.next_fetch(0).unwrap().0, key(3));
    assert_eq!(book.next_fetch(FETCH_TIMEOUT_MS - 1), None);
    assert_eq!(book.next_fetch(FETCH_TIMEOUT_MS).unwrap().0, key(1));
    // A late answer of the first one changes nothing of the second's request; the batch itself ends it.
    book.fetch_failed(&key(3), &digest(1));
    assert_eq!(book.next_fetch(FETCH_TIMEOUT_MS), None);
    book.fetched(&digest(1));
    assert_eq!((book.wanted(), book.next_fetch(10 * FETCH_TIMEOUT_MS)), (0, None));
}

#[test]
fn several_are_asked_for_at_a_time_lowest_heights_first_within_the_limits() {
    let mut book = book(LaneLimits { fetches_in_flight: 20, ..LaneLimits::default() });
    for number in 1..=30 {
        book.want(digest(number), None, 100 - u64::from(number), &[key(1)]);
    }
    let (peer, first) = book.next_fetch(0).unwrap();
    assert_eq!((peer, first.wanted.len()), (key(1), FETCH_DIGESTS_MAX));
    assert_eq!(first.wanted[0], Wanted { digest: digest(30), height: 70 });
    assert!(first.wanted.is_sorted_by_key(|wanted| wanted.height));
    assert_eq!(book.next_fetch(0).unwrap().1.wanted.len(), FETCHES_PER_PEER_MAX - FETCH_DIGESTS_MAX);
    let rest: Vec<_> = std::iter::from_fn(|| book.next_fetch(0)).collect();
    assert!(rest.iter().all(|(peer, _)| *peer != key(1)), "validator 1 has enough to do");
    assert_eq!(rest.iter().map(|fetch| fetch.1.wanted.len()).sum::<usize>(), 4, "20 in all");
}

#[test]
fn requests_spread_over_holders() {
    let mut book = book(LaneLimits::default());
    for number in 0..16 {
        book.want([number; 32], None, 1, &[key(1), key(2), key(3)]);
    }
    let peers: BTreeSet<_> = std::iter::from_fn(|| book.next_fetch(0)).map(|fetch| fetch.0).collect();
    assert_eq!(peers.len(), 3);
}

#[test]
fn wants_of_dead_branches_end_and_those_of_finalized_blocks_stay() {
    let mut book = book(LaneLimits::default());
    let marks = BTreeMap::new();
    book.want(digest(1), None, 5, &[]);
    book.want(digest(2), None, 6, &[]);
    book.finalized(&marks, 5);
    assert_eq!(book.wanted(), 1, "number 1 was for a block at height 5");
    book.want(digest(3), None, 5, &[]);
    book.finalized(&marks, 6);
    book.finalized(&marks, 7);
    assert_eq!(book.wanted(), 1, "number 3 was wanted when height 5 was final");
    book.unwant(&digest(3));
    assert_eq!(book.wanted(), 0);
}

#[test]
fn when_too_much_is_wanted_the_highest_goes() {
    let mut book = book(LaneLimits::default());
    let name = |number: u64| *blake3::hash(&number.to_le_bytes()).as_bytes();
    assert!((0..WANTED_MAX as u64).all(|number| book.want(name(number), None, 1_000 + number, &[])));
    assert!(!book.want(name(u64::MAX), None, 1_000_000, &[]));
    assert!(book.want(name(u64::MAX), None, 1, &[]));
    assert_eq!(book.wanted(), WANTED_MAX);
    assert_eq!(book.next_fetch(0).unwrap().1.wanted[0].height, 1);
}
