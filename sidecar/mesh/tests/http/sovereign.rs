//! `POST /sovereign/add`, `POST /sovereign/verify`, `GET /sovereigns`.

use std::sync::Arc;

use serde_json::json;
use tana_http::signature::sign_text;
use tana_mesh::limits::WINDOW_MS;
use tana_mesh::wire::{Decision, DecisionRequest, SovereignAddRequest};
use tana_mesh::{Registry, Sovereigns};
use tana_types::key::PublicKey;

use crate::mesh::{Mesh, code, key, nonce, public, refusal, sovereign, with, without};

fn add(key: &ed25519_dalek::SigningKey, description: &str) -> SovereignAddRequest {
    let description = Some(description.to_owned());
    SovereignAddRequest { public_key: public(key), description, admin_signature: None, timestamp: None, nonce: None }
}

#[tokio::test]
async fn the_sovereign_describes_keys_and_makes_nobody_sovereign() {
    let (mesh, _folder) = Mesh::new().await;
    let own = add(&sovereign(), "the first").sign(&sovereign(), mesh.now(), &nonce(1));
    assert_eq!(mesh.post("/sovereign/add", &own).await, (200, json!({"success": true, "onChain": true})));
    let next = add(&key(5), "the next").sign(&sovereign(), mesh.now(), &nonce(2));
    assert_eq!(mesh.post("/sovereign/add", &next).await, (200, json!({"success": true, "onChain": false})));
    let (_, answer) = mesh.get("/sovereigns").await;
    let row = |key: &ed25519_dalek::SigningKey, text: &str, on_chain: bool| json!({"public_key": public(key), "description": text, "added_at": mesh.now(), "on_chain": on_chain});
    assert_eq!(answer, json!({"sovereigns": [row(&sovereign(), "the first", true), row(&key(5), "the next", false)]}));
    mesh.register("a", &key(1)).await;
    let request = DecisionRequest::signed(Decision::Approve, "a", &key(5), mesh.now(), &nonce(3));
    assert_eq!(refusal(mesh.post("/approve/a", &request).await), code(403, "not_sovereign"));
}

#[tokio::test]
async fn nobody_else_describes() {
    let (mesh, _folder) = Mesh::new().await;
    let request = add(&key(5), "mine").sign(&key(5), mesh.now(), &nonce(1));
    assert_eq!(refusal(mesh.post("/sovereign/add", &request).await), code(401, "bad_signature"));
    let request = add(&key(5), "mine").sign(&sovereign(), mesh.now(), &nonce(1));
    assert_eq!(refusal(mesh.post("/sovereign/add", &without(&request, "publicKey")).await), code(400, "bad_field"));
    for (field, expected) in [
        ("adminSignature", "signature_missing"),
        ("timestamp", "timestamp_missing"),
        ("nonce", "nonce_missing"),
        ("description", "bad_signature"),
    ] {
        assert_eq!(
            refusal(mesh.post("/sovereign/add", &without(&request, field)).await),
            code(401, expected),
            "{field}"
        );
    }
    for (field, value) in [("publicKey", public(&key(6))), ("description", "other".to_owned()), ("nonce", nonce(2))] {
        let answer = refusal(mesh.post("/sovereign/add", &with(&request, field, value)).await);
        assert_eq!(answer, code(401, "bad_signature"), "{field}");
    }
    let long = add(&key(5), &"x".repeat(201)).sign(&sovereign(), mesh.now(), &nonce(1));
    assert_eq!(refusal(mesh.post("/sovereign/add", &long).await), code(400, "bad_field"));
    assert_eq!(mesh.post("/sovereign/add", &request).await.0, 200);
    assert_eq!(refusal(mesh.post("/sovereign/add", &request).await), code(401, "replayed"));
    mesh.later(WINDOW_MS + 1);
    assert_eq!(refusal(mesh.post("/sovereign/add", &request).await), code(401, "stale_timestamp"));
}

#[tokio::test]
async fn verify() {
    let (mesh, _folder) = Mesh::new().await;
    let (own, other) = (public(&sovereign()), public(&key(1)));
    let signature = sign_text(&sovereign(), "a message");
    let valid = (200, json!({"valid": true, "publicKey": own}));
    let body = json!({"message": "a message", "signature": signature});
    assert_eq!(mesh.post("/sovereign/verify", &body).await, valid, "tries every sovereign key");
    assert_eq!(mesh.post("/sovereign/verify", &with(&body, "publicKey", own.as_str())).await, valid);
    assert_eq!(
        refusal(mesh.post("/sovereign/verify", &with(&body, "message", "another")).await),
        code(401, "bad_signature")
    );
    let theirs = json!({"message": "a message", "signature": sign_text(&key(1), "a message"), "publicKey": other});
    assert_eq!(refusal(mesh.post("/sovereign/verify", &theirs).await), code(403, "not_sovereign"));
    assert_eq!(
        refusal(mesh.post("/sovereign/verify", &without(&theirs, "publicKey")).await),
        code(401, "bad_signature")
    );
    assert_eq!(
        refusal(mesh.post("/sovereign/verify", &with(&theirs, "publicKey", own)).await),
        code(401, "bad_signature")
    );
    for field in ["message", "signature"] {
        assert_eq!(
            refusal(mesh.post("/sovereign/verify", &without(&body, field)).await),
            code(400, "bad_field"),
            "{field}"
        );
    }
}

/// A chain that cannot be asked.
struct Away;

impl Sovereigns for Away {
    fn keys(&self) -> Option<Vec<PublicKey>> {
        None
    }
}

#[tokio::test]
async fn a_chain_that_cannot_be_asked_makes_nobody_a_stranger() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Registry::open(folder.path(), Arc::new(Away), None, tana_http::clock::system()).unwrap();
    let mesh = open();
    let decision = DecisionRequest::signed(Decision::Approve, "a", &sovereign(), 1, &nonce(1));
    let body = serde_json::to_value(decision).unwrap().as_object().unwrap().clone();
    let refused = [
        mesh.decide(Decision::Approve, "a", body).await.unwrap_err(),
        mesh.add_sovereign(add(&key(5), "x").sign(&sovereign(), tana_http::clock::system()(), &nonce(2)))
            .await
            .unwrap_err(),
        mesh.sovereigns().await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!((error.status.as_u16(), error.code), (503, "unavailable"), "{error}");
    }
}
