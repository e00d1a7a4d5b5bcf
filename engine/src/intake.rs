//! The intake: what stands behind the network's server. It turns frames into batches and hands them to the verifiers.
//!
//! It runs on the network's threads, one shard each, so its locks are never contended but by the flush. Time spent in it is counted
//! as the ingest stage's work.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::AHashMap;
use parking_lot::Mutex;
use tana_ingest::{Admission, BatchLimits, BatchPort, Batcher, ConfigError, FrameOrigin, Moment, Rejection};
use tana_net::{AnswerHub, Intake, Offer, QueryFuture, Source, StreamId};
use tana_types::batch::{Batch, Origin};
use tokio::sync::Notify;

use crate::answers::Answers;
use crate::channel::Outlet;
use crate::clock::{Clock, wall_ms};
use crate::pool::Pool;
use crate::published::Published;
use crate::query::QueryService;
use crate::sources::Sources;
use crate::stage::StageCounters;

/// See the module's text.
pub struct NodeIntake {
    admission: Arc<Admission>,
    shards: Vec<Mutex<Shard>>,
    port: Port,
    sources: Arc<Sources>,
    published: Arc<Published>,
    hub: OnceLock<AnswerHub>,
    queries: OnceLock<Arc<QueryService>>,
    clock: Clock,
    counters: Arc<StageCounters>,
    room: Arc<Notify>,
}

/// What an intake is made of.
pub struct IntakeParts {
    /// The judge.
    pub admission: Arc<Admission>,
    /// Where empty batches come from.
    pub pool: Arc<Pool>,
    /// Where full ones go.
    pub verify: Outlet<Batch>,
    /// Who sent what.
    pub sources: Arc<Sources>,
    /// The chain's time.
    pub published: Arc<Published>,
}

struct Shard {
    batcher: Batcher,
    rejected: Vec<Rejection>,
    /// The next sequence of each submit stream.
    sequences: AHashMap<u32, u64>,
}

#[derive(Clone)]
struct Port {
    pool: Arc<Pool>,
    verify: Outlet<Batch>,
    next_number: Arc<AtomicU64>,
}

impl BatchPort for Port {
    fn take(&mut self) -> Option<Batch> {
        self.pool.take()
    }

    fn send(&mut self, mut batch: Batch) {
        batch.number = self.next_number.fetch_add(1, Ordering::Relaxed);
        self.verify.send(batch);
    }
}

impl NodeIntake {
    /// An intake of `shards` shards.
    pub fn new(parts: IntakeParts, limits: BatchLimits, shards: usize, clock: Clock) -> Result<Self, ConfigError> {
        let shard = || -> Result<_, ConfigError> {
            let batcher = Batcher::new(limits)?;
            Ok(Mutex::new(Shard { batcher, rejected: Vec::new(), sequences: AHashMap::new() }))
        };
        Ok(Self {
            admission: parts.admission,
            shards: (0..shards).map(|_| shard()).collect::<Result<_, _>>()?,
            room: parts.pool.room.clone(),
            port: Port { pool: parts.pool, verify: parts.verify, next_number: Arc::default() },
            sources: parts.sources,
            published: parts.published,
            hub: OnceLock::new(),
            queries: OnceLock::new(),
            clock,
            counters: Arc::default(),
        })
    }

    /// Opens the intake: from now on frames are taken and answered through `hub`.
    pub fn open(&self, hub: AnswerHub, queries: Arc<QueryService>) {
        let _ = self.queries.set(queries);
        let _ = self.hub.set(hub);
        self.room.notify_waiters();
    }

    /// Opens an intake that answers no queries, as the benchmark of ingest alone needs it.
    pub fn open_without_queries(&self, hub: AnswerHub) {
        let _ = self.hub.set(hub);
        self.room.notify_waiters();
    }

    /// The ingest stage's counters.
    pub fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }

    /// The earliest timestamp that the next block can have: a clock that was set back does not take the chain's time along.
    fn block_time_ms(&self) -> u64 {
        wall_ms().max(self.published.last_timestamp_ms.load(Ordering::Relaxed))
    }

    /// Batches that were handed to the verifiers so far.
    pub fn batches_sent(&self) -> u64 {
        self.port.next_number.load(Ordering::Acquire)
    }

    /// The judge.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Sends on open batches whose first transaction arrived at `arrived_until_ns` or earlier.
    pub fn flush(&self, arrived_until_ns: u64) {
        for shard in &self.shards {
            // A shard at work flushes by filling up; it is looked at again in a moment.
            if let Some(mut shard) = shard.try_lock() {
                shard.batcher.flush(&self.admission, arrived_until_ns, &mut self.port.clone());
            }
        }
    }

    /// Sends on every open batch, when the node stops.
    pub fn flush_all(&self) {
        for shard in &self.shards {
            shard.lock().batcher.flush(&self.admission, u64::MAX, &mut self.port.clone());
        }
    }

    fn offer_to(&self, shard: &mut Shard, source: &Source, stream: StreamId, frame: &[u8], hub: &AnswerHub) -> Offer {
        let number = self.sources.number(source);
        let first_sequence = if stream.wants_answers() { *shard.sequences.entry(stream.0).or_default() } else { 0 };
        let origin =
            FrameOrigin { stream: stream.0, source: number, first_sequence, suspect: source.score.is_suspect() };
        let now = Moment { engine_ns: self.clock.now_ns(), wall_ms: self.block_time_ms() };
        let mut port = self.port.clone();
        let offered = shard.batcher.offer(&self.admission, &origin, frame, now, &mut port, &mut shard.rejected);
        if stream.wants_answers() {
            shard.sequences.insert(stream.0, first_sequence + offered.transactions);
        }
        self.counters.transactions.fetch_add(offered.transactions, Ordering::Relaxed);
        let broken_code = offered.broken.then(|| shard.rejected.last().map_or(0, |last| last.code as u8));
        if !shard.rejected.is_empty() {
            let origin =
                |rejection: &Rejection| Origin { stream: stream.0, source: number, sequence: rejection.sequence };
            let rejections = shard.rejected.iter().map(|rejection| (origin(rejection), rejection.code));
            Answers::new(hub.clone()).rejected(rejections);
            shard.rejected.clear();
        }
        match broken_code {
            Some(code) => Offer::Malformed { code },
            None if offered.full => Offer::Full { consumed: offered.consumed },
            None => Offer::Taken,
        }
    }
}

impl Intake for NodeIntake {
    fn offer(&self, source: &Source, stream: StreamId, frame: &[u8]) -> Offer {
        let Some(hub) = self.hub.get() else { return Offer::Full { consumed: 0 } };
        let start_ns = self.clock.now_ns();
        let mut shard = self.shards[source.shard % self.shards.len()].lock();
        let offer = self.offer_to(&mut shard, source, stream, frame, hub);
        let spent = self.clock.now_ns() - start_ns;
        let regime =
            if matches!(offer, Offer::Full { .. }) { &self.counters.waiting_output_ns } else { &self.counters.busy_ns };
        regime.fetch_add(spent, Ordering::Relaxed);
        offer
    }

    fn room(&self) -> &Notify {
        &self.room
    }

    fn query(&self, request: Vec<u8>) -> QueryFuture {
        match self.queries.get() {
            Some(queries) => queries.clone().answer(request),
            None => Box::pin(async { br#"{"error":"the node is starting; ask again in a moment"}"#.to_vec() }),
        }
    }

    fn closed(&self, stream: StreamId) {
        for shard in &self.shards {
            shard.lock().sequences.remove(&stream.0);
        }
    }
}
