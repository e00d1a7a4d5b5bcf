//! The HTTP routes: the state, the page, and chaos.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};

use common::{FakeNodes, FakeValidator, PATIENCE, healthy, serve, serve_router};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tana_http::routes::Route;
use tana_http::routes::walk::strangers;
use tana_visualizer::{
    Chaos, ChaosError, DevnetToken, Done, Options, PageOptions, chaos_router, chaos_routes, page_router,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const ACTIONS: [&str; 6] =
    ["kill-validator", "network-partition", "corrupt-data", "inject-latency", "byzantine-behavior", "recover-all"];

/// Writes down what it is asked to do.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn note(&self, what: String) -> Done<'_> {
        self.0.lock().unwrap().push(what.clone());
        Box::pin(async move { Ok(what) })
    }
}

impl Chaos for Notes {
    fn kill<'a>(&'a self, validator: &'a str) -> Done<'a> {
        match validator {
            "val_9" => Box::pin(async { Err(ChaosError::UnknownValidator("val_9".to_owned())) }),
            "val_8" => Box::pin(async { Err(ChaosError::NotNow("val_8 is dead already".to_owned())) }),
            "val_7" => Box::pin(async { Err(ChaosError::Failed("no such process".to_owned())) }),
            _ => self.note(format!("kill {validator}")),
        }
    }
    fn partition<'a>(&'a self, validators: &'a [String]) -> Done<'a> {
        self.note(format!("partition {}", validators.join("+")))
    }
    fn lag<'a>(&'a self, validator: &'a str, latency_ms: u64) -> Done<'a> {
        self.note(format!("lag {validator} {latency_ms}"))
    }
    fn corrupt<'a>(&'a self, validator: &'a str, kind: Option<&'a str>) -> Done<'a> {
        self.note(format!("corrupt {validator} {}", kind.unwrap_or("-")))
    }
    fn byzantine<'a>(&'a self, validator: &'a str, kind: Option<&'a str>) -> Done<'a> {
        self.note(format!("byzantine {validator} {}", kind.unwrap_or("-")))
    }
    fn recover(&self) -> Done<'_> {
        self.note("recover".to_owned())
    }
}

async fn ask(base: &str, action: &str, token: Option<&str>, body: String) -> (StatusCode, Value) {
    let mut request =
        Client::new().post(format!("{base}/api/chaos/{action}")).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let response = request.body(body).send().await.unwrap();
    (response.status(), response.json().await.unwrap_or(Value::Null))
}

