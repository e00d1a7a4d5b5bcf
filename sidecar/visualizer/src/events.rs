//! Writes the events: each is a difference between two states, or something that a validator told.

use std::collections::BTreeMap;

use crate::frame::{ChainView, EVENTS_MAX, Event, EventKind, MeshNode, Validator};

/// The least milliseconds between two events of leaders, and between two of blocks.
const ROUTINE_MS: u64 = 1_000;
/// For how many milliseconds a proof against a validator stands for further ones.
const PROOF_MS: u64 = 10_000;
/// Validators whom one other may be the first to accuse in that time.
const CLAIMS_MAX: usize = 4;

/// A proof against a validator, and who told it.
#[derive(Debug)]
struct Proof {
    against: String,
    at: u64,
    /// Those who told it, the first one first.
    by: Vec<String>,
    /// Whether as many told it as are needed.
    counts: bool,
}

/// Events that no delta has told yet, and what is needed to write the next ones.
#[derive(Debug, Default)]
pub struct EventLog {
    next: u64,
    fresh: Vec<Event>,
    leader: String,
    leader_at: u64,
    height: u64,
    height_at: u64,
    /// One for each validator at the most.
    proofs: Vec<Proof>,
    /// The registry's nodes and their statuses, once it was read.
    statuses: Option<BTreeMap<String, String>>,
}

impl EventLog {
    /// What was written since the last time.
    pub fn take_fresh(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.fresh)
    }

    fn push(&mut self, event: EventKind, id: &str, details: Option<String>, now_ms: u64) {
        self.next += 1;
        // More than a state holds in one delta: the first of them would be gone at once.
        if self.fresh.len() >= EVENTS_MAX {
            self.fresh.remove(0);
        }
        self.fresh.push(Event {
            id: format!("evt_{}", self.next),
            timestamp: now_ms,
            validator_id: id.to_owned(),
            event,
            details: details.filter(|details| !details.is_empty()),
            height: None,
        });
    }

    /// What became of validators.
    pub fn validators(&mut self, old: &[Validator], new: &[Validator], now_ms: u64) {
        let before: BTreeMap<&str, &Validator> = old.iter().map(|one| (one.id.as_str(), one)).collect();
        for validator in new {
            let (online, healthy) =
                before.get(validator.id.as_str()).map_or((false, false), |one| (one.online, one.healthy));
            let reason = || Some(validator.reason.clone());
            match (online, validator.online) {
                (false, true) => self.push(EventKind::Online, &validator.id, reason(), now_ms),
                (true, false) => self.push(EventKind::Offline, &validator.id, reason(), now_ms),
                (true, true) if healthy && !validator.healthy => {
                    self.push(EventKind::Unhealthy, &validator.id, reason(), now_ms);
                }
                (true, true) if !healthy && validator.healthy => {
                    self.push(EventKind::Recovered, &validator.id, None, now_ms);
                }
                _ => {}
            }
        }
        for validator in old.iter().filter(|one| one.online && !new.iter().any(|other| other.id == one.id)) {
            self.push(EventKind::Offline, &validator.id, Some("left the registry".to_owned()), now_ms);
        }
    }

    /// What became of the chain. Leaders and blocks come many a second, so each is told once in [`ROUTINE_MS`], for all since then.
    pub fn chain(&mut self, chain: &ChainView, proposer: &str, now_ms: u64) {
        if !chain.leader.is_empty() && chain.leader != self.leader && now_ms >= self.leader_at + ROUTINE_MS {
            let former = std::mem::replace(&mut self.leader, chain.leader.clone());
            self.leader_at = now_ms;
            self.push(EventKind::Leader, &chain.leader, Some(format!("view {}", chain.view)), now_ms);
            if !former.is_empty() {
                self.push(EventKind::Follower, &former, None, now_ms);
            }
        }
        if self.height == 0 || chain.height < self.height {
            // The first that is known of the chain, or another chain: nothing was made just now.
            (self.height, self.height_at) = (chain.height, now_ms);
        } else if chain.height > self.height && now_ms >= self.height_at + ROUTINE_MS {
            let first = self.height + 1;
            let details = match chain.height {
                last if last == first => format!("block {first}"),
                last => format!("blocks {first} to {last}"),
            };
            self.push(EventKind::Block, proposer, Some(details), now_ms);
            if let Some(event) = self.fresh.last_mut() {
                event.height = Some(chain.height);
            }
            (self.height, self.height_at) = (chain.height, now_ms);
        }
    }

    /// A proof against the validator `against`, told by `by`. Anybody can tell one, so it counts when `needed` did; before that it is told as the
    /// word of the first. Each is told once in [`PROOF_MS`].
    pub fn evidence(&mut self, against: &str, by: &str, needed: usize, now_ms: u64) {
        self.proofs.retain(|proof| proof.at + PROOF_MS > now_ms);
        let claims = self.proofs.iter().filter(|proof| proof.by.first().is_some_and(|first| first == by)).count();
        let place = match self.proofs.iter().position(|proof| proof.against == against) {
            Some(place) => place,
            // One that accuses everybody is not heard on.
            None if claims >= CLAIMS_MAX => return,
            None => {
                self.proofs.push(Proof { against: against.to_owned(), at: now_ms, by: Vec::new(), counts: false });
                self.proofs.len() - 1
            }
        };
        let Some(proof) = self.proofs.get_mut(place) else { return };
        if proof.counts || proof.by.iter().any(|known| known == by) {
            return;
        }
        proof.by.push(by.to_owned());
        proof.counts = proof.by.len() >= needed;
        let details = match (proof.counts, proof.by.len()) {
            (true, _) => format!("broke the rules; the proof was found by {}", proof.by.join(", ")),
            (false, 1) => format!("{by} says to have a proof that it broke the rules; not enough others say so"),
            (false, _) => return,
        };
        // Where the first one's word was not told yet, this takes its place.
        let waiting =
            self.fresh.iter_mut().rfind(|event| event.event == EventKind::Evidence && event.validator_id == against);
        match waiting {
            Some(event) => event.details = Some(details),
            None => self.push(EventKind::Evidence, against, Some(details), now_ms),
        }
    }

    /// What became of the registry's nodes, of which `nodes` are all. The first reading is how things are, and nothing happened.
    pub fn nodes(&mut self, nodes: &[MeshNode], now_ms: u64) {
        let new: BTreeMap<String, String> = nodes.iter().map(|node| (node.id.clone(), node.status.clone())).collect();
        let Some(old) = self.statuses.replace(new.clone()) else { return };
        for (id, status) in &new {
            let before = old.get(id).map(String::as_str);
            if before.is_none() {
                self.push(EventKind::Registered, id, None, now_ms);
            }
            match (before, status.as_str()) {
                // From offline a node comes back by itself.
                (None | Some("pending" | "denied"), "active") => self.push(EventKind::Approval, id, None, now_ms),
                (None | Some("pending" | "active" | "offline"), "denied") => {
                    self.push(EventKind::Denied, id, None, now_ms);
                }
                _ => {}
            }
        }
    }
}
