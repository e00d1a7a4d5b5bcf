//! The stream as a client sees it, over real sockets: validators that come, go, lead and lie; clients that are slow or loud.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Client, FakeNodes, FakeValidator, PATIENCE, has_event, healthy, key, serve, validator};
use serde_json::json;
use tana_visualizer::{Options, Origins};
use tokio_tungstenite::tungstenite::Message;

/// Validators 1 to `count` in a registry.
fn network(count: u64) -> (Arc<FakeNodes>, Vec<FakeValidator>) {
    let nodes = FakeNodes::new();
    let validators: Vec<FakeValidator> = (1..=count).map(|number| FakeValidator::start(number, count)).collect();
    for validator in &validators {
        nodes.put(validator.number, validator.address, "active");
    }
    (nodes, validators)
}

#[tokio::test(flavor = "multi_thread")]
async fn five_appear_one_dies_and_comes_back() {
    let (nodes, mut validators) = network(5);
    let served = serve(nodes, Options::default()).await;
    let mut client = Client::connect(served.ws).await;
    client.until("five healthy", |state| healthy(state) == 5 && state["edges"].as_array().unwrap().len() == 10).await;
    assert_eq!(client.model.state["mesh"]["nodeCount"]["active"], 5);
    assert_eq!(client.model.state["chain"]["height"], 10);
    assert_eq!(client.model.state["chain"]["leader"], "val_1");
    assert!(has_event(&client.model.state, "online", "val_5"));

    let address = validators[2].address;
    validators[2].kill();
    let killed = Instant::now();
    for validator in [0, 1, 3, 4].map(|index| &validators[index]) {
        validator.events(json!([{ "kind": "peer", "validator": key(3), "connected": false }]));
    }
    client.until("one offline", |state| validator(state, "val_3")["online"] == false).await;
    println!("offline {:?} after it was killed", killed.elapsed());
    client.until("its links gone", |state| state["edges"].as_array().unwrap().len() == 6).await;
    assert!(has_event(&client.model.state, "offline", "val_3"));
    assert_eq!(healthy(&client.model.state), 4);

    validators[2] = FakeValidator::start_with(3, 5, true, address);
    for validator in [0, 1, 3, 4].map(|index| &validators[index]) {
        validator.events(json!([{ "kind": "peer", "validator": key(3), "connected": true }]));
    }
    client.until("all back", |state| healthy(state) == 5 && state["edges"].as_array().unwrap().len() == 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_votes_blocks_and_evidence_are_told_as_they_happen() {
    let (nodes, validators) = network(5);
    let served = serve(nodes, Options::default()).await;
    let mut client = Client::connect(served.ws).await;
    client.until("five healthy", |state| healthy(state) == 5).await;
    for step in 1..=10u64 {
        let leader = 1 + step % 5;
        let sent = Instant::now();
        for validator in &validators {
            validator.events(json!([
                { "kind": "view", "epoch": 1, "view": 20 + step, "leader": key(leader) },
                { "kind": "proposal", "epoch": 1, "view": 20 + step, "height": 11 + step, "proposer": key(leader) },
                { "kind": "vote", "epoch": 1, "view": 20 + step, "validator": key(validator.number), "vote": "notarize", "hash": "00" },
                { "kind": "finalized", "height": 11 + step, "hash": "00", "proposer": key(leader), "transactions": 5 },
                { "kind": "committed", "height": 10 + step, "hash": "00", "applied": 5, "failed": 0, "skipped": 0 },
            ]));
        }
        client.until("the next leader", |state| state["chain"]["leader"] == format!("val_{leader}")).await;
        println!("leader shown after {:?}", sent.elapsed());
        let leaders = client.model.state["validators"].as_array().unwrap().iter().filter(|one| one["isLeader"] == true);
        assert_eq!(leaders.map(|one| one["id"].clone()).collect::<Vec<_>>(), [format!("val_{leader}")]);
        client.until("the next height", |state| state["chain"]["height"] == 10 + step).await;
    }
    validators[1].events(json!([{ "kind": "evidence", "validator": key(4) }]));
    client.until("evidence", |state| has_event(state, "evidence", "val_4")).await;
    client
        .until("blocks", |state| state["events"].as_array().unwrap().iter().any(|event| event["event"] == "block"))
        .await;
    let count = |kind: &str| client.model.moments.iter().filter(|(of, _, _)| of == kind).count();
    assert_eq!((count("proposal"), count("vote")), (40, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn validators_are_added_and_removed_while_it_runs_and_one_works_like_five() {
    let nodes = FakeNodes::new();
    let served = serve(nodes.clone(), Options::default()).await;
    let mut client = Client::connect(served.ws).await;
    client.until("nobody", |state| state["validators"] == json!([])).await;

    let first = FakeValidator::start(1, 1);
    nodes.put(1, first.address, "pending");
    client.until("one that waits", |state| state["mesh"]["nodeCount"]["pending"] == 1).await;
    assert_eq!(client.model.state["validators"], json!([]));
    nodes.put(1, first.address, "active");
    client.until("one", |state| healthy(state) == 1).await;
    assert_eq!(validator(&client.model.state, "val_1")["isLeader"], true);
    assert!(has_event(&client.model.state, "approval", "val_1"));

    let second = FakeValidator::start(2, 2);
    nodes.put(2, second.address, "active");
    first.set("peers", json!([{ "key": key(2), "connected": true }]));
    first.events(json!([{ "kind": "peer", "validator": key(2), "connected": true }]));
    client.until("two, linked", |state| healthy(state) == 2 && state["edges"].as_array().unwrap().len() == 1).await;

    let moved = FakeValidator::start(2, 2);
    moved.set("height", json!(77));
    nodes.put(2, moved.address, "active");
    client.until("at its new address", |state| validator(state, "val_2")["currentHeight"] == 77).await;

    nodes.remove(2);
    client.until("one again", |state| state["validators"].as_array().unwrap().len() == 1).await;
    assert!(has_event(&client.model.state, "offline", "val_2"));
    assert_eq!(client.model.state["edges"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_without_telemetry_is_polled() {
    let nodes = FakeNodes::new();
    let mut old = FakeValidator::start_with(1, 2, false, "127.0.0.1:0".parse().unwrap());
    let other = FakeValidator::start(2, 2);
    nodes.put(1, old.address, "active");
    nodes.put(2, other.address, "active");
    let served = serve(nodes, Options::default()).await;
    let mut client = Client::connect(served.ws).await;
    client.until("two, linked", |state| healthy(state) == 2 && state["edges"].as_array().unwrap().len() == 1).await;
    old.set("height", json!(42));
    client.until("its height", |state| validator(state, "val_1")["currentHeight"] == 42).await;
    old.kill();
    client.until("offline", |state| validator(state, "val_1")["online"] == false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_that_makes_no_sense_does_no_harm() {
    let (nodes, validators) = network(2);
    let served = serve(nodes, Options::default()).await;
    let mut client = Client::connect(served.ws).await;
    client.until("two healthy", |state| healthy(state) == 2).await;
    let liar = &validators[0];
    for data in ["", "{", "[]", "[1,{}]", "null", "{\"height\":-5}", "{\"stages\":[{\"busy\":\"x\"}]}", "\u{1f4a9}"] {
        for name in ["events", "sample", "snapshot", "lost", "nothing"] {
            liar.event(name, data);
        }
    }
    liar.raw(vec![0xff; 1_000]);
    liar.raw("\n\n");
    liar.set("height", json!(55));
    liar.sample();
    client.until("a good sample behind it", |state| validator(state, "val_1")["currentHeight"] == 55).await;

    // A line without end is cut, and the stream asked for again.
    let opened = liar.streams_opened();
    liar.set("height", json!(66));
    for _ in 0..20 {
        liar.raw(vec![b'x'; 32 * 1_024]);
    }
    client.until("what a new stream says", |state| validator(state, "val_1")["currentHeight"] == 66).await;
    assert!(liar.streams_opened() > opened);
    assert_eq!(validator(&client.model.state, "val_2")["healthy"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_gets_a_snapshot_instead_of_what_it_missed() {
    let (nodes, validators) = network(2);
    let served = serve(nodes, Options { deltas_max: 4, ..Options::default() }).await;
    let mut slow = Client::connect(served.ws).await;
    slow.next().await;
    assert_eq!(slow.model.snapshots, 1);
    let mut quick = Client::connect(served.ws).await;
    quick.until("two healthy", |state| healthy(state) == 2).await;

    // Samples that differ, each a few kilobytes, until the test ends.
    let ended = Arc::new(AtomicBool::new(false));
    let pushing = {
        let ended = ended.clone();
        std::thread::spawn(move || {
            for number in 0u64.. {
                let stages: Vec<_> =
                    (0..32).map(|stage| json!({ "name": format!("{stage:0>150}"), "per_s": number })).collect();
                validators[0].set("stages", json!(stages));
                validators[0].set("height", json!(100 + number));
                validators[0].sample();
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        })
    };
    let from = quick.model.deltas;
    while quick.model.deltas < from + 60 {
        quick.next().await;
    }
    // `take` refuses a gap, so whatever was left out was made up for by a snapshot.
    let before = slow.model.sequence();
    while slow.model.snapshots < 2 {
        slow.next().await;
    }
    assert!(slow.model.sequence() > before + slow.model.deltas + 1, "the snapshot stands for deltas that did not come");
    let deltas = slow.model.deltas;
    while slow.model.deltas < deltas + 3 {
        slow.next().await;
    }
    ended.store(true, Ordering::SeqCst);
    tokio::task::spawn_blocking(move || pushing.join().unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn validators_stream_only_while_somebody_looks() {
    let (nodes, validators) = network(2);
    let served = serve(nodes, Options::default()).await;
    let deadline = Instant::now() + PATIENCE;
    while validators.iter().any(|validator| validator.health_asked() < 2) {
        assert!(Instant::now() < deadline, "they are asked for their health");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(validators.iter().all(|validator| validator.streams_opened() == 0));
    // The first snapshot of all says already how they are.
    let mut client = Client::connect(served.ws).await;
    client.next().await;
    assert_eq!(healthy(&client.model.state), 2);
    validators[0].set("height", json!(90));
    client.until("streamed", |state| validator(state, "val_1")["currentHeight"] == 90).await;
    assert!(validators[0].streams_opened() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_clients_get_the_same_deltas() {
    const CLIENTS: usize = 200;
    let (nodes, validators) = network(2);
    let served = serve(nodes, Options::default()).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::connect(served.ws).await;
        client.next().await;
        clients.push(client);
    }
    assert_eq!(served.visualizer.clients(), CLIENTS);
    for client in &mut clients {
        client.until("two healthy", |state| healthy(state) == 2).await;
    }
    validators[0].events(json!([{ "kind": "committed", "height": 1_234 }]));
    for client in &mut clients {
        client.until("the height", |state| validator(state, "val_1")["currentHeight"] == 1_234).await;
        assert_eq!(client.model.snapshots, 1, "all deltas came");
    }
    drop(clients);
    let deadline = Instant::now() + PATIENCE;
    while served.visualizer.clients() > 0 {
        assert!(Instant::now() < deadline, "clients that are gone are noticed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_connect_and_how_much_a_client_may_say() {
    let options = Options {
        origins: Origins::Listed(vec!["http://localhost:8190".to_owned()]),
        clients_max: 2,
        ..Options::default()
    };
    let served = serve(FakeNodes::new(), options).await;
    let status = |origin: Option<&'static str>| {
        let url = format!("ws://{}/", served.ws);
        async move {
            use tokio_tungstenite::tungstenite::{Error, client::IntoClientRequest};
            let mut request = url.into_client_request().unwrap();
            if let Some(origin) = origin {
                request.headers_mut().insert("origin", origin.parse().unwrap());
            }
            match tokio_tungstenite::connect_async(request).await {
                Ok((_, response)) => response.status().as_u16(),
                Err(Error::Http(response)) => response.status().as_u16(),
                Err(error) => panic!("{error}"),
            }
        }
    };
    assert_eq!(status(None).await, 101);
    assert_eq!(status(Some("http://localhost:8190")).await, 101);
    assert_eq!(status(Some("http://evil.example")).await, 403);

    let plain = reqwest::get(format!("http://{}/ws", served.ws)).await.unwrap();
    assert_eq!(plain.status(), 426);
    assert_eq!(plain.json::<serde_json::Value>().await.unwrap()["code"], "upgrade_required");

    let deadline = Instant::now() + PATIENCE;
    while served.visualizer.clients() > 0 {
        assert!(Instant::now() < deadline, "clients that are gone are noticed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut loud = Client::connect(served.ws).await;
    loud.next().await;
    for _ in 0..1_000 {
        if !loud.send(Message::text("hello")).await {
            break;
        }
    }
    loud.until_closed().await;
    let mut long = Client::connect(served.ws).await;
    long.next().await;
    long.send(Message::text("x".repeat(10_000))).await;
    long.until_closed().await;

    let mut one = Client::connect(served.ws).await;
    let mut two = Client::connect(served.ws).await;
    one.next().await;
    two.next().await;
    assert_eq!(status(None).await, 503);
}
