//! What a validator knows of one other: how far that one holds each lane, and what of the own lane to send it next.
//!
//! *Holding.* A mark counts only once its digest was compared with the batch that stands at its sequence here. Marks are ahead of the own lane
//! book as often as behind it, so the ones that cannot be compared yet wait, at most [`MARKS_WAITING_MAX`] per lane; when there are more, the
//! newest place is written over, which keeps the earliest (comparable soonest) and the last (the one that counts in the end).
//!
//! *Sending.* Own batches go out in order, a window ahead of the peer's mark. When the mark has not moved for [`RESEND_MS`] although batches
//! are under way, sending begins again behind the mark with a window of one, which doubles with each step of the mark, and the patience
//! doubles up to [`RESEND_MS_MAX`]: a peer that is slow or full is not flooded with copies.

use std::collections::BTreeMap;

use tana_types::Hash;

use crate::marks::Mark;

/// How long a peer's mark of the own lane may stand still before batches are sent again, milliseconds: far above a verified and durable
/// write on a busy machine.
pub const RESEND_MS: u64 = 1_000;
/// The longest patience with a peer whose mark stands still, milliseconds.
pub const RESEND_MS_MAX: u64 = 8_000;
/// Marks per lane and peer that wait until the batch at their sequence is here.
const MARKS_WAITING_MAX: usize = 16;

/// How far a peer holds one lane.
#[derive(Debug, Clone, Default)]
struct PeerLane {
    /// The last mark that it told.
    told: u64,
    /// The highest sequence whose digest was the same as here.
    matched: u64,
    /// Marks above `matched` that could not be compared yet, ascending.
    waiting: Vec<(u64, Hash)>,
}

/// What is under way to a peer.
#[derive(Debug, Clone)]
struct Sending {
    /// The last sequence that was sent.
    sent_to: u64,
    /// The peer's mark when it was last seen to move, and when that was.
    moved_to: u64,
    moved_ms: u64,
    /// How many batches may be under way, and how long to wait for the mark.
    window: usize,
    patience_ms: u64,
}

impl Default for Sending {
    fn default() -> Self {
        Self { sent_to: 0, moved_to: 0, moved_ms: 0, window: usize::MAX, patience_ms: RESEND_MS }
    }
}

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerState {
    lanes: BTreeMap<[u8; 32], PeerLane>,
    sending: Sending,
}

impl PeerState {
    /// Takes a mark of a lane; `same` compares a digest with what stands at a sequence here, if anything does.
    pub(crate) fn told(&mut self, mark: &Mark, same: impl Fn(u64, &Hash) -> Option<bool>) {
        let lane = self.lanes.entry(mark.author).or_default();
        lane.told = mark.sequence;
        if mark.sequence < lane.matched {
            // It lost something, or this is an old message: believe the lesser until the next one.
            *lane = PeerLane { told: mark.sequence, ..PeerLane::default() };
        }
        lane.waiting.retain(|&(sequence, _)| sequence < mark.sequence);
        if lane.waiting.len() == MARKS_WAITING_MAX {
            lane.waiting.pop();
        }
        lane.waiting.push((mark.sequence, mark.digest));
        lane.compare(same);
    }

    /// Compares waiting marks of a lane again, after a batch of it came.
    pub(crate) fn compare(&mut self, author: &[u8; 32], same: impl Fn(u64, &Hash) -> Option<bool>) {
        if let Some(lane) = self.lanes.get_mut(author) {
            lane.compare(same);
        }
    }

    /// Forgets the lanes of authors that are not kept.
    pub(crate) fn keep_authors(&mut self, keep: impl Fn(&[u8; 32]) -> bool) {
        self.lanes.retain(|author, _| keep(author));
    }

    /// The highest sequence up to which the peer is known to hold this lane as it is here.
    pub(crate) fn matched(&self, author: &[u8; 32]) -> u64 {
        self.lanes.get(author).map_or(0, |lane| lane.matched)
    }

    /// The last mark that the peer told of this lane, compared or not.
    pub(crate) fn last_told(&self, author: &[u8; 32]) -> u64 {
        self.lanes.get(author).map_or(0, |lane| lane.told)
    }

    /// Where to go on sending the own lane: the first sequence to consider, and how many batches may be under way behind `base`, the
    /// higher of the peer's mark and the final one.
    pub(crate) fn send_from(&mut self, base: u64, now_ms: u64) -> (u64, usize) {
        let sending = &mut self.sending;
        if base > sending.moved_to {
            sending.moved_to = base;
            sending.moved_ms = now_ms;
            sending.patience_ms = RESEND_MS;
            sending.window = sending.window.saturating_mul(2);
        }
        let under_way = sending.sent_to > base;
        if under_way && now_ms.saturating_sub(sending.moved_ms) >= sending.patience_ms {
            sending.sent_to = base;
            sending.moved_ms = now_ms;
            sending.patience_ms = (sending.patience_ms * 2).min(RESEND_MS_MAX);
            sending.window = 1;
        }
        sending.sent_to = sending.sent_to.max(base);
        (sending.sent_to.saturating_add(1), sending.window)
    }

    /// Hears that a batch of the own lane was given to the link.
    pub(crate) fn sent(&mut self, sequence: u64, now_ms: u64) {
        if self.sending.sent_to <= self.sending.moved_to {
            self.sending.moved_ms = now_ms;
        }
        self.sending.sent_to = self.sending.sent_to.max(sequence);
    }

    /// Hears that a new connection stands: what was under way is lost.
    pub(crate) fn connected(&mut self) {
        self.sending = Sending { moved_to: self.sending.moved_to, ..Sending::default() };
    }
}

impl PeerLane {
    fn compare(&mut self, same: impl Fn(u64, &Hash) -> Option<bool>) {
        let matched = &mut self.matched;
        self.waiting.retain(|(sequence, digest)| match same(*sequence, digest) {
            Some(true) => {
                *matched = (*matched).max(*sequence);
                false
            }
            Some(false) => false,
            None => true,
        });
    }
}
