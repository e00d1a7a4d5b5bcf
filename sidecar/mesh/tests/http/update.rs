//! `PUT /nodes/{id}`: a node says where it is now, with its token.

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use tana_http::token::{Claims, Service as Speaker, issue};
use tana_mesh::ChangeKind;
use tana_mesh::wire::RegisterRequest;

use crate::mesh::{Mesh, code, key, public, refusal, with};

fn token(mesh: &Mesh, id: &str, signer: &SigningKey, audience: &str) -> String {
    issue(signer, &Claims::new(Speaker::Consensus, id, audience, mesh.now())).unwrap()
}

/// What `id` says of itself now: at another host, with another port and without its ledger.
fn moved(mesh: &Mesh, id: &str, signer: &SigningKey) -> RegisterRequest {
    let mut request = mesh.registration(id, signer);
    request.tailscale_hostname = "elsewhere.example".to_owned();
    request.tailscale_ip = Some("10.0.0.9".to_owned());
    request.services.remove(0);
    request.services[0].port = 9_100;
    request.sign(signer, mesh.now())
}

async fn put(mesh: &Mesh, id: &str, token: Option<&str>, body: &impl serde::Serialize) -> (u16, Value) {
    let mut request = mesh.request(reqwest::Method::PUT, &format!("/nodes/{id}")).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// A node `a` that is active, at a moment later than its registration.
async fn active() -> (Mesh, tempfile::TempDir) {
    let (mesh, folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    mesh.approve("a", 1).await;
    assert_eq!(mesh.heartbeat("a", &key(1)).await.0, 200);
    mesh.later(1_000);
    (mesh, folder)
}

#[tokio::test]
async fn a_node_moves() {
    let (mesh, _folder) = active().await;
    let before = mesh.get("/nodes/a").await.1["node"].clone();
    let mut feed = mesh.registry.subscribe();
    let request = moved(&mesh, "a", &key(1));
    let answer = put(&mesh, "a", Some(&token(&mesh, "a", &key(1), "mesh")), &request).await;
    assert_eq!(answer, (200, json!({"success": true, "nodeId": "a", "status": "active"})));
    assert_eq!(feed.try_recv().unwrap().kind, ChangeKind::Updated);
    let (_, answer) = mesh.get("/nodes/a").await;
    let node = &answer["node"];
    assert_eq!((&node["tailscale_hostname"], &node["tailscale_ip"]), (&json!("elsewhere.example"), &json!("10.0.0.9")));
    assert_eq!(node["services"].as_array().unwrap().len(), 1);
    assert_eq!((&node["services"][0]["port"], &node["services"][0]["created_at"]), (&json!(9_100), &json!(mesh.now())));
    assert_eq!(node["registration_signature"], request.signature);
    assert_eq!(answer["validator"]["address"], "10.0.0.9:9100");
    // What it does not say stays.
    for field in ["status", "approved_at", "approved_by", "registered_at", "last_heartbeat"] {
        assert_eq!(node[field], before[field], "{field}");
    }
    // What it said before, sent again, does not take it back; and neither does the same once more.
    let token = token(&mesh, "a", &key(1), "mesh");
    assert_eq!(refusal(put(&mesh, "a", Some(&token), &request).await), code(401, "overtaken"));
}

#[tokio::test]
async fn who_may_not() {
    let (mesh, _folder) = active().await;
    for (id, number) in [("waits", 2), ("denied", 3), ("other", 4)] {
        mesh.register(id, &key(number)).await;
    }
    mesh.deny("denied", 5).await;
    mesh.approve("other", 6).await;
    mesh.later(1_000);
    let before = mesh.get("/nodes?status=all").await;
    let request = moved(&mesh, "a", &key(1));
    let own = token(&mesh, "a", &key(1), "mesh");
    assert_eq!(refusal(put(&mesh, "a", None, &request).await), code(401, "token_missing"));
    let forged = token(&mesh, "a", &key(4), "mesh");
    assert_eq!(refusal(put(&mesh, "a", Some(&forged), &request).await), code(401, "token_signature"));
    let elsewhere = token(&mesh, "a", &key(1), "ledger");
    assert_eq!(refusal(put(&mesh, "a", Some(&elsewhere), &request).await), code(403, "token_audience"));
    for (id, number) in [("waits", 2), ("denied", 3)] {
        let (token, request) = (token(&mesh, id, &key(number), "mesh"), moved(&mesh, id, &key(number)));
        assert_eq!(refusal(put(&mesh, id, Some(&token), &request).await), code(403, "token_node_not_active"), "{id}");
    }
    // A node speaks for itself alone, and a token alone does not speak.
    let others = token(&mesh, "other", &key(4), "mesh");
    assert_eq!(refusal(put(&mesh, "a", Some(&others), &request).await), code(403, "not_own_node"));
    assert_eq!(refusal(put(&mesh, "a", Some(&own), &moved(&mesh, "other", &key(4))).await), code(400, "bad_field"));
    for (field, value) in
        [("tailscaleHostname", json!("x")), ("services", json!([])), ("timestamp", json!(mesh.now() + 1))]
    {
        let changed = with(&request, field, value);
        assert_eq!(refusal(put(&mesh, "a", Some(&own), &changed).await), code(401, "bad_signature"), "{field}");
    }
    let another_key = moved(&mesh, "a", &key(9));
    assert_eq!(refusal(put(&mesh, "a", Some(&own), &another_key).await), code(404, "unknown_node"));
    let mut claims = mesh.registration("a", &key(1));
    claims.services[1].public_key = public(&key(4));
    let claims = claims.sign(&key(1), mesh.now());
    assert_eq!(refusal(put(&mesh, "a", Some(&own), &claims).await), code(409, "duplicate_key"));
    assert_eq!(mesh.get("/nodes?status=all").await, before);
}

#[tokio::test]
async fn a_registration_can_be_checked_by_what_is_shown_of_it() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    let (_, answer) = mesh.get("/nodes/a").await;
    let node = &answer["node"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let service =
        |row: &Value| json!({"type": row["service_type"], "port": row["port"], "publicKey": row["public_key"]});
    let services: Vec<Value> = node["services"].as_array().unwrap().iter().map(service).collect();
    let request: RegisterRequest = serde_json::from_value(json!({
        "nodeId": node["id"], "publicKey": node["public_key"], "tailscaleHostname": node["tailscale_hostname"],
        "tailscaleIP": node["tailscale_ip"], "services": services, "signature": node["registration_signature"],
    }))
    .unwrap();
    let signed = request.text(node["registration_timestamp"].as_u64().unwrap());
    let key = text(&node["public_key"]).parse().unwrap();
    tana_http::signature::verify_text(&key, &signed, &request.signature).unwrap();
}
