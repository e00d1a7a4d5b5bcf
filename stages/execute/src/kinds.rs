//! What each kind of transaction does. Every function checks everything first and writes then, so that a failure changes nothing; the
//! first check that fails, in the order written here, gives the code.
//!
//! The nonce was consumed before any of them runs, user creation aside: it has no account yet whose nonce could be consumed.

use tana_types::Hash;
use tana_types::account::{AccountIndex, HotAccount, NO_ACCOUNT, Overflow};
use tana_types::code::Code;
use tana_types::currency::{CURRENCY_CODE_BYTES, CurrencyCode, CurrencyId, CurrencyInfo};
use tana_types::key::PublicKey;
use tana_types::payload::{Payload, Role, TRANSFER_PAYLOAD_BYTES};
use tana_types::transaction::Transaction;
use tana_types::username::Username;

use crate::block::BlockContext;
use crate::pending::{PendingKind, PendingRequest};
use crate::state::State;
use crate::validators::{Validator, ValidatorChange};

impl State {
    /// A transfer, read straight from its 60 bytes: recipient 32, currency 12, amount 16.
    #[inline]
    pub(crate) fn transfer(
        &mut self,
        payload: &[u8],
        in_window: bool,
        sender: AccountIndex,
        recipient: AccountIndex,
    ) -> Code {
        let Ok(payload) = <&[u8; TRANSFER_PAYLOAD_BYTES]>::try_from(payload) else { return Code::Malformed };
        let (mut code, mut amount) = ([0; CURRENCY_CODE_BYTES], [0; 16]);
        code.copy_from_slice(&payload[32..44]);
        amount.copy_from_slice(&payload[44..]);
        let amount = u128::from_le_bytes(amount);
        let Ok(currency) = self.currencies.id_of_bytes(&code) else { return Code::Malformed };
        if !in_window {
            return Code::TimestampOutOfWindow;
        }
        if amount == 0 {
            return Code::ZeroAmount;
        }
        if currency == 0 {
            return Code::UnknownCurrency;
        }
        if recipient == NO_ACCOUNT {
            return Code::UnknownRecipient;
        }
        let from = self.accounts.balance(sender, currency);
        let Some(left) = from.checked_sub(amount) else { return Code::InsufficientFunds };
        if sender == recipient {
            return Code::Applied;
        }
        let Some(sum) = self.accounts.balance(recipient, currency).checked_add(amount) else {
            return Code::AmountOverflow;
        };
        if !self.accounts.can_hold(recipient, currency) {
            return Code::TooManyCurrencies;
        }
        self.accounts.set_balance(sender, currency, left);
        self.accounts.set_balance(recipient, currency, sum);
        Code::Applied
    }

    /// A key registers itself. `sender` is the account that the key has already, which is a failure.
    pub(crate) fn create_user(
        &mut self,
        context: &mut BlockContext,
        transaction: &Transaction<'_>,
        sender: AccountIndex,
    ) -> Code {
        let header = transaction.header();
        let Ok(Payload::UserCreation { username, display_name, biography }) = transaction.payload() else {
            return Code::Malformed;
        };
        if header.nonce.get() != 0 || header.chain.get() != self.chain.tag() {
            return Code::Malformed;
        }
        if header.timestamp_ms.get().abs_diff(context.timestamp_ms) > self.rules.transaction_window_ms {
            return Code::TimestampOutOfWindow;
        }
        // The key of zeros is the sentinel's.
        if sender != NO_ACCOUNT || header.sender == [0; 32] {
            return Code::AccountExists;
        }
        if !username.is_empty() && self.accounts.find_username(username).is_some() {
            return Code::UsernameTaken;
        }
        if self.accounts.count() >= self.rules.accounts_total {
            return Code::AccountsTotal;
        }
        if context.creations >= self.rules.accounts_per_block {
            return Code::AccountsPerBlock;
        }
        let overflow = Overflow {
            // The payload's decoder has looked at the name; an empty one means none.
            username: Username::new(username).ok(),
            display_name: display_name.to_owned(),
            biography: biography.to_owned(),
            balances: Vec::new(),
        };
        let account = HotAccount::new(Role::User, context.height);
        self.accounts.create(&transaction.sender(), account, &overflow);
        context.creations += 1;
        Code::Applied
    }

