//! What the mesh asks of the chain, answered by the ledger's reader beside it.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tana_ledger::chain::{AccountView, Chain, ChainError, ValidatorSetView};
use tana_mesh::chain::Members;
use tana_mesh::{Sovereigns, ValidatorSet};
use tana_types::key::PublicKey;
use tokio::sync::watch;

/// Accounts that are looked at in one go when the sovereign has to be found anew.
const PAGE: usize = 1_000;
/// Later than every change that is decided: the set of this epoch is the one to which a further change is made.
const LAST_EPOCH: u64 = u64::MAX;

/// What is asked of a ledger's reader.
pub trait Ledger: Send + Sync {
    /// The account of a key.
    fn account(&self, key: &PublicKey) -> Result<AccountView, ChainError>;
    /// Accounts in order of creation.
    fn accounts(&self, after: Option<u32>, limit: usize) -> Result<Vec<AccountView>, ChainError>;
    /// The validators of an epoch; of the one that runs without it.
    fn validators(&self, epoch: Option<u64>) -> Result<ValidatorSetView, ChainError>;
}

impl Ledger for Chain {
    fn account(&self, key: &PublicKey) -> Result<AccountView, ChainError> {
        Self::account(self, &key.to_string())
    }

    fn accounts(&self, after: Option<u32>, limit: usize) -> Result<Vec<AccountView>, ChainError> {
        Self::accounts(self, after, limit)
    }

    fn validators(&self, epoch: Option<u64>) -> Result<ValidatorSetView, ChainError> {
        Self::validators(self, epoch)
    }
}

/// A chain as the mesh sees it.
pub struct OfChain<L = Chain> {
    ledger: L,
    /// The committed height.
    height: watch::Receiver<u64>,
    /// Who was sovereign when that was last looked at. Held while all accounts are looked through, so that one search serves all who ask.
    sovereign: Mutex<PublicKey>,
    /// The set, and at which height it was read: it changes with a block only.
    members: Mutex<Option<(u64, Arc<Members>)>>,
}

impl OfChain {
    /// The chain that `chain` reads.
    pub fn new(chain: Chain) -> Self {
        let (height, sovereign) = (chain.subscribe(), chain.genesis().sovereign.key);
        Self::with(chain, height, sovereign)
    }
}

/// Whether the account of `key` is the sovereign's; nothing when the ledger has no answer now.
fn is_sovereign_in(ledger: &impl Ledger, key: &PublicKey) -> Option<bool> {
    match ledger.account(key) {
        Ok(account) => Some(account.role == "sovereign"),
        Err(ChainError::NotFound(_)) => Some(false),
        Err(_) => None,
    }
}

/// Looks through all accounts: done once after sovereignty has changed hands. The inner value is nothing where no account is sovereign.
fn find(ledger: &impl Ledger) -> Option<Option<PublicKey>> {
    let mut after = None;
    loop {
        let page = ledger.accounts(after, PAGE).ok()?;
        if let Some(account) = page.iter().find(|account| account.role == "sovereign") {
            return Some(account.public_key.parse().ok());
        }
        match page.last() {
            Some(last) => after = Some(last.index),
            None => return Some(None),
        }
    }
}

impl<L: Ledger> OfChain<L> {
    fn with(ledger: L, height: watch::Receiver<u64>, sovereign: PublicKey) -> Self {
        Self { ledger, height, sovereign: Mutex::new(sovereign), members: Mutex::new(None) }
    }

    fn keys_of(&self, epoch: Option<u64>) -> Option<HashSet<PublicKey>> {
        let set = self.ledger.validators(epoch).ok()?;
        Some(set.validators.iter().filter_map(|validator| validator.public_key.parse().ok()).collect())
    }
}

impl<L: Ledger> Sovereigns for OfChain<L> {
    fn keys(&self) -> Option<Vec<PublicKey>> {
        let mut last = self.sovereign.lock();
        if is_sovereign_in(&self.ledger, &last)? {
            return Some(vec![*last]);
        }
        let found = find(&self.ledger)?;
        if let Some(key) = found {
            *last = key;
        }
        Some(found.into_iter().collect())
    }

    fn is_sovereign(&self, key: &PublicKey) -> Option<bool> {
        is_sovereign_in(&self.ledger, key)
    }
}

