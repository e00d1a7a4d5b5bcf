//! What `tana devnet` takes.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::output::JsonTarget;

/// The most validators of a devnet: as many as ports fit from the default base on, and more than any machine runs.
pub const VALIDATORS_MAX: u16 = 128;
/// Test accounts of a new network that is flooded.
pub const ACCOUNTS_FLOODED: u32 = 1_000_000;
/// Test accounts of a new network that is not.
pub const ACCOUNTS_IDLE: u32 = 1_000;

/// How fast a flood sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloodPace {
    /// Closed loop: as fast as the validators take transactions.
    Max,
    /// Open loop: so many transactions a second in all.
    Rate(u64),
}

impl FromStr for FloodPace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("max", _) => Ok(Self::Max),
            (_, Ok(rate @ 1..=tx_gen::plan::RATE_MAX)) => Ok(Self::Rate(rate)),
            _ => Err("write transactions a second from 1, or max".to_owned()),
        }
    }
}

/// What `tana devnet` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    tana devnet                                       four validators until Ctrl-C\n  \
    tana devnet --validators 4 --flood max            flood them for 30 s, print a summary, and clean up\n  \
    tana devnet --flood 20000 --seconds 60 --json result.json\n  \
    tana devnet --keep --data ./net                   keep the network; the same command goes on with it\n  \
    tana devnet --validators 1 --solo --flood max     one validator that asks nobody\n  \
    tana devnet --set order.block_interval_ms=50      any key of node.toml, for every validator\n\n\
    Validator i listens on UDP 9000+10i (links), UDP 9002+10i (transactions) and TCP 9001+10i (HTTP: /health, /peers,\n\
    /metrics). Talk to one: tana status --node 127.0.0.1:9012 --server-key KEY. Ctrl-C stops all of them cleanly; a second\n\
    Ctrl-C kills them. Exit code 0: all voted, nothing failed, and all ended with the same state root.")]
pub struct DevnetArguments {
    /// How many validators, 1 to 128 [default: 4, or those of the kept network]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(VALIDATORS_MAX)))]
    pub validators: Option<u16>,
    /// Folder of the network [default: devnet in the home folder]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Keep the network's folder; a later start goes on with it
    #[arg(long)]
    pub keep: bool,
    /// The first UDP port of the links; the others follow from it
    #[arg(long, value_name = "PORT", default_value_t = 9_000)]
    pub base_port: u16,
    /// Stop after so many seconds [default: 30 when it floods, else at Ctrl-C]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=80_000))]
    pub seconds: Option<u64>,
    /// Write the summary as JSON to this file, - for standard output
    #[arg(id = "json", long = "json", value_name = "FILE", num_args = 1, help_heading = "Everywhere")]
    pub json: Option<JsonTarget>,

    /// Flood all validators: transactions a second (open loop), or max (closed loop)
    #[arg(long, value_name = "RATE|max", help_heading = "Flood")]
    pub flood: Option<FloodPace>,
    /// Test accounts of a new network [default: 1000000 when it floods, else 1000]
    #[arg(long, value_name = "N", help_heading = "Flood")]
    pub accounts: Option<u32>,
    /// How many test accounts this flood uses; each sends in one flood only [default: all that are left]
    #[arg(long, value_name = "N", requires = "flood", help_heading = "Flood")]
    pub flood_accounts: Option<u32>,
    /// Seconds before anything is measured
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=3_600), help_heading = "Flood")]
    pub warm_up: u64,
    /// Closed loop: the most transactions in flight, over all validators
    #[arg(long, value_name = "N", default_value_t = 40_000, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Flood")]
    pub in_flight: u64,
    /// Closed loop: transactions signed ahead for each second [default: 150000, or 500000 for one validator]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Flood")]
    pub at_most: Option<u64>,
    /// Connections to each validator
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "Flood")]
    pub connections: u32,

    /// Blocks of an epoch, in a new network
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Chain")]
    pub epoch_blocks: u64,
    /// Milliseconds between empty blocks, in a new network
    #[arg(long, value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(10..=3_600_000), help_heading = "Chain")]
    pub empty_interval_ms: u64,
    /// One validator without consensus, in a new network
    #[arg(long, help_heading = "Chain")]
    pub solo: bool,
    /// A key of node.toml for every validator of a new network, such as verify.threads=1; may be repeated
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Chain")]
    pub set: Vec<String>,
}

impl DevnetArguments {
    /// How long to measure; none until a person stops it.
    pub fn measured_s(&self) -> Option<u64> {
        self.seconds.or(self.flood.map(|_| 30))
    }

    /// Test accounts of a new network.
    pub fn accounts(&self) -> u32 {
        self.accounts.unwrap_or(if self.flood.is_some() { ACCOUNTS_FLOODED } else { ACCOUNTS_IDLE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_a_rate_or_max() {
        assert_eq!("max".parse(), Ok(FloodPace::Max));
        assert_eq!("20000".parse(), Ok(FloodPace::Rate(20_000)));
        for text in ["0", "-1", "fast", "", "1.5", "100000001"] {
            assert!(text.parse::<FloodPace>().is_err(), "{text}");
        }
    }
}
