//! Questions to a node and its answers, as JSON on a query stream: for the command line and for small tools, never for floods.
//!
//! A request is one JSON object such as `{"account":{"name":"ed25519_..."}}`; the response is `{"ok":...}` or `{"error":"..."}`.
//! Amounts are decimal strings. Every answer is as of a committed height and names it.

use serde::{Deserialize, Serialize};

/// The most bytes of a request.
pub const REQUEST_BYTES_MAX: usize = 4_096;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The node and its chain.
    Status,
    /// The genesis file's text, so that a client can check the chain's hash itself.
    Genesis,
    /// One account, by `ed25519_` key or by @username.
    Account {
        /// Key or username.
        name: String,
    },
    /// The currencies of the chain.
    Currencies,
    /// Deposits and withdrawals that wait for the sovereign.
    Pending,
    /// One block; without a height the latest committed one.
    Block {
        /// The height.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        height: Option<u64>,
    },
    /// Where a transaction ended, by its identifier in hexadecimal.
    Transaction {
        /// 64 hexadecimal digits.
        id: String,
    },
    /// Counters, stage regimes and latencies.
    Metrics,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// What was asked for.
    Ok(Answer),
    /// Why there is none.
    Error(String),
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// See [`Request::Status`].
    Status(Status),
    /// See [`Request::Genesis`].
    Genesis(String),
    /// See [`Request::Account`].
    Account(Account),
    /// See [`Request::Currencies`].
    Currencies(Vec<Currency>),
    /// See [`Request::Pending`].
    Pending(Vec<Pending>),
    /// See [`Request::Block`].
    Block(Block),
    /// See [`Request::Transaction`].
    Transaction(Transaction),
    /// See [`Request::Metrics`].
    Metrics(serde_json_text::Text),
}

/// JSON that is passed on as it is.
pub mod serde_json_text {
    use serde::{Deserialize, Serialize};

    /// The text of a JSON document.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Text(pub String);
}

/// A node and its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The chain's name.
    pub chain: String,
    /// The genesis hash in hexadecimal.
    pub genesis_hash: String,
    /// The node's validator key.
    pub validator: String,
    /// The last committed height.
    pub height: u64,
    /// The state root after it, in hexadecimal.
    pub state_root: String,
    /// Accounts, the sentinel left out.
    pub accounts: u64,
    /// Transactions applied since genesis.
    pub transactions_applied: u64,
    /// Which signature path the node took.
    pub verify_backend: String,
    /// Which log writer the node took.
    pub log_backend: String,
    /// The node's version.
    pub version: String,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The committed height that this is as of.
    pub height: u64,
    /// Its place in the order of creation.
    pub index: u32,
    /// Its key.
    pub key: String,
    /// Its username.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Its display name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Its biography.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub biography: String,
    /// sovereign, staff or user.
    pub role: String,
    /// The last nonce used; the next transaction has one more.
    pub nonce: u64,
    /// Where it was created.
    pub created_height: u64,
    /// What it holds.
    pub balances: Vec<Balance>,
}

/// An amount of a currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// The currency's code.
    pub currency: String,
    /// A decimal string.
    pub amount: String,
}

/// A currency with its total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Currency {
    /// What it is.
    #[serde(flatten)]
    pub info: crate::currency::CurrencyInfo,
    /// What exists of it, as a decimal string.
    pub total: String,
}

/// A deposit or withdrawal that waits for the sovereign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The identifier of the transaction that asked.
    pub request: String,
    /// deposit or withdraw.
    pub kind: String,
    /// Who asked.
    pub account: String,
    /// The currency's code.
    pub currency: String,
    /// A decimal string.
    pub amount: String,
    /// Where it was asked.
    pub height: u64,
}

/// A block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its height.
    pub height: u64,
    /// Its hash in hexadecimal.
    pub hash: String,
    /// The hash below.
    pub parent: String,
    /// The validator that proposed it.
    pub proposer: String,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub timestamp_ms: u64,
    /// The height that its roots are of.
    pub executed_height: u64,
    /// The state root of that height.
    pub state_root: String,
    /// The receipts root of that height.
    pub receipts_root: String,
    /// The root over its transactions' identifiers.
    pub transaction_root: String,
    /// Its batches.
    pub batches: Vec<BlockBatch>,
    /// Its transactions.
    pub transactions: u32,
    /// How many ended with each code, by name.
    pub codes: Vec<(String, u32)>,
}

/// A batch of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockBatch {
    /// Its lane.
    pub lane: u16,
    /// Its sequence.
    pub sequence: u64,
    /// Its digest in hexadecimal.
    pub digest: String,
}

/// Where a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Its identifier.
    pub id: String,
    /// The height of its block.
    pub height: u64,
    /// Its place in the block, from 0.
    pub index: u32,
    /// The name of its code.
    pub code: String,
    /// Its kind.
    pub kind: String,
    /// Its sender.
    pub sender: String,
    /// Its nonce.
    pub nonce: u64,
}
