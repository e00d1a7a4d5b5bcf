//! Numbers that look random and follow from the seed alone.
//!
//! A load must be the same for the same seed on every machine and in every version of every library, so the generator is
//! written out here: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014), started from a
//! BLAKE3 hash of the seed and of what the numbers are for. It is fast and even enough for loads, and no secret depends on it.

/// The context under which generators are started.
const CONTEXT: &str = "tana tx-gen random v1";

/// A generator of numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The generator of `seed` for one purpose and the `number`-th of its users.
    pub fn new(seed: &str, purpose: &str, number: u64) -> Self {
        let bytes = derive(CONTEXT, seed, purpose, number);
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[..8]);
        Self(u64::from_le_bytes(word))
    }

    /// The next 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is at least 1; even but for one part in 2^32.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.next_u64() >> 32) * u64::from(bound)) >> 32) as u32
    }
}

/// 32 bytes that follow from a context, a seed, a purpose and a number.
pub(crate) fn derive(context: &str, seed: &str, purpose: &str, number: u64) -> [u8; 32] {
    *hasher(context, seed, purpose, number).finalize().as_bytes()
}

/// 64 bytes that follow from a context, a seed, a purpose and a number.
pub(crate) fn derive_wide(context: &str, seed: &str, purpose: &str, number: u64) -> [u8; 64] {
    let mut bytes = [0; 64];
    hasher(context, seed, purpose, number).finalize_xof().fill(&mut bytes);
    bytes
}

fn hasher(context: &str, seed: &str, purpose: &str, number: u64) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(&number.to_le_bytes());
    hasher.update(&(purpose.len() as u64).to_le_bytes());
    hasher.update(purpose.as_bytes());
    hasher.update(seed.as_bytes());
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_purposes_differ() {
        let draw = |seed, purpose, number| {
            let mut random = Random::new(seed, purpose, number);
            [random.next_u64(), random.next_u64(), random.next_u64()]
        };
        assert_eq!(draw("a", "x", 1), draw("a", "x", 1));
        let mut all = vec![draw("a", "x", 1), draw("b", "x", 1), draw("a", "y", 1), draw("a", "x", 2)];
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn numbers_below_a_bound_are_even() {
        let mut random = Random::new("even", "test", 0);
        let mut counts = [0u32; 10];
        for _ in 0..100_000 {
            counts[random.below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|&count| (9_500..10_500).contains(&count)), "{counts:?}");
    }
}
