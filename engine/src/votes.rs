//! Who voted for which block, for the last views: what `/quorum` answers from before it looks into the logs.
//!
//! Fed with what agreement [observes](tana_consensus::Observation), on agreement's thread. Bounded: a view past the last [`VIEWS_MAX`] is
//! forgotten, the lowest first, and a view has room for [`BLOCKS_PER_VIEW_MAX`] blocks. More than one come only from cheats: a leader that proposes
//! several, or voters that vote for what nobody proposed. So a proposal or a certificate takes the place of a block that has neither, and votes alone
//! take nobody's.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tana_consensus::{Observation, VoteKind, Voters, quorum};
use tana_types::Hash;

/// Views that are remembered, about 200 bytes each.
pub const VIEWS_MAX: usize = 1_024;
/// Blocks that are told apart in one view.
pub const BLOCKS_PER_VIEW_MAX: usize = 4;

/// How the validators stand to a block, as far as this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// The block.
    pub block: Hash,
    /// Its height; 0 where it is not known.
    pub height: u64,
    /// The epoch of the votes.
    pub epoch: u64,
    /// The view of the votes.
    pub view: u64,
    /// Validators of the epoch.
    pub validators: u32,
    /// Those who voted for it: to notarize or to finalize it.
    pub approve: u32,
    /// Those who did not and voted to skip its view instead.
    pub reject: u32,
    /// Votes that are needed.
    pub required: u32,
    /// Whether a certificate shows that as many voted for it.
    pub has_quorum: bool,
    /// Whether it is known to be final.
    pub is_final: bool,
}

#[derive(Default)]
struct BlockVotes {
    block: Hash,
    /// 0 until it was proposed, or was found to be final.
    height: u64,
    voters: Voters,
    is_certified: bool,
    is_final: bool,
}

impl BlockVotes {
    /// Whether there is nothing but votes for it.
    fn is_voted_only(&self) -> bool {
        self.height == 0 && !self.is_certified && !self.is_final
    }
}

#[derive(Default)]
struct ViewVotes {
    validators: u32,
    nullify: Voters,
    blocks: Vec<BlockVotes>,
}

impl ViewVotes {
    /// The votes for a block that somebody voted for; none where there is no room.
    fn voted(&mut self, block: Hash) -> Option<&mut BlockVotes> {
        if let Some(place) = self.blocks.iter().position(|known| known.block == block) {
            return self.blocks.get_mut(place);
        }
        if self.blocks.len() == BLOCKS_PER_VIEW_MAX {
            return None;
        }
        self.blocks.push(BlockVotes { block, ..BlockVotes::default() });
        self.blocks.last_mut()
    }

    /// The votes for a block that its leader proposed or a quorum voted for, which goes before blocks that were only voted for. A certificate
    /// goes before proposals too: a leader that cheats may fill a view with those.
    fn shown(&mut self, block: Hash, is_certified: bool) -> Option<&mut BlockVotes> {
        if self.blocks.len() == BLOCKS_PER_VIEW_MAX && !self.blocks.iter().any(|known| known.block == block) {
            let gives_way =
                |known: &BlockVotes| known.is_voted_only() || (is_certified && !known.is_certified && !known.is_final);
            let candidates = self.blocks.iter().enumerate().filter(|(_, known)| gives_way(known));
            let fewest = candidates.min_by_key(|(_, known)| (!known.is_voted_only(), known.voters.count()));
            let place = fewest.map(|(place, _)| place)?;
            self.blocks.swap_remove(place);
        }
        self.voted(block)
    }
}

/// See the module's text.
#[derive(Default)]
pub struct VoteBook {
    views: Mutex<BTreeMap<(u64, u64), ViewVotes>>,
}

