//! The genesis: what every validator of a chain agrees on before the first block, read from a TOML file.
//!
//! The file may be written in any order and with comments; the chain is named by the BLAKE3 hash of the canonical bytes made from its
//! values ([`Genesis::encode`]), so two files with the same meaning are the same chain. Bulk accounts enter the bytes as seed and count:
//! their keys follow from those.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Hash;
use crate::amount::{AmountError, parse_amount};
use crate::codec::{DecodeError, Writer};
use crate::currency::{CurrencyCode, CurrencyInfo};
use crate::key::PublicKey;
use crate::payload::ADDRESS_BYTES_MAX;
use crate::transaction::Chain;
use crate::username::Username;

/// The key of the genesis hash is the BLAKE3 hash of this text.
pub const GENESIS_CONTEXT: &str = "tana genesis v1";
/// The longest name of a chain in bytes.
pub const CHAIN_NAME_BYTES_MAX: usize = 64;
/// The most currencies that a chain may ever hold.
pub const CURRENCIES_MAX: usize = 1_024;
/// The most validators of a set.
pub const VALIDATORS_MAX: usize = 256;
/// The highest `rules.pending_per_account`.
pub const PENDING_PER_ACCOUNT_MAX: u32 = 65_536;
/// The lowest `rules.batch_expiry_blocks`: below it, batches of a busy node would expire before a block has room for them.
pub const BATCH_EXPIRY_BLOCKS_MIN: u64 = 1_000;

/// The highest `rules.block_transactions`.
pub const BLOCK_TRANSACTIONS_MAX: u32 = 100_000;

/// Why a genesis was refused.
#[derive(Debug, Error)]
pub enum GenesisError {
    /// The file could not be read.
    #[error(
        "cannot read the genesis file {path}: {source}; a new home from `tana init --home FOLDER` has one, and --genesis names another place"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not the TOML of a genesis.
    #[error("the genesis file is not valid TOML of a genesis: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A value breaks a rule.
    #[error("the genesis breaks a rule: {0}")]
    Rule(String),
    /// An amount cannot be read.
    #[error("the genesis holds an amount that cannot be read: {0}")]
    Amount(#[from] AmountError),
    /// A currency breaks a rule.
    #[error("the genesis holds a currency that breaks a rule: {0}")]
    Currency(#[from] DecodeError),
}

/// What all validators must agree on and what never changes while a chain lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// How far a transaction's timestamp may be from its block's, milliseconds.
    pub transaction_window_ms: u64,
    /// The most accounts that one block may create.
    pub accounts_per_block: u32,
    /// The most accounts of the chain, the sentinel included; at most 4,000,000,000.
    pub accounts_total: u32,
    /// The most deposits and withdrawals that may wait for the sovereign.
    pub pending_total: u32,
    /// The most of these that one account may have, 1 to 65,536: asking for a deposit needs no balance, so without this bound one
    /// account could fill `pending_total` and keep everybody else from asking.
    pub pending_per_account: u32,
    /// The most validators of a set, at most 256.
    pub validators_total: u32,
    /// Blocks of an epoch.
    pub epoch_blocks: u64,
    /// How many heights execution may lag behind before blocks are proposed empty.
    pub lag_blocks_max: u64,
    /// Blocks for which a sealed batch may be listed, at least 1,000.
    pub batch_expiry_blocks: u64,
    /// The most transactions of a block, 1 to 100,000: what every validator must have room for in its log, whoever leads.
    pub block_transactions: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            transaction_window_ms: 300_000,
            accounts_per_block: 10_000,
            accounts_total: 100_000_000,
            pending_total: 65_536,
            pending_per_account: 16,
            validators_total: 128,
            epoch_blocks: 1_000,
            lag_blocks_max: 64,
            batch_expiry_blocks: 10_000,
            block_transactions: 20_000,
        }
    }
}

/// Money that exists from the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allocation {
    /// In which currency.
    pub currency: CurrencyCode,
    /// How much, as a decimal string.
    pub amount: String,
}

