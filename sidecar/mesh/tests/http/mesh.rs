//! A mesh that listens on a free port of loopback, with a clock that the test turns.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use tana_http::server::{Server, ServerConfig, bind};
use tana_mesh::wire::{Decision, DecisionRequest, HeartbeatRequest, RegisterRequest, Service};
use tana_mesh::{FixedSovereigns, Registry, ValidatorSet, routes};
use tana_types::key::PublicKey;
use tempfile::TempDir;

/// The clock's first time.
pub const START: u64 = 1_764_000_000_000;

/// A key made of one number.
pub fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// Its public half as it is printed.
pub fn public(key: &SigningKey) -> String {
    PublicKey(key.verifying_key().to_bytes()).to_string()
}

/// The key that is sovereign in all tests.
pub fn sovereign() -> SigningKey {
    key(200)
}

/// A nonce of its own for each number.
pub fn nonce(number: u64) -> String {
    format!("nonce-{number:016}")
}

/// A running mesh.
pub struct Mesh {
    pub registry: Registry,
    pub clock: Arc<AtomicU64>,
    url: String,
    client: reqwest::Client,
    _server: Server,
}

impl Mesh {
    /// In a new folder.
    pub async fn new() -> (Self, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Self::open(&folder.path().join("mesh"), START, None).await, folder)
    }

    /// In a folder, at a time, with or without a validator set.
    pub async fn open(folder: &Path, now: u64, set: Option<Arc<dyn ValidatorSet>>) -> Self {
        let clock = Arc::new(AtomicU64::new(now));
        let reader = clock.clone();
        let sovereigns = Arc::new(FixedSovereigns::new([PublicKey(sovereign().verifying_key().to_bytes())]));
        let registry =
            Registry::open(folder, sovereigns, set, Arc::new(move || reader.load(Ordering::SeqCst))).unwrap();
        let bound = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", bound.address());
        let mut limits = routes::limits();
        limits.rate = None;
        let server = bound.serve(routes::router(registry.clone(), &limits), ServerConfig::default());
        Self { registry, clock, url, client: reqwest::Client::new(), _server: server }
    }

    /// What time it is.
    pub fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// Turns the clock.
    pub fn later(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        read(self.client.get(format!("{}{path}", self.url)).send().await.unwrap()).await
    }

    /// `POST` of a JSON body.
    pub async fn post(&self, path: &str, body: &impl serde::Serialize) -> (u16, Value) {
        read(self.client.post(format!("{}{path}", self.url)).json(body).send().await.unwrap()).await
    }

    /// `POST` of any bytes, with or without a content type.
    pub async fn post_raw(&self, path: &str, content_type: Option<&str>, body: Vec<u8>) -> (u16, Value) {
        let mut request = self.client.post(format!("{}{path}", self.url)).body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        read(request.send().await.unwrap()).await
    }

    /// A request that the test builds.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A signed registration, not yet sent.
    pub fn registration(&self, id: &str, key: &SigningKey) -> RegisterRequest {
        registration(id, key, self.now())
    }

    /// Registers a node.
    pub async fn register(&self, id: &str, key: &SigningKey) {
        let (status, answer) = self.post("/register", &self.registration(id, key)).await;
        assert_eq!(status, 201, "{answer}");
    }

    /// A signed decision by the sovereign, not yet sent.
    pub fn decision(&self, decision: Decision, id: &str, number: u64) -> DecisionRequest {
        DecisionRequest::signed(decision, id, &sovereign(), self.now(), &nonce(number))
    }

    /// Approves a node.
    pub async fn approve(&self, id: &str, number: u64) -> Value {
        let (status, answer) =
            self.post(&format!("/approve/{id}"), &self.decision(Decision::Approve, id, number)).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Denies a node.
    pub async fn deny(&self, id: &str, number: u64) {
        let (status, answer) = self.post(&format!("/deny/{id}"), &self.decision(Decision::Deny, id, number)).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Sends a heartbeat of now.
    pub async fn heartbeat(&self, id: &str, key: &SigningKey) -> (u16, Value) {
        self.post("/heartbeat", &HeartbeatRequest::signed(id, key, self.now())).await
    }

    /// The status that a node has.
    pub async fn status(&self, id: &str) -> Value {
        let (status, answer) = self.get(&format!("/nodes/{id}")).await;
        assert_eq!(status, 200, "{answer}");
        answer["node"]["status"].clone()
    }
}

/// A signed registration with two services.
pub fn registration(id: &str, signer: &SigningKey, now: u64) -> RegisterRequest {
    let service = |kind: &str, port| Service { kind: kind.to_owned(), port, public_key: public(signer) };
    RegisterRequest {
        node_id: id.to_owned(),
        public_key: String::new(),
        tailscale_hostname: format!("{id}.local.ts.net"),
        tailscale_ip: Some("127.0.0.1".to_owned()),
        services: vec![service("ledger", 8080), service("consensus", 9000)],
        signature: String::new(),
        timestamp: None,
    }
    .sign(signer, now)
}

/// Status and JSON of an answer; every refusal must have the form that all have.
async fn read(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("status {status} without JSON: {text:?}"));
    if status >= 400 {
        assert!(value["error"].is_string() && value["code"].is_string(), "{status} {value}");
        assert!(status < 500, "{status} {value}");
    }
    (status, value)
}

/// The status and code of a refusal.
pub fn refusal((status, answer): (u16, Value)) -> (u16, String) {
    (status, answer["code"].as_str().unwrap_or_default().to_owned())
}

/// The same as `(u16, String)` from a literal.
pub fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A body without one of its fields.
pub fn without(body: &impl serde::Serialize, field: &str) -> Value {
    let mut body = serde_json::to_value(body).unwrap();
    assert!(body.as_object_mut().unwrap().remove(field).is_some(), "{field} is not there");
    body
}

/// A body with one of its fields changed.
pub fn with(body: &impl serde::Serialize, field: &str, value: impl Into<Value>) -> Value {
    let mut body = serde_json::to_value(body).unwrap();
    body[field] = value.into();
    body
}

/// The ids in a list of nodes.
pub fn ids(answer: &Value, list: &str) -> Value {
    json!(answer[list].as_array().unwrap().iter().map(|node| node["id"].clone()).collect::<Vec<_>>())
}
