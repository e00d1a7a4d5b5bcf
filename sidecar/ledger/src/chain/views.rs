//! What the reader answers: shapes with JSON names as the system that this one takes the place of had them, amounts as decimal strings,
//! hashes as 64 hexadecimal digits, keys as `ed25519_` and 64 digits, times in milliseconds since 1970-01-01T00:00:00Z.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where the ledger stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The last committed height, which all answers about accounts are as of.
    pub height: u64,
    /// The hash of that block; the genesis hash at height 0.
    pub hash: String,
    /// The state root after it.
    pub state_root: String,
    /// The timestamp of that block.
    pub timestamp_ms: u64,
    /// The height that the node has published as committed: `height`, or more while this reader takes in what is between.
    pub finalized_height: u64,
    /// The highest height whose state this reader has held against a header that attests it; 0 before the first one. Proofs are of this
    /// height.
    pub attested_height: u64,
    /// The first block that is kept; 1 on an archive.
    pub oldest_height: u64,
    /// Accounts, the sentinel left out.
    pub accounts: u64,
    /// Transactions since genesis that took effect.
    pub applied: u64,
    /// Transactions since genesis that failed with a final receipt.
    pub failed: u64,
    /// Transactions since genesis that were passed over.
    pub skipped: u64,
}

/// What an account holds of a currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BalanceView {
    /// The currency's code.
    pub currency_code: String,
    /// A decimal string with the currency's decimals.
    pub amount: String,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountView {
    /// The committed height that this is as of.
    pub height: u64,
    /// Its place in the order of creation, from 1.
    pub index: u32,
    /// Its key.
    pub public_key: String,
    /// Its username with `@`, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Its display name; may be empty.
    #[serde(default)]
    pub display_name: String,
    /// Its biography; may be empty.
    #[serde(default)]
    pub bio: String,
    /// sovereign, staff or user.
    pub role: String,
    /// The last nonce used; the next transaction has one more.
    pub nonce: u64,
    /// Where it was created; 0 is the genesis.
    pub created_height: u64,
    /// What it holds, in order of the currencies' creation; a currency that it never held is not there.
    pub balances: Vec<BalanceView>,
}

/// A currency with its total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrencyView {
    /// Its identifier: its place in the order of creation, from 1.
    pub id: u32,
    /// 3 to 10 capital letters.
    pub code: String,
    /// Digits behind the decimal point, 0 to 18.
    pub decimals: u8,
    /// fiat or crypto.
    #[serde(rename = "type")]
    pub currency_type: String,
    /// Whether the sovereign vouches for it.
    pub verified: bool,
    /// A name for people.
    pub name: String,
    /// A symbol for people.
    pub symbol: String,
    /// What exists of it, held withdrawals included: a decimal string.
    pub total: String,
}

/// A deposit or withdrawal that waits for the sovereign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingView {
    /// The identifier of the transaction that asked; the cursor of a page is the last one's.
    pub request: String,
    /// deposit or withdraw.
    pub kind: String,
    /// The key of the account that asked.
    pub account: String,
    /// The currency's code.
    pub currency_code: String,
    /// A decimal string.
    pub amount: String,
    /// Where it was asked.
    pub height: u64,
}

/// A validator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorView {
    /// `val_` and the first eight digits of its key.
    pub id: String,
    /// Its key.
    pub public_key: String,
    /// Where its links listen, `host:port`.
    pub address: String,
    /// Its lane: its place in the set.
    pub lane: u16,
}

/// The validators of an epoch, as far as they are known at the committed height.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorSetView {
    /// The epoch.
    pub epoch: u64,
    /// The epoch's first height.
    pub first_height: u64,
    /// The epoch's last height.
    pub last_height: u64,
    /// The epoch of the committed height.
    pub current_epoch: u64,
    /// Whether a later block may still change this set; an epoch's set is fixed two epochs before.
    pub may_change: bool,
    /// What headers name the set by.
    pub set_hash: String,
    /// Votes that make a block final: more than two thirds.
    pub required: u32,
    /// The set.
    pub validators: Vec<ValidatorView>,
}

/// A batch of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchView {
    /// Its lane.
    pub lane: u16,
    /// Its sequence in the lane.
    pub sequence: u64,
    /// Its digest.
    pub digest: String,
}

/// How many transactions ended with a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CodeCount {
    /// The code's name, `applied` first.
    pub code: String,
    /// How many.
    pub count: u32,
}

