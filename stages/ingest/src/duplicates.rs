//! A fixed-size memory of the bytes that were admitted in the last seconds, shared by all ingest threads without a lock.
//!
//! A resent transaction would cost a signature check for nothing. The filter knows transactions by a 64-bit hash of their full
//! signed bytes under a random key, so nobody can aim at the place of another's transaction. It forgets by time, not by outcome:
//! after about ten seconds the same bytes may come again, and execution decides.
//!
//! 1. The hash picks a bucket of four slots (its low bits) and is kept in it as 48 bits (its high bits) beside a coarse time of
//!    16 bits, in steps of 2^29 ns (0.54 s).
//! 2. A slot with the same 48 bits that is younger than [`LIFETIME_TICKS`] steps means: seen before.
//! 3. Otherwise the oldest slot of the bucket is replaced by compare-and-swap; when another thread was quicker, look again. Two
//!    threads with the same bytes choose the same slot, so one of them sees the other's entry.
//!
//! A flood that fills buckets faster than they age makes the filter forget early, which costs checks but never correctness. A wrong
//! "seen before" needs 4 slots to meet 48 bits by chance: below once in 10^12 transactions, and it ends after ten seconds.

use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;

use crate::prefetch::prefetch;

const TICK_SHIFT: u32 = 29;
/// Steps for which an entry counts.
const LIFETIME_TICKS: i16 = 19;
/// How long an entry counts at most: 19 steps of 2^29 ns, 10.2 s.
pub const DUPLICATE_LIFETIME_NS: u64 = (LIFETIME_TICKS as u64) << TICK_SHIFT;
const TAG_MASK: u64 = !0xffff;
const WAYS: usize = 4;

/// Four slots on one cache line: 48 bits of hash over 16 bits of time; 0 is empty.
#[derive(Debug, Default)]
#[repr(align(32))]
struct Bucket([AtomicU64; WAYS]);

/// Remembers hashes of admitted transactions for about ten seconds.
#[derive(Debug)]
pub struct DuplicateFilter {
    buckets: Box<[Bucket]>,
    keys: RandomState,
}

/// How many steps old an entry is; one that another thread wrote with a later clock counts as new.
fn age(entry: u64, tick: u16) -> i16 {
    (tick.wrapping_sub(entry as u16) as i16).max(0)
}

impl DuplicateFilter {
    /// A filter of `slots` (rounded up to a power of two, at least 4) entries of 8 bytes; `seeds` must be random.
    pub fn new(slots: usize, seeds: [u64; 4]) -> Self {
        let buckets = slots.div_ceil(WAYS).next_power_of_two();
        Self {
            buckets: std::iter::repeat_with(Bucket::default).take(buckets).collect(),
            keys: RandomState::with_seeds(seeds[0], seeds[1], seeds[2], seeds[3]),
        }
    }

    /// The hash by which the filter knows `bytes`.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        self.keys.hash_one(bytes)
    }

    /// Fetches the hash's bucket into the cache, for a question that follows soon.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        prefetch(self.bucket(hash));
    }

    /// Whether `hash` was inserted less than about ten seconds before `now_ns`.
    #[inline]
    pub fn contains(&self, hash: u64, now_ns: u64) -> bool {
        let (tag, tick) = Self::tag_and_tick(hash, now_ns);
        let is_live = |slot: &AtomicU64| {
            let entry = slot.load(Ordering::Acquire);
            entry & TAG_MASK == tag && age(entry, tick) < LIFETIME_TICKS
        };
        self.bucket(hash).0.iter().any(is_live)
    }

    /// Remembers `hash`; false when it was there already. Of several threads with one hash exactly one gets true.
    #[inline]
    pub fn insert(&self, hash: u64, now_ns: u64) -> bool {
        let (tag, tick) = Self::tag_and_tick(hash, now_ns);
        let slots = &self.bucket(hash).0;
        // Each failed exchange means that another thread succeeded in this bucket, so the loop ends as soon as they pause.
        loop {
            let (mut oldest, mut oldest_entry, mut oldest_age) = (0, 0, -1);
            for step in 0..WAYS {
                // Begins at a place that the hash chooses, so that entries of one age give way evenly.
                let position = (step + (hash >> 62) as usize) % WAYS;
                let entry = slots[position].load(Ordering::Acquire);
                let age = if entry == 0 { i16::MAX } else { age(entry, tick) };
                if entry & TAG_MASK == tag && age < LIFETIME_TICKS {
                    return false;
                }
                if age > oldest_age {
                    (oldest, oldest_entry, oldest_age) = (position, entry, age);
                }
            }
            let entry = tag | u64::from(tick);
            let exchanged =
                slots[oldest].compare_exchange(oldest_entry, entry, Ordering::AcqRel, Ordering::Acquire).is_ok();
            if exchanged {
                return true;
            }
        }
    }

    #[inline]
    fn bucket(&self, hash: u64) -> &Bucket {
        &self.buckets[hash as usize & (self.buckets.len() - 1)]
    }

    /// The lowest bit of the tag is always set, so that no entry is 0.
    #[inline]
    fn tag_and_tick(hash: u64, now_ns: u64) -> (u64, u16) {
        ((hash | 0x1_0000) & TAG_MASK, (now_ns >> TICK_SHIFT) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(slots: usize) -> DuplicateFilter {
        DuplicateFilter::new(slots, [1, 2, 3, 4])
    }

    #[test]
    fn an_entry_counts_for_its_lifetime_and_not_longer() {
        let filter = filter(64);
        let hash = filter.hash(b"bytes");
        assert!(!filter.contains(hash, 0));
        assert!(filter.insert(hash, 0));
        assert!(!filter.insert(hash, DUPLICATE_LIFETIME_NS - 1));
        assert!(filter.contains(hash, DUPLICATE_LIFETIME_NS - 1));
        assert!(!filter.contains(hash, DUPLICATE_LIFETIME_NS));
        assert!(filter.insert(hash, DUPLICATE_LIFETIME_NS));
        assert!(!filter.insert(hash, DUPLICATE_LIFETIME_NS + 1));
    }

    #[test]
    fn a_later_clock_of_another_thread_is_no_age() {
        let filter = filter(64);
        assert!(filter.insert(7, 5 << TICK_SHIFT));
        assert!(!filter.insert(7, 0));
    }

    #[test]
    fn the_oldest_of_a_bucket_gives_way() {
        let filter = filter(4);
        let entries: Vec<u64> = (1..=5).map(|number| number << 20).collect();
        for (tick, &entry) in entries.iter().enumerate() {
            assert!(filter.insert(entry, (tick as u64) << TICK_SHIFT));
        }
        let now = 4 << TICK_SHIFT;
        let known: Vec<bool> = entries.iter().map(|&entry| filter.contains(entry, now)).collect();
        assert_eq!(known, [false, true, true, true, true]);
    }

    #[test]
    fn other_keys_hash_otherwise() {
        assert_ne!(filter(4).hash(b"x"), DuplicateFilter::new(4, [1, 2, 3, 5]).hash(b"x"));
    }

    #[test]
    fn of_racing_threads_exactly_one_inserts() {
        let filter = filter(1 << 10);
        let inserted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let count = (0..100u64).filter(|number| filter.insert(number << 17 | number, 0)).count();
                    inserted.fetch_add(count as u64, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(inserted.load(Ordering::Relaxed), 100);
    }
}
