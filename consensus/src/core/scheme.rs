//! Who signs and who is believed, by epoch.
//!
//! Votes and certificates are Ed25519, a signature per validator, so each vote is proof against its signer. Every epoch whose validator
//! set is known has a scheme here; the library asks for it when it checks a certificate of that epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use commonware_consensus::simplex::scheme::ed25519;
use commonware_consensus::types::Epoch;
use commonware_cryptography::certificate::{Provider, Scoped};
use parking_lot::RwLock;
use tana_types::Hash;

use super::keys;

/// The scheme of votes and certificates.
pub type Scheme = ed25519::Scheme;

/// Epochs whose sets are remembered: certificates of older ones are no longer asked for once their blocks are committed, and a node that
/// was away for longer asks by state sync.
const EPOCHS_REMEMBERED_MAX: usize = 1_024;

/// The validator sets in use. Clones share.
#[derive(Clone)]
pub struct Schemes {
    namespace: Arc<Vec<u8>>,
    verifiers: Arc<RwLock<BTreeMap<u64, Arc<Scheme>>>>,
}

impl Schemes {
    /// No epochs yet.
    pub fn new(genesis_hash: &Hash) -> Self {
        Self { namespace: Arc::new(keys::namespace(genesis_hash)), verifiers: Arc::default() }
    }

    /// Learns the set of an epoch. False where it holds something that is no key, or a key twice; the epoch then stays unknown.
    pub fn learn(&self, epoch: u64, set: &[[u8; 32]]) -> bool {
        let mut verifiers = self.verifiers.write();
        if verifiers.contains_key(&epoch) {
            return true;
        }
        let Some(participants) = keys::participants(set).filter(|participants| !participants.is_empty()) else {
            return false;
        };
        verifiers.insert(epoch, Arc::new(Scheme::verifier(&self.namespace, participants)));
        while verifiers.len() > EPOCHS_REMEMBERED_MAX {
            verifiers.pop_first();
        }
        true
    }

    /// The scheme that only checks; none where the epoch's set is not known.
    pub fn verifier(&self, epoch: u64) -> Option<Arc<Scheme>> {
        self.verifiers.read().get(&epoch).cloned()
    }

    /// The scheme that votes with `key`; none where the set is not known or the key is not in it.
    pub fn signer(&self, epoch: u64, key: &ed25519_dalek::SigningKey) -> Option<Scheme> {
        use commonware_cryptography::certificate::Scheme as _;
        let verifier = self.verifier(epoch)?;
        Scheme::signer(&self.namespace, verifier.participants().clone(), keys::private_key(key))
    }
}

impl Provider for Schemes {
    type Scope = Epoch;
    type Scheme = Scheme;

    fn scoped(&self, epoch: Epoch) -> Option<Scoped<Scheme>> {
        self.verifier(epoch.get()).map(Scoped::verifier)
    }

    /// The participants are known for every epoch that certificates can be checked of. The library's default says none wherever nothing is
    /// signed, and then it throws away each notarized block that it fetches, for good: a validator that crashed between a notarization and its
    /// block would wait for that block for ever.
    fn scheme(&self, epoch: Epoch) -> Option<Arc<Scheme>> {
        self.verifier(epoch.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_epoch_has_a_scheme_for_fetched_blocks_as_well_as_for_certificates() {
        let schemes = Schemes::new(&[7; 32]);
        let set = [ed25519_dalek::SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes()];
        assert!(schemes.learn(3, &set));
        assert!(schemes.scoped(Epoch::new(3)).is_some() && schemes.scheme(Epoch::new(3)).is_some());
        assert!(schemes.scoped(Epoch::new(4)).is_none() && schemes.scheme(Epoch::new(4)).is_none());
    }
}
