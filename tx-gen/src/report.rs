//! What a flood measured, as one value that becomes JSON, a table or a page.
//!
//! All rates are of the measured window: from the end of the warm-up to the deadline or, where the load was used up before, to the
//! last answer (to the last frame without answers). Latencies are in milliseconds, from the planned moment in an open loop and from
//! sending in a closed one.

use std::collections::BTreeMap;

use hdrhistogram::{Counter, Histogram};
use serde::{Deserialize, Serialize};
use tana_types::code::Code;

use crate::config::{FloodConfig, Pace, nanoseconds};
use crate::load::Load;
use crate::plan::LoadPlan;
use crate::recorder::{Counts, Recorder};

/// Percentiles of a latency in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many transactions it is of.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// Half were faster.
    pub p50: f64,
    /// 75 of 100 were faster.
    #[serde(default)]
    pub p75: f64,
    /// 90 of 100 were faster.
    pub p90: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
    /// 999 of 1,000 were faster.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Latency {
    fn of<C: Counter>(histogram: &Histogram<C>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        Self {
            count: histogram.len(),
            mean: (histogram.mean() / 10.0).round() / 100.0,
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1_000.0,
        }
    }
}

/// Transactions per second in the measured window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Handed to QUIC.
    pub sent: f64,
    /// Admitted and verified.
    pub accepted: f64,
    /// Refused.
    pub rejected: f64,
    /// Final.
    #[serde(rename = "final")]
    pub finalized: f64,
    /// Applied.
    pub applied: f64,
}

/// One second of a flood.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SecondRow {
    /// Seconds from the start to its beginning.
    pub second: u32,
    /// Whether it lies in the warm-up.
    pub is_warm_up: bool,
    /// What happened in it.
    #[serde(flatten)]
    pub counts: Counts,
    /// Latency to final of what became final in it: half were faster, milliseconds.
    pub latency_final_p50_ms: f64,
    /// 99 of 100 were faster.
    pub latency_final_p99_ms: f64,
    /// Latency to applied of what was applied in it: half were faster, milliseconds.
    pub latency_applied_p50_ms: f64,
    /// 99 of 100 were faster.
    pub latency_applied_p99_ms: f64,
}

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A connection was lost or refused for good.
    Connection,
    /// The node rejected everything.
    AllRejected,
    /// The node stopped answering.
    Silent,
}

/// What went wrong for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of thing.
    pub kind: FailureKind,
    /// The cause and what to do, for people.
    pub message: String,
}

/// Why sending ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The time was over.
    Time,
    /// The load was used up.
    LoadUsedUp,
    /// Somebody stopped it.
    Stopped,
    /// Something went wrong, see `failure`.
    Failed,
}

/// What a flood measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of tx-gen.
    pub version: String,
    /// The chain's genesis hash in hexadecimal.
    pub genesis_hash: String,
    /// Where it was sent to, all nodes.
    pub to: String,
    /// `open` or `closed`.
    pub mode: String,
    /// The rate of an open loop, transactions per second.
    pub rate: Option<u64>,
    /// The bound of a closed loop per connection; none where QUIC's flow control was the bound.
    pub in_flight: Option<u64>,
    /// Whether it was sent without answers.
    pub without_answers: bool,
    /// Sending threads.
    pub threads: u64,
    /// What was signed.
    pub plan: LoadPlan,
    /// When sending began, milliseconds since 1970.
    pub started_ms: u64,
    /// From the start to the end, draining included, seconds.
    pub elapsed_seconds: f64,
    /// The warm-up, seconds.
    pub warm_up_seconds: f64,
    /// The measured window, seconds.
    pub measured_seconds: f64,
    /// Why sending ended.
    pub ended: Ended,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// Transactions that were signed.
    pub signed: u64,
    /// Everything, warm-up and drain included.
    pub totals: Counts,
    /// What happened in the measured window.
    pub measured: Counts,
    /// Per second of the measured window.
    pub per_second: Rates,
    /// Sent without a last answer at the end.
    pub unanswered: u64,
    /// Planned for a moment before the end and not sent, because the node did not take them in time (open loop).
    pub unsent: u64,
    /// Not applied, by the name of the code.
    pub codes: BTreeMap<String, u64>,
    /// From the planned moment or sending to final.
    pub latency_final_ms: Latency,
    /// From the planned moment or sending to applied.
    pub latency_applied_ms: Latency,
    /// Connections made anew.
    pub reconnects: u64,
    /// Mean bytes of a transaction on the wire, its share of the frame's length included.
    pub bytes_per_transaction: f64,
    /// Processor time of the sending threads per transaction sent, answers included, nanoseconds; where the system tells.
    pub client_cpu_ns_per_transaction: Option<f64>,
    /// By second.
    pub series: Vec<SecondRow>,
}

