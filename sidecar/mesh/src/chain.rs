//! What the mesh asks of a chain: who is sovereign, and who is in the validator set. Whoever runs the mesh gives the answers.

use std::path::Path;

use tana_types::genesis::{Genesis, GenesisError};
use tana_types::key::PublicKey;

/// Who may approve and deny.
pub trait Sovereigns: Send + Sync {
    /// The keys that are sovereign now; a chain has one.
    fn keys(&self) -> Vec<PublicKey>;

    /// Whether `key` is one of them.
    fn is_sovereign(&self, key: &PublicKey) -> bool {
        self.keys().contains(key)
    }
}

/// Who is a validator.
pub trait ValidatorSet: Send + Sync {
    /// Whether `key` is in the chain's set now; nothing when that cannot be said.
    fn contains(&self, key: &PublicKey) -> Option<bool>;
}

/// Sovereign keys that never change: for a mesh that does not read a chain. A transfer of sovereignty on the chain does not reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedSovereigns(Vec<PublicKey>);

impl FixedSovereigns {
    /// These keys.
    pub fn new(keys: impl Into<Vec<PublicKey>>) -> Self {
        Self(keys.into())
    }

    /// The one that a genesis names.
    pub fn of_genesis(genesis: &Genesis) -> Self {
        Self(vec![genesis.sovereign.key])
    }

    /// The one that the genesis file at `path` names.
    ///
    /// # Errors
    /// As [`Genesis::load`].
    pub fn load(path: &Path) -> Result<Self, GenesisError> {
        Genesis::load(path).map(|genesis| Self::of_genesis(&genesis))
    }
}

impl Sovereigns for FixedSovereigns {
    fn keys(&self) -> Vec<PublicKey> {
        self.0.clone()
    }
}
