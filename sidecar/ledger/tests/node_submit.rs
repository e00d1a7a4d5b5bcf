//! Submitting over real HTTP: every form of body, every outcome, and what never reaches the node.

#![allow(clippy::unwrap_used)]

mod api_support;
mod chain_support;

use api_support::{Kind, World, bulk_name, serve};
use chain_support::{key_of, run_if_node, sovereign, wait_height};
use ed25519_dalek::SigningKey;
use reqwest::Method;
use serde_json::{Value, json};
use tana_ledger::api::{ApiConfig, FeedConfig};
use tana_types::bulk::bulk_key;
use tana_types::key::print_signature;
use tana_types::payload::Payload;
use tana_types::transaction::{Chain as SigningChain, Transaction, sign};

/// The node that the other tests start is this test in another process.
#[test]
fn node_process() {
    run_if_node();
}

fn expect(what: &str, answer: &(u16, Value), status: u16, word: &str, code: Option<&str>) {
    let (got, body) = answer;
    assert_eq!((*got, body["status"].as_str(), body["code"].as_str()), (status, Some(word), code), "{what}: {body}");
    // What is refused is refused in the one form of all refusals.
    assert_eq!(body["error"].is_string(), status >= 400, "{what}: {body}");
}

fn code(what: &str, answer: &(u16, Value), status: u16, code: &str) {
    assert_eq!((answer.0, answer.1["code"].as_str()), (status, Some(code)), "{what}: {}", answer.1);
    assert!(answer.1["error"].is_string(), "{what}: {}", answer.1);
}

/// The JSON fields of a signed transaction whose payload has these others.
fn fields(signed: &[u8], others: Value) -> Value {
    let transaction = Transaction::exactly(signed).unwrap();
    let header = transaction.header();
    let mut fields = json!({
        "type": transaction.kind().unwrap().name(), "from": transaction.sender().to_string(), "nonce": header.nonce.get(),
        "timestamp": header.timestamp_ms.get(), "signature": print_signature(transaction.signature()),
    });
    fields.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    fields
}

#[test]
fn submissions_end_as_they_should() {
    let world = World::start(Kind::Votes, FeedConfig::default());
    every_form(&world);
    outcomes(&world);
    never_sent(&world);
    accounts(&world);
    several(&world);
    waits(&world);
    node_gone(world);
}

fn every_form(world: &World) {
    let binary = world.transfer(1, 1, 2, 5);
    let applied = world.post_bytes("/transactions", &binary);
    expect("bytes", &applied, 201, "applied", Some("applied"));
    let (id, height) = (applied.1["id"].as_str().unwrap(), applied.1["blockHeight"].as_u64().unwrap());
    assert_eq!(id, hex::encode(tana_hash::hash(&binary)));
    // What the answer names is what the ledger finds.
    wait_height(&world.chain, height);
    let found = world.ok(&format!("/transactions/{id}"));
    assert_eq!((&found["blockHeight"], &found["index"]), (&applied.1["blockHeight"], &applied.1["index"]));

    let hexadecimal = world.post("/transactions", &json!({"transaction": hex::encode(world.transfer(1, 2, 2, 5))}));
    expect("hexadecimal", &hexadecimal, 201, "applied", Some("applied"));
    let signed = world.transfer(1, 3, 2, 1_250);
    let others = json!({"to": bulk_name(2), "amount": "12.5", "currencyCode": "USD"});
    expect("fields", &world.post("/transactions", &fields(&signed, others)), 201, "applied", Some("applied"));
    let empty = world.call(Method::POST, "/transactions", "application/octet-stream", Vec::new());
    code("no content type", &empty, 415, "unsupported_media_type");
}

fn outcomes(world: &World) {
    let again = world.transfer(3, 1, 4, 1);
    expect("first", &world.post_bytes("/transactions", &again), 201, "applied", Some("applied"));
    let copy = world.post_bytes("/transactions", &again);
    assert!(copy.0 == 409 && ["resent", "nonce_used"].contains(&copy.1["code"].as_str().unwrap()), "{copy:?}");
    let stale = world.transfer(3, 1, 5, 1);
    expect("stale nonce", &world.post_bytes("/transactions", &stale), 409, "rejected", Some("nonce_used"));
    let poor = world.transfer(3, 2, 4, 1_000_000_000);
    let failed = world.post_bytes("/transactions", &poor);
    expect("poor", &failed, 422, "failed", Some("insufficient_funds"));
    assert!(failed.1["blockHeight"].as_u64().is_some());
    let stranger = SigningKey::from_bytes(&[77; 32]);
    let unknown = world.sign(&stranger, 1, &Payload::Deposit { currency: "USD".parse().unwrap(), amount: 1 });
    expect("unknown sender", &world.post_bytes("/transactions", &unknown), 404, "rejected", Some("sender_unknown"));
    let usd = "USD".parse().unwrap();
    let old =
        sign(&world.genesis.to_chain(), &bulk_key("test", 6), 1, 1_000, &Payload::Deposit { currency: usd, amount: 1 })
            .unwrap();
    expect("old", &world.post_bytes("/transactions", &old), 400, "rejected", Some("clock_window"));
    let far = world.transfer(6, 1_000_000, 4, 1);
    expect("far nonce", &world.post_bytes("/transactions", &far), 409, "rejected", Some("nonce_too_far"));
}

