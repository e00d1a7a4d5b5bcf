//! Tells each vote once, though every validator sees it, and only when it can be believed.

use std::collections::VecDeque;

use crate::report::Vote;

/// Votes that are remembered.
const VOTES_MAX: usize = 1_024;

#[derive(Debug)]
struct Seen {
    vote: Vote,
    told: bool,
    /// Ids of the others that saw it.
    by: Vec<String>,
}

/// The votes that were seen last.
#[derive(Debug, Default)]
pub struct RecentVotes {
    seen: VecDeque<Seen>,
}

impl RecentVotes {
    /// Whether this is the moment to tell `vote`: when its voter tells it (`own`), or `others_needed` others did.
    pub fn is_new(&mut self, vote: &Vote, by: &str, own: bool, others_needed: usize) -> bool {
        let same = |seen: &Seen| {
            let known = &seen.vote;
            (known.epoch, known.view, known.kind, &known.voter) == (vote.epoch, vote.view, vote.kind, &vote.voter)
        };
        let index = match self.seen.iter().position(same) {
            Some(index) => index,
            None => {
                self.seen.truncate(VOTES_MAX - 1);
                self.seen.push_front(Seen { vote: vote.clone(), told: false, by: Vec::new() });
                0
            }
        };
        let Some(seen) = self.seen.get_mut(index) else { return false };
        if seen.told {
            return false;
        }
        if !own && !seen.by.iter().any(|known| known == by) {
            seen.by.push(by.to_owned());
        }
        seen.told = own || seen.by.len() >= others_needed;
        seen.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::VoteKind;

    fn vote(view: u64) -> Vote {
        Vote { epoch: 0, view, voter: "v".to_owned(), kind: VoteKind::Notarize, leader: "l".to_owned() }
    }

    #[test]
    fn a_vote_is_told_once_by_its_voter_or_by_enough_others() {
        let mut votes = RecentVotes::default();
        assert!(votes.is_new(&vote(1), "v", true, 2));
        assert!(!votes.is_new(&vote(1), "v", true, 2));
        assert!(!votes.is_new(&vote(1), "a", false, 1));

        assert!(!votes.is_new(&vote(2), "a", false, 2));
        assert!(!votes.is_new(&vote(2), "a", false, 2), "one that says it twice is still one");
        assert!(votes.is_new(&vote(2), "b", false, 2));
        assert!(!votes.is_new(&vote(2), "v", true, 2));
    }
}
