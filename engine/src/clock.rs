//! The two clocks: a monotonic one for durations, the wall clock for timestamps.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The engine's monotonic clock, in nanoseconds since the node's start. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Nanoseconds since the start.
    pub fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z by the wall clock; 0 when it stands before that.
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
