//! `POST /register` and `POST /validators`.

use serde_json::{Value, json};
use tana_http::signature::sign_text;
use tana_mesh::limits::{PENDING_PER_ADDRESS_MAX, WINDOW_MS};
use tana_mesh::wire::{RegisterRequest, ValidatorRequest};

use crate::mesh::{Mesh, code, key, nonce, public, refusal, registration, with, without};

#[tokio::test]
async fn a_node_registers_and_waits() {
    let (mesh, _folder) = Mesh::new().await;
    let (status, answer) = mesh.post("/register", &mesh.registration("val_1", &key(1))).await;
    assert_eq!(status, 201);
    assert_eq!(answer["success"], true);
    assert_eq!(answer["nodeId"], "val_1");
    assert_eq!(answer["status"], "pending");
    assert!(answer["message"].is_string());
    let (_, answer) = mesh.get("/nodes/val_1").await;
    let node = &answer["node"];
    assert_eq!(node["id"], "val_1");
    assert_eq!(node["public_key"], public(&key(1)));
    assert_eq!(node["tailscale_hostname"], "val_1.local.ts.net");
    assert_eq!(node["tailscale_ip"], "127.0.0.1");
    assert_eq!(node["status"], "pending");
    assert_eq!(node["registered_at"], mesh.now());
    for empty in ["approved_at", "approved_by", "last_heartbeat"] {
        assert_eq!(node[empty], Value::Null, "{empty}");
    }
    assert_eq!(node["registration_signature"], mesh.registration("val_1", &key(1)).signature);
    assert_eq!(node["services"][1]["service_type"], "consensus", "in the order in which they were signed");
    assert_eq!(node["services"][1]["port"], 9000);
    assert_eq!(node["services"][1]["node_id"], "val_1");
    assert_eq!(node["services"][1]["created_at"], mesh.now());
}

#[tokio::test]
async fn services_may_be_empty_but_not_missing() {
    let (mesh, _folder) = Mesh::new().await;
    let mut request = mesh.registration("a", &key(1));
    request.services.clear();
    request.tailscale_ip = None;
    let request = request.sign(&key(1), mesh.now());
    assert_eq!(mesh.post("/register", &without(&request, "services")).await.0, 400);
    assert_eq!(mesh.post("/register", &request).await.0, 201);
}

#[tokio::test]
async fn the_spelling_of_the_signed_text_is_taken_for_the_address() {
    let (mesh, _folder) = Mesh::new().await;
    let request = mesh.registration("a", &key(1));
    let mut body = without(&request, "tailscaleIP");
    body["tailscaleIp"] = json!("127.0.0.1");
    assert_eq!(mesh.post("/register", &body).await.0, 201);
}

#[tokio::test]
async fn missing_fields() {
    let (mesh, _folder) = Mesh::new().await;
    let request = mesh.registration("a", &key(1));
    for field in ["nodeId", "publicKey", "tailscaleHostname", "services", "signature"] {
        assert_eq!(refusal(mesh.post("/register", &without(&request, field)).await), code(400, "bad_field"), "{field}");
    }
    assert_eq!(refusal(mesh.post("/register", &without(&request, "timestamp")).await), code(401, "timestamp_missing"));
    assert_eq!(mesh.registry.count().total, 0);
}

#[tokio::test]
async fn every_field_is_signed() {
    let (mesh, _folder) = Mesh::new().await;
    let request = mesh.registration("a", &key(1));
    let service = json!([{"type": "ledger", "port": 8081, "publicKey": public(&key(1))}]);
    for (field, value) in [
        ("nodeId", json!("b")),
        ("publicKey", json!(public(&key(2)))),
        ("tailscaleHostname", json!("other.ts.net")),
        ("tailscaleIP", json!("127.0.0.2")),
        ("tailscaleIP", Value::Null),
        ("services", json!([])),
        ("services", service),
        ("timestamp", json!(mesh.now() + 1)),
        ("signature", json!(registration("b", &key(1), mesh.now()).signature)),
        ("signature", json!("ed25519_sig_00")),
        ("signature", json!("garbage")),
        ("signature", json!("")),
    ] {
        let answer = refusal(mesh.post("/register", &with(&request, field, value)).await);
        assert_eq!(answer, code(401, "bad_signature"), "{field}");
    }
    assert_eq!(mesh.registry.count().total, 0);
    assert_eq!(mesh.post("/register", &request).await.0, 201);
}

