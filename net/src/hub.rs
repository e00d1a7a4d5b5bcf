//! The way of answers from any thread to the stream that wants them.
//!
//! The stages behind the intake learn what became of transactions on their own threads, without a tokio context. They
//! call [`AnswerHub::send`], which never waits: it finds the stream's queue, pushes the event (merged into the last
//! run where possible) and wakes the stream's writer if the queue was empty. The writer takes everything that waits
//! and writes it as one frame.
//!
//! When a client does not read, its stream's flow control stops the writer, the queue fills to its bound, and further
//! events are counted as lost; the client is told how many in their place. A writer that gets nowhere for
//! [`Limits::answer_write_timeout`] gives the stream up: what waits is counted as lost and its memory is freed.
//!
//! Memory is bounded in three steps, so that clients who do not read cost themselves their answers and not others:
//!
//! 1. a stream's queue holds at most [`Limits::answer_events_per_stream_max`] events;
//! 2. while [`Limits::answer_events_max`] events wait in all, an address that holds its fair share (that bound divided
//!    by the addresses with waiting events, but no less than `FAIR_STREAMS` full streams) adds to empty queues only,
//!    one event each; addresses below their share go on;
//! 3. while [`CEILING`] times that bound wait, which takes many addresses, every stream has one event at most.
//!
//! So at most `CEILING * answer_events_max` events wait, one more for each stream, and what those senders add that
//! looked just before the bound was reached (a stream's bound for each sending thread).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use ahash::AHashMap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::answer::{AnswerEvent, AnswerQueue, Pushed, sequences};
use crate::intake::StreamId;
use crate::limits::Limits;
use crate::score::SourceScore;

/// Parts of the map of streams, so that threads seldom meet at one lock.
const PARTS: usize = 16;

/// Full streams that every address may have, however many addresses share the bound.
const FAIR_STREAMS: usize = 8;

/// Times the bound of all streams that waits at most, fair shares included.
const CEILING: usize = 4;

/// The queue of one stream and its writer's bell.
#[derive(Debug)]
pub(crate) struct StreamAnswers {
    /// `None` once the stream is gone, so that a late sender leaves nothing behind.
    queue: Mutex<Option<AnswerQueue>>,
    /// Rung when the queue was empty or the stream is to be finished. One writer listens; a ring is kept for it.
    pub(crate) bell: Notify,
    finishing: AtomicBool,
    /// Whose stream it is, with the count of the address's events that wait.
    source: Arc<SourceScore>,
}

#[derive(Debug)]
struct Shared {
    parts: [RwLock<AHashMap<u32, Arc<StreamAnswers>>>; PARTS],
    next: AtomicU32,
    queued: AtomicUsize,
    /// Addresses with events that wait.
    addresses: AtomicUsize,
    sent: AtomicU64,
    lost: AtomicU64,
    unwanted: AtomicU64,
    per_stream_max: usize,
    in_all_max: usize,
}

/// A handle to all submit streams of a server; cheap to clone, usable from any thread.
#[derive(Debug, Clone)]
pub struct AnswerHub {
    shared: Arc<Shared>,
}

impl AnswerHub {
    /// A hub without streams, bounded as `limits` says.
    pub fn new(limits: &Limits) -> Self {
        AnswerHub {
            shared: Arc::new(Shared {
                parts: std::array::from_fn(|_| RwLock::new(AHashMap::new())),
                next: AtomicU32::new(0),
                queued: AtomicUsize::new(0),
                addresses: AtomicUsize::new(0),
                sent: AtomicU64::new(0),
                lost: AtomicU64::new(0),
                unwanted: AtomicU64::new(0),
                per_stream_max: limits.answer_events_per_stream_max.max(2),
                in_all_max: limits.answer_events_max,
            }),
        }
    }

    /// Sends `event` to `stream`. Never blocks; an event for a stream that is gone, or wants none, is dropped.
    pub fn send(&self, stream: StreamId, event: AnswerEvent) {
        self.send_all(stream, &[event]);
    }

