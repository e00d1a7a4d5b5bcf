//! One ingest thread's open batches, and the loop that fills them from frames.
//!
//! For each group of up to 16 transactions of a frame:
//!
//! 1. Find where they begin and end.
//! 2. Look up all senders, then their nonces, then their buckets in the duplicate filter. With a million accounts each of these is a
//!    cache miss; side by side they cost little more than one.
//! 3. Judge one after the other, in the order of the stream.
//! 4. Copy what passed into the open batch, and report the rest.
//!
//! When there is no batch to be had, the frame's rest stays with the caller: [`Offered::consumed`] says up to which byte everything
//! was judged, and nothing behind it was remembered anywhere, so the rest can be offered again.
//!
//! Transactions of suspect sources have an open batch of their own. A source that changes between the two keeps its order: before its
//! first transaction goes into one batch, the other one leaves if it holds any of its transactions.

use tana_accounts::View;
use tana_types::account::{AccountIndex, NO_ACCOUNT};
use tana_types::batch::{BATCH_BODY_BYTES_MAX, BATCH_TRANSACTIONS_MAX, Batch, Origin};
use tana_types::code::Code;
use tana_types::payload::PAYLOAD_BYTES_MAX;
use tana_types::transaction::{
    HEADER_BYTES, SIGNATURE_BYTES, TRANSACTION_BYTES_MAX, TRANSACTION_VERSION, TRANSFER_BYTES, Transaction,
    TransactionHeader,
};
use zerocopy::FromBytes;

use crate::admission::{Admission, ConfigError, Moment};

/// Transactions whose look-ups are made side by side: enough to keep the memory busy, few enough to stay in the first cache.
const GROUP: usize = 16;

/// Where batches come from and go to.
pub trait BatchPort {
    /// An empty batch, or `None` while all are in use.
    fn take(&mut self) -> Option<Batch>;
    /// A batch leaves. There must be room: what it is put into holds as many as the pool has.
    fn send(&mut self, batch: Batch);
}

/// When a batch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Transactions, 1 to [`BATCH_TRANSACTIONS_MAX`].
    pub transactions: usize,
    /// Bytes of the body, [`TRANSACTION_BYTES_MAX`] to [`BATCH_BODY_BYTES_MAX`].
    pub body_bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { transactions: 512, body_bytes: 128 * 1024 }
    }
}

impl BatchLimits {
    /// Whether both are in their range.
    ///
    /// # Errors
    /// [`ConfigError`] names the one that is not.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=BATCH_TRANSACTIONS_MAX).contains(&self.transactions) {
            return Err(ConfigError::BatchTransactions(self.transactions));
        }
        if !(TRANSACTION_BYTES_MAX..=BATCH_BODY_BYTES_MAX).contains(&self.body_bytes) {
            return Err(ConfigError::BatchBodyBytes(self.body_bytes));
        }
        Ok(())
    }
}

/// Where a frame came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameOrigin {
    /// The stream, unique in a process run.
    pub stream: u32,
    /// The source's slot, for the account of bad signatures.
    pub source: u32,
    /// The sequence on the stream of the frame's first transaction.
    pub first_sequence: u64,
    /// Whether the source has sent too many bad signatures.
    pub suspect: bool,
}

/// One refused transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejection {
    /// Its sequence on the stream.
    pub sequence: u64,
    /// Why.
    pub code: Code,
}

/// How an offer went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offered {
    /// Bytes of the frame that are done with.
    pub consumed: usize,
    /// Sequences that were judged, admitted and refused ones together: the rest continues behind so many.
    pub transactions: u64,
    /// How many of them went into a batch.
    pub accepted: u64,
    /// No batch was to be had: offer the rest again later.
    pub full: bool,
    /// The frame holds bytes that are no transaction. All of it is consumed, and nothing behind that place was read; the last
    /// rejection is for that place.
    pub broken: bool,
}

/// What a frame, or its rest, begins with.
enum Next<'a> {
    Transaction(Transaction<'a>),
    /// Too large, but its end is known: so many bytes.
    TooLarge(usize),
    /// No transaction, or its end lies beyond the frame's.
    Broken(Code),
}

