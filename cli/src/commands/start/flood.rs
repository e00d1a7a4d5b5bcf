//! `tana flood`: keeps the network of `tana start` busy for a bounded time, in rounds.
//!
//! While one round is sent the next one is signed, so memory holds two rounds and sending hardly pauses. Which nonces a round used is not known
//! when something of it was lost, so each round gets test accounts of its own, and the network's folder remembers which were used.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tana_net::ServerPin;
use tx_gen::{Flood, FloodConfig, Load, LoadPlan, Pace, Report, StopHandle, Target, sign_load};

use super::arguments::FloodArguments;
use super::layout::{Place, network_folder, places};
use super::processes::leave_session;
use crate::commands::devnet::arguments::FloodPace;
use crate::commands::devnet::network::Network;
use crate::error::CliError;
use crate::home::Home;
use crate::http::client::get;
use crate::output::{Output, grouped};
use crate::progress::Live;
use crate::signals;

/// How long a round lasts.
const ROUND: Duration = Duration::from_secs(20);
/// Transactions signed ahead for each second of a closed loop: more than validators on one machine apply.
const AT_MOST_PER_S: u64 = 60_000;
/// Transactions in flight in a closed loop, over all validators.
const IN_FLIGHT: u64 = 20_000;
/// About how many transactions of a round one account sends.
const PER_ACCOUNT: u64 = 500;
/// How long a validator may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);
/// The fewest accounts of a round for each connection: a sender waits for nobody then.
const ACCOUNTS_PER_CONNECTION: u32 = 16;

/// Runs `tana flood`.
///
/// # Errors
/// [`CliError`] when there is no network, its test accounts are used up, or nothing can be sent.
pub fn run(arguments: &FloodArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    if arguments.own_session {
        leave_session();
    }
    let folder = network_folder(home);
    if !Network::is_in(&folder) {
        return Err(CliError::Usage("there is no network to flood; `tana start` makes one".to_owned()));
    }
    let network = Network::open(&folder, None)?;
    let stop = StopHandle::default();
    let told = stop.clone();
    let stopping = signals::listen(move || told.stop(), || {})?;
    let places: Vec<Place> = places(&network)?.into_iter().take(network.members.len()).collect();
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let rounds = Rounds { network: &network, places, pace: arguments.pace, stop };
    let mut sums = Sums::default();
    let mut next = Some(rounds.sign()?);
    while let Some(load) = next.take() {
        let left = end.saturating_duration_since(Instant::now());
        let (report, signed) = std::thread::scope(|scope| {
            let ahead = scope.spawn(|| if left > ROUND { rounds.sign().map(Some) } else { Ok(None) });
            let report = rounds.send(&load, left.min(ROUND), &sums, output);
            // A thread that panicked has said so; what it was to sign is not there.
            (report, ahead.join().unwrap_or(Ok(None)))
        });
        sums.add(&report?);
        if !stopping.load(Ordering::SeqCst) && Instant::now() < end {
            next = signed?;
        }
    }
    let value = serde_json::json!({ "sent": sums.sent, "applied": sums.applied, "rejected": sums.rejected, "rounds": sums.rounds });
    output.result(&value, |output| {
        output.line(format!(
            "{} sent, {} applied, {} rejected in {} rounds",
            grouped(sums.sent),
            grouped(sums.applied),
            grouped(sums.rejected),
            sums.rounds
        ));
    });
    Ok(())
}

/// What all rounds did.
#[derive(Debug, Default)]
struct Sums {
    sent: u64,
    applied: u64,
    rejected: u64,
    rounds: u64,
}

impl Sums {
    fn add(&mut self, report: &Report) {
        self.sent += report.totals.sent;
        self.applied += report.totals.applied;
        self.rejected += report.totals.rejected;
        self.rounds += 1;
    }
}

/// Signs and sends one round after the other.
struct Rounds<'a> {
    network: &'a Network,
    places: Vec<Place>,
    pace: FloodPace,
    stop: StopHandle,
}

impl Rounds<'_> {
    fn connections(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(1).max(1)
    }

    /// The next round, with accounts of its own.
    fn sign(&self) -> Result<Load, CliError> {
        let connections = self.connections();
        let (rate, per_s) = match self.pace {
            FloodPace::Rate(rate) => (Some(rate), rate),
            FloodPace::Max => (None, AT_MOST_PER_S),
        };
        let count = per_s.saturating_mul(ROUND.as_secs()).max(connections.into());
        let accounts =
            u32::try_from(count / PER_ACCOUNT).unwrap_or(u32::MAX).max(connections * ACCOUNTS_PER_CONNECTION);
        let (_, left) = self.network.free_accounts(None)?;
        let accounts = accounts.min(left);
        let (first_account, accounts) = self.network.take_accounts(Some(accounts))?;
        let plan = LoadPlan {
            seed: "flood".to_owned(),
            count,
            first_account,
            accounts,
            connections,
            rate,
            ..LoadPlan::default()
        };
        sign_load(&self.network.genesis, &plan, &mut |_| {}).map_err(|error| CliError::Usage(error.to_string()))
    }

    fn send(&self, load: &Load, duration: Duration, before: &Sums, output: &Output) -> Result<Report, CliError> {
        // Who is away now is passed over in this round, and asked again in the next one.
        let mut targets = self
            .places
            .iter()
            .filter(|place| get(place.http, "/health", PATIENCE).is_ok())
            .map(|place| Target { address: place.transactions, pin: ServerPin::Key(place.key.0) });
        let Some(first) = targets.next() else {
            return Err(CliError::Node("no validator of the network answers; `tana start` starts them".to_owned()));
        };
        let in_flight = (IN_FLIGHT / u64::from(self.connections())).max(1);
        let config = FloodConfig {
            others: targets.collect(),
            pace: match self.pace {
                FloodPace::Rate(rate) => Pace::Open { rate },
                FloodPace::Max => Pace::Closed { in_flight: Some(in_flight) },
            },
            duration: Some(duration.max(Duration::from_secs(1))),
            warm_up: Duration::ZERO,
            window_ms: Some(self.network.genesis.rules.transaction_window_ms),
            stop: self.stop.clone(),
            ..FloodConfig::new(first.address, first.pin)
        };
        let live = Live::new(output);
        let run = Flood::run(load, &config, &mut |tick| {
            live.say(format!(
                "round {}  sent {}/s  applied {}/s  in flight {}  p99 {:.0} ms  {} applied before",
                before.rounds + 1,
                grouped(tick.sent_tps as u64),
                grouped(tick.applied_tps as u64),
                grouped(tick.in_flight),
                tick.latency_p99_ms,
                grouped(before.applied)
            ));
        });
        live.clear();
        run.map_err(|error| CliError::Node(error.to_string()))
    }
}
