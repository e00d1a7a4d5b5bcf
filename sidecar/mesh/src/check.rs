//! What a field may hold. Everything here is about form; who signed is another matter.

use std::net::IpAddr;

use tana_http::error::ApiError;
use tana_types::key::PublicKey;

use crate::limits::{
    DESCRIPTION_CHARACTERS_MAX, HOSTNAME_CHARACTERS_MAX, ID_CHARACTERS_MAX, NONCE_CHARACTERS_MAX, NONCE_CHARACTERS_MIN,
    SERVICE_TYPE_CHARACTERS_MAX, SERVICES_MAX,
};
use crate::wire::Service;

/// Ids that no node may have, because a path means something else by them.
const RESERVED_IDS: [&str; 1] = ["active"];
/// The service of a node that is a validator.
pub const CONSENSUS: &str = "consensus";
/// The port of a validator's links when its URL names none.
pub const CONSENSUS_PORT: u16 = 9000;

/// 400 with the field's name.
fn field(name: &str, rule: &str) -> ApiError {
    ApiError::bad_request(format!("`{name}` {rule}")).with_code("bad_field")
}

/// A node's id: it stands in paths and in signed texts between colons, so it is plain.
pub fn id(name: &str, value: &str) -> Result<(), ApiError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if value.is_empty() || value.len() > ID_CHARACTERS_MAX || !value.bytes().all(plain) || value.starts_with('.') {
        return Err(field(
            name,
            &format!("must have 1 to {ID_CHARACTERS_MAX} characters of 0-9 A-Z a-z . _ -, not beginning with a dot"),
        ));
    }
    if RESERVED_IDS.contains(&value) {
        return Err(field(name, &format!("may not be `{value}`: that is a path of this service")));
    }
    Ok(())
}

/// A key that somebody can sign with.
pub fn key(name: &str, value: &str) -> Result<PublicKey, ApiError> {
    let key: PublicKey = value.parse().map_err(|error| field(name, &format!("is wrong: {error}")))?;
    if key.can_sign() { Ok(key) } else { Err(field(name, "is a key that nobody can sign with")) }
}

/// Whether a text may stand in a host name or URL: printable, and nothing that a page or a shell takes for its own.
fn plain_host(value: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':' | b'/' | b'[' | b']');
    !value.is_empty() && value.len() <= HOSTNAME_CHARACTERS_MAX && value.bytes().all(plain)
}

/// A host name, or a URL whose host it is.
pub fn hostname(name: &str, value: &str) -> Result<(), ApiError> {
    if plain_host(value) && !host_of(value).0.is_empty() {
        return Ok(());
    }
    Err(field(
        name,
        &format!(
            "must be a host name or URL of at most {HOSTNAME_CHARACTERS_MAX} characters of 0-9 A-Z a-z . _ - : / [ ]"
        ),
    ))
}

/// A URL of a validator's links. Returns its port, [`CONSENSUS_PORT`] when it names none.
pub fn ws_url(name: &str, value: &str) -> Result<u16, ApiError> {
    let rule = || field(name, "must be `ws://host:port` or `wss://host:port`");
    let scheme = value.starts_with("ws://") || value.starts_with("wss://");
    let (host, port) = host_of(value);
    if !scheme || !plain_host(value) || host.is_empty() || host.contains('/') {
        return Err(rule());
    }
    match port {
        None => Ok(CONSENSUS_PORT),
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(rule),
    }
}

/// Host and port of a URL or of `host:port`; the host of an IPv6 address keeps its brackets.
pub fn host_of(value: &str) -> (&str, Option<&str>) {
    let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
    let rest = rest.split('/').next().unwrap_or_default();
    match rest.rsplit_once(':') {
        // Several colons and no brackets: a bare IPv6 address.
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => (rest, None),
        Some((host, port)) if !rest.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    }
}