#[tokio::test]
async fn the_old_text_is_told_the_new_form() {
    let (mesh, _folder) = Mesh::new().await;
    let mut request = mesh.registration("a", &key(1));
    let old = format!(r#"{{"nodeId":"a","publicKey":"{}","tailscaleHostname":"a.local.ts.net"}}"#, public(&key(1)));
    assert_eq!(old, request.old_text());
    request.signature = sign_text(&key(1), &old);
    let (status, answer) = mesh.post("/register", &request).await;
    assert_eq!((status, answer["code"].as_str()), (401, Some("old_signed_text")));
    assert!(answer["error"].as_str().unwrap().contains(RegisterRequest::FORM), "{answer}");
    let (status, answer) = mesh.post("/register", &without(&request, "timestamp")).await;
    assert_eq!(status, 401);
    assert!(answer["error"].as_str().unwrap().contains(RegisterRequest::FORM), "{answer}");
}

#[tokio::test]
async fn times_that_are_off() {
    let (mesh, _folder) = Mesh::new().await;
    for (at, status) in [
        (mesh.now() - WINDOW_MS - 1, 401),
        (mesh.now() + WINDOW_MS + 1, 401),
        (0, 401),
        (u64::MAX, 401),
        (mesh.now() - WINDOW_MS, 201),
    ] {
        assert_eq!(mesh.post("/register", &registration("a", &key(1), at)).await.0, status, "{at}");
    }
    assert_eq!(mesh.post("/register", &registration("b", &key(2), mesh.now() + WINDOW_MS)).await.0, 201);
}

#[tokio::test]
async fn fields_that_cannot_be() {
    let (mesh, _folder) = Mesh::new().await;
    let sign = |change: &dyn Fn(&mut RegisterRequest)| {
        let mut request = mesh.registration("a", &key(1));
        change(&mut request);
        request.sign(&key(1), mesh.now())
    };
    let many = |request: &mut RegisterRequest| {
        request.services = (0..17)
            .map(|n| tana_mesh::wire::Service { kind: format!("s{n}"), port: 1, public_key: public(&key(1)) })
            .collect();
    };
    for (what, request) in [
        ("id with a colon", sign(&|request| request.node_id = "a:b".to_owned())),
        ("id that is a path", sign(&|request| request.node_id = "active".to_owned())),
        ("long id", sign(&|request| request.node_id = "x".repeat(65))),
        ("host with a blank", sign(&|request| request.tailscale_hostname = "a b".to_owned())),
        ("host with markup", sign(&|request| request.tailscale_hostname = "<script>".to_owned())),
        ("long host", sign(&|request| request.tailscale_hostname = "x".repeat(256))),
        ("no address", sign(&|request| request.tailscale_ip = Some("localhost".to_owned()))),
        ("service twice", sign(&|request| request.services[1].kind = "ledger".to_owned())),
        ("service without a name", sign(&|request| request.services[1].kind = String::new())),
        ("port 0", sign(&|request| request.services[1].port = 0)),
        ("service key", sign(&|request| request.services[1].public_key = "ed25519_00".to_owned())),
        ("too many services", sign(&many)),
    ] {
        assert_eq!(refusal(mesh.post("/register", &request).await), code(400, "bad_field"), "{what}");
    }
    let request = mesh.registration("a", &key(1));
    for (field, value) in [
        ("timestamp", json!("now")),
        ("timestamp", json!(-1)),
        ("nodeId", json!(7)),
        ("services", json!({})),
        ("publicKey", json!("ed25519_xyz")),
        // Anybody can sign for a point of small order.
        ("publicKey", json!(format!("ed25519_01{}", "00".repeat(31)))),
    ] {
        assert_eq!(
            refusal(mesh.post("/register", &with(&request, field, value)).await),
            code(400, "bad_field"),
            "{field}"
        );
    }
    assert_eq!(mesh.registry.count().total, 0);
}

#[tokio::test]
async fn ids_and_keys_are_taken_once() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    assert_eq!(
        refusal(mesh.post("/register", &mesh.registration("a", &key(1))).await),
        code(409, "duplicate_id"),
        "replay"
    );
    assert_eq!(refusal(mesh.post("/register", &mesh.registration("a", &key(2))).await), code(409, "duplicate_id"));
    assert_eq!(refusal(mesh.post("/register", &mesh.registration("b", &key(1))).await), code(409, "duplicate_key"));
    let bare = RegisterRequest {
        public_key: hex::encode(key(1).verifying_key().to_bytes()),
        ..mesh.registration("b", &key(1))
    };
    let bare = RegisterRequest { signature: sign_text(&key(1), &bare.text(mesh.now())), ..bare };
    assert_eq!(refusal(mesh.post("/register", &bare).await), code(409, "duplicate_key"), "written in another way");
    mesh.deny("a", 1).await;
    assert_eq!(
        refusal(mesh.post("/register", &mesh.registration("a", &key(1))).await),
        code(409, "duplicate_id"),
        "denied"
    );
}

