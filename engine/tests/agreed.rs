//! Several whole nodes in this process, whose blocks come from a sequencer that stands where agreement stands: batches of others, delivery
//! at least once, sealing again, and what a restart finds.

#![allow(clippy::unwrap_used)]

#[path = "agreed/sequencer.rs"]
mod sequencer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use sequencer::Sequencer;
use tana_engine::config::NodeConfig;
use tana_engine::node::Node;
use tana_engine::verify_log::verify_log;
use tana_net::{ServerPin, TxClient};
use tana_types::batch::{Batch, Origin};
use tana_types::bulk::bulk_key;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::transaction::{Transaction, sign};

const ACCOUNTS: u32 = 60;
const WAIT: Duration = Duration::from_secs(30);

fn validator(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[50 + number; 32])
}

fn printed(bytes: &[u8; 32]) -> String {
    format!("ed25519_{}", hex::encode(bytes))
}

/// Writes genesis, key files and configurations of a chain with `count` validators.
fn set_up(folder: &Path, count: u8) -> Vec<NodeConfig> {
    let sovereign = printed(&SigningKey::from_bytes(&[6; 32]).verifying_key().to_bytes());
    let validators: String = (0..count)
        .map(|number| {
            let key = printed(&validator(number).verifying_key().to_bytes());
            format!("[[validator]]\nkey = \"{key}\"\naddress = \"127.0.0.1:{}\"\n", 9_000 + 10 * u16::from(number))
        })
        .collect();
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
{validators}
[bulk]
seed = "test"
count = {ACCOUNTS}
currency = "USD"
amount = "100.00"
"#
    );
    std::fs::write(folder.join("genesis.toml"), genesis).unwrap();
    let make = |number: u8| {
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
        config.resolve(folder);
        config.data = folder.join(format!("data-{number}"));
        config.key = key_path;
        config
    };
    (0..count).map(make).collect()
}

fn start(config: &NodeConfig, sequencer: &Arc<Sequencer>) -> Node {
    Node::start_with(config, &|start, host| Ok(sequencer.join(start, host)), &|_, _, _| {}).unwrap()
}

fn transfer(genesis: &Genesis, from: u32, nonce: u64) -> Vec<u8> {
    let recipient = PublicKey(bulk_key("test", (from + 7) % ACCOUNTS).verifying_key().to_bytes());
    let payload = Payload::Transfer { recipient, currency: "USD".parse().unwrap(), amount: 1 };
    let now = tana_engine::clock::wall_ms();
    sign(&genesis.to_chain(), &bulk_key("test", from), nonce, now, &payload).unwrap()
}

/// Sends transfers of the senders that belong to a node; nobody waits for answers.
fn send(node: &Node, genesis: &Genesis, number: u8, senders: std::ops::Range<u32>, nonces: std::ops::Range<u64>) {
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

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn applied(node: &Node) -> u64 {
    node.published().applied.load(Ordering::Relaxed)
}

fn no_failure(node: &Node) {
    assert_eq!(node.wait_for_failure(Duration::from_millis(1)), None);
}

#[test]
fn three_nodes_execute_each_others_batches_and_one_that_was_away_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let configs = set_up(folder.path(), 3);
    let genesis = Genesis::load(&configs[0].genesis).unwrap();
    let sequencer = Sequencer::new(&genesis);
    let mut nodes: Vec<Option<Node>> = configs.iter().map(|config| Some(start(config, &sequencer))).collect();
    for (number, node) in (0u8..).zip(&nodes) {
        let first = 20 * u32::from(number);
        send(node.as_ref().unwrap(), &genesis, number, first..first + 20, 1..6);
    }
    for node in nodes.iter().flatten() {
        wait("300 transfers", || applied(node) == 300);
        no_failure(node);
    }
    // One stops; the others go on.
    nodes[2].take().unwrap().stop().unwrap();
    send(nodes[0].as_ref().unwrap(), &genesis, 0, 0..20, 6..16);
    wait("200 more", || applied(nodes[1].as_ref().unwrap()) == 500);
    nodes[2] = Some(start(&configs[2], &sequencer));
    send(nodes[2].as_ref().unwrap(), &genesis, 2, 40..60, 6..8);
    for node in nodes.iter().flatten() {
        wait("everything", || applied(node) == 540);
    }
    let height = sequencer.height();
    for node in nodes.iter().flatten() {
        wait("the last block", || node.published().head().0 >= height);
        no_failure(node);
    }
    sequencer.assert_equal_roots();
    for node in nodes.into_iter().flatten() {
        node.stop().unwrap();
    }
    for config in &configs {
        let report = verify_log(&config.data, &genesis, &|_, _, _| {}).unwrap();
        assert_eq!((report.applied, report.certificates), (540, report.blocks));
    }
}

