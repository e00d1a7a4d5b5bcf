//! From bytes to the shapes of [`super::views`].

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tana_commit::CommitRecord;
use tana_execute::{FollowedSections, PendingKind, PendingRequest};
use tana_types::Hash;
use tana_types::account::{AccountIndex, HotAccount, Overflow, SENTINEL};
use tana_types::amount::print_amount;
use tana_types::code::Code;
use tana_types::currency::{CurrencyCode, CurrencyId, CurrencyType};
use tana_types::key::{PublicKey, print_signature};
use tana_types::payload::{Kind, Payload, Role};
use tana_types::transaction::Transaction;

use super::accounts::{balances_of, key_of_record};
use super::files::Content;
use super::state::State;
use super::{AccountView, BalanceView, BatchView, BlockView, CodeCount, CurrencyView, PendingView, TransactionView};

/// The name of a code.
pub(crate) fn code_name(code: u8) -> String {
    Code::from_u8(code).map_or_else(|| format!("code_{code}"), |code| code.name().to_owned())
}

/// Code and decimal string of an amount.
fn print(sections: &FollowedSections, currency: CurrencyId, amount: u128) -> (String, String) {
    match sections.currency(currency) {
        Some(entry) => (entry.info.code.to_string(), print_amount(amount, entry.info.decimals)),
        None => (String::new(), amount.to_string()),
    }
}

/// An account; the sentinel is nobody's.
pub(crate) fn describe_account(state: &State, index: AccountIndex) -> Option<AccountView> {
    let record = state.accounts.record(index).filter(|_| index != SENTINEL)?;
    let bytes = state.accounts.overflow(index);
    let overflow = bytes.and_then(|bytes| Overflow::decode(bytes).ok()).unwrap_or_default();
    let (key, hot) = HotAccount::from_record(record);
    let balances = balances_of(record, bytes).into_iter().map(|(currency, amount)| {
        let (currency_code, amount) = print(&state.sections, currency, amount);
        BalanceView { currency_code, amount }
    });
    Some(AccountView {
        height: state.facts.height,
        index,
        public_key: key.to_string(),
        username: overflow.username.as_ref().map(ToString::to_string),
        display_name: overflow.display_name,
        bio: overflow.biography,
        role: Role::from_u8(hot.role).map_or("user", Role::name).to_owned(),
        nonce: hot.nonce.get(),
        created_height: hot.created_height.get(),
        balances: balances.collect(),
    })
}

/// All currencies.
pub(crate) fn describe_currencies(sections: &FollowedSections) -> Vec<CurrencyView> {
    let describe = |(id, entry): (u32, &tana_execute::CurrencyTotal)| CurrencyView {
        id,
        code: entry.info.code.to_string(),
        decimals: entry.info.decimals,
        currency_type: match entry.info.currency_type {
            CurrencyType::Fiat => "fiat".to_owned(),
            CurrencyType::Crypto => "crypto".to_owned(),
        },
        verified: entry.info.verified,
        name: entry.info.name.clone(),
        symbol: entry.info.symbol.clone(),
        total: print_amount(entry.total, entry.info.decimals),
    };
    (1..).zip(sections.currency_totals()).map(describe).collect()
}

/// A request that waits.
pub(crate) fn describe_pending(state: &State, id: &Hash, request: &PendingRequest) -> PendingView {
    let (currency_code, amount) = print(&state.sections, request.currency, request.amount);
    let kind = match request.kind {
        PendingKind::Deposit => "deposit",
        PendingKind::Withdraw => "withdraw",
    };
    let account = state.accounts.record(request.account).map(key_of_record).copied().unwrap_or_default();
    PendingView {
        request: hex::encode(id),
        kind: kind.to_owned(),
        account: PublicKey(account).to_string(),
        currency_code,
        amount,
        height: request.height,
    }
}

/// A block.
pub(crate) fn describe_block(record: &CommitRecord<'_>) -> BlockView {
    let mut codes: BTreeMap<u8, u32> = BTreeMap::new();
    for code in record.codes {
        *codes.entry(*code).or_default() += 1;
    }
    let header = &record.header;
    let batches =
        header.batches().map(|(lane, sequence, digest)| BatchView { lane, sequence, digest: hex::encode(digest) });
    BlockView {
        height: header.height,
        hash: hex::encode(header.hash()),
        previous_hash: hex::encode(header.parent),
        epoch: header.epoch,
        producer: PublicKey(header.proposer).to_string(),
        timestamp_ms: header.timestamp_ms,
        tx_count: header.transaction_count,
        tx_root: hex::encode(header.transaction_root),
        state_root: hex::encode(record.state_root),
        receipts_root: hex::encode(record.receipts_root),
        executed_height: header.executed_height,
        attested_state_root: hex::encode(header.state_root),
        attested_receipts_root: hex::encode(header.receipts_root),
        validator_set_hash: hex::encode(header.validator_set_hash),
        changed_accounts: record.changed.len() as u32,
        batches: batches.collect(),
        codes: codes.into_iter().map(|(code, count)| CodeCount { code: code_name(code), count }).collect(),
    }
}

