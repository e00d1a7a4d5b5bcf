//! Deposits and withdrawals that wait for the sovereign, by the identifier of the transaction that asked.
//!
//! A deposit is a wish: nothing exists until it is confirmed. A withdrawal has left the balance already and is held here: it still counts
//! towards the currency's total, until the confirmation burns it or the refusal gives it back.

use std::collections::BTreeMap;

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
#[derive(Default)]
pub(crate) struct PendingRequests {
    by_id: BTreeMap<Hash, PendingRequest>,
}

impl PendingRequests {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The request with this identifier, if it is of this kind.
    pub(crate) fn get(&self, id: &Hash, kind: PendingKind) -> Option<PendingRequest> {
        self.by_id.get(id).copied().filter(|request| request.kind == kind)
    }

    pub(crate) fn insert(&mut self, id: Hash, request: PendingRequest) {
        self.by_id.insert(id, request);
    }

    pub(crate) fn remove(&mut self, id: &Hash) {
        self.by_id.remove(id);
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
            pending.by_id.insert(id, request);
        }
        reader.finish()?;
        Ok(pending)
    }
}
