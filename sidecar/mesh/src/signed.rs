//! What changes the registry: each request with the checks that its signature must pass first.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};
use tana_http::error::{ApiError, parse_json};
use tana_http::limits::network;
use tana_http::signature::{parse_signature, verify_text};
use tana_types::key::{PublicKey, print_signature};

use crate::check::{self, CONSENSUS};
use crate::limits::{NONCE_CHARACTERS_MAX, NONCE_CHARACTERS_MIN, SERVICES_MAX, WINDOW_MS};
use crate::node::{Heartbeats, Node, ServiceRecord};
use crate::registry::Registry;
use crate::state::{Decided, Described, may_beat, unknown_node};
use crate::wire::{
    Decision, DecisionAnswer, DecisionRequest, HeartbeatAnswer, HeartbeatRequest, NodeStatus, RegisterAnswer,
    RegisterRequest, Service, ServiceHealth, SovereignAddAnswer, SovereignAddRequest, SovereignVerifyAnswer,
    SovereignVerifyRequest, UpdateAnswer, ValidatorAnswer, ValidatorHeartbeatAnswer, ValidatorHeartbeatRequest,
    ValidatorRequest, decision_text, heartbeat_text, old_decision_text,
};
use crate::writer::Command;

/// What a registered node reads.
const REGISTERED: &str = "registered; waits for the sovereign's approval";

impl Registry {
    /// `POST /register`. `peer` is the address that it came from.
    ///
    /// # Errors
    /// 400 a field, 401 the signature, 409 a duplicate, 429 too many that wait, 503 full or not writable.
    pub async fn register(&self, request: RegisterRequest, peer: Option<IpAddr>) -> Result<RegisterAnswer, ApiError> {
        let node = self.signed_node(&request, peer)?;
        self.submit(|reply| Command::Register(Box::new(node), reply)).await?;
        Ok(RegisterAnswer {
            success: true,
            node_id: request.node_id,
            status: NodeStatus::Pending,
            message: REGISTERED.to_owned(),
        })
    }

    /// `PUT /nodes/{id}`: what a node says of itself now. `caller` is the node whose token was shown; it speaks for itself alone, and signs what it
    /// says besides, so that a token that was seen by others changes nothing and the row stays one that anybody can check.
    ///
    /// # Errors
    /// 403 another node's token or a node that is not approved, 400 a field, 401 the signature or an earlier time, 404 unknown, 409 a duplicate,
    /// 503 not writable.
    pub async fn update(&self, caller: &str, id: &str, request: RegisterRequest) -> Result<UpdateAnswer, ApiError> {
        if caller != id {
            let message = format!("this is the token of `{caller}`, which may not speak for `{id}`");
            return Err(ApiError::forbidden(message).with_code("not_own_node"));
        }
        if request.node_id != id {
            return Err(ApiError::bad_request("`nodeId` must be the id in the path").with_code("bad_field"));
        }
        let node = self.signed_node(&request, None)?;
        let status = self.submit(|reply| Command::Update(Box::new(node), reply)).await?;
        Ok(UpdateAnswer { success: true, node_id: request.node_id, status })
    }

    /// What a request says of a node, if the node has signed it.
    fn signed_node(&self, request: &RegisterRequest, peer: Option<IpAddr>) -> Result<Node, ApiError> {
        check::id("nodeId", &request.node_id)?;
        let key = check::key("publicKey", &request.public_key)?;
        check::hostname("tailscaleHostname", &request.tailscale_hostname)?;
        check::ip("tailscaleIP", request.tailscale_ip.as_deref())?;
        let service_keys = check::services(&request.services)?;
        let timestamp = self.fresh(request.timestamp, RegisterRequest::FORM)?;
        let old = || request.old_text();
        verify(&key, &request.text(timestamp), &request.signature, RegisterRequest::FORM, Some(&old))?;
        let registration = (request.signature.as_str(), timestamp);
        let mut node = self.new_node(&request.node_id, key, registration, &request.services, &service_keys, peer)?;
        node.hostname.clone_from(&request.tailscale_hostname);
        node.ip.clone_from(&request.tailscale_ip);
        Ok(node)
    }

