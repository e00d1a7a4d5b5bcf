//! The ledger API over real HTTP, beside a real node in another process, and small clients of both.

#![allow(clippy::unwrap_used, dead_code)]

use std::path::Path;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use reqwest::Method;
use serde_json::{Value, json};
use tana_engine::config::NodeConfig;
use tana_http::limits::LimitsConfig;
use tana_http::server::{Server, ServerConfig, bind};
use tana_ledger::api::{ApiConfig, ApiState, FeedConfig, NodeTarget, default_limits, router};
use tana_ledger::chain::Chain;
use tana_net::ServerPin;
use tana_types::bulk::bulk_key;
use tana_types::genesis::Genesis;
use tana_types::payload::Payload;
use tana_types::transaction::sign;
use tokio::runtime::Runtime;

use crate::chain_support::{ACCOUNTS, NodeProcess, Setup, key_of, validator, wait_height, write_node};

/// How a test's node runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A lone validator that votes for itself, so that there are certificates.
    Votes,
    /// It orders alone, and makes a block every ten milliseconds.
    Fast,
}

/// Writes genesis, key and configuration below `folder`. Blocks may hold several hundred transactions.
fn set_up(folder: &Path, kind: Kind) -> NodeConfig {
    let setup = Setup {
        rules: "block_transactions = 700",
        consensus: kind == Kind::Votes,
        segments_mib: 8,
        keep_heights: 0,
        checkpoint_s: 1,
        empty_interval_ms: if kind == Kind::Fast { 10 } else { 100 },
    };
    write_node(folder, &setup)
}

/// A node, its reader, and the API above it.
pub struct World {
    pub runtime: Runtime,
    pub base: String,
    pub genesis: Genesis,
    pub chain: Chain,
    pub node: Option<NodeProcess>,
    server: Option<Server>,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

impl World {
    pub fn start(kind: Kind, feed: FeedConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = set_up(folder.path(), kind);
        let genesis = Genesis::load(&config.genesis).unwrap();
        let node = NodeProcess::start(folder.path());
        let chain = Chain::open(&config.data, genesis.clone()).unwrap();
        wait_height(&chain, 1);
        let target = NodeTarget { address: node.listen, pin: ServerPin::Key(validator().verifying_key().to_bytes()) };
        let api = ApiConfig { node: Some(target), feed, ..ApiConfig::default() };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (server, base) = runtime.block_on(serve(chain.clone(), api));
        Self {
            runtime,
            base,
            genesis,
            chain,
            node: Some(node),
            server: Some(server),
            http: reqwest::Client::new(),
            folder,
        }
    }

    pub fn call(&self, method: Method, path: &str, content_type: &str, body: Vec<u8>) -> (u16, Value) {
        let request = self.http.request(method, format!("{}{path}", self.base)).timeout(Duration::from_secs(60));
        let request = if body.is_empty() { request } else { request.header("content-type", content_type).body(body) };
        self.runtime.block_on(async {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
        })
    }

    pub fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, "", Vec::new())
    }

    /// What must be there.
    pub fn ok(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// What must be refused, in the one form of all refusals.
    pub fn refused(&self, path: &str, status: u16, code: &str) {
        let (got, body) = self.get(path);
        assert_eq!((got, body["code"].as_str()), (status, Some(code)), "{path}: {body}");
        assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()), "{path}: {body}");
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call(Method::POST, path, "application/json", body.to_string().into_bytes())
    }

    pub fn post_bytes(&self, path: &str, body: &[u8]) -> (u16, Value) {
        self.call(Method::POST, path, "application/octet-stream", body.to_vec())
    }

    /// Connections that the server has open.
    pub fn connections(&self) -> usize {
        self.server.as_ref().unwrap().connections()
    }

    pub fn sign(&self, key: &SigningKey, nonce: u64, payload: &Payload<'_>) -> Vec<u8> {
        sign(&self.genesis.to_chain(), key, nonce, tana_engine::clock::wall_ms(), payload).unwrap()
    }

    /// A transfer of so many cents between accounts of the genesis.
    pub fn transfer(&self, from: u32, nonce: u64, to: u32, amount: u128) -> Vec<u8> {
        let recipient = key_of(&bulk_key("test", to % ACCOUNTS));
        let payload = Payload::Transfer { recipient, currency: "USD".parse().unwrap(), amount };
        self.sign(&bulk_key("test", from), nonce, &payload)
    }

    /// Submits transactions that must all be applied; gives the highest height. The reader stands there afterwards.
    pub fn apply(&self, transactions: &[Vec<u8>]) -> u64 {
        let digits: Vec<String> = transactions.iter().map(hex::encode).collect();
        let (status, body) = self.post("/transactions?timeout=25000", &json!({ "transactions": digits }));
        assert_eq!(status, 200, "{body}");
        let answers = body["transactions"].as_array().unwrap();
        assert!(answers.iter().all(|answer| answer["status"] == "applied"), "{body}");
        let height = answers.iter().filter_map(|answer| answer["blockHeight"].as_u64()).max().unwrap();
        wait_height(&self.chain, height);
        height
    }
}

/// Serves the API over any reader on a free port.
pub async fn serve(chain: Chain, config: ApiConfig) -> (Server, String) {
    let limits = LimitsConfig { rate: None, ..default_limits() };
    let (router, _) = router(ApiState::start(chain, config), &limits);
    let bound = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let base = format!("http://{}", bound.address());
    (bound.serve(router, ServerConfig::default()), base)
}

pub fn bulk_name(account: u32) -> String {
    key_of(&bulk_key("test", account)).to_string()
}
