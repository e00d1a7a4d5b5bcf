//! Requests under way: what was asked of whom, parts put together, answers that do not fit, waiting that has an end.
//!
//! An object is read from one peer, part after part, so that a wrong object names its sender. What is taken from an answer is bounded by what was
//! asked for: a total above the object's limit, a part at another place or a total that changes ends the fetch as broken.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::message::{Answer, Head, Object, PART_BYTES_MAX, Refusal, Request};

/// A validator's key.
pub type PeerKey = [u8; 32];

/// The network as a syncing node sees it: messages to and from peers that have shown their keys.
pub trait Transport {
    /// Peers that are connected now.
    fn peers(&self) -> Vec<PeerKey>;

    /// Sends a message if there is room; tells whether it did.
    fn send(&mut self, peer: &PeerKey, message: Vec<u8>) -> bool;

    /// The next message, waiting at most `timeout`.
    fn receive(&mut self, timeout: Duration) -> Option<(PeerKey, Vec<u8>)>;

    /// Has nothing to do with a peer any more.
    fn expel(&mut self, peer: &PeerKey, reason: &str);
}

/// Why an object did not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchFailure {
    /// The peer did not answer in time, or is gone.
    Silent,
    /// It does not have it, or not yet.
    Refused(Refusal),
    /// It answered what no honest node answers.
    Broken(&'static str),
}

/// What came of a request.
#[derive(Debug)]
pub enum Event {
    /// A peer told where it is.
    Head(PeerKey, Head),
    /// An object is complete.
    Done {
        /// Who sent it.
        peer: PeerKey,
        /// Which one.
        object: Object,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// An object will not come.
    Failed {
        /// Who was asked.
        peer: PeerKey,
        /// For what.
        object: Object,
        /// Why.
        failure: FetchFailure,
    },
    /// A peer sent what is no answer to anything.
    Garbage(PeerKey),
}

struct Fetch {
    peer: PeerKey,
    height: u64,
    object: Object,
    bytes: Vec<u8>,
    total: Option<u64>,
    asked_at: Instant,
    /// The request could not be sent yet.
    held: bool,
}

impl Fetch {
    fn request(&self, number: u32) -> Vec<u8> {
        let offset = self.bytes.len() as u64;
        Request::Part { height: self.height, object: self.object, offset }.encode(number)
    }

    /// Takes a part in; whether the object is complete.
    fn take(&mut self, total: u64, offset: u64, part: &[u8]) -> Result<bool, &'static str> {
        if total > self.object.bytes_max() as u64 {
            return Err("an object is larger than it can be");
        }
        if self.total.is_some_and(|known| known != total) || offset != self.bytes.len() as u64 {
            return Err("a part is not the one that was asked for");
        }
        let left = total - offset.min(total);
        // A part is full unless it is the last, so that an object cannot be dealt out byte by byte.
        if part.len() as u64 != left.min(PART_BYTES_MAX as u64) || total == 0 {
            return Err("a part has another length than it must have");
        }
        self.total = Some(total);
        self.bytes.extend_from_slice(part);
        Ok(self.bytes.len() as u64 == total)
    }
}

/// See the module's text.
pub struct Exchange {
    next_number: u32,
    patience: Duration,
    fetches: BTreeMap<u32, Fetch>,
    /// Requests without an object, by number; at most one for each peer is kept.
    small: BTreeMap<PeerKey, u32>,
}

