//! Batches of a node: those of others are verified, own ones sealed. See [`Replica`].

use std::sync::Arc;

use bytes::Bytes;
use tana_lane::{BAD_BODY, Evidence, HeldBatch};
use tana_types::Hash;
use tana_types::account::NO_ACCOUNT;
use tana_types::batch::{Batch, Origin, Seal};
use tana_types::header::BlockHeader;
use tana_types::transaction::Transaction;
use tana_verify::{Item, Mode, NoCache};

use super::{Job, Output, Replica, Stored, Waiting};
use crate::disk::Record;

/// Transactions of one batch.
const BATCH_TRANSACTIONS: usize = 8;
/// Own batches that no finalized block lists yet; with more nothing is sealed.
const OWN_UNLISTED_MAX: usize = 16;
/// How long transactions gather for a batch, microseconds.
const SEAL_US: u64 = 20_000;

/// Why a batch is not valid.
enum Fault {
    /// Its author sealed something bad.
    Author(Evidence),
    /// Its bytes are not those that its author sealed.
    Bytes,
}

impl Replica {
    /// A batch of another validator was looked at.
    pub(super) fn verified(&mut self, sealed: &Bytes, now_us: u64) {
        self.verifying -= 1;
        let Ok((seal, _)) = Seal::decode(sealed, &self.chain.chain) else { return };
        let seal = *seal;
        if self.batches.contains_key(&seal.digest()) {
            // It came a second time while the first copy was being verified or written.
            return;
        }
        match self.check(sealed) {
            Ok(batch) => self.keep(batch, now_us),
            Err(fault) => {
                let evidence = match fault {
                    Fault::Author(evidence) => Some(evidence),
                    Fault::Bytes => None,
                };
                self.outputs.push(Output::Refused { seal: Box::new(seal), evidence });
            }
        }
    }

    /// Checks a sealed batch: its body and all signatures.
    fn check(&mut self, sealed: &[u8]) -> Result<Batch, Fault> {
        let bad = |index| Fault::Author(Evidence::BadBatch { sealed: sealed.to_vec(), index });
        let mut batch = Batch::default();
        if batch.load_sealed(sealed, &self.chain.chain).is_err() {
            let intact = Seal::decode(sealed, &self.chain.chain)
                .is_ok_and(|(seal, body)| blake3::hash(body).as_bytes() == &seal.body_hash);
            return Err(if intact { bad(BAD_BODY) } else { Fault::Bytes });
        }
        let verdicts = self.signatures(&batch);
        if let Some(index) = verdicts.iter().position(|good| !good) {
            return Err(bad(index as u32));
        }
        fill_ids(&mut batch);
        Ok(batch)
    }

    fn signatures(&mut self, batch: &Batch) -> Vec<bool> {
        let headers: Vec<_> = batch.transactions().collect();
        let items: Vec<_> = (headers.iter())
            .map(|transaction| Item {
                key: &transaction.header().sender,
                message: transaction.body(),
                signature: transaction.signature(),
                hint: u32::MAX,
            })
            .collect();
        let mut verdicts = Vec::new();
        let prefix = *self.chain.chain.signing_prefix();
        self.verifier.verify(&prefix, &items, &NoCache, Mode::BatchFirst, &mut verdicts);
        verdicts
    }

    /// Writes a good batch; it is held once that is safe.
    fn keep(&mut self, batch: Batch, now_us: u64) {
        let (digest, record) = self.remember(batch, false);
        self.write(&record, Waiting::Batch(digest), now_us);
    }

    /// Puts a batch with its identifiers into memory.
    pub(super) fn remember(&mut self, batch: Batch, durable: bool) -> (Hash, Record) {
        let held = HeldBatch::from_seal(batch.seal_header(), Arc::from(batch.ids.as_slice()));
        let (digest, record) = (held.digest, Record::Batch(Bytes::copy_from_slice(batch.sealed_bytes())));
        self.batches.insert(digest, Stored { batch, held, durable });
        (digest, record)
    }

    /// Own transactions are sealed soon, if there are any.
    pub(super) fn seal_later(&mut self, now_us: u64) {
        if !self.sealing && !self.intake.is_empty() {
            self.sealing = true;
            self.schedule(now_us + SEAL_US, Job::Seal);
        }
    }

    pub(super) fn seal_intake(&mut self, now_us: u64) {
        self.sealing = false;
        if self.own_unlisted.len() >= OWN_UNLISTED_MAX || !self.is_member() {
            // The next finalized block makes it look again.
            return;
        }
        let count = self.intake.len().min(BATCH_TRANSACTIONS);
        let transactions: Vec<Vec<u8>> = self.intake.drain(..count).collect();
        self.seal(&transactions, now_us);
        self.seal_later(now_us);
    }

    /// Verifies transactions of clients and makes an own batch of the good ones.
    pub(super) fn seal(&mut self, transactions: &[Vec<u8>], now_us: u64) {
        let mut batch = Batch::default();
        batch.clear();
        for transaction in transactions.iter().filter_map(|bytes| Transaction::exactly(bytes)) {
            batch.push(transaction, NO_ACCOUNT, Origin::default());
        }
        let verdicts = self.signatures(&batch);
        batch.retain(&verdicts);
        if batch.is_empty() {
            return;
        }
        fill_ids(&mut batch);
        let epoch = self.chain.epoch_of(self.tip + 1);
        let sealed = self.lane.seal(&mut batch, epoch, self.tip);
        self.own_unlisted.insert(sealed.sequence, sealed.digest);
        self.keep(batch, now_us);
    }

    /// Own batches that a finalized block lists, and those that it went past.
    pub(super) fn settle_own(&mut self, header: &BlockHeader) {
        for (_, _, digest) in header.batches() {
            let Some(stored) = self.batches.get(digest).filter(|stored| stored.held.author == self.key) else {
                continue;
            };
            let sequence = stored.held.sequence;
            self.own_unlisted.retain(|unlisted, _| *unlisted > sequence);
        }
    }
}

/// Identifiers of all transactions.
pub(super) fn fill_ids(batch: &mut Batch) {
    let ids: Vec<Hash> = batch.transactions().map(|transaction| transaction.id()).collect();
    batch.ids = ids;
}
