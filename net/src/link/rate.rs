//! How fast one peer may talk on the rated channels: two buckets, messages and bytes.
//!
//! A bucket is a debt that is paid off with time: taking is always allowed and returns how long to wait before the next
//! reading, which is zero while less than one second's worth was taken at once. Nothing is dropped: the streams of a
//! peer that talks too fast are read more slowly, and QUIC's flow control holds it back. The buckets belong to the peer
//! and not to a connection, so that connecting again does not fill them.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Longest wait at a time.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The two buckets of one peer.
#[derive(Debug)]
pub(crate) struct RateLimit {
    messages_per_second: u64,
    bytes_per_second: u64,
    start: Instant,
    state: Mutex<State>,
}

/// Debts in billionths of a second: what was taken, times the time that it stands for.
#[derive(Debug, Default)]
struct State {
    messages_debt_ns: u64,
    bytes_debt_ns: u64,
    updated_ns: u64,
}

impl RateLimit {
    pub(crate) fn new(messages_per_second: u64, bytes_per_second: u64) -> Self {
        RateLimit {
            messages_per_second: messages_per_second.max(1),
            bytes_per_second: bytes_per_second.max(1),
            start: Instant::now(),
            state: Mutex::default(),
        }
    }

    /// Books `messages` messages of `bytes` bytes together, now; returns how long to wait before reading on.
    pub(crate) fn take(&self, messages: u64, bytes: u64) -> Duration {
        self.take_at(messages, bytes, u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// [`Self::take`] at `now_ns` since the start.
    pub(crate) fn take_at(&self, messages: u64, bytes: u64, now_ns: u64) -> Duration {
        const SECOND_NS: u64 = 1_000_000_000;
        let cost_ns = |count: u64, per_second: u64| {
            u64::try_from(u128::from(count) * u128::from(SECOND_NS) / u128::from(per_second)).unwrap_or(u64::MAX)
        };
        let mut state = self.state.lock();
        let passed_ns = now_ns.saturating_sub(state.updated_ns);
        state.updated_ns = state.updated_ns.max(now_ns);
        let pay = |debt_ns: u64, cost_ns: u64| debt_ns.saturating_sub(passed_ns).saturating_add(cost_ns);
        state.messages_debt_ns = pay(state.messages_debt_ns, cost_ns(messages, self.messages_per_second));
        state.bytes_debt_ns = pay(state.bytes_debt_ns, cost_ns(bytes, self.bytes_per_second));
        let debt_ns = state.messages_debt_ns.max(state.bytes_debt_ns);
        Duration::from_nanos(debt_ns.saturating_sub(SECOND_NS)).min(WAIT_MAX)
    }
}