/// What a flood leaves behind.
pub(crate) struct Outcome {
    pub recorder: Recorder,
    pub started_ms: u64,
    pub elapsed_ns: u64,
    pub cpu_ns: Option<u64>,
    pub reconnects: u64,
    pub failure: Option<Failure>,
    pub is_stopped: bool,
}

impl Report {
    pub(crate) fn new(load: &Load, config: &FloodConfig, outcome: Outcome) -> Self {
        let Outcome { recorder, started_ms, elapsed_ns, cpu_ns, reconnects, failure, is_stopped } = outcome;
        let (totals, measured) = (recorder.totals, recorder.measured);
        let is_used_up = totals.sent >= load.count();
        let ended = match (&failure, is_stopped, is_used_up) {
            (Some(_), _, _) => Ended::Failed,
            (None, true, _) => Ended::Stopped,
            (None, false, true) => Ended::LoadUsedUp,
            (None, false, false) => Ended::Time,
        };
        let measured_seconds = measured_seconds(&recorder, config, ended);
        let (mode, rate, in_flight) = match config.pace {
            Pace::Open { rate } => ("open", Some(rate), None),
            Pace::Closed { in_flight } => ("closed", None, in_flight),
        };
        let per_second = |count: u64| if measured_seconds > 0.0 { round(count as f64 / measured_seconds) } else { 0.0 };
        let per_transaction = |sum: u64| round(sum as f64 / totals.sent.max(1) as f64);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            genesis_hash: hex::encode(load.genesis_hash),
            to: config.names(),
            mode: mode.to_owned(),
            rate,
            in_flight,
            without_answers: config.without_answers,
            threads: config.threads.min(load.connections.len()) as u64,
            plan: load.plan.clone(),
            started_ms,
            elapsed_seconds: round(elapsed_ns as f64 / 1e9),
            warm_up_seconds: config.warm_up.as_secs_f64(),
            measured_seconds: round(measured_seconds),
            ended,
            failure,
            signed: load.count(),
            totals,
            measured,
            per_second: Rates {
                sent: per_second(measured.sent),
                accepted: per_second(measured.accepted),
                rejected: per_second(measured.rejected),
                finalized: per_second(measured.finalized),
                applied: per_second(measured.applied),
            },
            unanswered: if config.without_answers { 0 } else { totals.sent.saturating_sub(totals.settled()) },
            unsent: unsent(load, config, totals.sent, elapsed_ns, ended),
            codes: named(&recorder.codes),
            latency_final_ms: Latency::of(&recorder.latency_final),
            latency_applied_ms: Latency::of(&recorder.latency_applied),
            reconnects,
            bytes_per_transaction: per_transaction(recorder.sent_bytes),
            client_cpu_ns_per_transaction: cpu_ns.filter(|_| totals.sent > 0).map(per_transaction),
            series: series(&recorder, config),
        }
    }

    /// What a person should know about these figures, most important first.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.unsent > 0 {
            notes.push(format!(
                "the node did not keep up: {} transactions were due and could not be sent, so true latencies are above those shown; lower --rate",
                self.unsent
            ));
        }
        if self.unanswered > 0 && self.ended != Ended::Failed {
            notes.push(format!("{} transactions had no last answer when waiting ended", self.unanswered));
        }
        if self.totals.lost > 0 {
            notes.push(format!(
                "the node dropped the answers to {} transactions because they were not read fast enough; give tx-gen more of a core",
                self.totals.lost
            ));
        }
        let late = self.ended == Ended::LoadUsedUp && self.mode == "closed" && self.measured_seconds == 0.0;
        if late {
            notes.push("the load was used up within the warm-up; sign more (--count) or warm up for less".to_owned());
        }
        // A flood that failed has said so in its failure.
        let codes = if self.failure.is_none() { Code::ALL } else { &[] };
        for code in codes {
            let count = self.codes.get(code.name()).copied().unwrap_or(0);
            // A handful is noise; a hundredth of all deserves a word, unless it was asked for.
            if count * 100 > self.totals.sent && !self.is_asked_for(*code) {
                let remedy = remedy(*code as u8).unwrap_or(code.explanation());
                notes.push(format!("{count} ended as {}: {remedy}", code.name()));
            }
        }
        notes
    }

    fn is_asked_for(&self, code: Code) -> bool {
        let shares = &self.plan.shares;
        match code {
            Code::BadSignature => shares.bad_signatures > 0.0,
            Code::Resent | Code::Duplicate => shares.duplicates > 0.0,
            Code::NonceUsed => shares.stale_nonces > 0.0 || shares.duplicates > 0.0,
            Code::InsufficientFunds => shares.unfunded > 0.0,
            Code::CreationBusy | Code::AccountsPerBlock => shares.creations > 0.0,
            _ => false,
        }
    }
}

