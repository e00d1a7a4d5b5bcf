//! What is sent about lanes: own batches to every other validator, the own marks, requests for missing batches.
//!
//! One task. It looks at the lane book when the bell rings, and otherwise only when something waits for a time: a link that is full
//! ([`FULL_RETRY_MS`]), a peer that is offline ([`OFFLINE_RETRY_MS`]), marks that gather for a moment ([`MARKS_DELAY_MS`]), requests under
//! way ([`FETCH_LOOK_MS`]). Marks may get lost, so they are told again, soon after they changed and rarely when nothing moves.

use std::sync::Arc;

use bytes::Bytes;
use commonware_p2p::{CheckedSender, LimitedSender, Recipients};
use commonware_runtime::IoBuf;
use tana_types::Hash;

use super::Environment;
use super::keys::{Keyring, PublicKey};
use super::shared::{Bell, Shared};

/// How soon a full link is tried again, milliseconds.
const FULL_RETRY_MS: u64 = 5;
/// How soon a peer that is offline is tried again, milliseconds.
const OFFLINE_RETRY_MS: u64 = 250;
/// How long changes of marks gather before they are told, milliseconds: one message then speaks for several batches.
const MARKS_DELAY_MS: u64 = 3;
/// How often unchanged marks are told again while batches wait for a block, milliseconds.
const MARKS_AGAIN_BUSY_MS: u64 = 250;
/// How often unchanged marks are told again when nothing waits, milliseconds.
const MARKS_AGAIN_IDLE_MS: u64 = 2_000;
/// How often requests under way are looked at, milliseconds.
const FETCH_LOOK_MS: u64 = 25;

/// The sending side of the lanes.
pub(crate) struct Lanes<E, S> {
    context: E,
    shared: Arc<Shared>,
    keyring: Keyring,
    batches: S,
    marks: S,
    fetches: S,
    /// When the marks changed, if they were not told since.
    marks_changed_ms: Option<u64>,
    marks_told_ms: u64,
}

/// What came of offering a message to a link.
enum Offer {
    Taken,
    Full,
    Offline,
}

impl<E: Environment, S: LimitedSender<PublicKey = PublicKey>> Lanes<E, S> {
    pub(crate) fn new(context: E, shared: Arc<Shared>, keyring: Keyring, (batches, marks, fetches): (S, S, S)) -> Self {
        Self { context, shared, keyring, batches, marks, fetches, marks_changed_ms: None, marks_told_ms: 0 }
    }

    pub(crate) async fn run(mut self) {
        let mut bell: Bell = self.shared.bell();
        loop {
            let now_ms = self.shared.now_ms(&self.context);
            let mut wait_ms = self.tell_marks(now_ms);
            wait_ms = wait_ms.min(self.send_batches(now_ms));
            wait_ms = wait_ms.min(self.request(now_ms));
            bell.wait(&self.context, Some(wait_ms.max(1))).await;
        }
    }

    /// Tells the own marks if they changed or it is time again; gives how long until the next look.
    fn tell_marks(&mut self, now_ms: u64) -> u64 {
        let (changed, waiting) = self.shared.with(|state| {
            let waiting = !state.own.is_empty() || state.book.wanted() > 0;
            (std::mem::take(&mut state.marks_changed), waiting)
        });
        if changed && self.marks_changed_ms.is_none() {
            self.marks_changed_ms = Some(now_ms);
        }
        let again_ms = self.marks_told_ms + if waiting { MARKS_AGAIN_BUSY_MS } else { MARKS_AGAIN_IDLE_MS };
        let due_ms = self.marks_changed_ms.map_or(again_ms, |changed| (changed + MARKS_DELAY_MS).min(again_ms));
        if now_ms < due_ms {
            return due_ms - now_ms;
        }
        (self.marks_changed_ms, self.marks_told_ms) = (None, now_ms);
        let marks = self.shared.with(|state| state.book.marks());
        if !marks.entries.is_empty()
            && let Ok(checked) = self.marks.check(Recipients::All)
        {
            let _ = checked.send(IoBuf::from(Bytes::from(marks.encode())), true);
        }
        MARKS_AGAIN_BUSY_MS
    }

    /// Sends own batches to every peer that has room for them; gives how long until the next look.
    fn send_batches(&mut self, now_ms: u64) -> u64 {
        let mut wait_ms = u64::MAX;
        for (peer, key) in self.keyring.others(&self.shared.me) {
            loop {
                let next = self.shared.with(|state| {
                    state.book.own_to_send(&peer, now_ms).map(|digest| (digest, state.own.get(&digest).cloned()))
                });
                let Some((digest, sealed)) = next else { break };
                // After a restart the host may not have told the bytes of a batch that it holds.
                let Some(sealed) = sealed.or_else(|| self.read_own(&digest)) else { break };
                match offer(&mut self.batches, &key, sealed) {
                    Offer::Taken => self.shared.with(|state| state.book.sent(&peer, &digest, now_ms)),
                    Offer::Full => {
                        wait_ms = wait_ms.min(FULL_RETRY_MS);
                        break;
                    }
                    Offer::Offline => {
                        wait_ms = wait_ms.min(OFFLINE_RETRY_MS);
                        break;
                    }
                }
            }
        }
        wait_ms
    }

    fn read_own(&self, digest: &Hash) -> Option<Bytes> {
        let sealed = self.shared.host.read_batch(digest, 0)?;
        self.shared.with(|state| state.own.insert(*digest, sealed.clone()));
        Some(sealed)
    }

    /// Sends the requests that the lane book names; gives how long until the next look.
    fn request(&mut self, now_ms: u64) -> u64 {
        loop {
            let (next, wanted) = self.shared.with(|state| (state.book.next_fetch(now_ms), state.book.wanted()));
            let Some((peer, request)) = next else {
                return if wanted > 0 { FETCH_LOOK_MS } else { u64::MAX };
            };
            self.shared.count(|counts| counts.fetches += request.wanted.len() as u64);
            let taken = self
                .keyring
                .get(&peer)
                .is_some_and(|key| matches!(offer(&mut self.fetches, &key, request.encode().into()), Offer::Taken));
            if !taken {
                self.shared.with(|state| {
                    for wanted in &request.wanted {
                        state.book.fetch_failed(&peer, &wanted.digest);
                    }
                });
            }
        }
    }
}

fn offer<S: LimitedSender<PublicKey = PublicKey>>(sender: &mut S, peer: &PublicKey, message: Bytes) -> Offer {
    let Ok(checked) = sender.check(Recipients::One(peer.clone())) else { return Offer::Full };
    let outcome = checked.send(IoBuf::from(message), false);
    if outcome.accepted() {
        Offer::Taken
    } else if outcome.is_rejected() {
        Offer::Full
    } else {
        Offer::Offline
    }
}