    /// Every kind but user creation and transfer, after nonce, payload and timestamp were found right.
    pub(crate) fn apply(
        &mut self,
        context: &BlockContext,
        transaction: &Transaction<'_>,
        id: Option<&Hash>,
        sender: AccountIndex,
        payload: Payload<'_>,
    ) -> Result<(), Code> {
        match payload {
            Payload::Deposit { currency, amount } => {
                let id = id.copied().unwrap_or_else(|| transaction.id());
                self.deposit(context, id, sender, currency, amount)
            }
            Payload::Withdraw { currency, amount } => {
                let id = id.copied().unwrap_or_else(|| transaction.id());
                self.withdraw(context, id, sender, currency, amount)
            }
            // Both have their own way in, see `execute_one`.
            Payload::Transfer { .. } | Payload::UserCreation { .. } => Err(Code::Malformed),
            _ if sender != self.sovereign => Err(Code::NotSovereign),
            Payload::DepositConfirmation { request, confirm } => self.confirm_deposit(&request, confirm),
            Payload::WithdrawalConfirmation { request, confirm } => self.confirm_withdrawal(&request, confirm),
            Payload::CurrencyCreation(info) => self.create_currency(info),
            Payload::RoleChange { account, role } => self.change_role(&account, role),
            Payload::SovereigntyTransfer { account } => self.transfer_sovereignty(&account),
            Payload::BalanceAdjustment { account, currency, amount, reason: _ } => {
                self.adjust_balance(&account, &currency, amount)
            }
            Payload::ValidatorSetChange { add, validator, epoch, address } => {
                let validator = Validator { key: validator, address: address.to_owned() };
                self.validators.schedule(ValidatorChange { epoch, add, validator }, context.epoch)?;
                self.hashes.validators_changed = true;
                Ok(())
            }
        }
    }

    fn currency_for(&self, currency: &CurrencyCode, amount: u128) -> Result<CurrencyId, Code> {
        if amount == 0 {
            return Err(Code::ZeroAmount);
        }
        self.currencies.id(currency).ok_or(Code::UnknownCurrency)
    }

    /// The room of the chain first, then that of the account.
    fn check_pending_room(&self, account: AccountIndex) -> Result<(), Code> {
        if self.pending.len() >= self.rules.pending_total as usize {
            return Err(Code::PendingTotal);
        }
        if self.pending.count_of(account) >= self.rules.pending_per_account {
            return Err(Code::PendingPerAccount);
        }
        Ok(())
    }

    fn deposit(
        &mut self,
        context: &BlockContext,
        id: Hash,
        account: AccountIndex,
        currency: CurrencyCode,
        amount: u128,
    ) -> Result<(), Code> {
        let currency = self.currency_for(&currency, amount)?;
        self.check_pending_room(account)?;
        let kind = PendingKind::Deposit;
        self.pending.insert(id, PendingRequest { kind, account, currency, amount, height: context.height });
        self.hashes.pending_changed = true;
        Ok(())
    }

    /// The money leaves the balance at once and is held with the request; the total still counts it.
    fn withdraw(
        &mut self,
        context: &BlockContext,
        id: Hash,
        account: AccountIndex,
        currency: CurrencyCode,
        amount: u128,
    ) -> Result<(), Code> {
        let currency = self.currency_for(&currency, amount)?;
        let left = self.accounts.balance(account, currency).checked_sub(amount).ok_or(Code::InsufficientFunds)?;
        self.check_pending_room(account)?;
        self.accounts.set_balance(account, currency, left);
        self.accounts.movements.change(currency, 0, amount);
        let kind = PendingKind::Withdraw;
        self.pending.insert(id, PendingRequest { kind, account, currency, amount, height: context.height });
        self.hashes.pending_changed = true;
        Ok(())
    }

    /// The balance after a credit, if it may be made.
    fn credited(&self, account: AccountIndex, currency: CurrencyId, amount: u128) -> Result<u128, Code> {
        let sum = self.accounts.balance(account, currency).checked_add(amount).ok_or(Code::AmountOverflow)?;
        if self.accounts.can_hold(account, currency) { Ok(sum) } else { Err(Code::TooManyCurrencies) }
    }

