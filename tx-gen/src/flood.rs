//! A flood: all connections of a load, their threads, and the clock that watches them.
//!
//! 1. Each sending thread runs a small event loop of its own and connects its share of the connections. Only when all stand does the
//!    flood start, so that no warm-up is spent on handshakes.
//! 2. The calling thread looks at the threads' recorders ten times a second, tells the caller, and stops the flood when it has to:
//!    asked from outside, a failure for good, everything rejected, or a node that is silent for too long.
//! 3. When all connections are done, the recorders are merged into the report. What went wrong on the way is in the report, next
//!    to what was measured until then.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;
use tana_net::{ClientError, TxClient};
use tana_types::code::Code;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::{FloodConfig, FloodError, nanoseconds};
use crate::connection::{self, Context, Shared};
use crate::cursor::Cursor;
use crate::load::{Load, now_ms};
use crate::recorder::{Counts, Recorder};
use crate::report::{FailureKind, Outcome, Report};

/// How often the flood is looked at.
const TICK: Duration = Duration::from_millis(100);
/// Rejections without a single acceptance after which a flood is hopeless.
const REJECTED_MIN: u64 = 2_048;
/// Ticks over which the live rates are taken: a second.
const RATE_TICKS: usize = 10;

/// A flood as it stands, for a live display.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tick {
    /// Time since the start.
    pub elapsed: Duration,
    /// Whether nothing is measured yet.
    pub is_warm_up: bool,
    /// Everything so far.
    pub totals: Counts,
    /// Sent and without a last answer.
    pub in_flight: u64,
    /// Sent per second, over the last second.
    pub sent_tps: f64,
    /// Applied per second, over the last second.
    pub applied_tps: f64,
    /// The 99th percentile of the latency to applied (to final where nothing was applied) of the last whole second, milliseconds.
    pub latency_p99_ms: f64,
}

/// Sends loads.
#[derive(Debug)]
pub struct Flood;

/// What a sending thread says to the flood.
enum Word {
    /// All its connections stand.
    Ready,
    /// One of its connections could not be made.
    Failed(FloodError),
    /// All is done; it took so many nanoseconds of processor time, where the system tells.
    Done(Option<u64>),
}

/// A thread's share of the work.
struct Share {
    config: FloodConfig,
    connections: u32,
    expects_bans: bool,
    cursors: Vec<(u32, Cursor)>,
    recorder: Arc<Mutex<Recorder>>,
    shared: Arc<Shared>,
    start: watch::Receiver<Option<Instant>>,
    stop: watch::Receiver<bool>,
}

impl Flood {
    /// Sends `load` as `config` says; `on_tick` hears of it ten times a second, on the calling thread.
    ///
    /// # Errors
    /// [`FloodError`] when nothing could be sent at all. What goes wrong later is in the report's `failure`.
    pub fn run(load: &Load, config: &FloodConfig, on_tick: &mut dyn FnMut(&Tick)) -> Result<Report, FloodError> {
        config.check(load, now_ms())?;
        let threads = config.threads.min(load.connections.len());
        let (start_sender, start) = watch::channel(None);
        let (stop_sender, stop) = watch::channel(false);
        let (words, heard) = channel();
        let shared = Arc::new(Shared::default());
        let mut recorders = Vec::with_capacity(threads);
        let mut handles = Vec::with_capacity(threads);
        for thread in 0..threads {
            let recorder = Recorder::new(nanoseconds(config.warm_up), config.deadline_ns());
            let recorder = Arc::new(Mutex::new(recorder));
            recorders.push(recorder.clone());
            let cursors = (0u32..).zip(&load.connections).skip(thread).step_by(threads);
            let share = Share {
                config: config.clone(),
                connections: load.connections.len() as u32,
                expects_bans: load.plan.shares.bad_signatures > 0.0,
                cursors: cursors
                    .map(|(number, connection)| (number, Cursor::new(connection.clone(), load.frame_transactions)))
                    .collect(),
                recorder,
                shared: shared.clone(),
                start: start.clone(),
                stop: stop.clone(),
            };
            let words = words.clone();
            let thread = std::thread::Builder::new().name(format!("tx-gen-{thread}"));
            handles.push(thread.spawn(move || send(share, &words))?);
        }
        drop(words);
        let watched = await_ready(&heard, threads, config).map(|()| {
            let started_ms = now_ms();
            // Tasks that wait for the start are woken by this; nobody listens only where all have ended.
            let begin = Instant::now();
            let _ = start_sender.send(Some(begin));
            let watch = Watch { load, config, shared: &shared, recorders: &recorders, begin };
            let cpu_ns = watch.until_done(&heard, &stop_sender, threads, on_tick);
            (started_ms, cpu_ns, nanoseconds(begin.elapsed()))
        });
        // Threads that still wait for the start see the channel close and end.
        drop(start_sender);
        drop(stop_sender);
        let broken = handles.into_iter().filter_map(|handle| handle.join().err()).count();
        let (started_ms, cpu_ns, elapsed_ns) = watched?;
        if broken > 0 {
            return Err(FloodError::Broken);
        }
        let mut recorder = Recorder::new(nanoseconds(config.warm_up), config.deadline_ns());
        recorders.iter().for_each(|other| recorder.merge(&other.lock()));
        let outcome = Outcome {
            recorder,
            started_ms,
            elapsed_ns,
            cpu_ns,
            reconnects: shared.reconnects.load(Ordering::Relaxed),
            failure: shared.failure.lock().clone(),
            is_stopped: config.stop.is_stopped(),
        };
        Ok(Report::new(load, config, outcome))
    }
}

