//! Bounded channels between stages whose senders wake the thread that receives.
//!
//! Crossbeam's channels carry batches, so their cost is nanoseconds per transaction. What they lack is a way for one thread to wait on
//! several at once without spinning; a [`Bell`] per thread adds it: a thread that finds nothing sets its flag, looks once more and parks;
//! a sender that sees the flag unparks it. The park ends after a millisecond in any case, which is also the clock of timers.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

/// The longest time that a thread sleeps without looking.
pub const PARK: Duration = Duration::from_millis(1);

/// Wakes one thread.
#[derive(Debug, Default)]
pub struct Bell {
    parked: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Bell {
    /// Ties the bell to the calling thread. Once.
    pub fn attach(&self) {
        let _ = self.thread.set(std::thread::current());
    }

    /// Wakes the thread if it sleeps; tells whether it did.
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        let sleeping = self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::Relaxed);
        if sleeping && let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        sleeping
    }

    /// Announces sleep; the caller looks once more before [`Bell::sleep`].
    pub fn announce(&self) {
        self.parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Sleeps until rung, at most [`PARK`].
    pub fn sleep(&self) {
        std::thread::park_timeout(PARK);
        self.cancel();
    }

    /// Takes the announcement back.
    pub fn cancel(&self) {
        self.parked.store(false, Ordering::Relaxed);
    }
}

/// The sending end.
#[derive(Debug)]
pub struct Outlet<T> {
    sender: Sender<T>,
    bells: Vec<Arc<Bell>>,
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), bells: self.bells.clone() }
    }
}

impl<T> Outlet<T> {
    /// Whether the next send would find no room.
    pub fn is_full(&self) -> bool {
        self.sender.is_full()
    }

    /// Sends and wakes one sleeping receiver. Waits while the channel is full, which callers avoid by [`Outlet::is_full`]; false when the
    /// receiver is gone, as it is when the node stops.
    pub fn send(&self, item: T) -> bool {
        let sent = self.sender.send(item).is_ok();
        let _ = self.bells.iter().any(|bell| bell.ring());
        sent
    }

    /// Sends if there is room and gives the item back otherwise, for stages that must not wait for a thread that may wait for them.
    pub fn try_send(&self, item: T) -> Result<(), T> {
        match self.sender.try_send(item) {
            Ok(()) => {
                let _ = self.bells.iter().any(|bell| bell.ring());
                Ok(())
            }
            Err(TrySendError::Full(item) | TrySendError::Disconnected(item)) => Err(item),
        }
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Inlet<T> {
    receiver: Receiver<T>,
}

impl<T> Clone for Inlet<T> {
    fn clone(&self) -> Self {
        Self { receiver: self.receiver.clone() }
    }
}

impl<T> Inlet<T> {
    /// The next item, if one waits.
    pub fn take(&self) -> Option<T> {
        self.receiver.try_recv().ok()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Items that wait.
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    /// The receiver itself, for threads that wait on it alone.
    pub fn receiver(&self) -> &Receiver<T> {
        &self.receiver
    }
}

/// A channel of `capacity` items whose senders ring `bells`.
pub fn channel<T>(capacity: usize, bells: Vec<Arc<Bell>>) -> (Outlet<T>, Inlet<T>) {
    let (sender, receiver) = bounded(capacity);
    (Outlet { sender, bells }, Inlet { receiver })
}
