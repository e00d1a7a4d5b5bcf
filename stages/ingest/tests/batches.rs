//! Frames become batches: order, limits, an empty pool, broken frames, and any bytes at all.

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use support::*;
use tana_ingest::{BatchLimits, FrameOrigin, Moment};
use tana_types::code::Code;
use tana_types::payload::Kind;

const SMALL: BatchLimits = BatchLimits { transactions: 5, body_bytes: 1 << 16 };
const SUSPECT: FrameOrigin = FrameOrigin { suspect: true, ..CLEAN };

/// Transfers of many senders with nonces from 11 on.
fn stream(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|number| transfer(number % 10, 11 + number / 10)).collect()
}

#[test]
fn order_is_kept_over_groups_and_batches() {
    let mut shard = shard_with(SMALL, &config());
    let transactions = stream(103);
    let offered = shard.offer(&transactions.concat());
    assert_eq!((offered.transactions, offered.accepted, offered.full, offered.broken), (103, 103, false, false));
    assert_eq!(shard.port.left.len(), 20);
    shard.flush();
    assert_eq!(shard.left_bytes(), transactions);
    assert!(shard.port.left.iter().enumerate().all(|(number, batch)| batch.number == number as u64));
    let sequences = shard.port.left.iter().flat_map(|batch| batch.entries()).map(|entry| entry.origin.sequence);
    assert!(sequences.eq(0..103));
}

#[test]
fn batches_close_by_bytes_too() {
    let limits = BatchLimits { transactions: 512, body_bytes: 1_400 };
    let mut shard = shard_with(limits, &config());
    let transactions = stream(30);
    shard.offer(&transactions.concat());
    shard.flush();
    assert!(shard.port.left.iter().all(|batch| batch.body_length() <= 1_400));
    assert_eq!(shard.port.left[0].len(), 7);
    assert_eq!(shard.left_bytes(), transactions);
}

#[test]
fn a_batch_without_room_for_a_long_one_leaves_before_it() {
    let limits = BatchLimits { transactions: 512, body_bytes: 1_400 };
    let mut shard = shard_with(limits, &config());
    let adjustment = [&key(1).0[..], b"USD\0\0\0\0\0\0\0\0\0", &[0; 16], &[0, 2], &[b'x'; 512]].concat();
    let long = raw(Kind::BalanceAdjustment as u8, chain().tag(), 1, 11, WALL_MS, &adjustment, 1);
    let transactions = [stream(6), vec![long]].concat();
    shard.offer(&transactions.concat());
    shard.flush();
    assert_eq!(shard.port.left.iter().map(|batch| batch.len()).collect::<Vec<_>>(), [6, 1]);
    assert_eq!(shard.left_bytes(), transactions);
}

#[test]
fn an_empty_pool_stops_at_a_transaction_and_nothing_is_lost_or_repeated() {
    let mut shard = shard_with(SMALL, &config());
    shard.port.available = 0;
    let transactions = stream(64);
    let frame = transactions.concat();
    let (mut consumed, mut sequence, mut rounds) = (0, 0, 0);
    while consumed < frame.len() {
        let origin = FrameOrigin { first_sequence: sequence, ..CLEAN };
        let offered = shard.offer_at(origin, &frame[consumed..], NOW);
        consumed += offered.consumed;
        sequence += offered.transactions;
        assert_eq!(consumed, sequence as usize * 180);
        assert_eq!(offered.full, consumed < frame.len());
        shard.port.available = rounds % 3;
        rounds += 1;
        assert!(rounds < 100);
    }
    shard.flush();
    assert_eq!(shard.left_bytes(), transactions);
    assert!(shard.rejected.is_empty());
    let sequences = shard.port.left.iter().flat_map(|batch| batch.entries()).map(|entry| entry.origin.sequence);
    assert!(sequences.eq(0..64));
}

#[test]
fn refusals_need_no_batch() {
    let mut shard = shard();
    shard.port.available = 0;
    let frame = [transfer(99, 1), transfer(2, 10), transfer(2, 11), transfer(2, 12)].concat();
    let offered = shard.offer(&frame);
    assert_eq!((offered.consumed, offered.transactions, offered.full), (360, 2, true));
    assert_eq!(shard.rejected.len(), 2);
}

#[test]
fn bytes_that_are_no_transaction_end_the_frame() {
    let mut shard = shard();
    let good = transfer(2, 11);
    let mut version = transfer(2, 12);
    version[0] = 2;
    let frame = [&good[..], &version, &transfer(2, 13)].concat();
    let offered = shard.offer(&frame);
    assert!(offered.broken && !offered.full);
    assert_eq!((offered.consumed, offered.transactions, offered.accepted), (frame.len(), 2, 1));
    assert_eq!((shard.rejected[0].sequence, shard.rejected[0].code), (1, Code::Malformed));
    for length in 1..180 {
        shard.rejected.clear();
        let offered = shard.offer(&transfer(3, 11)[..length]);
        assert!(offered.broken && offered.accepted == 0, "{length} bytes");
        assert_eq!(shard.rejected[0].code, Code::Malformed);
    }
    assert_eq!(shard.offer(&[]), Default::default());
}

