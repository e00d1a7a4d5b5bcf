//! The node's one way to stop by itself: the first reason told is kept, and whoever waits hears of it.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Holds the reason why the node must stop.
#[derive(Debug, Default)]
pub struct Failure {
    reason: Mutex<Option<String>>,
    told: Condvar,
    stopping: AtomicBool,
}

impl Failure {
    /// Tells why the node must stop. The first reason stays: what follows is usually its consequence.
    pub fn tell(&self, reason: impl Into<String>) {
        let mut kept = self.reason.lock();
        if kept.is_none() {
            let reason = reason.into();
            tracing::error!(reason, "the node stops");
            *kept = Some(reason);
        }
        self.stopping.store(true, Ordering::Release);
        self.told.notify_all();
    }

    /// The reason, if there is one.
    pub fn reason(&self) -> Option<String> {
        self.reason.lock().clone()
    }

    /// Whether a reason was told.
    pub fn is_told(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits for a reason, at most `timeout`.
    pub fn wait(&self, timeout: Duration) -> Option<String> {
        let mut kept = self.reason.lock();
        if kept.is_none() {
            self.told.wait_for(&mut kept, timeout);
        }
        kept.clone()
    }
}
