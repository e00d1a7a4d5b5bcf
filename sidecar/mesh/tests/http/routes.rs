//! All routes at once: who gets in, and from where.

use serde_json::{Value, json};
use tana_http::routes::walk;
use tana_http::token::{NodeStanding, NodeStatus};
use tana_http::{guard::Standing, limits::standard_layers};
use tana_mesh::routes;
use tana_mesh::wire::{Decision, DecisionRequest, HeartbeatRequest};
use tana_types::key::PublicKey;

use crate::mesh::{Mesh, key, nonce, public, sovereign};

#[tokio::test]
async fn nothing_that_writes_answers_a_stranger() {
    let (mesh, _folder) = Mesh::new().await;
    // The node that a walk's `{id}` names is there and active, so that only the signature stands before the change.
    mesh.register("1", &key(1)).await;
    mesh.approve("1", 1).await;
    mesh.register("2", &key(2)).await;
    let before = mesh.get("/nodes?status=all").await;
    let (router, table) = routes::routes(&mesh.registry).finish(mesh.registry.clone());
    let mut limits = routes::limits();
    limits.rate = None;
    let router = standard_layers(router, &limits);
    let now = mesh.now();
    // All well formed, and signed by the wrong key.
    let bodies: Vec<Value> = vec![
        json!({"approverPublicKey": public(&sovereign()), "signature": DecisionRequest::signed(Decision::Deny, "1", &key(9), now, &nonce(7)).signature,
            "timestamp": now, "nonce": nonce(7)}),
        json!(DecisionRequest::signed(Decision::Deny, "1", &key(9), now, &nonce(7))),
        json!(HeartbeatRequest::signed("1", &key(9), now)),
        json!({"nodeId": "1", "publicKey": public(&key(3)), "tailscaleHostname": "x", "services": [], "timestamp": now,
            "signature": mesh.registration("x", &key(9)).signature}),
        json!({"id": "x", "publicKey": public(&key(3)), "wsUrl": "ws://x:1", "services": [], "timestamp": now,
            "signature": mesh.registration("x", &key(9)).signature}),
        json!({"publicKey": public(&key(9)), "timestamp": now, "nonce": nonce(8), "adminSignature": mesh.registration("x", &key(9)).signature}),
    ];
    let wrong = walk::strangers(&router, &table, |_| bodies.clone()).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(mesh.get("/nodes?status=all").await, before);
    assert_eq!(mesh.get("/sovereigns").await.1["sovereigns"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn every_route_of_the_old_system_is_there() {
    let (mesh, _folder) = Mesh::new().await;
    let mut listed: Vec<String> = routes::routes(&mesh.registry).table().iter().map(ToString::to_string).collect();
    listed.sort();
    let expected = [
        "GET /health",
        "GET /info",
        "GET /nodes",
        "GET /nodes/{id}",
        "GET /sovereigns",
        "GET /topology",
        "GET /validators/active",
        "GET /validators/{id}",
        "POST /approve/{nodeId}",
        "POST /deny/{nodeId}",
        "POST /heartbeat",
        "POST /register",
        "POST /sovereign/add",
        "POST /sovereign/verify",
        "POST /validators",
        "POST /validators/{id}/heartbeat",
        "PUT /nodes/{id}",
    ];
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn a_page_of_any_origin_may_ask() {
    let (mesh, _folder) = Mesh::new().await;
    let response = mesh
        .request(reqwest::Method::GET, "/health")
        .header("origin", "http://elsewhere.example")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let preflight = mesh
        .request(reqwest::Method::OPTIONS, "/approve/a")
        .header("origin", "http://elsewhere.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let response = preflight.send().await.unwrap();
    assert!(response.status().is_success());
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn a_guard_learns_where_a_node_stands() {
    let (mesh, _folder) = Mesh::new().await;
    assert_eq!(mesh.registry.standing("a").await.unwrap(), None);
    mesh.register("a", &key(1)).await;
    let standing = |status| Some(NodeStanding { key: PublicKey(key(1).verifying_key().to_bytes()), status });
    assert_eq!(mesh.registry.standing("a").await.unwrap(), standing(NodeStatus::Pending));
    mesh.approve("a", 1).await;
    assert_eq!(mesh.registry.standing("a").await.unwrap(), standing(NodeStatus::Active));
    mesh.deny("a", 2).await;
    assert_eq!(mesh.registry.standing("a").await.unwrap(), standing(NodeStatus::Denied));
}
