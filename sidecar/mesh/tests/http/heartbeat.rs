//! `POST /heartbeat` and `POST /validators/{id}/heartbeat`.

use serde_json::{Value, json};
use tana_http::signature::sign_text;
use tana_mesh::limits::{HEARTBEATS_KEPT, WINDOW_MS};
use tana_mesh::wire::{HeartbeatRequest, ServiceHealth, ValidatorHeartbeatRequest};

use crate::mesh::{Mesh, code, key, refusal, with, without};

async fn approved() -> (Mesh, tempfile::TempDir) {
    let (mesh, folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    mesh.approve("a", 1).await;
    mesh.later(1_000);
    (mesh, folder)
}

#[tokio::test]
async fn a_node_says_that_it_is_alive_and_how_its_services_are() {
    let (mesh, _folder) = approved().await;
    let health =
        |kind: &str, healthy| ServiceHealth { kind: kind.to_owned(), healthy, last_check: Some(mesh.now() - 5) };
    let mut request = HeartbeatRequest::signed("a", &key(1), mesh.now());
    request.tailscale_ip = Some("100.64.0.9".to_owned());
    request.services = vec![health("ledger", true), health("consensus", false), health("unknown", true)];
    assert_eq!(mesh.post("/heartbeat", &request).await, (200, json!({"success": true, "timestamp": mesh.now()})));
    let (_, answer) = mesh.get("/nodes/a").await;
    assert_eq!(answer["node"]["last_heartbeat"], mesh.now());
    assert_eq!(answer["node"]["tailscale_ip"], "127.0.0.1", "what is not signed does not change the address");
    assert_eq!(answer["heartbeats"], json!([{"timestamp": mesh.now(), "tailscale_ip": "100.64.0.9"}]));
    let services = answer["node"]["services"].as_array().unwrap();
    assert_eq!(services.len(), 2);
    assert_eq!((&services[1]["service_type"], &services[1]["healthy"]), (&json!("consensus"), &json!(false)));
    assert_eq!((&services[0]["service_type"], &services[0]["healthy"]), (&json!("ledger"), &json!(true)));
    assert_eq!(services[0]["last_check"], mesh.now() - 5);
}

#[tokio::test]
async fn a_replay_changes_nothing_and_an_old_time_is_refused() {
    let (mesh, _folder) = approved().await;
    let first = HeartbeatRequest::signed("a", &key(1), mesh.now());
    let heard = mesh.now();
    assert_eq!(mesh.post("/heartbeat", &first).await.0, 200);
    mesh.later(WINDOW_MS);
    let mut replay = first.clone();
    replay.tailscale_ip = Some("6.6.6.6".to_owned());
    replay.services = vec![ServiceHealth { kind: "ledger".to_owned(), healthy: false, last_check: None }];
    assert_eq!(mesh.post("/heartbeat", &replay).await, (200, json!({"success": true, "timestamp": heard})));
    let (_, answer) = mesh.get("/nodes/a").await;
    assert_eq!(answer["node"]["last_heartbeat"], heard);
    assert_eq!(answer["heartbeats"], json!([{"timestamp": heard, "tailscale_ip": null}]));
    assert_eq!(answer["node"]["services"][1]["healthy"], Value::Null);
    mesh.later(1);
    assert_eq!(refusal(mesh.post("/heartbeat", &first).await), code(400, "stale_timestamp"));
    let ahead = HeartbeatRequest::signed("a", &key(1), mesh.now() + WINDOW_MS + 1);
    assert_eq!(refusal(mesh.post("/heartbeat", &ahead).await), code(400, "stale_timestamp"));
    assert_eq!(mesh.post("/heartbeat", &HeartbeatRequest::signed("a", &key(1), mesh.now() + WINDOW_MS)).await.0, 200);
}

#[tokio::test]
async fn who_may_not() {
    let (mesh, _folder) = approved().await;
    mesh.register("waits", &key(2)).await;
    mesh.register("denied", &key(3)).await;
    mesh.deny("denied", 2).await;
    assert_eq!(refusal(mesh.heartbeat("nobody", &key(1)).await), code(404, "unknown_node"));
    assert_eq!(refusal(mesh.heartbeat("waits", &key(2)).await), code(403, "not_active"));
    assert_eq!(refusal(mesh.heartbeat("denied", &key(3)).await), code(403, "not_active"));
    assert_eq!(refusal(mesh.heartbeat("a", &key(2)).await), code(401, "bad_signature"), "another node's key");
    assert_eq!(
        refusal(mesh.heartbeat("a", &crate::mesh::sovereign()).await),
        code(401, "bad_signature"),
        "not even the sovereign"
    );
    let request = HeartbeatRequest::signed("a", &key(1), mesh.now());
    for (field, value) in
        [("timestamp", json!(mesh.now() + 1)), ("signature", json!("ed25519_sig_")), ("signature", json!("é"))]
    {
        assert_eq!(
            refusal(mesh.post("/heartbeat", &with(&request, field, value)).await),
            code(401, "bad_signature"),
            "{field}"
        );
    }
    // The form of a note of the old system, without the id.
    let old = sign_text(&key(1), &format!("heartbeat:{}", mesh.now()));
    assert_eq!(refusal(mesh.post("/heartbeat", &with(&request, "signature", old)).await), code(401, "bad_signature"));
    let (_, answer) = mesh.get("/nodes/a").await;
    assert_eq!(answer["node"]["last_heartbeat"], Value::Null);
}

#[tokio::test]
async fn what_is_missing_and_what_cannot_be() {
    let (mesh, _folder) = approved().await;
    let request = HeartbeatRequest::signed("a", &key(1), mesh.now());
    for field in ["nodeId", "timestamp", "signature"] {
        assert_eq!(
            refusal(mesh.post("/heartbeat", &without(&request, field)).await),
            code(400, "bad_field"),
            "{field}"
        );
    }
    let many: Vec<Value> = (0..17).map(|n| json!({"type": format!("s{n}"), "healthy": true})).collect();
    for (field, value) in [
        ("tailscaleIP", json!("x")),
        ("services", json!(many)),
        ("services", json!([{"type": "ledger"}])),
        ("timestamp", json!(1.5)),
    ] {
        assert_eq!(
            refusal(mesh.post("/heartbeat", &with(&request, field, value)).await),
            code(400, "bad_field"),
            "{field}"
        );
    }
}

#[tokio::test]
async fn history_is_pruned() {
    let (mesh, _folder) = approved().await;
    for _ in 0..HEARTBEATS_KEPT + 5 {
        mesh.later(5_000);
        assert_eq!(mesh.heartbeat("a", &key(1)).await.0, 200);
    }
    let (_, answer) = mesh.get("/nodes/a").await;
    let history = answer["heartbeats"].as_array().unwrap();
    assert_eq!(history.len(), HEARTBEATS_KEPT);
    assert_eq!(history[0]["timestamp"], mesh.now(), "newest first");
    assert_eq!(history[HEARTBEATS_KEPT - 1]["timestamp"], mesh.now() - 5_000 * (HEARTBEATS_KEPT as u64 - 1));
}

#[tokio::test]
async fn a_validators_heartbeat_is_signed_and_registers_nobody() {
    let (mesh, _folder) = approved().await;
    let request = ValidatorHeartbeatRequest::signed("a", &key(1), mesh.now());
    let path = "/validators/a/heartbeat";
    // The empty body of the old system, with and without a content type.
    assert_eq!(refusal(mesh.post_raw(path, None, Vec::new()).await), code(401, "timestamp_missing"));
    assert_eq!(
        refusal(mesh.post_raw(path, Some("application/json"), b"{}".to_vec()).await),
        code(401, "timestamp_missing")
    );
    assert_eq!(refusal(mesh.post(path, &without(&request, "signature")).await), code(401, "signature_missing"));
    assert_eq!(
        refusal(mesh.post(path, &with(&request, "timestamp", mesh.now() + 1)).await),
        code(401, "bad_signature")
    );
    assert_eq!(refusal(mesh.post("/validators/nobody/heartbeat", &request).await), code(404, "unknown_node"));
    assert_eq!(refusal(mesh.get("/validators/nobody").await), code(404, "unknown_node"));
    assert_eq!(
        mesh.post(path, &request).await,
        (200, json!({"success": true, "timestamp": mesh.now(), "registered": true}))
    );
    mesh.register("waits", &key(2)).await;
    let waits = ValidatorHeartbeatRequest::signed("waits", &key(2), mesh.now());
    assert_eq!(refusal(mesh.post("/validators/waits/heartbeat", &waits).await), code(403, "not_active"));
    let (_, answer) = mesh.get("/validators/active").await;
    assert_eq!(answer["validators"][0]["lastSeen"], mesh.now());
    mesh.later(WINDOW_MS + 1);
    assert_eq!(refusal(mesh.post(path, &request).await), code(400, "stale_timestamp"));
}
