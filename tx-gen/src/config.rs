//! How a load is sent: where to, how fast, for how long, and when to give up.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tana_net::{ClientError, ServerPin};
use thiserror::Error;

use crate::load::Load;
use crate::plan::RATE_MAX;
use crate::recorder::SECONDS_MAX;

/// The most sending threads.
pub const THREADS_MAX: usize = 64;
/// Room left to a transaction's timestamp beyond the planned end: the node's clock and its queues.
const WINDOW_MARGIN_MS: u64 = 5_000;

/// When transactions are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At so many a second whatever the node does; latency counts from the planned moment.
    Open {
        /// Transactions per second over all connections.
        rate: u64,
    },
    /// As fast as the node takes them.
    Closed {
        /// The most transactions in flight per connection; `None` leaves it to QUIC's flow control.
        in_flight: Option<u64>,
    },
}

/// Stops a flood from another thread: what is in flight is awaited for a moment, then the report is made.
#[derive(Debug, Clone, Default)]
pub struct StopHandle(Arc<AtomicBool>);

impl StopHandle {
    /// Stops sending.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A node that a load is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its address for transactions.
    pub address: SocketAddr,
    /// Which server is expected there.
    pub pin: ServerPin,
}

/// How a load is sent. [`FloodConfig::new`] has the defaults of `tx-gen`.
#[derive(Debug, Clone)]
pub struct FloodConfig {
    /// The node's address for transactions.
    pub to: SocketAddr,
    /// Which server is expected there.
    pub pin: ServerPin,
    /// Further nodes of the same chain: connection `n` goes to the node `n` modulo their number, `to` being the first.
    pub others: Vec<Target>,
    /// The local address to send from.
    pub bind: Option<IpAddr>,
    /// When transactions are sent.
    pub pace: Pace,
    /// How long to measure, without the warm-up; `None` until the load is used up.
    pub duration: Option<Duration>,
    /// How long to send before anything is measured.
    pub warm_up: Duration,
    /// Send on uni-streams, which have no answers.
    pub without_answers: bool,
    /// Sending threads; connections are spread over them.
    pub threads: usize,
    /// How often each connection may be made anew.
    pub reconnects: u32,
    /// How long to wait for further answers after the last one, when all is sent.
    pub drain: Duration,
    /// How long the node may neither take nor answer anything while transactions are in flight.
    pub patience: Duration,
    /// `rules.transaction_window_ms` of the genesis, to check timestamps against; `None` leaves them unchecked.
    pub window_ms: Option<u64>,
    /// Stops the flood from outside.
    pub stop: StopHandle,
}

impl FloodConfig {
    /// A closed loop held back by QUIC alone, until the load is used up.
    pub fn new(to: SocketAddr, pin: ServerPin) -> Self {
        Self {
            to,
            pin,
            others: Vec::new(),
            bind: None,
            pace: Pace::Closed { in_flight: None },
            duration: None,
            warm_up: Duration::ZERO,
            without_answers: false,
            threads: 1,
            reconnects: 3,
            drain: Duration::from_secs(10),
            patience: Duration::from_secs(20),
            window_ms: None,
            stop: StopHandle::default(),
        }
    }

    /// Where connection `number` goes, the first time and every time that it is made anew: a sender sticks to one node.
    pub fn target(&self, number: u32) -> Target {
        match (number as usize % (self.others.len() + 1)).checked_sub(1).and_then(|other| self.others.get(other)) {
            Some(other) => *other,
            None => Target { address: self.to, pin: self.pin },
        }
    }

    /// The addresses of all nodes, for people.
    pub fn names(&self) -> String {
        let others = self.others.iter().map(|other| other.address.to_string());
        std::iter::once(self.to.to_string()).chain(others).collect::<Vec<_>>().join(", ")
    }

    /// Nanoseconds from the start to the end of measuring; `u64::MAX` without an end.
    pub(crate) fn deadline_ns(&self) -> u64 {
        self.duration.map_or(u64::MAX, |duration| nanoseconds(self.warm_up.saturating_add(duration)))
    }