fn await_ready(heard: &Receiver<Word>, threads: usize, config: &FloodConfig) -> Result<(), FloodError> {
    for _ in 0..threads {
        match heard.recv() {
            Ok(Word::Ready) => {}
            Ok(Word::Failed(error)) => return Err(error),
            Ok(Word::Done(_)) | Err(_) => return Err(FloodError::Broken),
        }
        if config.stop.is_stopped() {
            break;
        }
    }
    Ok(())
}

/// A sending thread.
fn send(share: Share, words: &Sender<Word>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(words.send(Word::Failed(error.into()))),
    };
    runtime.block_on(async {
        let clients = match connect_all(&share).await {
            Ok(clients) => clients,
            Err(error) => return drop(words.send(Word::Failed(error.into()))),
        };
        let _ = words.send(Word::Ready);
        let mut start = share.start.clone();
        let Ok(Some(begin)) = start.wait_for(Option::is_some).await.map(|begin| *begin) else { return };
        let cpu_before = cpu_ns();
        let context = Context {
            config: share.config,
            connections: share.connections,
            expects_bans: share.expects_bans,
            start: begin,
            stop: share.stop,
            recorder: share.recorder,
            shared: share.shared,
        };
        let mut tasks = JoinSet::new();
        for ((number, cursor), client) in share.cursors.into_iter().zip(clients) {
            tasks.spawn(connection::run(context.clone(), number, cursor, client));
        }
        while let Some(ended) = tasks.join_next().await {
            if ended.is_err() {
                let message = "a connection's task ended unexpectedly; this is a defect of tx-gen".to_owned();
                context.shared.fail(FailureKind::Connection, message);
            }
        }
        let spent = cpu_ns().zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
        let _ = words.send(Word::Done(spent));
    });
}

/// Connects all connections of a thread, side by side; the clients come in the order of the connections.
async fn connect_all(share: &Share) -> Result<Vec<TxClient>, ClientError> {
    let mut tasks = JoinSet::new();
    for (number, _) in &share.cursors {
        let (config, number) = (share.config.clone(), *number);
        tasks.spawn(async move { (number, connection::connect(&config, number).await) });
    }
    let mut clients = Vec::with_capacity(share.cursors.len());
    while let Some(connected) = tasks.join_next().await {
        if let Ok((number, client)) = connected {
            clients.push((number, client?));
        }
    }
    clients.sort_unstable_by_key(|(number, _)| *number);
    Ok(clients.into_iter().map(|(_, client)| client).collect())
}

/// Processor time of the calling thread in nanoseconds, where the system tells.
fn cpu_ns() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// A flood under way.
struct Watch<'a> {
    load: &'a Load,
    config: &'a FloodConfig,
    shared: &'a Shared,
    recorders: &'a [Arc<Mutex<Recorder>>],
    begin: Instant,
}

