//! The small sections of a state for those who follow it without executing: currencies, pending requests and validators.
//!
//! A commit record says how accounts changed, and of these sections only their hashes. They change seldom, and what changes them are applied
//! transactions of a few kinds, balances, and the beginning of an epoch. So a follower repeats that much:
//! 1. [`FollowedSections::enter`] where an epoch begins.
//! 2. [`FollowedSections::applied`] for every applied transaction in order; transfers may be left out.
//! 3. [`FollowedSections::balance_changed`] for every balance before and after: totals are all balances and what withdrawals hold.
//! 4. [`FollowedSections::hashes`] must then be those of the record. If they are not, the follower knows the wrong state.

use tana_types::Hash;
use tana_types::account::AccountIndex;
use tana_types::currency::{CurrencyCode, CurrencyId};
use tana_types::genesis::Genesis;
use tana_types::payload::Payload;

use crate::currencies::{Currencies, CurrencyTotal};
use crate::meta::{MetaSections, validators_hash};
use crate::pending::{PendingKind, PendingRequest, PendingRequests};
use crate::restore::RestoreError;
use crate::state::{CURRENCIES_KEY, PENDING_KEY};
use crate::validators::{Validator, ValidatorChange, Validators};

/// See the module's text.
#[derive(Clone)]
pub struct FollowedSections {
    currencies: Currencies,
    pending: PendingRequests,
    validators: Validators,
}

/// An applied transaction cannot have been applied to these sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sections do not allow an applied transaction: {0}")]
pub struct FollowError(&'static str);

/// One applied transaction and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct AppliedTransaction<'a> {
    /// Its block's height.
    pub height: u64,
    /// Its block's epoch.
    pub epoch: u64,
    /// Its identifier.
    pub id: &'a Hash,
    /// Its sender's account.
    pub sender: AccountIndex,
}

impl FollowedSections {
    /// The sections of a checkpoint.
    ///
    /// # Errors
    /// When one breaks its layout or rules.
    pub fn decode(meta: &MetaSections<'_>, genesis: &Genesis) -> Result<Self, RestoreError> {
        Ok(Self {
            currencies: Currencies::decode(meta.currencies)?,
            pending: PendingRequests::decode(meta.pending)?,
            validators: Validators::decode(meta.validators, genesis.rules.validators_total)?,
        })
    }

    /// The first block of `epoch` comes: changes of the set up to it are in force.
    pub fn enter(&mut self, epoch: u64) {
        self.validators.enter(epoch);
    }

    /// Repeats what an applied transaction did to the sections, totals aside as far as they follow from balances.
    ///
    /// # Errors
    /// When it cannot have been applied.
    pub fn applied(&mut self, place: &AppliedTransaction<'_>, payload: Payload<'_>) -> Result<(), FollowError> {
        match payload {
            Payload::Deposit { currency, amount } => self.ask(place, PendingKind::Deposit, currency, amount),
            Payload::Withdraw { currency, amount } => self.ask(place, PendingKind::Withdraw, currency, amount),
            Payload::DepositConfirmation { request, .. } => {
                self.pending.get(&request, PendingKind::Deposit).ok_or(FollowError("no such deposit waits"))?;
                self.pending.remove(&request);
                Ok(())
            }
            Payload::WithdrawalConfirmation { request, .. } => {
                let held = self.pending.get(&request, PendingKind::Withdraw);
                let held = held.ok_or(FollowError("no such withdrawal waits"))?;
                // Money that went back is counted again where the balance changed.
                self.balance_changed(held.currency, held.amount, 0);
                self.pending.remove(&request);
                Ok(())
            }
            Payload::CurrencyCreation(info) => {
                if self.currencies.id(&info.code).is_some() || !self.currencies.has_room() {
                    return Err(FollowError("the currency exists, or there is no room for it"));
                }
                self.currencies.create(info);
                Ok(())
            }
            Payload::ValidatorSetChange { add, validator, epoch, address } => {
                let validator = Validator { key: validator, address: address.to_owned() };
                let change = ValidatorChange { epoch, add, validator };
                self.validators
                    .schedule(change, place.epoch)
                    .map_err(|_| FollowError("the validator set does not take the change"))
            }
            Payload::UserCreation { .. }
            | Payload::Transfer { .. }
            | Payload::RoleChange { .. }
            | Payload::SovereigntyTransfer { .. }
            | Payload::BalanceAdjustment { .. } => Ok(()),
        }
    }

    fn ask(
        &mut self,
        place: &AppliedTransaction<'_>,
        kind: PendingKind,
        currency: CurrencyCode,
        amount: u128,
    ) -> Result<(), FollowError> {
        let currency = self.currencies.id(&currency).ok_or(FollowError("there is no such currency"))?;
        let request = PendingRequest { kind, account: place.sender, currency, amount, height: place.height };
        self.pending.insert(*place.id, request);
        if kind == PendingKind::Withdraw {
            self.balance_changed(currency, 0, amount);
        }
        Ok(())
    }

    /// A balance went from `before` to `after`. Totals are right once all changes of a block were told, whatever their order.
    pub fn balance_changed(&mut self, currency: CurrencyId, before: u128, after: u128) {
        let total = self.currencies.total(currency).wrapping_add(after).wrapping_sub(before);
        self.currencies.set_total(currency, total);
    }

    /// The hashes by which a state root commits to currencies, pending requests and validators.
    pub fn hashes(&self) -> [Hash; 3] {
        [
            currencies_hash(&self.currencies_section()),
            tana_hash::keyed(&PENDING_KEY, &self.pending.encode()),
            validators_hash(&self.validators.encode()),
        ]
    }

    /// All currencies with their totals, by identifier from 1.
    pub fn currency_totals(&self) -> &[CurrencyTotal] {
        self.currencies.list()
    }

    /// A currency by its identifier.
    pub fn currency(&self, id: CurrencyId) -> Option<&CurrencyTotal> {
        self.currencies.get(id)
    }

    /// The identifier of a currency.
    pub fn currency_id(&self, code: &CurrencyCode) -> Option<CurrencyId> {
        self.currencies.id(code)
    }

    /// The currencies' section, as the state root commits to it: [`read_currencies`] reads it.
    pub fn currencies_section(&self) -> Vec<u8> {
        self.currencies.encode()
    }

    /// Requests that wait, in order of their identifiers: those behind `after`, or all.
    pub fn pending(&self, after: Option<Hash>) -> impl Iterator<Item = (&Hash, &PendingRequest)> {
        self.pending.iter_after(after)
    }

    /// The validator set of an epoch that has not ended, as far as it is known.
    pub fn validators(&self, epoch: u64) -> Vec<Validator> {
        self.validators.set_of(epoch)
    }
}

/// The hash by which the state root commits to the currencies' section.
pub fn currencies_hash(section: &[u8]) -> Hash {
    tana_hash::keyed(&CURRENCIES_KEY, section)
}

/// Reads the currencies' section, by identifier from 1.
///
/// # Errors
/// When it breaks its layout or rules.
pub fn read_currencies(section: &[u8]) -> Result<Vec<CurrencyTotal>, RestoreError> {
    Ok(Currencies::decode(section)?.list().to_vec())
}