/// What to do about a code when it comes in numbers.
pub(crate) fn remedy(code: u8) -> Option<&'static str> {
    Some(match Code::from_u8(code)? {
        Code::NonceUsed | Code::Duplicate | Code::Resent => {
            "the accounts have sent before; pass --start-nonce with the last nonce that they used, take fresh accounts with \
             --first-account, or start a fresh chain"
        }
        Code::NonceTooFar => {
            "a sender has more transactions in flight than the node keeps; use more --accounts or a lower --in-flight"
        }
        Code::NonceGap => {
            "transactions of a sender are missing before these; pass the right --start-nonce or take fresh accounts with --first-account"
        }
        Code::WrongChain => "the node runs another chain; pass the genesis of that chain",
        Code::SenderUnknown | Code::UnknownSender => {
            "the node's chain does not have these bulk accounts; pass its own genesis with --genesis"
        }
        Code::BadSignature => {
            "the node computes other signing bytes; check that node and tx-gen have the same version and genesis"
        }
        Code::ClockWindow | Code::TimestampOutOfWindow => {
            "the timestamps are out of the chain's window; sign the load anew, check both clocks, or raise rules.transaction_window_ms"
        }
        Code::InsufficientFunds => {
            "the accounts ran out of money; give the bulk accounts more in the genesis, or use a lower --amount"
        }
        Code::CreationBusy | Code::AccountsPerBlock => {
            "accounts are created faster than the chain's cap per block; use a lower --creations or --rate"
        }
        Code::UsernameTaken | Code::AccountExists => "the new accounts exist from an earlier flood; use another --seed",
        Code::Malformed => "the node cannot read the transactions; check that node and tx-gen have the same version",
        Code::NotValidator => "the node is in no validator set; send to a validator",
        Code::Stopping => "the node is shutting down; start it again",
        _ => return None,
    })
}

/// Two digits behind the point are enough for people and keep the JSON short.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn measured_seconds(recorder: &Recorder, config: &FloodConfig, ended: Ended) -> f64 {
    let last_ns = if config.without_answers { recorder.last_sent_ns } else { recorder.last_answer_ns };
    let end_ns = match ended {
        Ended::Time => config.deadline_ns(),
        _ => last_ns.min(config.deadline_ns()),
    };
    end_ns.saturating_sub(nanoseconds(config.warm_up)) as f64 / 1e9
}

fn unsent(load: &Load, config: &FloodConfig, sent: u64, elapsed_ns: u64, ended: Ended) -> u64 {
    let Pace::Open { rate } = config.pace else { return 0 };
    if ended != Ended::Time {
        return 0;
    }
    let due = u128::from(elapsed_ns.min(config.deadline_ns())) * u128::from(rate) / 1_000_000_000;
    // One frame per connection may be due at the very end.
    let slack = u64::from(load.frame_transactions) * load.connections.len() as u64;
    (due as u64).min(load.count()).saturating_sub(sent + slack)
}

fn named(codes: &[u64; 256]) -> BTreeMap<String, u64> {
    let name =
        |number: u8| Code::from_u8(number).map_or_else(|| format!("code_{number}"), |code| code.name().to_owned());
    (0u8..=255).zip(codes).filter(|(_, count)| **count > 0).map(|(number, count)| (name(number), *count)).collect()
}

fn series(recorder: &Recorder, config: &FloodConfig) -> Vec<SecondRow> {
    (0u32..)
        .zip(&recorder.seconds)
        .map(|(second, row)| {
            let (latency_final, latency_applied) = (Latency::of(&row.latency_final), Latency::of(&row.latency_applied));
            SecondRow {
                second,
                is_warm_up: f64::from(second) < config.warm_up.as_secs_f64(),
                counts: row.counts,
                latency_final_p50_ms: latency_final.p50,
                latency_final_p99_ms: latency_final.p99,
                latency_applied_p50_ms: latency_applied.p50,
                latency_applied_p99_ms: latency_applied.p99,
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
