//! The log thread: everything that waits, one commit, all completions, again.
//!
//! 1. Wait for a record, then take whatever else waits, until a log's group is full or [`PENDING_MAX`] records are taken.
//!    Each record is copied into its log's group; the caller's value is kept, not copied.
//! 2. Write the groups of the logs that were touched, in the order of the logs' numbers, each durable before the next begins.
//! 3. Hand the values back with their positions, in the order in which they came in.
//!
//! **Ordering, exactly.** (a) In one log, records stand in the order of submission, and a record survives a crash only if
//! every earlier record of that log does. (b) Across logs, if X was submitted before Y and X's log number is not above
//! Y's, then Y survives a crash only if X does: so a record may name another one that was submitted before it in the same or
//! a lower-numbered log. (c) When Y's completion is handed over, Y and everything submitted before Y, in whatever log, is
//! durable, and its completion was handed over before.
//!
//! **Failure.** The first write that fails ends the thread: the error goes to `on_failure` and to [`LogThread::join`], no
//! completion follows, and senders find the channel closed. What the failed commit held was never acknowledged; whether
//! some of it survives is decided by recovery.
//!
//! **Edges.** Input and output are the caller's bounded channels: a full output holds the thread back, which holds the
//! input back.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded};

use super::appender::{Appender, Disk, Placed};
use super::config::LogConfig;
use super::maker::SegmentMaker;
use super::metrics::{LogMetrics, Regime};
use super::probe::{BackendChoice, backend_name, choose_backend};
use super::recover::{LogFound, Recovered, open_log};
use super::writer::Writer;
use super::{Durable, LogWrite, Position};
use crate::StoreError;

/// Most records of one commit: bounds the list of values that wait for it.
pub const PENDING_MAX: usize = 16_384;

/// A running log thread. It ends when all senders of its input are gone, or with the first failed write.
#[derive(Debug)]
pub struct LogThread {
    thread: JoinHandle<Result<(), StoreError>>,
    found: Vec<LogFound>,
    choice: BackendChoice,
    metrics: Arc<LogMetrics>,
}

impl LogThread {
    /// Opens and repairs the logs, chooses the writer and starts the thread. The caller holds the [`crate::DataLock`].
    ///
    /// `output` is called on the log thread, once per record, in order of submission; to feed a channel, send in it.
    /// `on_failure` is called on the log thread at most once, after which `output` is never called again.
    ///
    /// # Errors
    /// [`StoreError::Setting`] for a bad configuration, [`StoreError::Damaged`] or [`StoreError::Missing`] when a log cannot be
    /// trusted, [`StoreError::Io`] or [`StoreError::NoSpace`] when files cannot be made.
    pub fn start<T, F, E>(config: LogConfig, input: Receiver<T>, output: F, on_failure: E) -> Result<Self, StoreError>
    where
        T: LogWrite,
        F: FnMut(Durable<T>) + Send + 'static,
        E: FnOnce(&StoreError) + Send + 'static,
    {
        config.validate()?;
        let directory = config.directory.clone();
        std::fs::create_dir_all(&directory).map_err(|source| StoreError::io("create", &directory, source, 0))?;
        let recovered = open_logs(&config)?;
        let found = recovered.iter().map(|log| log.found.clone()).collect();
        let choice = choose_backend(&directory, config.backend)?;
        let maker = SegmentMaker::start(&config)?;
        let metrics = Arc::new(LogMetrics::default());
        let (ready, started) = bounded(1);
        let metrics_of_thread = Arc::clone(&metrics);
        let thread = std::thread::Builder::new()
            .name("log".to_string())
            .spawn(move || {
                if let Some(hook) = &config.thread_start {
                    hook();
                }
                let mut committer = match Committer::new(config, recovered, choice, maker, metrics_of_thread, &ready) {
                    Ok(committer) => committer,
                    Err(error) => {
                        // `start` waits for this; if it is gone, so is the reason to go on.
                        let _ = ready.send(Err(error));
                        return Ok(());
                    }
                };
                let result = committer.run(&input, output);
                if let Err(error) = &result {
                    tracing::error!(%error, "the log thread stops: nothing is acknowledged from here on");
                    on_failure(error);
                }
                result
            })
            .map_err(|source| StoreError::io("start a thread for", &directory, source, 0))?;
        let choice = match started.recv() {
            Ok(choice) => choice?,
            Err(_) => return Err(StoreError::Panicked("it ended before it was ready".to_string())),
        };
        tracing::info!(backend = choice.name, reason = choice.reason, "log thread started");
        Ok(Self { thread, found, choice, metrics })
    }

    /// What each log held at the start, in the order of their numbers.
    pub fn found(&self) -> &[LogFound] {
        &self.found
    }

    /// Name of the writer in use, for example `plain, O_DIRECT and O_DSYNC`.
    pub fn backend_name(&self) -> &str {
        &self.choice.name
    }

    /// Why this writer is in use.
    pub fn reason(&self) -> &str {
        &self.choice.reason
    }

    /// Its counters.
    pub fn metrics(&self) -> &Arc<LogMetrics> {
        &self.metrics
    }

    /// Waits for the end: all senders of the input must be gone, or a write must have failed.
    ///
    /// # Errors
    /// The failure that ended it.
    pub fn join(self) -> Result<(), StoreError> {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => {
                let text = panic
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_string())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "no message".to_string());
                Err(StoreError::Panicked(text))
            }
        }
    }
}

