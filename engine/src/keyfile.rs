//! Key files: `{"publicKey": "ed25519_...", "privateKey": "ed25519_..."}`, readable by their owner alone.
//!
//! The form is that of the replaced system, so its files carry over. The public key in the file must belong to the private one.

use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use serde::Deserialize;
use tana_types::key::{KeyError, PublicKey, parse_key_bytes};
use thiserror::Error;

/// Why a key file was refused.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file could not be read.
    #[error("cannot read the key file {path}: {source}; `tana init` or `tana keys new` makes one")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a key file.
    #[error("{path} is not a key file: it must be JSON with `publicKey` and `privateKey` ({reason})")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A key cannot be read.
    #[error("the key file {path} holds a key that cannot be read: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// The two keys do not belong together.
    #[error("the key file {path} is damaged: its public key does not belong to its private key")]
    Mismatch {
        /// The file.
        path: PathBuf,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyFile {
    public_key: String,
    private_key: String,
}

/// Reads a key file.
pub fn load_key_file(path: &Path) -> Result<SigningKey, KeyFileError> {
    let owned = || path.to_owned();
    let text = std::fs::read_to_string(path).map_err(|source| KeyFileError::Read { path: owned(), source })?;
    // serde's message could quote the secret, so only the place is told.
    let file: KeyFile = serde_json::from_str(&text).map_err(|error| KeyFileError::Syntax {
        path: owned(),
        reason: format!("line {}, column {}", error.line(), error.column()),
    })?;
    let key_error = |source| KeyFileError::Key { path: owned(), source };
    let key = SigningKey::from_bytes(&parse_key_bytes(&file.private_key).map_err(key_error)?);
    let public: PublicKey = file.public_key.parse().map_err(key_error)?;
    if key.verifying_key().to_bytes() != public.0 {
        return Err(KeyFileError::Mismatch { path: owned() });
    }
    Ok(key)
}
