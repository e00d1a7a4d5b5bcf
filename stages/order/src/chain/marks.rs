//! How far blocks have listed each lane, on one branch.
//!
//! Headers name lanes by place in the set of their epoch; marks are kept by key here and so follow an author across epochs. Who leaves the set
//! loses its mark, and when it comes back its lane begins anew, as in the state. Its old batches may still be about then, so the mark that
//! it left with is remembered as a *floor* for as long as any batch listed before can be unexpired: nothing at or below it is listed again. The
//! state keeps floors by the same rule ([`enter_floors`]), so a start has those of all that left before.

use std::collections::BTreeMap;

use tana_execute::{LaneFloors, enter_floors};
use tana_types::header::BlockHeader;

/// Marks by author: the last sequence that blocks listed.
pub type AuthorMarks = BTreeMap<[u8; 32], u64>;

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LaneMarks {
    pub(crate) marks: AuthorMarks,
    /// What authors left with.
    floors: LaneFloors,
}

impl LaneMarks {
    pub(crate) fn new(marks: AuthorMarks, floors: LaneFloors) -> Self {
        Self { marks, floors }
    }

    /// What authors left with, as long as it matters.
    pub(crate) fn floors(&self) -> &LaneFloors {
        &self.floors
    }

    /// The last listed sequence of this author's lane.
    pub(crate) fn mark(&self, author: &[u8; 32]) -> u64 {
        self.marks.get(author).copied().unwrap_or(0)
    }

    /// Whether this author's batch at `sequence` was listed before it left the set.
    pub(crate) fn is_below_floor(&self, author: &[u8; 32], sequence: u64) -> bool {
        self.floors.get(author).is_some_and(|floor| sequence <= floor.mark)
    }

    /// The marks with which an epoch begins whose first block is `height`: of its members only.
    pub(crate) fn enter(&self, members: &[[u8; 32]], height: u64, expiry_blocks: u64) -> Self {
        let (staying, left): (AuthorMarks, AuthorMarks) =
            self.marks.iter().map(|(author, mark)| (*author, *mark)).partition(|(author, _)| members.contains(author));
        let mut next = Self { marks: staying, floors: self.floors.clone() };
        enter_floors(&mut next.floors, left, height, expiry_blocks);
        next
    }

    /// Moves on with a block; false if it names a lane that the set does not have.
    pub(crate) fn advance(&mut self, header: &BlockHeader, members: &[[u8; 32]]) -> bool {
        for lane in &header.lanes {
            let Some(author) = members.get(usize::from(lane.lane)) else { return false };
            // Lanes have at least one digest, from sequence 1 on.
            let last = lane.first_sequence.saturating_add(lane.digests.len() as u64).saturating_sub(1);
            self.marks.insert(*author, last);
        }
        true
    }
}

/// Marks by author from the state's marks by lane, given the set of the state's epoch.
pub fn marks_by_author(lane_marks: &BTreeMap<u16, u64>, members: &[[u8; 32]]) -> AuthorMarks {
    let named = lane_marks.iter().filter_map(|(&lane, &mark)| Some((*members.get(usize::from(lane))?, mark)));
    named.collect()
}
