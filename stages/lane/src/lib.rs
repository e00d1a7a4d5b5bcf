//! Lanes: every validator's verified batches, each lane one numbered, sealed sequence.
//!
//! The own lane:
//! 1. Several verifiers finish in any order; the [`Resequencer`] hands their batches on in the order of ingest, so that one sender's
//!    nonces stay in order.
//! 2. The [`Lane`] gives each batch the next sequence and signs its seal. A sequence is used once: after a restart the lane goes on behind
//!    the highest sequence in the batch log, and nothing is shown to anyone before it is durable there.
//!
//! All lanes: the [`LaneBook`] knows which validator holds which batch, what to send to whom, what to fetch and what a leader may propose.
//! What validators tell each other about lanes are [`Marks`] and [`Fetch`] messages; what proves that an author misbehaved is
//! [`Evidence`].

mod author;
mod book;
mod evidence;
mod fetches;
mod marks;
mod messages;
mod peers;
mod resequencer;
#[cfg(test)]
mod tests;

use ed25519_dalek::SigningKey;
use tana_types::Hash;
use tana_types::batch::Batch;
use tana_types::transaction::Chain;

pub use author::HeldBatch;
pub use book::{Admission, LaneBook, LaneLimits};
pub use evidence::{BAD_BODY, EVIDENCE_BYTES_MAX, Evidence, EvidenceError};
pub use fetches::{FETCH_RETRY_MS, FETCH_TIMEOUT_MS, FETCHES_PER_PEER_MAX, WANTED_MAX};
pub use marks::{MARKS_MAX, Mark, Marks};
pub use messages::{FETCH_DIGESTS_MAX, FETCH_PREFIX_BYTES, Fetch, FetchRequest, SEALED_BATCH_BYTES_MAX, Wanted};
pub use peers::{RESEND_MS, RESEND_MS_MAX};
pub use resequencer::Resequencer;

/// The author of a lane.
pub struct Lane {
    chain: Chain,
    author: SigningKey,
    next_sequence: u64,
    /// The mark behind which everything unlisted is withdrawn by the next seal.
    withdraw_behind: Option<u64>,
    expiry_blocks: u64,
}

/// A batch's place in its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Its number in the lane, from 1.
    pub sequence: u64,
    /// What a block names it by.
    pub digest: Hash,
}

impl Lane {
    /// A lane that goes on behind `last_sequence` (0 for a new one).
    pub fn new(chain: Chain, author: SigningKey, last_sequence: u64, expiry_blocks: u64) -> Self {
        Self { chain, author, next_sequence: last_sequence + 1, withdraw_behind: None, expiry_blocks }
    }

    /// Withdraws every batch behind `mark`, the lane's last listed sequence: the next batch that is sealed says so, and the caller seals their
    /// transactions again, in order, from that one on. Needed when own batches expired unlisted, and when the author was in the set
    /// before and came back, so that its mark began anew.
    pub fn withdraw(&mut self, mark: u64) {
        self.withdraw_behind = Some(mark);
    }

    /// The number that the next batch gets.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Seals a batch that is not empty. `height` is the last finalized height, from which the expiry counts.
    pub fn seal(&mut self, batch: &mut Batch, epoch: u64, height: u64) -> Sealed {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let expiry_height = height.saturating_add(self.expiry_blocks);
        let withdrawn = self.withdraw_behind.take().map_or(0, |mark| (sequence - 1).saturating_sub(mark));
        // More would have to be withdrawn at once than a lane numbers in years.
        let skipped = u32::try_from(withdrawn).unwrap_or(u32::MAX);
        let digest = batch.seal(&self.chain, &self.author, epoch, sequence, skipped, expiry_height);
        Sealed { sequence, digest }
    }
}
