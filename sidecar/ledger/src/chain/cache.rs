//! What was read last, by height, within bounds of bytes and of entries.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// See the module's text. The entry that came first goes first.
pub(crate) struct Cache<V> {
    entries: HashMap<u64, (Arc<V>, usize), ahash::RandomState>,
    order: VecDeque<u64>,
    bytes: usize,
    bytes_max: usize,
    entries_max: usize,
}

impl<V> Cache<V> {
    /// An empty one.
    pub(crate) fn new(bytes_max: usize, entries_max: usize) -> Self {
        Self { entries: HashMap::default(), order: VecDeque::new(), bytes: 0, bytes_max, entries_max }
    }

    /// What is kept of a height.
    pub(crate) fn get(&self, height: u64) -> Option<Arc<V>> {
        self.entries.get(&height).map(|(value, _)| value.clone())
    }

    /// Keeps what costs so many bytes, and gives what is kept: two that read the same height at once share the one that came first.
    pub(crate) fn insert(&mut self, height: u64, value: Arc<V>, bytes: usize) -> Arc<V> {
        if let Some(kept) = self.get(height) {
            return kept;
        }
        self.entries.insert(height, (value.clone(), bytes));
        self.order.push_back(height);
        self.bytes += bytes;
        while self.order.len() > self.entries_max || (self.bytes > self.bytes_max && self.order.len() > 1) {
            let Some((_, freed)) = self.order.pop_front().and_then(|oldest| self.entries.remove(&oldest)) else {
                break;
            };
            self.bytes -= freed;
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_are_kept_and_the_oldest_goes_first() {
        let mut cache = Cache::new(100, 3);
        for height in 1..=10 {
            cache.insert(height, Arc::new(height), 1);
        }
        assert_eq!((1..=10).filter(|height| cache.get(*height).is_some()).collect::<Vec<_>>(), [8, 9, 10]);
        assert_eq!((cache.bytes, cache.entries.len(), cache.order.len()), (3, 3, 3));
        cache.insert(11, Arc::new(11), 99);
        assert_eq!((cache.bytes, cache.get(9).is_some(), cache.get(10).is_some()), (100, false, true));
        // One that is larger than all of it is kept alone.
        cache.insert(12, Arc::new(12), 1_000);
        assert_eq!((cache.bytes, cache.order.len()), (1_000, 1));
    }

    #[test]
    fn the_same_height_is_kept_once() {
        let mut cache = Cache::new(100, 3);
        let first = cache.insert(1, Arc::new(7), 10);
        let second = cache.insert(1, Arc::new(7), 10);
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!((cache.bytes, cache.order.len()), (10, 1));
    }
}