/// The open batches of one ingest thread.
#[derive(Debug, Default)]
pub struct Batcher {
    limits: BatchLimits,
    /// For ordinary sources and for suspect ones.
    open: [Option<Batch>; 2],
    /// Room for one group's accounts, kept to spare an allocation.
    found: Vec<AccountIndex>,
}

/// What stays the same for all transactions of one offer.
struct Call<'c> {
    admission: &'c Admission,
    origin: &'c FrameOrigin,
    now: Moment,
    rejected: &'c mut Vec<Rejection>,
    offered: Offered,
}

impl Batcher {
    /// A thread's batcher without open batches.
    ///
    /// # Errors
    /// [`ConfigError`] when a limit is out of its range.
    pub fn new(limits: BatchLimits) -> Result<Self, ConfigError> {
        limits.check()?;
        Ok(Self { limits, open: [None, None], found: Vec::with_capacity(GROUP) })
    }

    /// Judges the transactions of `frame` in order and puts those that pass into batches, which leave through `port` when full.
    ///
    /// Each refused transaction is appended to `rejected` and counted. Stops early only when the port has no batch left
    /// ([`Offered::full`]).
    pub fn offer(
        &mut self,
        admission: &Admission,
        origin: &FrameOrigin,
        frame: &[u8],
        now: Moment,
        port: &mut impl BatchPort,
        rejected: &mut Vec<Rejection>,
    ) -> Offered {
        self.keep_order_of(admission, origin, port);
        let view = admission.directory().view();
        let mut call = Call { admission, origin, now, rejected, offered: Offered::default() };
        let mut accepted_bytes = 0;
        while call.offered.consumed < frame.len() && !call.offered.full {
            let (group, next) = split_group(&frame[call.offered.consumed..]);
            accepted_bytes += self.offer_group(&mut call, &view, &group, port);
            if call.offered.full {
                break;
            }
            match next {
                Some(Next::TooLarge(bytes)) => {
                    call.reject(Code::TooLarge);
                    call.offered.consumed += bytes;
                }
                Some(Next::Broken(code)) => {
                    call.reject(code);
                    call.offered.consumed = frame.len();
                    call.offered.broken = true;
                }
                Some(Next::Transaction(_)) | None => {}
            }
        }
        admission.counters().count_accepted(call.offered.accepted, accepted_bytes);
        call.offered
    }

    /// Sends every open batch whose first transaction arrived at `arrived_until_ns` (engine clock) or earlier; all of them for
    /// `u64::MAX`.
    pub fn flush(&mut self, admission: &Admission, arrived_until_ns: u64, port: &mut impl BatchPort) {
        for slot in 0..self.open.len() {
            if self.open[slot].as_ref().is_some_and(|batch| batch.arrived_ns <= arrived_until_ns) {
                self.leave(admission, slot, port);
            }
        }
    }

    /// When the oldest transaction of an open batch arrived, if there is one: the next flush is due by it.
    pub fn oldest_arrived_ns(&self) -> Option<u64> {
        self.open.iter().flatten().filter(|batch| !batch.is_empty()).map(|batch| batch.arrived_ns).min()
    }

    /// Judges one group. Returns the bytes that went into batches.
    fn offer_group(
        &mut self,
        call: &mut Call<'_>,
        view: &View<'_>,
        group: &Group<'_>,
        port: &mut impl BatchPort,
    ) -> u64 {
        let looked_up = look_up(call.admission, view, group, &mut self.found);
        let mut verdicts = [Err(Code::Malformed); GROUP];
        let (mut accepted_bytes, mut start) = (0, 0);
        while start < group.count && !call.offered.full {
            let end = self.admit_run(call, group, &looked_up, &mut verdicts, start, port);
            for (transaction, verdict) in group.iter().zip(verdicts).take(end).skip(start) {
                accepted_bytes += self.finish(call, *transaction, verdict);
            }
            self.leave_if_full(call, port);
            start = end;
        }
        accepted_bytes
    }

