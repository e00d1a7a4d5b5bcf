//! Every route that reads, over real HTTP: the right call, what is not there, what is no parameter, what is too large.

#![allow(clippy::unwrap_used)]

mod api_support;
mod chain_support;

use api_support::{Kind, World, bulk_name};
use chain_support::{ACCOUNTS, run_if_node, sovereign, validator, wait};
use ed25519_dalek::SigningKey;
use reqwest::Method;
use serde_json::{Value, json};
use tana_ledger::api::FeedConfig;
use tana_ledger::chain::proof::AccountProof;
use tana_types::bulk::bulk_key;
use tana_types::payload::Payload;

/// The node that the other tests start is this test in another process.
#[test]
fn node_process() {
    run_if_node();
}

const NOWHERE: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

/// Walks all pages of a list and gives its entries.
fn all_pages(world: &World, path: &str, list: &str) -> Vec<Value> {
    let (mut entries, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.ok(&format!("{path}{cursor}"));
        entries.extend(page[list].as_array().unwrap().iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return entries,
        }
        assert!(entries.len() < 10_000, "{path} has no end");
    }
}

#[test]
fn every_read_answers_and_refuses() {
    let world = World::start(Kind::Votes, FeedConfig::default());
    let alice = SigningKey::from_bytes(&[101; 32]);
    let alice_key = chain_support::key_of(&alice).to_string();
    let creation = Payload::UserCreation { username: "@alice", display_name: "Alice", biography: "writes tests" };
    world.apply(&[world.sign(&alice, 0, &creation)]);
    let transfers: Vec<Vec<u8>> = (0..25).map(|nonce| world.transfer(1, nonce + 1, 2, 1)).collect();
    world.apply(&transfers);
    let usd = "USD".parse().unwrap();
    let waiting = [
        world.sign(&bulk_key("test", 5), 1, &Payload::Deposit { currency: usd, amount: 100 }),
        world.sign(&bulk_key("test", 5), 2, &Payload::Withdraw { currency: usd, amount: 200 }),
        world.sign(&bulk_key("test", 5), 3, &Payload::Deposit { currency: usd, amount: 300 }),
    ];
    let height = world.apply(&waiting);

    about_the_service(&world);
    blocks(&world, height);
    transactions(&world, &transfers);
    pending(&world);
    users(&world, &alice_key);
    balances(&world);
    agreement(&world, height);
    proofs(&world, &alice_key);
    document_and_page(&world);
}

fn about_the_service(world: &World) {
    let about = world.ok("/");
    assert_eq!((about["service"].as_str(), about["status"].as_str()), (Some("tana-ledger"), Some("healthy")));
    assert_eq!(about["genesisHash"], hex::encode(world.genesis.hash()));
    assert_eq!(world.ok("/health"), json!({"status": "ok"}));
    assert_eq!(world.ok("/ready")["status"], "ready");
    world.refused("/nowhere", 404, "not_found");
    let (status, body) = world.call(Method::PUT, "/blocks", "application/json", b"{}".to_vec());
    assert_eq!((status, body["code"].as_str()), (405, Some("method_not_allowed")));
}

