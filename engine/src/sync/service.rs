//! The serving side of state sync: answers one request at a time, from files and memory, on a thread that may wait for a disk.
//!
//! Nobody gets more than a megabyte for a request, and a snapshot is made only at an epoch's end and only when somebody has asked for that one,
//! so a greedy peer costs what the link's lowest priority leaves over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tana_execute::{Validator, hash_set};
use tana_types::genesis::Genesis;

use super::changes::SetChanges;
use super::headers::ChainReader;
use super::message::{Answer, Head, Object, PART_BYTES_MAX, Refusal, Request};
use super::proof::{Anchor, Attestation, TrustProof, TrustedSet};
use super::snapshot::SnapshotStore;
use super::wishes::Wishes;
use crate::agreement_host::AnswerSync;
use crate::published::Published;

/// Proofs and anchors kept while they are read in parts.
const MADE_MAX: usize = 4;

/// What a sync service reads.
pub struct SyncParts {
    /// What is committed and final.
    pub published: Arc<Published>,
    /// Snapshots.
    pub snapshots: Arc<SnapshotStore>,
    /// Changes of the validator set.
    pub changes: SetChanges,
    /// Where wishes for snapshots go.
    pub wishes: Arc<Wishes>,
    /// The node's chain.
    pub chain: Arc<dyn ChainReader>,
    /// The chain's rules.
    pub genesis: Genesis,
    /// Validator sets that the node knows beside the genesis' and those of its changes: the ones that its own sync started from.
    pub known_sets: Vec<Vec<Validator>>,
}

type Made = VecDeque<((u64, Object), Arc<Vec<u8>>)>;

/// See the module's text.
pub struct SyncService {
    parts: SyncParts,
    made: Mutex<Made>,
}

impl SyncService {
    /// A service over these parts.
    pub fn new(parts: SyncParts) -> Self {
        Self { parts, made: Mutex::default() }
    }

    /// Where snapshots lie.
    pub fn snapshots(&self) -> &Arc<SnapshotStore> {
        &self.parts.snapshots
    }

    /// Answers a request; none to what is no request. May wait for a disk.
    pub fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        let (number, request) = Request::decode(request).ok()?;
        let answer = match request {
            Request::Head => Answer::Head(self.head()),
            Request::Freeze { height } => self.freeze(height),
            Request::Part { height, object, offset } => self.part(height, object, offset),
        };
        Some(answer.encode(number))
    }

    fn head(&self) -> Head {
        Head {
            finalized: self.parts.published.finalized.load(Ordering::Acquire),
            committed: self.parts.published.committed.load(Ordering::Acquire),
            next_boundary: self.parts.wishes.next_boundary(),
            snapshots: self.parts.snapshots.heights(),
        }
    }

    fn freeze(&self, height: u64) -> Answer {
        if self.parts.snapshots.heights().contains(&height) {
            return Answer::Frozen { height };
        }
        match self.parts.wishes.wish(height) {
            Some(height) => Answer::Frozen { height },
            None => Answer::Refused(Refusal::NoBoundary),
        }
    }

    fn part(&self, height: u64, object: Object, offset: u64) -> Answer {
        let found = match object {
            Object::State | Object::Chunk(_) => self.parts.snapshots.read(height, object, offset, Instant::now()),
            Object::Proof { .. } | Object::Anchor { .. } => match self.made(height, object) {
                Ok(Some(bytes)) => cut(&bytes, offset),
                Ok(None) => None,
                Err(reason) => {
                    tracing::debug!(height, reason, "a proof cannot be given yet");
                    return Answer::Refused(Refusal::Later);
                }
            },
        };
        match found {
            Some((total, bytes)) => Answer::Part { total, offset, bytes },
            None => Answer::Refused(Refusal::NotHere),
        }
    }

    /// An object that is put together for who asks, and kept while it is read.
    fn made(&self, height: u64, object: Object) -> Result<Option<Arc<Vec<u8>>>, String> {
        let key = (height, object);
        if let Some((_, bytes)) = self.made.lock().iter().find(|(made, _)| *made == key) {
            return Ok(Some(bytes.clone()));
        }
        let bytes = match object {
            Object::Proof { from_epoch } => self.make_proof(height, from_epoch)?.map(|proof| proof.encode()),
            Object::Anchor { height } => self.make_anchor(height)?.map(|anchor| anchor.encode()),
            _ => None,
        };
        let Some(bytes) = bytes.filter(|bytes| bytes.len() <= object.bytes_max()).map(Arc::new) else {
            return Ok(None);
        };
        let mut made = self.made.lock();
        made.truncate(MADE_MAX - 1);
        made.push_front((key, bytes.clone()));
        Ok(Some(bytes))
    }

    fn make_proof(&self, height: u64, from_epoch: u64) -> Result<Option<TrustProof>, String> {
        if !self.parts.wishes.is_boundary(height) {
            return Ok(None);
        }
        let later = |what: &str| Err(format!("{what} of height {height} is not here yet"));
        let chain = self.parts.chain.as_ref();
        let Some((_, certificate)) = chain.header(height)? else { return Ok(None) };
        if certificate.is_empty() {
            return later("the certificate");
        }
        let Some(attested) = chain.attestation(height)? else { return later("the attestation") };
        self.parts.changes.complete(chain);
        let steps = self.parts.changes.steps(from_epoch, height / self.parts.genesis.rules.epoch_blocks)?;
        Ok(Some(TrustProof { steps, attestation: Attestation { chain: attested, certificate } }))
    }

    fn make_anchor(&self, height: u64) -> Result<Option<Anchor>, String> {
        let Some((header, _)) = self.parts.chain.header(height)? else { return Ok(None) };
        self.parts.changes.complete(self.parts.chain.as_ref());
        let mut sets = self.parts.changes.sets(&self.parts.genesis);
        sets.push(TrustedSet::of_genesis(&self.parts.genesis).set);
        sets.extend(self.parts.known_sets.iter().cloned());
        let named = sets.into_iter().find(|set| hash_set(set) == header.validator_set_hash);
        Ok(named.map(|set| Anchor { header, set }))
    }
}

fn cut(bytes: &[u8], offset: u64) -> Option<(u64, Vec<u8>)> {
    let rest = bytes.get(usize::try_from(offset).ok()?..)?;
    Some((bytes.len() as u64, rest[..rest.len().min(PART_BYTES_MAX)].to_vec()))
}

impl AnswerSync for SyncService {
    fn answer(&self, _peer: &[u8; 32], request: Bytes) -> Option<Bytes> {
        Self::answer(self, &request).map(Bytes::from)
    }
}
