//! A validator that is offered twice what execution may take: it must hold its clients back, lose nothing, and not grow.
//!
//! 1. A load of limit x factor x seconds transactions is signed ahead into a file.
//! 2. A validator starts with `execution_limit_per_s`; a process of its own reads the load and sends it as fast as it is taken, so that
//!    only QUIC's flow control slows it.
//! 3. Every second the validator's anonymous memory and its counters are read.
//! 4. Judged: memory over the last four fifths against the median of the first fifth after the warm-up, the applied rate against the
//!    limit, that everything sent was applied, and that the 99th percentile of the latency is what a full pool and full windows
//!    explain.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tana_net::ServerPin;
use tana_types::genesis::Genesis;
use tana_types::transaction::TRANSFER_BYTES;
use tx_gen::{Flood, FloodConfig, LoadPlan, Report, sign_load};

use crate::chain::{Chain, ChainChoices};
use crate::child::Validator;
use crate::victim::anonymous_bytes;

/// Seconds before anything is judged.
pub const WARM_UP_SECONDS: u64 = 5;
/// How much memory may grow.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
/// Seconds of the limit that the pool holds at most, and the fewest batches that a node has.
const POOL_SECONDS: usize = 5;
const POOL_BATCHES_MIN: usize = 16;
/// How far the applied rate may be from the limit.
const RATE_TOLERANCE: f64 = 0.1;
/// Connections of the load.
const CONNECTIONS: u32 = 4;
/// Bytes of a connection's windows: 1 MiB that the client may have sent, 512 KiB that the server may hold.
const WINDOW_BYTES: u64 = (1_024 + 512) * 1_024;
/// How long signing, loading and the last answers may take on top of the flood.
const EXTRA_MS: u64 = 3_600_000;

/// What to do.
#[derive(Debug, Clone)]
pub struct HeldBackPlan {
    /// Folder of the chain and of the load.
    pub folder: PathBuf,
    /// Seconds of the flood, warm-up left out.
    pub seconds: u64,
    /// Bulk accounts.
    pub accounts: u32,
    /// Transactions per second that may be executed.
    pub limit: u64,
    /// How many times that the load holds.
    pub factor: u64,
}

/// What the process that sends is told, as a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SendOrder {
    /// The genesis file.
    pub genesis: PathBuf,
    /// The signed load.
    pub load: PathBuf,
    /// Where to send it.
    pub to: SocketAddr,
    /// The validator's key.
    pub key: [u8; 32],
    /// Seconds to measure.
    pub seconds: u64,
    /// How long the last answers may take, seconds.
    pub drain_seconds: u64,
}