/// Opens all logs, each on a thread of its own: after a crash each has hundreds of megabytes to look at.
fn open_logs(config: &LogConfig) -> Result<Vec<Recovered>, StoreError> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = config.logs.iter().map(|name| scope.spawn(move || open_log(config, name))).collect();
        let panicked = |_| Err(StoreError::Panicked("opening a log panicked".to_string()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    })
}

/// All that the thread works with.
struct Committer {
    appenders: Vec<Appender>,
    disk: Disk,
    maker: SegmentMaker,
    metrics: Arc<LogMetrics>,
    record_bytes_max: usize,
}

impl Committer {
    /// Makes the writer and opens the files, and reports the writer through `ready`.
    fn new(
        config: LogConfig,
        recovered: Vec<Recovered>,
        mut choice: BackendChoice,
        maker: SegmentMaker,
        metrics: Arc<LogMetrics>,
        ready: &Sender<Result<BackendChoice, StoreError>>,
    ) -> Result<Self, StoreError> {
        let (count, durability) = (recovered.len(), choice.durability);
        let writer = match choice.uring.then(|| Writer::uring(count, durability)) {
            Some(Ok(writer)) => writer,
            Some(Err(error)) => {
                choice.uring = false;
                choice.name = backend_name(false, durability).to_string();
                choice.reason = format!("io_uring could not be started: {error}");
                Writer::plain(count, durability)
            }
            None => Writer::plain(count, durability),
        };
        let mut disk = Disk { writer, durability, faults: config.faults.clone(), writes: 0 };
        let mut appenders = Vec::with_capacity(count);
        for (log, recovered) in recovered.into_iter().enumerate() {
            appenders.push(Appender::new(&config, log, recovered, &mut disk)?);
        }
        // `start` waits for this; if it is gone, the input is too and the thread ends by itself.
        let _ = ready.send(Ok(choice));
        Ok(Self { appenders, disk, maker, metrics, record_bytes_max: config.record_bytes_max })
    }

    /// Until the input ends: collect, commit, hand over.
    fn run<T: LogWrite>(&mut self, input: &Receiver<T>, mut output: impl FnMut(Durable<T>)) -> Result<(), StoreError> {
        let mut pending: Vec<(T, Position)> = Vec::new();
        let mut carried = None;
        let mut mark = Instant::now();
        loop {
            let first = match carried.take() {
                Some(write) => write,
                None => match input.recv() {
                    Ok(write) => write,
                    Err(_) => return Ok(()),
                },
            };
            self.account(Regime::Waiting, &mut mark);
            carried = self.collect(first, input, &mut pending)?;
            self.account(Regime::Staging, &mut mark);
            for appender in &mut self.appenders {
                appender.commit(&mut self.disk, &self.maker, &self.metrics)?;
            }
            self.metrics.add_commit();
            self.account(Regime::Writing, &mut mark);
            for (write, position) in pending.drain(..) {
                output(Durable { write, position });
            }
            self.account(Regime::Output, &mut mark);
            while let Some((log, result)) = self.maker.poll() {
                self.appenders[log].spare_done(result);
            }
        }
    }

    /// Places `first` and whatever else waits; returns the record that found its group full.
    fn collect<T: LogWrite>(
        &mut self,
        first: T,
        input: &Receiver<T>,
        pending: &mut Vec<(T, Position)>,
    ) -> Result<Option<T>, StoreError> {
        let mut write = first;
        loop {
            match self.place(&write)? {
                Some(position) => pending.push((write, position)),
                None => return Ok(Some(write)),
            }
            if pending.len() >= PENDING_MAX {
                return Ok(None);
            }
            match input.try_recv() {
                Ok(next) => write = next,
                Err(_) => return Ok(None),
            }
        }
    }

    /// Copies one record into its log's group; `None` when that group must be committed first.
    fn place<T: LogWrite>(&mut self, write: &T) -> Result<Option<Position>, StoreError> {
        let (log, kind, parts) = (write.log(), write.kind(), write.parts());
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if log >= self.appenders.len() || kind == 0 || length > self.record_bytes_max {
            return Err(StoreError::Setting(format!(
                "a record of kind {kind} and {length} bytes for log {log} was submitted; there are {} logs, \
                 kinds 1 to 255, and record_bytes_max is {}",
                self.appenders.len(),
                self.record_bytes_max
            )));
        }
        loop {
            match self.appenders[log].place(kind, &parts, length) {
                Placed::At(position) => return Ok(Some(position)),
                Placed::Full => return Ok(None),
                Placed::SegmentFull if self.appenders[log].segment_is_empty() => {
                    return Err(StoreError::Setting(format!(
                        "a record of {length} bytes does not fit the log's current segment, which was made with a \
                         smaller segment_bytes; lower record_bytes_max to what it was"
                    )));
                }
                Placed::SegmentFull => self.roll_over(log)?,
            }
        }
    }

    /// Moves a log to its next segment, waiting for that to be written ahead.
    fn roll_over(&mut self, log: usize) -> Result<(), StoreError> {
        while !self.appenders[log].spare_ready(&self.maker) {
            let Some((done, result)) = self.maker.wait() else {
                return Err(StoreError::Panicked("the thread that writes segments ahead is gone".to_string()));
            };
            if let Some(error) = self.appenders[done].spare_done(result)
                && done == log
            {
                return Err(error);
            }
        }
        self.appenders[log].roll_over(&mut self.disk, &self.metrics)
    }

    /// Books the time since `mark` on `regime`.
    fn account(&self, regime: Regime, mark: &mut Instant) {
        let now = Instant::now();
        self.metrics.add_time(regime, now - *mark);
        *mark = now;
    }
}
