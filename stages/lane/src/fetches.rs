//! Which missing batch to ask whom for.
//!
//! 1. What is wanted is kept by digest with the height of a block that lists it; lower heights come first.
//! 2. A batch is asked of its likely holders in turn (the ones named by whoever wants it, then its author, then all validators), beginning
//!    at a place that depends on the digest, so that many requests spread over many peers.
//! 3. Several are asked for at a time, as many as the limits say in all and [`FETCHES_PER_PEER_MAX`] per peer, up to eight in a message.
//!    A peer that has as many to answer is passed over.
//! 4. An answer "not held", a bad answer or [`FETCH_TIMEOUT_MS`] without any moves on to the next holder; after a full round a batch rests for
//!    [`FETCH_RETRY_MS`].
//!
//! Wants end when the batch is here, when the caller drops them, or when finalized blocks reach the height of the block that they were made for:
//! on a dead branch nobody needs them any more, and what the finalized block lists is wanted again, for good this time.

use std::collections::BTreeMap;

use tana_types::Hash;

use crate::messages::{FETCH_DIGESTS_MAX, FetchRequest, Wanted};

/// How long an answer may take before the next holder is asked, milliseconds.
pub const FETCH_TIMEOUT_MS: u64 = 1_000;
/// How long a batch rests after every holder was asked once, milliseconds.
pub const FETCH_RETRY_MS: u64 = 200;
/// Batches asked of one peer at a time: two full messages.
pub const FETCHES_PER_PEER_MAX: usize = 16;
/// The most wants: 16 blocks full of batches. When there are more, the one with the highest height is dropped.
pub const WANTED_MAX: usize = 16_384;
/// Wants that are looked at for one request, the most urgent ones.
const SCAN_MAX: usize = 512;
/// The most holders named for a batch.
const LIKELY_MAX: usize = 8;

#[derive(Debug, Clone)]
struct Want {
    height: u64,
    /// The keys to ask first, each once.
    likely: Vec<[u8; 32]>,
    /// Holders asked so far.
    attempts: usize,
    not_before_ms: u64,
    /// A finalized block lists it.
    needed: bool,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    wants: BTreeMap<Hash, Want>,
    /// The same by urgency.
    order: BTreeMap<(u64, Hash), ()>,
    /// Of whom and since when; no more than the limits allow.
    asked: BTreeMap<Hash, ([u8; 32], u64)>,
    /// How many of these by peer.
    under_way: BTreeMap<[u8; 32], usize>,
    final_height: u64,
}

impl Fetches {
    /// Wants a batch; false if there is no room for it.
    pub(crate) fn want(&mut self, digest: Hash, height: u64, holders: impl Iterator<Item = [u8; 32]>) -> bool {
        let needed = height <= self.final_height;
        if let Some(want) = self.wants.get_mut(&digest) {
            let (old, likely) = (want.height, &mut want.likely);
            add_holders(likely, holders);
            want.needed |= needed;
            if height < old {
                want.height = height;
                self.order.remove(&(old, digest));
                self.order.insert((height, digest), ());
            }
            return true;
        }
        if self.wants.len() >= WANTED_MAX {
            let last = self.order.last_key_value().map(|(&key, ())| key);
            match last {
                Some((last_height, last)) if last_height > height => self.end(&last),
                _ => return false,
            };
        }
        let mut likely = Vec::new();
        add_holders(&mut likely, holders);
        self.wants.insert(digest, Want { height, likely, attempts: 0, not_before_ms: 0, needed });
        self.order.insert((height, digest), ());
        true
    }

    /// Whether a batch is wanted.
    pub(crate) fn wants(&self, digest: &Hash) -> bool {
        self.wants.contains_key(digest)
    }

    /// How many are wanted.
    pub(crate) fn len(&self) -> usize {
        self.wants.len()
    }

    /// The batch is here, or nobody needs it any more.
    pub(crate) fn end(&mut self, digest: &Hash) -> bool {
        let Some(want) = self.wants.remove(digest) else { return false };
        self.order.remove(&(want.height, *digest));
        self.release(digest);
        true
    }

