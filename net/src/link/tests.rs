//! The pure parts of the links: frames, hello, queues, shares, rates, and which connection stays.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::frame::{FrameReader, HELLO_BYTES, Hello, HelloError, RESERVE_BYTES_MAX};
use super::inbound::{InboundShare, inbound};
use super::limits::{CHANNELS, ChannelLimits, LinkCode, LinkLimits};
use super::peer::{Decision, decide};
use super::queue::SendQueue;
use super::rate::RateLimit;
use super::send::Framer;
use super::tls::{alpn, raw_key};
use crate::frame::FrameError;

fn channel(lossy: bool) -> ChannelLimits {
    ChannelLimits {
        message_bytes_max: 4_096,
        lossy,
        rated: lossy,
        queue_messages_max: 3,
        queue_bytes_max: 5_000,
        inbound_bytes_max: 4_096,
    }
}

/// The messages in `stream`, cut into chunks of `step` bytes.
fn cut(stream: &[u8], step: usize, message_bytes_max: usize) -> Result<Vec<Bytes>, FrameError> {
    let mut reader = FrameReader::new(message_bytes_max);
    let mut messages = Vec::new();
    let mut arrived = 0;
    for piece in stream.chunks(step) {
        let mut chunk = Bytes::copy_from_slice(piece);
        arrived += chunk.len();
        while !chunk.is_empty() {
            let before = chunk.len();
            messages.extend(reader.step(&mut chunk)?);
            assert!(chunk.len() < before, "a step uses something");
            assert!(reader.reserved_bytes() <= RESERVE_BYTES_MAX.max(4 * arrived));
        }
    }
    Ok(messages)
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..5_000), 0..12),
        step in 1usize..3_000,
    ) {
        let mut framer = Framer::default();
        let sent: Vec<Bytes> = messages.into_iter().map(Bytes::from).collect();
        let bytes = framer.frame(sent.iter().cloned());
        let stream = framer.chunks.concat();
        prop_assert_eq!(bytes, stream.len() as u64);
        prop_assert_eq!(cut(&stream, step, 5_000), Ok(sent));
    }

    #[test]
    fn hellos_decode_to_themselves_only(instance: u64, bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        let hello = Hello { instance };
        prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        if let Ok(decoded) = Hello::decode(&bytes) {
            prop_assert_eq!(&decoded.encode()[..], &bytes[..]);
        }
    }
}

