//! What a run measured, as one JSON object and as a table with the bars that the project sets itself.

use std::collections::BTreeMap;

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

/// Percentiles of a latency, milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Percentiles {
    /// Half are faster.
    pub p50: f64,
    /// 99 % are faster.
    pub p99: f64,
    /// 99.9 % are faster.
    pub p999: f64,
}

/// A stage's rate and where its time went, as shares of the measured time; stages of several threads add up to more than 1.
#[derive(Debug, Clone, Serialize)]
pub struct StageFigures {
    /// The stage.
    pub name: String,
    /// Transactions per second.
    pub tps: f64,
    /// Share of the time at work.
    pub busy: f64,
    /// Share of the time without input.
    pub waiting_input: f64,
    /// Share of the time without room behind.
    pub waiting_output: f64,
}

/// Everything that a run measured. What only `--full` measures is absent without it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Raw batch verification, all cores, signatures per second.
    pub verify_ceiling_tps: f64,
    /// Raw batch verification, one core.
    pub verify_one_core_tps: f64,
    /// commonware-cryptography's batch of 512, one core.
    pub library_verify_one_core_tps: f64,
    /// ed25519-dalek's `verify_batch` of 512, one core; never on the consensus path.
    pub dalek_verify_batch_one_core_tps: f64,
    /// Ours over the library's.
    pub verify_vs_library: f64,
    /// The portable path, one core.
    pub portable_one_core_tps: f64,
    /// The portable path over the library's.
    pub portable_vs_library: f64,
    /// One bad signature in a hundred, one core.
    pub bad1pct_one_core_tps: f64,
    /// Transactions that took effect and whose height was committed, per second.
    pub applied_tps: f64,
    /// `applied_tps` over `verify_ceiling_tps`.
    pub ceiling_ratio: f64,
    /// Bytes of a transaction.
    pub tx_bytes: u64,
    /// Transactions of a batch, mean.
    pub batch_transactions: f64,
    /// From sending to final.
    pub latency_final_ms: Percentiles,
    /// From sending to applied.
    pub latency_applied_ms: Percentiles,
    /// Transactions not applied, by code.
    pub dropped: BTreeMap<String, u64>,
    /// The stages, in the order of the pipeline.
    pub stages: Vec<StageFigures>,
    /// The tree's time per changed account, blocks of 10,000 transfers.
    pub state_root_ns_per_account: f64,
    /// Execution, root and durable commit on one core, transfers per second.
    pub post_verify_tps_one_core: f64,
    /// QUIC, frames, decoding and admission on one core, transactions per second.
    pub ingest_tps_one_core: f64,
    /// Resident memory of the validator, MiB.
    pub rss_mib: f64,
    /// Accounts of the chain.
    pub accounts: u32,
    /// Seconds measured.
    pub seconds: u64,
    /// The processor.
    pub cpu: String,
    /// Cores used.
    pub cores: usize,
    /// The signature path.
    pub verify_backend: String,
    /// The log writer.
    pub log_backend: String,
    /// What "applied" waited for.
    pub durability: String,
    /// Processor time of the load generator per transaction, nanoseconds.
    pub client_ns_per_transaction: Option<f64>,
    /// Honest throughput beside a client that sends 100,000 bad signatures a second, over the clean figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub honest_ratio_under_garbage: Option<f64>,
    /// The load generator's signing per core, over ed25519-dalek's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_vs_library: Option<f64>,
    /// Resident bytes per account beyond a chain with few accounts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes_per_account: Option<f64>,
    /// Latency to applied at half of `applied_tps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_applied_half_load_ms: Option<Percentiles>,
    /// The tree's time per changed account at ten million accounts, over that at one million.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_10m_ratio: Option<f64>,
}

/// Whether a figure is better when it is larger.
#[derive(Clone, Copy)]
enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

