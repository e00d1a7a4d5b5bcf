//! From a checkpoint back to a state, trusting nothing in it.
//!
//! 1. Read the meta bytes; the genesis must be the same.
//! 2. Take the pages in order: fixed parts, keys and nonces, every key once.
//! 3. Take the overflows; exactly the accounts that say so have one. Usernames are unique.
//! 4. Follow the links from the sentinel: they must visit every account with keys rising. That is also the key order.
//! 5. Add up every balance and held withdrawal: the sums must be the totals. Exactly one account is sovereign.
//!
//! Whether it is the state of its height is then told by the state root, which the caller compares.

use tana_accounts::DirectoryWriter;
use tana_types::account::{
    ACCOUNT_CURRENCIES_MAX, AccountIndex, FLAG_OVERFLOW, HotAccount, INLINE_BALANCES, NO_ACCOUNT, Overflow,
    RECORD_BYTES, SENTINEL,
};
use tana_types::codec::DecodeError;
use tana_types::currency::CurrencyId;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::payload::Role;
use thiserror::Error;

use crate::currencies::Currencies;
use crate::error::GenesisStateError;
use crate::meta::MetaSections;
use crate::pages::PAGE_RECORDS;
use crate::pending::{PendingKind, PendingRequests};
use crate::progress::Progress;
use crate::state::{SectionHashes, State};
use crate::validators::Validators;

/// Overflows that are hashed at a time.
const HASH_STEP: usize = 4_096;

/// Why a checkpoint was refused. The remedy is always the same: drop the checkpoint and replay the log from genesis.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The genesis makes no state.
    #[error(transparent)]
    Genesis(#[from] GenesisStateError),
    /// The meta bytes or an overflow cannot be read.
    #[error("the checkpoint is damaged: {0}; remove it and replay the log from genesis")]
    Decode(#[from] DecodeError),
    /// A checkpoint of another chain.
    #[error(
        "the checkpoint belongs to the chain with genesis hash {found}, not {expected}; give the genesis file or the data folder that belongs to it"
    )]
    OtherChain {
        /// The genesis hash in it.
        found: String,
        /// That of the genesis given.
        expected: String,
    },
    /// A page is missing, out of order or of the wrong size.
    #[error(
        "page {page} of the checkpoint is missing, out of order or has {bytes} bytes; remove the checkpoint and replay the log from genesis"
    )]
    Page {
        /// The page that was expected.
        page: u32,
        /// Bytes found.
        bytes: usize,
    },
    /// An account breaks a rule.
    #[error(
        "account {index} of the checkpoint is wrong: {rule}; remove the checkpoint and replay the log from genesis"
    )]
    Account {
        /// Which account.
        index: AccountIndex,
        /// What does not hold.
        rule: &'static str,
    },
    /// Balances do not add up.
    #[error(
        "currency {currency} of the checkpoint has a total of {total}, but balances add up to {sum}; remove the checkpoint and replay the log from genesis"
    )]
    Total {
        /// Which currency.
        currency: CurrencyId,
        /// The total in the checkpoint.
        total: u128,
        /// What was found.
        sum: u128,
    },
    /// Not exactly one sovereign.
    #[error("the checkpoint has {0} sovereigns instead of one; remove it and replay the log from genesis")]
    Sovereigns(u32),
}

/// The parts of the meta bytes.
struct Meta {
    account_count: u32,
    currencies: Currencies,
    pending: PendingRequests,
    validators: Validators,
    progress: Progress,
}

impl Meta {
    fn decode(bytes: &[u8], genesis: &Genesis) -> Result<Self, RestoreError> {
        let sections = MetaSections::split(bytes, genesis)?;
        Ok(Self {
            account_count: sections.account_count,
            currencies: Currencies::decode(sections.currencies)?,
            pending: PendingRequests::decode(sections.pending)?,
            validators: Validators::decode(sections.validators, genesis.rules.validators_total)?,
            progress: sections.read_progress()?,
        })
    }
}

