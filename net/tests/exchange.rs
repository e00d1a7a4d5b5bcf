//! What works: frames in, answers out, queries, back-pressure, shutdown.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use support::{Seen, bed, bed_with, close_code, loopback, soon};
use tana_net::{AnswerEvent, AnswerKind, ClientError, ClientSocket, CloseCode, ServerPin, StreamId, TxClient};

#[tokio::test(flavor = "multi_thread")]
async fn frames_arrive_whole_and_in_order() {
    let mut bed = bed(|_| ());
    let client = bed.connect().await;
    let mut flood = client.open_flood().await.unwrap();
    let lengths = [1, 2, 1_000, 1_452, 11_520, 65_536, 3];
    for (number, length) in lengths.iter().enumerate() {
        flood.send(&vec![number as u8; *length]).await.unwrap();
    }
    let mut encoded = Vec::new();
    tana_net::frame::encode(b"one", &mut encoded).unwrap();
    tana_net::frame::encode(b"two", &mut encoded).unwrap();
    flood.send_frames(&mut [Bytes::from(encoded)]).await.unwrap();
    soon("the end of the stream", flood.finish()).await.unwrap();
    for (number, length) in lengths.iter().enumerate() {
        let (source, stream, bytes) = bed.next_frame().await;
        assert_eq!((stream, source.ip, source.shard), (StreamId::NONE, loopback(1), 0));
        assert_eq!(bytes, vec![number as u8; *length], "frame {number}");
    }
    assert_eq!(bed.next_frame().await.2, b"one");
    assert_eq!(bed.next_frame().await.2, b"two");
    let metrics = bed.metrics_until("the count of frames", |metrics| metrics.frames == 9).await;
    assert_eq!((metrics.accepted, metrics.connections, metrics.partial_bytes), (1, 1, 0));
    client.close().await;
    let metrics = bed.metrics_until("the close", |metrics| metrics.connections == 0).await;
    assert_eq!(metrics.closed_by_peer, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_back_to_their_stream() {
    let mut bed = bed(|_| ());
    let client = bed.connect().await;
    let (mut sender_a, mut answers_a) = client.open_submit().await.unwrap();
    let (mut sender_b, mut answers_b) = client.open_submit().await.unwrap();
    sender_a.send(b"a").await.unwrap();
    let stream_a = bed.next_frame().await.1;
    sender_b.send(b"b").await.unwrap();
    let stream_b = bed.next_frame().await.1;
    assert!(stream_a != stream_b && stream_a.wants_answers() && stream_b.wants_answers());

    let hub = bed.server.answers();
    let applied: Vec<_> = (0..100_000)
        .map(|sequence| AnswerEvent::in_block(AnswerKind::Applied, 0, sequence, 9, 50 + sequence))
        .collect();
    std::thread::spawn(move || {
        hub.send(stream_b, AnswerEvent::here(AnswerKind::Rejected, 5, 0));
        hub.send_all(stream_a, &applied);
        hub.finish(stream_a);
    });
    let mut events = Vec::new();
    while soon("answers", answers_a.receive(&mut events)).await.unwrap() > 0 {}
    assert_eq!(events.iter().map(|event| u64::from(event.count)).sum::<u64>(), 100_000);
    assert!(events.len() < 10, "runs were merged: {}", events.len());
    assert!(events.iter().all(|event| event.index == event.first + 50));
    let mut events = Vec::new();
    soon("an answer", answers_b.receive(&mut events)).await.unwrap();
    assert_eq!(events, [AnswerEvent::here(AnswerKind::Rejected, 5, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_stream_still_gets_its_answers() {
    let mut bed = bed(|_| ());
    let client = bed.connect().await;
    let (mut sender, mut answers) = client.open_submit().await.unwrap();
    sender.send(b"last words").await.unwrap();
    let stream = bed.next_frame().await.1;
    soon("the end of sending", sender.finish()).await.unwrap();
    assert!(matches!(bed.next().await, Seen::Finished(ended) if ended == stream));
    bed.server.answers().send(stream, AnswerEvent::here(AnswerKind::Accepted, 0, 0));
    let mut events = Vec::new();
    soon("an answer", answers.receive(&mut events)).await.unwrap();
    assert_eq!(events[0].kind, AnswerKind::Accepted);
    drop(answers);
    assert!(matches!(bed.next().await, Seen::Closed(closed) if closed == stream));
    assert!(client.close_reason().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_intake_holds_the_sender_and_loses_nothing() {
    let mut bed = bed(|_| ());
    bed.intake.set_room(100_000);
    let client = bed.connect().await;
    let mut flood = client.open_flood().await.unwrap();
    const FRAMES: usize = 600;
    const FRAME_BYTES: usize = 11_520;
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = sent.clone();
    let sending = tokio::spawn(async move {
        for number in 0..FRAMES {
            flood.send(&vec![(number % 251) as u8; FRAME_BYTES]).await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
        }
        flood.finish().await
    });
    soon("being held", bed.intake.held.notified()).await;
    assert_eq!(bed.intake.taken_bytes.load(Ordering::SeqCst), 100_000);
    assert!(!sending.is_finished());
    // Room in pieces that fit no frame: each offer goes on where the last one stopped.
    let mut taken = 100_000;
    while taken < 1_000_000 {
        bed.intake.set_room(77_777);
        taken += 77_777;
        soon("being held again", bed.intake.held.notified()).await;
        while bed.intake.taken_bytes.load(Ordering::SeqCst) < taken {
            soon("being held again", bed.intake.held.notified()).await;
        }
    }
    let ahead = sent.load(Ordering::SeqCst) * FRAME_BYTES - taken;
    assert!(ahead < 2 * 1024 * 1024, "{ahead} bytes are between sender and intake");
    bed.intake.set_room(usize::MAX);
    soon("the rest", sending).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    while bytes.len() < FRAMES * FRAME_BYTES {
        bytes.extend(bed.next_frame().await.2);
    }
    for (number, frame) in bytes.chunks(FRAME_BYTES).enumerate() {
        assert!(frame.iter().all(|byte| *byte == (number % 251) as u8), "frame {number} is damaged");
    }
    assert!(bed.server.metrics().holds > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_answered_within_their_limits() {
    let bed = bed(|limits| limits.queries_per_ip_max = 3);
    let client = bed.connect().await;
    assert_eq!(soon("an answer", client.query(b"balance")).await.unwrap(), b"answer to balance");
    let mut stream = client.open_query().await.unwrap();
    for number in 0..10u8 {
        assert_eq!(soon("an answer", stream.ask(&[number])).await.unwrap(), [b"answer to ", &[number][..]].concat());
    }
    assert_eq!(soon("a large answer", client.query(b"L")).await.unwrap().len(), 4 * 1024 * 1024);
    let too_large = soon("an end", client.query(b"X")).await.unwrap_err();
    assert!(matches!(too_large, ClientError::StreamEnded { code: 8, .. }), "{too_large}");

    bed.intake.query_gate.forget_permits(1_000);
    let second = bed.connect().await;
    let asking: Vec<_> = (0..8)
        .map(|number| {
            let client = if number % 2 == 0 { client.clone() } else { second.clone() };
            tokio::spawn(async move { client.query(b"q").await })
        })
        .collect();
    soon("three queries", async {
        while bed.intake.queries_running.load(Ordering::SeqCst) < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    // All eight requests are there once eight streams were opened; no fourth may run.
    bed.metrics_until("all streams", |metrics| metrics.streams == 4 + 8).await;
    assert_eq!(bed.intake.queries_running.load(Ordering::SeqCst), 3);
    bed.intake.query_gate.add_permits(1_000);
    for asked in asking {
        assert_eq!(soon("an answer", asked).await.unwrap().unwrap(), b"answer to q");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_threads_share_one_port() {
    let mut bed = bed_with(3, |_| ());
    let mut clients = Vec::new();
    for number in 0..24u8 {
        let client = bed.connect().await;
        let mut flood = client.open_flood().await.unwrap();
        flood.send(&[number]).await.unwrap();
        clients.push((client, flood));
    }
    let mut shards = std::collections::BTreeSet::new();
    for _ in 0..24 {
        shards.insert(bed.next_frame().await.0.shard);
    }
    assert!(shards.len() > 1 && shards.iter().all(|shard| *shard < 3), "shards {shards:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_stops_reading_writes_the_answers_and_says_so() {
    let mut bed = bed(|_| ());
    let client = bed.connect().await;
    let (mut sender, mut answers) = client.open_submit().await.unwrap();
    sender.send(b"before").await.unwrap();
    let stream = bed.next_frame().await.1;
    bed.server.stop_reading();
    assert!(matches!(bed.next().await, Seen::Finished(ended) if ended == stream));
    let hub = bed.server.answers();
    hub.send(stream, AnswerEvent::here(AnswerKind::Final, 0, 0));
    let refused = bed.connect_from(1).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused(_)), "{refused}");
    let server = bed.server;
    let stopping = tokio::task::spawn_blocking(move || server.shutdown(support::PATIENCE));
    let mut events = Vec::new();
    while soon("the last answers", answers.receive(&mut events)).await.unwrap() > 0 {}
    assert_eq!(events, [AnswerEvent::here(AnswerKind::Final, 0, 0)]);
    assert_eq!(close_code(&client).await, CloseCode::ShuttingDown);
    soon("the threads' end", stopping).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_does_not_wait_for_a_client_that_does_not_read() {
    let mut bed = bed(|_| ());
    let client = bed.connect().await;
    let (mut sender, _answers) = client.open_submit().await.unwrap();
    sender.send(b"x").await.unwrap();
    let stream = bed.next_frame().await.1;
    let hub = bed.server.answers();
    let mut sequence = 0;
    while bed.server.metrics().answers_lost == 0 {
        hub.send(stream, AnswerEvent::here(AnswerKind::Rejected, (sequence % 2) as u8 + 1, sequence));
        sequence += 1;
    }
    let server = bed.server;
    let stopping = tokio::task::spawn_blocking(move || server.shutdown(Duration::from_millis(50)));
    soon("the threads' end", stopping).await.unwrap();
    assert_eq!(close_code(&client).await, CloseCode::ShuttingDown);
    // The stream was closed towards the intake too.
    soon("the stream's close", async { while !matches!(bed.seen.recv().await, Some(Seen::Closed(_))) {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_does_not_wait_for_a_query_that_blocks() {
    let bed = bed(|_| ());
    let (release, blocker) = std::sync::mpsc::channel();
    *bed.intake.blocker.lock() = Some(blocker);
    let client = bed.connect().await;
    let asking = tokio::spawn(async move { client.query(b"B").await });
    soon("the query", async {
        while bed.intake.queries_running.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let server = bed.server;
    let stopping = tokio::task::spawn_blocking(move || server.shutdown(Duration::from_millis(50)));
    soon("the threads' end", stopping).await.unwrap();
    assert!(soon("the query's end", asking).await.unwrap().is_err());
    drop(release);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_cause() {
    let bed = bed(|_| ());
    let address = bed.server.local_addr();
    let pin = ServerPin::Key([1; 32]);
    let wrong_key = soon("a refusal", TxClient::connect(address, pin, None)).await.unwrap_err();
    assert!(matches!(wrong_key, ClientError::WrongKey { .. }), "{wrong_key}");
    assert!(wrong_key.to_string().contains("ed25519_0101"), "{wrong_key}");
    assert!(soon("a connection", TxClient::connect(address, ServerPin::Insecure, None)).await.is_ok());
    let socket = ClientSocket::open(loopback(1)).unwrap();
    let other = socket.connect_with_protocol(address, ServerPin::Insecure, b"h3");
    let wrong_protocol = soon("a refusal", other).await.unwrap_err();
    assert!(matches!(wrong_protocol, ClientError::WrongProtocol(_)), "{wrong_protocol}");
    drop(bed);
    let nobody = soon("a refusal", TxClient::connect(address, pin, None)).await.unwrap_err();
    assert!(matches!(nobody, ClientError::NothingListens(_)), "{nobody}");
}

#[test]
fn a_taken_port_is_named() {
    let bed = bed(|_| ());
    for threads in [1, 2] {
        let mut config =
            tana_net::ServerConfig::new(bed.server.local_addr(), tana_net::Identity::from_seed(&[1; 32]).unwrap());
        config.threads = threads;
        let error = tana_net::TxServer::start(config, support::TestIntake::new().0).err().unwrap();
        assert!(matches!(error, tana_net::ServerError::InUse(_)), "{error}");
    }
}
