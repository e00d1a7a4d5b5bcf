//! A node in a process of its own, so that it can be killed, and so that its checkpoint is opened by another process than the reader's.

#![allow(clippy::unwrap_used, dead_code)]

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use tana_engine::config::NodeConfig;
use tana_engine::node::Node;
use tana_ledger::chain::{Chain, Phase};
use tana_net::{AnswerKind, ServerPin, TxClient};
use tana_types::bulk::bulk_key;
use tana_types::code::Code;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::query::{Answer, Request, Response};
use tana_types::transaction::sign;

/// Accounts of the genesis beside the sovereign.
pub const ACCOUNTS: u32 = 100;
/// Long enough for the slowest machine; nothing waits so long where all is well.
pub const PATIENCE: Duration = Duration::from_secs(120);
const FOLDER: &str = "TANA_LEDGER_TEST_NODE";

pub fn validator() -> SigningKey {
    SigningKey::from_bytes(&[50; 32])
}

pub fn sovereign() -> SigningKey {
    SigningKey::from_bytes(&[6; 32])
}

pub fn key_of(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// How a test's node differs from the usual one.
#[derive(Clone, Copy)]
pub struct Kind {
    pub consensus: bool,
    pub keep_heights: u64,
    pub checkpoint_s: u64,
}

/// What differs between the nodes of tests.
pub struct Setup {
    /// Lines under `[rules]`.
    pub rules: &'static str,
    pub consensus: bool,
    pub segments_mib: u64,
    pub keep_heights: u64,
    pub checkpoint_s: u64,
    pub empty_interval_ms: u64,
}

/// Writes genesis, key and configuration below `folder`.
pub fn set_up(folder: &Path, kind: Kind) -> NodeConfig {
    let setup = Setup {
        rules: "batch_expiry_blocks = 1000\nblock_transactions = 256",
        consensus: kind.consensus,
        segments_mib: if kind.consensus { 4 } else { 1 },
        keep_heights: kind.keep_heights,
        checkpoint_s: kind.checkpoint_s,
        empty_interval_ms: if kind.keep_heights > 0 { 10 } else { 100 },
    };
    write_node(folder, &setup)
}

/// The same for any node of one validator.
pub fn write_node(folder: &Path, setup: &Setup) -> NodeConfig {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let genesis = format!(
        r#"
chain = "test"
timestamp_ms = 1
[rules]
{}
[sovereign]
key = "{}"
username = "@sovereign"
[[sovereign.allocation]]
currency = "USD"
amount = "1000.00"
[[currency]]
code = "USD"
decimals = 2
type = "fiat"
[[validator]]
key = "{}"
address = "127.0.0.1:{port}"
[bulk]
seed = "test"
count = {ACCOUNTS}
currency = "USD"
amount = "100.00"
"#,
        setup.rules,
        key_of(&sovereign()),
        key_of(&validator())
    );
    std::fs::write(folder.join("genesis.toml"), genesis).unwrap();
    let secret = format!("ed25519_{}", hex::encode(validator().to_bytes()));
    let file = format!(r#"{{"publicKey":"{}","privateKey":"{secret}"}}"#, key_of(&validator()));
    std::fs::write(folder.join("validator.json"), file).unwrap();
    let mut config = NodeConfig { listen: "127.0.0.1:0".parse().unwrap(), ..NodeConfig::default() };
    config.ingest.pool_batches = 32;
    config.use_segments_of(setup.segments_mib);
    config.log.keep_heights = setup.keep_heights;
    config.checkpoint.interval_s = setup.checkpoint_s;
    config.threads.pin = false;
    config.order.empty_interval_ms = setup.empty_interval_ms;
    config.consensus.enabled = setup.consensus;
    config.consensus.listen = ([127, 0, 0, 1], port).into();
    config.resolve(folder);
    if setup.consensus {
        tana_engine::consensus::create_vote_record(&config.data).unwrap();
    }
    std::fs::write(folder.join("node.json"), serde_json::to_string(&config).unwrap()).unwrap();
    config
}

/// What a test binary does when it was started as a node: runs until its standard input ends.
pub fn run_if_node() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let text = std::fs::read_to_string(folder.join("node.json")).unwrap();
    let config: NodeConfig = serde_json::from_str(&text).unwrap();
    let node = Node::start(&config, &|_, _, _| {}).unwrap();
    let partial = folder.join("listen.new");
    std::fs::write(&partial, node.report().listen.to_string()).unwrap();
    std::fs::rename(partial, folder.join("listen")).unwrap();
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    node.stop().unwrap();
    std::process::exit(0);
}

/// A node in another process.
pub struct NodeProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    pub listen: SocketAddr,
}