impl State {
    /// Rebuilds the state of a checkpoint: `meta` of its head, every page by ascending number, every overflow. `directory` must be new.
    pub fn restore<P: AsRef<[u8]>, O: AsRef<[u8]>>(
        genesis: &Genesis,
        meta: &[u8],
        pages: impl IntoIterator<Item = (u32, P)>,
        overflows: impl IntoIterator<Item = (AccountIndex, O)>,
        directory: DirectoryWriter,
    ) -> Result<Self, RestoreError> {
        genesis.check().map_err(GenesisStateError::from)?;
        let meta = Meta::decode(meta, genesis)?;
        let mut state = Self::empty(genesis, directory)?;
        state.currencies = meta.currencies;
        state.pending = meta.pending;
        state.validators = meta.validators;
        state.progress = meta.progress;
        state.hashes = SectionHashes::stale();
        state.restore_pages(meta.account_count, pages)?;
        state.restore_overflows(overflows)?;
        state.restore_order()?;
        state.check_accounts()?;
        state.refresh_sections();
        Ok(state)
    }

    fn restore_pages<P: AsRef<[u8]>>(
        &mut self,
        account_count: u32,
        pages: impl IntoIterator<Item = (u32, P)>,
    ) -> Result<(), RestoreError> {
        let mut pages = pages.into_iter();
        for page in 0..account_count.div_ceil(PAGE_RECORDS) {
            let first = page * PAGE_RECORDS;
            let records = (account_count - first).min(PAGE_RECORDS) as usize;
            let Some((number, bytes)) = pages.next() else { return Err(RestoreError::Page { page, bytes: 0 }) };
            let bytes = bytes.as_ref();
            let (found, rest) = bytes.as_chunks::<RECORD_BYTES>();
            if number != page || found.len() != records || !rest.is_empty() {
                return Err(RestoreError::Page { page, bytes: bytes.len() });
            }
            for (index, record) in (first..).zip(found) {
                self.restore_record(index, record)?;
            }
        }
        match pages.next() {
            Some((page, bytes)) => Err(RestoreError::Page { page, bytes: bytes.as_ref().len() }),
            None => Ok(()),
        }
    }

    fn restore_record(&mut self, index: AccountIndex, record: &[u8; RECORD_BYTES]) -> Result<(), RestoreError> {
        let (key, hot) = HotAccount::from_record(record);
        if index == SENTINEL {
            if key != PublicKey::default() {
                return Err(RestoreError::Account { index, rule: "the sentinel's key is zeros" });
            }
            *self.accounts.get_mut(SENTINEL) = hot;
            return Ok(());
        }
        let at = self.accounts.append(hot);
        if self.accounts.directory.insert(key) != index || at != index {
            return Err(RestoreError::Account { index, rule: "its key is that of an earlier account" });
        }
        self.accounts.directory.set_nonce(index, hot.nonce.get());
        Ok(())
    }

    fn restore_overflows<O: AsRef<[u8]>>(
        &mut self,
        overflows: impl IntoIterator<Item = (AccountIndex, O)>,
    ) -> Result<(), RestoreError> {
        let mut indexes = Vec::new();
        for (index, bytes) in overflows {
            let bytes = bytes.as_ref();
            if index >= self.accounts.count() || !self.accounts.get(index).has_overflow() {
                return Err(RestoreError::Account { index, rule: "an overflow without the flag in its record" });
            }
            let overflow = Overflow::decode(bytes)?;
            if overflow.is_empty() || overflow.encode() != bytes || self.accounts.overflow_bytes(index).is_some() {
                return Err(RestoreError::Account {
                    index,
                    rule: "its overflow is empty, not canonical or there twice",
                });
            }
            if let Some(name) = &overflow.username
                && self.accounts.find_username(name.as_str()).is_some()
            {
                return Err(RestoreError::Account { index, rule: "its username is that of another account" });
            }
            self.accounts.restore_overflow(index, bytes.into());
            self.accounts.index_username(index);
            indexes.push(index);
        }
        for step in indexes.chunks(HASH_STEP) {
            self.accounts.hash_overflows(step);
        }
        Ok(())
    }

