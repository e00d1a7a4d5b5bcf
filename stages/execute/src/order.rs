//! The order of keys, which the `next` links of account records spell out: who stands before a new key?
//!
//! Account indexes sorted by key, cut into short lists, so that an insertion moves little. The keys are not stored a second time: they
//! are read from the directory. Finding a place takes two binary searches: over the first eight bytes of the lists' first keys, which
//! are at hand, and inside one list, about nine keys of the directory. Memory: 4 bytes per account and at most about as much again in
//! lists that have room to grow.
//!
//! The sentinel is first: its key of zeros is below every other, so that every key has a predecessor.

use tana_accounts::Directory;
use tana_types::account::{AccountIndex, SENTINEL};

/// A list longer than this is cut in two.
const LIST_MAX: usize = 512;
/// Lists of a freshly sorted order are this long, so that the first insertions do not cut them all.
const LIST_FILL: usize = 384;
/// Room that a full list gets at a time.
const LIST_STEP: usize = 32;

pub(crate) struct KeyOrder {
    /// Account indexes by key; never empty, and no list is empty.
    lists: Vec<Vec<AccountIndex>>,
    /// Of each list the first eight bytes of its first key, as a big-endian number.
    prefixes: Vec<u64>,
}

/// The first eight bytes of a key as a number that orders like the key.
pub(crate) fn prefix(key: &[u8; 32]) -> u64 {
    key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl KeyOrder {
    /// The order with nothing but the sentinel.
    pub(crate) fn new() -> Self {
        Self { lists: vec![vec![SENTINEL]], prefixes: vec![0] }
    }

    /// An order from indexes that are sorted by key, the sentinel first.
    pub(crate) fn from_sorted(sorted: &[AccountIndex], keys: &Directory) -> Self {
        if sorted.is_empty() {
            return Self::new();
        }
        let lists: Vec<_> = sorted.chunks(LIST_FILL).map(<[_]>::to_vec).collect();
        let prefixes = lists.iter().map(|list| prefix(&keys.key(list[0]).0)).collect();
        Self { lists, prefixes }
    }

    /// Puts a new account in its place and gives the account before it. The key must not be in the order.
    pub(crate) fn insert(&mut self, index: AccountIndex, key: &[u8; 32], keys: &Directory) -> AccountIndex {
        // The last list whose first key is not above: by prefix, then back over equal prefixes by the whole key.
        let wanted = prefix(key);
        let mut at = self.prefixes.partition_point(|&first| first <= wanted).max(1) - 1;
        while at > 0 && self.prefixes[at] == wanted && keys.key(self.lists[at][0]).0 > *key {
            at -= 1;
        }
        let list = &mut self.lists[at];
        let place = list.partition_point(|&other| keys.key(other).0 < *key).max(1);
        let before = list[place - 1];
        if list.len() == list.capacity() {
            list.reserve_exact(LIST_STEP);
        }
        list.insert(place, index);
        if list.len() > LIST_MAX {
            let upper = list.split_off(LIST_MAX / 2);
            list.shrink_to(LIST_MAX / 2 + LIST_STEP);
            self.prefixes.insert(at + 1, prefix(&keys.key(upper[0]).0));
            self.lists.insert(at + 1, upper);
        }
        before
    }

    /// Bytes in use.
    pub(crate) fn memory_bytes(&self) -> usize {
        let lists: usize = self.lists.iter().map(|list| list.capacity() * 4 + size_of::<Vec<u32>>()).sum();
        lists + self.prefixes.capacity() * 8
    }
}