    /// `POST /validators`.
    ///
    /// # Errors
    /// As [`Registry::register`].
    pub async fn register_validator(
        &self,
        request: ValidatorRequest,
        peer: Option<IpAddr>,
    ) -> Result<ValidatorAnswer, ApiError> {
        check::id("id", &request.id)?;
        let key = check::key("publicKey", &request.public_key)?;
        let port = check::ws_url("wsUrl", &request.ws_url)?;
        let mut service_keys = check::services(&request.services)?;
        let timestamp = self.fresh(request.timestamp, ValidatorRequest::FORM)?;
        let signature = present(request.signature.as_deref(), "signature", ValidatorRequest::FORM)?;
        verify(&key, &request.text(timestamp), signature, ValidatorRequest::FORM, None)?;
        let mut services = request.services;
        if services.iter().all(|service| service.kind != CONSENSUS) {
            if services.len() >= SERVICES_MAX {
                return Err(ApiError::bad_request("`services` leaves no room for `consensus`").with_code("bad_field"));
            }
            services.push(Service { kind: CONSENSUS.to_owned(), port, public_key: request.public_key });
            service_keys.push(key);
        }
        let mut node = self.new_node(&request.id, key, (signature, timestamp), &services, &service_keys, peer)?;
        node.hostname = request.ws_url;
        self.submit(|reply| Command::Register(Box::new(node), reply)).await?;
        Ok(ValidatorAnswer {
            success: true,
            validator_id: request.id,
            status: NodeStatus::Pending,
            message: REGISTERED.to_owned(),
        })
    }

    fn new_node(
        &self,
        id: &str,
        public_key: PublicKey,
        (signature, timestamp): (&str, u64),
        services: &[Service],
        service_keys: &[PublicKey],
        peer: Option<IpAddr>,
    ) -> Result<Node, ApiError> {
        let now = self.now();
        let signature = parse_signature(signature)
            .map_err(|error| ApiError::unauthorized(error.to_string()).with_code("bad_signature"))?;
        let record = |(service, key): (&Service, &PublicKey)| {
            (
                service.kind.clone(),
                ServiceRecord { port: service.port, public_key: *key, created_at: now, health: None },
            )
        };
        let records: BTreeMap<String, ServiceRecord> = services.iter().zip(service_keys).map(record).collect();
        Ok(Node {
            id: id.to_owned(),
            public_key,
            hostname: String::new(),
            ip: None,
            status: NodeStatus::Pending,
            registered_at: now,
            registration: (print_signature(&signature), timestamp),
            source: peer.map(network),
            approved: None,
            decided: None,
            services: records,
            order: services.iter().map(|service| service.kind.clone()).collect(),
            heartbeats: Heartbeats::default(),
            heartbeats_unwritten: false,
            unwritten: false,
        })
    }

    /// `POST /approve/{nodeId}` and `POST /deny/{nodeId}`. The body comes as it is, because a stranger is refused before it is read further.
    ///
    /// # Errors
    /// 403 a stranger, 400 a field, 404 unknown, 401 the signature, 404 not pending, 503 the chain cannot be asked or the disk not written.
    pub async fn decide(
        &self,
        decision: Decision,
        id: &str,
        body: Map<String, Value>,
    ) -> Result<DecisionAnswer, ApiError> {
        let approver = match body.get("approverPublicKey") {
            None | Some(Value::Null) => {
                return Err(ApiError::bad_request("missing field `approverPublicKey`").with_code("bad_field"));
            }
            Some(key) => match key.as_str().and_then(|key| key.parse::<PublicKey>().ok()) {
                Some(key) => self.is_sovereign(&key)?.then_some(key),
                None => None,
            },
        };
        let approver = approver.ok_or_else(|| {
            ApiError::forbidden(
                "`approverPublicKey` is not sovereign on this chain; only the sovereign approves and denies",
            )
            .with_code("not_sovereign")
        })?;
        let request: DecisionRequest = of_map(body)?;
        if self.state().read().node(id).is_none() {
            return Err(unknown_node(id));
        }
        let form = format!("{}:<nodeId>:<timestamp ms>:<nonce>", decision.verb());
        let timestamp = self.fresh(request.timestamp, &form)?;
        let nonce = nonce(request.nonce, &form)?;
        let old = || old_decision_text(decision, id);
        verify(&approver, &decision_text(decision, id, timestamp, &nonce), &request.signature, &form, Some(&old))?;
        let decided = Decided { decision, id: id.to_owned(), approver, timestamp, nonce };
        let validator = self.submit(|reply| Command::Decide(decided, reply)).await?;
        let (status, validator) = match decision {
            Decision::Approve => (NodeStatus::Active, validator),
            Decision::Deny => (NodeStatus::Denied, validator),
        };
        Ok(DecisionAnswer { success: true, node_id: id.to_owned(), status, validator })
    }

