//! Tokens that services of a network show each other: PASETO `v4.public`, signed with the key of a node that the mesh knows as active.
//!
//! A token says which service of which node speaks, to whom, since when and until when ([`Claims`]). It is no secret of the receiver's: whoever
//! is handed one can show it elsewhere, but only to the same audience and until it expires.
//!
//! The payload is JSON with the registered claims `iss` (the node), `aud`, `iat`, `exp` (RFC 3339) and one more, `service`. Any other claim,
//! and any footer, is refused: a claim that is not understood may be a condition (`nbf`) that would be passed over.
//!
//! No clock is read here: the time is an argument.

mod claims;
mod error;

#[cfg(test)]
mod tests;

use ed25519_dalek::SigningKey;
use pasetors::keys::{AsymmetricPublicKey, AsymmetricSecretKey};
use pasetors::token::{Public, UntrustedToken};
use pasetors::version4::{PublicToken, V4};
use tana_types::key::PublicKey;

pub use claims::{Claims, Service};
pub use error::TokenError;

/// The longest token that is looked at, in bytes. One with the longest names has about 600.
pub const TOKEN_BYTES_MAX: usize = 1_024;
/// How long a token lasts when nothing else is asked for, in ms: one hour.
pub const LIFETIME_MS: u64 = 3_600_000;
/// The longest that a token may last, in ms: 24 hours.
pub const LIFETIME_MS_MAX: u64 = 24 * 3_600_000;
/// How far the issuer's clock may be ahead of ours, in ms.
pub const SKEW_MS: u64 = 60_000;

/// What the mesh says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeStanding {
    /// The node's key: the one that it registered with.
    pub key: PublicKey,
    /// Where it stands.
    pub status: NodeStatus,
}

/// Where a node stands with the mesh. Only an active one is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStatus {
    /// Registered, not decided.
    Pending,
    /// Approved and alive.
    Active,
    /// Refused or revoked.
    Denied,
    /// Approved, but not heard of for a while.
    Offline,
}

impl NodeStatus {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Denied => "denied",
            Self::Offline => "offline",
        }
    }
}

/// Makes a token. `claims.node` must be the node whose key this is, or nobody will take the token.
///
/// # Errors
/// When the claims are none that would be taken: names that are no names, or a life of nothing or of more than [`LIFETIME_MS_MAX`].
pub fn issue(key: &SigningKey, claims: &Claims) -> Result<String, TokenError> {
    claims.check()?;
    let secret = AsymmetricSecretKey::<V4>::from(&key.to_keypair_bytes()).map_err(|_| TokenError::Key)?;
    PublicToken::sign(&secret, claims.to_json().as_bytes(), None, None).map_err(|_| TokenError::Key)
}

/// What a token says, without any trust: its signature is not looked at.
///
/// # Errors
/// When it is no token of this kind.
pub fn inspect(token: &str) -> Result<Claims, TokenError> {
    Unverified::read(token).map(|token| token.claims)
}

/// Checks a token: signed by the node that it names, which the mesh knows as active; for `audience`; and now (`now_ms`, since 1970) within its
/// life. `lookup` says what the mesh knows of a node.
///
/// # Errors
/// The first of these that does not hold. Nothing but the form is judged before the signature.
pub fn verify(
    token: &str,
    audience: &str,
    now_ms: u64,
    lookup: impl FnOnce(&str) -> Option<NodeStanding>,
) -> Result<Claims, TokenError> {
    let token = Unverified::read(token)?;
    let standing = lookup(&token.claims.node);
    token.verify(standing.as_ref(), audience, now_ms)
}

/// A token that was read but not believed: for callers whose look-up takes its time.
#[derive(Debug)]
pub struct Unverified {
    token: UntrustedToken<Public, V4>,
    claims: Claims,
}

impl Unverified {
    /// Reads a token.
    ///
    /// # Errors
    /// When it is no token of this kind.
    pub fn read(token: &str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed("it is too long"));
        }
        if !token.starts_with(PublicToken::HEADER) {
            return Err(TokenError::Malformed("it does not begin with `v4.public.`"));
        }
        let parsed = UntrustedToken::<Public, V4>::try_from(token).map_err(|_| {
            TokenError::Malformed("behind `v4.public.` stands no base64url of a payload and a signature")
        })?;
        // A footer that is empty but there (a last dot) would be a second form of the same token.
        if token[PublicToken::HEADER.len()..].contains('.') {
            return Err(TokenError::Malformed("it has a footer"));
        }
        let claims = Claims::from_json(parsed.untrusted_payload())?;
        Ok(Self { token: parsed, claims })
    }

    /// The node that the token names.
    pub fn node(&self) -> &str {
        &self.claims.node
    }

    /// As [`verify`], with what the look-up found for [`Unverified::node`].
    ///
    /// # Errors
    /// As for [`verify`].
    pub fn verify(self, standing: Option<&NodeStanding>, audience: &str, now_ms: u64) -> Result<Claims, TokenError> {
        let claims = self.claims;
        let Some(standing) = standing else {
            return Err(TokenError::UnknownNode(claims.node));
        };
        // For a key of small order anybody can sign.
        if !standing.key.can_sign() {
            return Err(TokenError::Key);
        }
        let key = AsymmetricPublicKey::<V4>::from(&standing.key.0).map_err(|_| TokenError::Key)?;
        PublicToken::verify(&key, &self.token, None, None).map_err(|_| TokenError::BadSignature)?;
        claims.check()?;
        if claims.issued_ms > now_ms.saturating_add(SKEW_MS) {
            return Err(TokenError::FromTheFuture { ahead_ms: claims.issued_ms - now_ms });
        }
        if claims.expires_ms <= now_ms {
            return Err(TokenError::Expired { ago_ms: now_ms - claims.expires_ms });
        }
        if standing.status != NodeStatus::Active {
            return Err(TokenError::NotActive { node: claims.node, status: standing.status });
        }
        if claims.audience != audience {
            return Err(TokenError::WrongAudience { expected: audience.to_owned(), found: claims.audience });
        }
        Ok(claims)
    }
}
