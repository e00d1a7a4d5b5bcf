//! The signing side: what a node and a sovereign's client do before they send.

use ed25519_dalek::SigningKey;
use tana_http::signature::sign_text;
use tana_types::key::PublicKey;

use super::{
    Decision, DecisionRequest, HeartbeatRequest, RegisterRequest, SovereignAddRequest, ValidatorHeartbeatRequest,
    ValidatorRequest, decision_text, heartbeat_text,
};

/// The printed public half.
fn public(key: &SigningKey) -> String {
    PublicKey(key.verifying_key().to_bytes()).to_string()
}

impl RegisterRequest {
    /// Signs the registration at `timestamp` (ms since 1970): sets `publicKey`, `timestamp` and `signature`.
    pub fn sign(mut self, key: &SigningKey, timestamp: u64) -> Self {
        self.public_key = public(key);
        self.timestamp = Some(timestamp);
        self.signature = sign_text(key, &self.text(timestamp));
        self
    }
}

impl ValidatorRequest {
    /// Signs the registration at `timestamp` (ms since 1970): sets `publicKey`, `timestamp` and `signature`.
    pub fn sign(mut self, key: &SigningKey, timestamp: u64) -> Self {
        self.public_key = public(key);
        self.timestamp = Some(timestamp);
        self.signature = Some(sign_text(key, &self.text(timestamp)));
        self
    }
}

impl DecisionRequest {
    /// A decision about `node_id`, signed by the approver `key` at `timestamp` (ms since 1970) with a nonce that was never used before.
    pub fn signed(decision: Decision, node_id: &str, key: &SigningKey, timestamp: u64, nonce: &str) -> Self {
        Self {
            approver_public_key: public(key),
            signature: sign_text(key, &decision_text(decision, node_id, timestamp, nonce)),
            timestamp: Some(timestamp),
            nonce: Some(nonce.to_owned()),
        }
    }
}

impl HeartbeatRequest {
    /// A heartbeat at `timestamp` (ms since 1970). What it says of address and services may be filled in after: no signature covers it.
    pub fn signed(node_id: &str, key: &SigningKey, timestamp: u64) -> Self {
        Self {
            node_id: node_id.to_owned(),
            timestamp,
            tailscale_ip: None,
            services: Vec::new(),
            signature: sign_text(key, &heartbeat_text(node_id, timestamp)),
        }
    }
}

impl ValidatorHeartbeatRequest {
    /// A heartbeat at `timestamp` (ms since 1970).
    pub fn signed(id: &str, key: &SigningKey, timestamp: u64) -> Self {
        Self { timestamp: Some(timestamp), signature: Some(sign_text(key, &heartbeat_text(id, timestamp))) }
    }
}

impl SovereignAddRequest {
    /// Signs with the key that is sovereign now: sets `timestamp`, `nonce` and `adminSignature`.
    pub fn sign(mut self, key: &SigningKey, timestamp: u64, nonce: &str) -> Self {
        self.admin_signature = Some(sign_text(key, &self.text(timestamp, nonce)));
        self.timestamp = Some(timestamp);
        self.nonce = Some(nonce.to_owned());
        self
    }
}
