//! Which connection a transaction came from, so that its bad signatures are booked on the right address.
//!
//! A batch carries a 32-bit number per transaction; this maps it to the address's score. The map is bounded: when it is full, numbers
//! whose connection is gone are forgotten, and a report on a forgotten number is dropped.

use std::sync::Arc;

use ahash::AHashMap;
use parking_lot::RwLock;
use tana_net::{Source, SourceScore};

/// The most connections kept: several times what a node allows at once, about 100 bytes each.
const SOURCES_MAX: usize = 16_384;

/// See the module's text.
#[derive(Default)]
pub struct Sources {
    by_number: RwLock<AHashMap<u32, Arc<SourceScore>>>,
}

impl Sources {
    /// The number of this source's connection. Connections are numbered from 0, so it takes 4 billion of them to meet a number twice.
    pub fn number(&self, source: &Source) -> u32 {
        let number = source.connection as u32;
        if !self.by_number.read().contains_key(&number) {
            let mut map = self.by_number.write();
            if map.len() >= SOURCES_MAX {
                // A score that only this map holds belongs to an address without connections.
                map.retain(|_, score| Arc::strong_count(score) > 1);
            }
            if map.len() >= SOURCES_MAX {
                map.clear();
            }
            map.insert(number, source.score.clone());
        }
        number
    }

    /// Books good and bad signatures.
    pub fn report(&self, number: u32, good: u64, bad: u64) {
        if let Some(score) = self.by_number.read().get(&number) {
            score.report(good, bad);
        }
    }
}
