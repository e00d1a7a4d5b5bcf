//! Where durable batches lie that no committed block lists yet, by digest.
//!
//! Peers ask for batches by digest. What a committed block lists is found through its commit record; what is younger is found here: eight
//! bytes each, and the bytes themselves are read from the batch log, which the system has in memory. So a held batch is in memory once.

use ahash::AHashMap;
use parking_lot::RwLock;
use tana_types::Hash;

/// See the module's text. As many entries as the order stage holds batches, and those of the blocks in flight.
#[derive(Default)]
pub struct BatchPlaces {
    places: RwLock<AHashMap<Hash, u64>>,
}

impl BatchPlaces {
    /// Notes a durable batch.
    pub fn insert(&self, digest: Hash, position: u64) {
        self.places.write().insert(digest, position);
    }

    /// The batch is committed, or dead.
    pub fn remove(&self, digest: &Hash) {
        self.places.write().remove(digest);
    }

    /// Where the batch lies.
    pub fn get(&self, digest: &Hash) -> Option<u64> {
        self.places.read().get(digest).copied()
    }
}
