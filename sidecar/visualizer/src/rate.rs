//! How fast a counter grows, over the last seconds.

use std::collections::VecDeque;

/// Over how many milliseconds.
const WINDOW_MS: u64 = 5_000;
/// The least milliseconds between two points.
const STEP_MS: u64 = 200;

/// The last points of a counter.
#[derive(Debug, Default)]
pub struct Rate {
    /// Time and count, oldest first.
    points: VecDeque<(u64, u64)>,
}

impl Rate {
    /// Takes the count of now in, and answers its growth a second, in tenths. 0 until there are two points, and after a counter
    /// that went back.
    pub fn per_second(&mut self, count: u64, now_ms: u64) -> f64 {
        if self.points.back().is_some_and(|(at, last)| count < *last || now_ms < *at) {
            self.points.clear();
        }
        if self.points.back().is_none_or(|(at, _)| now_ms - at >= STEP_MS) {
            self.points.push_back((now_ms, count));
        }
        // One point at or before the window's begin stays.
        while self.points.get(1).is_some_and(|(at, _)| at + WINDOW_MS <= now_ms) {
            self.points.pop_front();
        }
        let (Some((from, first)), Some((to, last))) = (self.points.front(), self.points.back()) else { return 0.0 };
        if to == from {
            return 0.0;
        }
        let per_second = (last - first) as f64 * 1_000.0 / (to - from) as f64;
        (per_second * 10.0).round() / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_grows_evenly_has_its_rate_and_one_that_stops_comes_down() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(0, 1_000), 0.0);
        for step in 1..=50 {
            rate.per_second(step * 2, 1_000 + step * 200);
        }
        assert_eq!(rate.per_second(100, 11_000), 10.0);
        for step in 1..=30 {
            rate.per_second(100, 11_000 + step * 200);
        }
        assert_eq!(rate.per_second(100, 17_200), 0.0);
    }

    #[test]
    fn a_counter_that_goes_back_starts_anew() {
        let mut rate = Rate::default();
        rate.per_second(1_000, 0);
        rate.per_second(1_100, 1_000);
        assert_eq!(rate.per_second(3, 1_300), 0.0);
        assert_eq!(rate.per_second(4, 2_300), 1.0);
    }
}
