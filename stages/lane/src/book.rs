//! The lane book: who holds which batch, and what follows from it.
//!
//! A pure machine. Whoever owns it passes in what arrives and asks what to do; time comes as an argument, in milliseconds of any clock that
//! does not go back.
//!
//! 1. A sealed batch arrives: [`LaneBook::admit`] says whether to verify it. After verification and a durable write, [`LaneBook::held`]; after
//!    a failed one, [`LaneBook::refused`]. Own batches come with `held` alone.
//! 2. [`LaneBook::marks`] is what to tell all others, [`LaneBook::on_marks`] takes what they tell. [`LaneBook::count_holding`] counts.
//! 3. [`LaneBook::own_to_send`] names the next own batch for a peer, a window ahead of its mark; [`LaneBook::sent`] hears that it went.
//! 4. [`LaneBook::want`] notes a missing batch, [`LaneBook::next_fetch`] says whom to ask for which ones.
//! 5. [`LaneBook::finalized`] moves on with finalized blocks and tells what may leave memory: batches that finalized blocks listed or went past,
//!    and batches that no block above can list because they expired. Anything that a block above the finalized tip may still list stays.
//!
//! Bounds: lanes of the members of two sets; per lane the quota of [`LaneLimits`], beyond it only what blocks ask for, at most
//! [`crate::WANTED_MAX`]; per peer and lane 16 marks.

use std::collections::BTreeMap;

use tana_types::Hash;
use tana_types::batch::Seal;

use crate::author::{AuthorLane, HeldBatch};
use crate::evidence::Evidence;
use crate::fetches::Fetches;
use crate::marks::{Mark, Marks};
use crate::messages::FetchRequest;
use crate::peers::PeerState;

/// What a validator allows each author, and itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLimits {
    /// Batches of one author that are not in finalized blocks yet.
    pub batches_per_author: usize,
    /// Bytes of their bodies.
    pub bytes_per_author: usize,
    /// Batches that are asked for at a time.
    pub fetches_in_flight: usize,
}

impl Default for LaneLimits {
    fn default() -> Self {
        Self { batches_per_author: 256, bytes_per_author: 64 << 20, fetches_in_flight: 64 }
    }
}

/// What to do with a sealed batch that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Verify it, write it and call [`LaneBook::held`], or [`LaneBook::refused`].
    Verify,
    /// It is here or being verified already.
    Known,
    /// Its author has as much unlisted as it may have; it will send again.
    OverQuota,
    /// Nobody asked for it, and whoever sent it is not its author or its author is no validator.
    Stranger,
    /// It is settled, or has expired.
    Stale,
    /// Another batch of its author stands at its sequence.
    Conflict {
        /// The proof.
        evidence: Box<Evidence>,
        /// Whether it must be verified all the same, because a block lists it.
        verify: bool,
    },
}

/// See the module's text.
pub struct LaneBook {
    own: [u8; 32],
    limits: LaneLimits,
    /// The set of the epoch that is agreed on now, in order; these are counted.
    members: Vec<[u8; 32]>,
    /// Members and those of the next set: these are talked to.
    known: Vec<[u8; 32]>,
    lanes: BTreeMap<[u8; 32], AuthorLane>,
    peers: BTreeMap<[u8; 32], PeerState>,
    /// Where each held batch is.
    places: BTreeMap<Hash, ([u8; 32], u64)>,
    fetches: Fetches,
    final_height: u64,
}

impl LaneBook {
    /// An empty book of the validator with this key.
    pub fn new(own: [u8; 32], limits: LaneLimits) -> Self {
        Self {
            own,
            limits,
            members: Vec::new(),
            known: Vec::new(),
            lanes: BTreeMap::new(),
            peers: BTreeMap::new(),
            places: BTreeMap::new(),
            fetches: Fetches::default(),
            final_height: 0,
        }
    }

    /// The own key.
    pub fn own(&self) -> &[u8; 32] {
        &self.own
    }

