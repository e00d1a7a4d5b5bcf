//! Whose data a folder holds: the file `validator` names the key that it was started with first, the file `chain` the genesis hash.
//!
//! Own batches, own votes and own marks are in there. Another key behind them would seal its batches under the other's numbers, and agreement would read
//! votes that it never cast, so such a start is refused.

use std::path::Path;

use tana_types::key::PublicKey;

use crate::node::{NodeError, system};

/// The key's file below the data folder.
const OWNER_FILE: &str = "validator";
/// The genesis hash's file below the data folder.
const CHAIN_FILE: &str = "chain";

/// Whether the folder names its owner already.
///
/// # Errors
/// [`NodeError::OtherValidator`] when that is another key, [`NodeError::System`] when the file cannot be read.
pub(crate) fn is_named(data: &Path, key: &PublicKey) -> Result<bool, NodeError> {
    match std::fs::read_to_string(data.join(OWNER_FILE)) {
        Ok(found) if found.trim() == key.to_string() => Ok(true),
        Ok(found) => {
            Err(NodeError::OtherValidator { data: data.to_owned(), found: found.trim().to_owned(), key: *key })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(NodeError::System { action: "read whose data the folder holds", source }),
    }
}

/// Names the owner of a folder that names none.
///
/// # Errors
/// [`NodeError::System`] when the file cannot be written.
pub(crate) fn name(data: &Path, key: &PublicKey) -> Result<(), NodeError> {
    std::fs::write(data.join(OWNER_FILE), format!("{key}\n")).map_err(system("write whose data the folder holds"))
}

/// The genesis hash of the folder's chain in hexadecimal, where the folder names one.
///
/// # Errors
/// The system's error when the file cannot be read.
pub(crate) fn chain_of(data: &Path) -> std::io::Result<Option<String>> {
    match std::fs::read_to_string(data.join(CHAIN_FILE)) {
        Ok(found) => Ok(Some(found.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Names the chain of a folder that names none.
///
/// # Errors
/// The system's error when the file cannot be written.
pub(crate) fn set_chain(data: &Path, genesis_hash: &str) -> std::io::Result<()> {
    std::fs::write(data.join(CHAIN_FILE), format!("{genesis_hash}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let (own, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
        assert!(!is_named(folder.path(), &own).unwrap());
        name(folder.path(), &own).unwrap();
        assert!(is_named(folder.path(), &own).unwrap());
        let refused = is_named(folder.path(), &other).unwrap_err().to_string();
        assert!(refused.contains(&own.to_string()) && refused.contains("--key"), "{refused}");
    }
}
