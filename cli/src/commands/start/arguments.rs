//! What `tana start`, `tana stop` and `tana flood` take.

use clap::Args;

use crate::commands::devnet::arguments::{FloodPace, VALIDATORS_MAX};

/// Validators of a new network.
pub const VALIDATORS: u16 = 5;
/// Test accounts of a new network.
pub const ACCOUNTS: u32 = 100_000;

/// What `tana start` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    tana start                                  five validators, the mesh, ledger APIs and the page, in the background\n  \
    tana start --validators 1\n  \
    tana start --flood 2000                     and 2,000 transactions a second for an hour\n  \
    tana stop                                   end all of it; the next start goes on where it was\n\n\
    The page is on http://127.0.0.1:8190, its stream on ws://127.0.0.1:8191, ledger APIs on http://127.0.0.1:8080 and up.\n\
    Validator i listens on UDP 9000+10i (links), TCP 9001+10i (HTTP) and UDP 9002+10i (transactions).")]
pub struct StartArguments {
    /// How many validators, 1 to 128 [default: 5, or those of the network that is there]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(VALIDATORS_MAX)))]
    pub validators: Option<u16>,
    /// Flood it in the background for an hour: transactions a second, or max
    #[arg(long, value_name = "RATE|max")]
    pub flood: Option<FloodPace>,
    /// Test accounts of a new network
    #[arg(long, value_name = "N", default_value_t = ACCOUNTS)]
    pub accounts: u32,
    /// Add this to every port of a new network, so that two can run on one machine
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=50_000))]
    pub port_offset: u16,
    /// Stay, and stop everything at Ctrl-C
    #[arg(long)]
    pub foreground: bool,
}

/// What `tana stop` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  tana stop\n  tana stop --delete        and throw the network away")]
pub struct StopArguments {
    /// Delete the network's folder afterwards: keys, chain and all
    #[arg(long)]
    pub delete: bool,
}

/// What `tana flood` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  tana flood 2000\n  tana flood max --seconds 30\n\n\
    Sends transfers between the test accounts of the network that `tana start` made, in rounds that are signed while the one before is sent. Each\n\
    test account sends in one round only, so a network can be flooded until its accounts are used up.")]
pub struct FloodArguments {
    /// Transactions a second over all validators, or max
    #[arg(value_name = "RATE|max", default_value = "2000")]
    pub pace: FloodPace,
    /// For how long at most
    #[arg(long, value_name = "S", default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Leave the terminal's session, so that closing it does not end the flood
    #[arg(long, hide = true)]
    pub own_session: bool,
}