impl Figures {
    fn rows(&self) -> Vec<(&'static str, Option<f64>, Bar, &'static str)> {
        vec![
            ("verification over library's batch", Some(self.verify_vs_library), Bar::AtLeast(3.0), "x"),
            ("portable path over library's batch", Some(self.portable_vs_library), Bar::AtLeast(1.0), "x"),
            ("verification, 1 % bad", Some(self.bad1pct_one_core_tps), Bar::AtLeast(110_000.0), "/s"),
            ("applied over two cores' verification", Some(self.ceiling_ratio), Bar::AtLeast(0.5), ""),
            ("execute + root + commit, one core", Some(self.post_verify_tps_one_core), Bar::AtLeast(1e6), "/s"),
            ("state root per changed account", Some(self.state_root_ns_per_account), Bar::AtMost(200.0), "ns"),
            ("state root, 10M over 1M accounts", self.root_10m_ratio, Bar::AtMost(2.0), "x"),
            ("ingest, one core", Some(self.ingest_tps_one_core), Bar::AtLeast(2e6), "/s"),
            ("honest share under garbage", self.honest_ratio_under_garbage, Bar::AtLeast(0.5), ""),
            ("signing over ed25519-dalek's", self.sign_vs_library, Bar::AtLeast(0.9), "x"),
            ("memory per account", self.rss_bytes_per_account, Bar::AtMost(400.0), "B"),
            (
                "latency to applied at half load, p99",
                self.latency_applied_half_load_ms.map(|latency| latency.p99),
                Bar::AtMost(100.0),
                "ms",
            ),
        ]
    }

    /// The headline figures.
    pub fn summary_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(["figure", "value"]);
        let latency = |latency: &Percentiles| {
            format!("p50 {:.1}, p99 {:.1}, p99.9 {:.1} ms", latency.p50, latency.p99, latency.p999)
        };
        let rows = [
            ("processor", format!("{}, {} cores", self.cpu, self.cores)),
            (
                "signature path, log, durability",
                format!("{}; {}; {}", self.verify_backend, self.log_backend, self.durability),
            ),
            ("raw verification, all cores", per_second(self.verify_ceiling_tps)),
            ("raw verification, one core", per_second(self.verify_one_core_tps)),
            ("portable path, one core", per_second(self.portable_one_core_tps)),
            ("commonware batch of 512, one core", per_second(self.library_verify_one_core_tps)),
            ("dalek verify_batch of 512, one core", per_second(self.dalek_verify_batch_one_core_tps)),
            ("applied, everything on", per_second(self.applied_tps)),
            ("latency to final under full load", latency(&self.latency_final_ms)),
            ("latency to applied under full load", latency(&self.latency_applied_ms)),
            ("memory of the validator", format!("{:.0} MiB at {} accounts", self.rss_mib, self.accounts)),
        ];
        for (name, value) in rows {
            table.add_row([name.to_owned(), value]);
        }
        table
    }

    /// The figures that have a bar, with the verdict.
    pub fn bars_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(["figure", "measured", "bar", ""]);
        for (name, value, bar, unit) in self.rows() {
            let (bar_text, met) = match bar {
                Bar::AtLeast(bar) => (format!(">= {}{unit}", number(bar)), value.map(|value| value >= bar)),
                Bar::AtMost(bar) => (format!("<= {}{unit}", number(bar)), value.map(|value| value <= bar)),
            };
            let verdict = met.map_or("only with --full", |met| if met { "met" } else { "MISSED" });
            let value = value.map_or_else(|| "-".to_owned(), |value| format!("{}{unit}", number(value)));
            table.add_row([
                Cell::new(name),
                Cell::new(value).set_alignment(CellAlignment::Right),
                Cell::new(bar_text).set_alignment(CellAlignment::Right),
                Cell::new(verdict),
            ]);
        }
        table
    }

    /// Where the stages' time went.
    pub fn stages_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(["stage", "transactions/s", "working", "waiting for input", "held back by output"]);
        for stage in &self.stages {
            let percent = |share: f64| format!("{:.0} %", share * 100.0);
            table.add_row([
                stage.name.clone(),
                number(stage.tps),
                percent(stage.busy),
                percent(stage.waiting_input),
                percent(stage.waiting_output),
            ]);
        }
        table
    }
}

fn per_second(value: f64) -> String {
    format!("{}/s", number(value))
}

/// A number for people: thousands grouped, small ones with two decimals.
pub fn number(value: f64) -> String {
    if value.abs() < 1_000.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The processor's name.
pub fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    line.and_then(|line| line.split_once(':')).map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(1_234_567.4), "1,234,567");
        assert_eq!(number(999.0), "999.00");
        assert_eq!(number(1_000.0), "1,000");
    }

    #[test]
    fn a_missed_bar_is_named() {
        let figures = Figures { ceiling_ratio: 0.4, ..Figures::default() };
        let table = figures.bars_table().to_string();
        assert!(table.contains("MISSED") && table.contains("only with --full"), "{table}");
    }
}
