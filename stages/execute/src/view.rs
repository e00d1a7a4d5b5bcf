//! Answers for people: the shapes of `tana_types::query`, as of the last executed height.

use tana_types::account::{AccountIndex, INLINE_BALANCES, RECORD_BYTES, SENTINEL};
use tana_types::amount::print_amount;
use tana_types::currency::{CurrencyCode, CurrencyId};
use tana_types::key::PublicKey;
use tana_types::payload::Role;
use tana_types::query;

use crate::currencies::CurrencyTotal;
use crate::pending::PendingKind;
use crate::state::State;

impl State {
    /// The account with this key.
    pub fn find(&self, key: &PublicKey) -> Option<AccountIndex> {
        self.accounts.find(key)
    }

    /// The account that a person names by `ed25519_` key (or its bare digits) or by username, in any case and with or without `@`.
    pub fn find_named(&self, name: &str) -> Option<AccountIndex> {
        if let Ok(key) = name.parse() {
            return self.find(&key);
        }
        let name: tana_types::username::Username = name.parse().ok()?;
        self.accounts.find_username(name.as_str())
    }

    /// The record of an account that exists, as stored and hashed.
    pub fn record(&self, index: AccountIndex) -> Option<[u8; RECORD_BYTES]> {
        (index < self.accounts.count()).then(|| self.accounts.record(index))
    }

    /// The canonical bytes of an account's overflow, if it has one.
    pub fn overflow(&self, index: AccountIndex) -> Option<&[u8]> {
        self.accounts.overflow_bytes(index)
    }

    /// What an account holds of a currency, in minor units; 0 when either does not exist.
    pub fn balance(&self, index: AccountIndex, currency: CurrencyId) -> u128 {
        if index < self.accounts.count() && currency != 0 { self.accounts.balance(index, currency) } else { 0 }
    }

    /// The last nonce that an account used; 0 when it does not exist.
    pub fn nonce(&self, index: AccountIndex) -> u64 {
        if index < self.accounts.count() { self.accounts.get(index).nonce.get() } else { 0 }
    }

    /// An account for people; see [`State::find_named`].
    pub fn account(&self, name: &str) -> Option<query::Account> {
        self.account_at(self.find_named(name)?)
    }

    /// An account for people, by index; the sentinel is nobody's.
    pub fn account_at(&self, index: AccountIndex) -> Option<query::Account> {
        if index == SENTINEL || index >= self.accounts.count() {
            return None;
        }
        let hot = self.accounts.get(index);
        let overflow = self.accounts.overflow(index);
        let inline = (0..INLINE_BALANCES).map(|slot| (hot.currencies[slot].get(), hot.amounts[slot].get()));
        let mut balances: Vec<_> =
            inline.filter(|entry| entry.0 != 0).chain(overflow.balances.iter().copied()).collect();
        balances.sort_unstable();
        let balance = |(currency, amount)| {
            let (currency, amount) = self.print(currency, amount);
            query::Balance { currency, amount }
        };
        Some(query::Account {
            height: self.progress.height,
            index,
            key: self.directory().key(index).to_string(),
            username: overflow.username.as_ref().map(ToString::to_string),
            display_name: overflow.display_name,
            biography: overflow.biography,
            role: Role::from_u8(hot.role).map_or("user", Role::name).to_owned(),
            nonce: hot.nonce.get(),
            created_height: hot.created_height.get(),
            balances: balances.into_iter().map(balance).collect(),
        })
    }

    /// Code and decimal string of an amount.
    fn print(&self, currency: CurrencyId, amount: u128) -> (String, String) {
        match self.currencies.get(currency) {
            Some(entry) => (entry.info.code.to_string(), print_amount(amount, entry.info.decimals)),
            None => (String::new(), amount.to_string()),
        }
    }

    /// A currency with its total, and its identifier.
    pub fn currency(&self, code: &CurrencyCode) -> Option<(CurrencyId, &CurrencyTotal)> {
        let id = self.currencies.id(code)?;
        Some((id, self.currencies.get(id)?))
    }

    /// All currencies for people, in order of creation.
    pub fn currencies(&self) -> Vec<query::Currency> {
        let print = |entry: &CurrencyTotal| query::Currency {
            info: entry.info.clone(),
            total: print_amount(entry.total, entry.info.decimals),
        };
        self.currencies.list().iter().map(print).collect()
    }

    /// Deposits and withdrawals that wait for the sovereign, for people, in order of their identifiers: at most `limit` of those behind
    /// `after`, or of all. The work follows from `limit`, not from how many wait.
    pub fn pending(&self, after: Option<tana_types::Hash>, limit: usize) -> Vec<query::Pending> {
        let print = |(id, request): (&tana_types::Hash, &crate::PendingRequest)| {
            let (currency, amount) = self.print(request.currency, request.amount);
            let kind = match request.kind {
                PendingKind::Deposit => "deposit",
                PendingKind::Withdraw => "withdraw",
            };
            query::Pending {
                request: hex::encode(id),
                kind: kind.to_owned(),
                account: self.directory().key(request.account).to_string(),
                currency,
                amount,
                height: request.height,
            }
        };
        self.pending.iter_after(after).take(limit).map(print).collect()
    }

    /// The pending requests as execution holds them, in order of their identifiers.
    pub fn pending_requests(&self) -> impl Iterator<Item = (&tana_types::Hash, &crate::PendingRequest)> {
        self.pending.iter()
    }
}
