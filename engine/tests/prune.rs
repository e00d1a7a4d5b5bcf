//! A node that keeps only its newest heights: old segments go while it runs, what is gone is said clearly, and a restart and an audit cope.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use tana_engine::config::NodeConfig;
use tana_engine::node::Node;
use tana_engine::verify_log::verify_log;
use tana_net::{AnswerKind, ServerPin, TxClient};
use tana_store::LogReader;
use tana_types::bulk::bulk_key;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::query::{Answer, Request, Response};
use tana_types::transaction::sign;

const ACCOUNTS: u32 = 200;
/// Blocks after which batches expire: the least that a genesis allows.
const EXPIRY: u64 = 1_000;
const KEEP: u64 = 100;

fn validator() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn printed(bytes: &[u8; 32]) -> String {
    format!("ed25519_{}", hex::encode(bytes))
}

fn set_up(folder: &Path) -> NodeConfig {
    let key = validator();
    let public = printed(&key.verifying_key().to_bytes());
    let sovereign = printed(&SigningKey::from_bytes(&[6; 32]).verifying_key().to_bytes());
    let genesis = format!(
        r#"
chain = "pruned"
timestamp_ms = 1
[rules]
batch_expiry_blocks = {EXPIRY}
[sovereign]
key = "{sovereign}"
[[currency]]
code = "USD"
decimals = 2
type = "fiat"
[[validator]]
key = "{public}"
address = "127.0.0.1:9000"
[bulk]
seed = "test"
count = {ACCOUNTS}
currency = "USD"
amount = "100.00"
"#
    );
    std::fs::write(folder.join("genesis.toml"), genesis).unwrap();
    let file = format!(r#"{{"publicKey":"{public}","privateKey":"{}"}}"#, printed(&key.to_bytes()));
    std::fs::write(folder.join("validator.json"), file).unwrap();
    let mut config = NodeConfig { listen: "127.0.0.1:0".parse().unwrap(), ..NodeConfig::default() };
    config.consensus.enabled = false;
    config.ingest.pool_batches = 32;
    config.use_segments_of(1);
    config.checkpoint.interval_s = 1;
    config.order.empty_interval_ms = 10;
    config.log.keep_heights = KEEP;
    config.resolve(folder);
    config
}

/// Every account sends one cent on; gives the first transaction's identifier.
async fn round(client: &TxClient, genesis: &Genesis, nonce: u64) -> String {
    let transactions: Vec<Vec<u8>> = (0..ACCOUNTS)
        .map(|from| {
            let recipient = PublicKey(bulk_key("test", (from + 7) % ACCOUNTS).verifying_key().to_bytes());
            let payload = Payload::Transfer { recipient, currency: "USD".parse().unwrap(), amount: 1 };
            let now = tana_engine::clock::wall_ms();
            sign(&genesis.to_chain(), &bulk_key("test", from), nonce, now, &payload).unwrap()
        })
        .collect();
    let (mut sender, mut answers) = client.open_submit().await.unwrap();
    sender.send(&transactions.concat()).await.unwrap();
    let (mut applied, mut events) = (0, Vec::new());
    while applied < ACCOUNTS {
        events.clear();
        assert!(answers.receive(&mut events).await.unwrap() > 0, "the answers ended early");
        for event in &events {
            match event.kind {
                AnswerKind::Applied => applied += event.count,
                AnswerKind::Accepted | AnswerKind::Final => {}
                _ => panic!("{event:?}"),
            }
        }
    }
    drop(sender);
    hex::encode(tana_hash::hash(&transactions[0]))
}

async fn ask(client: &TxClient, request: &Request) -> Result<Answer, String> {
    let bytes = client.query(&serde_json::to_vec(request).unwrap()).await.unwrap();
    match serde_json::from_slice(&bytes).unwrap() {
        Response::Ok(answer) => Ok(answer),
        Response::Error(reason) => Err(reason),
    }
}

async fn connect(node: &Node) -> TxClient {
    let pin = ServerPin::Key(validator().verifying_key().to_bytes());
    TxClient::connect(node.report().listen, pin, None).await.unwrap()
}

fn first_segments(config: &NodeConfig) -> Vec<u32> {
    let first =
        |name: &&str| LogReader::open(&config.data.join("logs"), name).unwrap().first_position().unwrap().segment;
    ["batches", "order", "blocks"].iter().map(first).collect()
}

/// What is gone is said to be gone, and what is new is found.
async fn look_up(client: &TxClient, old: &str, new: &str) {
    let block = ask(client, &Request::Block { height: Some(1) }).await.unwrap_err();
    assert!(block.contains("archive"), "{block}");
    let transaction = ask(client, &Request::Transaction { id: old.to_owned() }).await.unwrap_err();
    assert!(transaction.contains("archive"), "{transaction}");
    let Answer::Transaction(found) = ask(client, &Request::Transaction { id: new.to_owned() }).await.unwrap() else {
        panic!()
    };
    assert_eq!(found.code, "applied");
    let block = ask(client, &Request::Block { height: Some(found.height) }).await.unwrap();
    assert!(matches!(block, Answer::Block(block) if block.height == found.height));
}

#[test]
fn a_node_prunes_while_it_runs_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let config = set_up(folder.path());
    let genesis = Genesis::load(&config.genesis).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = Node::start(&config, &|_, _, _| {}).unwrap();
    let (old, new) = runtime.block_on(async {
        let client = connect(&node).await;
        let old = round(&client, &genesis, 1).await;
        for nonce in 2..=60 {
            round(&client, &genesis, nonce).await;
        }
        let deadline = Instant::now() + Duration::from_secs(120);
        while first_segments(&config).contains(&1) {
            assert!(Instant::now() < deadline, "{:?} at {:?}", first_segments(&config), node.published().head());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let new = round(&client, &genesis, 61).await;
        look_up(&client, &old, &new).await;
        (old, new)
    });
    let published = node.published().clone();
    node.stop().unwrap();
    let (height, root) = published.head();

    let report = verify_log(&config.data, &genesis, &|_, _, _| {}).unwrap();
    assert!(report.first_block > 1 && report.executed_from >= report.first_block, "{report:?}");
    assert_eq!(report.first_block + report.committed_blocks - 1, height);
    assert_eq!(report.state_root, hex::encode(root));
    assert!(report.transactions >= u64::from(ACCOUNTS));

    let node = Node::start(&config, &|_, _, _| {}).unwrap();
    assert!(node.report().from_checkpoint && node.report().height == height);
    runtime.block_on(async {
        let client = connect(&node).await;
        look_up(&client, &old, &new).await;
        let newer = round(&client, &genesis, 62).await;
        look_up(&client, &old, &newer).await;
    });
    node.stop().unwrap();

    // Without its checkpoint nothing tells the state before the oldest kept block.
    std::fs::remove_dir_all(config.data.join("checkpoint")).unwrap();
    let error = Node::start(&config, &|_, _, _| {}).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("checkpoint"), "{error}");
    let error = verify_log(&config.data, &genesis, &|_, _, _| {}).unwrap_err().to_string();
    assert!(error.contains("checkpoint"), "{error}");
}
