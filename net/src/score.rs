//! What one IP address has done: its score of bad signatures, and what follows from it.
//!
//! The score is a leaky bucket in points. Per report of a checked batch:
//!
//! 1. forgive `forgiven_per_second` points for each second since the last report;
//! 2. forgive one point for each `good_per_point` good transactions, add one for each bad signature;
//! 3. compare with the thresholds: *suspect* (its transactions are checked one by one, apart from others'), *slow*
//!    (it is read at a fixed rate), *ban* (connections are closed, new ones refused for a while).
//!
//! A level ends when the score falls below half of its threshold, so that nothing flaps. A ban ends by time alone; it
//! doubles each time, up to 16 times the first, and after it the address starts again at the slow threshold.
//!
//! Reports come from the verifying threads, once per batch; readers see atomics. All times are milliseconds since the
//! server started, passed in, so the rules are tested without a clock.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

use crate::limits::Limits;

/// Doublings of the ban's length, at most.
const BAN_DOUBLINGS_MAX: u32 = 4;

/// Thousandths of a point: the score is an integer, forgiveness per good transaction is a fraction.
const MILLI: u64 = 1_000;

/// Longest single delay of a slowed reader, which then asks again: it may not be slowed any more.
const PACE_DELAY_MAX: Duration = Duration::from_secs(1);

/// The clock of one server: milliseconds since it started.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Clock(Instant::now())
    }

    /// Milliseconds since the start.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// How an address is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Like everybody.
    Good,
    /// Checked one by one.
    Suspect,
    /// Checked one by one and read slowly.
    Slow,
    /// Closed and refused.
    Banned,
}

#[derive(Debug)]
struct ScoreState {
    milli_points: u64,
    updated_ms: u64,
    standing: Standing,
    banned_until_ms: u64,
    bans: u32,
    /// Handshakes that are not yet forgiven, in thousandths.
    handshakes_milli: u64,
    handshakes_updated_ms: u64,
    /// When a slowed reader may read again.
    next_read_ms: u64,
}

/// What is known and counted about one IP address (IPv6: one /64). Shared by its connections.
#[derive(Debug)]
pub struct SourceScore {
    key: IpAddr,
    limits: Arc<Limits>,
    clock: Clock,
    good: AtomicU64,
    bad: AtomicU64,
    suspect: AtomicBool,
    slow: AtomicBool,
    state: Mutex<ScoreState>,
    /// Woken when a ban begins.
    pub(crate) ban_begins: Notify,
    /// Connections open or in their handshake; changed under the table's lock only.
    pub(crate) connections: AtomicUsize,
    /// A handshake was completed from this address, so it is not a spoofed one.
    pub(crate) confirmed: AtomicBool,
    pub(crate) queries: Semaphore,
    /// The turn of one of this address's streams to queue for room in a full intake.
    pub(crate) offering: Semaphore,
    /// Answer events that wait to be written, of all streams of this address.
    pub(crate) answers_queued: AtomicUsize,
}

/// The address that a peer's score is kept under: IPv4 as it is (also when mapped into IPv6), IPv6 by its /64.
pub fn source_key(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & (u128::MAX << 64))),
        v4 => v4,
    }
}

impl SourceScore {
    /// A clean score for the address (or /64) of `ip`.
    pub fn new(ip: IpAddr, limits: Arc<Limits>, clock: Clock) -> Self {
        SourceScore {
            key: source_key(ip),
            clock,
            good: AtomicU64::new(0),
            bad: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            state: Mutex::new(ScoreState {
                milli_points: 0,
                updated_ms: 0,
                standing: Standing::Good,
                banned_until_ms: 0,
                bans: 0,
                handshakes_milli: 0,
                handshakes_updated_ms: 0,
                next_read_ms: 0,
            }),
            ban_begins: Notify::new(),
            connections: AtomicUsize::new(0),
            confirmed: AtomicBool::new(false),
            queries: Semaphore::new(limits.queries_per_ip_max),
            offering: Semaphore::new(1),
            answers_queued: AtomicUsize::new(0),
            limits,
        }
    }

    /// The address, or the /64's first address.
    pub fn key(&self) -> IpAddr {
        self.key
    }

    /// Whether its transactions are to be checked apart from others'. One atomic load.
    pub fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// Good transactions reported so far.
    pub fn good(&self) -> u64 {
        self.good.load(Ordering::Relaxed)
    }

    /// Bad signatures reported so far.
    pub fn bad(&self) -> u64 {
        self.bad.load(Ordering::Relaxed)
    }

    /// Reports a checked batch: `good` transactions and `bad` signatures. Once per batch, from any thread.
    pub fn report(&self, good: u64, bad: u64) -> Standing {
        self.report_at(good, bad, self.clock.now_ms())
    }

