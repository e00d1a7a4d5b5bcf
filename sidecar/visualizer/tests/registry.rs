//! The real registry behind the visualizer: a node registers and is approved over HTTP, and its validator appears; it is refused, and goes.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{Client, FakeValidator, has_event, healthy, serve_router, validator};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use tana_mesh::wire::{Decision, DecisionRequest, RegisterRequest, Service};
use tana_mesh::{FixedSovereigns, Registry, routes};
use tana_types::key::PublicKey;
use tana_visualizer::{Options, RegistryNodes, Visualizer};

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_approved_is_followed_and_one_that_is_denied_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (sovereign, node) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let sovereigns = Arc::new(FixedSovereigns::new([public(&sovereign)]));
    let clock = tana_http::clock::system();
    let registry = Registry::open(&folder.path().join("mesh"), sovereigns, None, clock.clone()).unwrap();
    let mesh = serve_router(routes::router(registry.clone(), &routes::limits())).await;
    let post = async |path: &str, body: &Value| {
        let answer = reqwest::Client::new().post(format!("http://{mesh}{path}")).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    };
    let visualizer = Visualizer::start(Arc::new(RegistryNodes::new(registry)), Options::default()).unwrap();
    let mut client = Client::connect(serve_router(visualizer.ws_router()).await).await;
    // The first reading tells of no event: what is registered before it was there already.
    client.until("the registry was read", |state| state["mesh"]["lastUpdate"] != 0).await;
    assert_eq!(client.model.state["validators"], json!([]));

    let http = FakeValidator::start(1, 1);
    let consensus =
        Service { kind: "consensus".to_owned(), port: http.address.port() - 1, public_key: public(&node).to_string() };
    let request = RegisterRequest {
        node_id: "val_1".to_owned(),
        public_key: String::new(),
        tailscale_hostname: "val_1.local.ts.net".to_owned(),
        tailscale_ip: Some("127.0.0.1".to_owned()),
        services: vec![consensus],
        signature: String::new(),
        timestamp: None,
    };
    post("/register", &serde_json::to_value(request.sign(&node, clock())).unwrap()).await;
    client.until("registered", |state| has_event(state, "registered", "val_1")).await;
    assert_eq!(client.model.state["mesh"]["nodeCount"]["pending"], 1);
    assert_eq!(client.model.state["validators"], json!([]));

    let decide = |decision, nonce: &str| {
        serde_json::to_value(DecisionRequest::signed(decision, "val_1", &sovereign, clock(), nonce)).unwrap()
    };
    post("/approve/val_1", &decide(Decision::Approve, "nonce-0000000001")).await;
    client.until("approved and well", |state| has_event(state, "approval", "val_1") && healthy(state) == 1).await;
    assert_eq!(validator(&client.model.state, "val_1")["publicKey"], public(&node).to_string());

    post("/deny/val_1", &decide(Decision::Deny, "nonce-0000000002")).await;
    client.until("gone", |state| has_event(state, "denied", "val_1") && state["validators"] == json!([])).await;
}
