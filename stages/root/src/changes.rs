//! What a block changed, as the tree takes it.
//!
//! Indexes rise, so that the tree walks its memory in one direction and finds changed siblings next to each other. The tree
//! checks that before it touches anything: a wrong order would give a wrong root, silently.

use tana_hash::{Hash, keyed_each_from};

use crate::leaf::{LEAF_KEY, hash_long_leaves};
use crate::{ACCOUNTS_MAX, RECORD_BYTES};

/// Changed and new accounts of one block.
#[derive(Clone, Copy, Debug)]
pub struct LeafChanges<'a> {
    /// Indexes of the accounts, strictly rising. New accounts take the indexes from the tree's count onward, without a gap.
    pub indexes: &'a [u32],
    /// The records after the block, one for each index.
    pub records: &'a [[u8; RECORD_BYTES]],
    /// Accounts that have an overflow part: position in `records`, strictly rising, and hash of the part.
    pub overflows: &'a [(u32, Hash)],
}

/// Why changes were refused; the tree is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangesError {
    /// `indexes` and `records` differ in length.
    #[error("{indexes} account indexes came with {records} records; give one record for each index")]
    Lengths {
        /// Length of `indexes`.
        indexes: usize,
        /// Length of `records`.
        records: usize,
    },
    /// An index is not above the one before it.
    #[error(
        "account index at position {position} is not above the one before it; sort the changes and keep each index once"
    )]
    Order {
        /// Position of the index in `indexes`.
        position: usize,
    },
    /// New accounts leave a gap, or there would be too many.
    #[error(
        "account index {index} does not fit a tree of {count} accounts; new accounts take the next indexes without a gap, up to {ACCOUNTS_MAX} in all"
    )]
    Gap {
        /// The highest index given.
        index: u32,
        /// Accounts in the tree.
        count: u64,
    },
    /// An overflow's position is out of order or beyond the records.
    #[error(
        "overflow at position {position} of the list is out of order or names no record; sort the list by position in the records"
    )]
    Overflow {
        /// Position in `overflows`.
        position: usize,
    },
}

impl LeafChanges<'_> {
    /// Leaf hashes of the changes that begin at `start`, as many as `out` takes. `touch` is called with the position of each
    /// while it is hashed.
    pub(crate) fn hash(&self, start: usize, touch: impl Fn(usize), out: &mut [Hash]) {
        let records = &self.records[start..start + out.len()];
        keyed_each_from(&LEAF_KEY, |place| &records[place], |place| touch(start + place), out);
        let place = |position: usize| self.overflows.partition_point(|(at, _)| (*at as usize) < position);
        let overflows = &self.overflows[place(start)..place(start + out.len())];
        hash_long_leaves(self.records, overflows, start, out);
    }

    /// Checks the changes against a tree of `count` accounts; gives the count after them.
    pub(crate) fn check(&self, count: u64) -> Result<u64, ChangesError> {
        let (indexes, records) = (self.indexes.len(), self.records.len());
        if indexes != records {
            return Err(ChangesError::Lengths { indexes, records });
        }
        if let Some(position) = self.indexes.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(ChangesError::Order { position: position + 1 });
        }
        let mut least = 0;
        for (position, (at, _)) in self.overflows.iter().enumerate() {
            if u64::from(*at) < least || *at as usize >= records {
                return Err(ChangesError::Overflow { position });
            }
            least = u64::from(*at) + 1;
        }
        let added = (indexes - self.indexes.partition_point(|index| u64::from(*index) < count)) as u64;
        match self.indexes.last() {
            // The indexes rise, so they have no gap exactly if the last one is the last of `count + added`.
            Some(&index) if added > 0 && (u64::from(index) + 1 != count + added || count + added > ACCOUNTS_MAX) => {
                Err(ChangesError::Gap { index, count })
            }
            _ => Ok(count + added),
        }
    }
}
