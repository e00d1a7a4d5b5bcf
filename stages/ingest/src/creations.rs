//! The cap on user creations, which anybody may send: their senders are unknown, so nothing else holds them back before the
//! signature check.
//!
//! Two limits, both for the whole node: a token bucket (so many a second, one second's worth at once) and a number in flight, from
//! admission until verification or execution has ended them. Sources that are suspect for bad signatures may use only the upper half
//! of each, so that an honest newcomer is not shut out by garbage.
//!
//! A place in flight that nobody gives back (a batch was lost on the way) is forgotten after 30 to 60 seconds: places are counted by
//! the half-minute in which they were taken, this one and the one before, and older ones fall away.
//!
//! The bucket is one atomic number, the virtual time up to which tokens are used (the generic cell rate algorithm, ATM Forum
//! TM 4.0): a token moves it on by one interval, and it never lags behind the clock by more than one second.

use std::sync::atomic::{AtomicU64, Ordering};

/// Tokens for one second may be used at once.
const BURST_NS: u64 = 1_000_000_000;

/// Places are counted by periods of this length.
const PERIOD_NS: u64 = 30_000_000_000;
/// The most creations in flight that the counters can hold.
pub const IN_FLIGHT_MAX: u32 = (1 << Places::COUNT_BITS) - 1;

/// Places taken in the current period and in the one before, as one 64-bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Places {
    period: u64,
    before: u32,
    current: u32,
}

impl Places {
    const COUNT_BITS: u32 = 22;
    const PERIOD_MASK: u64 = (1 << (64 - 2 * Self::COUNT_BITS)) - 1;

    fn unpack(packed: u64) -> Self {
        let count = |bits: u64| (bits & u64::from(IN_FLIGHT_MAX)) as u32;
        Self {
            period: packed >> (2 * Self::COUNT_BITS),
            before: count(packed >> Self::COUNT_BITS),
            current: count(packed),
        }
    }

    fn pack(self) -> u64 {
        self.period << (2 * Self::COUNT_BITS) | u64::from(self.before) << Self::COUNT_BITS | u64::from(self.current)
    }

    /// Forgets what is too old. A clock that another thread has seen further on changes nothing.
    fn at(self, now_ns: u64) -> Self {
        let period = (now_ns / PERIOD_NS) & Self::PERIOD_MASK;
        match period.saturating_sub(self.period) {
            0 => self,
            1 => Self { period, before: self.current, current: 0 },
            _ => Self { period, before: 0, current: 0 },
        }
    }

    fn total(self) -> u32 {
        self.before + self.current
    }
}

/// Lets user creations through at a bounded rate and number.
#[derive(Debug)]
pub struct CreationGate {
    /// Time that one token takes to come back; `None` when no creation is allowed at all.
    interval_ns: Option<u64>,
    used_until_ns: AtomicU64,
    places: AtomicU64,
    in_flight_max: u32,
}

impl CreationGate {
    /// A full bucket of `per_second` tokens (0: no creations; at most 10^9), with at most `in_flight_max` in flight
    /// (and never more than [`IN_FLIGHT_MAX`]).
    pub fn new(per_second: u32, in_flight_max: u32) -> Self {
        Self {
            interval_ns: BURST_NS.checked_div(u64::from(per_second)).map(|interval| interval.max(1)),
            used_until_ns: AtomicU64::new(0),
            places: AtomicU64::new(0),
            in_flight_max: in_flight_max.min(IN_FLIGHT_MAX),
        }
    }

    /// Takes one token and one place in flight, or neither. `now_ns` is the engine's clock.
    pub fn enter(&self, now_ns: u64, suspect: bool) -> bool {
        let Some(interval_ns) = self.interval_ns else { return false };
        let places = if suspect { self.in_flight_max / 2 } else { self.in_flight_max };
        let take_place = |packed: u64| {
            let held = Places::unpack(packed).at(now_ns);
            (held.total() < places).then(|| Places { current: held.current + 1, ..held }.pack())
        };
        if self.places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_place).is_err() {
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
        let give_back = |packed: u64| {
            let held = Places::unpack(packed);
            let before = count.min(held.before);
            let current = (count - before).min(held.current);
            Some(Places { before: held.before - before, current: held.current - current, ..held }.pack())
        };
        // The closure always answers, so the update cannot fail.
        let _ = self.places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give_back);
    }

    /// Creations in flight, as far as the last of them knew the time.
    pub fn in_flight(&self) -> u32 {
        Places::unpack(self.places.load(Ordering::Relaxed)).total()
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
    fn places_that_never_come_back_are_forgotten() {
        let gate = CreationGate::new(1_000, 2);
        assert!(gate.enter(0, false) && gate.enter(PERIOD_NS, false));
        assert!(!gate.enter(PERIOD_NS + 1, false));
        assert!(gate.enter(2 * PERIOD_NS, false), "the first is too old now");
        assert!(!gate.enter(2 * PERIOD_NS, false));
        gate.ended(1);
        assert_eq!(gate.in_flight(), 1);
        assert!(gate.enter(9 * PERIOD_NS, false));
        assert_eq!(gate.in_flight(), 1);
        let held = Places { period: 9, before: 3, current: 4 };
        assert_eq!(held.at(8 * PERIOD_NS), held, "an older clock forgets nothing");
        assert_eq!(Places::unpack(held.pack()), held);
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
