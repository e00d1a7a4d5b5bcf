//! Batches of other validators on their way through verification.
//!
//! 1. Agreement hands in sealed bytes whose seal it has checked. Few wait at a time ([`REMOTE_IN_FLIGHT_MAX`]); when there is no room, the
//!    stream that they came on is held back.
//! 2. A verifier loads one into a batch of the [`Buffers`], looks the senders up, which only finds their decoded keys sooner, and checks all
//!    signatures. An author answers for every signature in what it seals: one that is not valid refuses the whole batch, and is proof
//!    against the author.
//! 3. What is valid goes to the batch log like an own batch.
//!
//! Buffers are used again: a lane that runs at 20,000 transactions a second would otherwise ask the system for 5 MB each second.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use crossbeam::queue::ArrayQueue;
use tana_accounts::Directory;
use tana_lane::{BAD_BODY, Evidence};
use tana_order::SealedBatch;
use tana_types::Hash;
use tana_types::account::NO_ACCOUNT;
use tana_types::batch::{Batch, NO_SOURCE, Seal};
use tana_types::transaction::Chain;
use tana_verify::{Item, Mode, Verifier};

use super::verify::{AccountKeys, fill_ids, signed_items};
use crate::agreement::{AgreementPort, PipelineEvent, Refusal};
use crate::channel::{Inlet, Outlet};
use crate::clock::Clock;
use crate::pool::Pool;

/// Batches of others between agreement and the order stage.
pub const REMOTE_IN_FLIGHT_MAX: usize = 64;
/// Emptied buffers that are kept for the next ones.
const REMOTE_FREE_MAX: usize = 256;
/// Batches of others that a verifier takes for each own one while both wait. Others have already spent their work on theirs.
pub const REMOTE_TURNS: u32 = 3;

/// A batch as agreement hands it in.
#[derive(Debug)]
pub struct RemoteBatch {
    /// Seal and body.
    pub bytes: Bytes,
    /// Whose seal it bears.
    pub author: [u8; 32],
    /// When it came in, nanoseconds on the engine's clock.
    pub arrived_ns: u64,
}

/// Where batches go when they are done with.
pub struct Buffers {
    own: [u8; 32],
    pool: Arc<Pool>,
    remote: ArrayQueue<Batch>,
}

impl Buffers {
    /// Buffers of the validator `own`, whose own batches belong to `pool`.
    pub fn new(own: [u8; 32], pool: Arc<Pool>) -> Self {
        Self { own, pool, remote: ArrayQueue::new(REMOTE_FREE_MAX) }
    }

    /// Whether this validator sealed the batch.
    pub fn is_own(&self, batch: &Batch) -> bool {
        batch.seal_header().author == self.own
    }

    /// An empty batch for one of another validator.
    pub fn take_remote(&self) -> Batch {
        self.remote.pop().unwrap_or_default()
    }

    /// Takes the batch of another validator back.
    pub fn put_remote(&self, mut batch: Batch) {
        batch.clear();
        // Where enough are free already, the memory is given back.
        let _ = self.remote.push(batch);
    }

    /// Takes a sealed batch back.
    pub fn put(&self, batch: Batch) {
        if !self.is_own(&batch) {
            self.put_remote(batch);
        } else if batch.entries().first().is_some_and(|entry| entry.origin.source != NO_SOURCE) {
            // What a restart found in the logs never came from the pool, which must not grow by it.
            self.pool.put(batch);
        }
    }
}

/// The way in, shared by agreement and the stages.
pub struct RemoteGate {
    outlet: Outlet<RemoteBatch>,
    in_flight: AtomicUsize,
    clock: Clock,
}

impl RemoteGate {
    /// A gate in front of `outlet`, which must have room for [`REMOTE_IN_FLIGHT_MAX`].
    pub fn new(outlet: Outlet<RemoteBatch>, clock: Clock) -> Self {
        Self { outlet, in_flight: AtomicUsize::new(0), clock }
    }

    /// Takes a batch in; false when there is no room at this moment.
    pub fn offer(&self, bytes: Bytes, author: [u8; 32]) -> bool {
        let take = |count: usize| (count < REMOTE_IN_FLIGHT_MAX).then_some(count + 1);
        if self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_err() {
            return false;
        }
        let batch = RemoteBatch { bytes, author, arrived_ns: self.clock.now_ns() };
        let sent = self.outlet.try_send(batch).is_ok();
        if !sent {
            self.done();
        }
        sent
    }

    /// A batch has reached the order stage, or was refused.
    pub fn done(&self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Batches between agreement and the order stage.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }
}

/// What a verifier needs for batches of others.
#[derive(Clone)]
pub struct RemoteParts {
    /// What agreement hands in.
    pub input: Inlet<RemoteBatch>,
    /// Counts what is in flight.
    pub gate: Arc<RemoteGate>,
    /// Where buffers come from.
    pub buffers: Arc<Buffers>,
    /// Where refusals are told.
    pub port: Arc<AgreementPort>,
}

/// A batch that was refused, and the buffer that it was loaded into.
pub struct Refused {
    /// To be used again.
    pub buffer: Batch,
    /// What agreement hears.
    pub refusal: Refusal,
}

/// Loads and checks a batch of another validator; a refusal is told by the caller.
pub fn check_remote(
    remote: &RemoteBatch,
    mut batch: Batch,
    chain: &Chain,
    directory: &Directory,
    verifier: &mut Verifier,
    verdicts: &mut Vec<bool>,
) -> Result<SealedBatch, Box<Refused>> {
    let author = remote.author;
    let Ok((seal, body)) = Seal::decode(&remote.bytes, chain) else {
        return Err(Box::new(Refused { buffer: batch, refusal: Refusal::malformed(author, 0, Hash::default()) }));
    };
    let (sequence, digest) = (seal.sequence.get(), seal.digest());
    let bad = |index| Some(Evidence::BadBatch { sealed: remote.bytes.to_vec(), index });
    if batch.load_sealed(&remote.bytes, chain).is_err() {
        // Anybody can put other bytes behind a good seal; only those that the seal names speak against its author.
        let evidence = if tana_hash::hash(body) == seal.body_hash { bad(BAD_BODY) } else { None };
        return Err(Box::new(Refused { buffer: batch, refusal: Refusal { author, sequence, digest, evidence } }));
    }
    batch.arrived_ns = remote.arrived_ns;
    {
        let view = directory.view();
        batch.set_senders(|key| view.find(key).unwrap_or(NO_ACCOUNT));
    }
    let cache = AccountKeys(directory.view());
    let items: Vec<Item<'_>> = signed_items(&batch).collect();
    verifier.verify(chain.signing_prefix(), &items, &cache, Mode::BatchFirst, verdicts);
    drop(items);
    if let Some(index) = verdicts.iter().position(|valid| !valid) {
        return Err(Box::new(Refused {
            buffer: batch,
            refusal: Refusal { author, sequence, digest, evidence: bad(index as u32) },
        }));
    }
    fill_ids(&mut batch);
    Ok(SealedBatch { batch, digest, lane: 0, sequence, position: 0 })
}

/// Tells a refusal and makes room.
pub fn refuse(parts: &RemoteParts, refused: Refused) {
    parts.buffers.put_remote(refused.buffer);
    parts.gate.done();
    parts.port.send(PipelineEvent::Refused(refused.refusal));
}
