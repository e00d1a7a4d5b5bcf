//! Who receives: every account alike, or few accounts most of the time.
//!
//! With a skew `s` above 0 the account of rank `i` (from 1) receives in proportion to `1 / i^s`, the Zipf distribution that real
//! payments resemble (about 1). A draw must cost little for a million accounts, so the weights become an alias table (Walker 1977,
//! in Vose's order of 1991), in which each draw is one look-up:
//!
//! 1. weights are scaled to integers, so that the table is exact and holds no fractions;
//! 2. every slot holds a mean weight: its own account's, topped up by one richer account, the alias;
//! 3. a draw picks a slot evenly, then the slot's own account or its alias by comparing 32 bits with the slot's threshold.

use crate::random::Random;

/// The largest weight. Small enough that a weight times four billion accounts fits 128 bits by far, large enough that
/// rank 4,000,000,000 at skew 1 still weighs more than 200.
const WEIGHT_MAX: f64 = 1_099_511_627_776.0;

/// Draws account numbers below a count.
#[derive(Debug, Clone)]
pub enum Sampler {
    /// All alike.
    Uniform(u32),
    /// An alias table: per slot the threshold out of 2^32 below which the slot's own number is drawn, and the alias.
    Skewed(Vec<(u32, u32)>),
}

impl Sampler {
    /// A sampler of numbers below `count` (at least 1) with this skew; 0 is uniform.
    pub fn new(count: u32, skew: f64) -> Self {
        if skew <= 0.0 || count < 2 {
            return Sampler::Uniform(count.max(1));
        }
        let weights: Vec<u64> =
            (0..count).map(|rank| (WEIGHT_MAX / (f64::from(rank) + 1.0).powf(skew)).max(1.0) as u64).collect();
        Sampler::Skewed(alias_table(&weights))
    }

    /// Draws one number.
    #[inline]
    pub fn draw(&self, random: &mut Random) -> u32 {
        match self {
            Sampler::Uniform(count) => random.below(*count),
            Sampler::Skewed(table) => {
                let bits = random.next_u64();
                let slot = ((bits >> 32) * table.len() as u64) >> 32;
                let (threshold, alias) = table[slot as usize];
                if (bits as u32) < threshold { slot as u32 } else { alias }
            }
        }
    }
}

/// The alias table of `weights`, which are at least 1 and fewer than 2^32.
fn alias_table(weights: &[u64]) -> Vec<(u32, u32)> {
    let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    let count = weights.len() as u128;
    // In units of 1 / count, so that the mean is `total`.
    let mut scaled: Vec<u128> = weights.iter().map(|&weight| u128::from(weight) * count).collect();
    let mut table: Vec<(u32, u32)> = (0..weights.len() as u32).map(|number| (u32::MAX, number)).collect();
    let (mut poor, mut rich): (Vec<u32>, Vec<u32>) =
        (0..weights.len() as u32).partition(|&number| scaled[number as usize] < total);
    while let (Some(&slot), Some(&giver)) = (poor.last(), rich.last()) {
        poor.pop();
        let has = scaled[slot as usize];
        table[slot as usize] = (((has << 32) / total) as u32, giver);
        scaled[giver as usize] -= total - has;
        if scaled[giver as usize] < total {
            rich.pop();
            poor.push(giver);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(sampler: &Sampler, count: usize, draws: u32) -> Vec<u32> {
        let mut random = Random::new("zipf", "test", 0);
        let mut counts = vec![0; count];
        (0..draws).for_each(|_| counts[sampler.draw(&mut random) as usize] += 1);
        counts
    }

    #[test]
    fn without_skew_all_receive_alike() {
        let counts = counts(&Sampler::new(100, 0.0), 100, 1_000_000);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn ranks_receive_as_zipf_says() {
        for skew in [0.5, 1.0, 1.5] {
            let draws = 1_000_000;
            let counts = counts(&Sampler::new(1_000, skew), 1_000, draws);
            let total: f64 = (1..=1_000).map(|rank| f64::from(rank).powf(-skew)).sum();
            for rank in [1, 2, 3, 10, 30] {
                let expected = f64::from(draws) * f64::from(rank).powf(-skew) / total;
                let found = f64::from(counts[rank as usize - 1]);
                assert!(
                    (found - expected).abs() < 5.0 * expected.sqrt() + 2.0,
                    "skew {skew} rank {rank}: {found} {expected}"
                );
            }
            assert_eq!(counts.iter().sum::<u32>(), draws);
        }
    }

    #[test]
    fn one_account_is_always_drawn() {
        assert_eq!(Sampler::new(1, 1.0).draw(&mut Random::new("one", "test", 0)), 0);
    }
}
