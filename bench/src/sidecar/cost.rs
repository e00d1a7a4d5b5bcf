//! The node with the ledger API beside it and without, in turn, each time on a new chain; then reads while it is flooded.
//!
//! 1. A flood as fast as the node takes it: its capacity.
//! 2. Rounds at half of that: without the API, then with it. Medians over the rounds are compared, so a disk that is busy in one of them decides
//!    nothing.
//! 3. The same with reads at a steady rate, and reads beside a flood as fast as the node takes it.
//! 4. Subscribers of the feed, on a chain whose validator agrees with itself as in a network, so that blocks come as often as there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use tana_engine::config::NodeConfig;
use tana_engine::consensus::create_vote_record;
use tx_gen::{LoadPlan, Report};

use super::feed::{FeedOutcome, feed};
use super::reads::{ReadOutcome, ReadPlan, read};
use super::serve::Ledger;
use crate::chain::{Chain, ChainChoices};
use crate::child::Validator;
use crate::end_to_end::{SignedFlood, order};

/// Seconds of a flood before those that are measured.
const WARM_UP_SECONDS: u64 = 3;
/// Accounts that no flood uses: the feed's transfers come from the last one.
const SPARE_ACCOUNTS: u32 = 10;
/// How much more is signed than the capacity of another round lets expect.
const RESERVE: f64 = 1.25;

/// What to do.
#[derive(Debug, Clone)]
pub struct SidecarPlan {
    /// Folder of the chains.
    pub folder: PathBuf,
    /// Accounts of the chains.
    pub accounts: u32,
    /// Measured seconds of each flood.
    pub seconds: u64,
    /// Rounds at half capacity, each without the API and with it.
    pub rounds: usize,
    /// Reads a second.
    pub rate: u64,
    /// Subscribers of the feed.
    pub subscribers: usize,
    /// What is signed for the first flood, transactions per second.
    pub expected_tps: u64,
}

/// A flood at half capacity.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Half {
    /// Applied per second.
    pub applied_tps: f64,
    /// Latency to applied, milliseconds.
    pub p50_ms: f64,
    /// All but one of a hundred are below it.
    pub p99_ms: f64,
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SidecarOutcome {
    /// Applied per second of a flood as fast as the node takes it, without the API.
    pub capacity_tps: f64,
    /// Rounds at half capacity without the API.
    pub without: Vec<Half>,
    /// Rounds with it, in turn with those.
    pub with: Vec<Half>,
    /// A round with reads.
    pub with_reads: Half,
    /// These reads.
    pub reads_at_half: ReadOutcome,
    /// Applied per second of a flood as fast as the node takes it, beside reads.
    pub flooded_tps: f64,
    /// These reads.
    pub reads_flooded: ReadOutcome,
    /// Reads of a node that has nothing to do.
    pub reads_idle: ReadOutcome,
    /// The feed.
    pub feed: FeedOutcome,
}

impl SidecarOutcome {
    /// How the median applied rate with the API compares with that without.
    pub fn applied_ratio(&self) -> f64 {
        median(&self.with, |half| half.applied_tps) / median(&self.without, |half| half.applied_tps)
    }

    /// How the median 99th percentile with the API compares with that without.
    pub fn p99_ratio(&self) -> f64 {
        median(&self.with, |half| half.p99_ms) / median(&self.without, |half| half.p99_ms)
    }
}

/// The median of some rounds.
pub fn median(rounds: &[Half], of: impl Fn(&Half) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// What is read: what a wallet and an explorer ask most.
fn paths(chain: &Chain, accounts: u32) -> Vec<String> {
    // Spread over the accounts, and the same in every run.
    let account = |number: u32| chain.account_key(number.wrapping_mul(7_919) % accounts);
    (0..500u32)
        .map(|number| match number % 10 {
            0..=3 => format!("/users/publicKey/{}", account(number)),
            4..=6 => format!("/balances?ownerId={}&ownerType=user&currencyCode=USD", account(number)),
            7 => "/blocks/latest".to_owned(),
            8 => "/blocks?limit=10".to_owned(),
            _ => "/balances/currencies".to_owned(),
        })
        .collect()
}

/// One flood, and what stands beside it.
struct Round<'a> {
    plan: &'a SidecarPlan,
    name: &'a str,
    /// Transactions per second: of an open load, or to be signed for a closed one.
    tps: f64,
    closed: bool,
    ledger: bool,
    reads: bool,
}

