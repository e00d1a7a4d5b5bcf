//! Order, when validators agree: tells agreement which batches are durable, and takes the blocks that it finalizes.
//!
//! 1. A durable batch is held ([`HeldBatches`]) and told, an own one with its bytes, which agreement sends to the other validators.
//! 2. A final block that has all its batches goes to the order log with its certificate, and behind it to execution. At most so many are
//!    between here and the commit; the others wait.
//! 3. When own batches have expired, they are sealed again (see [`super::reseal`]).
//!
//! A block that is delivered a second time is acknowledged again when it is committed already, and passed over otherwise.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tana_lane::HeldBatch;
use tana_order::SealedBatch;

use super::held::{AgreedBlock, Delivered, HeldBatches, Offered};
use super::remote::{Buffers, RemoteGate};
use super::reseal::ResealGate;
use super::{BLOCKS_IN_FLIGHT_MAX, LogEntry, OrderEntry};
use crate::agreement::{AgreementInput, AgreementPort, PipelineEvent};
use crate::batch_places::BatchPlaces;
use crate::channel::{Inlet, Outlet};
use crate::failure::Failure;
use crate::order_record::{CERTIFICATE_BYTES_MAX, encode_head};
use crate::published::Published;
use crate::stage::{Poll, Stage, StageCounters, add};

/// Things that agreement may say before the order stage has listened; it listens at every turn.
pub const AGREEMENT_INPUTS_MAX: usize = 8_192;

/// What the stage is made of.
pub struct AgreedParts {
    /// What it starts with.
    pub held: HeldBatches,
    /// Durable batches that a restart found and no block lists.
    pub spare: Vec<SealedBatch>,
    /// What agreement hears.
    pub port: Arc<AgreementPort>,
    /// Where durable batches lie.
    pub places: Arc<BatchPlaces>,
    /// Where batches go back to.
    pub buffers: Arc<Buffers>,
    /// Counts batches of others in flight.
    pub remote: Arc<RemoteGate>,
    /// The way back to the lane.
    pub gate: Arc<ResealGate>,
    /// Heights.
    pub published: Arc<Published>,
    /// Where a broken rule is told.
    pub failure: Arc<Failure>,
}

/// See the module's text.
pub struct AgreedStage {
    held: HeldBatches,
    batches: Inlet<SealedBatch>,
    inputs: Inlet<AgreementInput>,
    log: Outlet<LogEntry>,
    parts: AgreedShared,
    /// The mark behind which own batches are to be sealed again, while that is under way.
    resealing: Option<u64>,
    counters: Arc<StageCounters>,
}

struct AgreedShared {
    port: Arc<AgreementPort>,
    places: Arc<BatchPlaces>,
    buffers: Arc<Buffers>,
    remote: Arc<RemoteGate>,
    gate: Arc<ResealGate>,
    published: Arc<Published>,
    failure: Arc<Failure>,
}

impl AgreedStage {
    /// The stage between the batch log, agreement and the order log.
    pub fn new(
        parts: AgreedParts,
        batches: Inlet<SealedBatch>,
        inputs: Inlet<AgreementInput>,
        log: Outlet<LogEntry>,
    ) -> Self {
        let AgreedParts { held, spare, port, places, buffers, remote, gate, published, failure } = parts;
        let parts = AgreedShared { port, places, buffers, remote, gate, published, failure };
        let counters = Arc::default();
        let mut stage = Self { held, batches, inputs, log, parts, resealing: None, counters };
        for batch in spare {
            stage.hold(batch);
        }
        stage
    }

    fn hold(&mut self, batch: SealedBatch) {
        let is_own = self.parts.buffers.is_own(&batch.batch);
        let event = event_of(&batch, is_own);
        let (digest, position) = (batch.digest, batch.position);
        match self.held.offer(batch) {
            Offered::Held => {
                self.parts.places.insert(digest, position);
                self.parts.port.send(event);
            }
            Offered::Passed(batch) => self.let_go(batch),
        }
    }

    /// A batch that never comes into a block leaves memory.
    fn let_go(&self, batch: SealedBatch) {
        if self.parts.buffers.is_own(&batch.batch) {
            self.parts.published.waiting.fetch_sub(batch.batch.len() as u64, Ordering::Relaxed);
        }
        self.parts.buffers.put(batch.batch);
    }