/// Decimals by code, so that describing transactions needs no lock.
pub(crate) struct Decimals(Vec<(CurrencyCode, u8)>);

impl Decimals {
    /// Those of all currencies.
    pub(crate) fn of(sections: &FollowedSections) -> Self {
        let mut list: Vec<_> =
            sections.currency_totals().iter().map(|entry| (entry.info.code, entry.info.decimals)).collect();
        list.sort_unstable();
        Self(list)
    }

    fn get(&self, code: &CurrencyCode) -> Option<u8> {
        self.0.binary_search_by_key(code, |entry| entry.0).ok().map(|place| self.0[place].1)
    }
}

/// What a payload says beside who sends it.
#[derive(Default)]
struct Said {
    to: Option<PublicKey>,
    money: Option<(CurrencyCode, u128)>,
    metadata: Map<String, Value>,
}

fn said(payload: Payload<'_>) -> Said {
    let with = |to: Option<PublicKey>, money, entries: &[(&str, Value)]| {
        let metadata = entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Said { to, money, metadata }
    };
    match payload {
        Payload::UserCreation { username, display_name, biography } => {
            let entries =
                [("username", json!(username)), ("displayName", json!(display_name)), ("bio", json!(biography))];
            let given: Vec<_> = entries.into_iter().filter(|(_, value)| value != "").collect();
            with(None, None, &given)
        }
        Payload::Transfer { recipient, currency, amount } => with(Some(recipient), Some((currency, amount)), &[]),
        Payload::Deposit { currency, amount } | Payload::Withdraw { currency, amount } => {
            with(None, Some((currency, amount)), &[])
        }
        Payload::DepositConfirmation { request, confirm } | Payload::WithdrawalConfirmation { request, confirm } => {
            with(None, None, &[("request", json!(hex::encode(request))), ("confirm", json!(confirm))])
        }
        Payload::CurrencyCreation(info) => {
            let entries = [
                ("currencyCode", json!(info.code.to_string())),
                ("decimals", json!(info.decimals)),
                ("type", json!(info.currency_type)),
                ("verified", json!(info.verified)),
                ("name", json!(info.name)),
                ("symbol", json!(info.symbol)),
            ];
            with(None, None, &entries)
        }
        Payload::RoleChange { account, role } => with(Some(account), None, &[("role", json!(role.name()))]),
        Payload::SovereigntyTransfer { account } => with(Some(account), None, &[]),
        Payload::BalanceAdjustment { account, currency, amount, reason } => {
            with(Some(account), Some((currency, amount)), &[("reason", json!(reason))])
        }
        Payload::ValidatorSetChange { add, validator, epoch, address } => {
            let entries = [("add", json!(add)), ("epoch", json!(epoch)), ("address", json!(address))];
            with(Some(validator), None, &entries)
        }
    }
}

/// The keys that a transaction is from and to, the second one when it names another account.
pub(crate) fn parties(transaction: &Transaction<'_>) -> ([u8; 32], Option<[u8; 32]>) {
    let sender = transaction.header().sender;
    let other = match transaction.payload() {
        Ok(Payload::Transfer { recipient, .. }) => Some(recipient),
        Ok(
            Payload::RoleChange { account, .. }
            | Payload::SovereigntyTransfer { account }
            | Payload::BalanceAdjustment { account, .. },
        ) => Some(account),
        _ => None,
    };
    (sender, other.map(|key| key.0).filter(|key| *key != sender))
}

/// The transaction at a place of a block.
pub(crate) fn describe_transaction(content: &Content, index: u32, decimals: &Decimals) -> Option<TransactionView> {
    let (transaction, id) = content.transaction(index)?;
    let code = content.block.codes.get(index as usize).copied()?;
    let said = transaction.payload().map(said).unwrap_or_default();
    let decimals_of = said.money.and_then(|(currency, _)| decimals.get(&currency));
    let header = transaction.header();
    Some(TransactionView {
        id: hex::encode(id),
        block_height: content.block.header.height,
        index,
        block_timestamp_ms: content.block.header.timestamp_ms,
        status: if code == Code::Applied as u8 { "confirmed" } else { "failed" }.to_owned(),
        code: code_name(code),
        kind: transaction.kind().map_or("unknown", Kind::name).to_owned(),
        from: transaction.sender().to_string(),
        to: said.to.map(|key| key.to_string()),
        amount: said.money.map(|(_, amount)| print_amount(amount, decimals_of.unwrap_or(0))),
        minor_units: said.money.is_some() && decimals_of.is_none(),
        currency_code: said.money.map(|(currency, _)| currency.to_string()),
        nonce: header.nonce.get(),
        timestamp_ms: header.timestamp_ms.get(),
        signature: print_signature(transaction.signature()),
        metadata: said.metadata,
    })
}