    fn restore_order(&mut self) -> Result<(), RestoreError> {
        let count = self.accounts.count();
        let mut sorted: Vec<AccountIndex> = Vec::with_capacity(count as usize);
        let (mut index, mut last) = (SENTINEL, PublicKey::default());
        loop {
            sorted.push(index);
            let next = self.accounts.get(index).next.get();
            if next == NO_ACCOUNT {
                break;
            }
            let key = self.directory().key(next);
            // Rising keys never come back to an account, so the walk ends.
            if next >= count || key <= last {
                return Err(RestoreError::Account { index, rule: "its link does not lead to the next key" });
            }
            (index, last) = (next, key);
        }
        if sorted.len() != count as usize {
            return Err(RestoreError::Account { index, rule: "the links end before the last key" });
        }
        self.accounts.set_order(&sorted);
        Ok(())
    }

    /// Every account's record by the rules, the sums of balances, the sovereign.
    fn check_accounts(&mut self) -> Result<(), RestoreError> {
        let currencies = self.currencies.list().len();
        let mut sums = vec![0u128; currencies + 1];
        let mut sovereigns = 0;
        for index in 0..self.accounts.count() {
            let hot = *self.accounts.get(index);
            let refuse = |rule| Err(RestoreError::Account { index, rule });
            match Role::from_u8(hot.role) {
                Some(Role::Sovereign) => {
                    sovereigns += 1;
                    self.sovereign = index;
                }
                Some(_) => {}
                None => return refuse("its role is none"),
            }
            if hot.flags & !FLAG_OVERFLOW != 0 || hot.reserved.get() != 0 {
                return refuse("reserved bits are set");
            }
            if hot.has_overflow() != self.accounts.overflow_bytes(index).is_some() {
                return refuse("its overflow is missing");
            }
            let inline = (0..INLINE_BALANCES).map(|slot| (hot.currencies[slot].get(), hot.amounts[slot].get()));
            let inline: Vec<_> = inline.filter(|&(currency, amount)| (currency, amount) != (0, 0)).collect();
            let further = if hot.has_overflow() { self.accounts.overflow(index).balances } else { Vec::new() };
            if further.len() > ACCOUNT_CURRENCIES_MAX - INLINE_BALANCES
                || further.iter().any(|&(currency, _)| inline.iter().any(|entry| entry.0 == currency))
                || inline.len() == INLINE_BALANCES && inline[0].0 == inline[1].0
            {
                return refuse("it holds a currency twice or too many");
            }
            if index == SENTINEL && (!inline.is_empty() || hot.has_overflow() || hot.role != Role::User as u8) {
                return refuse("the sentinel holds nothing");
            }
            for (currency, amount) in inline.into_iter().chain(further) {
                let place = currency as usize;
                let Some(sum) = (amount > 0 && place > 0).then(|| sums.get_mut(place)).flatten() else {
                    return refuse("a balance is zero or of no currency");
                };
                match sum.checked_add(amount) {
                    Some(more) => *sum = more,
                    None => return refuse("balances of its currency do not fit an amount"),
                }
            }
        }
        if sovereigns != 1 {
            return Err(RestoreError::Sovereigns(sovereigns));
        }
        self.check_totals(sums)
    }

    fn check_totals(&self, mut sums: Vec<u128>) -> Result<(), RestoreError> {
        for (_, request) in self.pending.iter() {
            let index = request.account;
            let held = if request.kind == PendingKind::Withdraw { request.amount } else { 0 };
            let sum = sums.get_mut(request.currency as usize).filter(|_| request.currency != 0);
            match sum.and_then(|sum| Some((sum.checked_add(held)?, sum))) {
                Some((more, sum)) if index != SENTINEL && index < self.accounts.count() => *sum = more,
                _ => return Err(RestoreError::Account { index, rule: "a pending request names it wrongly" }),
            }
        }
        for (currency, (&sum, entry)) in (1u32..).zip(sums[1..].iter().zip(self.currencies.list())) {
            if sum != entry.total {
                return Err(RestoreError::Total { currency, total: entry.total, sum });
            }
        }
        Ok(())
    }
}