fn never_sent(world: &World) {
    let mut forged = world.transfer(7, 1, 8, 5);
    forged[110] ^= 1;
    expect("forged", &world.post_bytes("/transactions", &forged), 401, "rejected", Some("bad_signature"));
    let signed = world.transfer(7, 1, 8, 500);
    let more = json!({"to": bulk_name(8), "amount": "500", "currencyCode": "USD"});
    expect(
        "another amount",
        &world.post("/transactions", &fields(&signed, more)),
        401,
        "rejected",
        Some("bad_signature"),
    );
    let payload = Payload::Transfer { recipient: key_of(&sovereign()), currency: "USD".parse().unwrap(), amount: 1 };
    let elsewhere = sign(&SigningChain::new([9; 32]), &bulk_key("test", 7), 1, 1, &payload).unwrap();
    expect("other chain", &world.post_bytes("/transactions", &elsewhere), 400, "rejected", Some("wrong_chain"));
    for (what, body) in [("cut", &signed[..179]), ("more", &[&signed[..], &[1]].concat()), ("zeros", &[0; 400])] {
        code(what, &world.post_bytes("/transactions", body), 400, "malformed");
    }
    for body in [
        json!({}),
        json!([]),
        json!({"transaction": 5}),
        json!({"transaction": "00", "also": 1}),
        json!({"type": "transfer"}),
        fields(&signed, json!({"to": bulk_name(8), "amount": "5", "currencyCode": "USD", "reason": "unsigned"})),
        fields(&signed, json!({"to": bulk_name(8), "amount": "5.001", "currencyCode": "USD"})),
        fields(&signed, json!({"to": bulk_name(8), "amount": "-5", "currencyCode": "USD"})),
        fields(&signed, json!({"to": bulk_name(8), "amount": "5", "currencyCode": "XYZ"})),
        fields(&signed, json!({"to": "@alice", "amount": "5", "currencyCode": "USD"})),
        fields(&signed, json!({"amount": "5", "currencyCode": "USD"})),
    ] {
        code(&body.to_string(), &world.post("/transactions", &body), 400, "bad_field");
    }
    for body in [
        json!({"transaction": ""}),
        json!({"transaction": "zz"}),
        json!({"transactions": []}),
        json!({"transactions": ["00"]}),
    ] {
        code(&body.to_string(), &world.post("/transactions", &body), 400, "malformed");
    }
    let broken = world.call(Method::POST, "/transactions", "application/json", b"{".to_vec());
    code("no JSON", &broken, 400, "bad_json");
    let text = world.call(Method::POST, "/transactions", "text/plain", signed.clone());
    code("text", &text, 415, "unsupported_media_type");
    code("large", &world.post_bytes("/transactions", &vec![1; (1 << 20) + 1]), 413, "too_large");
    let many: Vec<u8> = (0..1_001).flat_map(|_| signed.clone()).collect();
    code("too many", &world.post_bytes("/transactions", &many), 400, "malformed");
    for query in ["wait=never", "timeout=25001", "timeout=x", "until=now"] {
        code(query, &world.post_bytes(&format!("/transactions?{query}"), &signed), 400, "bad_parameter");
    }
    // Nothing of all that was executed: the nonce is still free.
    expect("at last", &world.post_bytes("/transactions", &signed), 201, "applied", Some("applied"));
}

