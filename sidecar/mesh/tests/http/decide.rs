//! `POST /approve/{nodeId}` and `POST /deny/{nodeId}`.

use serde_json::{Value, json};
use tana_http::signature::sign_text;
use tana_mesh::limits::{NONCE_LIFE_MS, WINDOW_MS};
use tana_mesh::wire::{Decision, DecisionRequest, decision_text};

use crate::mesh::{Mesh, code, key, nonce, public, refusal, sovereign, with, without};

#[tokio::test]
async fn the_sovereign_approves() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    mesh.later(5);
    let answer = mesh.approve("a", 1).await;
    assert_eq!(
        answer,
        json!({
            "success": true, "nodeId": "a", "status": "active",
            "validator": {"publicKey": public(&key(1)), "address": "127.0.0.1:9000"},
        })
    );
    let (_, answer) = mesh.get("/nodes/a").await;
    assert_eq!(answer["node"]["status"], "active");
    assert_eq!(answer["node"]["approved_at"], mesh.now());
    assert_eq!(answer["node"]["approved_by"], public(&sovereign()));
}

#[tokio::test]
async fn the_sovereign_denies() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    let (_, answer) = mesh.post("/deny/a", &mesh.decision(Decision::Deny, "a", 1)).await;
    assert_eq!(answer, json!({"success": true, "nodeId": "a", "status": "denied"}), "who was never in is not put out");
    assert_eq!(mesh.status("a").await, "denied");
    // Who was let in once is put out, also when that is asked for again.
    mesh.approve("a", 2).await;
    let (_, answer) = mesh.post("/deny/a", &mesh.decision(Decision::Deny, "a", 3)).await;
    let link = json!({"publicKey": public(&key(1)), "address": "127.0.0.1:9000"});
    assert_eq!(answer["validator"], link);
    assert_eq!(mesh.get("/nodes/a").await.1["validator"], link);
}

#[tokio::test]
async fn who_has_no_consensus_service_is_no_validator() {
    let (mesh, _folder) = Mesh::new().await;
    let mut request = mesh.registration("a", &key(1));
    request.services.truncate(1);
    assert_eq!(mesh.post("/register", &request.sign(&key(1), mesh.now())).await.0, 201);
    assert_eq!(mesh.approve("a", 1).await, json!({"success": true, "nodeId": "a", "status": "active"}));
}

#[tokio::test]
async fn a_stranger_is_refused_before_anything_else() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    let stranger = DecisionRequest::signed(Decision::Approve, "a", &key(9), mesh.now(), &nonce(1));
    for path in ["/approve/a", "/approve/nobody", "/deny/a", "/deny/nobody"] {
        assert_eq!(refusal(mesh.post(path, &stranger).await), code(403, "not_sovereign"));
        for field in ["signature", "timestamp", "nonce"] {
            assert_eq!(
                refusal(mesh.post(path, &without(&stranger, field)).await),
                code(403, "not_sovereign"),
                "{field}"
            );
            assert_eq!(
                refusal(mesh.post(path, &with(&stranger, field, json!({}))).await),
                code(403, "not_sovereign"),
                "{field}"
            );
        }
        let no_key = with(&stranger, "approverPublicKey", "garbage");
        assert_eq!(refusal(mesh.post(path, &no_key).await), code(403, "not_sovereign"));
        assert_eq!(refusal(mesh.post(path, &without(&stranger, "approverPublicKey")).await), code(400, "bad_field"));
    }
    // The node itself is a stranger too.
    let own = DecisionRequest::signed(Decision::Approve, "a", &key(1), mesh.now(), &nonce(1));
    assert_eq!(refusal(mesh.post("/approve/a", &own).await), code(403, "not_sovereign"));
    // And naming the sovereign's key does not make its signature.
    let borrowed = with(&stranger, "approverPublicKey", public(&sovereign()));
    assert_eq!(refusal(mesh.post("/approve/a", &borrowed).await), code(401, "bad_signature"));
    assert_eq!(mesh.status("a").await, "pending");
}

