//! What the mesh asks of a chain: who is sovereign, and who is in the validator set. Whoever runs the mesh gives the answers.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use tana_types::genesis::{Genesis, GenesisError};
use tana_types::key::PublicKey;

/// Who may approve and deny.
pub trait Sovereigns: Send + Sync {
    /// The keys that are sovereign now; a chain has one. Nothing when the chain cannot be asked now. It may take its time, so it is asked where
    /// waiting is allowed.
    fn keys(&self) -> Option<Vec<PublicKey>>;

    /// Whether `key` is one of them, said at once; nothing when the chain cannot be asked now, which is another matter than being no sovereign.
    fn is_sovereign(&self, key: &PublicKey) -> Option<bool> {
        self.keys().map(|keys| keys.contains(key))
    }
}

/// The keys of a chain's validator set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Those of the epoch that runs.
    pub now: HashSet<PublicKey>,
    /// Those that are in it once every change that is decided already is in force. A further change is made to this set.
    pub decided: HashSet<PublicKey>,
}

impl Members {
    /// A set that nothing is about to change.
    pub fn settled(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let now: HashSet<PublicKey> = keys.into_iter().collect();
        Self { decided: now.clone(), now }
    }
}

/// Who is a validator.
pub trait ValidatorSet: Send + Sync {
    /// The chain's set; nothing when that cannot be said. It is asked for every list and every decision and must answer at once.
    fn members(&self) -> Option<Arc<Members>>;
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
    fn keys(&self) -> Option<Vec<PublicKey>> {
        Some(self.0.clone())
    }
}
