//! What goes over the wire: the reader's views under the JSON names that users of the replaced ledger know.
//!
//! Heights and counts are numbers, times are milliseconds since 1970-01-01T00:00:00Z, amounts are decimal strings, hashes are 64
//! hexadecimal digits, keys are `ed25519_` and 64 digits. A list is an object with its entries and `nextCursor`: null on the last page.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::chain::{AccountView, BatchView, BlockView, CodeCount, CurrencyView, PendingView, TransactionView};

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What went wrong and what to do, for people.
    pub error: String,
    /// What a program tells cases apart by; never changes.
    pub code: String,
}

/// A block. Its transactions are there in answers about one block, in lists and feeds they are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// Its height, from 1.
    pub height: u64,
    /// Its hash.
    pub hash: String,
    /// The hash of the block below; the genesis hash at height 1.
    pub previous_hash: String,
    /// Its time in milliseconds.
    pub timestamp: u64,
    /// The key of the validator that proposed it.
    pub producer: String,
    /// The root over its transactions' identifiers.
    pub tx_root: String,
    /// The state root after it.
    pub state_root: String,
    /// The root over its receipts.
    pub receipts_root: String,
    /// How many transactions it holds.
    pub tx_count: u32,
    /// Its epoch.
    pub epoch: u64,
    /// The earlier height whose roots its header attests.
    pub executed_height: u64,
    /// The state root of `executedHeight`, as the header has it.
    pub attested_state_root: String,
    /// The receipts root of `executedHeight`, as the header has it.
    pub attested_receipts_root: String,
    /// The hash of the validator set of the epoch of `executedHeight`.
    pub validator_set_hash: String,
    /// Accounts that it changed or created.
    pub changed_accounts: u32,
    /// Its batches, in order of execution.
    pub batches: Vec<BatchView>,
    /// How many of its transactions ended with which code.
    pub codes: Vec<CodeCount>,
    /// Its first transactions, as many as the query `transactions` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<Vec<Transaction>>,
    /// Where `/blocks/:height/transactions` goes on behind `transactions`; left out when there are no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions_cursor: Option<String>,
}

impl From<&BlockView> for Block {
    fn from(view: &BlockView) -> Self {
        let view = view.clone();
        Self {
            height: view.height,
            hash: view.hash,
            previous_hash: view.previous_hash,
            timestamp: view.timestamp_ms,
            producer: view.producer,
            tx_root: view.tx_root,
            state_root: view.state_root,
            receipts_root: view.receipts_root,
            tx_count: view.tx_count,
            epoch: view.epoch,
            executed_height: view.executed_height,
            attested_state_root: view.attested_state_root,
            attested_receipts_root: view.attested_receipts_root,
            validator_set_hash: view.validator_set_hash,
            changed_accounts: view.changed_accounts,
            batches: view.batches,
            codes: view.codes,
            transactions: None,
            transactions_cursor: None,
        }
    }
}

/// A transaction of a block. Which of the optional fields are there follows from `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transaction {
    /// Its identifier: BLAKE3 of its bytes.
    pub id: String,
    /// transfer, user_creation, deposit, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// The sender's key.
    pub from: String,
    /// The key that receives or is spoken of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// A decimal string; in minor units where `minorUnits` is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// True where the currency does not exist, so that nobody knows its decimals.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub minor_units: bool,
    /// The currency's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency_code: Option<String>,
    /// Its nonce.
    pub nonce: u64,
    /// The sender's time in milliseconds.
    pub timestamp: u64,
    /// `ed25519_sig_` and 128 digits.
    pub signature: String,
    /// confirmed when it took effect, failed otherwise.
    pub status: String,
    /// How it ended: `applied`, or why it did not take effect.
    pub code: String,
    /// The height of its block.
    pub block_height: u64,
    /// Its place in the block, from 0.
    pub index: u32,
    /// The block's time in milliseconds.
    pub block_timestamp: u64,
    /// What else it says: `username`, `displayName`, `bio`, `request`, `confirm`, `role`, `reason`, ...
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

