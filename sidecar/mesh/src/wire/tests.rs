//! The signed texts, letter by letter, and the worked example of `docs/mesh.md`.
#![allow(clippy::unwrap_used)]

use ed25519_dalek::SigningKey;
use tana_types::key::PublicKey;

use super::*;

/// The reference, which shows the example.
const REFERENCE: &str = include_str!("../../../../docs/mesh.md");

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn public(key: &SigningKey) -> String {
    PublicKey(key.verifying_key().to_bytes()).to_string()
}

/// Each of `lines` stands in the reference as a line of its own; otherwise all of them are printed, to be put there.
fn shown(lines: &[String]) {
    let missing = lines.iter().any(|line| !REFERENCE.lines().any(|shown| shown == line));
    assert!(!missing, "docs/mesh.md does not show:\n{}", lines.join("\n"));
}

#[test]
fn the_reference_shows_what_is_signed() {
    let node = key(1);
    let service = Service { kind: "consensus".to_owned(), port: 9000, public_key: public(&node) };
    let register = RegisterRequest {
        node_id: "val_1".to_owned(),
        public_key: String::new(),
        tailscale_hostname: "val-1.example.org".to_owned(),
        tailscale_ip: None,
        services: vec![service],
        signature: String::new(),
        timestamp: None,
    }
    .sign(&node, 1_764_000_000_000);
    let approve = DecisionRequest::signed(Decision::Approve, "val_1", &key(2), 1_764_000_000_000, "k3yA-9fQ_0123456");
    let heartbeat = HeartbeatRequest::signed("val_1", &node, 1_764_000_005_000);
    shown(&[
        format!("node's key: {}", public(&node)),
        format!("text: {}", register.text(1_764_000_000_000)),
        format!("signature: {}", register.signature),
        format!("sovereign's key: {}", public(&key(2))),
        format!("text: {}", decision_text(Decision::Approve, "val_1", 1_764_000_000_000, "k3yA-9fQ_0123456")),
        format!("signature: {}", approve.signature),
        format!("text: {}", heartbeat_text("val_1", 1_764_000_005_000)),
        format!("signature: {}", heartbeat.signature),
    ]);
}

#[test]
fn texts_are_compact_json_in_a_fixed_order() {
    let request: RegisterRequest = serde_json::from_str(
        r#"{"signature": "s", "services": [{"publicKey": "k", "port": 1, "type": "a\"b"}], "timestamp": 7,
            "tailscaleIP": "1.2.3.4", "tailscaleHostname": "h", "publicKey": "p", "nodeId": "n"}"#,
    )
    .unwrap();
    assert_eq!(
        request.text(7),
        r#"{"nodeId":"n","publicKey":"p","tailscaleHostname":"h","tailscaleIp":"1.2.3.4","services":[{"type":"a\"b","port":1,"publicKey":"k"}],"timestamp":7}"#
    );
    assert_eq!(request.old_text(), r#"{"nodeId":"n","publicKey":"p","tailscaleHostname":"h"}"#);
    let request: ValidatorRequest =
        serde_json::from_str(r#"{"wsUrl": "ws://h", "publicKey": "p", "id": "n"}"#).unwrap();
    assert_eq!(request.text(7), r#"{"id":"n","publicKey":"p","wsUrl":"ws://h","services":[],"timestamp":7}"#);
    let request: SovereignAddRequest = serde_json::from_str(r#"{"publicKey": "p"}"#).unwrap();
    assert_eq!(request.text(7, "x"), r#"{"publicKey":"p","description":null,"timestamp":7,"nonce":"x"}"#);
}

#[test]
fn requests_have_the_names_of_the_old_system() {
    let request =
        HeartbeatRequest { tailscale_ip: Some("1.2.3.4".to_owned()), ..HeartbeatRequest::signed("n", &key(1), 7) };
    let json = serde_json::to_value(&request).unwrap();
    let names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["nodeId", "signature", "tailscaleIP", "timestamp"]);
}
