//! What a token says, and its JSON.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::TokenError;
use super::{LIFETIME_MS, LIFETIME_MS_MAX};

/// The longest name of a node or an audience, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// The last moment that RFC 3339 has a form for: the end of the year 9999, in ms since 1970.
const TIME_MS_MAX: u64 = 253_402_300_799_999;

/// The services of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Blocks, accounts, transactions.
    Ledger,
    /// Stored files.
    Content,
    /// The registry.
    Mesh,
    /// Who a person is.
    Identity,
    /// Messages to devices.
    Notifications,
    /// The validator.
    Consensus,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Ledger, Self::Content, Self::Mesh, Self::Identity, Self::Notifications, Self::Consensus];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Content => "content",
            Self::Mesh => "mesh",
            Self::Identity => "identity",
            Self::Notifications => "notifications",
            Self::Consensus => "consensus",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|service| service.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no such service; there are {names}")
        })
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Which service speaks.
    pub service: Service,
    /// The node that it belongs to, and whose key signs.
    pub node: String,
    /// To whom it speaks.
    pub audience: String,
    /// When the token was made, in ms since 1970.
    pub issued_ms: u64,
    /// From when on it does not count any more, in ms since 1970.
    pub expires_ms: u64,
}

/// The payload. Registered claims have their registered names and forms, so that any PASETO library reads them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload<'a> {
    service: Service,
    #[serde(borrow)]
    iss: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    aud: std::borrow::Cow<'a, str>,
    iat: String,
    exp: String,
}

impl Claims {
    /// Claims from `now_ms` (cut to whole seconds) on, for [`LIFETIME_MS`].
    pub fn new(service: Service, node: impl Into<String>, audience: impl Into<String>, now_ms: u64) -> Self {
        let issued_ms = now_ms - now_ms % 1_000;
        Self {
            service,
            node: node.into(),
            audience: audience.into(),
            issued_ms,
            expires_ms: issued_ms.saturating_add(LIFETIME_MS),
        }
    }

    /// The same with another life, in ms.
    pub fn lasting(mut self, lifetime_ms: u64) -> Self {
        self.expires_ms = self.issued_ms.saturating_add(lifetime_ms);
        self
    }

    /// Whether names are names and the life is one that is allowed.
    pub(super) fn check(&self) -> Result<(), TokenError> {
        if !is_name(&self.node) {
            return Err(TokenError::Malformed(
                "the node's name is empty, too long, or has other signs than 0-9 A-Z a-z . _ : -",
            ));
        }
        if !is_name(&self.audience) {
            return Err(TokenError::Malformed(
                "the audience is empty, too long, or has other signs than 0-9 A-Z a-z . _ : -",
            ));
        }
        match self.expires_ms.checked_sub(self.issued_ms) {
            Some(1..=LIFETIME_MS_MAX) if self.expires_ms <= TIME_MS_MAX => Ok(()),
            _ => Err(TokenError::Lifetime),
        }
    }

    /// The payload as it is signed.
    pub(super) fn to_json(&self) -> String {
        let payload = Payload {
            service: self.service,
            iss: self.node.as_str().into(),
            aud: self.audience.as_str().into(),
            iat: rfc3339(self.issued_ms),
            exp: rfc3339(self.expires_ms),
        };
        serde_json::to_string(&payload).expect("texts always serialize")
    }

    /// Reads a payload.
    pub(super) fn from_json(payload: &[u8]) -> Result<Self, TokenError> {
        let payload: Payload<'_> = serde_json::from_slice(payload)
            .map_err(|_| TokenError::Malformed("its payload is not JSON of exactly service, iss, aud, iat and exp"))?;
        let claims = Self {
            service: payload.service,
            node: payload.iss.into_owned(),
            audience: payload.aud.into_owned(),
            issued_ms: parse_rfc3339(&payload.iat)?,
            expires_ms: parse_rfc3339(&payload.exp)?,
        };
        claims.check()?;
        Ok(claims)
    }
}

/// Whether the text can be the name of a node or an audience: never a blank, a quote or a control character, so it can stand in any message.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-'))
}

/// `2026-11-20T22:31:36Z`, with a fraction if there is one. What lies behind the year 9999 was refused before.
fn rfc3339(time_ms: u64) -> String {
    let nanoseconds = i128::from(time_ms.min(TIME_MS_MAX)) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .expect("every moment from 1970 to 9999 has a form")
}

/// Milliseconds since 1970, cut to whole ones.
fn parse_rfc3339(text: &str) -> Result<u64, TokenError> {
    let malformed = TokenError::Malformed("its times (iat, exp) are not RFC 3339");
    let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) else {
        return Err(malformed);
    };
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).map_err(|_| malformed)
}