impl VoteBook {
    /// Takes in what agreement saw; what is no vote, proposal or certificate is passed over.
    pub fn observed(&self, observation: &Observation) {
        match *observation {
            Observation::Proposal { epoch, view, height, block, .. } => self.at(epoch, view, |votes| {
                if let Some(votes) = votes.shown(block, false) {
                    votes.height = height;
                }
            }),
            Observation::Vote { epoch, view, place, validators, kind, block, .. } => self.at(epoch, view, |votes| {
                votes.validators = validators;
                match kind {
                    VoteKind::Nullify => votes.nullify.add(place),
                    VoteKind::Notarize | VoteKind::Finalize => {
                        if let Some(votes) = votes.voted(block) {
                            votes.voters.add(place);
                        }
                    }
                }
            }),
            Observation::Certificate { epoch, view, kind, block, voters, validators } => {
                self.at(epoch, view, |votes| {
                    votes.validators = validators;
                    match kind {
                        VoteKind::Nullify => votes.nullify = votes.nullify.or(&voters),
                        VoteKind::Notarize | VoteKind::Finalize => {
                            if let Some(votes) = votes.shown(block, true) {
                                votes.voters = votes.voters.or(&voters);
                                votes.is_certified = true;
                                votes.is_final |= kind == VoteKind::Finalize;
                            }
                        }
                    }
                });
            }
            Observation::Epoch { .. }
            | Observation::View { .. }
            | Observation::Evidence { .. }
            | Observation::Peer { .. } => {}
        }
    }

    /// A block became final, by its own certificate or by that of a later one.
    pub fn finalized(&self, block: &Hash, height: u64) {
        let mut views = self.views.lock();
        for votes in views.values_mut().rev() {
            if let Some(votes) = votes.blocks.iter_mut().find(|known| known.block == *block) {
                (votes.height, votes.is_final) = (height, true);
                return;
            }
        }
    }

    /// How the validators stand to a block of the last views; none where it is not known. Of a block that was voted on in several views, the last.
    pub fn quorum(&self, block: &Hash) -> Option<Quorum> {
        let views = self.views.lock();
        views.iter().rev().find_map(|((epoch, view), votes)| {
            let of_block = votes.blocks.iter().find(|known| known.block == *block)?;
            // Of a block that was only proposed, the size of the set is not known yet.
            Some(Quorum {
                block: *block,
                height: of_block.height,
                epoch: *epoch,
                view: *view,
                validators: votes.validators,
                approve: of_block.voters.count(),
                reject: votes.nullify.without(&of_block.voters).count(),
                required: quorum(votes.validators),
                has_quorum: of_block.is_certified,
                is_final: of_block.is_final,
            })
            .filter(|quorum| quorum.validators > 0)
        })
    }