/// A block: its header and how its transactions ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockView {
    /// Its height, from 1.
    pub height: u64,
    /// Its hash.
    pub hash: String,
    /// The hash below; the genesis hash at height 1.
    pub previous_hash: String,
    /// Its epoch.
    pub epoch: u64,
    /// The key of the validator that proposed it.
    pub producer: String,
    /// Its timestamp.
    pub timestamp_ms: u64,
    /// Transactions in it.
    pub tx_count: u32,
    /// The root over the transactions' identifiers.
    pub tx_root: String,
    /// The state root after this block.
    pub state_root: String,
    /// The root over this block's receipts.
    pub receipts_root: String,
    /// The earlier height whose roots the header attests.
    pub executed_height: u64,
    /// The state root of `executed_height`, as the header has it.
    pub attested_state_root: String,
    /// The receipts root of `executed_height`, as the header has it.
    pub attested_receipts_root: String,
    /// The hash of the validator set of the epoch of `executed_height`.
    pub validator_set_hash: String,
    /// Accounts that it changed or created.
    pub changed_accounts: u32,
    /// Its batches, in order of execution.
    pub batches: Vec<BatchView>,
    /// How its transactions ended.
    pub codes: Vec<CodeCount>,
}

/// A transaction of a committed block. Which of the optional fields are there follows from `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionView {
    /// Its identifier: BLAKE3 of its bytes.
    pub id: String,
    /// The height of its block.
    pub block_height: u64,
    /// Its place in the block, from 0.
    pub index: u32,
    /// The block's timestamp.
    pub block_timestamp_ms: u64,
    /// confirmed when it took effect, failed otherwise.
    pub status: String,
    /// The name of its code.
    pub code: String,
    /// Its kind: transfer, user_creation, deposit, ...; `unknown` when its number is none.
    #[serde(rename = "type")]
    pub kind: String,
    /// The sender's key.
    pub from: String,
    /// The key that receives or is spoken of, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// In the currency's decimals; in minor units, with `minorUnits` true, when there is no such currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// Whether `amount` is in minor units, because the currency does not exist.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub minor_units: bool,
    /// The currency's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency_code: Option<String>,
    /// Its nonce.
    pub nonce: u64,
    /// The sender's timestamp.
    pub timestamp_ms: u64,
    /// `ed25519_sig_` and 128 digits.
    pub signature: String,
    /// What else its payload says: `username`, `displayName`, `bio`, `request`, `confirm`, `role`, `reason`, `epoch`, `add`, `address`, ...
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// Bits of a height and of a place in its block, packed as the node's tables hold them.
const HEIGHT_BITS: u32 = 40;
const INDEX_BITS: u32 = 24;

/// A place in the chain: which transaction of which block. Ordered by age; the cursor of lists of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The block's height.
    pub height: u64,
    /// The transaction's place in the block.
    pub index: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.height, self.index)
    }
}

impl std::str::FromStr for Place {
    type Err = super::ChainError;

    /// Reads what `Display` writes: `HEIGHT-INDEX`, digits alone, no more than tables can hold.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (height, index) = text.split_once('-')?;
            let place = Self { height: digits(height)?, index: digits(index)?.try_into().ok()? };
            (place.height < 1 << HEIGHT_BITS && place.index < 1 << INDEX_BITS).then_some(place)
        };
        read().ok_or_else(|| {
            super::ChainError::Invalid("a cursor of transactions is HEIGHT-INDEX, such as 17-3".to_owned())
        })
    }
}

/// A number without a sign, which `parse` would take.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A page of transactions, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionPage {
    /// The transactions.
    pub transactions: Vec<TransactionView>,
    /// Where the next page begins, to be given as `before`; `None` when there are no more.
    pub next: Option<Place>,
}

/// A header as it is hashed and agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderView {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: String,
    /// Its canonical bytes in hexadecimal.
    pub header: String,
}

/// A block with the certificate that makes it final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateView {
    /// The block's height.
    pub height: u64,
    /// The block's hash.
    pub hash: String,
    /// The epoch whose validators signed.
    pub epoch: u64,
    /// The certificate's bytes in hexadecimal.
    pub certificate: String,
    /// The view of the epoch in which it was voted for.
    pub view: u64,
}

#[cfg(test)]
mod tests {
    use tana_engine::indexer::{place, place_of};

    use super::*;

    #[test]
    fn a_cursor_is_what_tables_can_hold_and_nothing_else() {
        let largest = Place { height: (1 << HEIGHT_BITS) - 1, index: (1 << INDEX_BITS) - 1 };
        for at in [Place { height: 0, index: 0 }, Place { height: 17, index: 3 }, largest] {
            assert_eq!(at.to_string().parse(), Ok(at));
            assert_eq!(place_of(place(at.height, at.index as usize)), (at.height, at.index));
        }
        for bad in [
            "",
            "-",
            "17",
            "17-",
            "-3",
            "+17-3",
            "17-+3",
            " 17-3",
            "17-3 ",
            "17-3-1",
            "1099511627776-0",
            "17-16777216",
            "17-4294967295",
            "99999999999999999999-0",
            "١-3",
        ] {
            assert!(matches!(bad.parse::<Place>(), Err(crate::chain::ChainError::Invalid(_))), "{bad}");
        }
    }
}
