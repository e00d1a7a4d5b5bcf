//! Where blocks lie in the block log: the place of every 64th height in memory, the rest by reading on from there.
//!
//! Eight bytes for 64 heights are 3 MiB for a year of 100 blocks a second; a look-up reads at most 64 records.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

/// Heights per entry.
const STRIDE: u64 = 64;

/// See the module's text.
pub struct BlockIndex {
    entries: RwLock<Vec<(u64, u64)>>,
    last_position: AtomicU64,
}

impl BlockIndex {
    /// An index that knows some heights with their places, ascending.
    pub fn new(known: Vec<(u64, u64)>) -> Self {
        let last_position = AtomicU64::new(known.last().map_or(0, |(_, position)| *position));
        Self { entries: RwLock::new(known), last_position }
    }

    /// Notes the next height's place.
    pub fn push(&self, height: u64, position: u64) {
        self.last_position.store(position, Ordering::Release);
        if height % STRIDE == 1 || self.entries.read().is_empty() {
            self.entries.write().push((height, position));
        }
    }

    /// Where the last block lies; 0 before the first.
    pub fn last_position(&self) -> u64 {
        self.last_position.load(Ordering::Acquire)
    }

    /// Forgets the heights before `oldest`, whose record begins the log from now on, at `position`.
    pub fn forget_before(&self, oldest: u64, position: u64) {
        let mut entries = self.entries.write();
        let first = entries.partition_point(|(known, _)| *known < oldest);
        entries.drain(..first);
        if entries.first().is_none_or(|(known, _)| *known != oldest) {
            entries.insert(0, (oldest, position));
        }
    }

    /// The lowest height whose place is known: look-ups below it find nothing here.
    pub fn oldest(&self) -> Option<u64> {
        self.entries.read().first().map(|(known, _)| *known)
    }

    /// The nearest height at or below `height` whose place is known.
    pub fn at_or_below(&self, height: u64) -> Option<(u64, u64)> {
        let entries = self.entries.read();
        let behind = entries.partition_point(|(known, _)| *known <= height);
        behind.checked_sub(1).map(|place| entries[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_height_is_found() {
        let index = BlockIndex::new(Vec::new());
        for height in 5..=200 {
            index.push(height, height * 10);
        }
        assert_eq!(index.at_or_below(4), None);
        assert_eq!(index.at_or_below(64), Some((5, 50)));
        assert_eq!(index.at_or_below(65), Some((65, 650)));
        assert_eq!(index.at_or_below(190), Some((129, 1_290)));
    }

    #[test]
    fn what_was_pruned_is_forgotten() {
        let index = BlockIndex::new(Vec::new());
        for height in 1..=200 {
            index.push(height, height * 10);
        }
        assert_eq!(index.oldest(), Some(1));
        index.forget_before(70, 700);
        assert_eq!(index.oldest(), Some(70));
        assert_eq!(index.at_or_below(69), None);
        assert_eq!(index.at_or_below(100), Some((70, 700)));
        assert_eq!(index.at_or_below(130), Some((129, 1_290)));
        index.forget_before(129, 1_290);
        assert_eq!(index.at_or_below(128), None);
        assert_eq!(index.at_or_below(129), Some((129, 1_290)));
        assert_eq!(index.last_position(), 2_000);
    }
}
