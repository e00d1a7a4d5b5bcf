//! How long to wait after a failure: twice as long each time up to a limit, and by chance somewhat less, so that many nodes that lost the same
//! mesh do not come back in one moment.

use std::time::Duration;

/// The waits after failures in a row.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// Something worked: the next failure is a first one.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }

    /// How long to wait after one more failure. `chance` is between 0 and 1.
    pub(super) fn fail(&mut self, chance: f64) -> Duration {
        let wait = self.next.min(self.longest);
        self.next = wait.saturating_mul(2).min(self.longest);
        wait.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(3));
        let waits: Vec<u128> = (0..5).map(|_| backoff.fail(1.0).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 3_000, 3_000]);
        assert_eq!(backoff.fail(0.0).as_millis(), 1_500, "chance takes up to half of it");
        backoff.reset();
        assert_eq!(backoff.fail(0.5).as_millis(), 375);
    }
}
