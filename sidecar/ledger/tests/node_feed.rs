//! The feeds over real sockets: each block once and in order, resumed without gap or repeat, and a reader that is slow is told what it missed.

#![allow(clippy::unwrap_used)]

mod api_support;
mod chain_support;

use std::net::SocketAddr;
use std::time::Duration;

use api_support::{Kind, World, bulk_name};
use chain_support::{PATIENCE, run_if_node, wait, wait_height};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tana_ledger::api::feed::{Begin, What};
use tana_ledger::api::{ApiConfig, ApiState, FeedConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// The node that the other tests start is this test in another process.
#[test]
fn node_process() {
    run_if_node();
}

const SUBSCRIBERS: usize = 1_000;

type Client = WebSocketStream<TcpStream>;

fn address(world: &World) -> SocketAddr {
    world.base.trim_start_matches("http://").parse().unwrap()
}

async fn upgrade(world: &World, stream: TcpStream, path: &str) -> Client {
    let config = WebSocketConfig::default().read_buffer_size(4_096);
    let url = format!("ws://{}{path}", address(world));
    client_async_with_config(url, stream, Some(config)).await.unwrap().0
}

async fn connect(world: &World, path: &str) -> Client {
    upgrade(world, TcpStream::connect(address(world)).await.unwrap(), path).await
}

/// The next JSON message; pings are answered on the way, and answers to ours passed over.
async fn next(client: &mut Client) -> Value {
    loop {
        match timeout(PATIENCE, client.next()).await.unwrap().unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The next message that is of this type.
async fn next_of(client: &mut Client, kind: &str) -> Value {
    loop {
        let message = next(client).await;
        if message["type"] == kind {
            return message;
        }
    }
}

async fn next_height(client: &mut Client) -> u64 {
    next_of(client, "block").await["block"]["height"].as_u64().unwrap()
}

#[test]
fn blocks_come_once_in_order_and_are_resumed() {
    let world = World::start(Kind::Votes, FeedConfig { ping: Duration::from_millis(200), ..FeedConfig::default() });
    wait_height(&world.chain, 5);
    world.runtime.block_on(async {
        // From the first block on, through the log and on into what is new.
        let mut client = connect(&world, "/feed/blocks?from=1").await;
        assert_eq!(next(&mut client).await["type"], "open");
        let head = world.chain.head().unwrap().height;
        for height in 1..=head + 5 {
            assert_eq!(next_height(&mut client).await, height);
        }
        drop(client);
        // Behind the last one that was seen.
        let mut client = connect(&world, &format!("/feed/blocks?cursor={}", head + 5)).await;
        assert_eq!(next_height(&mut client).await, head + 6);
        // Without a word, behind the head: and the first notice says where that is.
        let mut client = connect(&world, "/feed/blocks").await;
        let open = next(&mut client).await;
        assert_eq!(open["type"], "open");
        assert_eq!(next_height(&mut client).await, open["height"].as_u64().unwrap() + 1);
        // A block is what the other routes say of it.
        let message = next_of(&mut client, "block").await;
        let height = message["block"]["height"].as_u64().unwrap();
        let url = format!("{}/blocks?limit=1&cursor={}", world.base, height + 1);
        let page: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        assert_eq!(page["blocks"][0], message["block"]);
        // From above the head: it waits for it.
        let ahead = world.chain.head().unwrap().height + 5;
        let mut client = connect(&world, &format!("/feed/blocks?from={ahead}")).await;
        assert_eq!(next_height(&mut client).await, ahead);
    });
    events(&world);
    world.refused("/feed/blocks", 426, "upgrade_required");
    world.refused("/feed/blocks?from=x", 400, "bad_parameter");
    world.refused("/feed/blocks?cursor=1-", 400, "bad_parameter");
    world.refused("/feed/accounts/@nobody/transactions", 404, "not_found");
}

/// Server-sent events: `id`, `event`, `data`.
fn events(world: &World) {
    let read = |path: &str, last: Option<&str>, count: usize| {
        let mut request =
            reqwest::Client::new().get(format!("{}{path}", world.base)).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        world.runtime.block_on(async {
            let mut response = timeout(PATIENCE, request.send()).await.unwrap().unwrap();
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            let (mut text, mut found) = (String::new(), Vec::new());
            while found.len() < count {
                let chunk = timeout(PATIENCE, response.chunk()).await.unwrap().unwrap().unwrap();
                text.push_str(std::str::from_utf8(&chunk).unwrap());
                while let Some((event, rest)) = text.clone().split_once("\n\n") {
                    text = rest.to_owned();
                    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                    if field("event: ").as_deref() == Some("block") {
                        let data: Value = serde_json::from_str(&field("data: ").unwrap()).unwrap();
                        assert_eq!(data["block"]["height"].to_string(), field("id: ").unwrap());
                        found.push(data["block"]["height"].as_u64().unwrap());
                    }
                }
            }
            found.truncate(count);
            found
        })
    };
    assert_eq!(read("/feed/blocks?from=2", None, 3), [2, 3, 4]);
    // What a browser sends when it connects again counts before the address that it was given.
    assert_eq!(read("/feed/blocks?from=2", Some("4"), 3), [5, 6, 7]);
}

#[test]
fn an_accounts_transactions_come_once_in_order_and_are_resumed() {
    let world = World::start(Kind::Votes, FeedConfig { ping: Duration::from_millis(200), ..FeedConfig::default() });
    let path = format!("/feed/accounts/{}/transactions", bulk_name(2));
    let mut live = world.runtime.block_on(connect(&world, &path));
    assert_eq!(world.runtime.block_on(next(&mut live))["type"], "open");
    // Others' transactions between them; more from one account than one frame holds.
    let mut sent: Vec<Vec<u8>> = (1..=600).map(|nonce| world.transfer(1, nonce, 2, 1)).collect();
    sent.extend((1..=20).map(|nonce| world.transfer(2, nonce, 3, 1)));
    sent.extend((1..=20).map(|nonce| world.transfer(3, nonce, 4, 1)));
    world.apply(&sent);
    let expected: Vec<String> = {
        let mut ids: Vec<String> = sent[..620].iter().map(|one| hex::encode(tana_hash::hash(one))).collect();
        ids.sort();
        ids
    };
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    world.runtime.block_on(async {
        let (ids, cursors) = collect(&mut live, 620).await;
        assert_eq!(sorted(ids.clone()), expected);
        // Again from the first block on, and from behind every frame: the rest, in the same order.
        let mut again = connect(&world, &format!("{path}?from=1")).await;
        assert_eq!(collect(&mut again, 620).await.0, ids);
        for (cursor, seen) in cursors.iter().filter(|(_, seen)| *seen < 620) {
            let mut client = connect(&world, &format!("{path}?cursor={cursor}")).await;
            assert_eq!(collect(&mut client, 620 - seen).await.0, ids[*seen..], "behind {cursor}");
        }
        assert!(cursors.iter().any(|(cursor, _)| cursor.contains('-')), "no block held more than a frame: {cursors:?}");
        // Where nothing happens to the account, notices say how far it is.
        let height = next_of(&mut live, "height").await["height"].as_u64().unwrap();
        assert!(height > 1);
    });
}

/// Identifiers of so many transactions, and each frame's cursor with how many had come by then.
async fn collect(client: &mut Client, count: usize) -> (Vec<String>, Vec<(String, usize)>) {
    let (mut ids, mut cursors) = (Vec::new(), Vec::new());
    while ids.len() < count {
        let message = next_of(client, "transactions").await;
        let transactions = message["transactions"].as_array().unwrap();
        assert!(!transactions.is_empty() && transactions.len() <= 256);
        assert!(transactions.iter().all(|one| one["blockHeight"] == message["height"]));
        ids.extend(transactions.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        cursors.push((message["cursor"].as_str().unwrap().to_owned(), ids.len()));
    }
    (ids, cursors)
}

#[test]
fn a_slow_reader_is_told_its_gap_and_one_that_reads_nothing_is_let_go() {
    let feed = FeedConfig { lag_blocks_max: 20, stall: Duration::from_secs(600), ping: Duration::from_secs(60) };
    let world = World::start(Kind::Fast, feed.clone());
    // The reader alone, without any socket's buffers.
    world.runtime.block_on(async {
        let state = ApiState::start(world.chain.clone(), ApiConfig { feed, ..ApiConfig::default() });
        let mut reader = state.feeds().subscribe(What::Blocks, Begin::Now).unwrap();
        assert!(reader.next().await.text.contains("open"));
        let seen = reader.next().await.height;
        let target = seen + 40;
        while reader_tip(&world) < target {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The feed's own task may be a little behind the reader's head.
        let gap = loop {
            let frame = reader.next().await;
            let message: Value = serde_json::from_str(&frame.text).unwrap();
            if message["type"] == "gap" {
                break message;
            }
            assert!(frame.height < target, "no gap was told");
        };
        let (from, to) = (gap["from"].as_u64().unwrap(), gap["to"].as_u64().unwrap());
        assert!(from > seen && to >= from);
        assert_eq!(reader.next().await.height, to + 1);
        // One that begins in the past gets all of it, however far behind.
        let mut reader = state.feeds().subscribe(What::Blocks, Begin::At(1)).unwrap();
        assert!(reader.next().await.text.contains("open"));
        for height in 1..=target {
            assert_eq!(reader.next().await.height, height);
        }
    });
    // Over a socket that takes little: what was passed over is exactly what the notices name.
    let mut client = world.runtime.block_on(async { upgrade(&world, narrow(&world), "/feed/blocks").await });
    let begin = world.chain.head().unwrap().height;
    wait_height(&world.chain, begin + 1_000);
    world.runtime.block_on(async {
        let mut expected = next(&mut client).await["height"].as_u64().unwrap() + 1;
        let mut gaps = 0;
        while expected < begin + 1_000 {
            let message = next(&mut client).await;
            if message["type"] == "gap" {
                assert_eq!(message["from"], expected);
                expected = message["to"].as_u64().unwrap() + 1;
                gaps += 1;
            } else {
                assert_eq!(message["block"]["height"], expected);
                expected += 1;
            }
        }
        assert!(gaps > 0, "the socket took a thousand blocks; the test must make it narrower");
    });
    // One that never reads again is let go, and its connection is free again.
    drop(client);
    let world = World::start(Kind::Fast, FeedConfig { stall: Duration::from_millis(300), ..FeedConfig::default() });
    wait_height(&world.chain, 400);
    let stream = world.runtime.block_on(async { upgrade(&world, narrow(&world), "/feed/blocks?from=1").await });
    assert_eq!(world.connections(), 1);
    wait("the connection to be closed", || (world.connections() == 0).then_some(()));
    drop(stream);
}

fn reader_tip(world: &World) -> u64 {
    world.chain.head().unwrap().height
}

#[test]
fn a_client_that_pings_without_end_is_let_go_and_one_that_pings_now_and_then_is_not() {
    let world = World::start(Kind::Votes, FeedConfig { ping: Duration::from_secs(2), ..FeedConfig::default() });
    world.runtime.block_on(async {
        let mut client = connect(&world, "/feed/blocks").await;
        for _ in 0..40 {
            client.send(Message::Ping("x".into())).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        next_of(&mut client, "height").await;
        let mut sent = 0;
        loop {
            assert!(sent < 2_000, "nobody minds so many pings");
            sent += 1;
            // A ping that was on its way when the server closed may end the connection before its last word is read.
            if client.send(Message::Ping("x".into())).await.is_err() {
                break;
            }
            match timeout(Duration::from_millis(2), client.next()).await {
                Ok(Some(Ok(Message::Close(frame)))) => {
                    assert_eq!(u16::from(frame.unwrap().code), 1008);
                    break;
                }
                Ok(None | Some(Err(_))) => break,
                _ => {}
            }
        }
    });
}

/// A connection with small segments and little room, so that few messages fill it.
fn narrow(world: &World) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.connect(&address(world).into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    TcpStream::from_std(socket.into()).unwrap()
}

#[test]
fn a_thousand_subscribers_get_every_block() {
    let world = World::start(Kind::Votes, FeedConfig::default());
    world.runtime.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..SUBSCRIBERS {
            clients.push(connect(&world, "/feed/blocks").await);
        }
        let begin = world.chain.head().unwrap().height + 1;
        let mut readers = Vec::new();
        for mut client in clients {
            readers.push(tokio::spawn(async move {
                let mut height = next(&mut client).await["height"].as_u64().unwrap();
                while height < begin + 10 {
                    let message = next_of(&mut client, "block").await;
                    assert_eq!(message["block"]["height"], height + 1);
                    height += 1;
                }
            }));
        }
        for reader in readers {
            reader.await.unwrap();
        }
    });
}