    /// Gives verdicts from `start` on, as long as the admitted fit into one open batch. Returns where it stopped.
    ///
    /// The copies come after a whole run: otherwise each atomic exchange of the filter waits for the copy before it to reach memory.
    fn admit_run(
        &mut self,
        call: &mut Call<'_>,
        group: &Group<'_>,
        looked_up: &LookedUp,
        verdicts: &mut [Result<AccountIndex, Code>; GROUP],
        start: usize,
        port: &mut impl BatchPort,
    ) -> usize {
        let (suspect, now) = (call.origin.suspect, call.now);
        let (mut planned, mut planned_bytes) = (0, 0);
        for (position, transaction) in group.iter().enumerate().skip(start) {
            verdicts[position] = call.admission.judge(transaction, looked_up.senders[position], now.wall_ms);
            let Ok(sender) = verdicts[position] else { continue };
            let bytes = transaction.bytes().len();
            if !self.has_room(suspect, planned, planned_bytes + bytes) {
                if planned > 0 {
                    return position;
                }
                if !self.open_batch(call, port) {
                    call.offered.full = true;
                    return position;
                }
            }
            let entered = call.admission.enter(looked_up.hashes[position], sender, now.engine_ns, suspect);
            match entered {
                Ok(()) => (planned, planned_bytes) = (planned + 1, planned_bytes + bytes),
                Err(code) => verdicts[position] = Err(code),
            }
        }
        group.count
    }

    /// Whether the open batch takes one more transaction behind `planned` ones, `bytes` bytes with them.
    #[inline]
    fn has_room(&self, suspect: bool, planned: usize, bytes: usize) -> bool {
        self.open[usize::from(suspect)]
            .as_ref()
            .is_some_and(|batch| batch.has_room(bytes, self.limits.transactions - planned, self.limits.body_bytes))
    }

    /// Sends the open batch and opens another; false when there is none to be had.
    fn open_batch(&mut self, call: &Call<'_>, port: &mut impl BatchPort) -> bool {
        let slot = usize::from(call.origin.suspect);
        self.leave(call.admission, slot, port);
        self.open[slot] = port.take().map(|mut batch| {
            batch.clear();
            batch.suspect = call.origin.suspect;
            batch.arrived_ns = u64::MAX;
            batch
        });
        self.open[slot].is_some()
    }

    /// Puts an admitted transaction into the open batch, or reports a refused one. Returns the bytes that were copied.
    #[inline]
    fn finish(
        &mut self,
        call: &mut Call<'_>,
        transaction: Transaction<'_>,
        verdict: Result<AccountIndex, Code>,
    ) -> u64 {
        let bytes = transaction.bytes().len();
        call.offered.consumed += bytes;
        match (verdict, &mut self.open[usize::from(call.origin.suspect)]) {
            (Ok(sender), Some(batch)) => {
                if batch.is_empty() {
                    batch.arrived_ns = call.now.engine_ns;
                }
                let FrameOrigin { stream, source, .. } = *call.origin;
                batch.push(transaction, sender, Origin { stream, source, sequence: call.sequence() });
                call.offered.accepted += 1;
                call.offered.transactions += 1;
                bytes as u64
            }
            // An admitted one always finds the batch that `admit_run` had room in.
            (Ok(_), None) => 0,
            (Err(code), _) => {
                call.reject(code);
                0
            }
        }
    }

    /// Sends the open batch when not even a transfer fits any more.
    #[inline]
    fn leave_if_full(&mut self, call: &Call<'_>, port: &mut impl BatchPort) {
        let slot = usize::from(call.origin.suspect);
        if self.open[slot].is_some() && !self.has_room(call.origin.suspect, 0, TRANSFER_BYTES) {
            self.leave(call.admission, slot, port);
        }
    }

    /// Sends the open batch of `slot`, numbered. One without transactions stays.
    fn leave(&mut self, admission: &Admission, slot: usize, port: &mut impl BatchPort) {
        if let Some(mut batch) = self.open[slot].take_if(|batch| !batch.is_empty()) {
            batch.number = admission.counters().next_batch_number();
            port.send(batch);
        }
    }

