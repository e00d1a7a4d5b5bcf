//! A small chain with its validators, for nodes in one process.

#![allow(clippy::unwrap_used, dead_code)]

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use tana_engine::config::NodeConfig;
use tana_engine::node::Node;
use tana_net::{ServerPin, TxClient};
use tana_types::bulk::bulk_key;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::transaction::sign;

const ACCOUNTS: u32 = 60;
const WAIT: Duration = Duration::from_secs(30);

pub fn validator(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[50 + number; 32])
}

pub fn printed(bytes: &[u8; 32]) -> String {
    format!("ed25519_{}", hex::encode(bytes))
}

/// Writes genesis, key files and configurations of a chain with a validator for each of these UDP ports.
pub fn set_up(folder: &Path, ports: &[u16]) -> Vec<NodeConfig> {
    let sovereign = printed(&SigningKey::from_bytes(&[6; 32]).verifying_key().to_bytes());
    let validators: String = (0u8..)
        .zip(ports)
        .map(|(number, port)| {
            let key = printed(&validator(number).verifying_key().to_bytes());
            format!("[[validator]]\nkey = \"{key}\"\naddress = \"127.0.0.1:{port}\"\n")
        })
        .collect();
    let genesis = format!(
        r#"
chain = "test"
timestamp_ms = 1
[rules]
block_transactions = 256
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
{validators}
[bulk]
seed = "test"
count = {ACCOUNTS}
currency = "USD"
amount = "100.00"
"#
    );
    std::fs::write(folder.join("genesis.toml"), genesis).unwrap();
    let make = |(number, port): (u8, &u16)| {
        let key = validator(number);
        let public = printed(&key.verifying_key().to_bytes());
        let file = format!(r#"{{"publicKey":"{public}","privateKey":"{}"}}"#, printed(&key.to_bytes()));
        let key_path = folder.join(format!("validator-{number}.json"));
        std::fs::write(&key_path, file).unwrap();
        let mut config = NodeConfig { listen: "127.0.0.1:0".parse().unwrap(), ..NodeConfig::default() };
        config.ingest.pool_batches = 32;
        config.use_segments_of(4);
        config.checkpoint.interval_s = 1;
        config.threads.pin = false;
        config.consensus.enabled = true;
        config.consensus.listen = ([127, 0, 0, 1], *port).into();
        config.resolve(folder);
        config.data = folder.join(format!("data-{number}"));
        config.key = key_path;
        tana_engine::consensus::create_vote_record(&config.data).unwrap();
        config
    };
    (0u8..).zip(ports).map(make).collect()
}

pub fn transfer(genesis: &Genesis, from: u32, nonce: u64) -> Vec<u8> {
    let recipient = PublicKey(bulk_key("test", (from + 7) % ACCOUNTS).verifying_key().to_bytes());
    let payload = Payload::Transfer { recipient, currency: "USD".parse().unwrap(), amount: 1 };
    let now = tana_engine::clock::wall_ms();
    sign(&genesis.to_chain(), &bulk_key("test", from), nonce, now, &payload).unwrap()
}

/// Sends transfers of the senders that belong to a node; nobody waits for answers.
pub fn send(node: &Node, genesis: &Genesis, number: u8, senders: std::ops::Range<u32>, nonces: std::ops::Range<u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let pin = ServerPin::Key(validator(number).verifying_key().to_bytes());
        let client = TxClient::connect(node.report().listen, pin, None).await.unwrap();
        let (mut sender, mut answers) = client.open_submit().await.unwrap();
        let mut accepted = 0;
        for nonce in nonces.clone() {
            let frame: Vec<u8> = senders.clone().flat_map(|from| transfer(genesis, from, nonce)).collect();
            sender.send(&frame).await.unwrap();
        }
        let mut events = Vec::new();
        let wanted = u64::from(senders.end - senders.start) * (nonces.end - nonces.start);
        while accepted < wanted {
            events.clear();
            assert!(answers.receive(&mut events).await.unwrap() > 0);
            for event in &events {
                assert_ne!(event.kind, tana_net::AnswerKind::Rejected, "{event:?}");
                if event.kind == tana_net::AnswerKind::Accepted {
                    accepted += u64::from(event.count);
                }
            }
        }
    });
}

pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn applied(node: &Node) -> u64 {
    node.published().applied.load(Ordering::Relaxed)
}

pub fn no_failure(node: &Node) {
    assert_eq!(node.wait_for_failure(Duration::from_millis(1)), None);
}