/// One second of the validator.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    /// Seconds since the load began.
    pub second: f64,
    /// Its anonymous memory.
    pub anonymous_bytes: u64,
    /// Transactions applied since genesis.
    pub applied: u64,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct HeldBackOutcome {
    /// Seconds measured.
    pub seconds: u64,
    /// The limit.
    pub limit_tps: u64,
    /// Applied per second in the measured window.
    pub applied_tps: f64,
    /// Everything that was sent.
    pub sent: u64,
    /// Everything that was applied.
    pub applied: u64,
    /// Rejected, failed, passed over, without an answer.
    pub not_applied: u64,
    /// Median of the first fifth after the warm-up, bytes.
    pub memory_early_bytes: u64,
    /// Most of the rest, bytes.
    pub memory_late_bytes: u64,
    /// 99th percentile from sending to applied, milliseconds.
    pub latency_p99_ms: f64,
    /// What a full pool and full windows explain.
    pub latency_bound_ms: f64,
    /// By second.
    pub samples: Vec<Sample>,
    /// What is not as it should be.
    pub violations: Vec<String>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The sending side: reads the load, says so, floods, prints the report.
pub fn run_send(order: &Path) -> Result<(), String> {
    let order: SendOrder = serde_json::from_slice(&std::fs::read(order).map_err(text)?).map_err(text)?;
    let genesis = Genesis::load(&order.genesis).map_err(text)?;
    let load = tx_gen::file::load(&order.load, &genesis.hash()).map_err(text)?;
    let mut config = FloodConfig::new(order.to, ServerPin::Key(order.key));
    config.duration = Some(Duration::from_secs(order.seconds));
    config.warm_up = Duration::from_secs(WARM_UP_SECONDS);
    config.drain = Duration::from_secs(order.drain_seconds);
    config.window_ms = Some(genesis.rules.transaction_window_ms);
    println!("loaded");
    let report = Flood::run(&load, &config, &mut |_| {}).map_err(text)?;
    println!("{}", serde_json::to_string(&report).map_err(text)?);
    Ok(())
}

/// Signs the load into a file; `progress` hears how many are signed, of how many.
fn sign(chain: &Chain, plan: &HeldBackPlan, progress: &mut dyn FnMut(u64, u64)) -> Result<PathBuf, String> {
    let ingest = &chain.config.ingest;
    let taken_at_once = (ingest.pool_batches * ingest.batch_transactions) as u64 + window_transactions();
    let seconds = plan.seconds + WARM_UP_SECONDS;
    // What pool and windows swallow at the beginning comes on top, so that the load outlasts the flood at any limit.
    let count = seconds.saturating_mul(plan.limit).saturating_mul(plan.factor).saturating_add(taken_at_once);
    let load_plan = LoadPlan { count, accounts: plan.accounts, connections: CONNECTIONS, ..LoadPlan::default() };
    let load =
        sign_load(&chain.genesis, &load_plan, &mut |so_far| progress(so_far.done, so_far.total)).map_err(text)?;
    let path = plan.folder.join("load.tana");
    tx_gen::file::save(&load, &path).map_err(text)?;
    Ok(path)
}

/// Ends with its handle.
struct Sender(Child);

impl Drop for Sender {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Runs the plan; `progress` hears of the step, how far it is, and its end.
pub fn held_back(plan: &HeldBackPlan, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<HeldBackOutcome, String> {
    let window_ms = plan.seconds.saturating_mul(2_000).saturating_add(EXTRA_MS);
    let choices = ChainChoices { accounts: plan.accounts, window_ms, ..ChainChoices::default() };
    let chain = Chain::create(&plan.folder, &choices, |config| {
        config.execution_limit_per_s = plan.limit;
        // Everything inside is drained within the time that the network gives to a frame that the flood's end has cut.
        let batches = plan.limit as usize * POOL_SECONDS / config.ingest.batch_transactions;
        config.ingest.pool_batches = batches.clamp(POOL_BATCHES_MIN, config.ingest.pool_batches);
        // The limit is kept block by block; blocks of a tenth of a second keep the rate even.
        config.order.block_transactions = (plan.limit as usize / 10).clamp(100, config.order.block_transactions);
    })
    .map_err(text)?;
    let load = sign(&chain, plan, &mut |done, total| progress("signing ahead", done, total))?;
    let validator = Validator::start(&chain.config_file(), chain.validator).map_err(text)?;
    let bound_ms = latency_bound_ms(plan, &chain);
    let order = SendOrder {
        genesis: chain.config.genesis.clone(),
        load: load.clone(),
        to: validator.ready.listen,
        key: chain.validator.0,
        seconds: plan.seconds,
        drain_seconds: (bound_ms / 1_000.0) as u64 + 30,
    };
    let (report, samples) = send_and_watch(plan, &order, &validator, progress)?;
    // Everything that was taken is committed before the node says that it has stopped.
    validator.stop().map_err(text)?;
    std::fs::remove_file(&load).map_err(text)?;
    judge(plan, &report, samples, bound_ms)
}

fn send_and_watch(
    plan: &HeldBackPlan,
    order: &SendOrder,
    validator: &Validator,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<(Report, Vec<Sample>), String> {
    let path = plan.folder.join("send.json");
    std::fs::write(&path, serde_json::to_vec(order).map_err(text)?).map_err(text)?;
    let program = std::env::current_exe().map_err(text)?;
    let mut command = Command::new(program);
    command.arg("send").arg(&path).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut sender = Sender(command.spawn().map_err(text)?);
    let output = sender.0.stdout.take().ok_or("the sending process has no output")?;
    let mut output = BufReader::new(output);
    let mut line = String::new();
    output.read_line(&mut line).map_err(text)?;
    if line.trim() != "loaded" {
        return Err("the sending process did not read its load; its error is printed above".to_owned());
    }
    let (sent, reported) = std::sync::mpsc::channel();
    // Ends with the process whose output it reads.
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = output.read_line(&mut line);
        let _ = sent.send(line);
    });
    let start = Instant::now();
    let all = plan.seconds + WARM_UP_SECONDS;
    let deadline = Duration::from_secs(all + order.drain_seconds + 60);
    let mut samples = Vec::new();
    loop {
        match reported.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => {
                let report = serde_json::from_str(&line);
                return Ok((
                    report.map_err(|_| "the flood ended without a report; its error is printed above")?,
                    samples,
                ));
            }
            Err(_) if start.elapsed() > deadline => return Err(format!("the flood did not end within {deadline:?}")),
            Err(_) => {
                let applied = validator.metrics().map_err(text)?["applied"].as_u64().unwrap_or(0);
                let anonymous_bytes = anonymous_bytes(validator.id()).ok_or("the validator's memory cannot be read")?;
                let second = start.elapsed().as_secs_f64();
                samples.push(Sample { second, anonymous_bytes, applied });
                progress("flooding", (second as u64).min(all), all);
            }
        }
    }
}

/// The longest that a transaction should wait, with a quarter on top and a second: pool and windows, emptied at the limit.
fn latency_bound_ms(plan: &HeldBackPlan, chain: &Chain) -> f64 {
    let ingest = &chain.config.ingest;
    let pool = (ingest.pool_batches * ingest.batch_transactions) as u64;
    (pool + window_transactions()) as f64 / plan.limit as f64 * 1_250.0 + 1_000.0
}

/// Transactions that the windows of all connections hold.
fn window_transactions() -> u64 {
    u64::from(CONNECTIONS) * WINDOW_BYTES / TRANSFER_BYTES as u64
}

/// Median of the first fifth and maximum of the rest.
fn memory(samples: &[Sample]) -> (u64, u64) {
    let (early, late) = samples.split_at(samples.len().div_ceil(5).min(samples.len()));
    let mut early: Vec<u64> = early.iter().map(|sample| sample.anonymous_bytes).collect();
    early.sort_unstable();
    let median = early.get(early.len() / 2).copied().unwrap_or(0);
    (median, late.iter().map(|sample| sample.anonymous_bytes).max().unwrap_or(median))
}

fn judge(plan: &HeldBackPlan, report: &Report, samples: Vec<Sample>, bound_ms: f64) -> Result<HeldBackOutcome, String> {
    if let Some(failure) = &report.failure {
        return Err(format!("the flood failed: {}", failure.message));
    }
    let end = (plan.seconds + WARM_UP_SECONDS) as f64;
    let measured: Vec<Sample> =
        samples.iter().filter(|sample| (WARM_UP_SECONDS as f64..=end).contains(&sample.second)).copied().collect();
    let (memory_early_bytes, memory_late_bytes) = memory(&measured);
    let (first, last) = match (measured.first(), measured.last()) {
        (Some(first), Some(last)) if last.second > first.second => (*first, *last),
        _ => return Err("there are too few samples; flood for at least ten seconds".to_owned()),
    };
    let applied_tps = (last.applied - first.applied) as f64 / (last.second - first.second);
    let totals = &report.totals;
    let mut outcome = HeldBackOutcome {
        seconds: plan.seconds,
        limit_tps: plan.limit,
        applied_tps,
        sent: totals.sent,
        applied: totals.applied,
        not_applied: totals.rejected + totals.failed + totals.skipped + totals.lost + report.unanswered,
        memory_early_bytes,
        memory_late_bytes,
        latency_p99_ms: report.latency_applied_ms.p99,
        latency_bound_ms: bound_ms,
        samples,
        violations: Vec::new(),
    };
    let mut violations = Vec::new();
    if memory_late_bytes.saturating_sub(memory_early_bytes) >= GROWTH_BYTES_MAX {
        let (early, late) = (memory_early_bytes >> 20, memory_late_bytes >> 20);
        violations.push(format!("memory grew from {early} MiB to {late} MiB, allowed are 64 MiB more"));
    }
    if (applied_tps / plan.limit as f64 - 1.0).abs() > RATE_TOLERANCE {
        violations.push(format!("{applied_tps:.0} were applied per second, the limit is {}", plan.limit));
    }
    // A frame that was being handed over when the time was up is not counted as sent, and may be applied all the same.
    let is_excess_explained = totals.applied - totals.sent.min(totals.applied) <= window_transactions();
    if outcome.not_applied > 0 || totals.applied < totals.sent || !is_excess_explained {
        violations.push(format!(
            "of {} sent {} were applied; codes {:?}, {} answers lost, {} without an answer",
            totals.sent, totals.applied, report.codes, totals.lost, report.unanswered
        ));
    }
    if outcome.latency_p99_ms > bound_ms {
        violations.push(format!(
            "99 % were applied within {:.0} ms, the pool explains {bound_ms:.0}",
            outcome.latency_p99_ms
        ));
    }
    outcome.violations = violations;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_judged_by_an_early_median_and_a_late_maximum() {
        let sample = |anonymous_bytes| Sample { second: 0.0, anonymous_bytes, applied: 0 };
        let samples: Vec<_> = [9, 1, 5, 4, 7, 6, 3, 2, 8, 0].map(sample).to_vec();
        assert_eq!(memory(&samples), (9, 8));
        assert_eq!(memory(&samples[..1]), (9, 9));
        assert_eq!(memory(&[]), (0, 0));
    }
}
