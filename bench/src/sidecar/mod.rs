//! What the ledger API can bear, and what it costs the node beside it.
//!
//! - [`serve`]: the API as a process of its own, over the files of a validator.
//! - [`reads`]: reads at a steady rate, each timed from the moment at which it was due.
//! - [`feed`]: a thousand subscribers, and the time from a block's commit to each socket.
//! - [`cost`]: the node at half its capacity with the API and without, in turn; and reads while it is flooded.

pub mod cost;
pub mod feed;
pub mod reads;
pub mod serve;

/// Percentiles of times, milliseconds.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Times {
    /// How many.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// All but one of a hundred are below it.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Times {
    /// Of these, in any order.
    pub fn of(mut times: Vec<std::time::Duration>) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
            times.get(index).map_or(0.0, |time| (time.as_secs_f64() * 1e5).round() / 1e2)
        };
        Self { count: times.len() as u64, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn percentiles_are_those_of_sorted_times() {
        let times = Times::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!((times.count, times.p50_ms, times.p99_ms, times.max_ms), (200, 101.0, 199.0, 200.0));
        assert_eq!(Times::of(Vec::new()), Times::default());
    }
}