    fn hear(&mut self, input: AgreementInput) {
        match input {
            AgreementInput::Finalized(block) => self.deliver(*block),
            AgreementInput::Forget(digests) => {
                for batch in self.held.forget(&digests) {
                    self.parts.places.remove(&batch.digest);
                    self.let_go(batch);
                }
            }
            AgreementInput::Reseal(mark) => {
                self.resealing.get_or_insert(mark);
            }
        }
    }

    fn deliver(&mut self, block: AgreedBlock) {
        let height = block.header.height;
        if block.certificate.len() > CERTIFICATE_BYTES_MAX {
            let bytes = block.certificate.len();
            self.parts
                .failure
                .tell(format!("the certificate of block {height} has {bytes} bytes, more than a record may hold"));
            return;
        }
        match self.held.deliver(block) {
            Delivered::Waits => {}
            Delivered::Again => {
                if height <= self.parts.published.committed.load(Ordering::Acquire) {
                    self.parts.port.send(PipelineEvent::Committed(height));
                }
            }
            Delivered::Refused => self.parts.failure.tell(format!(
                "agreement delivered block {height} out of order; restore the data folder together with its consensus folder, from one copy"
            )),
        }
    }

    /// Goes on with sealing again; tells whether anything was done.
    fn reseal(&mut self) -> bool {
        let Some(mark) = self.resealing else { return false };
        // Batches of an earlier round may still be on their way through the gate.
        self.parts.gate.close();
        let Some(last_sequence) = self.parts.gate.closed_at() else { return false };
        if self.held.own_durable() < last_sequence {
            return false;
        }
        let behind = self.held.take_own_behind(mark);
        for batch in &behind {
            self.parts.places.remove(&batch.digest);
        }
        tracing::info!(mark, batches = behind.len(), "own batches can no longer be listed and are sealed again");
        let batches: VecDeque<_> = behind.into_iter().map(|sealed| sealed.batch).collect();
        self.parts.gate.give(mark, batches);
        self.resealing = None;
        true
    }

    fn has_room(&self) -> bool {
        !self.log.is_full() && self.parts.published.blocks_in_flight() < BLOCKS_IN_FLIGHT_MAX as u64
    }

    /// Sends complete blocks as long as there is room; tells whether any was sent. With `closing`, answers once none is left.
    fn send_blocks(&mut self, closing: bool) -> bool {
        let mut sent = false;
        while !self.parts.published.order_is_closed() && self.has_room() {
            if self.send_complete() {
                sent = true;
                continue;
            }
            if closing {
                self.parts.published.set_order_closed();
            }
            break;
        }
        sent
    }

    /// Sends one complete block to the order log, which has room; tells whether there was one.
    fn send_complete(&mut self) -> bool {
        let published = &self.parts.published;
        let Some(complete) = self.held.next_complete() else { return false };
        let header = &complete.block.header;
        add(&self.counters.transactions, u64::from(header.transaction_count));
        published.last_timestamp_ms.store(header.timestamp_ms, Ordering::Relaxed);
        published.proposed(header.height);
        let head = encode_head(header);
        let (block, certificate, batch_mark) = (complete.block, complete.certificate, complete.batch_mark);
        self.log.send(LogEntry::Order(Box::new(OrderEntry { block, head, certificate, batch_mark })));
        true
    }
}

fn event_of(sealed: &SealedBatch, is_own: bool) -> PipelineEvent {
    let batch = HeldBatch::from_seal(sealed.batch.seal_header(), sealed.batch.ids.as_slice().into());
    PipelineEvent::Held { batch, own: is_own.then(|| Bytes::copy_from_slice(sealed.batch.sealed_bytes())) }
}

impl Stage for AgreedStage {
    fn name(&self) -> &'static str {
        "order"
    }

    fn poll(&mut self, _now_ns: u64) -> Poll {
        if self.parts.failure.is_told() {
            return Poll::Idle;
        }
        // Read first: agreement has stopped before it is set, so all that it had to say is in what is heard below.
        let closing = self.parts.published.order_is_closing();
        let mut worked = false;
        while let Some(batch) = self.batches.take() {
            if !self.parts.buffers.is_own(&batch.batch) {
                self.parts.remote.done();
            }
            self.hold(batch);
            worked = true;
        }
        while let Some(input) = self.inputs.take() {
            self.hear(input);
            worked = true;
        }
        worked |= self.reseal();
        worked |= self.send_blocks(closing);
        match worked {
            true => Poll::Worked,
            false if self.held.waiting_blocks() > 0 => Poll::Blocked,
            false => Poll::Idle,
        }
    }

    fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }
}
