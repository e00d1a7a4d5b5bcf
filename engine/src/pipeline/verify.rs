//! Verify: takes a batch, checks its signatures, drops the bad ones, and fills in the identifiers of the rest.
//!
//! Several of these run side by side on one channel. While many batches wait, a verifier takes two at once and puts them into one equation:
//! what an equation costs beside its signatures is then paid once. Batches of suspect sources are never joined, and after an equation that
//! failed none are for a while, so that a bad signature costs its own batch and seldom another.
//!
//! Bad signatures are told to their senders and booked on their addresses, so that a
//! source that keeps failing is set apart by the intake.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tana_accounts::{Directory, View};
use tana_ingest::Admission;
use tana_types::account::NO_ACCOUNT;
use tana_types::batch::Batch;
use tana_types::code::Code;
use tana_types::transaction::Chain;
use tana_verify::{DecodedKey, Item, KeyCache, Mode, Verifier};

use super::LogEntry;
use super::remote::{REMOTE_TURNS, RemoteParts, check_remote, refuse};
use crate::answers::Answers;
use crate::channel::{Inlet, Outlet};
use crate::sources::Sources;
use crate::stage::{Poll, Stage, StageCounters, add};

/// Batches that wait behind a batch before it is joined with another: so many that joining leaves no other verifier idle, and that what it
/// adds to the time of one batch is little beside the time in the queue.
const JOIN_WAITING_MIN: usize = 8;

/// Batches that are not joined after an equation that failed.
const APART_BATCHES: u32 = 1_024;

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;

/// Decoded keys lie beside the accounts, 32 bytes each: the directory is the cache.
pub struct AccountKeys<'a>(pub View<'a>);

impl KeyCache for AccountKeys<'_> {
    fn get(&self, hint: u32, key: &[u8; 32]) -> Option<DecodedKey> {
        if hint == NO_ACCOUNT || self.0.key(hint).0 != *key {
            return None;
        }
        self.0.decoded(hint).map(|x| DecodedKey { x })
    }

    fn put(&self, hint: u32, key: &[u8; 32], decoded: &DecodedKey) {
        if hint != NO_ACCOUNT && self.0.key(hint).0 == *key {
            self.0.set_decoded(hint, &decoded.x);
        }
    }
}

/// See the module's text.
pub struct VerifyStage {
    verifier: Verifier,
    chain: Chain,
    directory: Arc<Directory>,
    sources: Arc<Sources>,
    answers: Answers,
    admission: Arc<Admission>,
    input: Inlet<Batch>,
    output: Outlet<Batch>,
    /// A batch that was taken and did not fit beside the one before it.
    next: Option<Batch>,
    /// Batches still to be verified apart.
    apart_batches: u32,
    verdicts: Vec<bool>,
    bad_signatures: Arc<AtomicU64>,
    remote: Option<RemoteVerify>,
    counters: Arc<StageCounters>,
}

/// The other validators' side of a verifier.
struct RemoteVerify {
    parts: RemoteParts,
    log: Outlet<LogEntry>,
    /// Verified and not in the log's channel yet, which was full.
    ready: Option<LogEntry>,
    /// Batches of others taken since the last own one.
    turns: u32,
}

/// What a verify stage is made of.
pub struct VerifyParts {
    /// The kernel.
    pub verifier: Verifier,
    /// The chain.
    pub chain: Chain,
    /// Accounts and their decoded keys.
    pub directory: Arc<Directory>,
    /// Who sent what.
    pub sources: Arc<Sources>,
    /// Where answers go.
    pub answers: Answers,
    /// Hears of user creations that end here.
    pub admission: Arc<Admission>,
    /// Counts bad signatures of all verifiers.
    pub bad_signatures: Arc<AtomicU64>,
}

impl VerifyStage {
    /// A verifier between two channels.
    pub fn new(parts: VerifyParts, input: Inlet<Batch>, output: Outlet<Batch>) -> Self {
        Self {
            verifier: parts.verifier,
            chain: parts.chain,
            directory: parts.directory,
            sources: parts.sources,
            answers: parts.answers,
            admission: parts.admission,
            input,
            output,
            next: None,
            apart_batches: 0,
            verdicts: Vec::new(),
            bad_signatures: parts.bad_signatures,
            remote: None,
            counters: Arc::default(),
        }
    }

    /// Takes batches of other validators too; valid ones go to `log`.
    pub fn with_remote(mut self, parts: RemoteParts, log: Outlet<LogEntry>) -> Self {
        self.remote = Some(RemoteVerify { parts, log, ready: None, turns: 0 });
        self
    }

    /// One step for a batch of another validator, if it is its turn.
    fn poll_remote(&mut self) -> Poll {
        let Some(remote) = &mut self.remote else { return Poll::Idle };
        if let Some(entry) = remote.ready.take()
            && let Err(entry) = remote.log.try_send(entry)
        {
            // This thread may be the one that makes room, so it must not wait here.
            remote.ready = Some(entry);
            return Poll::Blocked;
        }
        if remote.turns >= REMOTE_TURNS && (self.next.is_some() || !self.input.is_empty()) {
            remote.turns = 0;
            return Poll::Idle;
        }
        let Some(batch) = remote.parts.input.take() else { return Poll::Idle };
        remote.turns += 1;
        let buffer = remote.parts.buffers.take_remote();
        let (verifier, verdicts) = (&mut self.verifier, &mut self.verdicts);
        match check_remote(&batch, buffer, &self.chain, &self.directory, verifier, verdicts) {
            Ok(sealed) => {
                add(&self.counters.transactions, sealed.batch.len() as u64);
                remote.ready = remote.log.try_send(LogEntry::Batch(sealed)).err();
            }
            Err(refused) => refuse(&remote.parts, *refused),
        }
        Poll::Worked
    }

