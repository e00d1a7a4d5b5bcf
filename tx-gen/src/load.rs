//! A signed load: frames ready to send, in buffers that the sender only cuts.
//!
//! Layout: per connection a list of chunks, each one contiguous buffer of whole frames as they go over the wire
//! (`u32 length ++ transactions`, see [`tana_net::frame`]). Every frame of a load but the last of a connection holds the same number
//! of transactions, so the place of a transaction in its stream tells its frame. A transfer takes 180 bytes and its share of four.
//!
//! Signing runs on all cores and is still the same for the same seed:
//!
//! 1. the keys of all accounts are made ([`crate::accounts`]);
//! 2. a worker takes the next chunk's place, one connection after the other, and draws its transactions from the
//!    connection's schedule; this is short and happens under a lock, in order;
//! 3. outside the lock it lays them out, signs them ([`crate::signer`]) and spoils what shall be bad;
//! 4. chunks are put in their places when all is done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::Mutex;
use tana_types::Hash;
use tana_types::codec::DecodeError;
use tana_types::genesis::Genesis;
use thiserror::Error;

use crate::accounts::{bulk_keys, thread_count};
use crate::chunk::{ChunkMaker, transactions_of_chunk};
use crate::plan::{LoadPlan, PlanError};
use crate::schedule::{Planned, Schedule};
use crate::zipf::Sampler;

/// How often progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);

/// Why a load could not be signed.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The plan is out of range.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A transaction could not be built.
    #[error("a transaction of the load breaks a rule: {0}")]
    Payload(#[from] DecodeError),
}

/// What signing is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Making the accounts' keys.
    Keys,
    /// Signing transactions.
    Signing,
}

/// How far signing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being made.
    pub stage: Stage,
    /// How many of them there are already.
    pub done: u64,
    /// How many there will be.
    pub total: u64,
}

/// What one connection sends.
#[derive(Debug, Clone, Default)]
pub struct ConnectionLoad {
    /// Whole frames back to back, in order.
    pub chunks: Vec<Bytes>,
    /// Transactions in them.
    pub count: u64,
}

/// A signed load.
#[derive(Debug, Clone)]
pub struct Load {
    /// The chain that it is for.
    pub genesis_hash: Hash,
    /// What it was made from; the timestamp is that of the first transaction.
    pub plan: LoadPlan,
    /// Transactions of each frame but the last of a connection.
    pub frame_transactions: u32,
    /// What each connection sends.
    pub connections: Vec<ConnectionLoad>,
}

impl Load {
    /// Transactions in all.
    pub fn count(&self) -> u64 {
        self.connections.iter().map(|connection| connection.count).sum()
    }

    /// Bytes in all, as they go over the wire.
    pub fn bytes(&self) -> u64 {
        self.connections.iter().flat_map(|connection| &connection.chunks).map(|chunk| chunk.len() as u64).sum()
    }

    /// The timestamps of the first and of the last transaction, milliseconds since 1970.
    pub fn timestamps_ms(&self) -> (u64, u64) {
        let first = self.plan.timestamp_ms.unwrap_or(0);
        (first, first + offset_ms(&self.plan, self.plan.count.saturating_sub(1)))
    }
}

/// Milliseconds from the first transaction's planned moment to that of transaction `index`; 0 without a rate.
pub fn offset_ms(plan: &LoadPlan, index: u64) -> u64 {
    plan.rate.map_or(0, |rate| (u128::from(index) * 1_000 / u128::from(rate.max(1))) as u64)
}