    /// Sends `events`, in order, to `stream`: one look-up and one lock for all of them.
    pub fn send_all(&self, stream: StreamId, events: &[AnswerEvent]) {
        if !stream.wants_answers() || events.is_empty() {
            return;
        }
        let answers = self.part(stream).read().get(&stream.0).cloned();
        if answers.is_none_or(|answers| !self.push(&answers, events)) {
            let count = events.iter().map(|event| u64::from(event.count)).sum();
            self.shared.unwanted.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Pushes `events` to the queue; `false` when its stream is gone.
    fn push(&self, answers: &StreamAnswers, events: &[AnswerEvent]) -> bool {
        let (mut added, mut lost) = (0, 0);
        let events_max = if self.is_crowded(&answers.source) { 1 } else { self.shared.per_stream_max };
        let mut guard = answers.queue.lock();
        let Some(queue) = guard.as_mut() else { return false };
        let was_empty = queue.is_empty();
        for event in events {
            match queue.push(*event, events_max) {
                Pushed::Merged => {}
                Pushed::Added(count) => added += count,
                Pushed::Lost => lost += u64::from(event.count),
            }
        }
        // Before the lock is released: nobody can take events away that are not counted yet.
        self.count_added(&answers.source, added);
        drop(guard);
        self.count_lost(lost);
        if was_empty {
            answers.bell.notify_one();
        }
        true
    }

    /// Whether the streams of `source` may have no more than one event now.
    fn is_crowded(&self, source: &SourceScore) -> bool {
        let shared = &self.shared;
        let queued = shared.queued.load(Ordering::Relaxed);
        if queued < shared.in_all_max {
            return false;
        }
        let fair_share = (shared.in_all_max / shared.addresses.load(Ordering::Relaxed).max(1))
            .max(shared.per_stream_max.saturating_mul(FAIR_STREAMS));
        queued >= shared.in_all_max.saturating_mul(CEILING)
            || source.answers_queued.load(Ordering::Relaxed) >= fair_share
    }

    fn count_added(&self, source: &SourceScore, count: usize) {
        if count == 0 {
            return;
        }
        self.shared.queued.fetch_add(count, Ordering::Relaxed);
        if source.answers_queued.fetch_add(count, Ordering::Relaxed) == 0 {
            self.shared.addresses.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count_removed(&self, source: &SourceScore, count: usize) {
        if count == 0 {
            return;
        }
        self.shared.queued.fetch_sub(count, Ordering::Relaxed);
        if source.answers_queued.fetch_sub(count, Ordering::Relaxed) == count {
            self.shared.addresses.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn count_lost(&self, count: u64) {
        if count > 0 {
            self.shared.lost.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Says that `stream` gets no more answers: what waits is written, then the stream is finished.
    pub fn finish(&self, stream: StreamId) {
        if let Some(answers) = self.part(stream).read().get(&stream.0) {
            answers.finish();
        }
    }

    /// Reports `count` bad signatures of an address.
    pub fn report_bad(&self, score: &SourceScore, count: u64) {
        score.report(0, count);
    }

    /// Reports `count` good transactions of an address.
    pub fn report_good(&self, score: &SourceScore, count: u64) {
        score.report(count, 0);
    }

    /// Events that wait to be written, in all.
    pub fn queued(&self) -> usize {
        self.shared.queued.load(Ordering::Relaxed)
    }

    /// Sequences whose answers were lost because nobody read them.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Sequences whose answers came after their stream was gone.
    pub fn unwanted(&self) -> u64 {
        self.shared.unwanted.load(Ordering::Relaxed)
    }

    /// Events that were written to streams.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Opens a queue for a stream of `source` under a new id. Ids come round after 4 billion streams; those in use are passed over.
    pub(crate) fn register(&self, source: Arc<SourceScore>) -> (StreamId, Arc<StreamAnswers>) {
        let answers = Arc::new(StreamAnswers {
            queue: Mutex::new(Some(AnswerQueue::default())),
            bell: Notify::new(),
            finishing: AtomicBool::new(false),
            source,
        });
        loop {
            let stream = StreamId(self.shared.next.fetch_add(1, Ordering::Relaxed));
            if !stream.wants_answers() {
                continue;
            }
            let mut part = self.part(stream).write();
            if let std::collections::hash_map::Entry::Vacant(vacant) = part.entry(stream.0) {
                vacant.insert(answers.clone());
                return (stream, answers);
            }
        }
    }

    /// Closes the queue of `stream`; what waits there is dropped.
    pub(crate) fn unregister(&self, stream: StreamId) {
        let Some(answers) = self.part(stream).write().remove(&stream.0) else { return };
        self.close(&answers);
    }

    /// Gives up a stream whose client does not read: `unwritten` and what waits are counted as lost, later answers as
    /// unwanted.
    pub(crate) fn give_up(&self, answers: &StreamAnswers, unwritten: &[AnswerEvent]) {
        let waiting = self.close(answers);
        self.count_lost(waiting + sequences(unwritten.iter()));
    }

    /// Frees the queue of `answers`; returns the sequences whose answers waited there.
    fn close(&self, answers: &StreamAnswers) -> u64 {
        let Some(queue) = answers.queue.lock().take() else { return 0 };
        self.count_removed(&answers.source, queue.len());
        queue.sequences()
    }

    /// Takes up to `count_max` events that wait on `answers`.
    pub(crate) fn take(&self, answers: &StreamAnswers, count_max: usize, out: &mut Vec<AnswerEvent>) {
        let mut guard = answers.queue.lock();
        let Some(queue) = guard.as_mut() else { return };
        let before = out.len();
        let taken = queue.drain(count_max, out);
        self.count_removed(&answers.source, taken);
        self.shared.sent.fetch_add((out.len() - before) as u64, Ordering::Relaxed);
    }

    /// Finishes all streams, as [`Self::finish`] does for one.
    pub(crate) fn finish_all(&self) {
        for part in &self.shared.parts {
            part.read().values().for_each(|answers| answers.finish());
        }
    }

    fn part(&self, stream: StreamId) -> &RwLock<AHashMap<u32, Arc<StreamAnswers>>> {
        &self.shared.parts[stream.0 as usize % PARTS]
    }
}

impl StreamAnswers {
    fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// Whether no more answers come.
    pub(crate) fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Acquire)
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