fn accounts(world: &World) {
    let alice = SigningKey::from_bytes(&[101; 32]);
    let creation = |username| Payload::UserCreation { username, display_name: "Alice", biography: "" };
    let signed = world.sign(&alice, 0, &creation("@alice"));
    let body = |signed: &[u8], username: &str| {
        let all = fields(signed, json!({}));
        json!({"publicKey": all["from"], "username": username, "displayName": "Alice", "bio": null, "role": "user",
            "signature": all["signature"], "timestamp": all["timestamp"], "nonce": 0})
    };
    let created = world.post("/users", &body(&signed, "@alice"));
    expect("created", &created, 201, "applied", Some("applied"));
    assert_eq!(created.1["userId"], key_of(&alice).to_string());
    assert_eq!(created.1["transactionId"], hex::encode(tana_hash::hash(&signed)));
    wait_height(&world.chain, created.1["blockHeight"].as_u64().unwrap());
    assert_eq!(world.ok("/users/@alice")["displayName"], "Alice");
    let again = world.sign(&alice, 0, &creation("@alice2"));
    expect("twice", &world.post_bytes("/users", &again), 409, "rejected", Some("account_exists"));
    let bob = SigningKey::from_bytes(&[102; 32]);
    let taken = world.sign(&bob, 0, &creation("@alice"));
    expect("taken", &world.post_bytes("/users", &taken), 422, "failed", Some("username_taken"));
    // Signed for one name, sent with another.
    let signed = world.sign(&bob, 0, &creation("@bob"));
    expect("forged", &world.post("/users", &body(&signed, "@robert")), 401, "rejected", Some("bad_signature"));
    let mut sovereign_role = body(&signed, "@bob");
    sovereign_role["role"] = "sovereign".into();
    code("role", &world.post("/users", &sovereign_role), 400, "bad_field");
    code("no key", &world.post("/users", &json!({"username": "@bob"})), 400, "bad_field");
    code("transfer", &world.post_bytes("/users", &world.transfer(9, 1, 8, 1)), 400, "wrong_type");
    code("large", &world.post_bytes("/users", &vec![1; (1 << 20) + 1]), 413, "too_large");
}

fn several(world: &World) {
    let mut forged = world.transfer(11, 3, 12, 1);
    forged[110] ^= 1;
    let all = [
        world.transfer(11, 1, 12, 1),
        world.transfer(11, 2, 12, u128::from(u64::MAX)),
        forged,
        world.transfer(11, 3, 12, 1),
    ];
    let (status, body) = world.post_bytes("/transactions", &all.concat());
    assert_eq!(status, 200, "{body}");
    let words: Vec<_> = body["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["status"].as_str().unwrap(), one["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        words,
        [
            ("applied", "applied"),
            ("failed", "insufficient_funds"),
            ("rejected", "bad_signature"),
            ("applied", "applied")
        ]
    );
    // More than one frame's worth, from several clients at once.
    let lists: Vec<Vec<u8>> =
        (20..24).map(|from| (1..=500).flat_map(|nonce| world.transfer(from, nonce, 30, 1)).collect()).collect();
    let url = format!("{}/transactions?timeout=25000", world.base);
    world.runtime.block_on(async {
        let mut calls = Vec::new();
        for list in lists {
            let request =
                reqwest::Client::new().post(&url).header("content-type", "application/octet-stream").body(list);
            calls.push(tokio::spawn(request.send()));
        }
        for call in calls {
            let response = call.await.unwrap().unwrap();
            assert_eq!(response.status(), 200);
            let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
            let answers = body["transactions"].as_array().unwrap();
            assert!(answers.len() == 500 && answers.iter().all(|one| one["status"] == "applied"), "{body}");
        }
    });
}

fn waits(world: &World) {
    let accepted = world.post_bytes("/transactions?wait=accepted", &world.transfer(13, 1, 12, 1));
    assert_eq!(accepted.0, 201, "{accepted:?}");
    let last = world.post_bytes("/transactions?wait=final", &world.transfer(13, 2, 12, 1));
    assert!(last.0 == 201 && last.1["blockHeight"].is_u64(), "{last:?}");
    let open = world.post_bytes("/transactions?timeout=0", &world.transfer(13, 3, 12, 1));
    assert!([201, 202].contains(&open.0) || open.1["code"] == "node_unreachable", "{open:?}");
}

fn node_gone(mut world: World) {
    world.node.take().unwrap().kill();
    // The one on its way when the connection breaks may not be known; the next one is refused at once.
    let first = world.post_bytes("/transactions?timeout=15000", &world.transfer(14, 1, 12, 1));
    assert!([202, 503].contains(&first.0), "{first:?}");
    let second = world.post_bytes("/transactions?timeout=15000", &world.transfer(14, 2, 12, 1));
    assert!([202, 503].contains(&second.0), "{second:?}");
    // What was read stays readable.
    assert!(world.ok("/blocks/latest")["height"].as_u64().unwrap() > 0);
    // Without any node to hand to, it says so.
    let chain = world.chain.clone();
    let (_server, base) = world.runtime.block_on(serve(chain, ApiConfig::default()));
    world.base = base;
    code("no node", &world.post_bytes("/transactions", &world.transfer(15, 1, 12, 1)), 503, "no_node");
}
