//! What a load consists of: whose transactions, how many, in which order and with which share of bad ones.
//!
//! A plan and a genesis determine every byte of a load but for its timestamps. All bounds are checked in one place,
//! [`LoadPlan::check`], before anything is made.

use serde::{Deserialize, Serialize};
use tana_types::genesis::Genesis;
use thiserror::Error;

/// The most transactions of a frame.
pub const FRAME_TRANSACTIONS_MAX: u32 = 64;
/// The most connections of a flood: more than any validator takes.
pub const CONNECTIONS_MAX: u32 = 4_096;
/// The most transactions of a load: 180 GB of signed bytes, more than the memory of most machines.
pub const COUNT_MAX: u64 = 1_000_000_000;
/// The highest rate in transactions per second.
pub const RATE_MAX: u64 = 100_000_000;
/// The longest seed in bytes.
pub const SEED_BYTES_MAX: usize = 1_024;

/// Why a plan was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// The genesis holds no accounts for load tests.
    #[error(
        "the genesis has no bulk accounts, whose keys a load needs; make one with `tana init --accounts N`, or add a [bulk] table with seed, count, currency and amount"
    )]
    NoBulk,
    /// A number is out of its range.
    #[error("{what} is {value}; {rule}")]
    Range {
        /// What it is.
        what: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        rule: String,
    },
    /// The bulk amount of the genesis cannot be read.
    #[error("the bulk accounts' amount in the genesis cannot be read: {0}")]
    Amount(String),
}

/// Shares of all transactions, each 0 to 1; what remains are transfers that should succeed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shares {
    /// Transfers whose signature has a flipped bit.
    pub bad_signatures: f64,
    /// Exact copies of a transaction sent a moment before.
    pub duplicates: f64,
    /// Transfers of more money than exists.
    pub unfunded: f64,
    /// Transfers with a nonce that was used before.
    pub stale_nonces: f64,
    /// New accounts with a username of their own.
    pub creations: f64,
}

impl Shares {
    /// The shares with their names.
    pub fn named(&self) -> [(&'static str, f64); 5] {
        [
            ("bad signatures", self.bad_signatures),
            ("duplicates", self.duplicates),
            ("unfunded", self.unfunded),
            ("stale nonces", self.stale_nonces),
            ("creations", self.creations),
        ]
    }

    /// The share of transactions that a node should accept.
    pub fn acceptable(&self) -> f64 {
        1.0 - self.bad_signatures - self.duplicates - self.stale_nonces
    }
}

/// A load before it is signed. See the fields; [`LoadPlan::default`] is what `tx-gen` uses without options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// Decides every choice below: any text.
    pub seed: String,
    /// How many transactions.
    pub count: u64,
    /// The first bulk account that takes part.
    pub first_account: u32,
    /// How many bulk accounts send and receive.
    pub accounts: u32,
    /// Over how many connections the load is spread; a sender's transactions all go through one.
    pub connections: u32,
    /// Transactions per second for which timestamps and frames are made; `None` when they are sent as fast as they are taken.
    pub rate: Option<u64>,
    /// The nonce that every account used last; 0 on a fresh chain.
    pub start_nonce: u64,
    /// How unevenly accounts receive: 0 is uniform, 1 is like Zipf's law. See [`crate::zipf`].
    pub skew: f64,
    /// What each transfer moves, in minor units of the bulk accounts' currency.
    pub amount: u64,
    /// Which transactions are not plain transfers.
    pub shares: Shares,
    /// The first transaction's timestamp, milliseconds since 1970; `None` for the time of signing.
    pub timestamp_ms: Option<u64>,
}

impl Default for LoadPlan {
    fn default() -> Self {
        Self {
            seed: "tx-gen".to_owned(),
            count: 1_000_000,
            first_account: 0,
            accounts: 1_000_000,
            connections: 4,
            rate: None,
            start_nonce: 0,
            skew: 0.0,
            amount: 1,
            shares: Shares::default(),
            timestamp_ms: None,
        }
    }
}

fn range<T>(what: &'static str, value: impl ToString, rule: impl Into<String>) -> Result<T, PlanError> {
    Err(PlanError::Range { what, value: value.to_string(), rule: rule.into() })
}

impl LoadPlan {
    /// Checks every number, those of `genesis` included.
    ///
    /// # Errors
    /// [`PlanError`] with the first number that is out of range and what is allowed.
    pub fn check(&self, genesis: &Genesis) -> Result<(), PlanError> {
        let bulk = genesis.bulk.as_ref().filter(|bulk| bulk.count > 0).ok_or(PlanError::NoBulk)?;
        if self.seed.len() > SEED_BYTES_MAX {
            return range("the seed's length in bytes", self.seed.len(), "at most 1,024");
        }
        if self.count == 0 || self.count > COUNT_MAX {
            return range("--count", self.count, format!("1 to {COUNT_MAX}"));
        }
        if self.accounts == 0 || u64::from(self.first_account) + u64::from(self.accounts) > u64::from(bulk.count) {
            let rule = format!("the genesis has {} bulk accounts; use --accounts {}", bulk.count, bulk.count);
            return range("the last account", u64::from(self.first_account) + u64::from(self.accounts), rule);
        }
        if self.connections == 0 || self.connections > CONNECTIONS_MAX.min(self.accounts) {
            let rule = format!("1 to {}, and no more than accounts", CONNECTIONS_MAX.min(self.accounts));
            return range("--connections", self.connections, rule);
        }
        if u64::from(self.connections) > self.count {
            return range("--connections", self.connections, "no more than transactions");
        }
        if self.rate.is_some_and(|rate| rate == 0 || rate > RATE_MAX) {
            return range("--rate", self.rate.unwrap_or(0), format!("1 to {RATE_MAX} transactions a second"));
        }
        if self.start_nonce > u64::MAX - COUNT_MAX - 1 {
            return range("--start-nonce", self.start_nonce, "leave room for the load's own nonces");
        }
        if !(0.0..=10.0).contains(&self.skew) {
            return range("--skew", self.skew, "0 (uniform) to 10");
        }
        if self.amount == 0 {
            return range("--amount", 0, "at least one minor unit");
        }
        self.check_shares()
    }

    fn check_shares(&self) -> Result<(), PlanError> {
        for (what, share) in self.shares.named() {
            if !(0.0..=1.0).contains(&share) {
                return range(what, share, "a share is a number from 0 to 1, such as 0.01 for one in a hundred");
            }
        }
        let sum: f64 = self.shares.named().iter().map(|(_, share)| share).sum();
        if sum > 1.0 + 1e-9 {
            return range("the sum of all shares", sum, "at most 1");
        }
        Ok(())
    }

    /// Transactions of a frame: 64 in a closed loop; at a rate so many that each connection sends about a frame a
    /// millisecond, so that no transaction waits long for its neighbours.
    pub fn frame_transactions(&self) -> u32 {
        match self.rate {
            None => FRAME_TRANSACTIONS_MAX,
            Some(rate) => {
                let per_millisecond = rate / u64::from(self.connections.max(1)) / 1_000;
                per_millisecond.clamp(1, u64::from(FRAME_TRANSACTIONS_MAX)) as u32
            }
        }
    }

    /// How many transactions connection `connection` carries.
    pub fn connection_count(&self, connection: u32) -> u64 {
        let connections = u64::from(self.connections.max(1));
        self.count / connections + u64::from(u64::from(connection) < self.count % connections)
    }
}