/// The one account with the sovereign's role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sovereign {
    /// Its key.
    pub key: PublicKey,
    /// Its username, or empty.
    #[serde(default)]
    pub username: String,
    /// What it holds.
    #[serde(default, rename = "allocation")]
    pub allocations: Vec<Allocation>,
}

/// A validator of the first set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// Its key, which [`PublicKey::can_sign`].
    pub key: PublicKey,
    /// Where its links listen, `host:port`.
    pub address: String,
}

/// Accounts made from a seed, for load tests. See [`crate::bulk`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    /// Any text.
    pub seed: String,
    /// How many.
    pub count: u32,
    /// What each holds: the currency.
    pub currency: CurrencyCode,
    /// What each holds: the amount, as a decimal string.
    pub amount: String,
}

/// A chain's beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The chain's name.
    pub chain: String,
    /// When it begins, milliseconds since 1970-01-01T00:00:00Z.
    pub timestamp_ms: u64,
    /// What never changes.
    #[serde(default)]
    pub rules: Rules,
    /// The one sovereign.
    pub sovereign: Sovereign,
    /// The first currencies, in order; the first has identifier 1.
    #[serde(rename = "currency")]
    pub currencies: Vec<CurrencyInfo>,
    /// The first validator set.
    #[serde(rename = "validator")]
    pub validators: Vec<GenesisValidator>,
    /// Accounts for load tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bulk: Option<Bulk>,
}

fn rule<T>(text: impl Into<String>) -> Result<T, GenesisError> {
    Err(GenesisError::Rule(text.into()))
}

impl Genesis {
    /// Reads and checks a genesis file.
    pub fn load(path: &Path) -> Result<Self, GenesisError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| GenesisError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Reads and checks the TOML text of a genesis.
    pub fn parse(text: &str) -> Result<Self, GenesisError> {
        let genesis: Self = toml::from_str(text)?;
        genesis.check()?;
        Ok(genesis)
    }

    /// Checks every rule.
    pub fn check(&self) -> Result<(), GenesisError> {
        if self.chain.is_empty() || self.chain.len() > CHAIN_NAME_BYTES_MAX {
            return rule("`chain` must have 1 to 64 bytes");
        }
        if self.currencies.is_empty() || self.currencies.len() > CURRENCIES_MAX {
            return rule("there must be 1 to 1,024 [[currency]] entries");
        }
        for (position, currency) in self.currencies.iter().enumerate() {
            currency.check()?;
            if self.currencies[..position].iter().any(|other| other.code == currency.code) {
                return rule(format!("currency {} is there twice", currency.code));
            }
        }
        if self.validators.is_empty()
            || self.validators.len() > VALIDATORS_MAX.min(self.rules.validators_total as usize)
        {
            return rule(
                "there must be at least one [[validator]], and at most `rules.validators_total` (at most 256)",
            );
        }
        for (position, validator) in self.validators.iter().enumerate() {
            if self.validators[..position].iter().any(|other| other.key == validator.key) {
                return rule(format!("validator {} is there twice", validator.key));
            }
            if !validator.key.can_sign() {
                return rule(format!(
                    "validator {} has no Ed25519 public key: the bytes are not the encoding of a point of the curve, so it could \
                     never vote; `tana keys show` prints a key file's",
                    validator.key
                ));
            }
            if validator.address.is_empty() || validator.address.len() > ADDRESS_BYTES_MAX {
                return rule("a validator's address must have 1 to 128 bytes, host:port");
            }
        }
        if !self.sovereign.username.is_empty() && Username::new(&self.sovereign.username).is_err() {
            return rule("sovereign.username must be @ and 1 to 49 of a-z, 0-9, _ and -");
        }
        self.check_rules()?;
        self.check_amounts()
    }