#[tokio::test]
async fn every_action_is_done_for_the_devnets_own_page_and_for_nobody_else() {
    let notes = Arc::new(Notes::default());
    let router = chaos_router(Some((notes.clone(), DevnetToken::new(TOKEN).unwrap())));
    let base = format!("http://{}", serve_router(router).await);
    let bodies = [
        json!({ "validatorId": "val_1" }),
        json!({ "validatorIds": ["val_1", "val_2"] }),
        json!({ "validatorId": "val_1", "dataType": "block" }),
        json!({ "validatorId": "val_1", "latencyMs": 250 }),
        json!({ "validatorId": "val_1", "behaviorType": "equivocate" }),
        json!({}),
    ];
    for (action, body) in ACTIONS.iter().zip(&bodies) {
        for token in [None, Some("x"), Some(&TOKEN[1..]), Some("")] {
            let (status, answer) = ask(&base, action, token, body.to_string()).await;
            assert_eq!((status, &answer["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized")), "{action}");
            // Not even the body is looked at.
            assert_eq!(ask(&base, action, token, "{".to_owned()).await.0, StatusCode::UNAUTHORIZED);
        }
    }
    assert!(notes.0.lock().unwrap().is_empty());
    for (action, body) in ACTIONS.iter().zip(&bodies) {
        let (status, answer) = ask(&base, action, Some(TOKEN), body.to_string()).await;
        assert_eq!((status, &answer["success"]), (StatusCode::OK, &json!(true)), "{action}: {answer}");
    }
    let expected = [
        "kill val_1",
        "partition val_1+val_2",
        "corrupt val_1 block",
        "lag val_1 250",
        "byzantine val_1 equivocate",
        "recover",
    ];
    assert_eq!(*notes.0.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_stranger_who_walks_all_routes_changes_nothing() {
    let notes = Arc::new(Notes::default());
    let (router, table) = chaos_routes(notes.clone(), DevnetToken::new(TOKEN).unwrap());
    let bodies = |_: &Route| {
        vec![
            json!({ "validatorId": "val_1", "validatorIds": ["val_1"], "latencyMs": 1, "signature": "ed25519_sig_00" }),
        ]
    };
    assert_eq!(table.len(), ACTIONS.len());
    assert_eq!(strangers(&router, &table, bodies).await, Vec::<String>::new());
    assert!(notes.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bad_requests_are_refused_with_a_reason() {
    let notes = Arc::new(Notes::default());
    let router = chaos_router(Some((notes.clone(), DevnetToken::new(TOKEN).unwrap())));
    let base = format!("http://{}", serve_router(router).await);
    let many: Vec<String> = (0..300).map(|number| format!("val_{number}")).collect();
    let cases: Vec<(&str, String)> = vec![
        ("kill-validator", String::new()),
        ("kill-validator", "[]".to_owned()),
        ("kill-validator", "{}".to_owned()),
        ("kill-validator", json!({ "validatorId": 4 }).to_string()),
        ("kill-validator", json!({ "validatorId": "" }).to_string()),
        ("kill-validator", json!({ "validatorId": "../../etc" }).to_string()),
        ("kill-validator", json!({ "validatorId": "-9" }).to_string()),
        ("kill-validator", json!({ "validatorId": "a;b" }).to_string()),
        ("kill-validator", json!({ "validatorId": "a".repeat(500) }).to_string()),
        ("network-partition", json!({ "validatorIds": [] }).to_string()),
        ("network-partition", json!({ "validatorIds": many }).to_string()),
        ("network-partition", json!({ "validatorIds": ["a b"] }).to_string()),
        ("inject-latency", json!({ "validatorId": "val_1" }).to_string()),
        ("inject-latency", json!({ "validatorId": "val_1", "latencyMs": -1 }).to_string()),
        ("inject-latency", json!({ "validatorId": "val_1", "latencyMs": 10_001 }).to_string()),
        ("corrupt-data", json!({ "validatorId": "val_1", "dataType": "$(x)" }).to_string()),
    ];
    for (action, body) in cases {
        let (status, answer) = ask(&base, action, Some(TOKEN), body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{action} {body}");
        assert!(answer["error"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    }
    let large = json!({ "validatorId": "a", "x": "a".repeat(100_000) }).to_string();
    assert_eq!(ask(&base, "kill-validator", Some(TOKEN), large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    for (id, status, code) in [("val_9", 404, "unknown_validator"), ("val_8", 409, "not_now"), ("val_7", 500, "failed")]
    {
        let (found, answer) = ask(&base, "kill-validator", Some(TOKEN), json!({ "validatorId": id }).to_string()).await;
        assert_eq!((found.as_u16(), answer["code"].as_str()), (status, Some(code)));
    }
    assert_eq!(ask(&base, "no-such-action", Some(TOKEN), "{}".to_owned()).await.0, StatusCode::NOT_FOUND);
    let get = Client::new().get(format!("{base}/api/chaos/kill-validator")).send().await.unwrap();
    assert_eq!(get.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(notes.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_the_means_there_is_no_chaos() {
    let base = format!("http://{}", serve_router(chaos_router(None)).await);
    for action in ACTIONS {
        let (status, answer) = ask(&base, action, Some(TOKEN), "{}".to_owned()).await;
        assert_eq!((status, answer["code"].as_str()), (StatusCode::NOT_FOUND, Some("no_chaos")));
    }
    assert!(DevnetToken::new("short").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_is_answered_as_json() {
    let nodes = FakeNodes::new();
    let one = FakeValidator::start(1, 1);
    nodes.put(1, one.address, "active");
    let served = serve(nodes, Options::default()).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let response = reqwest::get(format!("http://{}/api/network", served.http)).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        let state: Value = response.json().await.unwrap();
        assert_eq!(state["kind"], "snapshot");
        if healthy(&state) == 1 {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "it is never healthy: {state}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_page_is_served_with_its_policy_and_not_again_when_it_is_known() {
    let router = page_router(PageOptions { ports: vec![8191, 8080], elsewhere: Vec::new() });
    let base = format!("http://{}", serve_router(router).await);
    let page = reqwest::get(&base).await.unwrap();
    if page.status() == StatusCode::NOT_FOUND {
        // Built without a page: then that is what is said.
        assert_eq!(page.json::<Value>().await.unwrap()["code"], "not_found");
        return;
    }
    assert_eq!(page.status(), StatusCode::OK);
    let header = |name: &str| page.headers()[name].to_str().unwrap().to_owned();
    assert!(header("content-type").starts_with("text/html"));
    assert_eq!(header("cache-control"), "no-cache");
    let policy = header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("ws://127.0.0.1:8191"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    let etag = header("etag");
    let html = page.text().await.unwrap();
    let again = Client::new().get(&base).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let other = Client::new().get(&base).header("if-none-match", "\"0\"").send().await.unwrap();
    assert_eq!(other.status(), StatusCode::OK);

    // Every script and style that it names is there, and kept.
    let named = html.split(['"', '\'']).filter(|text| text.contains("assets/") && !text.contains(['<', ' ']));
    for path in named {
        assert!(!path.contains("://"), "{path} is elsewhere");
        let path = path.trim_start_matches('.').trim_start_matches('/');
        let asset = reqwest::get(format!("{base}/{path}")).await.unwrap();
        assert_eq!(asset.status(), StatusCode::OK, "{path}");
        assert!(asset.headers()["cache-control"].to_str().unwrap().contains("immutable"));
        assert_ne!(asset.headers()["content-type"], "application/octet-stream", "{path}");
    }
    for path in ["/../Cargo.toml", "/assets/none.js", "/assets/../../Cargo.toml"] {
        let answer = Client::new().request(Method::GET, format!("{base}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}
