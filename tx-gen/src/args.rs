//! The command line, and how it becomes a plan and a configuration.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use tana_net::ServerPin;
use tana_types::amount::parse_amount;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tx_gen::plan::{CONNECTIONS_MAX, COUNT_MAX};
use tx_gen::{FloodConfig, Load, LoadPlan, Pace, Shares, StopHandle};

const EXAMPLES: &str = "\
Examples:
  Flood the validator on this machine for 20 s, as fast as it takes transactions:
    tx-gen --genesis data/genesis.toml --seconds 20 --warm-up 5

  100,000 a second for a minute, latency from the planned moment, with a page of plots:
    tx-gen --genesis genesis.toml --to 10.0.0.7:9002 --rate 100000 --seconds 60 --html flood.html

  Sign ten million once, send them later, figures as JSON on standard output:
    tx-gen --genesis genesis.toml --count 10000000 --save load.bin
    tx-gen --genesis genesis.toml --load load.bin --json -

  One bad signature in a hundred and a skewed choice of recipients:
    tx-gen --genesis genesis.toml --seconds 10 --bad-signatures 0.01 --skew 1.0

  Create accounts, from another local address, without answers:
    tx-gen --genesis genesis.toml --count 50000 --creations 1 --bind 127.0.0.2 --uni

The senders are the bulk accounts of the genesis; `tana init --accounts N` makes a genesis with some. On a chain on which they
have sent before, pass --start-nonce or take others with --first-account.
Exit code: 0 the flood ran, 1 something failed, 2 wrong command line, 130 stopped by Ctrl-C.";

/// Floods a Tana validator with signed transactions over QUIC and measures what becomes of them.
#[derive(Debug, Parser)]
#[command(name = "tx-gen", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The chain's genesis file, with the seed and count of its bulk accounts
    #[arg(long, value_name = "FILE", default_value = "genesis.toml")]
    pub genesis: PathBuf,
    /// The node's address for transactions
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9002")]
    pub to: String,
    /// The node's key, ed25519_...; without it that of the genesis' first validator
    #[arg(long, value_name = "KEY", conflicts_with = "insecure")]
    pub server_key: Option<PublicKey>,
    /// Take any key for the node's
    #[arg(long)]
    pub insecure: bool,
    /// Send from this local address
    #[arg(long, value_name = "IP")]
    pub bind: Option<IpAddr>,
    /// Do not ask the node for its chain and the accounts' nonces first
    #[arg(long)]
    pub no_check: bool,

    /// Open loop: this many transactions a second, whatever the node does
    #[arg(long, value_name = "N", help_heading = "Pace")]
    pub rate: Option<u64>,
    /// Closed loop: the most in flight per connection, or max to leave it to QUIC's flow control
    #[arg(long, value_name = "N|max", default_value = "16384", value_parser = in_flight, conflicts_with = "rate", help_heading = "Pace")]
    pub in_flight: InFlight,
    /// How long to measure, without the warm-up; 10 where there is no --count or --load either
    #[arg(long, value_name = "S", value_parser = seconds, help_heading = "Pace")]
    pub seconds: Option<Duration>,
    /// How many transactions to sign and send
    #[arg(long, value_name = "N", help_heading = "Pace")]
    pub count: Option<u64>,
    /// Seconds to send before anything is measured
    #[arg(long, value_name = "S", default_value = "0", value_parser = seconds, help_heading = "Pace")]
    pub warm_up: Duration,
    /// Closed loop without --count: transactions signed ahead for each second
    #[arg(long, value_name = "N", default_value_t = 400_000, help_heading = "Pace")]
    pub at_most: u64,
    /// Connections; each sender sticks to one
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Pace")]
    pub connections: u32,
    /// Sending threads
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Pace")]
    pub threads: usize,
    /// Send without answers: only throughput is measured
    #[arg(long, help_heading = "Pace")]
    pub uni: bool,
    /// How often each connection may be made anew
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Pace")]
    pub reconnects: u32,
    /// Seconds to wait for further answers after the last one
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds, help_heading = "Pace")]
    pub drain: Duration,
    /// Seconds of silence, with transactions in flight, after which the node is given up
    #[arg(long, value_name = "S", default_value = "20", value_parser = seconds, help_heading = "Pace")]
    pub patience: Duration,

    /// How many bulk accounts send and receive; all of the genesis, or as many as transactions
    #[arg(long, value_name = "N", help_heading = "Transactions")]
    pub accounts: Option<u32>,
    /// The first bulk account that takes part
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Transactions")]
    pub first_account: u32,
    /// The nonce that the accounts used last, 0 on a fresh chain
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Transactions")]
    pub start_nonce: u64,
    /// Decides every random choice; the same seed gives the same transactions
    #[arg(long, value_name = "TEXT", default_value = "tx-gen", help_heading = "Transactions")]
    pub seed: String,
    /// How unevenly accounts receive: 0 uniform, 1 like Zipf's law
    #[arg(long, value_name = "S", default_value_t = 0.0, help_heading = "Transactions")]
    pub skew: f64,
    /// What each transfer moves, such as 0.01; without it the smallest amount of the currency
    #[arg(long, value_name = "AMOUNT", help_heading = "Transactions")]
    pub amount: Option<String>,
    /// Share with a broken signature, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Transactions")]
    pub bad_signatures: f64,
    /// Share of exact copies
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Transactions")]
    pub duplicates: f64,
    /// Share of transfers of more money than there is
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Transactions")]
    pub unfunded: f64,
    /// Share with a nonce that was used before
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Transactions")]
    pub stale_nonces: f64,
    /// Share of new accounts, each with a username
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, help_heading = "Transactions")]
    pub creations: f64,

    /// Sign, write the load to this file, and send nothing
    #[arg(long, value_name = "FILE", conflicts_with = "load", help_heading = "Files")]
    pub save: Option<PathBuf>,
    /// Send the load of this file; what it contains was decided when it was signed
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    pub load: Option<PathBuf>,
    /// Write the figures as JSON, - for standard output
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    pub json: Option<PathBuf>,
    /// Write throughput and latency over time as one page
    #[arg(long, value_name = "FILE", help_heading = "Files")]
    pub html: Option<PathBuf>,
    /// Show neither progress nor the live line
    #[arg(long, short, help_heading = "Files")]
    pub quiet: bool,
}

