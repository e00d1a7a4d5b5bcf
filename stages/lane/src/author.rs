//! One author's lane, as far as it is not yet in finalized blocks.
//!
//! 1. `final_mark` is the last sequence that finalized blocks listed; everything at or below it is settled.
//! 2. Behind it lie *seals*: batches that passed admission and are being verified, or are held (verified and durable). More than one may
//!    stand at a sequence, but only if blocks ask for them: two seals at one sequence are evidence against the author.
//! 3. `held_to` walks from the final mark over held batches without a gap. A batch with `skipped` may step over sequences that its author
//!    withdrew. What one's own mark says, and the start of what a leader may propose.
//! 4. A batch whose expiry height is finalized can never be listed and is dropped. Only the own lane keeps it until its transactions have
//!    been sealed again.
//!
//! Everything counts against the author's quota until it is settled or dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tana_types::Hash;
use tana_types::batch::Seal;

/// A batch that is verified and durable here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBatch {
    /// Whose lane.
    pub author: [u8; 32],
    /// The epoch in its seal.
    pub epoch: u64,
    /// Its number in the lane, from 1.
    pub sequence: u64,
    /// What blocks name it by.
    pub digest: Hash,
    /// Transactions in it.
    pub transactions: u32,
    /// Bytes of its body.
    pub bytes: u32,
    /// Sequences directly before it that its author withdrew; fewer than `sequence`.
    pub skipped: u32,
    /// The last height at which a block may list it.
    pub expiry_height: u64,
    /// The identifiers of its transactions, in order; as many as `transactions`.
    pub ids: Arc<[Hash]>,
}

impl HeldBatch {
    /// A batch by its seal and the identifiers of its transactions.
    pub fn from_seal(seal: &Seal, ids: Arc<[Hash]>) -> Self {
        Self {
            author: seal.author,
            epoch: seal.epoch.get(),
            sequence: seal.sequence.get(),
            digest: seal.digest(),
            transactions: seal.count.get(),
            bytes: seal.body_length.get(),
            skipped: seal.skipped.get(),
            expiry_height: seal.expiry_height.get(),
            ids,
        }
    }

    /// Whether a lane with this mark may go on with this batch: it is behind the mark, and what lies between was withdrawn.
    pub fn follows(&self, mark: u64) -> bool {
        mark < self.sequence && self.sequence - 1 - u64::from(self.skipped).min(self.sequence - 1) <= mark
    }
}

/// A batch behind the final mark.
#[derive(Debug, Clone)]
struct Seen {
    digest: Hash,
    bytes: u32,
    expiry_height: u64,
    /// For evidence; unknown for batches that were held before this process began, and for own ones.
    seal: Option<Box<Seal>>,
    held: Option<HeldBatch>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct AuthorLane {
    final_mark: u64,
    seals: BTreeMap<u64, Vec<Seen>>,
    /// Sequences of held batches that step over others.
    steps: BTreeSet<u64>,
    held_to: (u64, Hash),
    batches: usize,
    bytes: usize,
    conflicted: bool,
}

impl AuthorLane {
    pub(crate) fn final_mark(&self) -> u64 {
        self.final_mark
    }

    /// Sequence and digest up to which everything is held; the digest is zeros where finalized blocks passed what is held.
    pub(crate) fn held_to(&self) -> (u64, Hash) {
        self.held_to
    }

    /// Batches and bytes that count against the quota.
    pub(crate) fn in_use(&self) -> (usize, usize) {
        (self.batches, self.bytes)
    }

    /// Whether two seals at one sequence were seen.
    pub(crate) fn is_conflicted(&self) -> bool {
        self.conflicted
    }

    pub(crate) fn set_conflicted(&mut self) {
        self.conflicted = true;
    }

    /// Whether a batch with this digest stands at this sequence, held or not yet.
    pub(crate) fn has(&self, sequence: u64, digest: &Hash) -> bool {
        self.seals.get(&sequence).is_some_and(|seen| seen.iter().any(|entry| &entry.digest == digest))
    }

    /// What stands at this sequence with another digest: whether there is any, and its seal if that is known.
    pub(crate) fn other(&self, sequence: u64, digest: &Hash) -> Option<Option<&Seal>> {
        let others = self.seals.get(&sequence)?.iter().filter(|entry| &entry.digest != digest);
        others.map(|entry| entry.seal.as_deref()).max_by_key(Option::is_some)
    }

    /// Takes a batch that will be verified.
    pub(crate) fn admit(&mut self, seal: &Seal, digest: Hash) {
        let (bytes, expiry_height) = (seal.body_length.get(), seal.expiry_height.get());
        let seen = Seen { digest, bytes, expiry_height, seal: Some(Box::new(*seal)), held: None };
        self.add(seal.sequence.get(), seen);
    }

    fn add(&mut self, sequence: u64, seen: Seen) {
        self.batches += 1;
        self.bytes += seen.bytes as usize;
        self.seals.entry(sequence).or_default().push(seen);
    }

    /// Takes a batch that is verified and durable. What is settled already is not kept.
    pub(crate) fn held(&mut self, batch: HeldBatch) {
        let (sequence, digest) = (batch.sequence, batch.digest);
        if sequence <= self.final_mark {
            return;
        }
        if !self.has(sequence, &digest) {
            let (bytes, expiry_height) = (batch.bytes, batch.expiry_height);
            self.add(sequence, Seen { digest, bytes, expiry_height, seal: None, held: None });
        }
        if batch.skipped > 0 {
            self.steps.insert(sequence);
        }
        let entries = self.seals.entry(sequence).or_default();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.digest == digest) {
            entry.held = Some(batch);
        }
        self.walk();
    }

