//! A whole node in this process: flooded over QUIC, stopped, started again, and its log held against an independent replay.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tana_engine::config::NodeConfig;
use tana_engine::node::{Node, NodeError};
use tana_engine::verify_log::verify_log;
use tana_net::{AnswerKind, ServerPin, TxClient};
use tana_types::bulk::bulk_key;
use tana_types::code::Code;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::query::{Answer, Request, Response};
use tana_types::transaction::sign;

const ACCOUNTS: u32 = 200;

fn validator() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn printed(bytes: &[u8; 32]) -> String {
    format!("ed25519_{}", hex::encode(bytes))
}

/// Writes genesis, key file and configuration of a small chain.
fn set_up(folder: &Path) -> NodeConfig {
    let key = validator();
    let public = printed(&key.verifying_key().to_bytes());
    let sovereign = printed(&SigningKey::from_bytes(&[6; 32]).verifying_key().to_bytes());
    let genesis = format!(
        r#"
chain = "test"
timestamp_ms = 1
[sovereign]
key = "{sovereign}"
username = "@sovereign"
[[sovereign.allocation]]
currency = "USD"
amount = "1000.00"
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
    config.order.empty_interval_ms = 100;
    config.resolve(folder);
    config
}

fn start(config: &NodeConfig) -> Node {
    Node::start(config, &|_, _, _| {}).unwrap()
}

async fn connect(node: &Node) -> TxClient {
    let pin = ServerPin::Key(validator().verifying_key().to_bytes());
    TxClient::connect(node.report().listen, pin, None).await.unwrap()
}

fn transfer(genesis: &Genesis, from: u32, nonce: u64, to: u32, amount: u128) -> Vec<u8> {
    let recipient = PublicKey(bulk_key("test", to).verifying_key().to_bytes());
    let payload = Payload::Transfer { recipient, currency: "USD".parse().unwrap(), amount };
    let now = tana_engine::clock::wall_ms();
    sign(&genesis.to_chain(), &bulk_key("test", from), nonce, now, &payload).unwrap()
}

/// Sends transactions on one submit stream and follows each to its end: kind, code and height by sequence.
async fn follow(client: &TxClient, transactions: &[Vec<u8>]) -> BTreeMap<u64, (AnswerKind, u8, u64)> {
    let (mut sender, mut answers) = client.open_submit().await.unwrap();
    let send = async {
        for frame in transactions.chunks(16) {
            sender.send(&frame.concat()).await.unwrap();
        }
        sender
    };
    let receive = async {
        let (mut ends, mut events) = (BTreeMap::new(), Vec::new());
        while ends.len() < transactions.len() {
            events.clear();
            assert!(answers.receive(&mut events).await.unwrap() > 0, "the answers ended early");
            for event in &events {
                let is_end = !matches!(event.kind, AnswerKind::Accepted | AnswerKind::Final);
                for sequence in event.first..event.first + u64::from(event.count) {
                    if is_end {
                        ends.insert(sequence, (event.kind, event.code, event.height));
                    }
                }
            }
        }
        ends
    };
    let (sender, ends) = tokio::join!(send, receive);
    drop(sender);
    ends
}

async fn ask(client: &TxClient, request: Request) -> Answer {
    let bytes = client.query(&serde_json::to_vec(&request).unwrap()).await.unwrap();
    match serde_json::from_slice(&bytes).unwrap() {
        Response::Ok(answer) => answer,
        Response::Error(reason) => panic!("{request:?}: {reason}"),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn transactions_are_applied_followed_found_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = set_up(folder.path());
    let genesis = Genesis::load(&config.genesis).unwrap();
    let runtime = runtime();
    let node = start(&config);
    let mut transactions = Vec::new();
    for nonce in 1..=20 {
        for from in 0..ACCOUNTS {
            transactions.push(transfer(&genesis, from, nonce, (from + 7) % ACCOUNTS, 1));
        }
    }
    let poor = transactions.len() as u64;
    transactions.push(transfer(&genesis, 3, 21, 4, 1_000_000));
    let mut forged = transfer(&genesis, 5, 21, 6, 1);
    let last = forged.len() - 1;
    forged[last - 40] ^= 1;
    transactions.push(forged);
    let height = runtime.block_on(async {
        let client = connect(&node).await;
        let ends = follow(&client, &transactions).await;
        for (sequence, (kind, code, height)) in &ends {
            let expected = match *sequence {
                n if n == poor => (AnswerKind::Failed, Code::InsufficientFunds as u8),
                n if n == poor + 1 => (AnswerKind::Rejected, Code::BadSignature as u8),
                _ => (AnswerKind::Applied, 0),
            };
            assert_eq!((*kind, *code), expected, "{sequence} at {height}");
        }
        // The next nonce of the failed sender is one further, that of the forged one is not.
        let more = [transfer(&genesis, 3, 22, 4, 1), transfer(&genesis, 5, 21, 6, 1)];
        let ends = follow(&client, &more).await;
        assert!(ends.values().all(|(kind, ..)| *kind == AnswerKind::Applied), "{ends:?}");
        let id = hex::encode(blake3_of(&transactions[77]));
        let Answer::Transaction(found) = ask(&client, Request::Transaction { id: id.clone() }).await else { panic!() };
        assert_eq!((found.id, found.code.as_str(), found.nonce), (id, "applied", 1));
        let Answer::Block(block) = ask(&client, Request::Block { height: Some(found.height) }).await else { panic!() };
        assert!(block.transactions > 0 && block.height == found.height);
        let name = printed(&bulk_key("test", 3).verifying_key().to_bytes());
        let Answer::Account(account) = ask(&client, Request::Account { name }).await else { panic!() };
        assert_eq!((account.nonce, account.balances[0].amount.as_str()), (22, "99.99"));
        let Answer::Status(status) = ask(&client, Request::Status).await else { panic!() };
        assert_eq!(status.transactions_applied, poor + 2);
        status.height
    });
    let applied = node.published().applied.load(std::sync::atomic::Ordering::Relaxed);
    node.stop().unwrap();

    let node = start(&config);
    assert!(node.report().from_checkpoint, "a checkpoint was due at the first block");
    assert!(node.report().height >= height);
    assert_eq!(node.published().applied.load(std::sync::atomic::Ordering::Relaxed), applied);
    runtime.block_on(async {
        let client = connect(&node).await;
        let copies = follow(&client, &transactions[..10]).await;
        assert!(copies.values().all(|(kind, code, _)| (*kind, *code) == (AnswerKind::Rejected, Code::NonceUsed as u8)));
    });
    let published = node.published().clone();
    node.stop().unwrap();
    let (last_height, last_root) = published.head();

    let report = verify_log(&config.data, &genesis, &|_, _, _| {}).unwrap();
    assert_eq!(report.applied, applied);
    assert_eq!((report.committed_blocks, report.state_root), (last_height, hex::encode(last_root)));
    assert_eq!(report.totals, [("USD".to_owned(), format!("{}.00", 1_000 + 100 * ACCOUNTS))]);
}

fn blake3_of(bytes: &[u8]) -> [u8; 32] {
    tana_hash::hash(bytes)
}

#[test]
fn a_second_node_another_chain_and_a_taken_port_are_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = set_up(folder.path());
    let node = start(&config);
    let second = Node::start(&config, &|_, _, _| {}).map(|_| ()).unwrap_err().to_string();
    assert!(second.contains("process") || second.contains("pid"), "{second}");

    let other = tempfile::tempdir().unwrap();
    let mut elsewhere = set_up(other.path());
    elsewhere.listen = node.report().listen;
    let taken = Node::start(&elsewhere, &|_, _, _| {}).map(|_| ()).unwrap_err();
    assert!(matches!(taken, NodeError::Network(_)) && taken.to_string().contains("in use"), "{taken}");
    node.stop().unwrap();

    let text = std::fs::read_to_string(&config.genesis).unwrap();
    std::fs::write(&config.genesis, text.replace("chain = \"test\"", "chain = \"other\"")).unwrap();
    let error = Node::start(&config, &|_, _, _| {}).map(|_| ()).unwrap_err();
    assert!(matches!(error, NodeError::OtherChain { .. }), "{error}");
    config.genesis = folder.path().join("missing.toml");
    let error = Node::start(&config, &|_, _, _| {}).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("missing.toml") && error.contains("tana init"), "{error}");
}

#[test]
fn an_idle_chain_goes_on_with_empty_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let config = set_up(folder.path());
    let node = start(&config);
    assert!(node.published().wait_for(1, Duration::from_secs(60)));
    let height = node.published().head().0;
    assert!((0..100).any(|_| node.published().wait_for(height + 2, Duration::from_secs(1))));
    node.stop().unwrap();
}