/// An IP address, if there is one.
pub fn ip(name: &str, value: Option<&str>) -> Result<Option<IpAddr>, ApiError> {
    value.map(|value| value.parse().map_err(|_| field(name, "must be an IP address"))).transpose()
}

/// A service's type.
pub fn service_type(name: &str, value: &str) -> Result<(), ApiError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if value.is_empty() || value.len() > SERVICE_TYPE_CHARACTERS_MAX || !value.bytes().all(plain) {
        return Err(field(
            name,
            &format!("must have 1 to {SERVICE_TYPE_CHARACTERS_MAX} characters of 0-9 A-Z a-z _ -"),
        ));
    }
    Ok(())
}

/// A list of services: few, each type once, each with a port and a key.
pub fn services(list: &[Service]) -> Result<Vec<PublicKey>, ApiError> {
    if list.len() > SERVICES_MAX {
        return Err(field("services", &format!("may have at most {SERVICES_MAX} entries")));
    }
    let mut keys = Vec::with_capacity(list.len());
    for (at, service) in list.iter().enumerate() {
        service_type("services[].type", &service.kind)?;
        if service.port == 0 {
            return Err(field("services[].port", "must be 1 to 65535"));
        }
        keys.push(key("services[].publicKey", &service.public_key)?);
        if list[..at].iter().any(|other| other.kind == service.kind) {
            return Err(field("services", &format!("names `{}` twice", service.kind)));
        }
    }
    Ok(keys)
}

/// A nonce. A nonce of another form was signed by nobody who follows the rules, so this is a matter of the signature.
pub fn nonce(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (NONCE_CHARACTERS_MIN..=NONCE_CHARACTERS_MAX).contains(&value.len()) && value.bytes().all(plain)
}

/// A description: short, and without control characters.
pub fn description(value: Option<&str>) -> Result<(), ApiError> {
    match value {
        Some(value) if value.chars().count() > DESCRIPTION_CHARACTERS_MAX || value.chars().any(char::is_control) => {
            Err(field(
                "description",
                &format!("may have at most {DESCRIPTION_CHARACTERS_MAX} characters, none of them a control character"),
            ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn hosts_are_found_in_what_people_write() {
        for (text, host, port) in [
            ("ws://localhost:9000", "localhost", Some("9000")),
            ("wss://v1.example.org/path", "v1.example.org", None),
            ("v1.tail.ts.net", "v1.tail.ts.net", None),
            ("[fd7a::1]:9000", "[fd7a::1]", Some("9000")),
            ("[fd7a::1]", "[fd7a::1]", None),
            ("fd7a::1", "fd7a::1", None),
            ("ws://", "", None),
        ] {
            assert_eq!(host_of(text), (host, port), "{text}");
        }
    }

    #[test]
    fn urls_of_validators() {
        assert_eq!(ws_url("wsUrl", "ws://10.0.0.1:9010").unwrap(), 9010);
        assert_eq!(ws_url("wsUrl", "wss://host").unwrap(), CONSENSUS_PORT);
        for wrong in [
            "http://host:1",
            "ws://",
            "ws://host:0",
            "ws://host:65536",
            "ws://host:x",
            "ws://a b",
            "host:9000",
            "ws://:9000",
        ] {
            assert!(ws_url("wsUrl", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_are_plain() {
        for right in ["validator-local-123456", "val_0a1b2c3d", "a", "v.1"] {
            assert!(id("nodeId", right).is_ok(), "{right}");
        }
        for wrong in ["", "a:b", "a/b", "..", "a b", "ü", "active", &"x".repeat(65)] {
            assert!(id("nodeId", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nonces_have_a_length_and_an_alphabet() {
        assert!(nonce("0123456789abcdef"));
        assert!(nonce(&"_-Z".repeat(21)));
        assert!(!nonce("0123456789abcde"));
        assert!(!nonce(&"a".repeat(65)));
        assert!(!nonce("0123456789abcde:"));
    }
}
