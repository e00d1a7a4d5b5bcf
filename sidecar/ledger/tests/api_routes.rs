//! All routes as a stranger meets them, and as the document names them; and a reader that has nothing to read yet.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use tana_http::routes::walk::strangers;
use tana_http::routes::{Access, Route};
use tana_ledger::api::{ApiConfig, ApiState, default_limits, openapi, router, routes};
use tana_ledger::chain::Chain;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tower::ServiceExt;

fn genesis() -> Genesis {
    let key = |number: u8| PublicKey(SigningKey::from_bytes(&[number; 32]).verifying_key().to_bytes());
    let text = format!(
        r#"
chain = "test"
timestamp_ms = 1
[sovereign]
key = "{}"
[[currency]]
code = "USD"
decimals = 2
type = "fiat"
[[validator]]
key = "{}"
address = "127.0.0.1:9000"
"#,
        key(6),
        key(50)
    );
    Genesis::parse(&text).unwrap()
}

/// Bodies that are well formed but that nobody signed.
fn unsigned(route: &Route) -> Vec<Value> {
    let key = PublicKey(SigningKey::from_bytes(&[6; 32]).verifying_key().to_bytes()).to_string();
    let signature = format!("ed25519_sig_{}", "00".repeat(64));
    let mut transfer = vec![1, 2, 60, 0];
    transfer.extend(&genesis().hash()[..4]);
    transfer.extend([0; 172]);
    transfer[24..56].copy_from_slice(&SigningKey::from_bytes(&[6; 32]).verifying_key().to_bytes());
    transfer[88..91].copy_from_slice(b"USD");
    match route.path.as_str() {
        "/transactions" => vec![
            json!({"transaction": hex::encode(&transfer)}),
            json!({"type": "role_change", "from": key, "to": key, "role": "staff", "nonce": 1, "timestamp": 1, "signature": signature}),
        ],
        "/users" => vec![
            json!({"publicKey": key, "username": "@x", "displayName": "x", "timestamp": 1, "signature": signature}),
        ],
        _ => vec![json!({"role": "sovereign", "amount": "5", "confirmerId": key})],
    }
}

#[tokio::test]
async fn nothing_that_writes_answers_a_stranger() {
    let folder = tempfile::tempdir().unwrap();
    let state = ApiState::start(Chain::open(folder.path(), genesis()).unwrap(), ApiConfig::default());
    let limits = tana_http::limits::LimitsConfig { rate: None, ..default_limits() };
    let (router, table) = router(state, &limits);
    assert!(table.iter().filter(|route| route.access != Access::Read).count() >= 9);
    assert_eq!(strangers(&router, &table, unsigned).await, Vec::<String>::new());
    // Whatever is no read and changes nothing is named here, so that a new one is looked at.
    let asks: Vec<String> = table
        .iter()
        .filter(|route| route.access == Access::Read && route.method != Method::GET)
        .map(ToString::to_string)
        .collect();
    assert_eq!(asks, ["POST /consensus/validate"]);
}

#[tokio::test]
async fn what_wrote_without_a_signature_says_what_to_do_instead() {
    let folder = tempfile::tempdir().unwrap();
    let state = ApiState::start(Chain::open(folder.path(), genesis()).unwrap(), ApiConfig::default());
    let (router, _) = router(state, &default_limits());
    for (method, path) in [
        (Method::PATCH, "/users/1"),
        (Method::DELETE, "/users/1"),
        (Method::POST, "/balances"),
        (Method::POST, "/balances/currencies"),
        (Method::POST, "/balances/currencies/seed"),
        (Method::POST, "/transactions/1/confirm"),
        (Method::POST, "/consensus/votes"),
        (Method::GET, "/contracts"),
        (Method::POST, "/contracts/1/deactivate"),
    ] {
        let request = Request::builder().method(&method).uri(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::GONE, "{method} {path}");
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        assert!(body["code"] == "retired" && body["error"].as_str().unwrap().len() > 40, "{body}");
    }
}

#[tokio::test]
async fn before_there_is_anything_to_read_every_answer_says_so_and_none_is_a_500() {
    let folder = tempfile::tempdir().unwrap();
    let state = ApiState::start(Chain::open(&folder.path().join("none"), genesis()).unwrap(), ApiConfig::default());
    let (router, table) = router(state, &default_limits());
    for route in table.iter().filter(|route| route.method == Method::GET) {
        let path: Vec<&str> =
            route.path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect();
        let request = Request::builder().uri(path.join("/")).body(Body::empty()).unwrap();
        let status = router.clone().oneshot(request).await.unwrap().status();
        assert!(!status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE, "{route}: {status}");
    }
    for path in ["/ready", "/blocks", "/users", "/balances/currencies", "/validators", "/pending", "/transactions"] {
        let response = router.clone().oneshot(Request::builder().uri(path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    let response = router.oneshot(Request::builder().uri("/health").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[test]
fn the_document_names_every_route_and_no_other() {
    let document = serde_json::to_value(openapi::document()).unwrap();
    let mut named = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            named.insert(format!("{} {path}", method.to_uppercase()));
            assert!(
                operation["summary"].as_str().or(operation["description"].as_str()).is_some(),
                "{path} says nothing"
            );
            for parameter in operation["parameters"].as_array().unwrap_or(&Vec::new()) {
                let schema = &parameter["schema"];
                let bounded = ["maximum", "maxLength", "pattern"].iter().any(|limit| !schema[limit].is_null());
                assert!(bounded, "{path}: the parameter {} has no limit: {schema}", parameter["name"]);
            }
        }
    }
    let routes = routes();
    let own = |route: &&Route| !route.path.starts_with("/docs") && route.path != openapi::DOCUMENT_PATH;
    let retired = |route: &&Route| {
        route.path.starts_with("/contracts")
            || (route.access == Access::SignedText && !["/transactions", "/users"].contains(&route.path.as_str()))
    };
    let served: BTreeSet<String> =
        routes.table().iter().filter(own).filter(|route| !retired(route)).map(ToString::to_string).collect();
    assert_eq!(named, served);
}