/// Milliseconds since 1970 by this machine's clock.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Signs the load of `plan` on all cores; `progress` hears of it a few times a second, on the calling thread.
///
/// # Errors
/// [`LoadError`] when the plan does not fit the genesis; nothing is signed then.
pub fn sign_load(genesis: &Genesis, plan: &LoadPlan, progress: &mut dyn FnMut(Progress)) -> Result<Load, LoadError> {
    plan.check(genesis)?;
    let bulk = genesis.bulk.as_ref().ok_or(PlanError::NoBulk)?;
    let keys = watched(Stage::Keys, u64::from(plan.accounts), progress, |done| {
        bulk_keys(&bulk.seed, plan.first_account, plan.accounts, done)
    });
    let plan = LoadPlan { timestamp_ms: Some(plan.timestamp_ms.unwrap_or_else(now_ms)), ..plan.clone() };
    let chain = genesis.to_chain();
    let maker = ChunkMaker::new(&chain, &plan, &keys, bulk.currency)?;
    let connections = watched(Stage::Signing, plan.count, progress, |done| sign_all(&plan, &maker, done))?;
    Ok(Load { genesis_hash: *chain.genesis_hash(), frame_transactions: plan.frame_transactions(), plan, connections })
}

/// The places of chunks that are yet to be made.
struct Feed<'a> {
    schedules: Vec<Schedule<'a>>,
    left: Vec<u64>,
    chunks: Vec<u32>,
    turn: usize,
}

impl Feed<'_> {
    /// The next chunk: its connection, its number, the index of its first transaction there, and its transactions.
    fn next(&mut self, plan: &LoadPlan) -> Option<(usize, u32, u64, Vec<Planned>)> {
        let connections = self.left.len();
        let turn = (0..connections).map(|step| (self.turn + step) % connections).find(|&turn| self.left[turn] > 0)?;
        self.turn = turn + 1;
        let count = self.left[turn].min(transactions_of_chunk(plan.frame_transactions()));
        let first = plan.connection_count(turn as u32) - self.left[turn];
        let chunk = self.chunks[turn];
        self.left[turn] -= count;
        self.chunks[turn] += 1;
        let schedule = &mut self.schedules[turn];
        Some((turn, chunk, first, (0..count).map(|_| schedule.draw()).collect()))
    }
}

fn sign_all(plan: &LoadPlan, maker: &ChunkMaker<'_>, done: &AtomicU64) -> Result<Vec<ConnectionLoad>, LoadError> {
    let sampler = Sampler::new(plan.accounts, plan.skew);
    let feed = Mutex::new(Feed {
        schedules: (0..plan.connections).map(|connection| Schedule::new(plan, connection, &sampler)).collect(),
        left: (0..plan.connections).map(|connection| plan.connection_count(connection)).collect(),
        chunks: vec![0; plan.connections as usize],
        turn: 0,
    });
    let made: Mutex<Vec<(usize, u32, Bytes)>> = Mutex::new(Vec::new());
    let failure: Mutex<Option<LoadError>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..thread_count() {
            scope.spawn(|| {
                loop {
                    // The lock is given back before the chunk is made.
                    let Some((connection, chunk, first, planned)) = feed.lock().next(plan) else { break };
                    match maker.make(connection as u32, chunk, first, &planned) {
                        Ok(bytes) => made.lock().push((connection, chunk, bytes)),
                        Err(error) => {
                            *failure.lock() = Some(error.into());
                            break;
                        }
                    }
                    done.fetch_add(planned.len() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    if let Some(error) = failure.into_inner() {
        return Err(error);
    }
    let mut made = made.into_inner();
    made.sort_unstable_by_key(|(connection, chunk, _)| (*connection, *chunk));
    let mut connections: Vec<ConnectionLoad> = (0..plan.connections)
        .map(|connection| ConnectionLoad { chunks: Vec::new(), count: plan.connection_count(connection) })
        .collect();
    for (connection, _, bytes) in made {
        connections[connection].chunks.push(bytes);
    }
    Ok(connections)
}

/// Runs `work` on another thread and reports how far its counter has come until it is done.
fn watched<T: Send>(
    stage: Stage,
    total: u64,
    progress: &mut dyn FnMut(Progress),
    work: impl FnOnce(&AtomicU64) -> T + Send,
) -> T {
    let done = AtomicU64::new(0);
    let caller = std::thread::current();
    let result = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let result = work(&done);
            caller.unpark();
            result
        });
        while !worker.is_finished() {
            progress(Progress { stage, done: done.load(Ordering::Relaxed), total });
            std::thread::park_timeout(PROGRESS_INTERVAL);
        }
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    progress(Progress { stage, done: done.load(Ordering::Relaxed), total });
    result
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
