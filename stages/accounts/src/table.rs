//! The hash table from key to index: open addressing over atomic slots, one writer, readers that never wait.
//!
//! A slot is 0 when empty, otherwise the low 32 bits of the key's hash above index + 1. A look-up starts at the place that the hash's
//! high bits name (multiply and shift, so that any number of slots will do) and walks on until the fingerprint and then the key fit or an
//! empty slot ends it. Slots are only ever filled, never changed, so that a walk sees a key or, at worst, the table of a moment ago.
//!
//! The hash is keyed with a random seed: nobody can prepare keys that collide. Its order is never visible.

use std::sync::atomic::{AtomicU64, Ordering};

use tana_types::account::{AccountIndex, NO_ACCOUNT};
use zerocopy::FromZeros;

use crate::store::{Store, words};

/// A table is replaced when it would be fuller than this many slots of [`LOAD_OF`].
const LOAD_MAX: usize = 7;
const LOAD_OF: usize = 10;
/// The smallest table.
const SLOTS_MIN: usize = 1_024;

/// Keys that are looked up side by side: enough to overlap the trips to memory that a core can have in flight.
const GROUP: usize = 16;

pub(crate) struct Table {
    slots: Box<[AtomicU64]>,
    hasher: ahash::RandomState,
}

impl Table {
    /// A table with room for `accounts` at a load of about 0.6.
    pub(crate) fn new(accounts: usize, hasher: ahash::RandomState) -> Self {
        let slots = (accounts / 5 * 8).max(SLOTS_MIN);
        // Fails only when the machine has no memory left, where any other allocation would abort too.
        #[allow(clippy::expect_used)]
        let slots = <[AtomicU64]>::new_box_zeroed_with_elems(slots).expect("memory for the table of accounts");
        Self { slots, hasher }
    }

    /// A table of twice the size with the accounts from 1 to `count`.
    pub(crate) fn grown(&self, store: &Store, count: u32) -> Self {
        let grown = Self::new(self.slots.len() * 2 / 8 * 5 + 5, self.hasher.clone());
        for index in 1..count {
            grown.insert(&store.key(index), index);
        }
        grown
    }

    /// Whether one account more than `count` would make the table too full.
    pub(crate) fn is_full(&self, count: u32) -> bool {
        (count as usize + 1) * LOAD_OF > self.slots.len() * LOAD_MAX
    }

    #[inline]
    fn hash(&self, key: &[u8; 32]) -> u64 {
        use std::hash::{BuildHasher, Hasher};
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    #[inline]
    fn first_place(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.slots.len() as u128) >> 64) as usize
    }

    /// Walks on from `place` to the next slot with this fingerprint; gives its account and place, or nothing at an empty slot.
    #[inline]
    fn candidate(&self, mut place: usize, fingerprint: u32) -> Option<(AccountIndex, usize)> {
        loop {
            let slot = self.slots[place].load(Ordering::Acquire);
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == fingerprint {
                return Some((slot as u32 - 1, place));
            }
            place = self.next(place);
        }
    }

    #[inline]
    fn next(&self, place: usize) -> usize {
        if place + 1 == self.slots.len() { 0 } else { place + 1 }
    }

    fn find_from(&self, mut place: usize, fingerprint: u32, key: &[u64; 4], store: &Store) -> Option<AccountIndex> {
        while let Some((index, at)) = self.candidate(place, fingerprint) {
            if store.has_key(index, key) {
                return Some(index);
            }
            place = self.next(at);
        }
        None
    }

    #[inline]
    pub(crate) fn find(&self, key: &[u8; 32], store: &Store) -> Option<AccountIndex> {
        let hash = self.hash(key);
        self.find_from(self.first_place(hash), hash as u32, &words(key), store)
    }

    /// Adds a key that is not in the table. The table must not be full.
    pub(crate) fn insert(&self, key: &[u8; 32], index: AccountIndex) {
        let hash = self.hash(key);
        let mut place = self.first_place(hash);
        while self.slots[place].load(Ordering::Relaxed) != 0 {
            place = self.next(place);
        }
        self.slots[place].store(hash << 32 | u64::from(index + 1), Ordering::Release);
    }

    /// Looks up many keys; appends an index for each, [`NO_ACCOUNT`] when unknown. In groups: all first slots, then all candidates'
    /// keys, then the comparisons, so that the trips to memory of a group overlap.
    pub(crate) fn find_each<'k>(
        &self,
        keys: impl Iterator<Item = &'k [u8; 32]>,
        store: &Store,
        out: &mut Vec<AccountIndex>,
    ) {
        let mut keys = keys;
        loop {
            let mut group = [&[0; 32]; GROUP];
            let mut count = 0;
            for (place, key) in group.iter_mut().zip(keys.by_ref()) {
                *place = key;
                count += 1;
            }
            self.find_group(&group[..count], store, out);
            if count < GROUP {
                return;
            }
        }
    }

    fn find_group(&self, keys: &[&[u8; 32]], store: &Store, out: &mut Vec<AccountIndex>) {
        let (mut hashes, mut places, mut found) = ([0u64; GROUP], [0usize; GROUP], [NO_ACCOUNT; GROUP]);
        let mut touched = 0;
        for (at, key) in keys.iter().enumerate() {
            hashes[at] = self.hash(key);
            places[at] = self.first_place(hashes[at]);
            touched ^= self.slots[places[at]].load(Ordering::Relaxed);
        }
        for at in 0..keys.len() {
            match self.candidate(places[at], hashes[at] as u32) {
                Some((index, place)) => (found[at], places[at]) = (index, place),
                None => found[at] = NO_ACCOUNT,
            }
        }
        for &index in &found[..keys.len()] {
            touched ^= store.touch(index);
        }
        std::hint::black_box(touched);
        for (at, key) in keys.iter().enumerate() {
            let key = words(key);
            if found[at] != NO_ACCOUNT && !store.has_key(found[at], &key) {
                let next = self.next(places[at]);
                found[at] = self.find_from(next, hashes[at] as u32, &key, store).unwrap_or(NO_ACCOUNT);
            }
            out.push(found[at]);
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }
}
