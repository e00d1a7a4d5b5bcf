//! The state: what a genesis makes of it and what a state root commits to.
//!
//! From a genesis: index 0 is the sentinel, index 1 the sovereign, then the bulk accounts in order of their numbers. Deriving a bulk key
//! costs microseconds, so they are derived in parallel, a step at a time, and put in place in order.

use std::sync::LazyLock;

use rayon::prelude::*;
use tana_accounts::{Directory, DirectoryWriter};
use tana_hash::HashKey;
use tana_types::Hash;
use tana_types::account::{AccountIndex, HotAccount, Overflow, SENTINEL};
use tana_types::amount::parse_amount;
use tana_types::bulk::bulk_key;
use tana_types::currency::{CurrencyCode, CurrencyId};
use tana_types::genesis::{Bulk, Genesis, GenesisError, Rules};
use tana_types::key::PublicKey;
use tana_types::payload::Role;
use tana_types::state::StateSections;
use tana_types::transaction::Chain;
use tana_types::username::Username;

use crate::accounts::Accounts;
use crate::block::Scratch;
use crate::currencies::{Currencies, CurrencyTotal, Movement};
use crate::error::GenesisStateError;
use crate::order::prefix;
use crate::pending::PendingRequests;
use crate::progress::Progress;
use crate::validators::{Validator, ValidatorChange, Validators, hash_set};

/// Bulk keys derived between two reports of progress.
const BULK_STEP: u32 = 16_384;

pub(crate) static CURRENCIES_KEY: LazyLock<HashKey> = LazyLock::new(|| HashKey::from_context("tana currencies v1"));
pub(crate) static PENDING_KEY: LazyLock<HashKey> = LazyLock::new(|| HashKey::from_context("tana pending v1"));
pub(crate) static VALIDATORS_KEY: LazyLock<HashKey> = LazyLock::new(|| HashKey::from_context("tana validators v1"));
pub(crate) static PROGRESS_KEY: LazyLock<HashKey> = LazyLock::new(|| HashKey::from_context("tana progress v1"));

/// Everything that execution reads and writes.
pub struct State {
    pub(crate) rules: Rules,
    pub(crate) chain: Chain,
    pub(crate) accounts: Accounts,
    pub(crate) sovereign: AccountIndex,
    pub(crate) currencies: Currencies,
    pub(crate) pending: PendingRequests,
    pub(crate) validators: Validators,
    pub(crate) progress: Progress,
    pub(crate) hashes: SectionHashes,
    pub(crate) scratch: Scratch,
}

/// Hashes of the small sections, and which of them are out of date.
#[derive(Default)]
pub(crate) struct SectionHashes {
    pub(crate) currencies: Hash,
    pub(crate) pending: Hash,
    pub(crate) validators: Hash,
    pub(crate) progress: Hash,
    pub(crate) currencies_changed: bool,
    pub(crate) pending_changed: bool,
    pub(crate) validators_changed: bool,
}

impl SectionHashes {
    /// To be computed in full.
    pub(crate) fn stale() -> Self {
        Self { currencies_changed: true, pending_changed: true, validators_changed: true, ..Self::default() }
    }
}