impl Round<'_> {
    fn run(&self) -> Result<(Report, Option<ReadOutcome>), String> {
        let plan = self.plan;
        let chain = new_chain(plan, self.name, |_| {})?;
        let validator = start(&chain)?;
        let ledger = self.ledger.then(|| Ledger::start(&chain.config_file())).transpose()?;
        let rate = (!self.closed).then_some(self.tps as u64);
        let count = (self.tps * RESERVE * (plan.seconds + WARM_UP_SECONDS) as f64) as u64;
        let load = LoadPlan { accounts: plan.accounts - SPARE_ACCOUNTS, count, rate, ..LoadPlan::default() };
        let mut order = order(&chain, &validator, load, plan.seconds, WARM_UP_SECONDS);
        order.rate = rate;
        let mut flood = SignedFlood::sign(&chain.folder, "load", &order)?;
        let stop = Arc::new(AtomicBool::new(false));
        let reading = ledger.as_ref().filter(|_| self.reads).map(|ledger| {
            let seconds = plan.seconds + WARM_UP_SECONDS;
            let reads = ReadPlan { paths: paths(&chain, plan.accounts), rate: plan.rate, seconds };
            let (address, stop) = (ledger.address, stop.clone());
            std::thread::spawn(move || read(address, &reads, &stop))
        });
        flood.go()?;
        let report = flood.report();
        stop.store(true, Ordering::Relaxed);
        let reads = match reading {
            Some(thread) => Some(thread.join().map_err(|_| "the reading thread panicked")??),
            None => None,
        };
        let report = report?;
        if let Some(failure) = &report.failure {
            return Err(format!("the flood failed: {}", failure.message));
        }
        drop(ledger);
        end(validator, &chain)?;
        Ok((report, reads))
    }

    fn half(&self) -> Result<(Half, Option<ReadOutcome>), String> {
        let (report, reads) = self.run()?;
        let latency = &report.latency_applied_ms;
        Ok((Half { applied_tps: report.per_second.applied, p50_ms: latency.p50, p99_ms: latency.p99 }, reads))
    }
}

fn new_chain(plan: &SidecarPlan, name: &str, change: impl FnOnce(&mut NodeConfig)) -> Result<Chain, String> {
    let choices = ChainChoices { accounts: plan.accounts, ..ChainChoices::default() };
    Chain::create(&plan.folder.join(name), &choices, change).map_err(|error| error.to_string())
}

fn start(chain: &Chain) -> Result<Validator, String> {
    Validator::start(&chain.config_file(), chain.validator).map_err(|error| error.to_string())
}

fn end(validator: Validator, chain: &Chain) -> Result<(), String> {
    validator.stop().map_err(|error| error.to_string())?;
    remove(&chain.config.data);
    Ok(())
}

/// What stays behind costs disk alone.
fn remove(data: &Path) {
    let _ = std::fs::remove_dir_all(data);
}

/// Runs everything; `progress` hears of each step.
///
/// # Errors
/// A sentence that says what did not work.
pub fn cost(plan: &SidecarPlan, progress: &dyn Fn(&str)) -> Result<SidecarOutcome, String> {
    let mut found = SidecarOutcome::default();
    let round = |name, tps, closed, ledger, reads| Round { plan, name, tps, closed, ledger, reads };
    progress("capacity, without the API");
    let (report, _) = round("capacity", plan.expected_tps as f64, true, false, false).run()?;
    found.capacity_tps = report.per_second.applied;
    let half = found.capacity_tps / 2.0;
    for number in 1..=plan.rounds {
        progress(&format!("half capacity, round {number} of {}: without the API", plan.rounds));
        found.without.push(round("half", half, false, false, false).half()?.0);
        progress(&format!("half capacity, round {number} of {}: with the API", plan.rounds));
        found.with.push(round("half", half, false, true, false).half()?.0);
    }
    progress("half capacity, with reads");
    let (with_reads, reads) = round("half", half, false, true, true).half()?;
    (found.with_reads, found.reads_at_half) = (with_reads, reads.unwrap_or_default());
    progress("a flood, with reads");
    let (report, reads) = round("flooded", found.capacity_tps, true, true, true).run()?;
    (found.flooded_tps, found.reads_flooded) = (report.per_second.applied, reads.unwrap_or_default());
    (found.reads_idle, found.feed) = subscribers(plan, progress)?;
    Ok(found)
}

/// Reads of an idle node, then the feed.
fn subscribers(plan: &SidecarPlan, progress: &dyn Fn(&str)) -> Result<(ReadOutcome, FeedOutcome), String> {
    // Nobody links to a single validator; the port only has to be free.
    let links = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let links = links.map_err(|error| error.to_string())?;
    let chain = new_chain(plan, "feed", |config| {
        config.consensus.enabled = true;
        config.consensus.listen = links;
    })?;
    create_vote_record(&chain.config.data).map_err(|error| error.to_string())?;
    let validator = start(&chain)?;
    let ledger = Ledger::start(&chain.config_file())?;
    progress("reads of an idle node");
    let reads = ReadPlan { paths: paths(&chain, plan.accounts), rate: plan.rate, seconds: plan.seconds };
    let idle = read(ledger.address, &reads, &Arc::new(AtomicBool::new(false)))?;
    progress("subscribers of the feed of blocks");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let heard = runtime.block_on(feed(
        &chain,
        validator.ready.listen,
        ledger.address,
        plan.accounts - 1,
        plan.subscribers,
        plan.seconds,
    ))?;
    drop(ledger);
    end(validator, &chain)?;
    Ok((idle, heard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_compare_medians() {
        let half = |applied_tps, p99_ms| Half { applied_tps, p50_ms: 1.0, p99_ms };
        let found = SidecarOutcome {
            without: vec![half(100.0, 10.0), half(90.0, 500.0), half(110.0, 12.0)],
            with: vec![half(99.0, 12.6), half(98.0, 11.0), half(20.0, 90.0)],
            ..SidecarOutcome::default()
        };
        assert!((found.applied_ratio() - 0.98).abs() < 1e-9);
        assert!((found.p99_ratio() - 1.05).abs() < 1e-9);
    }
}