    /// `POST /heartbeat`.
    ///
    /// # Errors
    /// 400 a field, 404 unknown, 403 not approved, 400 the time, 401 the signature.
    pub fn heartbeat(&self, request: HeartbeatRequest) -> Result<HeartbeatAnswer, ApiError> {
        let ip = check::ip("tailscaleIP", request.tailscale_ip.as_deref())?;
        if request.services.len() > SERVICES_MAX {
            return Err(ApiError::bad_request(format!("`services` may have at most {SERVICES_MAX} entries"))
                .with_code("bad_field"));
        }
        let said = (ip, request.services.as_slice());
        let timestamp = self.beat(&request.node_id, request.timestamp, &request.signature, said)?;
        Ok(HeartbeatAnswer { success: true, timestamp })
    }

    /// `POST /validators/{id}/heartbeat`. Registers nobody, unlike in the old system.
    ///
    /// # Errors
    /// 404 unknown, 403 not approved, 401 without a time or signature or with one that does not count, 400 the time.
    pub fn validator_heartbeat(
        &self,
        id: &str,
        request: &ValidatorHeartbeatRequest,
    ) -> Result<ValidatorHeartbeatAnswer, ApiError> {
        let form = "heartbeat:<id>:<timestamp ms>";
        may_beat(self.state().read().node(id).ok_or_else(|| unknown_node(id))?)?;
        let timestamp = request.timestamp.ok_or_else(|| missing("timestamp", form))?;
        let signature = present(request.signature.as_deref(), "signature", form)?;
        let timestamp = self.beat(id, timestamp, signature, (None, &[]))?;
        Ok(ValidatorHeartbeatAnswer { success: true, timestamp, registered: true })
    }

    fn beat(
        &self,
        id: &str,
        timestamp: u64,
        signature: &str,
        (ip, services): (Option<IpAddr>, &[ServiceHealth]),
    ) -> Result<u64, ApiError> {
        let key = {
            let state = self.state().read();
            let node = state.node(id).ok_or_else(|| unknown_node(id))?;
            may_beat(node)?;
            node.public_key
        };
        let now = self.now();
        if timestamp.abs_diff(now) > WINDOW_MS {
            return Err(ApiError::bad_request(off(timestamp, now)).with_code("stale_timestamp"));
        }
        verify(&key, &heartbeat_text(id, timestamp), signature, "heartbeat:<nodeId>:<timestamp ms>", None)?;
        let members = self.members();
        self.state().write().heartbeat((id, key), (timestamp, now), ip, services, members.as_deref())
    }

    /// `POST /sovereign/add`: describes a sovereign key. It makes nobody sovereign; the chain does.
    ///
    /// # Errors
    /// 400 a field, 401 the signature, 429 too many, 503 not writable.
    pub async fn add_sovereign(&self, request: SovereignAddRequest) -> Result<SovereignAddAnswer, ApiError> {
        let key = check::key("publicKey", &request.public_key)?;
        check::description(request.description.as_deref())?;
        let form = SovereignAddRequest::FORM;
        let timestamp = self.fresh(request.timestamp, form)?;
        let nonce = nonce(request.nonce.clone(), form)?;
        let signature = present(request.admin_signature.as_deref(), "adminSignature", form)?;
        let text = request.text(timestamp, &nonce);
        let signer = signer_among(&self.sovereign_keys().await?, &text, signature).map_err(|why| {
            ApiError::unauthorized(format!(
                "`adminSignature` does not count: {why}; the chain's sovereign signs {form}"
            ))
            .with_code("bad_signature")
        })?;
        let on_chain = self.is_sovereign(&key)?;
        let described = Described { key, text: request.description, signer, timestamp, nonce };
        self.submit(|reply| Command::Describe(described, reply)).await?;
        Ok(SovereignAddAnswer { success: true, on_chain })
    }

