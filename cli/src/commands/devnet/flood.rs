//! The flood of a devnet: signed ahead with a progress bar, then sent to all validators at once from this process, through the load
//! generator's library. A sender sticks to one validator, as a wallet does.

use std::time::Duration;

use tana_net::ServerPin;
use tx_gen::{Flood, FloodConfig, Load, LoadPlan, Pace, Report, Stage, StopHandle, Target, Tick, sign_load};

use super::arguments::{DevnetArguments, FloodPace};
use super::network::Network;
use crate::error::CliError;
use crate::output::{Output, grouped};
use crate::progress::Live;

/// Transactions signed ahead per second of a closed loop: more than that many validators on one machine apply.
const AT_MOST_SEVERAL: u64 = 150_000;
/// The same for one validator alone.
const AT_MOST_ONE: u64 = 500_000;

/// A flood that is signed.
pub struct SignedFlood {
    load: Load,
    config: FloodConfig,
}

impl SignedFlood {
    /// Signs what `arguments` ask for.
    ///
    /// # Errors
    /// [`CliError::Usage`] when the network has no accounts for it or a number is out of range.
    pub fn sign(
        network: &Network,
        arguments: &DevnetArguments,
        pace: FloodPace,
        stop: StopHandle,
        output: &Output,
    ) -> Result<Self, CliError> {
        let (first_account, accounts) = network.take_accounts(arguments.flood_accounts)?;
        let seconds = arguments.warm_up + arguments.measured_s().unwrap_or(0);
        let validators = network.members.len() as u32;
        let rate = match pace {
            FloodPace::Rate(rate) => Some(rate),
            FloodPace::Max => None,
        };
        let at_most = arguments.at_most.unwrap_or(if validators == 1 { AT_MOST_ONE } else { AT_MOST_SEVERAL });
        let connections = (arguments.connections * validators).min(accounts);
        let plan = LoadPlan {
            seed: "devnet".to_owned(),
            count: seconds.saturating_mul(rate.unwrap_or(at_most)).max(connections.into()),
            first_account,
            accounts,
            connections,
            rate,
            ..LoadPlan::default()
        };
        let live = Live::new(output);
        let load = sign_load(&network.genesis, &plan, &mut |progress| {
            let what = if progress.stage == Stage::Keys { "keys of the test accounts" } else { "signing transactions" };
            live.step(what, progress.done, progress.total);
        });
        live.clear();
        let load = load.map_err(|error| CliError::Usage(error.to_string()))?;
        let config = configuration(network, arguments, pace, connections, stop);
        Ok(Self { load, config })
    }

    /// How many transactions are signed.
    pub fn count(&self) -> u64 {
        self.load.count()
    }

    /// Sends; `on_tick` hears of it ten times a second and is told whether everything is sent.
    ///
    /// # Errors
    /// [`CliError::Node`] when nothing could be sent at all; what goes wrong later is in the report.
    pub fn run(self, on_tick: &mut dyn FnMut(&Tick, bool)) -> Result<Report, CliError> {
        let count = self.load.count();
        let run = Flood::run(&self.load, &self.config, &mut |tick| on_tick(tick, tick.totals.sent >= count));
        run.map_err(|error| CliError::Node(error.to_string()))
    }
}

fn configuration(
    network: &Network,
    arguments: &DevnetArguments,
    pace: FloodPace,
    connections: u32,
    stop: StopHandle,
) -> FloodConfig {
    let mut targets =
        network.members.iter().map(|member| Target { address: member.transactions, pin: ServerPin::Key(member.key.0) });
    // A genesis has at least one validator; an address that nobody has stands for the case that cannot be.
    let nobody = Target { address: ([127, 0, 0, 1], 0).into(), pin: ServerPin::Insecure };
    let first = targets.next().unwrap_or(nobody);
    FloodConfig {
        others: targets.collect(),
        pace: match pace {
            FloodPace::Rate(rate) => Pace::Open { rate },
            FloodPace::Max => {
                Pace::Closed { in_flight: Some((arguments.in_flight / u64::from(connections.max(1))).max(1)) }
            }
        },
        duration: arguments.measured_s().map(Duration::from_secs),
        warm_up: Duration::from_secs(arguments.warm_up),
        window_ms: Some(network.genesis.rules.transaction_window_ms),
        stop,
        ..FloodConfig::new(first.address, first.pin)
    }
}

/// The live line of a flood.
pub fn line(tick: &Tick, height: u64) -> String {
    let warm_up = if tick.is_warm_up { " (warm-up)" } else { "" };
    format!(
        "{:>3} s{warm_up}  height {}  sent {}/s  applied {}/s  in flight {}  p99 {:.0} ms  rejected {}",
        tick.elapsed.as_secs(),
        grouped(height),
        grouped(tick.sent_tps as u64),
        grouped(tick.applied_tps as u64),
        grouped(tick.in_flight),
        tick.latency_p99_ms,
        grouped(tick.totals.rejected)
    )
}
