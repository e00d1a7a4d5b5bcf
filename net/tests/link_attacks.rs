//! What links refuse: foreign keys, certificates and chains, and every breach of the protocol by a member.

#![allow(clippy::unwrap_used)]

mod link_support;

use std::time::Duration;

use link_support::{
    GENESIS, Node, Relay, Shown, bare_config, close_code, dial_bare, greet_bare, introduce, pair, public, soon, until,
};
use tana_net::link::{LinkCode, LinkRefusal, Peer, SendOutcome};

/// The number of a member that is not a node but a bare peer.
const BARE: u8 = 9;

/// A node with an honest peer and a bare member.
async fn attacked(change: impl Fn(&mut tana_net::link::LinkConfig)) -> (Node, Node) {
    let (a, b) = pair(change).await;
    // Nobody answers at the bare member's address.
    a.links.set_peers(vec![b.peer(), Peer { key: public(BARE), address: "127.0.0.1:1".to_owned() }]);
    (a, b)
}

/// Checks that the bare member is blocked for a reason that has `text`, and that the honest one is served.
async fn blocked_for(a: &mut Node, b: &Node, text: &str) {
    let reason = until("the block", || a.status_of(&public(BARE)).blocked).await.0;
    assert!(reason.contains(text), "{reason}");
    assert_eq!(a.links.metrics().violations, 1);
    assert_eq!(b.send(a, 0, "honest"), SendOutcome::Sent);
    assert_eq!(a.next(0).await.1, "honest");
    // The handshake itself is refused now.
    let again = dial_bare(a, Shown::Raw(BARE), GENESIS).await;
    if let Ok(connection) = again {
        soon("the refusal", connection.closed()).await;
    }
    a.metrics_until("the refusal", |metrics| metrics.refused(LinkRefusal::Blocked) == 1).await;
}

