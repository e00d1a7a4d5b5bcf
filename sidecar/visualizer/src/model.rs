//! What the visualizer knows, and how that becomes a state: inputs go in, deltas come out, and time is an argument.
//!
//! 1. The registry says who the validators are: active and offline nodes that offer `consensus`.
//! 2. Each validator's source reports; only what it says about itself is taken from it alone.
//! 3. What concerns others or the chain is what more say than can lie: of `n` that answer, `(n - 1) / 3` may, so the height is the one
//!    and the view are those that are reached by one more than that, and the leader is whom one more than that name for this view.
//! 4. [`Model::flush`] makes the state, compares it with the one before, writes events for what changed, and numbers the delta.

use std::collections::{BTreeMap, HashMap};

use tana_mesh::check::host_of;

use crate::diff::diff;
use crate::events::EventLog;
use crate::frame::{
    ChainView, Delta, Edge, EdgeKind, Event, MESH_NODES_MAX, Mesh, MeshNode, NodeCount, PENDING_MAX, Pending, State,
    Validator, trim_events,
};
use crate::rate::Rate;
use crate::report::{Input, Report, SourceId};
use crate::tracked::Tracked;
use crate::votes::RecentVotes;

/// Validators that are followed at most; of more, those whose ids come first.
pub const VALIDATORS_MAX: usize = 256;
/// Proposals and votes that one delta tells at most; further ones are left out.
pub const MOMENTS_MAX: usize = 512;
/// The service by which a node is a validator.
const CONSENSUS: &str = "consensus";
/// From the port that is registered, that of a validator's links (UDP 9000 + 10i), to that of its HTTP beside them (TCP 9001 + 10i).
const LINKS_TO_HTTP: u16 = 1;
/// The reason of a validator that nothing was heard of so far.
const NOT_HEARD: &str = "was not heard of so far";
/// The reason of a validator that the others have lost.
const LINKS_LOST: &str = "the other validators have lost their links to it";

/// A validator as the registry tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The node's id.
    pub id: String,
    /// The validator's key.
    pub public_key: String,
    /// Where its HTTP is: a host name or IP address.
    pub host: String,
    /// The port of its HTTP there: one above the port of its links, which is what is registered.
    pub port: u16,
}