/// A registration of `id` with the key `own` that names `claimed` as its validator's key.
fn claims(mesh: &Mesh, id: &str, own: u8, claimed: u8) -> RegisterRequest {
    let mut request = mesh.registration(id, &key(own));
    request.services[1].public_key = public(&key(claimed));
    request.sign(&key(own), mesh.now())
}

#[tokio::test]
async fn the_key_of_a_validator_belongs_to_one_node() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("honest", &key(1)).await;
    let evil = claims(&mesh, "evil", 9, 1);
    assert_eq!(refusal(mesh.post("/register", &evil).await), code(409, "duplicate_key"), "another node's own key");
    // One that keeps its validator's key apart may name it, and then nobody else may.
    assert_eq!(mesh.post("/register", &claims(&mesh, "apart", 2, 3)).await.0, 201);
    let (status, answer) = mesh.post("/register", &claims(&mesh, "copy", 4, 3)).await;
    assert_eq!((status, &answer["code"]), (409, &json!("duplicate_key")));
    assert!(answer["error"].as_str().unwrap().contains("`apart`"), "{answer}");
    let mut validator = validator("copy", 4, mesh.now());
    validator.services =
        vec![tana_mesh::wire::Service { kind: "consensus".to_owned(), port: 1, public_key: public(&key(3)) }];
    let validator = validator.sign(&key(4), mesh.now());
    assert_eq!(refusal(mesh.post("/validators", &validator).await), code(409, "duplicate_key"));
}

#[tokio::test]
async fn who_names_a_key_first_does_not_keep_out_who_has_it() {
    let (mesh, _folder) = Mesh::new().await;
    assert_eq!(mesh.post("/register", &claims(&mesh, "evil", 9, 1)).await.0, 201);
    mesh.register("honest", &key(1)).await;
    // From then on nothing about the key follows from a decision about the other one.
    assert_eq!(mesh.get("/nodes/evil").await.1["validator"], Value::Null);
    assert_eq!(mesh.approve("evil", 1).await["validator"], Value::Null);
    let denied = mesh.post("/deny/evil", &mesh.decision(tana_mesh::wire::Decision::Deny, "evil", 2)).await.1;
    assert_eq!(denied["validator"], Value::Null);
    assert_eq!(mesh.approve("honest", 3).await["validator"]["publicKey"], public(&key(1)));
}

#[tokio::test]
async fn of_many_at_once_one_is_taken() {
    let (mesh, _folder) = Mesh::new().await;
    let requests: Vec<_> = (0..32u8).map(|n| mesh.registration("a", &key(n + 1))).collect();
    let answers = futures_util::future::join_all(requests.iter().map(|request| mesh.post("/register", request))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|(status, _)| *status == 409).count(), 31);
    // And the same with one key under many names.
    let requests: Vec<_> = (0..32).map(|n| mesh.registration(&format!("b{n}"), &key(100))).collect();
    let answers = futures_util::future::join_all(requests.iter().map(|request| mesh.post("/register", request))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1);
    assert_eq!(mesh.registry.count().total, 2);
}

#[tokio::test]
async fn one_address_has_only_so_many_waiting() {
    let (mesh, _folder) = Mesh::new().await;
    let signer = |n: usize| {
        ed25519_dalek::SigningKey::from_bytes(&{
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&n.to_le_bytes());
            seed
        })
    };
    for n in 0..PENDING_PER_ADDRESS_MAX {
        mesh.register(&format!("n{n}"), &signer(n)).await;
    }
    let one_more = mesh.registration("one-more", &signer(PENDING_PER_ADDRESS_MAX));
    assert_eq!(refusal(mesh.post("/register", &one_more).await), code(429, "pending_address_full"));
    mesh.approve("n0", 1).await;
    assert_eq!(mesh.post("/register", &one_more).await.0, 201, "a decision makes room");
}

