//! The figures of a devnet run: one object for programs, a table for people.
//!
//! - Rates are of the measured window, by the chain: what is listed in the blocks that became final (were committed) at a quorum of
//!   validators between the two readings, over the time between them.
//! - Latencies are the load generator's: from sending (closed loop) or the planned moment (open loop) to the answer that the client got.
//! - `bytes_between_validators_per_tx` is what all validators together sent each other, for each transaction of the window and each
//!   *receiving* validator, so that it can be held against `transaction_bytes`: every validator must get every transaction once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tx_gen::Report;
use tx_gen::report::Latency;

use super::blocks::BlockSums;
use super::watch::Reading;
use crate::output::{Output, grouped};

/// Percentiles of a latency, milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half were faster.
    pub p50: f64,
    /// 75 of 100 were faster.
    pub p75: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
    /// 999 of 1,000 were faster.
    pub p999: f64,
}

impl From<&Latency> for Percentiles {
    fn from(latency: &Latency) -> Self {
        Self { p50: latency.p50, p75: latency.p75, p99: latency.p99, p999: latency.p999 }
    }
}

/// Transactions of a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PerBlock {
    /// Over all blocks of the window that hold any.
    pub mean: f64,
    /// The most of one.
    pub max: u64,
}

/// The object that `--json` writes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How many validators.
    pub validators: usize,
    /// `closed` or `open` loop, or `none`.
    pub flood: String,
    /// The rate of an open loop, transactions per second.
    pub rate: Option<u64>,
    /// Test accounts of the chain.
    pub accounts: u64,
    /// The measured window, seconds.
    pub seconds: f64,
    /// From the start to the moment when all voted, seconds.
    pub started_s: f64,
    /// Final transactions per second.
    pub finalized_tps: f64,
    /// Applied transactions per second.
    pub applied_tps: f64,
    /// Final blocks per second, empty ones too.
    pub blocks_per_s: f64,
    /// Of the final blocks, without transactions.
    pub empty_blocks: u64,
    /// Latency to final.
    pub latency_final_ms: Percentiles,
    /// Latency to applied.
    pub latency_applied_ms: Percentiles,
    /// Transactions of a block.
    pub tx_per_block: PerBlock,
    /// Cores used in the window, by process.
    pub cpu_cores: BTreeMap<String, f64>,
    /// Cores used by all validators together.
    pub cpu_cores_validators: f64,
    /// Resident memory at the window's end, MiB, by process.
    pub rss_mib: BTreeMap<String, f64>,
    /// The epoch at the end of the window.
    pub epoch: u64,
    /// The common height at which the roots were compared.
    pub height: u64,
    /// State root at that height, by validator.
    pub state_root: BTreeMap<String, String>,
    /// Whether all validators have it and it is the same.
    pub roots_equal: bool,
    /// Transactions that were sent.
    pub sent: u64,
    /// Transactions without a last answer.
    pub unanswered: u64,
    /// Transactions refused, failed or passed over, by code.
    pub dropped: BTreeMap<String, u64>,
    /// Bytes between validators per transaction and receiving validator.
    pub bytes_between_validators_per_tx: f64,
    /// The same as UDP payload, with QUIC's own words and repeats.
    pub wire_bytes_between_validators_per_tx: f64,
    /// Mean bytes of a transaction.
    pub transaction_bytes: f64,
    /// What went wrong; empty when nothing did.
    pub failures: Vec<String>,
}

/// What a summary is made of.
pub struct Measured<'a> {
    /// How many validators.
    pub validators: usize,
    /// Test accounts of the chain.
    pub accounts: u64,
    /// From the start to the moment when all voted.
    pub started: Duration,
    /// The window's begin and end.
    pub window: &'a (Reading, Reading),
    /// What became final in the window, and what was committed in it.
    pub blocks: &'a [BlockSums; 2],
    /// The load generator's report.
    pub report: Option<&'a Report>,
    /// The common height, and the roots there.
    pub roots: (u64, BTreeMap<String, String>),
}

