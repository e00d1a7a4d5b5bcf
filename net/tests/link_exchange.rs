//! Links that work: exchange, crossing and restarting connections, changes of the set, full queues.

#![allow(clippy::unwrap_used)]

mod link_support;

use std::time::Duration;

use bytes::Bytes;
use link_support::{Node, Relay, close_code, greet_bare, introduce, pair, public, soon, until};
use tana_net::link::{CHANNELS, LinkCode, LinkLimits, Peer, SendOutcome};

/// Message `index` of a stream: its number and a length that goes from tiny to several packets.
fn message(channel: u8, index: u32) -> Bytes {
    let length = 5 + (index as usize * 977) % 30_000;
    let mut bytes = vec![channel; length];
    bytes[..4].copy_from_slice(&index.to_le_bytes());
    Bytes::from(bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_channels_carry_messages_both_ways_in_order() {
    const COUNT: u32 = 60;
    let (a, b) = pair(|_| ()).await;
    let (a_key, b_key) = (a.key(), b.key());
    let (a_links, b_links) = (a.links.clone(), b.links.clone());
    for channel in 0..CHANNELS as u8 {
        for index in 0..COUNT {
            for (links, to) in [(&a_links, b_key), (&b_links, a_key)] {
                until("room", || match links.try_send(&to, channel, message(channel, index)) {
                    SendOutcome::Sent => Some(()),
                    SendOutcome::Full => None,
                    other => panic!("{other:?}"),
                })
                .await;
            }
        }
    }
    for (mut node, from) in [(a, b_key), (b, a_key)] {
        for channel in 0..CHANNELS as u8 {
            for index in 0..COUNT {
                let (key, bytes) = node.next(channel).await;
                assert!(key == from && bytes == message(channel, index), "channel {channel}, message {index}");
            }
        }
        let count = node.status_of(&from).channels[6];
        assert_eq!((count.messages_received, count.dropped_receiving, count.dropped_sending), (COUNT as u64, 0, 0));
        let bytes: u64 = (0..COUNT).map(|index| message(6, index).len() as u64 + 4).sum();
        assert_eq!((count.bytes_received, count.bytes_sent), (bytes, bytes));
        let metrics = node.links.metrics();
        assert_eq!(metrics.channels[6].messages_sent, COUNT as u64);
        assert!(metrics.wire_bytes_sent > bytes && metrics.wire_bytes_received > bytes);
        assert_eq!((metrics.peers_connected, metrics.violations), (1, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_restarts_on_the_same_port_is_connected_again() {
    let (mut a, b) = pair(|_| ()).await;
    let b_key = b.key();
    let address = b.stop().await;
    until("the loss", || (!a.links.is_connected(&b_key)).then_some(())).await;
    assert_eq!(a.links.try_send(&b_key, 0, Bytes::from_static(b"x")), SendOutcome::Offline);
    let b = Node::start(2, |config| config.listen = address);
    introduce(&[&a, &b]);
    a.connected_to(&b).await;
    b.connected_to(&a).await;
    assert_eq!(b.send(&a, 7, "back"), SendOutcome::Sent);
    assert_eq!(a.next(7).await.1, "back");
    let metrics = a.links.metrics();
    assert!(metrics.reconnects >= 1 && metrics.violations == 0, "{metrics:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_falls_silent_is_noticed_and_found_again() {
    let short = |config: &mut tana_net::link::LinkConfig| {
        config.limits.idle_timeout = Duration::from_millis(600);
        config.limits.keep_alive = Duration::from_millis(150);
        config.limits.backoff_max = Duration::from_millis(200);
    };
    let (a, mut b) = (Node::start(1, short), Node::start(2, short));
    let relay = Relay::start(b.address).await;
    a.links.set_peers(vec![Peer { key: b.key(), address: relay.address.to_string() }]);
    b.links.set_peers(vec![Peer { key: a.key(), address: "127.0.0.1:1".to_owned() }]);
    a.connected_to(&b).await;
    b.connected_to(&a).await;
    relay.forward(false, false);
    // Nobody says goodbye; both find out by themselves.
    until("the loss", || (!a.links.is_connected(&b.key())).then_some(())).await;
    until("the loss", || (!b.links.is_connected(&a.key())).then_some(())).await;
    relay.forward(true, true);
    a.connected_to(&b).await;
    b.connected_to(&a).await;
    assert_eq!(a.send(&b, 7, "again"), SendOutcome::Sent);
    assert_eq!(b.next(7).await.1, "again");
    assert_eq!(a.links.metrics().reconnects, 1);
}

/// A hello of a bare member's process `instance`, then the connection.
async fn greeted(node: &Node, number: u8, instance: u64) -> quinn::Connection {
    let before = node.status_of(&public(number)).connects;
    let connection = greet_bare(node, number, instance).await;
    until("the link", || (node.status_of(&public(number)).connects > before).then_some(())).await;
    connection
}

/// The streams that `connection` gets, by their types, with what is on them until they end or pause.
async fn next_stream_of(connection: &quinn::Connection, wanted: u8) -> quinn::RecvStream {
    loop {
        let mut stream = soon("a stream", connection.accept_uni()).await.unwrap();
        let mut stream_type = [0];
        soon("a type", stream.read_exact(&mut stream_type)).await.unwrap();
        if stream_type[0] == wanted {
            return stream;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_connection_takes_over_and_the_older_one_ends_in_order() {
    let node = Node::start(1, |config| config.limits.retire_timeout = Duration::from_millis(300));
    node.links.set_peers(vec![Peer { key: public(9), address: "127.0.0.1:1".to_owned() }]);
    let first = greeted(&node, 9, 77).await;
    let mut on_first = next_stream_of(&first, 6).await;
    // The same process dialled again: the older connection ends its streams behind a whole message.
    let second = greeted(&node, 9, 77).await;
    let mut on_second = next_stream_of(&second, 6).await;
    assert_eq!(node.links.try_send(&public(9), 6, Bytes::from_static(b"abc")), SendOutcome::Sent);
    let mut frame = [0; 7];
    soon("the message", on_second.read_exact(&mut frame)).await.unwrap();
    assert_eq!(&frame, b"\x03\0\0\0abc");
    assert_eq!(soon("the end", on_first.read_to_end(10)).await.unwrap(), b"");
    assert_eq!(close_code(&first).await, LinkCode::Duplicate as u64);
    // Another process: the older connection is closed at once.
    let third = greeted(&node, 9, 78).await;
    assert_eq!(close_code(&second).await, LinkCode::Duplicate as u64);
    assert!(third.close_reason().is_none());
    let status = node.status_of(&public(9));
    assert_eq!((status.connects, node.links.metrics().violations), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_peer_is_disconnected_and_may_come_back() {
    let (a, b) = pair(|_| ()).await;
    let before = a.links.metrics();
    a.links.set_peers(vec![a.peer()]);
    until("the loss", || (!b.links.is_connected(&a.key())).then_some(())).await;
    assert_eq!(a.send(&b, 0, "x"), SendOutcome::Unknown);
    assert!(a.links.status().is_empty());
    // What was counted for it stays in the totals.
    assert!(a.links.metrics().wire_bytes_sent >= before.wire_bytes_sent);
    a.metrics_until("a refusal", |metrics| metrics.refused(tana_net::link::LinkRefusal::UnknownKey) > 0).await;
    until("the reason", || b.status_of(&a.key()).last_error.filter(|text| text.contains("refuses this node's key")))
        .await;
    introduce(&[&a, &b]);
    a.connected_to(&b).await;
    b.connected_to(&a).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_resolved_and_can_be_corrected() {
    let (mut a, b) = (Node::new(1), Node::new(2));
    b.links.set_peers(vec![Peer { key: a.key(), address: "127.0.0.1:1".to_owned() }]);
    a.links.set_peers(vec![Peer { key: b.key(), address: "no-port-given".to_owned() }]);
    until("an explanation", || a.status_of(&b.key()).last_error.filter(|text| text.contains("host:port"))).await;
    a.links.set_peers(vec![Peer { key: b.key(), address: format!("localhost:{}", b.address.port()) }]);
    a.connected_to(&b).await;
    b.connected_to(&a).await;
    assert_eq!(b.send(&a, 1, "found"), SendOutcome::Sent);
    assert_eq!(a.next(1).await.1, "found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_receiver_holds_batches_back_and_loses_none() {
    let small = |config: &mut tana_net::link::LinkConfig| {
        config.limits.stream_window_bytes = 64 * 1024;
        config.limits.channels[6].queue_bytes_max = 256 * 1024;
        config.limits.channels[6].inbound_bytes_max = 256 * 1024;
        config.limits.channels[6].message_bytes_max = 64 * 1024;
    };
    let (a, mut b) = pair(small).await;
    let batch = |index: u32| {
        let mut bytes = vec![7; 20_000];
        bytes[..4].copy_from_slice(&index.to_le_bytes());
        Bytes::from(bytes)
    };
    // Nobody takes: the queue, the windows and the share fill, then there is no room. Nothing moves any more when
    // the queue has stayed full while a vote went through.
    let mut sent = 0u32;
    for round in 0u32.. {
        while a.send(&b, 6, batch(sent)) == SendOutcome::Sent {
            sent += 1;
        }
        assert!(sent < 200, "nothing holds back");
        // Other channels are not held back by it.
        assert_eq!(a.send(&b, 0, Bytes::copy_from_slice(&round.to_le_bytes())), SendOutcome::Sent);
        assert_eq!(b.next(0).await.1, &round.to_le_bytes()[..]);
        if a.send(&b, 6, batch(sent)) == SendOutcome::Full {
            break;
        }
        sent += 1;
    }
    assert!(sent >= 20, "{sent} batches of 20 kB in queue, windows and share");
    for index in 0..sent {
        assert_eq!(b.next(6).await.1, batch(index), "batch {index} of {sent}");
    }
    until("room", || (a.send(&b, 6, batch(sent)) == SendOutcome::Sent).then_some(())).await;
    assert_eq!(b.next(6).await.1, batch(sent));
    let count = a.status_of(&b.key()).channels[6];
    assert_eq!((count.messages_sent, count.dropped_sending), (u64::from(sent) + 1, 0));
    assert_eq!(b.status_of(&a.key()).channels[6].dropped_receiving, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lossy_channels_drop_the_newest_and_count() {
    let small = |config: &mut tana_net::link::LinkConfig| {
        config.limits.channels[0].message_bytes_max = 1_024;
        config.limits.channels[0].inbound_bytes_max = 16 * 1_024;
        config.limits.channels[0].queue_messages_max = 4;
    };
    let (a, mut b) = pair(small).await;
    let (mut sent, mut full) = (0u64, 0u64);
    for index in 0u32..5_000 {
        match a.send(&b, 0, Bytes::copy_from_slice(&index.to_le_bytes())) {
            SendOutcome::Sent => sent += 1,
            SendOutcome::Full => full += 1,
            other => panic!("{other:?}"),
        }
        if index % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let channel = |node: &Node, other: [u8; 32]| node.status_of(&other).channels[0];
    let arrived =
        until("all that was sent", || Some(channel(&b, a.key())).filter(|count| count.messages_received == sent)).await;
    assert_eq!(channel(&a, b.key()).dropped_sending, full);
    // Nobody took any: 18 permits are there, one for each message.
    let kept = sent.min(18);
    assert_eq!(arrived.dropped_receiving, sent - kept);
    let mut last = None;
    for _ in 0..kept {
        let index = u32::from_le_bytes(b.next(0).await.1[..].try_into().unwrap());
        assert!(last < Some(index), "the oldest stay, in order");
        last = Some(index);
    }
    assert!(b.inbound[0].try_recv().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_sent_is_refused_at_once() {
    let (a, b) = (Node::new(1), Node::new(2));
    a.links.set_peers(vec![a.peer(), b.peer()]);
    assert_eq!(a.links.status().len(), 1, "the own key is left out");
    let byte = Bytes::from_static(b"x");
    assert_eq!(a.links.try_send(&b.key(), 0, byte.clone()), SendOutcome::Offline);
    assert_eq!(a.links.try_send(&public(3), 0, byte.clone()), SendOutcome::Unknown);
    assert_eq!(a.links.try_send(&b.key(), 9, byte.clone()), SendOutcome::Invalid);
    assert_eq!(a.links.try_send(&b.key(), 0, Bytes::new()), SendOutcome::Invalid);
    let length = LinkLimits::default().channels[3].message_bytes_max + 1;
    assert_eq!(a.links.try_send(&b.key(), 3, Bytes::from(vec![0; length])), SendOutcome::Invalid);
    a.links.block(&b.key(), "a test");
    assert_eq!(a.links.try_send(&b.key(), 0, byte), SendOutcome::Blocked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_the_receivers_and_frees_the_port() {
    let (mut a, b) = pair(|_| ()).await;
    assert_eq!(b.send(&a, 8, "before"), SendOutcome::Sent);
    until("the message", || (a.status_of(&b.key()).channels[8].messages_received == 1).then_some(())).await;
    a.links.close();
    assert_eq!(a.next(8).await.1, "before", "what arrived can still be taken");
    assert!(soon("the end", a.inbound[8].recv()).await.is_none());
    until("the loss", || (!b.links.is_connected(&a.key())).then_some(())).await;
    assert_eq!(b.links.metrics().violations, 0);
    a.stop().await;
}