#[tokio::test]
async fn large_and_broken_bodies() {
    let (mesh, _folder) = Mesh::new().await;
    let large = with(&mesh.registration("a", &key(1)), "filler", "x".repeat(70_000));
    let json = Some("application/json");
    for path in [
        "/register",
        "/validators",
        "/heartbeat",
        "/validators/a/heartbeat",
        "/approve/a",
        "/deny/a",
        "/sovereign/add",
        "/sovereign/verify",
    ] {
        assert_eq!(refusal(mesh.post(path, &large).await), code(413, "too_large"), "{path}");
        assert_eq!(mesh.post_raw(path, json, b"{\"nodeId\": ".to_vec()).await.0, 400, "{path}");
        assert_eq!(mesh.post_raw(path, json, vec![0xff; 10]).await.0, 400, "{path}");
        assert_eq!(mesh.post_raw(path, json, b"[]".to_vec()).await.0, 400, "{path}");
        let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
        assert_eq!(mesh.post_raw(path, json, deep).await.0, 400, "{path}");
    }
    assert_eq!(mesh.post_raw("/register", Some("text/plain"), b"{}".to_vec()).await.0, 415);
}

fn validator(id: &str, number: u8, now: u64) -> ValidatorRequest {
    let ws_url = "ws://10.0.0.7:9010".to_owned();
    let (services, public_key) = (Vec::new(), String::new());
    ValidatorRequest { id: id.to_owned(), public_key, ws_url, services, signature: None, timestamp: None }
        .sign(&key(number), now)
}

#[tokio::test]
async fn a_validator_registers() {
    let (mesh, _folder) = Mesh::new().await;
    let request = validator("v", 1, mesh.now());
    let (status, answer) = mesh.post("/validators", &request).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(answer["validatorId"], "v");
    assert_eq!(answer["status"], "pending");
    let (_, answer) = mesh.get("/validators/v").await;
    assert_eq!(answer["validator"]["tailscale_hostname"], "ws://10.0.0.7:9010");
    assert_eq!(answer["validator"]["services"][0]["service_type"], "consensus");
    assert_eq!(answer["validator"]["services"][0]["port"], 9010);
    assert_eq!(refusal(mesh.post("/validators", &validator("v", 2, mesh.now())).await), code(409, "duplicate_id"));
    assert_eq!(refusal(mesh.post("/validators", &validator("w", 1, mesh.now())).await), code(409, "duplicate_key"));
    let approved = mesh.approve("v", 1).await;
    assert_eq!(approved["validator"], json!({"publicKey": public(&key(1)), "address": "10.0.0.7:9010"}));
}

#[tokio::test]
async fn a_validator_that_did_not_sign_is_refused() {
    let (mesh, _folder) = Mesh::new().await;
    let request = validator("v", 1, mesh.now());
    for field in ["id", "publicKey", "wsUrl"] {
        assert_eq!(
            refusal(mesh.post("/validators", &without(&request, field)).await),
            code(400, "bad_field"),
            "{field}"
        );
    }
    assert_eq!(
        refusal(mesh.post("/validators", &without(&request, "signature")).await),
        code(401, "signature_missing")
    );
    assert_eq!(
        refusal(mesh.post("/validators", &without(&request, "timestamp")).await),
        code(401, "timestamp_missing")
    );
    let services = json!([{"type": "ledger", "port": 1, "publicKey": public(&key(1))}]);
    for (field, value) in [
        ("id", json!("w")),
        ("wsUrl", json!("ws://10.0.0.8:9010")),
        ("services", services),
        ("signature", json!(nonce(1))),
        ("publicKey", json!(public(&key(2)))),
    ] {
        assert_eq!(
            refusal(mesh.post("/validators", &with(&request, field, value)).await),
            code(401, "bad_signature"),
            "{field}"
        );
    }
    for url in ["http://10.0.0.7:9010", "ws://", "ws://h:0", "10.0.0.7:9010"] {
        assert_eq!(
            refusal(mesh.post("/validators", &with(&request, "wsUrl", url)).await),
            code(400, "bad_field"),
            "{url}"
        );
    }
    let late = validator("v", 1, mesh.now() - WINDOW_MS - 1);
    assert_eq!(refusal(mesh.post("/validators", &late).await), code(401, "stale_timestamp"));
    assert_eq!(mesh.registry.count().total, 0);
}