#[test]
fn one_that_is_too_large_is_passed_over() {
    let mut shard = shard();
    let large = raw(Kind::Transfer as u8, chain().tag(), 2, 11, WALL_MS, &[0; 1_281], 1);
    let frame = [&large[..], &transfer(2, 11)].concat();
    let offered = shard.offer(&frame);
    assert_eq!((offered.consumed, offered.transactions, offered.accepted), (frame.len(), 2, 1));
    assert!(!offered.broken);
    assert_eq!((shard.rejected[0].sequence, shard.rejected[0].code), (0, Code::TooLarge));
    let offered = shard.offer(&large[..large.len() - 1]);
    assert!(offered.broken);
    assert_eq!(shard.rejected[1].code, Code::TooLarge);
}

#[test]
fn suspects_get_batches_of_their_own() {
    let mut shard = shard();
    let other = FrameOrigin { source: 4, ..SUSPECT };
    shard.offer_at(CLEAN, &transfer(1, 11), NOW);
    shard.offer_at(other, &transfer(2, 11), NOW);
    shard.offer_at(CLEAN, &transfer(1, 12), NOW);
    assert!(shard.port.left.is_empty());
    let left: Vec<_> = shard.flush().iter().map(|batch| (batch.suspect, batch.len())).collect();
    assert_eq!(left, [(false, 2), (true, 1)]);
}

#[test]
fn a_source_that_becomes_suspect_keeps_its_order() {
    let mut shard = shard();
    shard.offer_at(CLEAN, &transfer(1, 11), NOW);
    shard.offer_at(SUSPECT, &transfer(1, 12), NOW);
    shard.offer_at(CLEAN, &transfer(1, 13), NOW);
    shard.flush();
    assert_eq!(shard.left_bytes(), [transfer(1, 11), transfer(1, 12), transfer(1, 13)]);
    assert!(shard.port.left.iter().map(|batch| (batch.number, batch.suspect)).eq([(0, false), (1, true), (2, false)]));
}

#[test]
fn flush_sends_what_has_waited() {
    let mut shard = shard();
    assert_eq!(shard.batcher.oldest_arrived_ns(), None);
    shard.offer_at(CLEAN, &transfer(1, 11), Moment { engine_ns: 500, ..NOW });
    shard.offer_at(CLEAN, &transfer(1, 12), Moment { engine_ns: 700, ..NOW });
    assert_eq!(shard.batcher.oldest_arrived_ns(), Some(500));
    shard.batcher.flush(&shard.admission, 499, &mut shard.port);
    assert!(shard.port.left.is_empty());
    shard.batcher.flush(&shard.admission, 500, &mut shard.port);
    assert_eq!((shard.port.left[0].len(), shard.port.left[0].arrived_ns), (2, 500));
    shard.flush();
    assert_eq!((shard.port.left.len(), shard.admission.counters().batches()), (1, 1));
}

/// A piece of a frame: good, refused or noise.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let any_raw =
        (any::<u8>(), 0u64..20, any::<u8>(), vec(any::<u8>(), 0..80)).prop_map(|(kind, nonce, sender, payload)| {
            raw(kind % 13, chain().tag(), u64::from(sender % 12), nonce, WALL_MS, &payload, kind)
        });
    prop_oneof![
        6 => (0u64..12, 5u64..40).prop_map(|(sender, nonce)| transfer(sender, nonce)),
        2 => any_raw,
        1 => (0u64..30).prop_map(creation),
        1 => vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_frame_is_consumed_and_counted_the_same_however_often_the_pool_is_empty(
        pieces in vec(piece(), 0..40), cut in any::<u16>(), refill in 1usize..3, suspect: bool,
    ) {
        let mut frame = pieces.concat();
        frame.truncate(frame.len() - usize::from(cut) % (frame.len() / 8 + 1));
        let origin = FrameOrigin { suspect, ..CLEAN };

        let mut whole = shard_with(SMALL, &config());
        let all = whole.offer_at(origin, &frame, NOW);
        whole.flush();
        prop_assert_eq!(all.consumed, frame.len());
        prop_assert_eq!(all.transactions, all.accepted + whole.rejected.len() as u64);
        let batched: u64 = whole.port.left.iter().map(|batch| batch.len() as u64).sum();
        prop_assert_eq!(batched, all.accepted);
        prop_assert_eq!(whole.admission.counters().accepted(), all.accepted);

        let mut halting = shard_with(SMALL, &config());
        halting.port.available = 0;
        let (mut consumed, mut sequence) = (0, 0);
        for _ in 0..=pieces.len() {
            let origin = FrameOrigin { first_sequence: sequence, ..origin };
            let offered = halting.offer_at(origin, &frame[consumed..], NOW);
            consumed += offered.consumed;
            sequence += offered.transactions;
            if !offered.full {
                break;
            }
            halting.port.available += refill;
        }
        halting.flush();
        prop_assert_eq!((consumed, sequence), (frame.len(), all.transactions));
        prop_assert_eq!(&halting.rejected, &whole.rejected);
        prop_assert_eq!(halting.left_bytes(), whole.left_bytes());
    }

    #[test]
    fn noise_never_panics(bytes in vec(any::<u8>(), 0..3_000), version: bool) {
        let mut bytes = bytes;
        if version && !bytes.is_empty() {
            bytes[0] = 1;
        }
        let mut shard = shard();
        let offered = shard.offer(&bytes);
        prop_assert_eq!(offered.consumed, bytes.len());
        prop_assert_eq!(offered.transactions, offered.accepted + shard.rejected.len() as u64);
    }
}
