//! Questions to a node and its answers, as JSON on a query stream: for the command line and for small tools, never for floods.
//!
//! A request is one JSON object such as `{"account":{"name":"ed25519_..."}}`; the response is `{"ok":...}` or `{"error":"..."}`.
//! Amounts are decimal strings. Every answer is as of a committed height and names it.

use serde::{Deserialize, Serialize};

use crate::Hash;

/// The most bytes of a request.
pub const REQUEST_BYTES_MAX: usize = 4_096;
/// The most entries of one answer to [`Request::Pending`], which keeps it far below what a response may have and short for the thread
/// that answers.
pub const PENDING_PAGE_MAX: u32 = 1_000;
/// Entries of one answer to [`Request::Pending`] that names no limit.
pub const PENDING_PAGE_DEFAULT: u32 = 100;

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
    /// Deposits and withdrawals that wait for the sovereign, in order of their identifiers, a page at a time. See [`pending_page`].
    Pending {
        /// The page begins behind this request: 64 hexadecimal digits; without it, with the first one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
        /// The most entries of the answer, 1 to 1,000; without it 100. Fewer than that means that there are no more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    },
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

/// Which page a [`Request::Pending`] asks for: behind which identifier it begins, and how many entries it may have.
///
/// # Errors
/// A sentence for whoever asked, when `after` is no identifier or `limit` is not 1 to [`PENDING_PAGE_MAX`].
pub fn pending_page(after: Option<&str>, limit: Option<u32>) -> Result<(Option<Hash>, usize), String> {
    let limit = limit.unwrap_or(PENDING_PAGE_DEFAULT);
    if !(1..=PENDING_PAGE_MAX).contains(&limit) {
        return Err(format!("`limit` is {limit}, but must be 1 to {PENDING_PAGE_MAX}"));
    }
    let read = |digits: &str| {
        let mut id = Hash::default();
        hex::decode_to_slice(digits, &mut id).map(|()| id).map_err(|_| {
            "`after` must be the identifier of a request, 64 hexadecimal digits; leave it out for the first page"
                .to_owned()
        })
    };
    Ok((after.map(read).transpose()?, limit as usize))
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
    /// How it takes part in agreement; none where it orders alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Box<AgreementStatus>>,
}

/// How a node takes part in agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreementStatus {
    /// The epoch that runs.
    pub epoch: u64,
    /// The last final height.
    pub final_height: u64,
    /// Whether it votes.
    pub voting: bool,
    /// Why it does not vote; empty when it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
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
