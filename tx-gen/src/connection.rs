//! One connection of a flood: sends its frames, hears the answers, and connects again a bounded number of times.
//!
//! Sending and hearing are two tasks on one thread that share the stream's [`Flow`]:
//!
//! 1. the sender waits for the next frame's moment (open loop) or for room (closed loop), cuts as many frames as are due off the load
//!    in one piece, notes their moments and hands them to QUIC, which may hold it back;
//! 2. the hearer takes whatever answers have come, records them in one go and makes room.
//!
//! When sending is over, the stream is finished and answers are awaited until all have come or none has for a while. A frame that
//! was cut off by the end is never finished: the node would take it for a malformed one.
//!
//! A connection that is lost goes on, on a new one, with the first frame that the node has not answered at all.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tana_net::{AnswerReceiver, ClientError, CloseCode, FloodStream, SubmitSender, TxClient};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::config::{FloodConfig, Pace, nanoseconds};
use crate::cursor::{Cursor, Frames};
use crate::recorder::{Recorder, StreamTimes};
use crate::report::{Failure, FailureKind};

/// The most frames handed to QUIC at once: 92 KB, about one window's worth.
const FRAMES_PER_WRITE_MAX: u64 = 8;
/// The first pause before connecting again; each further one is twice as long, up to the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How long answers are awaited after a person stopped the flood.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
/// How long a close may take to reach the node.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// What all connections of a flood share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Transactions sent whose last answer has not come.
    pub in_flight: AtomicU64,
    /// Connections made anew.
    pub reconnects: AtomicU64,
    /// The first thing that went wrong for good.
    pub failure: Mutex<Option<Failure>>,
}

impl Shared {
    /// Notes a failure unless there is one already.
    pub(crate) fn fail(&self, kind: FailureKind, message: String) {
        self.failure.lock().get_or_insert(Failure { kind, message });
    }
}

/// What a connection needs to know of its flood.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub config: FloodConfig,
    pub connections: u32,
    /// The broken signatures of this load are meant to get it closed.
    pub expects_bans: bool,
    pub start: Instant,
    pub stop: watch::Receiver<bool>,
    pub recorder: Arc<Mutex<Recorder>>,
    pub shared: Arc<Shared>,
}

impl Context {
    fn now_ns(&self) -> u64 {
        nanoseconds(Instant::now().saturating_duration_since(self.start))
    }

    /// Resolves when sending shall end: at the deadline or when the flood is stopped.
    async fn halted(&self) {
        let mut stop = self.stop.clone();
        // An error means that the flood is gone, which ends sending too.
        let stopped = async { drop(stop.wait_for(|stopped| *stopped).await) };
        match self.config.duration {
            Some(duration) => tokio::select! {
                () = stopped => {}
                () = sleep_until(self.start + self.config.warm_up + duration) => {}
            },
            None => stopped.await,
        }
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    fn is_halted(&self) -> bool {
        self.is_stopped() || self.now_ns() >= self.config.deadline_ns()
    }

    fn is_retryable(&self, error: &ClientError) -> bool {
        let is_ban = matches!(error, ClientError::Closed { code: CloseCode::BadSignatures, .. });
        error.is_temporary() || (is_ban && self.expects_bans)
    }
}

/// One stream, as its sender and its hearer see it.
#[derive(Debug, Default)]
struct Flow {
    in_flight: AtomicU64,
    /// Transactions that were accepted or rejected.
    answered: AtomicU64,
    is_closed: AtomicBool,
    room: Notify,
    times: Mutex<StreamTimes>,
}

enum Outlet {
    Flood(FloodStream),
    Submit(SubmitSender),
}

impl Outlet {
    async fn send(&mut self, frames: &Frames) -> Result<(), ClientError> {
        let mut bytes = [frames.bytes.clone()];
        match self {
            Outlet::Flood(stream) => stream.send_frames(&mut bytes).await,
            Outlet::Submit(stream) => stream.send_frames(&mut bytes).await,
        }
    }

    async fn finish(self) -> Result<(), ClientError> {
        match self {
            Outlet::Flood(stream) => stream.finish().await,
            Outlet::Submit(stream) => stream.finish().await,
        }
    }

    fn reset(self) {
        match self {
            Outlet::Flood(stream) => stream.reset(),
            Outlet::Submit(stream) => stream.reset(),
        }
    }
}

/// How sending ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// With a whole frame.
    Whole,
    /// Within one.
    Cut,
}

/// Connects connection `number` to its node.
pub(crate) async fn connect(config: &FloodConfig, number: u32) -> Result<TxClient, ClientError> {
    let target = config.target(number);
    TxClient::connect(target.address, target.pin, config.bind).await
}

