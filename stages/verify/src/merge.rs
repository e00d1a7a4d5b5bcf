//! Which items of a batch have the same key.
//!
//! Terms of one key add up to one term of the batch equation, and a key needs to be decoded once a batch. Keys are equal
//! when their 32 bytes are: a hint is only a hint. Open addressing in a table of twice the batch; the hash mixes the four
//! words of the key with random odd numbers, so that a sender cannot choose keys that collide.

use crate::Item;
use rand::Rng;

/// Slot of an item that takes no part.
const NONE: u32 = u32::MAX;

/// Finds equal keys in a batch. Keeps its memory from batch to batch.
pub(crate) struct KeyMerge {
    multipliers: [u64; 4],
    table: Vec<u32>,
    slots: Vec<u32>,
    distinct: Vec<u32>,
}

impl KeyMerge {
    pub(crate) fn new(random: &mut impl Rng) -> KeyMerge {
        let multipliers = core::array::from_fn(|_| random.next_u64() | 1);
        KeyMerge { multipliers, table: Vec::new(), slots: Vec::new(), distinct: Vec::new() }
    }

    /// Numbers the distinct keys of the items whose verdict is still `true`, in the order of first appearance.
    pub(crate) fn run(&mut self, items: &[Item<'_>], verdicts: &[bool]) {
        let size = (items.len() * 2).next_power_of_two().max(8);
        let shift = 64 - size.trailing_zeros();
        self.table.clear();
        self.table.resize(size, NONE);
        self.slots.clear();
        self.distinct.clear();
        for (index, item) in items.iter().enumerate() {
            if !verdicts[index] {
                // Any slot will do: nobody looks at it but to ignore it.
                self.slots.push(0);
                continue;
            }
            let mut place = (self.hash(item.key) >> shift) as usize;
            let slot = loop {
                match self.table[place] {
                    NONE => {
                        let slot = self.distinct.len() as u32;
                        self.table[place] = slot;
                        self.distinct.push(index as u32);
                        break slot;
                    }
                    slot if items[self.distinct[slot as usize] as usize].key == item.key => break slot,
                    _ => place = (place + 1) & (size - 1),
                }
            };
            self.slots.push(slot);
        }
    }

    fn hash(&self, key: &[u8; 32]) -> u64 {
        let (words, _) = key.as_chunks::<8>();
        let mut sum = 0u64;
        for (word, multiplier) in words.iter().zip(self.multipliers) {
            let product = (u64::from_le_bytes(*word) ^ multiplier.rotate_left(29)) as u128 * multiplier as u128;
            sum = sum.wrapping_add(product as u64 ^ (product >> 64) as u64);
        }
        sum.wrapping_mul(self.multipliers[0])
    }

    /// The number of each item's key; meaningless for items that took no part.
    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// For each distinct key the first item that has it.
    pub(crate) fn distinct(&self) -> &[u32] {
        &self.distinct
    }
}