#[test]
fn own_batches_that_expired_are_sealed_again_and_applied_once_also_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let configs = set_up(folder.path(), 2);
    let genesis = Genesis::load(&configs[0].genesis).unwrap();
    let sequencer = Sequencer::new(&genesis);
    let node = start(&configs[0], &sequencer);
    let other = start(&configs[1], &sequencer);
    let author = validator(0).verifying_key().to_bytes();
    send(&node, &genesis, 0, 0..20, 1..3);
    wait("the first batches", || applied(&other) == 40);
    sequencer.hold_back(author, true);
    send(&node, &genesis, 0, 0..20, 3..6);
    let last = wait_for_held(&sequencer, author, 60);
    let mark = sequencer.mark(author);
    assert!(last > mark);
    sequencer.reseal(author);
    wait("a batch that withdraws others", || sequencer.skipped(author) == last - mark);
    wait("all of them again", || sequencer.held_transactions_above(author, last) == 60);
    // A restart finds both generations on disk and offers the second only.
    node.stop().unwrap();
    sequencer.forget_held(author);
    let node = start(&configs[0], &sequencer);
    wait("the second generation", || sequencer.held_transactions_above(author, mark) == 60);
    assert!(sequencer.lowest_held(author) > last);
    sequencer.hold_back(author, false);
    for node in [&node, &other] {
        wait("all transfers", || applied(node) == 100);
        no_failure(node);
    }
    send(&node, &genesis, 0, 0..20, 6..7);
    wait("the transfers after", || applied(&other) == 120);
    sequencer.assert_equal_roots();
    node.stop().unwrap();
    other.stop().unwrap();
}

fn wait_for_held(sequencer: &Sequencer, author: [u8; 32], transactions: u64) -> u64 {
    let mark = sequencer.mark(author);
    wait("held batches", || sequencer.held_transactions_above(author, mark) == transactions);
    sequencer.highest_held(author)
}

#[test]
fn a_batch_with_a_bad_signature_is_refused_with_proof_and_a_torn_one_without() {
    let folder = tempfile::tempdir().unwrap();
    let configs = set_up(folder.path(), 2);
    let genesis = Genesis::load(&configs[0].genesis).unwrap();
    let chain = genesis.to_chain();
    let sequencer = Sequencer::new(&genesis);
    let node = start(&configs[0], &sequencer);
    let author = validator(1);
    let make = |sequence: u64, spoil: bool| {
        let mut batch = Batch::with_capacity(4, 1_000);
        for from in 0..4 {
            let mut bytes = transfer(&genesis, from, sequence);
            let middle = bytes.len() - 40;
            bytes[middle] ^= u8::from(spoil && from == 2);
            batch.push(Transaction::exactly(&bytes).unwrap(), 0, Origin::default());
        }
        batch.seal(&chain, &author, 0, sequence, 0, 100);
        batch.sealed_bytes().to_vec()
    };
    let key = author.verifying_key().to_bytes();
    let host = sequencer.host(0);
    assert!(host.verify(Bytes::from(make(1, true)), key));
    let refusal = wait_for_refusal(&sequencer);
    assert_eq!((refusal.author, refusal.sequence), (key, 1));
    let evidence = refusal.evidence.unwrap();
    assert_eq!(evidence.verify(&chain), Ok(key));
    host.evidence(&evidence);
    assert_eq!(tana_engine::evidence_store::read(&configs[0].data.join("evidence")).unwrap(), [evidence]);

    let mut torn = make(2, false);
    let last = torn.len() - 1;
    torn[last] ^= 1;
    assert!(host.verify(Bytes::from(torn), key));
    let refusal = wait_for_refusal(&sequencer);
    assert_eq!((refusal.sequence, refusal.evidence), (2, None));

    let good = make(2, false);
    assert!(host.verify(Bytes::from(good.clone()), key));
    wait("the good batch", || sequencer.highest_held(key) == 2);
    let digest = sequencer.held_digest(key, 2);
    assert_eq!(host.read_batch(&digest, 0).unwrap(), good);
    no_failure(&node);
    node.stop().unwrap();
}

fn wait_for_refusal(sequencer: &Sequencer) -> tana_engine::agreement::Refusal {
    let mut refusal = None;
    wait("a refusal", || {
        refusal = sequencer.take_refusal();
        refusal.is_some()
    });
    refusal.unwrap()
}
