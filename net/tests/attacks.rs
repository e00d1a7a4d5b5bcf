//! What breaks the rules or strains them: bad frames, slow and vanishing clients, floods of connections, garbage.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::{Bed, Seen, bed, close_code, loopback, soon};
use tana_net::sources::Refusal;
use tana_net::{AnswerEvent, AnswerKind, ClientError, ClientSocket, CloseCode, ServerPin, StreamId, TxClient};

/// Sends `bytes` as they are on a new flood stream and keeps the stream open.
async fn send_raw(client: &TxClient, bytes: &[u8]) -> tana_net::FloodStream {
    let mut flood = client.open_flood().await.unwrap();
    flood.send_frames(&mut [Bytes::copy_from_slice(bytes)]).await.unwrap();
    flood
}

/// Sends `payload` on a new flood stream for as long as the connection lives.
async fn flood_with(client: &TxClient, payload: Vec<u8>) -> tokio::task::JoinHandle<()> {
    let mut flood = client.open_flood().await.unwrap();
    tokio::spawn(async move { while flood.send(&payload).await.is_ok() {} })
}

/// Checks that another connection still works.
async fn others_go_on(bed: &mut Bed) {
    let client = bed.connect_from(3).await.unwrap();
    let mut flood = client.open_flood().await.unwrap();
    flood.send(b"honest").await.unwrap();
    loop {
        if let Seen::Frame { bytes, source, .. } = bed.next().await
            && source.ip == loopback(3)
        {
            assert_eq!(bytes, b"honest");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_frames_close_the_connection_with_their_code() {
    let mut bed = bed(|_| ());
    let too_large = 65_537u32.to_le_bytes();
    let cases: [(&[u8], CloseCode); 4] = [
        (&[0, 0, 0, 0], CloseCode::MalformedFrame),
        (&too_large, CloseCode::FrameTooLarge),
        (&[0xff; 4], CloseCode::FrameTooLarge),
        (&[2, 0, 0, 0, 0xff, 0xff], CloseCode::MalformedFrame),
    ];
    for (bytes, code) in cases {
        let client = bed.connect().await;
        let _stream = send_raw(&client, bytes).await;
        assert_eq!(close_code(&client).await, code, "for {bytes:?}");
    }
    let metrics = bed.metrics_until("four closes", |metrics| metrics.connections == 0).await;
    assert_eq!((metrics.closed(CloseCode::MalformedFrame), metrics.closed(CloseCode::FrameTooLarge)), (2, 2));
    others_go_on(&mut bed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_bidirectional_streams_close_the_connection() {
    let mut bed = bed(|_| ());
    // A submit stream with an empty frame, and one that ends within a frame.
    let client = bed.connect().await;
    let (mut sender, _answers) = client.open_submit().await.unwrap();
    sender.send_frames(&mut [Bytes::from_static(&[0; 4])]).await.unwrap();
    assert_eq!(close_code(&client).await, CloseCode::MalformedFrame);
    assert!(matches!(bed.next().await, Seen::Closed(_)));

    let client = bed.connect().await;
    let (mut sender, _answers) = client.open_submit().await.unwrap();
    sender.send_frames(&mut [Bytes::from_static(&[9, 0, 0, 0, 1])]).await.unwrap();
    drop(sender.finish());
    assert_eq!(close_code(&client).await, CloseCode::MalformedFrame);
    assert!(matches!(bed.next().await, Seen::Closed(_)), "an unfinished frame is never offered");
    others_go_on(&mut bed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_within_a_frame_drops_the_frame_only() {
    let mut bed = bed(|_| ());
    let client = bed.connect().await;
    let flood = send_raw(&client, &[100, 0, 0, 0, 1, 2, 3]).await;
    bed.metrics_until("the part of a frame", |metrics| metrics.partial_bytes == 7).await;
    flood.reset();
    let metrics = bed.metrics_until("the reset", |metrics| metrics.streams_reset == 1).await;
    assert_eq!((metrics.partial_bytes, metrics.frames), (0, 0));
    let mut again = client.open_flood().await.unwrap();
    again.send(b"goes on").await.unwrap();
    assert_eq!(bed.next_frame().await.2, b"goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_client_leaves_nothing() {
    let mut bed = bed(|limits| limits.idle_timeout = Duration::from_millis(300));
    let client = bed.connect().await;
    let (mut sender, answers) = client.open_submit().await.unwrap();
    sender.send(b"x").await.unwrap();
    sender.send_frames(&mut [Bytes::from_static(&[9, 0, 0, 0, 1])]).await.unwrap();
    let stream = bed.next_frame().await.1;
    // Nothing is sent and nothing is read any more; the keep-alive of 10 s comes too late.
    let metrics = bed.metrics_until("the idle timeout", |metrics| metrics.timed_out == 1).await;
    assert_eq!((metrics.partial_bytes, metrics.connections), (0, 0));
    assert!(matches!(bed.next().await, Seen::Closed(closed) if closed == stream));
    drop((sender, answers));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_trickles_in_is_cut_off() {
    let mut bed = bed(|limits| limits.frame_deadline = Duration::from_millis(200));
    let client = bed.connect().await;
    let mut flood = send_raw(&client, &[200, 0, 0, 0]).await;
    let trickle = tokio::spawn(async move {
        while flood.send_frames(&mut [Bytes::from_static(&[1])]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(close_code(&client).await, CloseCode::SlowFrame);
    soon("the sender's end", trickle).await.unwrap();
    // Between frames there is no deadline.
    let idle = bed.connect().await;
    let mut flood = idle.open_flood().await.unwrap();
    flood.send(b"one").await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    flood.send(b"two").await.unwrap();
    assert_eq!(bed.next_frame().await.2, b"one");
    assert_eq!(bed.next_frame().await.2, b"two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_not_late_while_the_server_holds_the_connection_back() {
    let deadline = Duration::from_millis(150);
    let mut bed = bed(|limits| limits.frame_deadline = deadline);
    bed.intake.set_room(0);
    let client = bed.connect().await;
    let mut half = send_raw(&client, &[4, 0, 0, 0, 1, 2]).await;
    let _held = send_raw(&client, &[1, 0, 0, 0, 9]).await;
    soon("being held", bed.intake.held.notified()).await;
    tokio::time::sleep(deadline * 4).await;
    assert!(client.close_reason().is_none());
    bed.intake.set_room(usize::MAX);
    half.send_frames(&mut [Bytes::from_static(&[3, 4])]).await.unwrap();
    assert_eq!(bed.next_frame().await.2, [9]);
    assert_eq!(bed.next_frame().await.2, [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_frames_are_bounded() {
    let mut bed = bed(|limits| limits.partial_bytes_per_connection_max = 150_000);
    let client = bed.connect().await;
    let part = [&65_536u32.to_le_bytes()[..], &vec![1; 40_000][..]].concat();
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(send_raw(&client, &part).await);
    }
    bed.metrics_until("three parts", |metrics| metrics.partial_bytes == 3 * 40_004).await;
    streams.push(send_raw(&client, &part).await);
    assert_eq!(close_code(&client).await, CloseCode::PartialFrames);
    bed.metrics_until("their release", |metrics| metrics.partial_bytes == 0).await;
    others_go_on(&mut bed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_its_share_of_connections() {
    let mut bed = bed(|limits| (limits.connections_per_ip_max, limits.connections_per_ip_before_retry) = (3, 1));
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(bed.connect_from(2).await.unwrap());
    }
    let refused = bed.connect_from(2).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(_)), "{refused}");
    let metrics = bed.server.metrics();
    assert_eq!(metrics.refused(Refusal::PerIp), 1);
    assert_eq!(metrics.retries, 2, "the second and the third had to prove their address");
    others_go_on(&mut bed).await;
    clients.pop().unwrap().close().await;
    bed.metrics_until("the close", |metrics| metrics.connections == 2).await;
    soon("a place", async { while bed.connect_from(2).await.is_err() {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_closes_the_idlest_for_a_newcomer() {
    let bed = bed(|limits| (limits.connections_max, limits.evict_after) = (2, Duration::ZERO));
    let greedy = [bed.connect_from(2).await.unwrap(), bed.connect_from(2).await.unwrap()];
    let refused = bed.connect_from(3).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(_)), "{refused}");
    assert_eq!(close_code(&greedy[0]).await, CloseCode::TooManyConnections);
    bed.metrics_until("a free place", |metrics| metrics.connections == 1).await;
    bed.connect_from(3).await.unwrap();
    assert!(greedy[1].close_reason().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_garbage_sender_is_banned_and_others_do_not_feel_it() {
    let mut bed = bed(|limits| limits.score.ban = Duration::from_secs(600));
    let honest = bed.connect_from(1).await.unwrap();
    let bad = bed.connect_from(2).await.unwrap();
    let twin = bed.connect_from(2).await.unwrap();
    let mut flood = bad.open_flood().await.unwrap();
    flood.send(b"garbage").await.unwrap();
    let (source, ..) = bed.next_frame().await;
    assert_eq!(source.ip, loopback(2));
    let hub = bed.server.answers();
    hub.report_bad(&source.score, 40);
    assert!(source.score.is_suspect());
    assert!(bad.close_reason().is_none());
    hub.report_bad(&source.score, 5_000);
    assert_eq!(close_code(&bad).await, CloseCode::BadSignatures);
    assert_eq!(close_code(&twin).await, CloseCode::BadSignatures, "all connections of the address");
    bed.metrics_until("two closes", |metrics| metrics.connections == 1).await;
    for _ in 0..3 {
        let refused = bed.connect_from(2).await.unwrap_err();
        assert!(matches!(refused, ClientError::Refused(_)), "{refused}");
    }
    assert_eq!(bed.server.metrics().refused(Refusal::Banned), 3);
    let mut flood = honest.open_flood().await.unwrap();
    flood.send(b"payments").await.unwrap();
    let (source, _, bytes) = bed.next_frame().await;
    assert_eq!((source.ip, &bytes[..]), (loopback(1), &b"payments"[..]));
    assert!(!source.score.is_suspect());
    others_go_on(&mut bed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slowed_address_is_read_at_its_rate() {
    let mut bed = bed(|limits| {
        limits.slow_bytes_per_second = 20_000;
        limits.score.forgiven_per_second = 0;
    });
    let slow = bed.connect_from(2).await.unwrap();
    let mut flood = slow.open_flood().await.unwrap();
    flood.send(b"first").await.unwrap();
    let (source, ..) = bed.next_frame().await;
    source.score.report(0, 600);
    let start = std::time::Instant::now();
    for _ in 0..11 {
        flood.send(&[1; 1_000]).await.unwrap();
    }
    let mut bytes = 0;
    while bytes < 11_000 {
        bytes += bed.next_frame().await.2.len();
    }
    // A read is charged afterwards, to the whole address: a new stream has to wait for the debt of the first.
    let mut flood = slow.open_flood().await.unwrap();
    flood.send(b"after the debt").await.unwrap();
    assert_eq!(bed.next_frame().await.2, b"after the debt");
    assert!(start.elapsed() >= Duration::from_millis(540), "11 KB at 20 KB/s took {:?}", start.elapsed());
    assert!(bed.server.metrics().paced > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_are_counted_and_reported() {
    let mut bed = bed(|limits| limits.answer_events_per_stream_max = 100);
    let client = bed.connect().await;
    let (mut sender, mut answers) = client.open_submit().await.unwrap();
    sender.send(b"x").await.unwrap();
    let stream = bed.next_frame().await.1;
    let hub = bed.server.answers();
    // Codes alternate, so nothing merges; windows take some megabytes, then the queue fills.
    let mut sequence = 0;
    while bed.server.metrics().answers_lost == 0 {
        let events: Vec<_> = (0..50)
            .map(|offset| AnswerEvent::here(AnswerKind::Rejected, (offset % 2) as u8 + 1, sequence + offset))
            .collect();
        sequence += 50;
        hub.send_all(stream, &events);
        assert!(sequence < 10_000_000, "the queue has no bound");
    }
    assert!(bed.server.metrics().answers_queued <= 101);
    hub.finish(stream);
    let mut events = Vec::new();
    while soon("answers", answers.receive(&mut events)).await.unwrap() > 0 {}
    let mut next = 0;
    for event in &events {
        assert_eq!(event.first, next, "events stay in order without a gap");
        next += u64::from(event.count);
    }
    assert_eq!(next, sequence, "every sequence is answered or counted");
    let lost: u64 =
        events.iter().filter(|event| event.kind == AnswerKind::Lost).map(|event| u64::from(event.count)).sum();
    assert_eq!(lost, bed.server.metrics().answers_lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_client_does_not_read_is_given_up() {
    let mut bed = bed(|limits| limits.answer_write_timeout = Duration::from_millis(100));
    let client = bed.connect_from(2).await.unwrap();
    let (mut sender, mut answers) = client.open_submit().await.unwrap();
    sender.send(b"x").await.unwrap();
    let stream = bed.next_frame().await.1;
    let hub = bed.server.answers();
    // Codes alternate, so nothing merges; windows take some megabytes, then the writer gets no further.
    let mut sequence = 0;
    soon("the end of the writer's patience", async {
        while bed.server.metrics().answers_unwanted == 0 {
            let events: Vec<_> = (0..4_000)
                .map(|offset| AnswerEvent::here(AnswerKind::Rejected, (offset % 2) as u8 + 1, sequence + offset))
                .collect();
            sequence += 4_000;
            hub.send_all(stream, &events);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let metrics = bed.server.metrics();
    assert_eq!(metrics.answers_queued, 0, "the queue is freed");
    assert!(metrics.answers_lost > 0, "what was not written is counted");
    // What arrived before can be read, then the stream's reset shows.
    let mut events = Vec::new();
    let end = loop {
        match soon("the reset", answers.receive(&mut events)).await {
            Ok(count) => assert!(count > 0, "a given up stream does not end in order"),
            Err(error) => break error,
        }
    };
    assert!(matches!(end, ClientError::StreamEnded { code: 8, .. }), "{end}");
    // Its connection goes on, with transactions on the same stream too.
    sender.send(b"y").await.unwrap();
    assert_eq!(bed.next_frame().await.2, b"y");
    others_go_on(&mut bed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_idle_connections_are_held_up_to_the_limit() {
    const ALLOWED: usize = 200;
    let mut bed = bed(|limits| (limits.connections_max, limits.connections_per_ip_max) = (ALLOWED + 1, ALLOWED));
    let mut clients = Vec::new();
    let mut refused = 0;
    for _ in 0..300 {
        match bed.connect_from(2).await {
            Ok(client) => {
                // An open stream in the middle of nothing.
                let (sender, answers) = client.open_submit().await.unwrap();
                clients.push((client, sender, answers));
            }
            Err(ClientError::Refused(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((clients.len(), refused), (ALLOWED, 100));
    let metrics = bed.server.metrics();
    assert_eq!((metrics.connections, metrics.partial_bytes, metrics.answers_queued), (ALLOWED as u64, 0, 0));
    others_go_on(&mut bed).await;
    for (client, sender, _) in &mut clients {
        assert!(client.close_reason().is_none());
        sender.send(b"still here").await.unwrap();
    }
    for _ in 0..ALLOWED {
        let (_, stream, bytes) = bed.next_frame().await;
        assert_eq!(bytes, b"still here");
        assert_ne!(stream, StreamId::NONE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pipeline_is_shared_by_addresses_and_not_by_streams() {
    const FRAME_BYTES: usize = 10_000;
    const GREEDY_CONNECTIONS: u64 = 15;
    // Two windows of a stream are the window of a connection: a third stream would not get its first frame through.
    const GREEDY_STREAMS: u64 = 2 * GREEDY_CONNECTIONS;
    const GRANTS: usize = 60;
    // Without the retry, only notifications wake; each grant has room for one frame.
    let mut bed = bed(|limits| limits.hold_retry = support::PATIENCE);
    bed.intake.set_room(0);
    let mut senders = Vec::new();
    for _ in 0..GREEDY_CONNECTIONS {
        let client = bed.connect_from(2).await.unwrap();
        senders
            .extend([flood_with(&client, vec![2; FRAME_BYTES]).await, flood_with(&client, vec![2; FRAME_BYTES]).await]);
    }
    bed.metrics_until("the greedy streams", |metrics| metrics.streams_waiting == GREEDY_STREAMS).await;
    let modest = bed.connect_from(1).await.unwrap();
    senders.push(flood_with(&modest, vec![1; FRAME_BYTES]).await);
    bed.metrics_until("the modest stream", |metrics| metrics.streams_waiting == GREEDY_STREAMS + 1).await;
    let mut of_modest = 0;
    for _ in 0..GRANTS {
        bed.intake.set_room(FRAME_BYTES);
        let (source, _, bytes) = bed.next_frame().await;
        assert_eq!(bytes.len(), FRAME_BYTES);
        of_modest += usize::from(source.ip == loopback(1));
        // The next frame of the one that was served waits again before the next grant.
        bed.metrics_until("waiting", |metrics| metrics.streams_waiting == GREEDY_STREAMS + 1).await;
    }
    assert!(of_modest >= GRANTS / 3, "{of_modest} of {GRANTS} frames were the modest address's");
    senders.iter().for_each(|sender| sender.abort());
}

/// Resident memory of this process in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Takes about half a minute and 2,100 open files, so `scripts/soak` runs it and the quick tests do not.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: 10,000 connections; run it with --ignored and at least 4,096 open files"]
async fn ten_thousand_idle_connections_do_not_grow_memory() {
    let mut bed = bed(|limits| (limits.connections_max, limits.handshakes_per_ip_burst) = (1_000, 1_000_000));
    let (mut held, mut refused, mut settled_kib) = (Vec::new(), 0, 0);
    let sockets: Vec<_> = (10..18).map(|last| ClientSocket::open(loopback(last)).unwrap()).collect();
    let (address, pin) = (bed.server.local_addr(), ServerPin::Key(bed.key));
    for attempt in 0..10_000usize {
        match soon("connecting", sockets[attempt % sockets.len()].connect(address, pin)).await {
            Ok(client) => {
                let part = send_raw(&client, &[100, 0, 0, 0, 1]).await;
                held.push((client, part));
            }
            Err(ClientError::Refused(_)) => refused += 1,
            Err(other) => panic!("attempt {attempt}: {other}"),
        }
        // By now as many refused attempts are being wound up by the clients as there will ever be.
        if attempt == 6_000 {
            settled_kib = resident_kib();
        }
    }
    let grown_kib = resident_kib().saturating_sub(settled_kib);
    println!("{} held, {refused} refused, {settled_kib} KiB, grown by {grown_kib} KiB", held.len());
    assert_eq!(held.len() as u64 + refused, 10_000);
    assert!(bed.server.metrics().connections <= 1_000);
    assert!(grown_kib < 32 * 1024, "{grown_kib} KiB more after 4,000 attempts");
    // The unfinished frames' connections go at their deadline, which makes room for an honest one.
    bed.metrics_until("a free place", |metrics| metrics.connections < 1_000).await;
    others_go_on(&mut bed).await;
}