/// Sends what `cursor` has left, as connection `number`, until it is used up, halted or failed for good.
pub(crate) async fn run(context: Context, number: u32, mut cursor: Cursor, mut client: TxClient) {
    let mut attempts = 0;
    loop {
        // Pauses grow while connecting fails, and begin anew after each connection that stood.
        let mut pause = BACKOFF_MIN;
        let mut error = match session(&context, number, &mut cursor, client).await {
            Ok(()) => return,
            Err(error) => error,
        };
        client = loop {
            let is_over = context.is_halted();
            if context.is_stopped() || (is_over && context.expects_bans) {
                return;
            }
            if is_over || attempts >= context.config.reconnects || !context.is_retryable(&error) {
                let again = match attempts {
                    0 => String::new(),
                    count => format!(" (after connecting {count} more times, see --reconnects)"),
                };
                return context.shared.fail(FailureKind::Connection, format!("{error}{again}"));
            }
            attempts += 1;
            context.shared.reconnects.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                () = sleep(pause) => {}
                () = context.halted() => continue,
            }
            pause = (pause * 2).min(BACKOFF_MAX);
            match connect(&context.config, number).await {
                Ok(client) => break client,
                Err(next) => error = next,
            }
        };
    }
}

/// Sends on one connection until sending is over and answers have come.
async fn session(context: &Context, number: u32, cursor: &mut Cursor, client: TxClient) -> Result<(), ClientError> {
    let flow = Arc::new(Flow::default());
    flow.times.lock().frame_transactions = cursor.index_of(1);
    let base = cursor.frame();
    let (mut outlet, hearing) = if context.config.without_answers {
        (Outlet::Flood(client.open_flood().await?), None)
    } else {
        let (sender, receiver) = client.open_submit().await?;
        (Outlet::Submit(sender), Some(tokio::spawn(hear(context.clone(), flow.clone(), receiver))))
    };
    let sent = send_all(context, number, cursor, &mut outlet, &flow).await;
    let result = match (sent, hearing) {
        (Ok(sent), Some(hearing)) => {
            let drained = drain(context, number, &flow, outlet, sent == Sent::Cut).await;
            hearing.abort();
            drained
        }
        (Ok(Sent::Whole), None) => timeout(context.config.drain, outlet.finish()).await.unwrap_or_else(|_| {
            let detail = format!("the node has not taken the end of the stream within {:?}", context.config.drain);
            Err(ClientError::Transport { address: context.config.target(number).address, detail })
        }),
        (Ok(Sent::Cut), None) => {
            outlet.reset();
            Ok(())
        }
        (Err(error), hearing) => {
            // Answers that are on their way tell where to go on.
            if let Some(mut hearing) = hearing
                && timeout(CLOSE_PATIENCE, &mut hearing).await.is_err()
            {
                hearing.abort();
            }
            Err(error)
        }
    };
    // Why the connection ended says more than that a stream of it did.
    let result = result.map_err(|error| client.close_reason().unwrap_or(error));
    context.shared.in_flight.fetch_sub(flow.in_flight.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    if result.is_err() && !context.config.without_answers {
        let answered = flow.answered.load(Ordering::Relaxed);
        cursor.seek((base + answered / cursor.index_of(1)).min(cursor.frame()));
    }
    // A close that the node does not hear of costs it one idle timeout.
    let _ = timeout(CLOSE_PATIENCE, client.close()).await;
    result
}

async fn send_all(
    context: &Context,
    number: u32,
    cursor: &mut Cursor,
    outlet: &mut Outlet,
    flow: &Flow,
) -> Result<Sent, ClientError> {
    let mut halted = pin!(context.halted());
    while !cursor.is_at_end() {
        let Some(frames_max) = turn(context, number, cursor, flow, halted.as_mut()).await? else {
            return Ok(Sent::Whole);
        };
        let before = cursor.frame();
        let now_ns = context.now_ns();
        let Some(frames) = cursor.next(frames_max) else { break };
        {
            let mut times = flow.times.lock();
            for frame in before..cursor.frame() {
                times.moments_ns.push(match context.config.pace {
                    Pace::Open { rate } => planned_ns(context, rate, number, cursor.index_of(frame)),
                    Pace::Closed { .. } => now_ns,
                });
            }
        }
        flow.in_flight.fetch_add(frames.transactions, Ordering::Relaxed);
        context.shared.in_flight.fetch_add(frames.transactions, Ordering::Relaxed);
        tokio::select! {
            biased;
            sent = outlet.send(&frames) => sent?,
            () = halted.as_mut() => {
                give_back(context, flow, frames.transactions);
                return Ok(Sent::Cut);
            }
        }
        let length = frames.bytes.len() as u64;
        context.recorder.lock().on_sent(context.now_ns(), frames.transactions, length);
    }
    Ok(Sent::Whole)
}

/// Waits until something may be sent: `Some(frames)` says how much, `None` that sending is over.
async fn turn(
    context: &Context,
    number: u32,
    cursor: &Cursor,
    flow: &Flow,
    mut halted: Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<u64>, ClientError> {
    let per_frame = cursor.index_of(1);
    match context.config.pace {
        Pace::Open { rate } => {
            let due_ns = planned_ns(context, rate, number, cursor.index_of(cursor.frame()));
            if due_ns >= context.config.deadline_ns() {
                return Ok(None);
            }
            let due = context.start + Duration::from_nanos(due_ns);
            if Instant::now() < due {
                tokio::select! {
                    () = sleep_until(due) => {}
                    () = halted.as_mut() => return Ok(None),
                }
            }
            let interval_ns = per_frame * u64::from(context.connections) * 1_000_000_000 / rate;
            let late_ns = context.now_ns().saturating_sub(due_ns);
            Ok(Some((late_ns / interval_ns.max(1) + 1).min(FRAMES_PER_WRITE_MAX)))
        }
        Pace::Closed { in_flight: None } => Ok(Some(FRAMES_PER_WRITE_MAX)),
        // A uni-stream has no answers that would make room.
        Pace::Closed { .. } if context.config.without_answers => Ok(Some(FRAMES_PER_WRITE_MAX)),
        Pace::Closed { in_flight: Some(bound) } => loop {
            if flow.is_closed.load(Ordering::Relaxed) {
                return Err(ClientError::CutOff(context.config.target(number).address));
            }
            let in_flight = flow.in_flight.load(Ordering::Relaxed);
            let room = bound.saturating_sub(in_flight) / per_frame;
            // One frame is always allowed when nothing is in flight, however small the bound.
            if room > 0 || in_flight == 0 {
                return Ok(Some(room.clamp(1, FRAMES_PER_WRITE_MAX)));
            }
            tokio::select! {
                () = flow.room.notified() => {}
                () = halted.as_mut() => return Ok(None),
            }
        },
    }
}

/// The planned moment of a connection's transaction `index`, nanoseconds from the start.
fn planned_ns(context: &Context, rate: u64, number: u32, index: u64) -> u64 {
    let place = u128::from(index) * u128::from(context.connections) + u128::from(number);
    (place * 1_000_000_000 / u128::from(rate.max(1))) as u64
}

fn give_back(context: &Context, flow: &Flow, transactions: u64) {
    let in_flight = flow.in_flight.load(Ordering::Relaxed);
    let fewer = transactions.min(in_flight);
    flow.in_flight.store(in_flight - fewer, Ordering::Relaxed);
    context.shared.in_flight.fetch_sub(fewer, Ordering::Relaxed);
}

/// Hears answers until the stream ends; why it did is known to its connection.
async fn hear(context: Context, flow: Arc<Flow>, mut receiver: AnswerReceiver) {
    let mut events = Vec::new();
    loop {
        events.clear();
        if !matches!(receiver.receive(&mut events).await, Ok(1..)) {
            break;
        }
        let now_ns = context.now_ns();
        let answered = context.recorder.lock().on_answers(now_ns, &events, &flow.times.lock());
        flow.answered.fetch_add(answered.first, Ordering::Relaxed);
        if answered.last > 0 {
            give_back(&context, &flow, answered.last);
            flow.room.notify_one();
        }
    }
    flow.is_closed.store(true, Ordering::Relaxed);
    flow.room.notify_one();
}

/// Awaits the answers to what is in flight: until all have come, or none has for a while.
async fn drain(context: &Context, number: u32, flow: &Flow, outlet: Outlet, is_cut: bool) -> Result<(), ClientError> {
    let mut stop = context.stop.clone();
    let mut finishing = None;
    let mut kept = None;
    if is_cut {
        kept = Some(outlet);
    } else {
        finishing = Some(tokio::spawn(outlet.finish()));
    }
    let mut quiet_until = Instant::now() + context.config.drain;
    let mut stopped_until = None;
    let result = loop {
        if flow.in_flight.load(Ordering::Relaxed) == 0 {
            break Ok(());
        }
        if flow.is_closed.load(Ordering::Relaxed) {
            break Err(ClientError::CutOff(context.config.target(number).address));
        }
        if *stop.borrow() && stopped_until.is_none() {
            stopped_until = Some(Instant::now() + STOP_PATIENCE);
        }
        let until = stopped_until.unwrap_or(quiet_until);
        tokio::select! {
            () = flow.room.notified() => quiet_until = Instant::now() + context.config.drain,
            () = sleep_until(until) => break Ok(()),
            Ok(()) = stop.changed(), if stopped_until.is_none() => {}
        }
    };
    if let Some(outlet) = kept {
        outlet.reset();
    }
    if let Some(finishing) = finishing {
        finishing.abort();
    }
    result
}
