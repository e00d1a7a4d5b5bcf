//! What the mesh asks of the chain, answered by the ledger's reader beside it.

use parking_lot::Mutex;
use tana_ledger::chain::Chain;
use tana_mesh::{Sovereigns, ValidatorSet};
use tana_types::key::PublicKey;

/// Accounts that are looked at in one go when the sovereign has to be found anew.
const PAGE: usize = 1_000;

/// A chain as the mesh sees it.
pub struct OfChain {
    chain: Chain,
    /// Who was sovereign when that was last looked at.
    sovereign: Mutex<PublicKey>,
}

impl OfChain {
    /// The chain that `chain` reads.
    pub fn new(chain: Chain) -> Self {
        let sovereign = Mutex::new(chain.genesis().sovereign.key);
        Self { chain, sovereign }
    }

    /// Looks through all accounts: done once after sovereignty has changed hands.
    fn find(&self) -> Option<PublicKey> {
        let mut after = None;
        loop {
            let page = self.chain.accounts(after, PAGE).ok()?;
            if let Some(account) = page.iter().find(|account| account.role == "sovereign") {
                return account.public_key.parse().ok();
            }
            after = Some(page.last()?.index);
        }
    }
}

impl Sovereigns for OfChain {
    fn keys(&self) -> Vec<PublicKey> {
        let last = *self.sovereign.lock();
        if self.is_sovereign(&last) {
            return vec![last];
        }
        let found = self.find();
        if let Some(key) = found {
            *self.sovereign.lock() = key;
        }
        found.into_iter().collect()
    }

    fn is_sovereign(&self, key: &PublicKey) -> bool {
        self.chain.account(&key.to_string()).is_ok_and(|account| account.role == "sovereign")
    }
}

impl ValidatorSet for OfChain {
    fn contains(&self, key: &PublicKey) -> Option<bool> {
        let set = self.chain.validators(None).ok()?;
        let key = key.to_string();
        Some(set.validators.iter().any(|validator| validator.public_key == key))
    }
}