    fn check_rules(&self) -> Result<(), GenesisError> {
        let rules = &self.rules;
        if rules.accounts_total > 4_000_000_000 || rules.accounts_per_block == 0 {
            return rule("rules.accounts_total is at most 4,000,000,000 and rules.accounts_per_block at least 1");
        }
        if u64::from(self.bulk.as_ref().map_or(0, |bulk| bulk.count)) + 2 > u64::from(rules.accounts_total) {
            return rule("bulk.count and the two first accounts do not fit rules.accounts_total");
        }
        if !(1..=PENDING_PER_ACCOUNT_MAX).contains(&rules.pending_per_account) {
            return rule("rules.pending_per_account is 1 to 65,536");
        }
        if rules.epoch_blocks == 0 || rules.lag_blocks_max == 0 {
            return rule("rules.epoch_blocks and rules.lag_blocks_max are at least 1");
        }
        if rules.batch_expiry_blocks < BATCH_EXPIRY_BLOCKS_MIN {
            return rule("rules.batch_expiry_blocks is at least 1,000");
        }
        if !(1..=BLOCK_TRANSACTIONS_MAX).contains(&rules.block_transactions) {
            return rule("rules.block_transactions is 1 to 100,000");
        }
        if rules.transaction_window_ms < 1_000 {
            return rule("rules.transaction_window_ms is at least 1,000");
        }
        Ok(())
    }

    fn check_amounts(&self) -> Result<(), GenesisError> {
        let mut totals = vec![0u128; self.currencies.len()];
        let mut add = |currency: CurrencyCode, text: &str, times: u32| {
            let Some(position) = self.currencies.iter().position(|info| info.code == currency) else {
                return rule(format!("an allocation names the currency {currency}, which has no [[currency]] entry"));
            };
            let amount = parse_amount(text, self.currencies[position].decimals)?;
            let sum = amount.checked_mul(u128::from(times)).and_then(|sum| sum.checked_add(totals[position]));
            match sum {
                Some(sum) => totals[position] = sum,
                None => return rule(format!("the allocations of {currency} do not fit an amount")),
            }
            Ok(())
        };
        for (position, allocation) in self.sovereign.allocations.iter().enumerate() {
            if self.sovereign.allocations[..position].iter().any(|other| other.currency == allocation.currency) {
                return rule(format!("the sovereign's allocation of {} is there twice", allocation.currency));
            }
            add(allocation.currency, &allocation.amount, 1)?;
        }
        match &self.bulk {
            Some(bulk) => add(bulk.currency, &bulk.amount, bulk.count),
            None => Ok(()),
        }
    }

    /// The canonical bytes that name the chain: version 2, then every value in the order of the structs, lists behind a `u32` count,
    /// texts behind a two-byte length, amounts as their decimal text.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(1_024);
        writer.u16(1).text_u16(&self.chain).u64(self.timestamp_ms);
        let rules = &self.rules;
        writer.u64(rules.transaction_window_ms).u32(rules.accounts_per_block).u32(rules.accounts_total);
        writer.u32(rules.pending_total).u32(rules.pending_per_account).u32(rules.validators_total);
        writer.u64(rules.epoch_blocks).u64(rules.lag_blocks_max).u64(rules.batch_expiry_blocks);
        writer.u32(rules.block_transactions);
        writer.bytes(&self.sovereign.key.0).text_u16(&self.sovereign.username);
        writer.u32(self.sovereign.allocations.len() as u32);
        for allocation in &self.sovereign.allocations {
            writer.bytes(allocation.currency.as_bytes()).text_u16(&allocation.amount);
        }
        writer.u32(self.currencies.len() as u32);
        for currency in &self.currencies {
            currency.write(&mut writer);
        }
        writer.u32(self.validators.len() as u32);
        for validator in &self.validators {
            writer.bytes(&validator.key.0).text_u16(&validator.address);
        }
        match &self.bulk {
            Some(bulk) => {
                writer
                    .u8(1)
                    .text_u16(&bulk.seed)
                    .u32(bulk.count)
                    .bytes(bulk.currency.as_bytes())
                    .text_u16(&bulk.amount);
            }
            None => {
                writer.u8(0);
            }
        }
        writer.finish()
    }

    /// The genesis hash, which names the chain.
    pub fn hash(&self) -> Hash {
        *blake3::keyed_hash(blake3::hash(GENESIS_CONTEXT.as_bytes()).as_bytes(), &self.encode()).as_bytes()
    }

    /// What signatures of this chain begin with.
    pub fn to_chain(&self) -> Chain {
        Chain::new(self.hash())
    }

    /// The file's text, without comments.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }
}