async fn send_on_new_stream(connection: &quinn::Connection, bytes: &[u8]) -> quinn::SendStream {
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_certificates_and_other_chains_are_refused_and_counted() {
    let (a, b) = attacked(|_| ()).await;
    let cases = [
        (Shown::Raw(8), GENESIS, LinkRefusal::UnknownKey),
        (Shown::Raw(BARE), [1; 32], LinkRefusal::OtherChain),
        (Shown::Certificate { number: BARE, until_year: 4_000 }, GENESIS, LinkRefusal::Certificate),
        (Shown::Certificate { number: BARE, until_year: 2_000 }, GENESIS, LinkRefusal::Certificate),
        (Shown::Nothing, GENESIS, LinkRefusal::Certificate),
    ];
    for (shown, genesis, refusal) in cases {
        let before = a.links.metrics();
        // The dialler may be done with its side before it hears of the refusal.
        if let Ok(connection) = dial_bare(&a, shown, genesis).await {
            soon("the refusal", connection.closed()).await;
        }
        let after = a.metrics_until("the count", |metrics| metrics.refused(refusal) > before.refused(refusal)).await;
        assert_eq!(after.accepted, before.accepted, "{refusal:?}");
        assert_eq!(after.refused.iter().map(|(_, count)| count).sum::<u64>(), {
            before.refused.iter().map(|(_, count)| count).sum::<u64>() + 1
        });
    }
    assert_eq!(a.links.connected(), [b.key()]);
    assert_eq!(a.links.metrics().violations, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_two_chains_never_connect_and_say_why() {
    let a = Node::new(1);
    let b = Node::start(2, |config| config.genesis_hash = [1; 32]);
    introduce(&[&a, &b]);
    for (node, other) in [(&a, &b), (&b, &a)] {
        until("the reason", || node.status_of(&other.key()).last_error.filter(|text| text.contains("another chain")))
            .await;
        node.metrics_until("the count", |metrics| metrics.refused(LinkRefusal::OtherChain) > 0).await;
        assert!(!node.links.is_connected(&other.key()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_at_a_peers_address_is_refused() {
    let (a, b) = (Node::new(1), Node::new(2));
    b.links.set_peers(vec![a.peer()]);
    a.links.set_peers(vec![Peer { key: public(3), address: b.address.to_string() }]);
    a.metrics_until("the count", |metrics| metrics.refused(LinkRefusal::OtherKey) > 0).await;
    until("the reason", || a.status_of(&public(3)).last_error.filter(|text| text.contains("another key"))).await;
    assert!(a.links.connected().is_empty() && b.links.connected().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaches_block_the_peer_and_nobody_else() {
    let huge = [&[6][..], &[0xff; 4]].concat();
    let long = [&[0][..], &(1_048_577u32).to_le_bytes()].concat();
    let cases: [(&[u8], &str); 5] = [
        (&huge, "4294967295 bytes was announced"),
        (&long, "1048577 bytes was announced"),
        (&[3, 0, 0, 0, 0], "length 0"),
        (&[9, 1, 0, 0, 0, 1], "unknown type 9"),
        (b"GET / HTTP/1.1\r\n\r\n", "unknown type 71"),
    ];
    for (bytes, text) in cases {
        let (mut a, b) = attacked(|_| ()).await;
        let connection = greet_bare(&a, BARE, 77).await;
        until("the link", || a.links.is_connected(&public(BARE)).then_some(())).await;
        let _stream = send_on_new_stream(&connection, bytes).await;
        assert_eq!(close_code(&connection).await, LinkCode::Violation as u64, "{text}");
        blocked_for(&mut a, &b, text).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_stream_of_a_channel_is_a_breach() {
    let (mut a, b) = attacked(|_| ()).await;
    let connection = greet_bare(&a, BARE, 77).await;
    let _first = send_on_new_stream(&connection, &[6]).await;
    let _second = send_on_new_stream(&connection, &[6]).await;
    assert_eq!(close_code(&connection).await, LinkCode::Violation as u64);
    blocked_for(&mut a, &b, "second stream of channel 6").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_streams_than_channels_are_a_breach_even_one_after_the_other() {
    let (mut a, b) = attacked(|_| ()).await;
    let connection = greet_bare(&a, BARE, 77).await;
    let mut streams = Vec::new();
    for channel in 0..9u8 {
        let mut stream = send_on_new_stream(&connection, &[channel]).await;
        stream.finish().unwrap();
        streams.push(stream);
    }
    let Ok(mut tenth) = soon("a stream", connection.open_uni()).await else { panic!("room for it to be seen") };
    let _ = tenth.write_all(&[0]).await;
    assert_eq!(close_code(&connection).await, LinkCode::Violation as u64);
    blocked_for(&mut a, &b, "more streams than channels").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_first_words_are_a_breach() {
    let good = [&[0xff, 1, 9, 0, 0][..], &[0; 8]].concat();
    let longer = [&good[..], &[0]].concat();
    let cases: [(&[u8], &str); 4] = [
        (&[0, 1, 0, 0, 0, 1], "no hello"),
        (&good[..8], "hello of 7 bytes"),
        (&longer, "hello of 13 bytes"),
        (&[0xff, 2, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "version 2"),
    ];
    for (bytes, text) in cases {
        let (mut a, b) = attacked(|_| ()).await;
        let connection = dial_bare(&a, Shown::Raw(BARE), GENESIS).await.unwrap();
        let mut stream = send_on_new_stream(&connection, bytes).await;
        let _ = stream.finish();
        assert_eq!(close_code(&connection).await, LinkCode::Violation as u64, "{text}");
        blocked_for(&mut a, &b, text).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_instead_of_a_hello_ends_the_connection_without_a_block() {
    let (a, b) = attacked(|config| config.limits.handshake_timeout = Duration::from_millis(400)).await;
    let connection = dial_bare(&a, Shown::Raw(BARE), GENESIS).await.unwrap();
    assert_eq!(close_code(&connection).await, LinkCode::NoHello as u64);
    let status = a.status_of(&public(BARE));
    assert!(status.blocked.is_none() && status.connects == 0, "{status:?}");
    assert!(b.links.is_connected(&a.key()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_has_few_connections_at_a_time() {
    let (a, _b) = attacked(|_| ()).await;
    let mut connections = Vec::new();
    for _ in 0..5 {
        connections.push(dial_bare(&a, Shown::Raw(BARE), GENESIS).await.unwrap());
    }
    // Each is counted on a task of its own, so it need not be the last one that is too many.
    let mut ends = tokio::task::JoinSet::new();
    for connection in connections.clone() {
        ends.spawn(async move { close_code(&connection).await });
    }
    let first = soon("a refusal", ends.join_next()).await.unwrap().unwrap();
    assert_eq!(first, LinkCode::TooManyConnections as u64);
    assert_eq!(connections.iter().filter(|connection| connection.close_reason().is_none()).count(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_stream_ends_the_connection_without_a_block() {
    let (a, _b) = attacked(|_| ()).await;
    let connection = greet_bare(&a, BARE, 77).await;
    let mut stream = send_on_new_stream(&connection, &[6, 9, 0, 0, 0, 1]).await;
    stream.reset(0u32.into()).unwrap();
    assert_eq!(close_code(&connection).await, LinkCode::Broken as u64);
    assert!(a.status_of(&public(BARE)).blocked.is_none());
    assert_eq!(a.links.metrics().violations, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_ends_after_its_time() {
    let (a, b) = pair(|config| config.limits.block_duration = Duration::from_millis(300)).await;
    a.links.block(&b.key(), "evidence");
    assert_eq!(a.status_of(&b.key()).blocked.map(|(reason, _)| reason).as_deref(), Some("evidence"));
    until("the loss", || (!b.links.is_connected(&a.key())).then_some(())).await;
    a.connected_to(&b).await;
    b.connected_to(&a).await;
    let metrics = a.links.metrics();
    assert_eq!((metrics.blocks, metrics.violations, metrics.peers_blocked), (1, 0, 0));
    assert!(metrics.reconnects >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_talks_too_fast_is_read_slowly() {
    let (mut a, b) = attacked(|config| config.limits.messages_per_second = 500).await;
    let connection = greet_bare(&a, BARE, 77).await;
    let message = [1u8, 0, 0, 0, 0x55];
    let mut bytes = vec![5u8];
    bytes.extend(message.repeat(600));
    let mut stream = send_on_new_stream(&connection, &bytes).await;
    a.metrics_until("a delay", |metrics| metrics.paced > 0).await;
    stream.write_all(&message.repeat(10)).await.unwrap();
    until("all of them", || (a.status_of(&public(BARE)).channels[5].messages_received == 610).then_some(())).await;
    assert!(a.status_of(&public(BARE)).blocked.is_none());
    assert_eq!(b.send(&a, 5, "honest"), SendOutcome::Sent);
    let from_honest = async { while a.inbound[5].recv().await.unwrap().0 != b.key() {} };
    soon("the honest peer", from_honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_handshakes_is_bounded_and_members_get_through() {
    let tight = |config: &mut tana_net::link::LinkConfig| {
        config.limits.handshakes_before_retry = 4;
        config.limits.incoming_per_ip_max = 16;
        config.limits.handshake_timeout = Duration::from_millis(500);
    };
    let (a, b) = attacked(tight).await;
    // First messages whose sender never hears the answer, as when its address is made up: at most four get a
    // handshake, the others are asked to prove their address.
    let relay = Relay::start(a.address).await;
    relay.forward(true, false);
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = bare_config(Shown::Raw(8), GENESIS);
    let dial = || endpoint.connect_with(config.clone(), relay.address, "tana-link").unwrap();
    let attempts: Vec<_> = (0..300).map(|_| dial()).collect();
    let metrics = a
        .metrics_until("the demand for proof", |metrics| {
            assert!(metrics.incoming <= 1 + 4, "{metrics:?}");
            metrics.retries >= 200
        })
        .await;
    assert_eq!((metrics.peers_connected, metrics.violations), (1, 0));
    // The honest peer is still served, and a new member gets in while the flood goes on.
    assert_eq!(a.send(&b, 0, "x"), SendOutcome::Sent);
    let c = Node::new(3);
    let more_attempts: Vec<_> = (0..300).map(|_| dial()).collect();
    c.links.set_peers(vec![a.peer()]);
    a.links.set_peers(vec![b.peer(), c.peer()]);
    a.connected_to(&c).await;
    c.connected_to(&a).await;
    // What never goes on is given up, and its place is free again once nothing asks for it.
    a.metrics_until("a timeout", |metrics| metrics.refused(LinkRefusal::Timeout) >= 1).await;
    drop((attempts, more_attempts));
    endpoint.close(0u32.into(), b"");
    a.metrics_until("free places", |metrics| metrics.incoming <= 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announced_and_unread_bytes_cannot_grow_without_bound() {
    let (mut a, b) = attacked(|config| config.limits.stream_window_bytes = 64 * 1024).await;
    let connection = greet_bare(&a, BARE, 77).await;
    until("the link", || a.links.is_connected(&public(BARE)).then_some(())).await;
    // Nobody takes what comes on channel 8: the share (8 MiB and a message), then the stream's window, then no more.
    let mut stream = send_on_new_stream(&connection, &[8]).await;
    let message = [&4_000_000u32.to_le_bytes()[..], &vec![1; 4_000_000]].concat();
    let mut written = 0usize;
    let flood = async {
        loop {
            written += stream.write(&message[written % message.len()..]).await.unwrap();
        }
    };
    let received = || a.status_of(&public(BARE)).channels[8].bytes_received;
    tokio::select! {
        () = flood => {}
        () = until("a standstill", || (received() >= 8_000_000).then_some(())) => {}
    }
    // Two messages fit; a third waits complete in the reader, and a window behind it.
    let bound = 3 * (4_000_000 + 4) + 2 * 64 * 1024;
    let more = async {
        loop {
            written += stream.write(&message[written % message.len()..]).await.unwrap();
            assert!(written < bound, "{written} bytes were taken from a peer that nobody reads");
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(500), more).await.is_err(), "held back, not closed");
    assert_eq!(b.send(&a, 8, "honest"), SendOutcome::Sent);
    let from_honest = async { while a.inbound[8].recv().await.unwrap().0 != b.key() {} };
    soon("the honest peer", from_honest).await;
}
