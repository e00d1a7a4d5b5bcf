//! The fixed pool of batches: the one place where the pipeline's memory is bounded and where backpressure begins.
//!
//! A batch is either here, open at the intake, or in the pipeline. When none is left the intake stops reading, QUIC's flow control
//! fills, and the senders wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::queue::ArrayQueue;
use tana_types::batch::Batch;
use tokio::sync::Notify;

/// See the module's text.
pub struct Pool {
    free: ArrayQueue<Batch>,
    wanted: AtomicBool,
    /// Rung when a batch came back after one was missed.
    pub room: Arc<Notify>,
}

impl Pool {
    /// A pool of `batches` batches. Their memory is taken when they are first filled, and kept.
    pub fn new(batches: usize) -> Self {
        let free = ArrayQueue::new(batches);
        for _ in 0..batches {
            let _ = free.push(Batch::with_capacity(0, 0));
        }
        Self { free, wanted: AtomicBool::new(false), room: Arc::new(Notify::new()) }
    }

    /// An empty batch, or none while all are in use; [`Pool::room`] is then rung when one is back.
    pub fn take(&self) -> Option<Batch> {
        if let Some(batch) = self.free.pop() {
            return Some(batch);
        }
        self.wanted.store(true, Ordering::SeqCst);
        // One may have come back between the two lines above.
        self.free.pop()
    }

    /// Takes a batch back.
    pub fn put(&self, mut batch: Batch) {
        batch.clear();
        // There are never more batches than places, so this cannot fail.
        let _ = self.free.push(batch);
        if self.wanted.swap(false, Ordering::SeqCst) {
            self.room.notify_waiters();
        }
    }

    /// Batches that are free.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Batches in existence.
    pub fn size(&self) -> usize {
        self.free.capacity()
    }
}
