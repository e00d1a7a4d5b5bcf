//! Latencies since the last look: the difference of two readings of the node's distributions, which count from its start.

use hdrhistogram::Histogram;

use crate::published::{LatencySummary, Published, summary};

/// Remembers the last reading. The pipeline is held up for two copies of a histogram (some microseconds), quantiles are computed outside.
#[derive(Default)]
pub struct LatencyWindow {
    before: Option<(Histogram<u64>, Histogram<u64>)>,
}

impl LatencyWindow {
    /// Latencies to final and to applied since the last call; the first one gives those since the start.
    pub fn read(&mut self, published: &Published) -> (LatencySummary, LatencySummary) {
        let now = published.histograms();
        let (mut to_final, mut to_applied) = now.clone();
        if let Some((final_before, applied_before)) = self.before.replace(now) {
            // A reading only ever grows, so nothing is left out; were it otherwise, the whole distribution would be told.
            let _ = to_final.subtract(&final_before);
            let _ = to_applied.subtract(&applied_before);
        }
        (summary(&to_final), summary(&to_applied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_since_the_last_look_counts() {
        let published = Published::new(0, [0; 32], 0, 0);
        let mut window = LatencyWindow::default();
        published.record_final(5_000_000, 10);
        let (to_final, to_applied) = window.read(&published);
        assert_eq!((to_final.count, to_applied.count), (10, 0));
        published.record_final(90_000_000, 3);
        published.record_applied(100_000_000, 3);
        let (to_final, to_applied) = window.read(&published);
        assert_eq!((to_final.count, to_applied.count), (3, 3));
        assert!((to_final.p50_ms - 90.0).abs() < 1.0 && (to_applied.p99_ms - 100.0).abs() < 1.0);
        let (to_final, _) = window.read(&published);
        assert_eq!((to_final.count, to_final.p99_ms), (0, 0.0));
    }
}
