//! Counters of the whole node as one JSON object: what the benchmark and the operator read.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tana_ingest::Admission;
use tana_types::code::Code;

use crate::clock::Clock;
use crate::pool::Pool;
use crate::published::{LatencySummary, Published};
use crate::stage::{StageCounters, StageSnapshot};

/// See the module's text.
pub struct NodeMetrics {
    clock: Clock,
    published: Arc<Published>,
    admission: Arc<Admission>,
    pool: Arc<Pool>,
    bad_signatures: Arc<AtomicU64>,
    /// Set once when the stages exist.
    stages: OnceLock<Vec<(&'static str, Arc<StageCounters>)>>,
    /// Set once when the server runs.
    network: OnceLock<Box<dyn Fn() -> NetworkCounters + Send + Sync>>,
}

/// What the network's server counts.
#[derive(Debug, Clone, Serialize, Default)]
pub struct NetworkCounters {
    /// Open connections.
    pub connections: u64,
    /// Frames read.
    pub frames: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Answers that a slow client lost.
    pub answers_lost: u64,
    /// Connections refused and closed, by reason.
    pub refused_and_closed: Vec<(String, u64)>,
}

/// A reading of everything.
#[derive(Debug, Serialize)]
pub struct MetricsReading {
    /// Nanoseconds since the start.
    pub uptime_ns: u64,
    /// The last final height.
    pub finalized_height: u64,
    /// The last committed height.
    pub committed_height: u64,
    /// Accounts, the sentinel left out.
    pub accounts: u64,
    /// Transactions applied since genesis.
    pub applied: u64,
    /// Transactions that failed since the start.
    pub failed: u64,
    /// Transactions that execution passed over since the start.
    pub skipped: u64,
    /// Transactions sealed and not committed.
    pub waiting: u64,
    /// Batches that are free, of how many.
    pub pool: (usize, usize),
    /// Transactions admitted at ingest.
    pub admitted: u64,
    /// Transactions refused, by code.
    pub dropped: Vec<(&'static str, u64)>,
    /// Per stage, threads added up.
    pub stages: Vec<StageSnapshot>,
    /// Inside the node, from arrival to final.
    pub latency_final: LatencySummary,
    /// Inside the node, from arrival to applied.
    pub latency_applied: LatencySummary,
    /// Resident memory in bytes: all, and without mapped files.
    pub resident_bytes: (u64, u64),
    /// The network's counters.
    pub network: NetworkCounters,
}

impl NodeMetrics {
    /// Counters of a node.
    pub fn new(
        clock: Clock,
        published: Arc<Published>,
        admission: Arc<Admission>,
        pool: Arc<Pool>,
        bad_signatures: Arc<AtomicU64>,
    ) -> Self {
        let (stages, network) = (OnceLock::new(), OnceLock::new());
        Self { clock, published, admission, pool, bad_signatures, stages, network }
    }

    /// Tells the stages' counters, in the order of the pipeline.
    pub fn set_stages(&self, stages: Vec<(&'static str, Arc<StageCounters>)>) {
        let _ = self.stages.set(stages);
    }

    /// Tells how to read the network's counters.
    pub fn set_network(&self, network: impl Fn() -> NetworkCounters + Send + Sync + 'static) {
        let _ = self.network.set(Box::new(network));
    }

    /// Whether transactions are taken in, as far as the validator set is concerned.
    pub fn is_validating(&self) -> bool {
        self.admission.is_validating()
    }

    /// Reads everything.
    pub fn read(&self) -> MetricsReading {
        self.read_with(self.published.latencies())
    }

    /// Reads everything but latencies, to final and to applied, which are given.
    pub fn read_with(&self, (latency_final, latency_applied): (LatencySummary, LatencySummary)) -> MetricsReading {
        let published = &self.published;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = self.admission.counters();
        let mut dropped: Vec<(&'static str, u64)> =
            counters.rejected_by_code().map(|(code, count)| (code.name(), count)).collect();
        dropped.push((Code::BadSignature.name(), load(&self.bad_signatures)));
        dropped.retain(|(_, count)| *count > 0);
        MetricsReading {
            uptime_ns: self.clock.now_ns(),
            finalized_height: load(&published.finalized),
            committed_height: load(&published.committed),
            accounts: load(&published.accounts).saturating_sub(1),
            applied: load(&published.applied),
            failed: load(&published.failed),
            skipped: load(&published.skipped),
            waiting: load(&published.waiting),
            pool: (self.pool.free(), self.pool.size()),
            admitted: counters.accepted(),
            dropped,
            stages: self.stages(),
            latency_final,
            latency_applied,
            resident_bytes: resident_bytes(),
            network: self.network.get().map(|network| network()).unwrap_or_default(),
        }
    }

    /// Stages of one name added up, in the order of the pipeline.
    fn stages(&self) -> Vec<StageSnapshot> {
        let mut sums: Vec<StageSnapshot> = Vec::new();
        for (name, counters) in self.stages.get().into_iter().flatten() {
            let one = counters.snapshot(name);
            match sums.iter_mut().find(|sum| sum.name == one.name) {
                Some(sum) => {
                    sum.transactions += one.transactions;
                    sum.busy_ns += one.busy_ns;
                    sum.waiting_input_ns += one.waiting_input_ns;
                    sum.waiting_output_ns += one.waiting_output_ns;
                }
                None => sums.push(one),
            }
        }
        sums
    }

    /// The reading as JSON.
    pub fn to_json(&self) -> String {
        // Texts, numbers and lists always serialize.
        serde_json::to_string(&self.read()).unwrap_or_default()
    }
}

/// Resident memory of this process: all of it, and without file-backed pages. Zeros where `/proc` does not tell.
pub fn resident_bytes() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).map_or(0, |kib: u64| kib * 1_024)
    };
    (field("VmRSS:"), field("RssAnon:"))
}
