//! Deposits and withdrawals that wait for the sovereign, by the identifier of the transaction that asked.
//!
//! A deposit is a wish: nothing exists until it is confirmed. A withdrawal has left the balance already and is held here: it still counts
//! towards the currency's total, until the confirmation burns it or the refusal gives it back.
//!
//! How many requests each account has is counted beside them, since asking for a deposit costs nothing: `rules.pending_per_account` keeps
//! one account from taking all the room. The counts follow from the requests, so they are not part of the bytes; they are made again
//! when the section is read.

use std::collections::BTreeMap;
use std::ops::Bound;

use tana_types::Hash;
use tana_types::account::AccountIndex;
use tana_types::codec::{DecodeError, Reader, Writer};
use tana_types::currency::CurrencyId;

use crate::restore::RestoreError;

/// Which way the money shall go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PendingKind {
    /// Into the chain.
    Deposit = 1,
    /// Out of the chain; the amount is held.
    Withdraw = 2,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingRequest {
    /// Which way.
    pub kind: PendingKind,
    /// Who asked.
    pub account: AccountIndex,
    /// In which currency.
    pub currency: CurrencyId,
    /// Minor units.
    pub amount: u128,
    /// Where it was asked.
    pub height: u64,
}

/// All requests, in order of their identifiers.
#[derive(Clone, Default)]
pub(crate) struct PendingRequests {
    by_id: BTreeMap<Hash, PendingRequest>,
    /// Requests of each account that has any.
    by_account: BTreeMap<AccountIndex, u32>,
}

impl PendingRequests {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The request with this identifier, if it is of this kind.
    pub(crate) fn get(&self, id: &Hash, kind: PendingKind) -> Option<PendingRequest> {
        self.by_id.get(id).copied().filter(|request| request.kind == kind)
    }

    /// How many requests of this account wait.
    pub(crate) fn count_of(&self, account: AccountIndex) -> u32 {
        self.by_account.get(&account).copied().unwrap_or(0)
    }

    pub(crate) fn insert(&mut self, id: Hash, request: PendingRequest) {
        *self.by_account.entry(request.account).or_default() += 1;
        if let Some(replaced) = self.by_id.insert(id, request) {
            self.count_down(replaced.account);
        }
    }

    pub(crate) fn remove(&mut self, id: &Hash) {
        if let Some(removed) = self.by_id.remove(id) {
            self.count_down(removed.account);
        }
    }

    /// Accounts without requests are dropped, so that the counts are never more than the requests.
    fn count_down(&mut self, account: AccountIndex) {
        let left = self.count_of(account).saturating_sub(1);
        if left == 0 {
            self.by_account.remove(&account);
        } else {
            self.by_account.insert(account, left);
        }
    }

    /// The requests behind `after`, or all of them.
    pub(crate) fn iter_after(&self, after: Option<Hash>) -> impl Iterator<Item = (&Hash, &PendingRequest)> {
        self.by_id.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Hash, &PendingRequest)> {
        self.by_id.iter()
    }

    /// The section's bytes: count 4, then per request: identifier 32, kind 1, account 4, currency 4, amount 16, height 8.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(4 + 65 * self.by_id.len());
        writer.u32(self.by_id.len() as u32);
        for (id, request) in &self.by_id {
            writer.bytes(id).u8(request.kind as u8).u32(request.account).u32(request.currency);
            writer.u128(request.amount).u64(request.height);
        }
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RestoreError> {
        let mut reader = Reader::new(bytes);
        let mut pending = Self::default();
        for _ in 0..reader.u32("request count")? {
            let id: Hash = reader.array("request identifier")?;
            let kind = match reader.u8("request kind")? {
                1 => PendingKind::Deposit,
                2 => PendingKind::Withdraw,
                _ => return Err(DecodeError::Invalid { field: "request kind", rule: "1 or 2" }.into()),
            };
            let request = PendingRequest {
                kind,
                account: reader.u32("request account")?,
                currency: reader.u32("request currency")?,
                amount: reader.u128("request amount")?,
                height: reader.u64("request height")?,
            };
            if pending.by_id.last_key_value().is_some_and(|(last, _)| *last >= id) {
                return Err(DecodeError::Invalid { field: "requests", rule: "ascending by identifier" }.into());
            }
            pending.insert(id, request);
        }
        reader.finish()?;
        Ok(pending)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn request(account: AccountIndex) -> PendingRequest {
        PendingRequest { kind: PendingKind::Deposit, account, currency: 1, amount: 1, height: 1 }
    }

    proptest! {
        #[test]
        fn counts_pages_and_bytes_follow_from_the_requests(
            steps in proptest::collection::vec((any::<bool>(), 0u8..12, 1u32..4), 0..60),
            after in proptest::option::of(0u8..13),
        ) {
            let mut pending = PendingRequests::default();
            for (insert, id, account) in steps {
                if insert { pending.insert([id; 32], request(account)) } else { pending.remove(&[id; 32]) }
            }
            let read = PendingRequests::decode(&pending.encode()).unwrap();
            for requests in [&pending, &read] {
                for account in 0..5 {
                    let expected = requests.iter().filter(|(_, request)| request.account == account).count();
                    prop_assert_eq!(requests.count_of(account) as usize, expected);
                }
                prop_assert!(requests.by_account.values().all(|&count| count > 0), "no count of zero is kept");
            }
            let page: Vec<_> = pending.iter_after(after.map(|id| [id; 32])).map(|(id, _)| id[0]).collect();
            let expected: Vec<_> = pending.iter().map(|(id, _)| id[0]).filter(|id| after.is_none_or(|after| *id > after)).collect();
            prop_assert_eq!(page, expected);
        }
    }
}