    /// `POST /sovereign/verify`.
    ///
    /// # Errors
    /// 403 a key that is not sovereign, 401 the signature, 503 the chain cannot be asked.
    pub async fn verify_sovereign(&self, request: &SovereignVerifyRequest) -> Result<SovereignVerifyAnswer, ApiError> {
        let bad = |why: String| ApiError::unauthorized(why).with_code("bad_signature");
        let key = match &request.public_key {
            None => {
                let keys = self.sovereign_keys().await?;
                signer_among(&keys, &request.message, &request.signature).map_err(bad)?
            }
            Some(key) => {
                let key = match key.parse::<PublicKey>() {
                    Ok(key) => self.is_sovereign(&key)?.then_some(key),
                    Err(_) => None,
                };
                let key = key.ok_or_else(|| {
                    ApiError::forbidden("`publicKey` is not sovereign on this chain").with_code("not_sovereign")
                })?;
                verify_text(&key, &request.message, &request.signature).map_err(|error| bad(error.to_string()))?;
                key
            }
        };
        Ok(SovereignVerifyAnswer { valid: true, public_key: key.to_string() })
    }

    /// The time of a signed text, if it is there and near. A time that is not near counts as a bad signature.
    fn fresh(&self, timestamp: Option<u64>, form: &str) -> Result<u64, ApiError> {
        let timestamp = timestamp.ok_or_else(|| missing("timestamp", form))?;
        let now = self.now();
        if timestamp.abs_diff(now) > WINDOW_MS {
            return Err(ApiError::unauthorized(off(timestamp, now)).with_code("stale_timestamp"));
        }
        Ok(timestamp)
    }
}

/// Which of the keys signed a text.
fn signer_among(keys: &[PublicKey], text: &str, signature: &str) -> Result<PublicKey, String> {
    let mut why = "no key is sovereign now".to_owned();
    for key in keys {
        match verify_text(key, text, signature) {
            Ok(()) => return Ok(*key),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

/// Reads an object as a `T`.
pub(crate) fn of_map<T: serde::de::DeserializeOwned>(body: Map<String, Value>) -> Result<T, ApiError> {
    // By way of bytes, so that errors read as they do everywhere.
    parse_json(Value::Object(body).to_string().as_bytes())
}

/// 401 for something that the old system did not ask for.
fn missing(name: &str, form: &str) -> ApiError {
    let code = if name == "nonce" {
        "nonce_missing"
    } else if name == "timestamp" {
        "timestamp_missing"
    } else {
        "signature_missing"
    };
    ApiError::unauthorized(format!("`{name}` is missing: the signed text is {form}")).with_code(code)
}

fn present<'a>(value: Option<&'a str>, name: &str, form: &str) -> Result<&'a str, ApiError> {
    value.ok_or_else(|| missing(name, form))
}

/// A nonce of the right form.
fn nonce(value: Option<String>, form: &str) -> Result<String, ApiError> {
    let value = value.ok_or_else(|| missing("nonce", form))?;
    if check::nonce(&value) {
        return Ok(value);
    }
    let rule =
        format!("`nonce` must have {NONCE_CHARACTERS_MIN} to {NONCE_CHARACTERS_MAX} characters of 0-9 A-Z a-z _ -");
    Err(ApiError::unauthorized(rule).with_code("bad_nonce"))
}

/// What is wrong with a time.
fn off(timestamp: u64, now: u64) -> String {
    let side = if timestamp > now { "ahead of" } else { "behind" };
    format!(
        "`timestamp` is {} ms {side} the mesh's clock ({now}); at most {WINDOW_MS} ms are let pass",
        timestamp.abs_diff(now)
    )
}

/// Checks a signature; one over the old system's text is told the new form.
fn verify(
    key: &PublicKey,
    text: &str,
    signature: &str,
    form: &str,
    old: Option<&dyn Fn() -> String>,
) -> Result<(), ApiError> {
    let Err(error) = verify_text(key, text, signature) else { return Ok(()) };
    let is_old = old.is_some_and(|old| verify_text(key, &old(), signature).is_ok());
    let (code, message) = if is_old {
        ("old_signed_text", format!("this is the old signed text, which can be replayed; sign {form}"))
    } else {
        ("bad_signature", format!("{error}; the signed text is {form}"))
    };
    Err(ApiError::unauthorized(message).with_code(code))
}