fn blocks(world: &World, height: u64) {
    let page = world.ok("/blocks?limit=3");
    let blocks = page["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 3);
    let heights: Vec<u64> = blocks.iter().map(|block| block["height"].as_u64().unwrap()).collect();
    assert!(heights[0] >= height && heights[1] == heights[0] - 1 && heights[2] == heights[0] - 2, "{heights:?}");
    assert_eq!(blocks[0]["previousHash"], blocks[1]["hash"]);
    let next = world.ok(&format!("/blocks?limit=3&cursor={}", page["nextCursor"].as_str().unwrap()));
    assert_eq!(next["blocks"][0]["height"], heights[2] - 1);
    // The last page ends at block 1, and says so.
    let first = world.ok("/blocks?limit=100&cursor=2");
    assert_eq!((first["blocks"].as_array().unwrap().len(), &first["nextCursor"]), (1, &Value::Null));

    let latest = world.ok("/blocks/latest");
    assert!(latest["height"].as_u64().unwrap() >= height && latest["transactions"].is_array());
    let block = world.ok(&format!("/blocks/{height}"));
    assert_eq!(block["height"], height);
    assert_eq!(block["transactions"].as_array().unwrap().len() as u64, block["txCount"].as_u64().unwrap());
    let hash = block["hash"].as_str().unwrap();
    assert_eq!(world.ok(&format!("/blocks/hash/{hash}?transactions=100")), block);
    assert_eq!(world.ok(&format!("/consensus/block/{hash}")), block);
    // A page shorter than the block tells where it goes on.
    let transactions = world.ok(&format!("/blocks/{height}/transactions"));
    assert_eq!(transactions["transactions"], block["transactions"]);
    if block["txCount"].as_u64().unwrap() > 1 {
        let short = world.ok(&format!("/blocks/{height}?transactions=1"));
        let cursor = short["transactionsCursor"].as_str().unwrap();
        let rest = world.ok(&format!("/blocks/{height}/transactions?cursor={cursor}"));
        assert_eq!(rest["transactions"][0], block["transactions"][1]);
    }
    for path in ["/blocks/0", "/blocks/9007199254740991", "/blocks/9007199254740991/transactions"] {
        world.refused(path, 404, "not_found");
    }
    world.refused(&format!("/blocks/hash/{NOWHERE}"), 404, "not_found");
    for path in [
        "/blocks?limit=0",
        "/blocks?limit=101",
        "/blocks?limit=-1",
        "/blocks?limit=",
        "/blocks?limit=1&limit=2",
        "/blocks?offset=3",
        "/blocks?cursor=x",
        "/blocks/x",
        "/blocks/-1",
        "/blocks/+1",
        "/blocks/18446744073709551616",
        "/blocks/1?transactions=1001",
        "/blocks/%ff",
        "/blocks/hash/12",
        "/blocks/1/transactions?limit=1001",
        "/blocks/1/transactions?cursor=99999999999",
    ] {
        world.refused(path, 400, "bad_parameter");
    }
}

fn transactions(world: &World, transfers: &[Vec<u8>]) {
    let id = hex::encode(tana_hash::hash(&transfers[3]));
    let found = world.ok(&format!("/transactions/{id}"));
    assert_eq!(
        (found["id"].as_str(), found["type"].as_str(), found["nonce"].as_u64()),
        (Some(&*id), Some("transfer"), Some(4))
    );
    assert_eq!((found["from"].as_str(), found["to"].as_str()), (Some(&*bulk_name(1)), Some(&*bulk_name(2))));
    assert_eq!((found["amount"].as_str(), found["currencyCode"].as_str()), (Some("0.01"), Some("USD")));
    assert_eq!((found["status"].as_str(), found["code"].as_str()), (Some("confirmed"), Some("applied")));

    // Pages of an account hold each of its transactions once, newest first, whatever their size.
    let sent = all_pages(world, &format!("/transactions/account/{}?limit=7", bulk_name(1)), "transactions");
    let nonces: Vec<u64> = sent.iter().map(|one| one["nonce"].as_u64().unwrap()).collect();
    assert_eq!(nonces, (1..=25).rev().collect::<Vec<_>>());
    let received = all_pages(world, &format!("/users/{}/transactions?limit=1000", bulk_name(2)), "transactions");
    assert_eq!(received.len(), 25);
    assert_eq!(
        world.ok(&format!("/users/{}/transactions", bulk_name(2)))["transactions"].as_array().unwrap().len(),
        10
    );
    assert_eq!(world.ok(&format!("/transactions/account/{}", bulk_name(50)))["transactions"], json!([]));
    assert!(all_pages(world, "/transactions?limit=9", "transactions").len() >= 29);

    world.refused(&format!("/transactions/{NOWHERE}"), 404, "not_found");
    world.refused(&format!("/transactions/account/{NOWHERE}"), 404, "not_found");
    world.refused(&format!("/users/{NOWHERE}/transactions"), 404, "not_found");
    for path in ["/transactions/1", "/transactions?limit=1001", "/transactions?limit=1.5"] {
        world.refused(path, 400, "bad_parameter");
    }
    for path in ["/transactions?cursor=5", "/transactions?cursor=a-b", "/transactions/account/@@"] {
        world.refused(path, 400, "invalid");
    }
}

fn pending(world: &World) {
    let of = |path: &str| world.ok(path)["transactions"].as_array().unwrap().clone();
    assert_eq!(
        (of("/pending").len(), of("/transactions/pending").len(), of("/transactions/pending/sovereign").len()),
        (3, 3, 3)
    );
    let deposits = of("/transactions/pending/deposits");
    assert!(deposits.len() == 2 && deposits.iter().all(|one| one["type"] == "deposit" && one["status"] == "pending"));
    let withdraws = of("/transactions/pending/withdraws");
    assert_eq!(
        (withdraws.len(), withdraws[0]["amount"].as_str(), withdraws[0]["from"].as_str()),
        (1, Some("2.00"), Some(&*bulk_name(5)))
    );
    assert_eq!(all_pages(world, "/pending?limit=1", "transactions"), of("/pending"));
    assert_eq!(all_pages(world, "/transactions/pending/deposits?limit=1", "transactions"), deposits);
    for path in ["/pending?limit=0", "/pending?cursor=1", "/transactions/pending/deposits?offset=1"] {
        world.refused(path, 400, "bad_parameter");
    }
}

fn users(world: &World, alice: &str) {
    let user = world.ok("/users/username/alice");
    assert_eq!(
        (user["id"].as_str(), user["publicKey"].as_str(), user["username"].as_str()),
        (Some(alice), Some(alice), Some("@alice"))
    );
    assert_eq!(
        (user["displayName"].as_str(), user["bio"].as_str(), user["role"].as_str()),
        (Some("Alice"), Some("writes tests"), Some("user"))
    );
    let height_aside = |mut user: Value| {
        user["height"] = Value::Null;
        user
    };
    let user = height_aside(user);
    for path in [
        format!("/users/{alice}"),
        "/users/@alice".to_owned(),
        format!("/users/publicKey/{alice}"),
        "/users/username/@alice".to_owned(),
    ] {
        assert_eq!(height_aside(world.ok(&path)), user, "{path}");
    }
    let listed = all_pages(world, "/users?limit=30", "users");
    assert_eq!(listed.len() as u32, ACCOUNTS + 2);
    assert_eq!(listed[0]["role"], "sovereign");
    let nonce = world.ok(&format!("/users/{}/nonce", bulk_name(1)));
    assert_eq!((nonce["currentNonce"].as_u64(), nonce["nextNonce"].as_u64()), (Some(25), Some(26)));
    for path in ["/users/@nobody", "/users/username/nobody", "/users/@nobody/nonce", "/users/@nobody/balances"] {
        world.refused(path, 404, "not_found");
    }
    world.refused(&format!("/users/publicKey/{NOWHERE}"), 404, "not_found");
    for path in ["/users?limit=1001", "/users?cursor=-1", "/users?cursor=4294967296", "/users/publicKey/xyz"] {
        world.refused(path, 400, "bad_parameter");
    }
    world.refused("/users/@a%20b", 400, "invalid");
}

fn balances(world: &World) {
    let held = world.ok(&format!("/users/{}/balances", bulk_name(1)));
    assert_eq!(held["balances"], json!([{"userId": bulk_name(1), "currencyCode": "USD", "amount": "99.75"}]));
    let one = world.ok(&format!("/balances?ownerId={}&ownerType=user&currencyCode=USD", bulk_name(2)));
    assert_eq!((one["amount"].as_str(), one["balance"].as_str()), (Some("100.25"), Some("100.25")));
    let absent = world.ok("/balances?ownerId=@alice&currencyCode=USD");
    assert_eq!((absent["balance"].as_str(), absent["currencyCode"].as_str()), (Some("0.00"), Some("USD")));
    let currencies = world.ok("/balances/currencies");
    assert_eq!(
        (&currencies["currencies"][0]["code"], &currencies["currencies"][0]["decimals"]),
        (&json!("USD"), &json!(2))
    );
    world.refused("/balances?ownerId=@nobody&currencyCode=USD", 404, "not_found");
    world.refused("/balances?ownerId=@alice&currencyCode=XYZ", 404, "not_found");
    for path in [
        "/balances",
        "/balances?ownerId=@alice",
        "/balances?currencyCode=USD",
        "/balances?ownerId=@alice&currencyCode=usd",
        "/balances?ownerId=@alice&currencyCode=USD&ownerType=team",
    ] {
        world.refused(path, 400, "bad_parameter");
    }
}

fn agreement(world: &World, height: u64) {
    let set = world.ok("/validators");
    assert_eq!(set["validators"][0]["publicKey"], chain_support::key_of(&validator()).to_string());
    world.refused("/validators?epoch=x", 400, "bad_parameter");
    let block = world.ok(&format!("/blocks/{height}?transactions=0"));
    let hash = block["hash"].as_str().unwrap();
    let quorum = world.ok(&format!("/consensus/quorum/{hash}"));
    assert_eq!(
        (&quorum["hasQuorum"], &quorum["totalValidators"], &quorum["blockHeight"]),
        (&json!(true), &json!(1), &json!(height))
    );
    let range = world.ok(&format!("/consensus/blocks/1/{}", height.min(100)));
    let heights: Vec<u64> =
        range["blocks"].as_array().unwrap().iter().map(|block| block["height"].as_u64().unwrap()).collect();
    assert_eq!(heights, (1..=height.min(100)).collect::<Vec<_>>());
    assert_eq!(world.ok("/consensus/blocks/9000000000/9000000001")["blocks"], json!([]));
    world.refused(&format!("/consensus/quorum/{NOWHERE}"), 404, "not_found");
    world.refused(&format!("/consensus/block/{NOWHERE}"), 404, "not_found");
    for path in [
        "/consensus/blocks/0/5",
        "/consensus/blocks/5/4",
        "/consensus/blocks/1/101",
        "/consensus/blocks/a/b",
        "/consensus/quorum/1",
    ] {
        world.refused(path, 400, "bad_parameter");
    }

    let verdict = |body: &Value| {
        let (status, answer) = world.post("/consensus/validate", body);
        assert_eq!(status, 200, "{answer}");
        (answer["valid"].as_bool().unwrap(), answer["known"].as_bool().unwrap())
    };
    assert_eq!(verdict(&json!({ "block": block })), (true, true));
    assert_eq!(verdict(&json!({"block": world.ok(&format!("/blocks/{height}"))})), (true, true));
    let mut edited = block.clone();
    edited["stateRoot"] = NOWHERE.into();
    assert_eq!(verdict(&json!({ "block": edited })), (false, true));
    let mut more = block;
    more["gasUsed"] = 1.into();
    assert_eq!(verdict(&json!({ "block": more })), (false, true));
    assert_eq!(verdict(&json!({"block": {"hash": NOWHERE}})), (false, false));
    let header = world.chain.header(height).unwrap().header;
    assert_eq!(verdict(&json!({"block": {"header": header}})), (true, true));
    assert_eq!(verdict(&json!({"block": {"header": header, "height": height + 1}})), (false, false));
    // The parent of the header is changed, so its hash is another one.
    let mut forged = hex::decode(&header).unwrap();
    forged[20] ^= 1;
    assert_eq!(verdict(&json!({"block": {"header": hex::encode(forged)}})), (false, true));
    for (body, code) in [
        (json!({"block": {}}), "invalid"),
        (json!({"block": {"header": "00"}}), "bad_parameter"),
        (json!({"block": {"header": 5}}), "bad_parameter"),
        (json!({"block": {"hash": "1"}}), "invalid"),
        (json!({"block": 5}), "bad_field"),
        (json!({}), "bad_field"),
    ] {
        let (status, answer) = world.post("/consensus/validate", &body);
        assert_eq!((status, answer["code"].as_str()), (400, Some(code)), "{body}: {answer}");
    }
    let large = json!({"block": {"header": "0".repeat(2 << 20)}});
    assert_eq!(world.post("/consensus/validate", &large).0, 413);
    assert_eq!(world.call(Method::POST, "/consensus/validate", "text/plain", b"{}".to_vec()).0, 415);
}

fn proofs(world: &World, alice: &str) {
    let proof = |path: String| {
        wait("a certificate of an attested height", || {
            let (status, body) = world.get(&path);
            assert!(status == 200 || status == 503, "{body}");
            (status == 200).then_some(body)
        })
    };
    for key in [alice.to_owned(), bulk_name(1), NOWHERE.to_owned(), chain_support::key_of(&sovereign()).to_string()] {
        let body = proof(format!("/proofs/accounts/{key}"));
        let proof: AccountProof = serde_json::from_value(body).unwrap();
        assert!(proof.public_key.ends_with(key.trim_start_matches("ed25519_")));
        tana_ledger::chain::proof::verify_account_proof(&world.genesis, None, &proof).unwrap();
    }
    world.refused("/proofs/accounts/@nobody", 404, "not_found");
    world.refused("/proofs/accounts/12!", 400, "invalid");
}

fn document_and_page(world: &World) {
    let document = world.ok("/openapi.json");
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let page = |path: &str| {
        let url = format!("{}{path}", world.base);
        world.runtime.block_on(async {
            let response = reqwest::get(url).await.unwrap();
            let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
            (response.status().as_u16(), content_type, response.text().await.unwrap())
        })
    };
    let (status, content_type, text) = page("/docs");
    assert!(status == 200 && content_type.starts_with("text/html") && text.contains("swagger"), "{content_type}");
    // It works without any other machine: what it loads lies here.
    for name in ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js", "index.css"] {
        let (status, _, text) = page(&format!("/docs/{name}"));
        assert!(status == 200 && !text.is_empty(), "{name}");
        assert!(text.contains("/openapi.json") || name != "swagger-initializer.js", "{text}");
    }
    world.refused("/docs/nothing.js", 404, "not_found");
}