#[tokio::test]
async fn what_is_missing_and_what_is_wrong() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    for (decision, path) in [(Decision::Approve, "/approve/a"), (Decision::Deny, "/deny/a")] {
        let request = mesh.decision(decision, "a", 1);
        assert_eq!(refusal(mesh.post(path, &without(&request, "signature")).await), code(400, "bad_field"));
        assert_eq!(refusal(mesh.post(path, &with(&request, "timestamp", "now")).await), code(400, "bad_field"));
        assert_eq!(refusal(mesh.post(path, &without(&request, "timestamp")).await), code(401, "timestamp_missing"));
        assert_eq!(refusal(mesh.post(path, &without(&request, "nonce")).await), code(401, "nonce_missing"));
        for nonce in ["", "0123456789abcde", "0123456789abcde:", &"x".repeat(65)] {
            assert_eq!(refusal(mesh.post(path, &with(&request, "nonce", nonce)).await), code(401, "bad_nonce"));
        }
        for (field, value) in [
            ("nonce", json!(nonce(2))),
            ("timestamp", json!(mesh.now() + 1)),
            ("signature", json!("ed25519_sig_zz")),
            ("signature", json!(format!("ed25519_sig_{}", "00".repeat(64)))),
        ] {
            assert_eq!(
                refusal(mesh.post(path, &with(&request, field, value)).await),
                code(401, "bad_signature"),
                "{field}"
            );
        }
        for at in [mesh.now() - WINDOW_MS - 1, mesh.now() + WINDOW_MS + 1] {
            let late = DecisionRequest::signed(decision, "a", &sovereign(), at, &nonce(3));
            assert_eq!(refusal(mesh.post(path, &late).await), code(401, "stale_timestamp"));
        }
    }
    // A signature for one thing is none for another.
    let approve = mesh.decision(Decision::Approve, "a", 4);
    assert_eq!(refusal(mesh.post("/deny/a", &approve).await), code(401, "bad_signature"));
    mesh.register("b", &key(2)).await;
    assert_eq!(refusal(mesh.post("/approve/b", &approve).await), code(401, "bad_signature"));
    assert_eq!((mesh.status("a").await, mesh.status("b").await), (json!("pending"), json!("pending")));
}

#[tokio::test]
async fn the_old_text_is_told_the_new_form() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    for (decision, form) in [
        (Decision::Approve, "approve:<nodeId>:<timestamp ms>:<nonce>"),
        (Decision::Deny, "deny:<nodeId>:<timestamp ms>:<nonce>"),
    ] {
        let path = format!("/{}/a", decision.verb());
        let signature = sign_text(&sovereign(), &path[1..].replace('/', ":"));
        let request = DecisionRequest { signature, ..mesh.decision(decision, "a", 1) };
        for body in [json!(request), without(&request, "timestamp"), without(&request, "nonce")] {
            let (status, answer) = mesh.post(&path, &body).await;
            assert_eq!(status, 401);
            assert!(answer["error"].as_str().unwrap().contains(form), "{answer}");
        }
        assert_eq!(refusal(mesh.post(&path, &request).await), code(401, "old_signed_text"));
    }
}

#[tokio::test]
async fn unknown_nodes() {
    let (mesh, _folder) = Mesh::new().await;
    let request = mesh.decision(Decision::Approve, "nobody", 1);
    assert_eq!(refusal(mesh.post("/approve/nobody", &request).await), code(404, "unknown_node"));
    // Before the signature is looked at.
    let unsigned = with(&request, "signature", "ed25519_sig_00");
    assert_eq!(refusal(mesh.post("/approve/nobody", &unsigned).await), code(404, "unknown_node"));
    assert_eq!(refusal(mesh.post("/approve/%00%2F..", &request).await), code(404, "unknown_node"));
}