#[test]
fn hellos_of_others_are_refused_with_the_reason() {
    let good = Hello { instance: 7 }.encode();
    let with = |at: usize, value: u8| {
        let mut bytes = good;
        bytes[at] = value;
        Hello::decode(&bytes)
    };
    assert_eq!(with(0, 2), Err(HelloError::Version(2)));
    assert_eq!(with(1, 8), Err(HelloError::Channels(8)));
    assert_eq!(with(3, 1), Err(HelloError::Reserved));
    assert_eq!(Hello::decode(&good[..HELLO_BYTES - 1]), Err(HelloError::Length(11)));
    assert_eq!(good, [1, 9, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_length_reserves_little_and_is_checked_first() {
    let mut reader = FrameReader::new(4 << 20);
    let mut chunk = Bytes::from([&(4u32 << 20).to_le_bytes()[..], b"x"].concat());
    assert_eq!(reader.step(&mut chunk), Ok(None));
    assert!(reader.reserved_bytes() <= RESERVE_BYTES_MAX, "{} bytes for one that came", reader.reserved_bytes());
    assert_eq!(reader.partial_bytes(), 5);
    let too_long = cut(&101u32.to_le_bytes(), 1, 100);
    assert_eq!(too_long, Err(FrameError::TooLarge { length: 101, length_max: 100 }));
    assert_eq!(cut(&[0; 4], 4, 100), Err(FrameError::Empty));
}

#[test]
fn a_queue_is_bounded_in_messages_and_bytes_and_keeps_order() {
    let queue = SendQueue::new(&channel(false));
    let message = |length: usize, value: u8| Bytes::from(vec![value; length]);
    assert!(queue.push(message(6_000, 0)), "one that is alone always has room");
    assert!(!queue.push(message(1, 1)));
    let mut out = Vec::new();
    queue.take(&mut out, 9, 9);
    assert_eq!(out.len(), 1);
    assert!(queue.push(message(2_000, 1)) && queue.push(message(2_000, 2)));
    assert!(!queue.push(message(2_000, 3)), "no room for its bytes");
    assert!(queue.push(message(10, 3)));
    assert!(!queue.push(message(10, 4)), "no room for a fourth");
    out.clear();
    queue.take(&mut out, 2, usize::MAX);
    assert_eq!(out.iter().map(|message| message[0]).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(queue.clear(), 1);
    assert!(queue.push(message(5_000, 5)), "room is given back");
}

#[tokio::test]
async fn a_share_drops_or_waits_and_is_given_back() {
    let key = [1; 32];
    for lossy in [true, false] {
        let (sender, mut receiver) = inbound(0);
        let share = InboundShare::new(&channel(lossy));
        let message = Bytes::from(vec![0; 4_096]);
        assert!(share.deliver(&sender, key, message.clone()).await);
        let second = share.deliver(&sender, key, message.clone());
        if lossy {
            assert!(!second.await, "dropped");
        } else {
            tokio::pin!(second);
            let early = tokio::time::timeout(Duration::from_millis(20), &mut second).await;
            assert!(early.is_err(), "waits");
            assert_eq!(receiver.recv().await.unwrap().0, key);
            assert!(second.await);
        }
        // Another peer's share is its own.
        assert!(InboundShare::new(&channel(lossy)).deliver(&sender, [2; 32], message).await);
        assert!(receiver.try_recv().is_some());
        assert_eq!(receiver.try_recv().map(|(from, _)| from), Some([2; 32]));
    }
}

#[test]
fn a_rate_allows_a_second_at_once_and_then_its_pace() {
    let rate = RateLimit::new(1_000, 1_000_000);
    let second = 1_000_000_000;
    assert_eq!(rate.take_at(1_000, 10, 0), Duration::ZERO);
    assert_eq!(rate.take_at(500, 10, 0), Duration::from_millis(500));
    assert_eq!(rate.take_at(0, 0, second / 2), Duration::ZERO, "paid off");
    assert_eq!(rate.take_at(0, 1_000_000, 2 * second), Duration::ZERO, "bytes are booked on their own");
    assert_eq!(rate.take_at(0, 250_000, 2 * second), Duration::from_millis(250));
    assert_eq!(rate.take_at(0, u64::MAX, 2 * second), Duration::from_secs(2), "never longer at a time");
}

#[test]
fn one_of_two_connections_stays_on_both_sides() {
    // Crossing: whichever is greeted first, the one that the smaller key dialled stays.
    assert_eq!(decide((1, false), (1, true)), Decision::Replace);
    assert_eq!(decide((1, true), (1, false)), Decision::Wait);
    // The same side dialled again: its older connection is dead.
    assert_eq!(decide((1, true), (1, true)), Decision::Replace);
    assert_eq!(decide((1, false), (1, false)), Decision::Replace);
    // Another process: the older connection is dead whoever dialled.
    for (current, new) in [(true, true), (true, false), (false, true), (false, false)] {
        assert_eq!(decide((1, current), (2, new)), Decision::ReplaceDead);
    }
}

#[test]
fn codes_and_names_are_what_the_protocol_says() {
    for (number, code) in LinkCode::ALL.into_iter().enumerate() {
        assert_eq!(LinkCode::from_number(number as u64), Some(code));
        assert_eq!(code as usize, number);
    }
    assert_eq!(LinkCode::from_number(LinkCode::ALL.len() as u64), None);
    let name = alpn(&[0xa5; 32]);
    assert_eq!(name, [b"tana-link/1/".to_vec(), b"a5".repeat(32)].concat());
    assert_eq!(raw_key(&[0; 44]), None);
}

#[test]
fn the_limits_fit_each_other() {
    let limits = LinkLimits::default();
    for channel in &limits.channels {
        assert!(channel.queue_bytes_max >= channel.message_bytes_max);
        assert!(channel.inbound_bytes_max >= channel.message_bytes_max);
    }
    // A held channel's window leaves room for all others.
    assert!(limits.connection_window_bytes() as usize >= CHANNELS * limits.stream_window_bytes as usize);
    assert!(limits.keep_alive * 3 < limits.idle_timeout);
}