impl<L: Ledger> ValidatorSet for OfChain<L> {
    fn members(&self) -> Option<Arc<Members>> {
        let height = *self.height.borrow();
        let mut known = self.members.lock();
        // At height 0 it is not known yet whether the state is there, and the next height may be another chain's.
        if let Some((_, members)) = known.as_ref().filter(|(at, _)| *at == height && height > 0) {
            return Some(members.clone());
        }
        let members = Arc::new(Members { now: self.keys_of(None)?, decided: self.keys_of(Some(LAST_EPOCH))? });
        *known = Some((height, members.clone()));
        Some(members)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tana_ledger::chain::ValidatorView;

    use super::*;

    /// A ledger of accounts by number, of which one may be sovereign; or one that has no answer.
    #[derive(Default)]
    struct Accounts {
        there: bool,
        sovereign: Option<u8>,
        pages: AtomicUsize,
        sets: AtomicUsize,
    }

    const ALL: u8 = 5;

    fn key(number: u8) -> PublicKey {
        PublicKey([number; 32])
    }

    impl Accounts {
        fn view(&self, number: u8) -> AccountView {
            let role = if self.sovereign == Some(number) { "sovereign" } else { "user" };
            serde_json::from_value(serde_json::json!({
                "publicKey": key(number).to_string(), "displayName": "", "role": role, "nonce": 0, "index": number,
                "createdHeight": 0, "height": 1, "balances": [],
            }))
            .unwrap()
        }

        fn answers(&self) -> Result<(), ChainError> {
            if self.there { Ok(()) } else { Err(ChainError::NotReady("the state is being loaded".to_owned())) }
        }
    }

    impl Ledger for Accounts {
        fn account(&self, asked: &PublicKey) -> Result<AccountView, ChainError> {
            self.answers()?;
            let found = (1..=ALL).find(|number| key(*number) == *asked);
            found.map(|number| self.view(number)).ok_or_else(|| ChainError::NotFound("no account".to_owned()))
        }

        fn accounts(&self, after: Option<u32>, _: usize) -> Result<Vec<AccountView>, ChainError> {
            self.answers()?;
            self.pages.fetch_add(1, Ordering::Relaxed);
            // Pages of two.
            let first = after.map_or(1, |after| after as u8 + 1);
            Ok((first..=ALL).take(2).map(|number| self.view(number)).collect())
        }

        fn validators(&self, epoch: Option<u64>) -> Result<ValidatorSetView, ChainError> {
            self.answers()?;
            self.sets.fetch_add(1, Ordering::Relaxed);
            // The second one enters later.
            let keys = if epoch.is_some() { 1..=2 } else { 1..=1 };
            let validators = keys
                .map(|number| ValidatorView {
                    id: String::new(),
                    public_key: key(number).to_string(),
                    address: String::new(),
                    lane: 0,
                })
                .collect();
            Ok(ValidatorSetView {
                epoch: 0,
                first_height: 0,
                last_height: 0,
                current_epoch: 0,
                may_change: false,
                set_hash: String::new(),
                required: 1,
                validators,
            })
        }
    }

    fn of(accounts: Accounts, height: u64) -> (OfChain<Accounts>, watch::Sender<u64>) {
        let sender = watch::Sender::new(height);
        (OfChain::with(accounts, sender.subscribe(), key(1)), sender)
    }

    #[test]
    fn a_transfer_of_sovereignty_is_found_once() {
        let (chain, _height) = of(Accounts { there: true, sovereign: Some(5), ..Accounts::default() }, 9);
        assert_eq!(chain.is_sovereign(&key(1)), Some(false), "the genesis names it, and it is sovereign no more");
        assert_eq!(chain.is_sovereign(&key(9)), Some(false), "without an account nobody is sovereign");
        assert_eq!(chain.keys(), Some(vec![key(5)]));
        assert_eq!(chain.ledger.pages.load(Ordering::Relaxed), 3);
        assert_eq!(chain.keys(), Some(vec![key(5)]));
        assert_eq!(chain.ledger.pages.load(Ordering::Relaxed), 3, "what was found is remembered");
        let (nobody, _height) = of(Accounts { there: true, ..Accounts::default() }, 9);
        assert_eq!(nobody.keys(), Some(Vec::new()));
    }

    #[test]
    fn a_ledger_without_an_answer_makes_nobody_a_stranger() {
        let (chain, _height) = of(Accounts::default(), 0);
        assert_eq!((chain.is_sovereign(&key(1)), chain.keys(), chain.members()), (None, None, None));
    }

    #[test]
    fn the_set_is_read_once_a_height_with_what_is_decided() {
        let (chain, height) = of(Accounts { there: true, ..Accounts::default() }, 9);
        let members = chain.members().unwrap();
        assert_eq!((members.now.len(), members.decided.len()), (1, 2));
        assert!(!members.now.contains(&key(2)) && members.decided.contains(&key(2)));
        assert!(Arc::ptr_eq(&members, &chain.members().unwrap()));
        assert_eq!(chain.ledger.sets.load(Ordering::Relaxed), 2);
        height.send_replace(10);
        chain.members().unwrap();
        assert_eq!(chain.ledger.sets.load(Ordering::Relaxed), 4);
    }
}