/// The bound of a closed loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlight(Option<u64>);

fn in_flight(text: &str) -> Result<InFlight, String> {
    match (text, text.parse::<u64>()) {
        ("max", _) => Ok(InFlight(None)),
        (_, Ok(count @ 1..)) => Ok(InFlight(Some(count))),
        _ => Err("write a number from 1, or max".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds @ 0.0..=86_400.0) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("write seconds from 0 to 86,400, such as 20 or 0.5".to_owned()),
    }
}

impl Args {
    /// Whether standard output is for JSON alone.
    pub(crate) fn json_to_stdout(&self) -> bool {
        self.json.as_ref().is_some_and(|path| path.as_os_str() == "-")
    }

    /// How long to measure: ten seconds where nothing else sets a bound.
    fn duration(&self) -> Option<Duration> {
        let is_bounded = self.count.is_some() || self.load.is_some();
        self.seconds.or_else(|| (!is_bounded).then_some(Duration::from_secs(10)))
    }

    /// How many transactions to sign.
    fn count(&self) -> u64 {
        let measured = self.duration().unwrap_or_default();
        let sending = (self.warm_up + measured).as_secs_f64();
        let count = self.count.unwrap_or_else(|| (sending * self.rate.unwrap_or(self.at_most) as f64).ceil() as u64);
        count.clamp(1, COUNT_MAX)
    }