    /// Checks the values, and that the load's timestamps stay within the chain's window until the planned end.
    pub(crate) fn check(&self, load: &Load, now_ms: u64) -> Result<(), FloodError> {
        let fail = |detail: &str| Err(FloodError::Config(detail.to_owned()));
        if self.threads == 0 || self.threads > THREADS_MAX {
            return fail("--threads is 1 to 64");
        }
        if matches!(self.pace, Pace::Open { rate } if rate == 0 || rate > RATE_MAX) {
            return fail("--rate is 1 to 100,000,000 transactions a second");
        }
        if self.pace == (Pace::Closed { in_flight: Some(0) }) {
            return fail("--in-flight is at least 1, or max");
        }
        let seconds = self.warm_up.as_secs().saturating_add(self.duration.unwrap_or_default().as_secs());
        if seconds > SECONDS_MAX as u64 {
            return fail("--seconds and --warm-up together are at most 86,400, a day");
        }
        if self.others.len() >= load.connections.len() {
            return fail("every node needs a connection of its own; raise --connections");
        }
        if load.connections.is_empty() || load.count() == 0 {
            return fail("the load is empty; sign at least one transaction");
        }
        self.check_window(load, now_ms)
    }

    /// How long sending will take, if that can be known.
    fn planned_ms(&self, load: &Load) -> Option<u64> {
        let by_time = self.duration.map(|duration| (self.warm_up + duration).as_millis() as u64);
        let by_count = match self.pace {
            Pace::Open { rate } => Some((u128::from(load.count()) * 1_000 / u128::from(rate.max(1))) as u64),
            Pace::Closed { .. } => None,
        };
        match (by_time, by_count) {
            (Some(time), Some(count)) => Some(time.min(count)),
            (time, count) => time.or(count),
        }
    }

    fn check_window(&self, load: &Load, now_ms: u64) -> Result<(), FloodError> {
        let Some(window_ms) = self.window_ms else { return Ok(()) };
        let (first_ms, last_ms) = load.timestamps_ms();
        let planned_ms = self.planned_ms(load).unwrap_or(0);
        // Sending may end before the load does; the last timestamp then is the one planned for that moment.
        let last_ms = last_ms.min(first_ms.saturating_add(planned_ms.max(1)));
        let off_ms = now_ms.abs_diff(first_ms).max(now_ms.saturating_add(planned_ms).abs_diff(last_ms));
        if off_ms.saturating_add(WINDOW_MARGIN_MS.min(window_ms / 2)) <= window_ms {
            return Ok(());
        }
        let (off_s, window_s) = (off_ms.div_ceil(1_000), window_ms / 1_000);
        if now_ms.abs_diff(first_ms) > window_ms {
            return Err(FloodError::Stale { age_s: now_ms.abs_diff(first_ms) / 1_000, window_s });
        }
        Err(FloodError::Window { off_s, window_s })
    }
}

/// Nanoseconds of a duration, at most `u64::MAX`.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Why a flood did not start. What goes wrong later is in the report.
#[derive(Debug, Error)]
pub enum FloodError {
    /// A value is out of range.
    #[error("{0}")]
    Config(String),
    /// The flood would outlast its timestamps.
    #[error(
        "at the end of the flood timestamps would be {off_s} s off, the chain allows {window_s} s: send for a shorter time \
         (--seconds, --count), plan the moments of sending with --rate, or raise rules.transaction_window_ms in a new genesis"
    )]
    Window {
        /// How far off, in seconds.
        off_s: u64,
        /// What the genesis allows, in seconds.
        window_s: u64,
    },
    /// The load was signed too long ago.
    #[error(
        "the load's timestamps are {age_s} s away from this machine's clock, the chain allows {window_s} s: sign it again, check \
         the clock, or raise rules.transaction_window_ms in a new genesis"
    )]
    Stale {
        /// How far away, in seconds.
        age_s: u64,
        /// What the genesis allows, in seconds.
        window_s: u64,
    },
    /// No connection could be made.
    #[error(transparent)]
    Connect(#[from] ClientError),
    /// The system gave no thread or event loop.
    #[error("cannot start a sending thread: {0}; the machine may be out of threads or file descriptors")]
    Thread(#[from] std::io::Error),
    /// A sending thread ended without a word.
    #[error("a sending thread ended unexpectedly; this is a defect of tx-gen")]
    Broken,
}