    /// [`Self::report`] at `now_ms`.
    pub fn report_at(&self, good: u64, bad: u64, now_ms: u64) -> Standing {
        self.good.fetch_add(good, Ordering::Relaxed);
        self.bad.fetch_add(bad, Ordering::Relaxed);
        let mut state = self.state.lock();
        let before = self.refresh(&mut state, now_ms);
        let rules = &self.limits.score;
        let forgiven = good.saturating_mul(MILLI) / rules.good_per_point.max(1);
        // The cap lets an address recover in bounded time, however much of its garbage was still on the way.
        let points_max = rules.ban_points.saturating_mul(2).saturating_mul(MILLI);
        state.milli_points =
            state.milli_points.saturating_sub(forgiven).saturating_add(bad.saturating_mul(MILLI)).min(points_max);
        state.standing = self.judge(&state);
        if state.standing == Standing::Banned && before != Standing::Banned {
            let length_ms = u64::try_from(rules.ban.as_millis()).unwrap_or(u64::MAX);
            state.banned_until_ms =
                now_ms.saturating_add(length_ms.saturating_mul(1 << state.bans.min(BAN_DOUBLINGS_MAX)));
            state.bans = state.bans.saturating_add(1);
        }
        let standing = state.standing;
        drop(state);
        self.publish(standing);
        if standing == Standing::Banned && before != Standing::Banned {
            self.ban_begins.notify_waiters();
        }
        standing
    }

    /// How the address is treated now.
    pub fn standing(&self) -> Standing {
        self.standing_at(self.clock.now_ms())
    }

    /// [`Self::standing`] at `now_ms`.
    pub fn standing_at(&self, now_ms: u64) -> Standing {
        let mut state = self.state.lock();
        let standing = self.refresh(&mut state, now_ms);
        drop(state);
        self.publish(standing);
        standing
    }

    /// Whether the address has nothing that must be remembered when its last connection goes.
    pub(crate) fn is_forgettable(&self, now_ms: u64) -> bool {
        let mut state = self.state.lock();
        self.refresh(&mut state, now_ms);
        self.leak_handshakes(&mut state, now_ms);
        let confirmed = self.confirmed.load(Ordering::Relaxed);
        state.milli_points == 0 && state.standing != Standing::Banned && (!confirmed || state.handshakes_milli == 0)
    }

    /// Counts one more handshake; `false` when the address starts too many.
    pub(crate) fn count_handshake(&self, now_ms: u64) -> bool {
        let mut state = self.state.lock();
        self.leak_handshakes(&mut state, now_ms);
        let after = state.handshakes_milli.saturating_add(MILLI);
        if after > self.limits.handshakes_per_ip_burst.saturating_mul(MILLI) {
            return false;
        }
        state.handshakes_milli = after;
        true
    }

    /// Charges `bytes` to a slowed address and says how long its reader has to wait before it asks again; `None` when
    /// it may read.
    pub(crate) fn pace(&self, bytes: usize) -> Option<Duration> {
        if !self.slow.load(Ordering::Relaxed) {
            return None;
        }
        let now_ms = self.clock.now_ms();
        let mut state = self.state.lock();
        if self.refresh(&mut state, now_ms) < Standing::Slow {
            self.publish(state.standing);
            return None;
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let cost_ms = bytes.saturating_mul(1_000) / self.limits.slow_bytes_per_second.max(1);
        state.next_read_ms = state.next_read_ms.max(now_ms).saturating_add(cost_ms);
        let delay = Duration::from_millis(state.next_read_ms - now_ms);
        (!delay.is_zero()).then(|| delay.min(PACE_DELAY_MAX))
    }

    /// Forgives what time forgives; returns the standing that results.
    fn refresh(&self, state: &mut ScoreState, now_ms: u64) -> Standing {
        let rules = &self.limits.score;
        let elapsed_ms = now_ms.saturating_sub(state.updated_ms);
        // Points a second are thousandths of a point a millisecond.
        state.milli_points = state.milli_points.saturating_sub(elapsed_ms.saturating_mul(rules.forgiven_per_second));
        state.updated_ms = state.updated_ms.max(now_ms);
        if state.standing == Standing::Banned {
            if now_ms < state.banned_until_ms {
                return Standing::Banned;
            }
            state.milli_points = state.milli_points.min(rules.slow_points.saturating_mul(MILLI));
            state.standing = Standing::Slow;
        }
        state.standing = self.judge(state);
        state.standing
    }

    /// The standing that the points mean; a level once reached is kept down to half of its threshold.
    fn judge(&self, state: &ScoreState) -> Standing {
        let rules = &self.limits.score;
        if state.standing == Standing::Banned {
            return Standing::Banned;
        }
        let reached = |level: Standing, points: u64| {
            let threshold = points.saturating_mul(MILLI);
            state.milli_points >= if state.standing >= level { threshold / 2 } else { threshold }
        };
        if reached(Standing::Banned, rules.ban_points) {
            Standing::Banned
        } else if reached(Standing::Slow, rules.slow_points) {
            Standing::Slow
        } else if reached(Standing::Suspect, rules.suspect_points) {
            Standing::Suspect
        } else {
            Standing::Good
        }
    }

    fn leak_handshakes(&self, state: &mut ScoreState, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(state.handshakes_updated_ms);
        let leaked = elapsed_ms.saturating_mul(self.limits.handshakes_per_ip_per_second);
        state.handshakes_milli = state.handshakes_milli.saturating_sub(leaked);
        state.handshakes_updated_ms = state.handshakes_updated_ms.max(now_ms);
    }

    fn publish(&self, standing: Standing) {
        self.suspect.store(standing >= Standing::Suspect, Ordering::Relaxed);
        self.slow.store(standing >= Standing::Slow, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "score_tests.rs"]
mod tests;
