//! Measures a running node for `/telemetry`: the difference of two readings of its counters.

use std::sync::Arc;
use std::time::Instant;

use tana_engine::clock::wall_ms;
use tana_engine::latency_window::LatencyWindow;
use tana_engine::metrics::{MetricsReading, NodeMetrics};
use tana_engine::published::{LatencySummary, Published};
use tana_engine::stage::StageSnapshot;

use super::view::{Health, Latency, Sample, Sampler, StageLoad};

/// Tells what `/health` knows.
type ReadHealth = Box<dyn Fn() -> Health + Send>;

/// See the module's text.
pub struct NodeSampler {
    metrics: Arc<NodeMetrics>,
    published: Arc<Published>,
    health: ReadHealth,
    latencies: LatencyWindow,
    before: Option<(Instant, MetricsReading)>,
}

impl NodeSampler {
    /// Measures what `metrics` and `published` count.
    pub fn new(metrics: Arc<NodeMetrics>, published: Arc<Published>, health: ReadHealth) -> Self {
        Self { metrics, published, health, latencies: LatencyWindow::default(), before: None }
    }
}

impl Sampler for NodeSampler {
    fn sample(&mut self) -> Sample {
        let now = Instant::now();
        let reading = self.metrics.read_with(self.latencies.read(&self.published));
        let seconds = match &self.before {
            Some((at, _)) => now.duration_since(*at).as_secs_f64(),
            None => reading.uptime_ns as f64 / 1e9,
        };
        let mut sample = sample(self.before.as_ref().map(|(_, before)| before), &reading, seconds);
        (sample.time_ms, sample.window_ms) = (wall_ms(), (seconds * 1e3).round() as u64);
        sample.refresh(&(self.health)());
        self.before = Some((now, reading));
        sample
    }
}

/// What happened between two readings that are `seconds` apart; without an earlier one, since the node's start.
fn sample(before: Option<&MetricsReading>, now: &MetricsReading, seconds: f64) -> Sample {
    let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    let since = |count: fn(&MetricsReading) -> u64| count(now).saturating_sub(before.map_or(0, count));
    // Since genesis, not since the start: without an earlier reading nothing can be said.
    let since_known = |count: fn(&MetricsReading) -> u64| count(now).saturating_sub(count(before.unwrap_or(now)));
    let stage = |stage: &StageSnapshot| {
        let earlier = before.and_then(|reading| reading.stages.iter().find(|earlier| earlier.name == stage.name));
        load(earlier, stage, seconds)
    };
    Sample {
        uptime_s: now.uptime_ns / 1_000_000_000,
        applied: now.applied,
        failed: now.failed,
        skipped: now.skipped,
        applied_per_s: per_second(since_known(|reading| reading.applied)),
        admitted_per_s: per_second(since(|reading| reading.admitted)),
        blocks_per_s: per_second(since_known(|reading| reading.committed_height)),
        admitted: now.admitted,
        refused: now.dropped.iter().map(|(_, count)| count).sum(),
        waiting: now.waiting,
        pool_free: now.pool.0,
        pool_batches: now.pool.1,
        clients: now.network.connections,
        accounts: now.accounts,
        resident_bytes: now.resident_bytes.0,
        stages: now.stages.iter().map(stage).collect(),
        latency_final: latency(&now.latency_final),
        latency_applied: latency(&now.latency_applied),
        ..Sample::default()
    }
}

fn load(before: Option<&StageSnapshot>, now: &StageSnapshot, seconds: f64) -> StageLoad {
    let since = |count: fn(&StageSnapshot) -> u64| count(now).saturating_sub(before.map_or(0, count)) as f64;
    let [busy, input, output] =
        [since(|stage| stage.busy_ns), since(|stage| stage.waiting_input_ns), since(|stage| stage.waiting_output_ns)];
    // A stage counts the time of its threads, so several threads have more than the window. What none of it was counted of, as by ingest
    // while no packet comes, is a wait for input.
    let all = (busy + input + output).max(seconds * 1e9);
    let input = all - busy - output;
    let share = |part: f64| if all > 0.0 { part / all } else { 0.0 };
    let per_second = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
    StageLoad {
        name: now.name,
        per_s: per_second(since(|stage| stage.transactions)),
        busy: share(busy),
        input: share(input),
        output: share(output),
        cores: per_second(busy / 1e9),
    }
}

fn latency(summary: &LatencySummary) -> Latency {
    Latency { count: summary.count, p50_ms: summary.p50_ms, p99_ms: summary.p99_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(transactions: u64, busy_ns: u64, input: u64, output: u64) -> StageSnapshot {
        StageSnapshot { name: "verify", transactions, busy_ns, waiting_input_ns: input, waiting_output_ns: output }
    }

    #[test]
    fn shares_are_of_the_window_and_add_up_to_one() {
        let (before, now) = (stage(100, 1_000_000_000, 5, 7), stage(300, 2_500_000_000, 300_000_005, 200_000_007));
        let load = load(Some(&before), &now, 2.0);
        assert_eq!((load.per_s, load.busy, load.input, load.output, load.cores), (100.0, 0.75, 0.15, 0.1, 0.75));
    }

    #[test]
    fn time_that_nobody_counted_is_a_wait_for_input() {
        let (before, now) = (stage(0, 0, 0, 0), stage(10, 100_000_000, 0, 0));
        let load = load(Some(&before), &now, 1.0);
        assert_eq!((load.busy, load.input, load.output), (0.1, 0.9, 0.0));
    }

    #[test]
    fn a_stage_that_did_nothing_waited_and_a_window_of_nothing_gives_zeros() {
        let idle = stage(1, 2, 3, 4);
        let nothing = StageLoad { name: "verify", ..StageLoad::default() };
        assert_eq!(load(Some(&idle), &idle, 1.0), StageLoad { input: 1.0, ..nothing.clone() });
        assert_eq!(load(Some(&idle), &idle, 0.0), nothing);
    }
}