impl From<TransactionView> for Transaction {
    fn from(view: TransactionView) -> Self {
        Self {
            id: view.id,
            kind: view.kind,
            from: view.from,
            to: view.to,
            amount: view.amount,
            minor_units: view.minor_units,
            currency_code: view.currency_code,
            nonce: view.nonce,
            timestamp: view.timestamp_ms,
            signature: view.signature,
            status: view.status,
            code: view.code,
            block_height: view.block_height,
            index: view.index,
            block_timestamp: view.block_timestamp_ms,
            metadata: view.metadata,
        }
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// What it is named by: its key.
    pub id: String,
    /// Its key.
    pub public_key: String,
    /// Its username with `@`; null when it has none.
    pub username: Option<String>,
    /// Its display name; may be empty.
    pub display_name: String,
    /// Its biography; may be empty.
    pub bio: String,
    /// sovereign, staff or user.
    pub role: String,
    /// The last nonce used; the next transaction has one more.
    pub nonce: u64,
    /// Its place in the order of creation, from 1.
    pub index: u32,
    /// The block that created it; 0 is the genesis.
    pub created_height: u64,
    /// The height that this is as of.
    pub height: u64,
}

impl From<AccountView> for User {
    fn from(view: AccountView) -> Self {
        Self {
            id: view.public_key.clone(),
            public_key: view.public_key,
            username: view.username,
            display_name: view.display_name,
            bio: view.bio,
            role: view.role,
            nonce: view.nonce,
            index: view.index,
            created_height: view.created_height,
            height: view.height,
        }
    }
}

/// What an account holds of a currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Balance {
    /// The account's key.
    pub user_id: String,
    /// The currency's code.
    pub currency_code: String,
    /// A decimal string with the currency's decimals.
    pub amount: String,
}

/// A deposit or withdrawal that waits for the sovereign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// The identifier of the transaction that asked.
    pub id: String,
    /// deposit or withdraw.
    #[serde(rename = "type")]
    pub kind: String,
    /// The key of the account that asked.
    pub from: String,
    /// A decimal string.
    pub amount: String,
    /// The currency's code.
    pub currency_code: String,
    /// Always pending.
    pub status: String,
    /// The block in which it was asked.
    pub block_height: u64,
}

impl From<PendingView> for Pending {
    fn from(view: PendingView) -> Self {
        Self {
            id: view.request,
            kind: view.kind,
            from: view.account,
            amount: view.amount,
            currency_code: view.currency_code,
            status: "pending".to_owned(),
            block_height: view.height,
        }
    }
}

/// Blocks, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockPage {
    /// The blocks.
    pub blocks: Vec<Block>,
    /// To be given as `cursor` for the next page; null when there are no more.
    pub next_cursor: Option<String>,
}

/// Transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionList {
    /// The transactions.
    pub transactions: Vec<Transaction>,
    /// To be given as `cursor` for the next page; null when there are no more.
    pub next_cursor: Option<String>,
}

/// Accounts in order of creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserPage {
    /// The accounts.
    pub users: Vec<User>,
    /// To be given as `cursor` for the next page; null when there are no more.
    pub next_cursor: Option<String>,
}

/// Deposits and withdrawals that wait, in order of their identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingPage {
    /// How many are on this page.
    pub count: u64,
    /// They themselves.
    pub transactions: Vec<Pending>,
    /// To be given as `cursor` for the next page; null when there are no more.
    pub next_cursor: Option<String>,
}

/// What an account holds, by currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BalanceList {
    /// The balances; a currency that the account never held is not there.
    pub balances: Vec<Balance>,
    /// The height that they are as of.
    pub height: u64,
}

/// One balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OneBalance {
    /// The account's key.
    pub user_id: String,
    /// The currency's code.
    pub currency_code: String,
    /// A decimal string with the currency's decimals; zero when the account never held it.
    pub amount: String,
    /// The same as `amount`, under the name that the replaced ledger gave a balance that was absent.
    pub balance: String,
    /// The height that it is as of.
    pub height: u64,
}

/// All currencies, in order of creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CurrencyList {
    /// The currencies, at most 1,024.
    pub currencies: Vec<CurrencyView>,
}

/// An account's nonce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NonceAnswer {
    /// The account's key.
    pub user_id: String,
    /// Its username; null when it has none.
    pub username: Option<String>,
    /// The last one used in a committed block.
    pub current_nonce: u64,
    /// The one that the next transaction carries.
    pub next_nonce: u64,
    /// A sentence for people.
    pub message: String,
}