impl Summary {
    /// Makes the figures.
    pub fn new(measured: Measured<'_>) -> Self {
        let Measured { validators, accounts, started, window: (begin, end), blocks, report, roots } = measured;
        let [finalized, committed] = blocks;
        let seconds = end.at.saturating_duration_since(begin.at).as_secs_f64().max(1e-3);
        let cpu_cores: BTreeMap<String, f64> = end
            .cpu
            .iter()
            .zip(&begin.cpu)
            .map(|((name, after), (_, before))| (name.clone(), after.saturating_sub(*before).as_secs_f64() / seconds))
            .collect();
        let receivers = validators.saturating_sub(1) as f64;
        let per_transaction = |after: u64, before: u64| match finalized.transactions {
            transactions @ 1.. if receivers > 0.0 => {
                rounded(after.saturating_sub(before) as f64 / transactions as f64 / receivers, 1)
            }
            _ => 0.0,
        };
        let full = finalized.blocks - finalized.empty;
        let (height, state_root) = roots;
        let mut different: Vec<&String> = state_root.values().collect();
        different.dedup();
        let latency =
            |latency: fn(&Report) -> &Latency| report.map(|report| latency(report).into()).unwrap_or_default();
        Self {
            validators,
            flood: report.map_or_else(|| "none".to_owned(), |report| report.mode.clone()),
            rate: report.and_then(|report| report.rate),
            accounts,
            seconds: rounded(seconds, 2),
            started_s: rounded(started.as_secs_f64(), 2),
            finalized_tps: rounded(finalized.transactions as f64 / seconds, 0),
            applied_tps: rounded(committed.applied as f64 / seconds, 0),
            blocks_per_s: rounded(finalized.blocks as f64 / seconds, 2),
            empty_blocks: finalized.empty,
            latency_final_ms: latency(|report| &report.latency_final_ms),
            latency_applied_ms: latency(|report| &report.latency_applied_ms),
            tx_per_block: PerBlock {
                mean: if full == 0 { 0.0 } else { rounded(finalized.transactions as f64 / full as f64, 1) },
                max: finalized.transactions_max,
            },
            cpu_cores_validators: rounded(
                cpu_cores.iter().filter(|(name, _)| is_validator(name)).map(|(_, cores)| cores).sum(),
                3,
            ),
            cpu_cores: cpu_cores.into_iter().map(|(name, cores)| (name, rounded(cores, 3))).collect(),
            rss_mib: end.resident_mib.iter().map(|(name, mib)| (name.clone(), rounded(*mib, 0))).collect(),
            epoch: end.epoch,
            height,
            roots_equal: state_root.len() == validators && different.len() == 1,
            sent: report.map_or(0, |report| report.totals.sent),
            unanswered: report.map_or(0, |report| report.unanswered),
            dropped: report.map(|report| report.codes.clone()).unwrap_or_default(),
            bytes_between_validators_per_tx: per_transaction(end.link_bytes, begin.link_bytes),
            wire_bytes_between_validators_per_tx: per_transaction(end.wire_bytes, begin.wire_bytes),
            transaction_bytes: report.map_or(0.0, |report| report.bytes_per_transaction),
            state_root,
            failures: report
                .and_then(|report| report.failure.as_ref())
                .map(|failure| failure.message.clone())
                .into_iter()
                .collect(),
        }
    }

    /// Prints the table.
    pub fn print(&self, output: &Output) {
        let latency = |latency: &Percentiles| {
            let Percentiles { p50, p75, p99, p999 } = latency;
            format!("p50 {p50:.0}  p75 {p75:.0}  p99 {p99:.0}  p99.9 {p999:.0} ms")
        };
        let pace = match self.rate {
            Some(rate) => format!("open loop at {} a second", grouped(rate)),
            None if self.flood == "closed" => "closed loop".to_owned(),
            None => "none".to_owned(),
        };
        let mut pairs = vec![
            ("validators", format!("{}, voting after {:.1} s", self.validators, self.started_s)),
            ("flood", format!("{pace}, {} accounts, measured for {:.1} s", grouped(self.accounts), self.seconds)),
            ("blocks", format!("{:.1} a second, {} of them empty", self.blocks_per_s, grouped(self.empty_blocks))),
        ];
        if self.flood != "none" {
            let PerBlock { mean, max } = self.tx_per_block;
            let (between, whole) = (self.bytes_between_validators_per_tx, self.transaction_bytes);
            pairs.extend([
                ("final", format!("{} transactions a second", grouped(self.finalized_tps as u64))),
                ("applied", format!("{} transactions a second", grouped(self.applied_tps as u64))),
                ("latency to final", latency(&self.latency_final_ms)),
                ("latency to applied", latency(&self.latency_applied_ms)),
                ("transactions per block", format!("mean {mean:.0}, most {}", grouped(max))),
                (
                    "between validators",
                    format!("{between:.0} bytes per transaction and receiver; a transaction has {whole:.0}"),
                ),
                ("sent, unanswered", format!("{}, {}", grouped(self.sent), grouped(self.unanswered))),
            ]);
        }
        let equal = if self.roots_equal { "equal" } else { "NOT EQUAL" };
        pairs.extend([
            ("cores of the validators", format!("{:.2}", self.cpu_cores_validators)),
            ("epoch", grouped(self.epoch)),
            ("state roots", format!("{equal} at height {}", grouped(self.height))),
        ]);
        output.pairs(pairs);
        let empty = String::new();
        let row = |(name, cores): (&String, &f64)| {
            let mib = self.rss_mib.get(name).copied().unwrap_or(0.0);
            let root = self.state_root.get(name).unwrap_or(&empty);
            vec![name.clone(), format!("{cores:.2}"), grouped(mib as u64), root.get(..16).unwrap_or(root).to_owned()]
        };
        output.rows(&["process", "cores", "MiB", "state root"], &[1, 2], self.cpu_cores.iter().map(row));
        if !self.dropped.is_empty() {
            let rows = self.dropped.iter().map(|(code, count)| vec![code.clone(), grouped(*count)]);
            output.rows(&["dropped as", "transactions"], &[1], rows);
        }
    }
}