    /// Takes back a batch that failed verification.
    pub(crate) fn refused(&mut self, sequence: u64, digest: &Hash) {
        self.drop_if(sequence, |entry| &entry.digest == digest && entry.held.is_none());
    }

    fn drop_if(&mut self, sequence: u64, gone: impl Fn(&Seen) -> bool) -> Vec<Hash> {
        let Some(entries) = self.seals.get_mut(&sequence) else { return Vec::new() };
        let mut digests = Vec::new();
        entries.retain(|entry| {
            let gone = gone(entry);
            if gone {
                self.batches -= 1;
                self.bytes -= entry.bytes as usize;
                digests.push(entry.digest);
            }
            !gone
        });
        if entries.is_empty() {
            self.seals.remove(&sequence);
        }
        if !self.held_at(sequence).any(|batch| batch.skipped > 0) {
            self.steps.remove(&sequence);
        }
        digests
    }

    /// Held batches at this sequence; one, but for authors that misbehave.
    pub(crate) fn held_at(&self, sequence: u64) -> impl Iterator<Item = &HeldBatch> {
        self.seals.get(&sequence).into_iter().flatten().filter_map(|entry| entry.held.as_ref())
    }

    /// The held batches from this sequence on.
    pub(crate) fn held_from(&self, sequence: u64) -> impl Iterator<Item = &HeldBatch> {
        self.seals.range(sequence..).flat_map(|(_, seen)| seen).filter_map(|entry| entry.held.as_ref())
    }

    /// The batches with which a lane with this mark may go on: the one directly behind it, and those that step over what lies between.
    pub(crate) fn following(&self, mark: u64) -> impl Iterator<Item = &HeldBatch> {
        let steps = self.steps.range(mark.saturating_add(2)..).flat_map(|&sequence| self.held_at(sequence));
        self.held_at(mark.saturating_add(1)).chain(steps).filter(move |batch| batch.follows(mark))
    }

    fn walk(&mut self) {
        loop {
            let next = self.following(self.held_to.0).next().map(|next| (next.sequence, next.digest));
            let Some(next) = next else { return };
            self.held_to = next;
        }
    }

    /// Whether everything up to `reached` being held does not say that the batch at `sequence` is, because a batch between them steps over it.
    pub(crate) fn is_stepped_over(&self, sequence: u64, reached: u64) -> bool {
        if reached <= sequence {
            return false;
        }
        let steps = self.steps.range(sequence + 1..=reached).flat_map(|&step| self.held_at(step));
        steps.into_iter().any(|batch| batch.follows(sequence.saturating_sub(1)))
    }

    /// Whether own batches wait behind the final mark and none of them may ever be listed there: the first has expired, or was numbered for a
    /// mark that has begun anew.
    pub(crate) fn is_stuck(&self, height: u64) -> bool {
        let waiting = self.held_from(self.final_mark.saturating_add(1)).next().is_some();
        waiting && !self.following(self.final_mark).any(|batch| batch.expiry_height > height)
    }

    /// Moves the final mark on and drops what is settled or, unless `keep_expired`, expired; gives the digests of what was dropped.
    /// A mark below the last one says that the author left the set: when it comes back, its lane begins anew.
    pub(crate) fn finalized(&mut self, mark: u64, height: u64, keep_expired: bool) -> Vec<Hash> {
        if mark < self.final_mark {
            (self.final_mark, self.held_to) = (mark, (mark, [0; 32]));
        }
        self.final_mark = self.final_mark.max(mark);
        let mut digests = Vec::new();
        while let Some((&sequence, _)) =
            self.seals.first_key_value().filter(|(sequence, _)| **sequence <= self.final_mark)
        {
            if sequence == self.final_mark && self.held_to.0 <= sequence {
                let known = self.held_at(sequence).next().map(|batch| batch.digest);
                self.held_to = known.map_or(self.held_to, |digest| (sequence, digest));
            }
            digests.extend(self.drop_if(sequence, |_| true));
        }
        if self.held_to.0 < self.final_mark {
            self.held_to = (self.final_mark, [0; 32]);
        }
        let withdrawn = self.withdrawn_below();
        let expired: Vec<u64> = (self.seals.iter())
            .filter(|(sequence, seen)| {
                (keep_expired && **sequence < withdrawn)
                    || (!keep_expired && seen.iter().any(|entry| entry.expiry_height <= height))
            })
            .map(|(&sequence, _)| sequence)
            .collect();
        for sequence in expired {
            digests.extend(self.drop_if(sequence, |entry| entry.expiry_height <= height));
        }
        self.walk();
        digests
    }

    /// Below this sequence everything behind the final mark was withdrawn; the final mark where nothing was.
    pub(crate) fn withdrawn_below(&self) -> u64 {
        let steps = self.steps.iter().rev().flat_map(|&sequence| self.held_at(sequence));
        steps.into_iter().find(|batch| batch.follows(self.final_mark)).map_or(self.final_mark, |batch| batch.sequence)
    }

    /// Every digest behind the final mark.
    pub(crate) fn digests(&self) -> impl Iterator<Item = Hash> {
        self.seals.values().flatten().map(|entry| entry.digest)
    }
}
