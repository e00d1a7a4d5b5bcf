//! The thread that writes the next segments ahead while the log thread goes on.
//!
//! One thread serves all logs of a log thread; each log has at most one segment on order, so the channels never hold more
//! than a segment per log.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded};

use super::config::{LOGS_MAX, LogConfig};
use super::recover::new_header;
use super::segment::create_segment;
use crate::StoreError;
use crate::fault::no_space;

/// A segment on order.
#[derive(Debug)]
struct Order {
    log: usize,
    name: String,
    folder: PathBuf,
    segment: u32,
}

/// The maker and the channels to it.
#[derive(Debug)]
pub(super) struct SegmentMaker {
    orders: Option<Sender<Order>>,
    done: Receiver<(usize, Result<(), StoreError>)>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SegmentMaker {
    /// Starts the thread.
    pub fn start(config: &LogConfig) -> Result<Self, StoreError> {
        let (orders, incoming) = bounded::<Order>(LOGS_MAX);
        let (outgoing, done) = bounded(LOGS_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let (config_of_thread, stop_of_thread) = (config.clone(), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("log-segments".to_string())
            .spawn(move || {
                for order in incoming {
                    let result = make(&config_of_thread, &order, &stop_of_thread);
                    if outgoing.send((order.log, result)).is_err() {
                        break;
                    }
                }
            })
            .map_err(|source| StoreError::io("start a thread for", &config.directory, source, 0))?;
        Ok(Self { orders: Some(orders), done, stop, thread: Some(thread) })
    }

    /// Orders segment number `segment` of a log.
    pub fn order(&self, log: usize, name: &str, folder: PathBuf, segment: u32) -> bool {
        let order = Order { log, name: name.to_string(), folder, segment };
        self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }

    /// The next finished order, waiting for it; `None` when the thread is gone.
    pub fn wait(&self) -> Option<(usize, Result<(), StoreError>)> {
        self.done.recv().ok()
    }

    /// A finished order, if there is one.
    pub fn poll(&self) -> Option<(usize, Result<(), StoreError>)> {
        self.done.try_recv().ok()
    }
}

impl Drop for SegmentMaker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there is seen as a missing answer by whoever waits for one.
            let _ = thread.join();
        }
    }
}

/// Makes one segment.
fn make(config: &LogConfig, order: &Order, stop: &AtomicBool) -> Result<(), StoreError> {
    let header = new_header(config, &order.name, order.segment)?;
    if config.faults.refuses_segment(order.segment) {
        return Err(StoreError::io("write ahead", &order.folder, no_space(), config.segment_bytes));
    }
    create_segment(&order.folder, &header, stop).map(|_| ())
}
