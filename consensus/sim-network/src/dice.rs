//! Chance, from a seed: the only source of it in a simulation, so that a seed says everything.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of decisions.
#[derive(Debug, Clone)]
pub struct Dice {
    random: ChaCha8Rng,
}

impl Dice {
    /// The stream of this seed for one purpose: streams of one seed do not depend on each other, so that a change in one part of the
    /// simulation leaves the decisions of the others as they were.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("tana simulation dice v1");
        hasher.update(&seed.to_le_bytes()).update(purpose.as_bytes());
        Self { random: ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()) }
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// A number below `limit`; 0 where that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The bias of at most `limit` in 2^64 changes nothing here.
        self.bits().checked_rem(limit).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included; `low` where `high` is below it.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True in `per_mille` of 1,000 cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// A place in a list of this length.
    pub fn place(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// One of `choices`; none where there is none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.place(choices.len()))
    }

    /// Puts a list into any order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.place(end + 1));
        }
    }

    /// That many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.bits() as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn streams_repeat_and_are_apart() {
        let draw = |seed, purpose| {
            let mut dice = Dice::new(seed, purpose);
            (0..4).map(|_| dice.bits()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, "faults"), draw(1, "faults"));
        assert_ne!(draw(1, "faults"), draw(2, "faults"));
        assert_ne!(draw(1, "faults"), draw(1, "load"));
    }

    #[test]
    fn numbers_stay_in_range() {
        let mut dice = Dice::new(7, "range");
        for _ in 0..1_000 {
            assert!((3..=9).contains(&dice.between(3, 9)));
            assert_eq!(dice.below(0), 0);
        }
        assert!(!dice.chance(0) && dice.chance(1_000));
    }
}