    fn at(&self, epoch: u64, view: u64, change: impl FnOnce(&mut ViewVotes)) {
        let mut views = self.views.lock();
        change(views.entry((epoch, view)).or_default());
        while views.len() > VIEWS_MAX {
            views.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const BLOCK: Hash = [7; 32];

    fn vote(book: &VoteBook, view: u64, place: u32, kind: VoteKind, block: Hash) {
        let validator = [place as u8; 32];
        book.observed(&Observation::Vote { epoch: 1, view, validator, place, validators: 4, kind, block });
    }

    fn certificate(book: &VoteBook, view: u64, kind: VoteKind, places: &[u32]) {
        let voters = places.iter().copied().collect();
        book.observed(&Observation::Certificate { epoch: 1, view, kind, block: BLOCK, voters, validators: 4 });
    }

    #[test]
    fn votes_are_counted_once_and_a_quorum_needs_a_certificate() {
        let book = VoteBook::default();
        assert_eq!(book.quorum(&BLOCK), None);
        book.observed(&Observation::Proposal {
            epoch: 1,
            view: 9,
            height: 5,
            proposer: [0; 32],
            block: BLOCK,
            transactions: 1,
            batches: 1,
        });
        assert_eq!(book.quorum(&BLOCK), None, "nobody knows yet how many vote");
        for place in [0, 1, 1, 2] {
            vote(&book, 9, place, VoteKind::Notarize, BLOCK);
        }
        vote(&book, 9, 3, VoteKind::Nullify, [0; 32]);
        vote(&book, 9, 2, VoteKind::Nullify, [0; 32]);
        let seen = book.quorum(&BLOCK).unwrap();
        assert_eq!((seen.approve, seen.reject, seen.required, seen.validators), (3, 1, 3, 4));
        assert!(!seen.has_quorum && !seen.is_final, "votes that were only seen prove nothing");
        certificate(&book, 9, VoteKind::Notarize, &[0, 1, 2]);
        assert!(book.quorum(&BLOCK).unwrap().has_quorum);
        certificate(&book, 9, VoteKind::Finalize, &[0, 1, 3]);
        let seen = book.quorum(&BLOCK).unwrap();
        assert_eq!((seen.approve, seen.reject, seen.height, seen.view), (4, 0, 5, 9));
        assert!(seen.is_final);
    }

    #[test]
    fn a_block_is_final_by_a_later_one_too() {
        let book = VoteBook::default();
        certificate(&book, 9, VoteKind::Notarize, &[0, 1, 2]);
        book.finalized(&BLOCK, 6);
        book.finalized(&[8; 32], 7);
        let seen = book.quorum(&BLOCK).unwrap();
        assert!(seen.is_final && seen.height == 6);
        assert_eq!(book.quorum(&[8; 32]), None);
    }

    fn proposal(book: &VoteBook, view: u64, block: Hash) {
        let (height, proposer) = (5, [0; 32]);
        book.observed(&Observation::Proposal { epoch: 1, view, height, proposer, block, transactions: 1, batches: 1 });
    }

    #[test]
    fn votes_for_what_nobody_proposed_do_not_hide_a_views_block() {
        let book = VoteBook::default();
        // Two that cheat vote for different blocks that are none, all before the proposal comes.
        for (number, kind) in [(20, VoteKind::Notarize), (21, VoteKind::Finalize)] {
            vote(&book, 9, 2, kind, [number; 32]);
            vote(&book, 9, 3, kind, [number + 10; 32]);
        }
        vote(&book, 9, 2, VoteKind::Finalize, [31; 32]);
        vote(&book, 9, 0, VoteKind::Notarize, BLOCK);
        assert_eq!(book.quorum(&BLOCK), None, "a vote alone takes nobody's place");
        proposal(&book, 9, BLOCK);
        vote(&book, 9, 0, VoteKind::Notarize, BLOCK);
        vote(&book, 9, 1, VoteKind::Notarize, BLOCK);
        let seen = book.quorum(&BLOCK).unwrap();
        assert_eq!((seen.approve, seen.height), (2, 5));
        assert!(book.quorum(&[31; 32]).is_some(), "one with fewer votes gave way");
        // A leader that cheats fills the view with proposals; what a quorum voted for is there all the same.
        for number in 40..50 {
            proposal(&book, 10, [number; 32]);
        }
        certificate(&book, 10, VoteKind::Notarize, &[0, 1, 2]);
        assert!(book.quorum(&BLOCK).unwrap().has_quorum);
        assert_eq!(book.quorum(&BLOCK).unwrap().view, 10);
        proposal(&book, 10, [60; 32]);
        certificate(&book, 10, VoteKind::Finalize, &[0, 1, 2]);
        assert_eq!(book.views.lock().get(&(1, 10)).unwrap().blocks.len(), BLOCKS_PER_VIEW_MAX);
    }

    #[test]
    fn memory_is_bounded_by_views_and_by_blocks_of_a_view() {
        let book = VoteBook::default();
        for number in 0..9 {
            vote(&book, 1, 0, VoteKind::Notarize, [number; 32]);
        }
        assert!(book.quorum(&[3; 32]).is_some() && book.quorum(&[4; 32]).is_none());
        for view in 2..2 + VIEWS_MAX as u64 {
            vote(&book, view, 0, VoteKind::Notarize, BLOCK);
        }
        assert_eq!(book.quorum(&[3; 32]), None);
        assert_eq!(book.views.lock().len(), VIEWS_MAX);
        assert_eq!(book.quorum(&BLOCK).unwrap().view, 1 + VIEWS_MAX as u64);
    }
}