impl Watch<'_> {
    /// Watches until all threads are done; returns the processor time that they took, where the system tells.
    fn until_done(
        &self,
        heard: &Receiver<Word>,
        stop: &watch::Sender<bool>,
        threads: usize,
        on_tick: &mut dyn FnMut(&Tick),
    ) -> Option<u64> {
        let (mut done, mut cpu_ns) = (0, Some(0));
        let mut before: Vec<(Duration, Counts)> = Vec::with_capacity(RATE_TICKS);
        while done < threads {
            match heard.recv_timeout(TICK) {
                Ok(Word::Done(spent)) => {
                    done += 1;
                    cpu_ns = cpu_ns.zip(spent).map(|(sum, spent)| sum + spent);
                }
                Ok(Word::Ready) => {}
                Ok(Word::Failed(error)) => self.shared.fail(FailureKind::Connection, error.to_string()),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let tick = self.tick(&before);
                    if before.len() == RATE_TICKS {
                        before.remove(0);
                    }
                    before.push((tick.elapsed, tick.totals));
                    on_tick(&tick);
                    self.judge(&tick);
                }
            }
            if self.config.stop.is_stopped() || self.shared.failure.lock().is_some() {
                stop.send_replace(true);
            }
        }
        cpu_ns
    }

    fn tick(&self, before: &[(Duration, Counts)]) -> Tick {
        let elapsed = self.begin.elapsed();
        let mut totals = Counts::default();
        let last_whole = (elapsed.as_secs() as usize).checked_sub(1);
        let mut latency = None;
        for recorder in self.recorders {
            let recorder = recorder.lock();
            totals.add(&recorder.totals);
            let Some(second) = last_whole.and_then(|index| recorder.seconds.get(index)) else { continue };
            let histogram =
                if second.latency_applied.is_empty() { &second.latency_final } else { &second.latency_applied };
            match &mut latency {
                None => latency = Some(histogram.clone()),
                // All have the same bounds, so nothing is out of range.
                Some(sum) => drop(sum.add(histogram)),
            }
        }
        let (since, then) = before.first().copied().unwrap_or_default();
        let seconds = elapsed.saturating_sub(since).as_secs_f64().max(1e-3);
        Tick {
            elapsed,
            is_warm_up: elapsed < self.config.warm_up,
            totals,
            in_flight: self.shared.in_flight.load(Ordering::Relaxed),
            sent_tps: (totals.sent - then.sent) as f64 / seconds,
            applied_tps: (totals.applied - then.applied) as f64 / seconds,
            latency_p99_ms: latency.map_or(0.0, |latency| latency.value_at_quantile(0.99) as f64 / 1_000.0),
        }
    }

    /// Ends what has no hope.
    fn judge(&self, tick: &Tick) {
        let totals = &tick.totals;
        let is_accepted = totals.accepted + totals.finalized + totals.applied + totals.failed + totals.skipped > 0;
        let hopeless = REJECTED_MIN.min(self.load.count());
        if !is_accepted && totals.rejected >= hopeless && self.load.plan.shares.acceptable() > 0.05 {
            self.shared.fail(FailureKind::AllRejected, self.all_rejected(totals.rejected));
        }
        let last_ns = self.recorders.iter().map(|recorder| {
            let recorder = recorder.lock();
            recorder.last_answer_ns.max(recorder.last_sent_ns)
        });
        let quiet = tick.elapsed.saturating_sub(Duration::from_nanos(last_ns.max().unwrap_or(0)));
        if tick.in_flight > 0 && !self.config.without_answers && quiet > self.config.patience {
            let message = format!(
                "the node at {} has neither taken nor answered anything for {} s while {} transactions are in flight; see its log, \
                 and whether its disk or its orderer stands still",
                self.config.names(),
                quiet.as_secs(),
                tick.in_flight
            );
            self.shared.fail(FailureKind::Silent, message);
        }
    }

    fn all_rejected(&self, rejected: u64) -> String {
        let mut codes = [0u64; 256];
        for recorder in self.recorders {
            codes.iter_mut().zip(recorder.lock().codes).for_each(|(count, more)| *count += more);
        }
        let most = (0u8..=255).max_by_key(|&number| codes[usize::from(number)]).unwrap_or(0);
        let name = Code::from_u8(most).map_or_else(|| format!("code {most}"), |code| code.name().to_owned());
        let remedy = crate::report::remedy(most).unwrap_or("see docs/protocol.md for the code");
        format!("all of the first {rejected} transactions were rejected, most as {name}: {remedy}")
    }
}
