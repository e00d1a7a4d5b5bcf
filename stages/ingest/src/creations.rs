//! The cap on user creations, which anybody may send: their senders are unknown, so nothing else holds them back before the
//! signature check.
//!
//! Two limits, both for the whole node: a token bucket (so many a second, one second's worth at once) and a number in flight, from
//! admission until verification or execution has ended them. Sources that are suspect for bad signatures may use only the upper half
//! of each, so that an honest newcomer is not shut out by garbage.
//!
//! The bucket is one atomic number, the virtual time up to which tokens are used (the generic cell rate algorithm, ATM Forum
//! TM 4.0): a token moves it on by one interval, and it never lags behind the clock by more than one second.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Tokens for one second may be used at once.
const BURST_NS: u64 = 1_000_000_000;

/// Lets user creations through at a bounded rate and number.
#[derive(Debug)]
pub struct CreationGate {
    /// Time that one token takes to come back; `None` when no creation is allowed at all.
    interval_ns: Option<u64>,
    used_until_ns: AtomicU64,
    in_flight: AtomicU32,
    in_flight_max: u32,
}

impl CreationGate {
    /// A full bucket of `per_second` tokens (0: no creations; at most 10^9), with at most `in_flight_max` in flight.
    pub fn new(per_second: u32, in_flight_max: u32) -> Self {
        Self {
            interval_ns: BURST_NS.checked_div(u64::from(per_second)).map(|interval| interval.max(1)),
            used_until_ns: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            in_flight_max,
        }
    }

    /// Takes one token and one place in flight, or neither. `now_ns` is the engine's clock.
    pub fn enter(&self, now_ns: u64, suspect: bool) -> bool {
        let Some(interval_ns) = self.interval_ns else { return false };
        let places = if suspect { self.in_flight_max / 2 } else { self.in_flight_max };
        let take_place = |count: u32| (count < places).then(|| count + 1);
        if self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_place).is_err() {
            return false;
        }
        // The clock may begin at zero; shifted by one burst, the bucket is full then.
        let now = now_ns.saturating_add(BURST_NS);
        let deadline = if suspect { now - BURST_NS / 2 } else { now };
        let take_token = |used: u64| {
            let used = used.max(now - BURST_NS).saturating_add(interval_ns);
            (used <= deadline).then_some(used)
        };
        let taken = self.used_until_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_token).is_ok();
        if !taken {
            self.ended(1);
        }
        taken
    }

    /// So many creations that were let through have ended: refused by verification, or executed.
    pub fn ended(&self, count: u32) {
        let give_back = |in_flight: u32| Some(in_flight.saturating_sub(count));
        // The closure always answers, so the update cannot fail.
        let _ = self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give_back);
    }

    /// Creations in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn one_second_of_tokens_at_once_and_then_the_rate() {
        let gate = CreationGate::new(10, u32::MAX);
        assert_eq!((0..50).filter(|_| gate.enter(0, false)).count(), 10);
        assert!(!gate.enter(SECOND / 10 - 1, false));
        assert!(gate.enter(SECOND / 10, false));
        assert!(!gate.enter(SECOND / 10, false));
        assert_eq!((0..50).filter(|_| gate.enter(100 * SECOND, false)).count(), 10);
    }

    #[test]
    fn suspects_leave_half_to_the_others() {
        let gate = CreationGate::new(10, 100);
        assert_eq!((0..50).filter(|_| gate.enter(0, true)).count(), 5);
        assert_eq!((0..50).filter(|_| gate.enter(0, false)).count(), 5);
        let gate = CreationGate::new(1_000_000, 8);
        assert_eq!((0..50).filter(|_| gate.enter(0, true)).count(), 4);
        assert_eq!((0..50).filter(|_| gate.enter(0, false)).count(), 4);
    }

    #[test]
    fn places_come_back_when_creations_end() {
        let gate = CreationGate::new(1_000, 2);
        assert!(gate.enter(0, false) && gate.enter(0, false));
        assert!(!gate.enter(0, false));
        gate.ended(1);
        assert!(gate.enter(0, false));
        assert_eq!(gate.in_flight(), 2);
        gate.ended(99);
        assert_eq!(gate.in_flight(), 0);
    }

    #[test]
    fn a_refusal_by_rate_takes_no_place() {
        let gate = CreationGate::new(1, 5);
        assert!(gate.enter(0, false));
        assert!(!gate.enter(0, false));
        assert_eq!(gate.in_flight(), 1);
    }

    #[test]
    fn zero_a_second_means_none() {
        assert!(!CreationGate::new(0, 5).enter(u64::MAX, false));
    }
}
