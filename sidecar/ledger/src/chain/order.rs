//! The order of keys: whose is a key, and who stands before one that nobody has?
//!
//! Account indexes sorted by key, cut into short lists, so that an insertion moves little. The keys themselves are read from the records, so
//! this costs 4 bytes per account and at most about as much again in lists that have room to grow, and there is no map from keys beside it.

use tana_types::account::{AccountIndex, SENTINEL};

/// A list longer than this is cut in two.
const LIST_MAX: usize = 512;
/// Lists of a freshly sorted order are this long, so that the first insertions do not cut them all.
const LIST_FILL: usize = 384;

/// See the module's text. The sentinel is first: its key of zeros is below every other.
pub(crate) struct KeyOrder {
    /// Account indexes by key; never empty, and no list is empty.
    lists: Vec<Vec<AccountIndex>>,
    /// Of each list the first eight bytes of its first key, as a big-endian number.
    prefixes: Vec<u64>,
}

/// The first eight bytes of a key as a number that orders like the key.
fn prefix(key: &[u8; 32]) -> u64 {
    key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl KeyOrder {
    /// An order from indexes that are sorted by key, the sentinel first; `key_of` gives an account's key.
    pub(crate) fn from_sorted<'a>(sorted: &[AccountIndex], key_of: impl Fn(AccountIndex) -> &'a [u8; 32]) -> Self {
        let lists: Vec<_> = match sorted {
            [] => vec![vec![SENTINEL]],
            sorted => sorted.chunks(LIST_FILL).map(<[_]>::to_vec).collect(),
        };
        let prefixes = lists.iter().map(|list| prefix(key_of(list[0]))).collect();
        Self { lists, prefixes }
    }

    /// The list in which a key is or would be, and the last account in it whose key is not above: the account itself, or the one before.
    fn place<'a>(&self, key: &[u8; 32], key_of: &impl Fn(AccountIndex) -> &'a [u8; 32]) -> (usize, usize) {
        // The last list whose first key is not above: by prefix, then back over equal prefixes by the whole key.
        let wanted = prefix(key);
        let mut at = self.prefixes.partition_point(|&first| first <= wanted).max(1) - 1;
        while at > 0 && self.prefixes[at] == wanted && key_of(self.lists[at][0]) > key {
            at -= 1;
        }
        let place = self.lists[at].partition_point(|&other| key_of(other) <= key).max(1) - 1;
        (at, place)
    }

    /// The last account whose key is not above `key`: its own, or the one before it in key order, maybe the sentinel.
    pub(crate) fn at_or_before<'a>(
        &self,
        key: &[u8; 32],
        key_of: impl Fn(AccountIndex) -> &'a [u8; 32],
    ) -> AccountIndex {
        let (at, place) = self.place(key, &key_of);
        self.lists[at][place]
    }

    /// Puts a new account in its place. Its key must not be in the order.
    pub(crate) fn insert<'a>(&mut self, index: AccountIndex, key_of: impl Fn(AccountIndex) -> &'a [u8; 32]) {
        let (at, place) = self.place(key_of(index), &key_of);
        let list = &mut self.lists[at];
        list.insert(place + 1, index);
        if list.len() > LIST_MAX {
            let upper = list.split_off(LIST_MAX / 2);
            self.prefixes.insert(at + 1, prefix(key_of(upper[0])));
            self.lists.insert(at + 1, upper);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn finds_what_a_map_finds() {
        // Keys that share prefixes too, in an order of creation that has nothing to do with theirs.
        let key = |number: u32| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&u64::from(number.wrapping_mul(2_654_435_761) % 97).to_be_bytes());
            key[28..].copy_from_slice(&number.to_be_bytes());
            key
        };
        let keys: Vec<[u8; 32]> = std::iter::once([0; 32]).chain((1..3_000).map(key)).collect();
        let mut sorted: Vec<u32> = (0..1_000).collect();
        sorted.sort_by_key(|index| keys[*index as usize]);
        let mut order = KeyOrder::from_sorted(&sorted, |index| &keys[index as usize]);
        for index in 1_000..3_000 {
            order.insert(index, |index| &keys[index as usize]);
        }
        let map: BTreeMap<[u8; 32], u32> = keys.iter().copied().zip(0..).collect();
        for probe in (0..3_000).map(|index| keys[index]).chain((5_000..6_000).map(key)).chain([[0xff; 32]]) {
            let expected = *map.range(..=probe).next_back().unwrap().1;
            assert_eq!(order.at_or_before(&probe, |index| &keys[index as usize]), expected);
        }
    }
}
