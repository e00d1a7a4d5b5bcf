//! Events round-trip, runs merge exactly, and losses are reported in their place.

use super::*;
use proptest::prelude::*;

fn event() -> impl Strategy<Value = AnswerEvent> {
    (1u8..=7, any::<u8>(), 1u32.., any::<u32>(), any::<u64>(), prop_oneof![Just(INDEX_NONE), 0..u64::MAX / 2]).prop_map(
        |(kind, code, count, first, height, index)| AnswerEvent {
            kind: AnswerKind::from_byte(kind).unwrap(),
            code,
            count,
            first: u64::from(first),
            height,
            index,
        },
    )
}

/// What a list of events says about each sequence, one by one.
fn expand(events: &[AnswerEvent]) -> Vec<AnswerEvent> {
    let mut single = Vec::new();
    for event in events {
        for offset in 0..u64::from(event.count) {
            let index = if event.index == INDEX_NONE { INDEX_NONE } else { event.index + offset };
            single.push(AnswerEvent { count: 1, first: event.first + offset, index, ..*event });
        }
    }
    single
}

proptest! {
    #[test]
    fn encoding_round_trips(event in event()) {
        prop_assert_eq!(AnswerEvent::decode(&event.encode()), Ok(event));
    }

    #[test]
    fn decoding_accepts_only_what_encoding_writes(bytes in any::<[u8; EVENT_BYTES]>(), kind in 0u8..9) {
        let mut bytes = bytes;
        bytes[0] = kind;
        if let Ok(event) = AnswerEvent::decode(&bytes) {
            prop_assert_eq!(event.encode(), bytes);
        }
    }

    #[test]
    fn merging_changes_no_meaning(
        steps in prop::collection::vec((1u8..=6, 0u64..3, prop::bool::weighted(0.8), prop::bool::ANY), 0..200),
    ) {
        let mut queue = AnswerQueue::default();
        let (mut pushed, mut sequence) = (Vec::new(), 0);
        for (kind, height, adjacent, in_block) in steps {
            sequence += if adjacent { 1 } else { 3 };
            let index = if in_block { sequence * 2 + height } else { INDEX_NONE };
            let kind = AnswerKind::from_byte(kind.min(2)).unwrap();
            let event = AnswerEvent { kind, code: 0, count: 1, first: sequence, height, index };
            prop_assert_ne!(queue.push(event, usize::MAX), Pushed::Lost);
            pushed.push(event);
        }
        let mut drained = Vec::new();
        queue.drain(usize::MAX, &mut drained);
        prop_assert!(queue.is_empty());
        prop_assert_eq!(expand(&drained), pushed);
    }

    #[test]
    fn every_sequence_is_answered_or_counted_as_lost(
        batches in prop::collection::vec((1usize..50, 0usize..20), 1..40), events_max in 1usize..8,
    ) {
        let mut queue = AnswerQueue::default();
        let (mut sequence, mut drained) = (0, Vec::new());
        for (pushes, drains) in batches {
            for _ in 0..pushes {
                queue.push(AnswerEvent::here(AnswerKind::Rejected, (sequence % 5) as u8, sequence), events_max);
                sequence += 1;
                prop_assert!(queue.len() <= events_max);
            }
            queue.drain(drains, &mut drained);
        }
        queue.drain(usize::MAX, &mut drained);
        let mut next = 0;
        for event in drained {
            prop_assert_eq!(event.first, next, "events stay in order without a gap");
            next += u64::from(event.count);
        }
        prop_assert_eq!(next, sequence);
    }
}

#[test]
fn adjacent_runs_merge_into_one() {
    let mut queue = AnswerQueue::default();
    assert_eq!(queue.push(AnswerEvent::in_block(AnswerKind::Applied, 0, 7, 3, 100), 4), Pushed::Added(1));
    assert_eq!(queue.push(AnswerEvent::in_block(AnswerKind::Applied, 0, 8, 3, 101), 4), Pushed::Merged);
    assert_eq!(queue.push(AnswerEvent::in_block(AnswerKind::Applied, 0, 9, 3, 103), 4), Pushed::Added(1));
    assert_eq!(queue.push(AnswerEvent::in_block(AnswerKind::Applied, 0, 10, 4, 104), 4), Pushed::Added(1));
    assert_eq!(queue.len(), 3);
}

#[test]
fn the_layout_is_fixed() {
    let event = AnswerEvent {
        kind: AnswerKind::Failed,
        code: 9,
        count: 0x0403_0201,
        first: 1,
        height: 0x0102,
        index: INDEX_NONE,
    };
    let mut expected = [0u8; 32];
    expected[..9].copy_from_slice(&[5, 9, 0, 0, 1, 2, 3, 4, 1]);
    expected[16..18].copy_from_slice(&[2, 1]);
    expected[24..].fill(0xff);
    assert_eq!(event.encode(), expected);
}

#[test]
fn wrong_events_are_named() {
    let good = AnswerEvent::here(AnswerKind::Final, 0, 5).encode();
    let with = |at: usize, value: u8| {
        let mut bytes = good;
        bytes[at] = value;
        AnswerEvent::decode(&bytes)
    };
    assert_eq!(with(0, 0), Err(AnswerError::UnknownKind(0)));
    assert_eq!(with(0, 8), Err(AnswerError::UnknownKind(8)));
    assert_eq!(with(3, 1), Err(AnswerError::Reserved(256)));
    assert_eq!(with(4, 0), Err(AnswerError::Run { first: 5, count: 0 }));
    assert_eq!(AnswerEvent::decode_all(&[0; 33], &mut Vec::new()), Err(AnswerError::Length(33)));
}