impl NodeProcess {
    /// Starts it and waits until it listens.
    pub fn start(folder: &Path) -> Self {
        let _ = std::fs::remove_file(folder.join("listen"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "node_process", "--nocapture"])
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let listen = wait("the node to listen", || {
            assert!(child.try_wait().unwrap().is_none(), "the node ended");
            std::fs::read_to_string(folder.join("listen")).ok()
        });
        Self { child, stdin, listen: listen.parse().unwrap() }
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn stop(mut self) {
        self.stdin.take().unwrap().flush().unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again until there is an answer.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the reader stands at `height` or above.
pub fn wait_height(chain: &Chain, height: u64) {
    wait(&format!("height {height}, reader {:?}", chain.phase()), || {
        if let Phase::Stopped(reason) = chain.phase() {
            panic!("the reader stopped: {reason}");
        }
        chain.head().ok().filter(|head| head.height >= height)
    });
}

/// A client of a node with its own runtime.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    client: TxClient,
    genesis: Genesis,
}

impl Client {
    pub fn connect(node: &NodeProcess, genesis: &Genesis) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pin = ServerPin::Key(validator().verifying_key().to_bytes());
        let client = runtime.block_on(TxClient::connect(node.listen, pin, None)).unwrap();
        Self { runtime, client, genesis: genesis.clone() }
    }

    /// Signs a transaction.
    pub fn sign(&self, key: &SigningKey, nonce: u64, payload: &Payload<'_>) -> Vec<u8> {
        sign(&self.genesis.to_chain(), key, nonce, tana_engine::clock::wall_ms(), payload).unwrap()
    }

    /// Sends transactions and waits for the end of each: its code and height, in order.
    pub fn send(&self, transactions: &[Vec<u8>]) -> Vec<(u8, u64)> {
        self.runtime.block_on(async {
            let (mut sender, mut answers) = self.client.open_submit().await.unwrap();
            for frame in transactions.chunks(16) {
                sender.send(&frame.concat()).await.unwrap();
            }
            let (mut ends, mut events) = (vec![None; transactions.len()], Vec::new());
            while ends.iter().any(Option::is_none) {
                events.clear();
                assert!(answers.receive(&mut events).await.unwrap() > 0, "the answers ended early");
                for event in
                    events.iter().filter(|event| !matches!(event.kind, AnswerKind::Accepted | AnswerKind::Final))
                {
                    for sequence in event.first..event.first + u64::from(event.count) {
                        ends[sequence as usize] = Some((event.code, event.height));
                    }
                }
            }
            ends.into_iter().map(Option::unwrap).collect()
        })
    }

    /// Sends transactions that must all be applied, one after the other in order; gives the last height.
    pub fn apply(&self, transactions: &[Vec<u8>]) -> u64 {
        let ends = self.send(transactions);
        assert!(ends.iter().all(|(code, _)| *code == Code::Applied as u8), "{ends:?}");
        ends.iter().map(|(_, height)| *height).max().unwrap()
    }

    pub fn try_ask(&self, request: &Request) -> Result<Answer, String> {
        let bytes = self.runtime.block_on(self.client.query(&serde_json::to_vec(request).unwrap())).unwrap();
        match serde_json::from_slice(&bytes).unwrap() {
            Response::Ok(answer) => Ok(answer),
            Response::Error(reason) => Err(reason),
        }
    }

    pub fn ask(&self, request: &Request) -> Answer {
        self.try_ask(request).unwrap()
    }

    /// Every bulk account sends one cent to another; gives the last height.
    pub fn round(&self, nonce: u64) -> u64 {
        let transfers: Vec<_> =
            (0..ACCOUNTS).map(|from| self.transfer(from, nonce, (from + 7) % ACCOUNTS, 1)).collect();
        self.apply(&transfers)
    }

    pub fn transfer(&self, from: u32, nonce: u64, to: u32, amount: u128) -> Vec<u8> {
        let recipient = key_of(&bulk_key("test", to));
        let payload = Payload::Transfer { recipient, currency: "USD".parse().unwrap(), amount };
        self.sign(&bulk_key("test", from), nonce, &payload)
    }
}