    /// Another batch to go with `batch`, if many wait.
    fn partner(&mut self, batch: &Batch) -> Option<Batch> {
        let apart = self.apart_batches > 0;
        self.apart_batches = self.apart_batches.saturating_sub(1);
        if apart || batch.suspect || self.input.len() < JOIN_WAITING_MIN {
            return None;
        }
        self.next = self.input.take();
        self.next.take_if(|next| !next.suspect)
    }

    /// Judges the transactions of all `batches`, which are all suspect or none.
    fn check(&mut self, batches: &[Batch]) {
        let suspect = batches.iter().any(|batch| batch.suspect);
        let mode = if suspect { Mode::EachAlone } else { Mode::BatchFirst };
        let cache = AccountKeys(self.directory.view());
        // Each key lies somewhere else: read in one go, their trips to memory overlap.
        let entries = batches.iter().flat_map(|batch| batch.entries());
        black_box(entries.fold(0, |sum, entry| sum ^ self.directory.warm_key(entry.sender)));
        let items: Vec<Item<'_>> = batches.iter().flat_map(signed_items).collect();
        let prefix = self.chain.signing_prefix();
        let outcome = self.verifier.verify(prefix, &items, &cache, mode, &mut self.verdicts);
        if outcome.batch_equation_failed {
            self.apart_batches = APART_BATCHES;
        }
    }

    /// Drops what the verdicts refuse, tells and books it, and sends the rest on.
    fn pass_on(&mut self, mut batch: Batch, verdicts: &[bool]) {
        self.report(&batch, verdicts);
        batch.retain(verdicts);
        fill_ids(&mut batch);
        self.output.send(batch);
    }

    fn report(&mut self, batch: &Batch, verdicts: &[bool]) {
        let mut tally: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        let mut last = (u32::MAX, (0, 0));
        for (entry, &valid) in batch.entries().iter().zip(verdicts) {
            if entry.origin.source != last.0 {
                add_tally(&mut tally, last);
                last = (entry.origin.source, (0, 0));
            }
            if valid { last.1.0 += 1 } else { last.1.1 += 1 }
        }
        add_tally(&mut tally, last);
        let bad: u64 = tally.values().map(|(_, bad)| bad).sum();
        for (source, (good, bad)) in tally {
            self.sources.report(source, good, bad);
        }
        if bad > 0 {
            self.bad_signatures.fetch_add(bad, std::sync::atomic::Ordering::Relaxed);
            let judged = batch.entries().iter().zip(verdicts);
            let refused = judged.filter(|(entry, valid)| !**valid && entry.sender == NO_ACCOUNT);
            self.admission.creations().ended(refused.count() as u32);
            let origins = batch.entries().iter().zip(verdicts).filter(|(_, valid)| !**valid);
            self.answers.rejected(origins.map(|(entry, _)| (entry.origin, Code::BadSignature)));
        }
    }
}

/// What a verifier needs of each transaction of a batch.
pub fn signed_items(batch: &Batch) -> impl Iterator<Item = Item<'_>> {
    batch.transactions().zip(batch.entries()).map(|(transaction, entry)| Item {
        key: &transaction.header().sender,
        message: transaction.body(),
        signature: transaction.signature(),
        hint: entry.sender,
    })
}

fn add_tally(tally: &mut BTreeMap<u32, (u64, u64)>, (source, (good, bad)): (u32, (u64, u64))) {
    if good + bad > 0 {
        let sum = tally.entry(source).or_default();
        sum.0 += good;
        sum.1 += bad;
    }
}

/// Fills in the identifiers of all transactions, sixteen hashes at a time.
pub fn fill_ids(batch: &mut Batch) {
    let mut ids = std::mem::take(&mut batch.ids);
    ids.clear();
    ids.resize(batch.len(), [0; 32]);
    let bytes: Vec<&[u8]> = batch.transactions().map(|transaction| transaction.bytes()).collect();
    // A transaction has at most 1,400 bytes; what is longer than one BLAKE3 chunk is hashed on its own.
    if bytes.iter().all(|bytes| bytes.len() <= 1_024) {
        tana_hash::hash_each(&bytes, &mut ids);
    } else {
        for (id, bytes) in ids.iter_mut().zip(&bytes) {
            *id = tana_hash::hash(bytes);
        }
    }
    batch.ids = ids;
}

impl Stage for VerifyStage {
    fn name(&self) -> &'static str {
        "verify"
    }

    fn poll(&mut self, _now_ns: u64) -> Poll {
        if self.output.is_full() {
            return Poll::Blocked;
        }
        match self.poll_remote() {
            Poll::Idle => {}
            other => return other,
        }
        let Some(batch) = self.next.take().or_else(|| self.input.take()) else { return Poll::Idle };
        let partner = self.partner(&batch);
        let batches: Vec<Batch> = std::iter::once(batch).chain(partner).collect();
        self.check(&batches);
        let verdicts = std::mem::take(&mut self.verdicts);
        let mut first = 0;
        for batch in batches {
            let end = first + batch.len();
            add(&self.counters.transactions, batch.len() as u64);
            self.pass_on(batch, &verdicts[first..end]);
            first = end;
        }
        self.verdicts = verdicts;
        Poll::Worked
    }

    fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }
}