impl State {
    /// The state of height 0. `directory` must be new; `progress` is told how many bulk accounts of how many are there. Runs on the
    /// current rayon pool.
    pub fn from_genesis(
        genesis: &Genesis,
        directory: DirectoryWriter,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Self, GenesisStateError> {
        Self::from_genesis_with(genesis, directory, progress, |seed, number| {
            PublicKey(bulk_key(seed, number).verifying_key().to_bytes())
        })
    }

    /// Like [`State::from_genesis`], with another way from seed and number to the key of a bulk account: benchmarks of execution alone
    /// need no real keys.
    pub fn from_genesis_with(
        genesis: &Genesis,
        directory: DirectoryWriter,
        progress: &dyn Fn(u64, u64),
        bulk_public_key: impl Fn(&str, u32) -> PublicKey + Sync,
    ) -> Result<Self, GenesisStateError> {
        genesis.check()?;
        let mut state = Self::empty(genesis, directory)?;
        state.add_sovereign(genesis)?;
        if let Some(bulk) = &genesis.bulk {
            state.add_bulk(bulk, progress, bulk_public_key)?;
        }
        let mut sorted: Vec<(u64, AccountIndex)> = {
            let keys = state.directory();
            (0..state.accounts.count()).map(|index| (prefix(&keys.key(index).0), index)).collect()
        };
        let keys = state.directory();
        sorted.par_sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| keys.key(a.1).cmp(&keys.key(b.1))).then(a.1.cmp(&b.1))
        });
        let sorted: Vec<AccountIndex> = sorted.into_iter().map(|entry| entry.1).collect();
        state.accounts.link_all(&sorted);
        state.accounts.mark_all();
        state.accounts.movements.drain(&mut Vec::<Movement>::new());
        state.refresh_sections();
        Ok(state)
    }

    /// A state with rules, currencies and validators but no accounts beside the sentinel.
    pub(crate) fn empty(genesis: &Genesis, directory: DirectoryWriter) -> Result<Self, GenesisStateError> {
        match directory.directory().len() {
            1 => {}
            count => return Err(GenesisStateError::DirectoryInUse(count)),
        }
        let chain = genesis.to_chain();
        Ok(Self {
            rules: genesis.rules.clone(),
            chain,
            accounts: Accounts::new(directory),
            sovereign: SENTINEL,
            currencies: Currencies::new(genesis.currencies.iter().cloned()),
            pending: PendingRequests::default(),
            validators: Validators::new(&genesis.validators, genesis.rules.validators_total),
            progress: Progress {
                height: 0,
                timestamp_ms: genesis.timestamp_ms,
                block_hash: *chain.genesis_hash(),
                applied: 0,
                failed: 0,
                skipped: 0,
                lane_marks: Default::default(),
                lane_floors: Default::default(),
            },
            hashes: SectionHashes::stale(),
            scratch: Scratch::default(),
        })
    }

    fn add_sovereign(&mut self, genesis: &Genesis) -> Result<(), GenesisStateError> {
        let key = genesis.sovereign.key;
        if key.0 == [0; 32] {
            return Err(GenesisStateError::ZeroKey);
        }
        // `check` has looked at the name; an empty one means none.
        let overflow = Overflow { username: Username::new(&genesis.sovereign.username).ok(), ..Overflow::default() };
        self.accounts.begin_block();
        self.sovereign = self.accounts.create(&key, HotAccount::new(Role::Sovereign, 0), &overflow);
        for allocation in &genesis.sovereign.allocations {
            let (currency, amount) = self.allocation(allocation.currency, &allocation.amount)?;
            self.accounts.set_balance(self.sovereign, currency, amount);
            self.currencies.set_total(currency, self.currencies.total(currency).wrapping_add(amount));
        }
        Ok(())
    }

    fn allocation(&self, code: CurrencyCode, amount: &str) -> Result<(CurrencyId, u128), GenesisStateError> {
        let currency = self.currencies.id(&code).unwrap_or(0);
        let decimals = self.currencies.get(currency).map_or(0, |entry| entry.info.decimals);
        Ok((currency, parse_amount(amount, decimals).map_err(GenesisError::from)?))
    }

    fn add_bulk(
        &mut self,
        bulk: &Bulk,
        progress: &dyn Fn(u64, u64),
        public_key: impl Fn(&str, u32) -> PublicKey + Sync,
    ) -> Result<(), GenesisStateError> {
        let (currency, amount) = self.allocation(bulk.currency, &bulk.amount)?;
        let mut account = HotAccount::new(Role::User, 0);
        if amount > 0 {
            account.currencies[0].set(currency);
            account.amounts[0].set(amount);
        }
        let mut number = 0;
        while number < bulk.count {
            let end = bulk.count.min(number.saturating_add(BULK_STEP));
            let keys: Vec<_> = (number..end).into_par_iter().map(|number| public_key(&bulk.seed, number)).collect();
            for key in keys {
                let index = self.accounts.append(account);
                if self.accounts.directory.insert(key) != index {
                    return Err(GenesisStateError::KeyTwice(key));
                }
            }
            number = end;
            progress(u64::from(number), u64::from(bulk.count));
        }
        // `check` has made sure that the totals fit.
        let total = amount.wrapping_mul(u128::from(bulk.count));
        self.currencies.set_total(currency, self.currencies.total(currency).wrapping_add(total));
        Ok(())
    }

    /// Computes the section hashes that are out of date.
    pub(crate) fn refresh_sections(&mut self) {
        let hashes = &mut self.hashes;
        if std::mem::take(&mut hashes.currencies_changed) {
            hashes.currencies = tana_hash::keyed(&CURRENCIES_KEY, &self.currencies.encode());
        }
        if std::mem::take(&mut hashes.pending_changed) {
            hashes.pending = tana_hash::keyed(&PENDING_KEY, &self.pending.encode());
        }
        if std::mem::take(&mut hashes.validators_changed) {
            hashes.validators = tana_hash::keyed(&VALIDATORS_KEY, &self.validators.encode());
        }
        hashes.progress = tana_hash::keyed(&PROGRESS_KEY, &self.progress.encode());
    }

    /// What the state root of the last executed height commits to, given the root of the tree of accounts.
    pub fn sections(&self, accounts_root: Hash) -> StateSections {
        StateSections {
            height: self.progress.height,
            account_count: self.accounts.count(),
            accounts_root,
            currencies_hash: self.hashes.currencies,
            pending_hash: self.hashes.pending,
            validators_hash: self.hashes.validators,
            progress_hash: self.hashes.progress,
        }
    }

    /// The directory that other stages read.
    pub fn directory(&self) -> &Directory {
        self.accounts.directory.directory()
    }

    /// What never changes while the chain lives.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What ties signatures to this chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Where execution stands.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Accounts, the sentinel included; also the leaves of the tree.
    pub fn account_count(&self) -> u32 {
        self.accounts.count()
    }

    /// The account with the sovereign's role.
    pub fn sovereign(&self) -> AccountIndex {
        self.sovereign
    }

    /// All currencies with their totals; identifier 1 comes first.
    pub fn currency_totals(&self) -> &[CurrencyTotal] {
        self.currencies.list()
    }

    /// The epoch of a block: epochs have `rules.epoch_blocks` blocks and start with number 0 at height 1.
    pub fn epoch_of(&self, height: u64) -> u64 {
        height.saturating_sub(1) / self.rules.epoch_blocks
    }

    /// The validator set of an epoch, as far as is known after the last executed height. Lanes are places in it.
    pub fn validators(&self, epoch: u64) -> Vec<Validator> {
        self.validators.set_of(epoch)
    }

    /// Changes of the validator set that are not in force yet, by epoch.
    pub fn validator_changes(&self) -> &[ValidatorChange] {
        self.validators.changes()
    }

    /// The section with the validator set in force and the changes to come, as the state root commits to it: [`crate::read_validators`] reads it.
    pub fn validators_section(&self) -> Vec<u8> {
        self.validators.encode()
    }

    /// What the headers of an epoch's blocks name its validator set by.
    pub fn validator_set_hash(&self, epoch: u64) -> Hash {
        hash_set(&self.validators.set_of(epoch))
    }

    /// Bytes in use by accounts, directory included; the rest is small.
    pub fn resident_bytes(&self) -> usize {
        self.accounts.memory_bytes() + self.pending.len() * 128
    }
}
