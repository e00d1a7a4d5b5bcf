//! What agreement does, as it happens, for those who watch: small values that are copied, told to [`crate::Host::observed`].
//!
//! Nothing is decided by them, and nothing waits for whoever takes them. Votes are told as they arrive on the authenticated link of the validator
//! that cast them; their signatures are checked when a certificate is made of them, so that only a [`Observation::Certificate`] proves anything.

use tana_types::Hash;
use tana_types::genesis::VALIDATORS_MAX;

/// Words of a set of voters.
const WORDS: usize = VALIDATORS_MAX.div_ceil(64);

/// What a vote is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VoteKind {
    /// A block is supported in its view.
    Notarize,
    /// A notarized block is to be final.
    Finalize,
    /// The view is to be skipped.
    Nullify,
}

impl VoteKind {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Notarize => "notarize",
            Self::Finalize => "finalize",
            Self::Nullify => "nullify",
        }
    }
}

/// Validators of one epoch by their place in the order of keys: a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Voters([u64; WORDS]);

impl Voters {
    /// Adds the validator at `place`; one beyond the most validators that there can be is left out.
    pub fn add(&mut self, place: u32) {
        let place = place as usize;
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    /// Whether the validator at `place` is in it.
    pub fn contains(&self, place: u32) -> bool {
        let place = place as usize;
        self.0.get(place / 64).is_some_and(|word| word & (1 << (place % 64)) != 0)
    }

    /// How many they are.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Those who are in either.
    pub fn or(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    /// Those who are in this and not in `other`.
    pub fn without(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }
}

impl FromIterator<u32> for Voters {
    fn from_iter<I: IntoIterator<Item = u32>>(places: I) -> Self {
        let mut voters = Self::default();
        places.into_iter().for_each(|place| voters.add(place));
        voters
    }
}

/// One thing that happened. Keys are validators'; blocks are named by their hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// An epoch's engine started.
    Epoch {
        /// The epoch.
        epoch: u64,
        /// Validators of its set.
        validators: u32,
        /// Whether this validator votes in it.
        voting: bool,
    },
    /// A view began.
    View {
        /// Its epoch.
        epoch: u64,
        /// Its number.
        view: u64,
        /// Who leads it.
        leader: [u8; 32],
    },
    /// A block was proposed: made here, or received and about to be judged.
    Proposal {
        /// The epoch.
        epoch: u64,
        /// The view.
        view: u64,
        /// The block's height.
        height: u64,
        /// Who proposed it.
        proposer: [u8; 32],
        /// The block.
        block: Hash,
        /// Transactions that its batches hold.
        transactions: u32,
        /// Batches that it lists.
        batches: u32,
    },
    /// A validator's vote arrived, or was cast here.
    Vote {
        /// The epoch.
        epoch: u64,
        /// The view.
        view: u64,
        /// Whose vote it is.
        validator: [u8; 32],
        /// Its place among the epoch's validators.
        place: u32,
        /// Validators of the epoch.
        validators: u32,
        /// What it is for.
        kind: VoteKind,
        /// The block; zeros for a vote to skip the view.
        block: Hash,
    },
    /// A quorum of votes became a certificate here, or arrived as one; its signatures are checked.
    Certificate {
        /// The epoch.
        epoch: u64,
        /// The view.
        view: u64,
        /// What the votes are for.
        kind: VoteKind,
        /// The block; zeros for a skipped view.
        block: Hash,
        /// Whose votes are in it.
        voters: Voters,
        /// Validators of the epoch.
        validators: u32,
    },
    /// A validator was caught.
    Evidence {
        /// Who it was; zeros where the proof does not say.
        culprit: [u8; 32],
    },
    /// A link to a validator came up or went down.
    Peer {
        /// The validator.
        key: [u8; 32],
        /// Whether the link stands now.
        connected: bool,
    },
}

/// The votes that a certificate or a decision needs: all but the most that may fail, f = (n - 1) / 3 of n.
pub fn quorum(validators: u32) -> u32 {
    validators - validators.saturating_sub(1) / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_are_counted_once_and_bounded() {
        let mut voters: Voters = [0, 63, 64, 255, 255].into_iter().collect();
        assert_eq!(voters.count(), 4);
        voters.add(256);
        voters.add(u32::MAX);
        assert_eq!(voters.count(), 4);
        assert!(voters.contains(64) && !voters.contains(1) && !voters.contains(256));
        let others: Voters = [1, 63].into_iter().collect();
        assert_eq!((voters.or(&others).count(), voters.without(&others).count()), (5, 3));
    }

    #[test]
    fn a_quorum_is_more_than_two_thirds() {
        let needed = |validators| quorum(validators);
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 10].map(needed), [1, 2, 3, 3, 4, 5, 5, 7]);
        assert_eq!(quorum(0), 0);
    }
}