impl Exchange {
    /// Nothing under way; an answer may take as long as `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { next_number: 1, patience, fetches: BTreeMap::new(), small: BTreeMap::new() }
    }

    fn number(&mut self) -> u32 {
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        number
    }

    /// Asks a peer where it is.
    pub fn ask_head(&mut self, transport: &mut dyn Transport, peer: &PeerKey) {
        let number = self.number();
        if transport.send(peer, Request::Head.encode(number)) {
            self.small.insert(*peer, number);
        }
    }

    /// Asks a peer for a snapshot at its next boundary. Its answer says nothing that its head does not.
    pub fn ask_freeze(&mut self, transport: &mut dyn Transport, peer: &PeerKey, height: u64) {
        let number = self.number();
        transport.send(peer, Request::Freeze { height }.encode(number));
    }

    /// Begins to read an object.
    pub fn start(&mut self, peer: PeerKey, height: u64, object: Object, now: Instant) {
        let number = self.number();
        let fetch = Fetch { peer, height, object, bytes: Vec::new(), total: None, asked_at: now, held: true };
        self.fetches.insert(number, fetch);
    }

    /// Objects under way from a peer.
    pub fn under_way(&self, peer: &PeerKey) -> usize {
        self.fetches.values().filter(|fetch| fetch.peer == *peer).count()
    }

    /// Objects under way.
    pub fn len(&self) -> usize {
        self.fetches.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.fetches.is_empty()
    }

    /// Gives up what is under way from a peer, or from all; gives the objects.
    pub fn give_up(&mut self, peer: Option<&PeerKey>) -> Vec<Object> {
        let of_peer = |fetch: &Fetch| peer.is_none_or(|peer| fetch.peer == *peer);
        let given_up = self.fetches.values().filter(|fetch| of_peer(fetch)).map(|fetch| fetch.object).collect();
        self.fetches.retain(|_, fetch| !of_peer(fetch));
        given_up
    }

    /// Sends what waits, takes one message in if one comes within `wait`, and tells what came of it.
    pub fn poll(&mut self, transport: &mut dyn Transport, wait: Duration) -> Vec<Event> {
        let connected = transport.peers();
        let now = Instant::now();
        let mut events = Vec::new();
        let mut silent = Vec::new();
        for (number, fetch) in &mut self.fetches {
            if fetch.held && transport.send(&fetch.peer, fetch.request(*number)) {
                (fetch.held, fetch.asked_at) = (false, now);
            }
            let late = now.saturating_duration_since(fetch.asked_at) > self.patience;
            if late || !connected.contains(&fetch.peer) {
                silent.push(*number);
            }
        }
        for fetch in silent.iter().filter_map(|number| self.fetches.remove(number)) {
            events.push(Event::Failed { peer: fetch.peer, object: fetch.object, failure: FetchFailure::Silent });
        }
        if let Some((peer, message)) = transport.receive(if events.is_empty() { wait } else { Duration::ZERO }) {
            self.take(transport, peer, &message, &mut events);
        }
        events
    }

    fn take(&mut self, transport: &mut dyn Transport, peer: PeerKey, message: &[u8], events: &mut Vec<Event>) {
        let Ok((number, answer)) = Answer::decode(message) else {
            events.push(Event::Garbage(peer));
            return;
        };
        if let Answer::Head(head) = answer {
            if self.small.get(&peer) == Some(&number) {
                self.small.remove(&peer);
                events.push(Event::Head(peer, head));
            }
            return;
        }
        // An answer that came too late for its request belongs to none, and is no offence.
        let Some(fetch) = self.fetches.get_mut(&number).filter(|fetch| fetch.peer == peer) else { return };
        let taken = match answer {
            Answer::Part { total, offset, bytes } => fetch.take(total, offset, &bytes).map_err(FetchFailure::Broken),
            Answer::Refused(refusal) => Err(FetchFailure::Refused(refusal)),
            _ => Err(FetchFailure::Broken("the answer is to another question")),
        };
        match taken {
            Ok(false) => {
                fetch.held = !transport.send(&peer, fetch.request(number));
                fetch.asked_at = Instant::now();
            }
            Ok(true) => {
                if let Some(fetch) = self.fetches.remove(&number) {
                    events.push(Event::Done { peer, object: fetch.object, bytes: fetch.bytes });
                }
            }
            Err(failure) => {
                let object = fetch.object;
                self.fetches.remove(&number);
                events.push(Event::Failed { peer, object, failure });
            }
        }
    }
}
