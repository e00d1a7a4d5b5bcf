//! Public keys, secret keys and signatures as people see them: `ed25519_` and hexadecimal digits.
//!
//! A key is stored and signed as its 32 bytes. The printed form is that of the replaced system, so that key files carry over.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// What a printed key begins with.
pub const KEY_PREFIX: &str = "ed25519_";
/// What a printed signature begins with.
pub const SIGNATURE_PREFIX: &str = "ed25519_sig_";

/// A text that is not a key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a key: it must be `ed25519_` and 64 hexadecimal digits (bare digits are taken too)")]
pub struct KeyError {
    text: String,
}

/// An Ed25519 public key: 32 bytes as they are signed over. Any bytes may stand in one; [`PublicKey::can_sign`] judges them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Whether the bytes are the one encoding of a point of the curve that somebody may hold the secret of: they decode, are what the point
    /// is encoded as, and its order is not small (for such a point anybody can make signatures). Costs a square root.
    pub fn can_sign(&self) -> bool {
        ed25519_dalek::VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| !key.is_weak() && key.to_edwards().compress().to_bytes() == self.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KEY_PREFIX}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        parse_key_bytes(text).map(Self)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Reads the 32 bytes of a printed key, public or secret.
pub fn parse_key_bytes(text: &str) -> Result<[u8; 32], KeyError> {
    let digits = text.strip_prefix(KEY_PREFIX).unwrap_or(text);
    let mut bytes = [0; 32];
    match hex::decode_to_slice(digits, &mut bytes) {
        Ok(()) => Ok(bytes),
        // A secret key may be mistyped too: never echo more than its beginning.
        Err(_) => Err(KeyError { text: text.chars().take(12).collect() }),
    }
}

/// Prints a 64-byte signature: `ed25519_sig_` and 128 hexadecimal digits.
pub fn print_signature(signature: &[u8; 64]) -> String {
    format!("{SIGNATURE_PREFIX}{}", hex::encode(signature))
}