    /// `peer` does not have it, or what it sent was of no use.
    pub(crate) fn failed(&mut self, peer: &[u8; 32], digest: &Hash) {
        if self.asked.get(digest).is_some_and(|(asked, _)| asked == peer) {
            self.release(digest);
            if let Some(want) = self.wants.get_mut(digest) {
                want.attempts += 1;
            }
        }
    }

    fn release(&mut self, digest: &Hash) {
        let Some((peer, _)) = self.asked.remove(digest) else { return };
        if let Some(count) = self.under_way.get_mut(&peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.under_way.remove(&peer);
            }
        }
    }

    /// Hears that finalized blocks reached this height.
    pub(crate) fn finalized(&mut self, height: u64) {
        self.final_height = self.final_height.max(height);
        let reached = self.order.range(..=(height, [0xff; 32])).map(|(&(_, digest), ())| digest);
        let dead = reached.filter(|digest| self.wants.get(digest).is_some_and(|want| !want.needed));
        for digest in dead.collect::<Vec<_>>() {
            self.end(&digest);
        }
    }

    fn expire(&mut self, now_ms: u64) {
        let late = self.asked.iter().filter(|(_, (_, since))| now_ms.saturating_sub(*since) >= FETCH_TIMEOUT_MS);
        for (digest, peer) in late.map(|(digest, (peer, _))| (*digest, *peer)).collect::<Vec<_>>() {
            self.failed(&peer, &digest);
        }
    }

    /// The next request to send, if there is one now. `all` are the validators, `own` is never asked.
    pub(crate) fn next(
        &mut self,
        now_ms: u64,
        in_flight_max: usize,
        own: &[u8; 32],
        all: &[[u8; 32]],
    ) -> Option<([u8; 32], FetchRequest)> {
        self.expire(now_ms);
        let busy = |peer: &[u8; 32], under_way: &BTreeMap<[u8; 32], usize>| {
            under_way.get(peer).is_some_and(|&count| count >= FETCHES_PER_PEER_MAX)
        };
        if all.iter().all(|peer| peer == own || busy(peer, &self.under_way)) {
            return None;
        }
        let mut chosen: Option<[u8; 32]> = None;
        let mut request = FetchRequest::default();
        for &(height, digest) in self.order.keys().take(SCAN_MAX) {
            if self.asked.len() >= in_flight_max || request.wanted.len() == FETCH_DIGESTS_MAX {
                break;
            }
            let Some(want) = self.wants.get_mut(&digest) else { continue };
            if self.asked.contains_key(&digest) || now_ms < want.not_before_ms {
                continue;
            }
            let holders = want.holders(&digest, own, all);
            if want.attempts >= holders.len() {
                want.attempts = 0;
                want.not_before_ms = now_ms.saturating_add(FETCH_RETRY_MS);
                continue;
            }
            let free = (want.attempts..).zip(&holders[want.attempts..]).find(|(_, peer)| !busy(peer, &self.under_way));
            let Some((place, &peer)) = free.filter(|(_, peer)| chosen.is_none_or(|chosen| chosen == **peer)) else {
                continue;
            };
            chosen = Some(peer);
            want.attempts = place;
            self.asked.insert(digest, (peer, now_ms));
            *self.under_way.entry(peer).or_default() += 1;
            request.wanted.push(Wanted { digest, height });
        }
        chosen.map(|peer| (peer, request))
    }
}

impl Want {
    /// Whom to ask, in this order.
    fn holders(&self, digest: &Hash, own: &[u8; 32], all: &[[u8; 32]]) -> Vec<[u8; 32]> {
        let start = usize::from(digest[0]);
        let turned = |keys: Vec<&[u8; 32]>| {
            let count = keys.len();
            (0..count).map(move |place| *keys[(start + place) % count]).collect::<Vec<_>>()
        };
        let likely = turned(self.likely.iter().filter(|key| *key != own).collect());
        let others = turned(all.iter().filter(|key| *key != own && !self.likely.contains(key)).collect());
        [likely, others].concat()
    }
}

fn add_holders(likely: &mut Vec<[u8; 32]>, holders: impl Iterator<Item = [u8; 32]>) {
    for holder in holders {
        if likely.len() < LIKELY_MAX && !likely.contains(&holder) {
            likely.push(holder);
        }
    }
}
