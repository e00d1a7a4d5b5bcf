//! Who may connect: the table of IP addresses and the decision on each incoming connection.
//!
//! For each attempt, in this order:
//!
//! 1. a banned address is refused;
//! 2. an address that has its share of connections, or a full server, is refused;
//! 3. where the address did not prove yet that it is reachable, and handshakes pile up (or many connections claim this
//!    address), it is asked to prove it first: a spoofed address gets no further and fills nobody's share;
//! 4. an address that starts handshakes too fast is refused: they cost the server about 0.2 ms each;
//! 5. otherwise it gets a [`Slot`], which gives back what it counted when it is dropped.
//!
//! The table keeps an entry while it has connections (bounded by their number) or something to remember (points, a
//! ban, recent handshakes). Of the latter at most [`Limits::sources_max`] are kept; the one that was touched the
//! longest ago and is not banned goes first, then the oldest ban.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ahash::AHashMap;
use parking_lot::Mutex;

use crate::limits::Limits;
use crate::score::{Clock, SourceScore, Standing, source_key};

/// Why an incoming connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The address is banned for bad signatures.
    Banned,
    /// The server has as many connections as it takes.
    Full,
    /// The address has as many connections as it may.
    PerIp,
    /// The address starts handshakes too fast.
    Rate,
    /// The server is shutting down.
    ShuttingDown,
}

impl Refusal {
    /// All reasons.
    pub const ALL: [Refusal; 5] =
        [Refusal::Banned, Refusal::Full, Refusal::PerIp, Refusal::Rate, Refusal::ShuttingDown];

    /// Name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Banned => "banned",
            Refusal::Full => "full",
            Refusal::PerIp => "per_ip",
            Refusal::Rate => "rate",
            Refusal::ShuttingDown => "shutting_down",
        }
    }
}

/// The decision on an incoming connection.
#[derive(Debug)]
pub enum Admission {
    /// It may start its handshake.
    Accept(Slot),
    /// It must prove its address first.
    Validate,
    /// It is refused.
    Refuse(Refusal),
}

#[derive(Debug)]
struct Entry {
    score: Arc<SourceScore>,
    touched: u64,
}

/// The IP addresses that the server knows, and its count of connections.
#[derive(Debug)]
pub struct SourceTable {
    limits: Arc<Limits>,
    clock: Clock,
    entries: Mutex<AHashMap<IpAddr, Entry>>,
    connections: AtomicUsize,
    handshakes: AtomicUsize,
    touches: AtomicU64,
}

/// A connection's place in the counts; dropping it gives the place back.
#[derive(Debug)]
pub struct Slot {
    table: Arc<SourceTable>,
    score: Arc<SourceScore>,
    in_handshake: bool,
    /// Connections that were there before this one.
    pub connections_before: usize,
}

impl SourceTable {
    /// An empty table.
    pub fn new(limits: Arc<Limits>, clock: Clock) -> Self {
        SourceTable {
            limits,
            clock,
            entries: Mutex::new(AHashMap::new()),
            connections: AtomicUsize::new(0),
            handshakes: AtomicUsize::new(0),
            touches: AtomicU64::new(0),
        }
    }

    /// Connections that are open or in their handshake.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Addresses that are remembered.
    pub fn len(&self) -> usize {
        self.entries.lock().len()
    }

    /// Whether no address is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decides on a connection from `ip`; `validated` says whether the address has proved that it is reachable.
    pub fn admit(self: &Arc<Self>, ip: IpAddr, validated: bool) -> Admission {
        self.admit_at(ip, validated, self.clock.now_ms())
    }

    /// [`Self::admit`] at `now_ms`.
    pub fn admit_at(self: &Arc<Self>, ip: IpAddr, validated: bool, now_ms: u64) -> Admission {
        let limits = &self.limits;
        let key = source_key(ip);
        let mut entries = self.entries.lock();
        let known = entries.get(&key).map(|entry| entry.score.clone());
        let of_this_ip = known.as_ref().map_or(0, |score| score.connections.load(Ordering::Relaxed));
        if known.as_ref().is_some_and(|score| score.standing_at(now_ms) == Standing::Banned) {
            return Admission::Refuse(Refusal::Banned);
        }
        if of_this_ip >= limits.connections_per_ip_max {
            return Admission::Refuse(Refusal::PerIp);
        }
        if !validated
            && (self.handshakes.load(Ordering::Relaxed) >= limits.handshakes_before_retry
                || of_this_ip >= limits.connections_per_ip_before_retry)
        {
            return Admission::Validate;
        }
        let connections_before = self.connections.load(Ordering::Relaxed);
        if connections_before >= limits.connections_max {
            return Admission::Refuse(Refusal::Full);
        }
        let score = known.unwrap_or_else(|| Arc::new(SourceScore::new(ip, limits.clone(), self.clock)));
        if !score.count_handshake(now_ms) {
            return Admission::Refuse(Refusal::Rate);
        }
        score.connections.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        let touched = self.touches.fetch_add(1, Ordering::Relaxed);
        entries.insert(key, Entry { score: score.clone(), touched });
        drop(entries);
        Admission::Accept(Slot { table: self.clone(), score, in_handshake: true, connections_before })
    }

    /// The score of `ip`, where the table has one.
    pub fn score(&self, ip: IpAddr) -> Option<Arc<SourceScore>> {
        self.entries.lock().get(&source_key(ip)).map(|entry| entry.score.clone())
    }

    fn leave(&self, score: &Arc<SourceScore>) {
        let now_ms = self.clock.now_ms();
        let mut entries = self.entries.lock();
        self.connections.fetch_sub(1, Ordering::Relaxed);
        if score.connections.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        if score.is_forgettable(now_ms) {
            entries.remove(&score.key());
            return;
        }
        if let Some(entry) = entries.get_mut(&score.key()) {
            entry.touched = self.touches.fetch_add(1, Ordering::Relaxed);
        }
        if entries.len() > self.limits.sources_max {
            self.forget_some(&mut entries, now_ms);
        }
    }

    /// Removes what need not be remembered any more, and then, if that was nothing, the least worth remembering.
    fn forget_some(&self, entries: &mut AHashMap<IpAddr, Entry>, now_ms: u64) {
        let in_use = |entry: &Entry| entry.score.connections.load(Ordering::Relaxed) > 0;
        entries.retain(|_, entry| in_use(entry) || !entry.score.is_forgettable(now_ms));
        if entries.len() <= self.limits.sources_max {
            return;
        }
        let victim = entries
            .iter()
            .filter(|(_, entry)| !in_use(entry))
            .min_by_key(|(_, entry)| (entry.score.standing_at(now_ms) == Standing::Banned, entry.touched))
            .map(|(key, _)| *key);
        if let Some(key) = victim {
            entries.remove(&key);
        }
    }
}

impl Slot {
    /// The score of the connection's address.
    pub fn score(&self) -> &Arc<SourceScore> {
        &self.score
    }

    /// The handshake is complete: the address is real, and the place among the handshakes is free again.
    pub fn established(&mut self) {
        self.score.confirmed.store(true, Ordering::Relaxed);
        self.end_handshake();
    }

    fn end_handshake(&mut self) {
        if std::mem::take(&mut self.in_handshake) {
            self.table.handshakes.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.end_handshake();
        self.table.leave(&self.score);
    }
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
