//! Connections that others begin: which attempts get a handshake, and what those that fail are counted as.
//!
//! For each attempt, before any cryptography ([`crate::sources`]): a full table or a crowded address is refused, and
//! when handshakes pile up the address must prove first that it is reachable (a stateless retry). The rest gets a slot
//! and a limited time; the key is checked inside ([`super::tls`]). Attempts that this node makes itself need no slot: a
//! flood of strangers can keep others from dialling here, but not this node from dialling them.

use std::sync::Arc;

use quinn::{Connecting, ConnectionError, Incoming, TransportErrorCode};
use rustls::pki_types::CertificateDer;

use super::connection;
use super::handle::Shared;
use super::limits::LinkCode;
use super::metrics::{LinkRefusal, add};
use super::tls::raw_key;
use crate::sources::{Admission, Refusal, Slot};

/// QUIC's error codes for TLS alerts begin here (RFC 9001, section 4.8).
const CRYPTO_ERRORS_BEGIN: u64 = 0x100;

/// TLS alerts (RFC 8446, section 6) with which handshakes of foreign peers end here.
const HANDSHAKE_FAILURE: u64 = 40;
const BAD_CERTIFICATE: u64 = 42;
const UNSUPPORTED_CERTIFICATE: u64 = 43;
const ACCESS_DENIED: u64 = 49;
const DECRYPT_ERROR: u64 = 51;
const CERTIFICATE_REQUIRED: u64 = 116;
const NO_APPLICATION_PROTOCOL: u64 = 120;

/// Decides on connections until the endpoint is closed.
pub(crate) async fn accept(shared: Arc<Shared>) {
    while let Some(incoming) = shared.endpoint.accept().await {
        decide(&shared, incoming);
    }
}

fn decide(shared: &Arc<Shared>, incoming: Incoming) {
    let refused = &shared.peers.refused;
    match shared.table.admit(incoming.remote_address().ip(), incoming.remote_address_validated()) {
        Admission::Accept(slot) => match incoming.accept() {
            Ok(connecting) => {
                tokio::spawn(handshake(shared.clone(), connecting, slot));
            }
            // The first message is looked at here already: another chain, or no raw key offered.
            Err(error) => {
                if let Some(refusal) = refusal_of(&error) {
                    refused.count(refusal);
                }
            }
        },
        Admission::Validate => {
            add(&shared.counters.retries, 1);
            // An error means that this one may not be asked (again): then it is not answered at all.
            if let Err(error) = incoming.retry() {
                error.into_incoming().ignore();
            }
        }
        Admission::Refuse(reason) => {
            refused.count(if reason == Refusal::Rate { LinkRefusal::Rate } else { LinkRefusal::Full });
            incoming.refuse();
        }
    }
}

/// Completes a handshake in time and serves the connection to its end.
async fn handshake(shared: Arc<Shared>, connecting: Connecting, mut slot: Slot) {
    let connection = match tokio::time::timeout(shared.limits.handshake_timeout, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            if let Some(refusal) = refusal_of(&error) {
                shared.peers.refused.count(refusal);
            }
            return;
        }
        Err(_) => return shared.peers.refused.count(LinkRefusal::Timeout),
    };
    slot.established();
    add(&shared.counters.accepted, 1);
    let Some(peer) = proven_key(&connection).and_then(|key| shared.peers.get(&key)) else {
        // The set changed during the handshake.
        let code = LinkCode::Removed;
        return connection.close(quinn::VarInt::from_u32(code as u32), code.meaning().as_bytes());
    };
    connection::run(shared, peer, connection, false).await;
}

/// The key that the other side proved in the handshake.
fn proven_key(connection: &quinn::Connection) -> Option<[u8; 32]> {
    let shown = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    raw_key(shown.first()?)
}

/// What a failed handshake counts as here; `None` when the check of the key has counted it, or the other side has.
pub(crate) fn refusal_of(error: &ConnectionError) -> Option<LinkRefusal> {
    let alert = match error {
        ConnectionError::TransportError(error) => alert_of(error.code),
        ConnectionError::TimedOut => return Some(LinkRefusal::Timeout),
        ConnectionError::ConnectionClosed(_) | ConnectionError::ApplicationClosed(_) => return None,
        ConnectionError::LocallyClosed => return None,
        _ => None,
    };
    match alert {
        Some(ACCESS_DENIED) => None,
        Some(NO_APPLICATION_PROTOCOL) => Some(LinkRefusal::OtherChain),
        Some(HANDSHAKE_FAILURE | BAD_CERTIFICATE | UNSUPPORTED_CERTIFICATE | DECRYPT_ERROR | CERTIFICATE_REQUIRED) => {
            Some(LinkRefusal::Certificate)
        }
        _ => Some(LinkRefusal::Handshake),
    }
}

/// The TLS alert that `code` stands for.
fn alert_of(code: TransportErrorCode) -> Option<u64> {
    u64::from(code).checked_sub(CRYPTO_ERRORS_BEGIN).filter(|alert| *alert <= 0xff)
}

/// What a person can do about a failed attempt to dial.
pub(crate) fn explain(error: &ConnectionError) -> String {
    let alert = match error {
        ConnectionError::ConnectionClosed(close) => alert_of(close.error_code),
        ConnectionError::TransportError(error) => alert_of(error.code),
        _ => None,
    };
    match alert {
        Some(NO_APPLICATION_PROTOCOL) => {
            "the node there is of another chain or release; compare the genesis hashes".to_owned()
        }
        Some(ACCESS_DENIED) => match error {
            ConnectionError::TransportError(_) => {
                "another key answered there; check the peer's key and address in the configuration".to_owned()
            }
            _ => "the peer refuses this node's key; it is not in the peer's set, or blocked for a while".to_owned(),
        },
        _ => match error {
            ConnectionError::TimedOut => "no answer; check the address, and that UDP reaches it".to_owned(),
            error => error.to_string(),
        },
    }
}