/// The validators among nodes, by id.
pub fn validators_of(nodes: &[MeshNode]) -> BTreeMap<String, Registered> {
    let mut found: BTreeMap<String, Registered> = nodes
        .iter()
        .filter(|node| matches!(node.status.as_str(), "active" | "offline"))
        .filter_map(|node| {
            let service = node.services.iter().find(|service| service.kind == CONSENSUS)?;
            let key = if service.public_key.is_empty() { &node.public_key } else { &service.public_key };
            let registered = Registered {
                id: node.id.clone(),
                public_key: key.clone(),
                host: node.tailscale_ip.as_deref().unwrap_or_else(|| host_of(&node.tailscale_hostname).0).to_owned(),
                port: service.port.checked_add(LINKS_TO_HTTP)?,
            };
            Some((node.id.clone(), registered))
        })
        .collect();
    while found.len() > VALIDATORS_MAX {
        found.pop_last();
    }
    found
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Model {
    validators: BTreeMap<String, Tracked>,
    by_source: HashMap<SourceId, String>,
    /// All keys of validators, and whose they are.
    by_key: HashMap<String, String>,
    mesh: Mesh,
    links_since: BTreeMap<(String, String), u64>,
    moments: Vec<Edge>,
    votes: RecentVotes,
    log: EventLog,
    blocks: Rate,
    sent: State,
}

impl Model {
    /// The state as it was last flushed.
    pub fn state(&self) -> &State {
        &self.sent
    }

    /// Says that `source` now speaks for the validator `id` of the registry. What an earlier source of it says is passed over from here on.
    pub fn follow(&mut self, registered: &Registered, source: SourceId) {
        let tracked = self.validators.entry(registered.id.clone()).or_default();
        self.by_source.remove(&tracked.source);
        if tracked.public_key != registered.public_key {
            *tracked = Tracked::new(&registered.public_key);
        }
        tracked.source = source;
        self.by_source.insert(source, registered.id.clone());
        self.index_keys();
    }

    /// Says that `id` is no validator any more.
    pub fn forget(&mut self, id: &str) {
        if let Some(tracked) = self.validators.remove(id) {
            self.by_source.remove(&tracked.source);
            self.index_keys();
        }
    }

    /// Takes an input in; its effect shows at the next flush.
    pub fn take(&mut self, input: Input, now_ms: u64) {
        match input {
            Input::Nodes(nodes) => self.take_nodes(nodes, now_ms),
            Input::Report(source, report) => self.take_report(source, &report, now_ms),
        }
    }

    fn take_nodes(&mut self, mut nodes: Vec<MeshNode>, now_ms: u64) {
        self.log.nodes(&nodes, now_ms);
        let mut count = NodeCount { total: nodes.len() as u64, ..NodeCount::default() };
        for node in &nodes {
            match node.status.as_str() {
                "pending" => count.pending += 1,
                "active" => count.active += 1,
                "denied" => count.denied += 1,
                _ => count.offline += 1,
            }
        }
        nodes.sort_by(|a, b| (b.last_heartbeat, &a.id).cmp(&(a.last_heartbeat, &b.id)));
        nodes.truncate(MESH_NODES_MAX);
        nodes.sort_by(|a, b| a.id.cmp(&b.id));
        if self.mesh.last_update == 0 || self.mesh.nodes != nodes || self.mesh.node_count != count {
            self.mesh = Mesh { nodes, node_count: count, last_update: now_ms };
        }
    }

    fn take_report(&mut self, source: SourceId, report: &Report, now_ms: u64) {
        let Some(id) = self.by_source.get(&source).cloned() else { return };
        let Some(tracked) = self.validators.get_mut(&id) else { return };
        let own_key = tracked.own_key.clone();
        tracked.take(report, now_ms);
        if tracked.own_key != own_key {
            self.index_keys();
        }
        match report {
            Report::Proposal { leader } => {
                if let Some(leader) = self.by_key.get(leader).cloned() {
                    self.moment(leader, id, EdgeKind::Proposal, now_ms);
                }
            }
            Report::Vote(vote) => {
                let (voter, leader) = (self.by_key.get(&vote.voter), self.by_key.get(&vote.leader));
                if let (Some(voter), Some(leader)) = (voter.cloned(), leader.cloned()) {
                    let others_needed = liars(self.validators.len()) + 1;
                    if self.votes.is_new(vote, &id, voter == id, others_needed) {
                        self.moment(voter, leader, EdgeKind::Vote, now_ms);
                    }
                }
            }
            Report::Evidence(against) => {
                // A proof against somebody who is no validator here cannot be shown at anybody.
                if let Some(against) = self.by_key.get(against) {
                    self.log.evidence(against, &id, liars(self.validators.len()) + 1, now_ms);
                }
            }
            _ => {}
        }
    }

    /// Keeps a proposal or vote for the next delta. A leader's own block and vote go nowhere.
    fn moment(&mut self, source: String, target: String, kind: EdgeKind, now_ms: u64) {
        if source != target && self.moments.len() < MOMENTS_MAX {
            self.moments.push(Edge { source, target, kind, at: now_ms });
        }
    }

    /// Whose key is whose. A key of the registry goes before one that a validator says to have.
    fn index_keys(&mut self) {
        let own = self.validators.iter().filter_map(|(id, tracked)| Some((tracked.own_key.clone()?, id.clone())));
        let registered = self.validators.iter().map(|(id, tracked)| (tracked.public_key.clone(), id.clone()));
        self.by_key = own.chain(registered).collect();
    }

    /// Makes the state as of `now_ms`. The delta from the one before, numbered, or `None` where nothing changed.
    pub fn flush(&mut self, now_ms: u64) -> Option<Delta> {
        let links = Links::read(&self.validators, &self.by_key);
        let edges = self.edges(&links, now_ms);
        let mut validators: Vec<Validator> = Vec::with_capacity(self.validators.len());
        for (id, tracked) in &self.validators {
            validators.push(validator(id, tracked, &links, now_ms));
        }
        let chain = self.chain(&validators, now_ms);
        for validator in &mut validators {
            validator.is_leader = validator.online && validator.id == chain.leader;
        }
        let proposer = self.proposer(chain.height, &validators);
        self.log.validators(&self.sent.validators, &validators, now_ms);
        self.log.chain(&chain, &proposer, now_ms);

        let fresh = self.log.take_fresh();
        let (pending_transactions, pending_count) = self.pending();
        let mut events: Vec<Event> = self.sent.events.iter().chain(&fresh).cloned().collect();
        trim_events(&mut events);
        let state = State {
            sequence: self.sent.sequence + 1,
            validators,
            edges,
            mesh: self.mesh.clone(),
            pending_transactions,
            pending_count,
            events,
            chain,
            last_update: now_ms,
        };
        let delta = diff(&self.sent, &state, std::mem::take(&mut self.moments), fresh)?;
        self.sent = state;
        Some(delta)
    }

    /// The links that are up; each keeps the time at which it came up.
    fn edges(&mut self, links: &Links, now_ms: u64) -> Vec<Edge> {
        let up = links.up();
        self.links_since.retain(|pair, _| up.contains(pair));
        for pair in up {
            self.links_since.entry(pair).or_insert(now_ms);
        }
        let edge = |((source, target), at): (&(String, String), &u64)| Edge {
            source: source.clone(),
            target: target.clone(),
            kind: EdgeKind::Peer,
            at: *at,
        };
        self.links_since.iter().map(edge).collect()
    }

    fn chain(&mut self, validators: &[Validator], now_ms: u64) -> ChainView {
        let online = || validators.iter().filter(|validator| validator.online);
        let reports = || online().filter_map(|validator| self.validators.get(&validator.id));
        if reports().next().is_none() {
            // Nobody speaks: the heights stay as the last that was known, and nothing happens.
            let last = self.sent.chain.clone();
            return ChainView { leader: String::new(), tps: 0.0, blocks_per_second: 0.0, ..last };
        }
        let height = believed(online().map(|validator| validator.current_height));
        let (epoch, view, leader) = leader(&reports().collect::<Vec<_>>());
        // Tenths, so that these are whole numbers to compare.
        let tenths = believed(online().map(|validator| (validator.applied_tps * 10.0) as u64));
        ChainView {
            height,
            finalized_height: believed(online().map(|validator| validator.finalized_height)),
            epoch,
            view,
            leader: self.by_key.get(&leader).cloned().unwrap_or_default(),
            applied_total: believed(reports().map(|tracked| tracked.sample.applied_total)),
            tps: tenths as f64 / 10.0,
            blocks_per_second: self.blocks.per_second(height, now_ms),
        }
    }

    /// Who proposed a height; where not enough say the same, one that has it.
    fn proposer(&self, height: u64, validators: &[Validator]) -> String {
        let voices = || self.validators.values().filter(|tracked| tracked.answers);
        let told = named(voices().filter_map(|tracked| tracked.proposer(height)), voices().count());
        let told = told.and_then(|key| self.by_key.get(key));
        let holder = || validators.iter().find(|validator| validator.current_height >= height);
        told.cloned().or_else(|| holder().map(|validator| validator.id.clone())).unwrap_or_default()
    }

    /// The newest transactions that wait anywhere, each once, and how many wait in all.
    fn pending(&self) -> (Vec<Pending>, u64) {
        let count = self.validators.values().fold(0u64, |sum, tracked| sum.saturating_add(tracked.sample.waiting));
        let mut all: BTreeMap<(u64, &str), &Pending> = BTreeMap::new();
        for pending in self.validators.values().flat_map(|tracked| &tracked.pending) {
            all.insert((pending.timestamp, &pending.id), pending);
        }
        let newest = all.values().skip(all.len().saturating_sub(PENDING_MAX));
        (newest.map(|pending| (*pending).clone()).collect(), count)
    }
}

/// What the validators that answer say about each other's links, by id.
struct Links {
    /// (who says it, of whom) to whether the link is up.
    told: BTreeMap<(String, String), bool>,
}

impl Links {
    fn read(validators: &BTreeMap<String, Tracked>, by_key: &HashMap<String, String>) -> Self {
        let mut told = BTreeMap::new();
        for (id, tracked) in validators.iter().filter(|(_, tracked)| tracked.answers) {
            for (key, up) in &tracked.peers {
                if let Some(other) = by_key.get(key).filter(|other| *other != id) {
                    told.insert((id.clone(), other.clone()), *up);
                }
            }
        }
        Self { told }
    }

    /// Pairs that at least one of the two says to be linked, and none says not to be.
    fn up(&self) -> std::collections::BTreeSet<(String, String)> {
        let agreed = self
            .told
            .iter()
            .filter(|((from, to), up)| **up && self.told.get(&(to.clone(), from.clone())).is_none_or(|up| *up));
        let ordered = |(from, to): &(String, String)| {
            if from < to { (from.clone(), to.clone()) } else { (to.clone(), from.clone()) }
        };
        agreed.map(|(pair, _)| ordered(pair)).collect()
    }

    /// Whether more than half of those that know `id` have lost it.
    fn lost(&self, id: &str) -> bool {
        let of = || self.told.iter().filter(|((_, to), _)| to == id);
        let down = of().filter(|(_, up)| !**up).count();
        down * 2 > of().count()
    }
}

fn validator(id: &str, tracked: &Tracked, links: &Links, now_ms: u64) -> Validator {
    let lost = links.lost(id);
    let online = tracked.answers && !(lost && tracked.is_silent(now_ms));
    let voting = online && tracked.status.voting;
    let reason = if !online && tracked.heard_at == 0 && tracked.silence.is_empty() {
        NOT_HEARD.to_owned()
    } else if !online && !tracked.answers {
        tracked.silence.clone()
    } else if lost {
        LINKS_LOST.to_owned()
    } else if !voting {
        format!("does not vote: {}", tracked.status.reason)
    } else {
        String::new()
    };
    let peers = if online { tracked.peers.values().filter(|up| **up).count() } else { 0 };
    let sample = &tracked.sample;
    Validator {
        id: id.to_owned(),
        public_key: tracked.public_key.clone(),
        online,
        healthy: voting && !lost,
        voting,
        reason,
        is_leader: false,
        current_height: tracked.status.height,
        finalized_height: tracked.status.finalized_height,
        peer_count: peers as u64,
        last_seen: tracked.heard_at / 1_000 * 1_000,
        applied_tps: sample.applied_tps,
        finalized_tps: sample.finalized_tps,
        latency: sample.latency,
        stages: sample.stages.clone(),
    }
}

/// The greatest value that is reached by more than can lie.
fn believed<T: Ord + Copy + Default>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable_by(|a, b| b.cmp(a));
    values.get(liars(values.len())).copied().unwrap_or_default()
}

/// How many of so many validators may lie.
fn liars(validators: usize) -> usize {
    validators.saturating_sub(1) / 3
}

/// What is named by more than can lie among `voices` that were asked, most often first.
fn named<'a>(names: impl Iterator<Item = &'a str>, voices: usize) -> Option<&'a str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let (name, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count > liars(voices)).then_some(name)
}

/// The view that is reached by more than can lie, with its epoch, and who leads it: a key, empty where not enough name the same.
fn leader(reports: &[&Tracked]) -> (u64, u64, String) {
    let view = believed(reports.iter().map(|tracked| tracked.view()));
    let leader = named(reports.iter().filter_map(|tracked| tracked.leader(view)), reports.len());
    (view.0, view.1, leader.unwrap_or_default().to_owned())
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