#[tokio::test]
async fn a_signature_counts_once() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    let approve = mesh.decision(Decision::Approve, "a", 1);
    assert_eq!(mesh.post("/approve/a", &approve).await.0, 200);
    assert_eq!(refusal(mesh.post("/approve/a", &approve).await), code(401, "replayed"));
    mesh.deny("a", 2).await;
    assert_eq!(refusal(mesh.post("/approve/a", &approve).await), code(401, "replayed"), "it does not undo the denial");
    // One that was refused because of the status is used up too: it must not lie in wait for another status.
    let early = mesh.decision(Decision::Deny, "a", 3);
    assert_eq!(refusal(mesh.post("/deny/a", &early).await), code(404, "not_pending"));
    mesh.approve("a", 4).await;
    assert_eq!(refusal(mesh.post("/deny/a", &early).await), code(401, "replayed"));
    assert_eq!(mesh.status("a").await, "active");
    // Long after, its time speaks against it.
    mesh.later(NONCE_LIFE_MS + WINDOW_MS + 1);
    mesh.registry.sweep().await.unwrap();
    assert_eq!(refusal(mesh.post("/deny/a", &early).await), code(401, "stale_timestamp"));
}

#[tokio::test]
async fn an_earlier_decision_does_not_undo_a_later_one() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    // Signed, but held back on its way.
    let held_back = mesh.decision(Decision::Approve, "a", 1);
    mesh.later(1_000);
    mesh.deny("a", 2).await;
    assert_eq!(refusal(mesh.post("/approve/a", &held_back).await), code(401, "overtaken"));
    assert_eq!(mesh.status("a").await, "denied");
}

#[tokio::test]
async fn who_is_decided_about_stays_so_until_the_sovereign_says_otherwise() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    mesh.approve("a", 1).await;
    let again = mesh.decision(Decision::Approve, "a", 2);
    assert_eq!(refusal(mesh.post("/approve/a", &again).await), code(404, "not_pending"));
    // A denial of an active node revokes it.
    mesh.deny("a", 3).await;
    assert_eq!(mesh.status("a").await, "denied");
    assert_eq!(refusal(mesh.heartbeat("a", &key(1)).await), code(403, "not_active"));
    let again = mesh.decision(Decision::Deny, "a", 4);
    assert_eq!(refusal(mesh.post("/deny/a", &again).await), code(404, "not_pending"));
    // Only a new approval brings it back.
    mesh.approve("a", 5).await;
    assert_eq!(mesh.heartbeat("a", &key(1)).await.0, 200);
}

#[tokio::test]
async fn of_many_at_once_one_counts() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    let same = mesh.decision(Decision::Approve, "a", 1);
    let answers = futures_util::future::join_all((0..32).map(|_| mesh.post("/approve/a", &same))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|answer| refusal((*answer).clone()) == code(401, "replayed")).count(), 31);
    // With a nonce each, the node is still approved once.
    mesh.register("b", &key(2)).await;
    let each: Vec<_> = (10..42).map(|n| mesh.decision(Decision::Approve, "b", n)).collect();
    let answers = futures_util::future::join_all(each.iter().map(|request| mesh.post("/approve/b", request))).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|answer| refusal((*answer).clone()) == code(404, "not_pending")).count(), 31);
}

#[tokio::test]
async fn the_text_is_what_the_reference_says() {
    assert_eq!(decision_text(Decision::Approve, "val_1", 17, "n"), "approve:val_1:17:n");
    assert_eq!(decision_text(Decision::Deny, "val_1", 17, "n"), "deny:val_1:17:n");
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("val_1", &key(1)).await;
    let (now, nonce) = (mesh.now(), "0123456789_abc-DEF");
    let body = json!({
        "approverPublicKey": public(&sovereign()),
        "signature": sign_text(&sovereign(), &format!("approve:val_1:{now}:{nonce}")).replace("ed25519_sig_", "ed25519_"),
        "timestamp": now, "nonce": nonce, "anything": Value::Null,
    });
    assert_eq!(mesh.post("/approve/val_1", &body).await.0, 200);
}