    /// Sets the validators: the set of the epoch that is agreed on, in order, and others whose batches are taken in already (the next set).
    /// Gives the digests of batches that may leave memory, because their authors are in neither.
    pub fn set_members(&mut self, members: &[[u8; 32]], extra: &[[u8; 32]]) -> Vec<Hash> {
        self.members = members.to_vec();
        self.known = members.to_vec();
        self.known.extend(extra.iter().filter(|key| !members.contains(key)));
        let known = &self.known;
        let mut gone = Vec::new();
        self.lanes.retain(|author, lane| {
            let keep = known.contains(author);
            if !keep {
                gone.extend(lane.digests());
            }
            keep
        });
        self.peers.retain(|key, _| known.contains(key));
        for state in self.peers.values_mut() {
            state.keep_authors(|author| known.contains(author));
        }
        for key in known {
            self.lanes.entry(*key).or_default();
            if key != &self.own {
                self.peers.entry(*key).or_default();
            }
        }
        for digest in &gone {
            self.places.remove(digest);
        }
        gone
    }

    /// Own held batches that no finalized block has listed, in order.
    pub fn own_unlisted(&self) -> impl Iterator<Item = &HeldBatch> {
        let lane = self.lanes.get(&self.own);
        lane.into_iter().flat_map(|lane| lane.held_from(lane.final_mark().saturating_add(1)))
    }

    /// The validators that are counted.
    pub fn members(&self) -> &[[u8; 32]] {
        &self.members
    }

    /// How many validators must hold a batch before a leader proposes it: n - f with f = (n - 1) / 3.
    pub fn quorum(&self) -> usize {
        let count = self.members.len();
        count - count.saturating_sub(1) / 3
    }

    /// Judges a sealed batch that `from` sent. The caller has checked the seal's fields and signature, nothing else. `now_ms` is not read
    /// today; a quota over time would need it.
    pub fn admit(&mut self, from: &[u8; 32], seal: &Seal, _now_ms: u64) -> Admission {
        let (digest, sequence) = (seal.digest(), seal.sequence.get());
        let wanted = self.fetches.wants(&digest);
        let Some(lane) = self.lanes.get_mut(&seal.author) else {
            return if wanted { Admission::Verify } else { Admission::Stranger };
        };
        if lane.has(sequence, &digest) {
            return Admission::Known;
        }
        let other = lane.other(sequence, &digest).map(|other| other.copied());
        if other.is_some() {
            lane.set_conflicted();
        }
        let evidence = other.flatten().map(|other| Box::new(Evidence::ConflictingSeals(Box::new([other, *seal]))));
        let settled = sequence <= lane.final_mark();
        let admission = match evidence {
            Some(evidence) => Admission::Conflict { evidence, verify: wanted },
            None if wanted => Admission::Verify,
            None if from != &seal.author || from == &self.own => Admission::Stranger,
            None if other.is_some() || settled || seal.expiry_height.get() <= self.final_height => Admission::Stale,
            None => {
                let (batches, bytes) = lane.in_use();
                let full = batches >= self.limits.batches_per_author
                    || bytes.saturating_add(seal.body_length.get() as usize) > self.limits.bytes_per_author;
                if full { Admission::OverQuota } else { Admission::Verify }
            }
        };
        if matches!(admission, Admission::Verify | Admission::Conflict { verify: true, .. }) && !settled {
            lane.admit(seal, digest);
        }
        admission
    }

    /// A batch is verified and durable: an own one, one that was admitted, or one from the disk at start.
    pub fn held(&mut self, batch: HeldBatch) {
        self.fetches.end(&batch.digest);
        let Some(lane) = self.lanes.get_mut(&batch.author) else { return };
        if batch.sequence <= lane.final_mark() {
            return;
        }
        let author = batch.author;
        if lane.other(batch.sequence, &batch.digest).is_some() {
            lane.set_conflicted();
        }
        self.places.insert(batch.digest, (author, batch.sequence));
        lane.held(batch);
        for peer in self.peers.values_mut() {
            peer.compare(&author, |sequence, digest| same(lane, sequence, digest));
        }
    }