    fn confirm_deposit(&mut self, id: &Hash, confirm: bool) -> Result<(), Code> {
        let request = self.pending.get(id, PendingKind::Deposit).ok_or(Code::UnknownRequest)?;
        if confirm {
            let PendingRequest { account, currency, amount, .. } = request;
            let total = self.currencies.total(currency).checked_add(amount).ok_or(Code::AmountOverflow)?;
            let sum = self.credited(account, currency, amount)?;
            self.accounts.set_balance(account, currency, sum);
            self.currencies.set_total(currency, total);
            self.accounts.movements.mint(currency, amount);
            self.hashes.currencies_changed = true;
        }
        self.pending.remove(id);
        self.hashes.pending_changed = true;
        Ok(())
    }

    fn confirm_withdrawal(&mut self, id: &Hash, confirm: bool) -> Result<(), Code> {
        let request = self.pending.get(id, PendingKind::Withdraw).ok_or(Code::UnknownRequest)?;
        let PendingRequest { account, currency, amount, .. } = request;
        if confirm {
            // What is held is part of the total, so this cannot be below zero.
            let total = self.currencies.total(currency).checked_sub(amount).ok_or(Code::AmountOverflow)?;
            self.currencies.set_total(currency, total);
            self.accounts.movements.burn(currency, amount);
            self.hashes.currencies_changed = true;
        } else {
            let sum = self.credited(account, currency, amount)?;
            self.accounts.set_balance(account, currency, sum);
        }
        self.accounts.movements.change(currency, amount, 0);
        self.pending.remove(id);
        self.hashes.pending_changed = true;
        Ok(())
    }

    fn create_currency(&mut self, info: CurrencyInfo) -> Result<(), Code> {
        if self.currencies.id(&info.code).is_some() {
            return Err(Code::CurrencyExists);
        }
        if !self.currencies.has_room() {
            return Err(Code::CurrenciesTotal);
        }
        self.currencies.create(info);
        self.hashes.currencies_changed = true;
        Ok(())
    }

    fn set_role(&mut self, account: AccountIndex, role: Role) {
        self.accounts.touch(account);
        self.accounts.get_mut(account).role = role as u8;
    }

    fn change_role(&mut self, key: &PublicKey, role: Role) -> Result<(), Code> {
        let account = self.accounts.find(key).ok_or(Code::UnknownAccount)?;
        if account == self.sovereign {
            return Err(Code::SovereignRole);
        }
        if self.accounts.get(account).role == role as u8 {
            return Err(Code::RoleUnchanged);
        }
        self.set_role(account, role);
        Ok(())
    }

    fn transfer_sovereignty(&mut self, key: &PublicKey) -> Result<(), Code> {
        let account = self.accounts.find(key).ok_or(Code::UnknownAccount)?;
        if account == self.sovereign {
            return Err(Code::RoleUnchanged);
        }
        self.set_role(self.sovereign, Role::User);
        self.set_role(account, Role::Sovereign);
        self.sovereign = account;
        Ok(())
    }

    fn adjust_balance(&mut self, key: &PublicKey, code: &CurrencyCode, amount: u128) -> Result<(), Code> {
        let currency = self.currencies.id(code).ok_or(Code::UnknownCurrency)?;
        let account = self.accounts.find(key).ok_or(Code::UnknownAccount)?;
        let before = self.accounts.balance(account, currency);
        // The balance is part of the total, so the rest cannot be below zero.
        let rest = self.currencies.total(currency).checked_sub(before).ok_or(Code::AmountOverflow)?;
        let total = rest.checked_add(amount).ok_or(Code::AmountOverflow)?;
        if amount > 0 && !self.accounts.can_hold(account, currency) {
            return Err(Code::TooManyCurrencies);
        }
        self.accounts.set_balance(account, currency, amount);
        self.currencies.set_total(currency, total);
        if amount >= before {
            self.accounts.movements.mint(currency, amount - before);
        } else {
            self.accounts.movements.burn(currency, before - amount);
        }
        self.hashes.currencies_changed = true;
        Ok(())
    }
}