    /// Sends the batch that this frame does not go into, if it holds transactions of the same source.
    fn keep_order_of(&mut self, admission: &Admission, origin: &FrameOrigin, port: &mut impl BatchPort) {
        let other = usize::from(!origin.suspect);
        let holds = |batch: &Batch| batch.entries().iter().any(|entry| entry.origin.source == origin.source);
        if self.open[other].as_ref().is_some_and(holds) {
            self.leave(admission, other, port);
        }
    }
}

impl Call<'_> {
    /// The sequence of the transaction that is judged now; a stream's numbers do not run out, but are not trusted to.
    fn sequence(&self) -> u64 {
        self.origin.first_sequence.saturating_add(self.offered.transactions)
    }

    #[cold]
    fn reject(&mut self, code: Code) {
        self.admission.counters().count_rejected(code);
        self.rejected.push(Rejection { sequence: self.sequence(), code });
        self.offered.transactions += 1;
    }
}

/// Up to [`GROUP`] transactions in place.
struct Group<'a> {
    transactions: [Option<Transaction<'a>>; GROUP],
    count: usize,
}

impl<'a> Group<'a> {
    #[inline]
    fn iter(&self) -> impl Iterator<Item = &Transaction<'a>> {
        self.transactions[..self.count].iter().flatten()
    }
}

/// The transactions that `bytes` begins with, at most [`GROUP`], and what stopped them short, if anything did.
#[inline]
fn split_group(bytes: &[u8]) -> (Group<'_>, Option<Next<'_>>) {
    let mut group = Group { transactions: [None; GROUP], count: 0 };
    let mut offset = 0;
    while group.count < GROUP && offset < bytes.len() {
        match next(&bytes[offset..]) {
            Next::Transaction(transaction) => {
                offset += transaction.bytes().len();
                group.transactions[group.count] = Some(transaction);
                group.count += 1;
            }
            stop => return (group, Some(stop)),
        }
    }
    (group, None)
}

#[inline]
fn next(bytes: &[u8]) -> Next<'_> {
    match Transaction::first_of(bytes) {
        Some(transaction) => Next::Transaction(transaction),
        None => why_not(bytes),
    }
}

/// Tells one that is only too large, which can be passed over, from bytes whose structure is lost.
#[cold]
fn why_not(bytes: &[u8]) -> Next<'_> {
    let Ok((header, _)) = TransactionHeader::ref_from_prefix(bytes) else { return Next::Broken(Code::Malformed) };
    let payload_length = header.payload_length.get() as usize;
    if header.version != TRANSACTION_VERSION || payload_length <= PAYLOAD_BYTES_MAX {
        return Next::Broken(Code::Malformed);
    }
    let length = HEADER_BYTES + payload_length + SIGNATURE_BYTES;
    if length <= bytes.len() { Next::TooLarge(length) } else { Next::Broken(Code::TooLarge) }
}

/// What was looked up for a group, in its order.
struct LookedUp {
    /// Each sender's account with its executed nonce, where it has one.
    senders: [Option<(AccountIndex, u64)>; GROUP],
    /// What the duplicate filter knows the transactions by.
    hashes: [u64; GROUP],
}

/// Makes all look-ups of a group; `found` is room to work in.
#[inline]
fn look_up(admission: &Admission, view: &View<'_>, group: &Group<'_>, found: &mut Vec<AccountIndex>) -> LookedUp {
    let mut looked_up = LookedUp { senders: [None; GROUP], hashes: [0; GROUP] };
    for (hash, transaction) in looked_up.hashes.iter_mut().zip(group.iter()) {
        *hash = admission.duplicates().hash(transaction.bytes());
        admission.duplicates().prefetch(*hash);
    }
    found.clear();
    view.find_each(group.iter().map(|transaction| &transaction.header().sender), found);
    for (sender, &index) in looked_up.senders.iter_mut().zip(found.iter()) {
        *sender = (index != NO_ACCOUNT).then(|| (index, view.nonce(index)));
    }
    looked_up
}