    /// A batch that was admitted is not valid.
    pub fn refused(&mut self, author: &[u8; 32], sequence: u64, digest: &Hash) {
        if let Some(lane) = self.lanes.get_mut(author) {
            lane.refused(sequence, digest);
        }
        self.fetches.end(digest);
    }

    /// A held batch that is not settled yet.
    pub fn get(&self, digest: &Hash) -> Option<&HeldBatch> {
        let (author, sequence) = self.places.get(digest)?;
        self.lanes.get(author)?.held_at(*sequence).find(|batch| &batch.digest == digest)
    }

    /// How far every lane is held here.
    pub fn marks(&self) -> Marks {
        let entries = (self.lanes.iter()).map(|(author, lane)| (*author, lane.held_to())).filter(|entry| entry.1.0 > 0);
        Marks { entries: entries.map(|(author, (sequence, digest))| Mark { author, sequence, digest }).collect() }
    }

    /// Takes what a validator told; from anybody else it is ignored, as are lanes of nobody.
    pub fn on_marks(&mut self, from: &[u8; 32], marks: &Marks) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        for mark in &marks.entries {
            if let Some(lane) = self.lanes.get(&mark.author) {
                peer.told(mark, |sequence, digest| same(lane, sequence, digest));
            }
        }
    }

    /// How many members are known to hold the batch of this lane and sequence as it is here, this validator included.
    pub fn count_holding(&self, author: &[u8; 32], sequence: u64) -> usize {
        let Some(lane) = self.lanes.get(author) else { return 0 };
        let holds = |member: &[u8; 32]| {
            if member == &self.own {
                return lane.held_at(sequence).next().is_some();
            }
            let reached = self.peers.get(member).map_or(0, |peer| peer.matched(author));
            reached >= sequence && !lane.is_stepped_over(sequence, reached)
        };
        self.members.iter().filter(|member| holds(member)).count()
    }

    /// The batch with which a leader may go on in a lane whose mark is `mark` in the parent, in a block of this height and epoch: held here and
    /// by enough others, not expired. With `first` it may step over withdrawn sequences, as only the first batch of a lane in a block may.
    /// Nothing is proposed of an author that sealed two batches at one sequence.
    pub fn proposable(
        &self,
        author: &[u8; 32],
        mark: u64,
        first: bool,
        height: u64,
        epoch: u64,
        expiry_blocks: u64,
    ) -> Option<&HeldBatch> {
        let lane = self.lanes.get(author).filter(|lane| !lane.is_conflicted())?;
        let quorum = self.quorum();
        lane.following(mark).find(|batch| {
            (first || batch.sequence == mark.saturating_add(1))
                && batch.epoch <= epoch
                && batch.expiry_height >= height
                && batch.expiry_height - height <= expiry_blocks
                && self.count_holding(author, batch.sequence) >= quorum
        })
    }

    /// The next own batch to send to a peer, if it has room for one. Tell [`LaneBook::sent`] once the link has taken it.
    pub fn own_to_send(&mut self, peer: &[u8; 32], now_ms: u64) -> Option<Hash> {
        let lane = self.lanes.get(&self.own)?;
        let state = self.peers.get_mut(peer)?;
        let base = state.last_told(&self.own).max(lane.final_mark());
        let (from, window) = state.send_from(base, now_ms);
        let window = window.min(self.limits.batches_per_author);
        if from.saturating_sub(base.saturating_add(1)) >= window as u64 {
            return None;
        }
        // Withdrawn batches would never move the peer's mark, and so hold up what steps over them.
        let from = from.max(lane.withdrawn_below());
        lane.held_from(from).find(|batch| batch.expiry_height > self.final_height).map(|batch| batch.digest)
    }

    /// The link to `peer` has taken an own batch.
    pub fn sent(&mut self, peer: &[u8; 32], digest: &Hash, now_ms: u64) {
        let Some(&(author, sequence)) = self.places.get(digest) else { return };
        if let Some(state) = self.peers.get_mut(peer).filter(|_| author == self.own) {
            state.sent(sequence, now_ms);
        }
    }

    /// A new connection to `peer` stands: what was under way on the old one is sent again.
    pub fn connected(&mut self, peer: &[u8; 32]) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.connected();
        }
    }

    /// Wants a batch that a block of this height lists: of its author, if that is known, and of likely holders first. For a block that is final,
    /// call it after [`LaneBook::finalized`]. False if there is no room: nothing is forgotten that is wanted for a lower height.
    pub fn want(&mut self, digest: Hash, author: Option<[u8; 32]>, height: u64, likely: &[[u8; 32]]) -> bool {
        if self.get(&digest).is_some() {
            return true;
        }
        self.fetches.want(digest, height, likely.iter().copied().chain(author))
    }

    /// Nobody needs this batch any more.
    pub fn unwant(&mut self, digest: &Hash) {
        self.fetches.end(digest);
    }

    /// How many batches are wanted.
    pub fn wanted(&self) -> usize {
        self.fetches.len()
    }

    /// The next request to send: whom, and for what. Call it until there is none, after events and every few tens of milliseconds.
    pub fn next_fetch(&mut self, now_ms: u64) -> Option<([u8; 32], FetchRequest)> {
        self.fetches.next(now_ms, self.limits.fetches_in_flight, &self.own, &self.known)
    }

    /// A wanted batch has come and is held; [`LaneBook::held`] says so by itself.
    pub fn fetched(&mut self, digest: &Hash) {
        self.fetches.end(digest);
    }

    /// `peer` does not have the batch, or what it sent is of no use.
    pub fn fetch_failed(&mut self, peer: &[u8; 32], digest: &Hash) {
        self.fetches.failed(peer, digest);
    }

    /// Moves on with a finalized block: the marks of all lanes after it, by author, and its height. Gives the digests of batches that may
    /// leave memory: listed or passed by finalized blocks, or expired.
    pub fn finalized(&mut self, marks: &BTreeMap<[u8; 32], u64>, height: u64) -> Vec<Hash> {
        self.final_height = self.final_height.max(height);
        self.fetches.finalized(height);
        let mut gone = Vec::new();
        for (author, lane) in &mut self.lanes {
            let mark = marks.get(author).copied().unwrap_or(0);
            gone.extend(lane.finalized(mark, self.final_height, author == &self.own));
            for peer in self.peers.values_mut() {
                peer.compare(author, |sequence, digest| same(lane, sequence, digest));
            }
        }
        for digest in &gone {
            self.places.remove(digest);
        }
        gone
    }

    /// Whether own batches wait that no block above `height`, the finalized one, may ever list: then their transactions must be sealed again, the
    /// first of them with `skipped` reaching back to [`LaneBook::own_mark`]. True until such a batch is held.
    pub fn own_expired(&self, height: u64) -> bool {
        self.lanes.get(&self.own).is_some_and(|lane| lane.is_stuck(height))
    }

    /// The last sequence of the own lane that finalized blocks listed.
    pub fn own_mark(&self) -> u64 {
        self.lanes.get(&self.own).map_or(0, AuthorLane::final_mark)
    }

    /// Batches and bytes of an author that are not settled, those being verified included.
    pub fn in_use(&self, author: &[u8; 32]) -> (usize, usize) {
        self.lanes.get(author).map_or((0, 0), AuthorLane::in_use)
    }

    /// Whether this author was seen to seal two batches at one sequence.
    pub fn is_conflicted(&self, author: &[u8; 32]) -> bool {
        self.lanes.get(author).is_some_and(AuthorLane::is_conflicted)
    }
}

/// Whether the batch at a sequence is the one with this digest; `None` while nothing stands there. At or below the final mark nothing is left
/// to compare.
fn same(lane: &AuthorLane, sequence: u64, digest: &Hash) -> Option<bool> {
    if sequence <= lane.final_mark() {
        return Some(false);
    }
    if lane.has(sequence, digest) { Some(true) } else { lane.other(sequence, digest).map(|_| false) }
}
