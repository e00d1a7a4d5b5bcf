//! The lane: a validator's own verified batches in one numbered, sealed sequence.
//!
//! 1. Several verifiers finish in any order; the [`Resequencer`] hands their batches on in the order of ingest, so that one sender's
//!    nonces stay in order.
//! 2. The [`Lane`] gives each batch the next sequence and signs its seal. A sequence is used once: after a restart the lane goes on behind
//!    the highest sequence in the batch log, and nothing is shown to anyone before it is durable there.

mod resequencer;

use ed25519_dalek::SigningKey;
use tana_types::Hash;
use tana_types::batch::Batch;
use tana_types::transaction::Chain;

pub use resequencer::Resequencer;

/// The author of a lane.
pub struct Lane {
    chain: Chain,
    author: SigningKey,
    next_sequence: u64,
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
        Self { chain, author, next_sequence: last_sequence + 1, expiry_blocks }
    }

    /// Seals a batch that is not empty. `height` is the last finalized height, from which the expiry counts.
    pub fn seal(&mut self, batch: &mut Batch, epoch: u64, height: u64) -> Sealed {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let expiry_height = height.saturating_add(self.expiry_blocks);
        let digest = batch.seal(&self.chain, &self.author, epoch, sequence, expiry_height);
        Sealed { sequence, digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tana_types::batch::Origin;
    use tana_types::key::PublicKey;
    use tana_types::payload::Payload;
    use tana_types::transaction::{Transaction, sign};

    #[test]
    fn sequences_go_on_and_seals_are_valid() {
        let chain = Chain::new([1; 32]);
        let key = SigningKey::from_bytes(&[2; 32]);
        let payload = Payload::Transfer { recipient: PublicKey([3; 32]), currency: "USD".parse().unwrap(), amount: 1 };
        let bytes = sign(&chain, &key, 1, 1, &payload).unwrap();
        let mut lane = Lane::new(chain, key, 41, 100);
        for expected in [42, 43] {
            let mut batch = Batch::with_capacity(1, 200);
            batch.push(Transaction::exactly(&bytes).unwrap(), 0, Origin::default());
            let sealed = lane.seal(&mut batch, 0, 7);
            assert_eq!((sealed.sequence, sealed.digest), (expected, batch.seal_header().digest()));
            assert_eq!(batch.seal_header().expiry_height.get(), 107);
            assert!(batch.seal_header().signature_is_valid());
        }
    }
}
