//! Batches by digest: noting which are missing, and answering others who miss some.
//!
//! Whom to ask, how many at a time and when to ask another is the [`LaneBook`](tana_lane::LaneBook)'s business; [`super::lanes`] sends what it says.
//! Answers read from the host's disk, so they run beside the other tasks, at most [`ANSWERS_IN_FLIGHT_MAX`] requests at a time; a request
//! above that is dropped, and whoever asked asks another validator after its time-out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use commonware_p2p::{CheckedSender, LimitedSender, Recipients};
use commonware_runtime::IoBuf;
use tana_lane::{Fetch, FetchRequest};
use tana_types::Hash;
use tana_types::header::BlockHeader;

use super::Environment;
use super::keys::PublicKey;
use super::shared::Shared;

/// Requests that are answered at a time; each is at most 8 batches of 1 MiB, read one after the other.
const ANSWERS_IN_FLIGHT_MAX: usize = 8;
/// How often an answer that finds the link full is offered again, and how long in between.
const OFFERS_MAX: usize = 100;
const OFFER_PAUSE: Duration = Duration::from_millis(10);

/// Notes batches that a block lists and that are not held here; they are asked for at once. The bell rings only for what was not wanted before:
/// whoever waits for the batches calls this again at every ring.
pub(crate) fn want(shared: &Shared, header: &BlockHeader, missing: &[Hash]) {
    if missing.is_empty() {
        return;
    }
    let more = shared.with(|state| {
        let before = state.book.wanted();
        let set = state.sets.get(&header.epoch).map(|set| set.keys()).unwrap_or_default();
        for (lane, _, digest) in header.batches().filter(|(_, _, digest)| missing.contains(digest)) {
            let author = set.get(usize::from(lane)).copied();
            state.book.want(*digest, author, header.height, &[header.proposer]);
        }
        state.book.wanted() > before
    });
    if more {
        shared.ring();
    }
}

/// Answers requests on the fetch channel.
pub(crate) struct Answers<E, S> {
    context: E,
    shared: Arc<Shared>,
    sender: S,
    in_flight: Arc<AtomicUsize>,
}

impl<E: Environment, S: LimitedSender<PublicKey = PublicKey>> Answers<E, S> {
    pub(crate) fn new(context: E, shared: Arc<Shared>, sender: S) -> Self {
        Self { context, shared, sender, in_flight: Arc::default() }
    }

    /// Answers `request` beside the caller.
    pub(crate) fn answer(&self, peer: PublicKey, request: FetchRequest) {
        if self.in_flight.fetch_add(1, Ordering::Relaxed) >= ANSWERS_IN_FLIGHT_MAX {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let (shared, in_flight) = (self.shared.clone(), self.in_flight.clone());
        let mut sender = self.sender.clone();
        self.context.child("answer").shared(true).spawn(move |context| async move {
            for wanted in request.wanted {
                let own = shared.with(|state| state.own.get(&wanted.digest).cloned());
                let sealed = own.or_else(|| shared.host.read_batch(&wanted.digest, wanted.height));
                let message = match &sealed {
                    Some(sealed) => Fetch::Batch(sealed).encode(),
                    None => Fetch::NotHeld(wanted.digest).encode(),
                };
                if !offer(&context, &mut sender, &peer, message.into()).await {
                    break;
                }
                shared.count(|counts| counts.answers += u64::from(sealed.is_some()));
            }
            in_flight.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Sends a message, waiting while there is no room, for a bounded time.
async fn offer<E: Environment, S: LimitedSender<PublicKey = PublicKey>>(
    context: &E,
    sender: &mut S,
    peer: &PublicKey,
    message: Bytes,
) -> bool {
    for _ in 0..OFFERS_MAX {
        if let Ok(checked) = sender.check(Recipients::One(peer.clone())) {
            let outcome = checked.send(IoBuf::from(message.clone()), false);
            if outcome.accepted() {
                return true;
            }
            if !outcome.is_rejected() {
                return false;
            }
        }
        context.sleep(OFFER_PAUSE).await;
    }
    false
}