/// Whether a process of the tables is a validator: the other one is the load generator.
fn is_validator(name: &str) -> bool {
    name.starts_with("validator-")
}

/// As many digits behind the point as mean something.
fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn reading(at: Instant, cpu_ms: u64, link_bytes: u64) -> Reading {
        let names = ["validator-0", "validator-1", "tx-gen"];
        Reading {
            at,
            finalized: 0,
            committed: 0,
            epoch: 3,
            cpu: names.map(|name| (name.to_owned(), Duration::from_millis(cpu_ms))).to_vec(),
            resident_mib: names.map(|name| (name.to_owned(), 12.3)).to_vec(),
            link_bytes,
            wire_bytes: 2 * link_bytes,
        }
    }

    fn summary(roots: &[(&str, &str)]) -> Summary {
        let now = Instant::now();
        let window = (reading(now, 1_000, 1_000), reading(now + Duration::from_secs(2), 2_000, 19_000));
        let sums = BlockSums { blocks: 10, empty: 5, transactions: 100, applied: 90, transactions_max: 40 };
        Summary::new(Measured {
            validators: 2,
            accounts: 7,
            started: Duration::from_secs(1),
            window: &window,
            blocks: &[sums, sums],
            report: None,
            roots: (9, roots.iter().map(|(name, root)| ((*name).to_owned(), (*root).to_owned())).collect()),
        })
    }

    #[test]
    fn rates_are_over_the_window() {
        let summary = summary(&[("validator-0", "aa"), ("validator-1", "aa")]);
        assert_eq!((summary.finalized_tps, summary.applied_tps, summary.blocks_per_s), (50.0, 45.0, 5.0));
        assert_eq!(summary.tx_per_block, PerBlock { mean: 20.0, max: 40 });
        assert_eq!(summary.cpu_cores["validator-1"], 0.5);
        assert_eq!(summary.cpu_cores_validators, 1.0);
        assert_eq!(summary.bytes_between_validators_per_tx, 180.0);
        assert_eq!(summary.wire_bytes_between_validators_per_tx, 360.0);
    }

    #[test]
    fn roots_are_equal_only_when_all_have_the_same() {
        assert!(summary(&[("validator-0", "aa"), ("validator-1", "aa")]).roots_equal);
        assert!(!summary(&[("validator-0", "aa"), ("validator-1", "ab")]).roots_equal);
        assert!(!summary(&[("validator-0", "aa")]).roots_equal);
    }

    #[test]
    fn the_object_has_what_is_promised() {
        let object = serde_json::to_value(summary(&[])).unwrap();
        for key in [
            "validators",
            "finalized_tps",
            "applied_tps",
            "blocks_per_s",
            "cpu_cores",
            "rss_mib",
            "height",
            "state_root",
            "roots_equal",
            "dropped",
            "bytes_between_validators_per_tx",
        ] {
            assert!(!object[key].is_null(), "{key}");
        }
        for key in ["p50", "p75", "p99", "p999"] {
            assert!(
                object["latency_final_ms"][key].is_number() && object["latency_applied_ms"][key].is_number(),
                "{key}"
            );
        }
        assert!(object["tx_per_block"]["mean"].is_number() && object["tx_per_block"]["max"].is_number());
    }
}