    /// What to sign.
    pub(crate) fn plan(&self, genesis: &Genesis) -> Result<LoadPlan, String> {
        let count = self.count();
        let bulk = genesis.bulk.as_ref();
        let available = bulk.map_or(0, |bulk| bulk.count).saturating_sub(self.first_account);
        let wanted = u32::try_from(count.max(2)).unwrap_or(u32::MAX).max(self.connections.min(CONNECTIONS_MAX));
        let decimals = bulk
            .and_then(|bulk| genesis.currencies.iter().find(|info| info.code == bulk.currency))
            .map_or(0, |info| info.decimals);
        let amount = match &self.amount {
            None => 1,
            Some(text) => {
                let amount = parse_amount(text, decimals).map_err(|error| format!("--amount: {error}"))?;
                u64::try_from(amount).map_err(|_| format!("--amount {text} is more than a load can move at once"))?
            }
        };
        Ok(LoadPlan {
            seed: self.seed.clone(),
            count,
            first_account: self.first_account,
            accounts: self.accounts.unwrap_or(available.min(wanted)),
            connections: self.connections,
            rate: self.rate,
            start_nonce: self.start_nonce,
            skew: self.skew,
            amount,
            shares: Shares {
                bad_signatures: self.bad_signatures,
                duplicates: self.duplicates,
                unfunded: self.unfunded,
                stale_nonces: self.stale_nonces,
                creations: self.creations,
            },
            timestamp_ms: None,
        })
    }

    /// How to send; the pace is decided when the load is there, see [`Args::pace`].
    pub(crate) fn config(&self, genesis: &Genesis, stop: StopHandle) -> Result<FloodConfig, String> {
        let pin = match (self.insecure, self.server_key, genesis.validators.first()) {
            (true, _, _) => ServerPin::Insecure,
            (false, Some(key), _) => ServerPin::Key(key.0),
            (false, None, Some(validator)) => ServerPin::Key(validator.key.0),
            (false, None, None) => return Err("pass the node's key with --server-key".to_owned()),
        };
        let mut config = FloodConfig::new(resolve(&self.to)?, pin);
        config.bind = self.bind;
        config.duration = self.duration();
        config.warm_up = self.warm_up;
        config.without_answers = self.uni;
        config.threads = self.threads;
        config.reconnects = self.reconnects;
        config.drain = self.drain;
        config.patience = self.patience;
        config.window_ms = Some(genesis.rules.transaction_window_ms);
        config.stop = stop;
        Ok(config)
    }

    /// When to send: a load that was signed for a rate is sent at it unless another one is given.
    pub(crate) fn pace(&self, load: &Load) -> Pace {
        match self.rate.or(load.plan.rate) {
            Some(rate) => Pace::Open { rate },
            None => Pace::Closed { in_flight: self.in_flight.0 },
        }
    }
}

/// The first address of `host:port`.
fn resolve(to: &str) -> Result<SocketAddr, String> {
    let mut addresses = to
        .to_socket_addrs()
        .map_err(|error| format!("--to {to} is no reachable host:port ({error}); write 127.0.0.1:9002"))?;
    addresses.next().ok_or_else(|| format!("--to {to} has no address; write host:port, such as 127.0.0.1:9002"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn args(line: &str) -> Args {
        Args::try_parse_from(line.split_ascii_whitespace()).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent_and_its_help_has_examples() {
        Args::command().debug_assert();
        assert!(Args::command().render_help().to_string().contains("Examples:"));
    }

    #[test]
    fn counts_follow_from_rate_and_time() {
        assert_eq!(args("tx-gen --rate 100 --seconds 20 --warm-up 5").count(), 2_500);
        assert_eq!(args("tx-gen --seconds 2 --at-most 1000").count(), 2_000);
        assert_eq!(args("tx-gen --count 77 --seconds 5").count(), 77);
        assert_eq!(args("tx-gen").count(), 4_000_000);
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            "--in-flight 0",
            "--in-flight x",
            "--seconds -1",
            "--rate 5 --in-flight 7",
            "--save a --load b",
            "--server-key x",
        ] {
            assert!(Args::try_parse_from(format!("tx-gen {line}").split_ascii_whitespace()).is_err(), "{line}");
        }
        assert!(resolve("nonsense").is_err());
    }

    #[test]
    fn examples_in_the_help_are_command_lines() {
        let lines: Vec<_> = EXAMPLES.lines().filter(|line| line.starts_with("    tx-gen")).collect();
        assert_eq!(lines.len(), 6);
        for line in lines {
            assert!(Args::try_parse_from(line.split_ascii_whitespace()).is_ok(), "{line}");
        }
    }
}
