//! The registry in memory: what is asked of it is answered from here.
//!
//! Changes that must outlast a crash are made in a [`Turn`]: they are applied at once, collected for the disk, said to the feed when they are
//! written, and taken back when they could not be. Heartbeats change memory alone and are written later, many together.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use tana_http::error::ApiError;
use tana_types::key::PublicKey;

use crate::chain::Members;
use crate::change::{ChangeKind, Feed, Snapshot};
use crate::limits::{
    DESCRIPTIONS_MAX, NODES_MAX, NONCE_LIFE_MS, NONCES_MAX, PENDING_LIFE_MS, PENDING_MAX, PENDING_PER_ADDRESS_MAX,
    SILENCE_MS, START_GRACE_MS,
};
use crate::node::{Heartbeats, Node};
use crate::store::{Batch, Description, Found, NonceKey};
use crate::wire::{Decision, NodeCount, NodeStatus, NodeView, ServiceHealth, ValidatorLink};

/// A decision whose signature counts.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    /// Which.
    pub decision: Decision,
    /// About whom.
    pub id: String,
    /// By whom.
    pub approver: PublicKey,
    /// The signed time.
    pub timestamp: u64,
    /// The signed nonce.
    pub nonce: String,
}

/// A description whose signature counts.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    /// Of which key.
    pub key: PublicKey,
    /// What it is.
    pub text: Option<String>,
    /// Who signed.
    pub signer: PublicKey,
    /// The signed time.
    pub timestamp: u64,
    /// The signed nonce.
    pub nonce: String,
}

/// How to take a change back.
enum Undo {
    Node(String, Option<Box<Node>>),
    Nonce(NonceKey, Option<u64>),
    Description(PublicKey, Option<Description>),
}

/// Changes that are written together.
#[derive(Default)]
pub(crate) struct Turn {
    /// Who is in the chain's set, for what is shown of the nodes that are changed.
    members: Option<Arc<Members>>,
    undo: Vec<Undo>,
    touched: BTreeSet<String>,
    changes: Vec<(ChangeKind, NodeView)>,
    /// What is to be written, but for the nodes, which [`State::fill`] adds as they are at the end.
    pub batch: Batch,
}

impl Turn {
    /// An empty one; `members` is the chain's set now.
    pub fn new(members: Option<Arc<Members>>) -> Self {
        Self { members, ..Self::default() }
    }
}

/// All nodes, and what else is remembered.
pub(crate) struct State {
    nodes: BTreeMap<String, Node>,
    by_key: HashMap<PublicKey, String>,
    /// Who named which validator's key without owning it.
    claimed: HashMap<PublicKey, String>,
    count: NodeCount,
    pending_from: HashMap<Option<IpAddr>, usize>,
    nonces: HashMap<NonceKey, u64>,
    descriptions: BTreeMap<PublicKey, Description>,
    /// Ids of nodes that wait to be written, each once.
    unwritten: Vec<String>,
    feed: Feed,
    /// Whether changes are being written: what happens meanwhile is told behind them.
    is_writing: bool,
    /// Who came back meanwhile, and when.
    late: Vec<(u64, String)>,
    /// When this registry began to listen, by its clock.
    since: u64,
}

impl State {
    /// What was on disk.
    pub fn new(found: Found, now: u64) -> Self {
        let mut state = Self {
            nodes: BTreeMap::new(),
            by_key: HashMap::new(),
            claimed: HashMap::new(),
            count: NodeCount::default(),
            pending_from: HashMap::new(),
            nonces: found.nonces.into_iter().collect(),
            descriptions: found.descriptions.into_iter().collect(),
            unwritten: Vec::new(),
            feed: Feed::new(),
            is_writing: false,
            late: Vec::new(),
            since: now,
        };
        for node in found.nodes {
            state.put(node.id.clone(), Some(node));
        }
        state
    }

    /// The node with this id.
    pub fn node(&self, id: &str) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// How many there are.
    pub fn count(&self) -> NodeCount {
        self.count
    }

    /// The nodes behind the id `after`, by id.
    pub fn nodes_after<'a>(&'a self, after: Option<&str>) -> impl Iterator<Item = &'a Node> + use<'a> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.to_owned()));
        self.nodes.range((from, Bound::Unbounded)).map(|(_, node)| node)
    }

    /// The descriptions of sovereign keys.
    pub fn descriptions(&self) -> &BTreeMap<PublicKey, Description> {
        &self.descriptions
    }

    /// The feed.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// All nodes now.
    pub fn snapshot(&self, members: Option<&Members>) -> Snapshot {
        let nodes = self.nodes.values().map(|node| node.view(members)).collect();
        Snapshot { sequence: self.feed.sequence(), nodes, count: self.count }
    }

    /// What a validator-set transaction says of a node. Nothing for one that names the key of another node, which can prove it.
    pub fn link(&self, node: &Node, members: Option<&Members>) -> Option<ValidatorLink> {
        let is_anothers = node.claimed_key().is_some_and(|key| self.by_key.contains_key(&key));
        if is_anothers { None } else { node.link(members) }
    }

    /// Sets or removes a node and all that is counted of it. Returns what was there.
    fn put(&mut self, id: String, node: Option<Node>) -> Option<Node> {
        let added = node.as_ref().map(|node| (node.status, node.source, node.public_key, node.claimed_key()));
        let old = match node {
            Some(node) => self.nodes.insert(id.clone(), node),
            None => self.nodes.remove(&id),
        };
        if let Some(old) = &old {
            *self.counter(old.status) -= 1;
            self.count.total -= 1;
            self.by_key.remove(&old.public_key);
            if let Some(claimed) = old.claimed_key()
                && self.claimed.get(&claimed) == Some(&old.id)
            {
                self.claimed.remove(&claimed);
            }
            if old.status == NodeStatus::Pending
                && let Some(pending) = self.pending_from.get_mut(&old.source)
            {
                *pending -= 1;
                if *pending == 0 {
                    self.pending_from.remove(&old.source);
                }
            }
        }
        if let Some((status, source, key, claimed)) = added {
            *self.counter(status) += 1;
            self.count.total += 1;
            if let Some(claimed) = claimed {
                self.claimed.insert(claimed, id.clone());
            }
            self.by_key.insert(key, id);
            if status == NodeStatus::Pending {
                *self.pending_from.entry(source).or_default() += 1;
            }
        }
        old
    }

    fn counter(&mut self, status: NodeStatus) -> &mut usize {
        match status {
            NodeStatus::Pending => &mut self.count.pending,
            NodeStatus::Active => &mut self.count.active,
            NodeStatus::Denied => &mut self.count.denied,
            NodeStatus::Offline => &mut self.count.offline,
        }
    }

    /// [`State::put`] in a turn.
    fn change(&mut self, turn: &mut Turn, kind: ChangeKind, id: String, node: Option<Node>) {
        let members = turn.members.as_deref();
        let shown = node.as_ref().map(|node| node.view(members));
        let old = self.put(id.clone(), node);
        if let Some(view) = shown.or_else(|| old.as_ref().map(|old| old.view(members))) {
            turn.changes.push((kind, view));
        }
        turn.touched.insert(id.clone());
        turn.undo.push(Undo::Node(id, old.map(Box::new)));
    }

    /// Adds a node that waits.
    pub fn register(&mut self, turn: &mut Turn, node: Node) -> Result<(), ApiError> {
        if self.nodes.contains_key(&node.id) {
            return Err(
                ApiError::conflict(format!("the id `{}` is registered already", node.id)).with_code("duplicate_id")
            );
        }
        if let Some(other) = self.by_key.get(&node.public_key) {
            return Err(
                ApiError::conflict(format!("this key is registered already, as `{other}`")).with_code("duplicate_key")
            );
        }
        self.check_claim(&node)?;
        if self.count.pending >= PENDING_MAX {
            return Err(ApiError::too_many("too many nodes wait for the sovereign; try again when some are decided")
                .with_code("pending_full"));
        }
        if self.pending_from.get(&node.source).is_some_and(|pending| *pending >= PENDING_PER_ADDRESS_MAX) {
            let message = "too many nodes from this address wait for the sovereign; try again when some are decided";
            return Err(ApiError::too_many(message).with_code("pending_address_full"));
        }
        if self.nodes.len() >= NODES_MAX {
            let denied = self.nodes.values().filter(|node| node.status == NodeStatus::Denied);
            let oldest = denied.min_by_key(|node| node.decided).map(|node| node.id.clone());
            let oldest =
                oldest.ok_or_else(|| ApiError::unavailable("the registry is full").with_code("registry_full"))?;
            self.change(turn, ChangeKind::Removed, oldest, None);
        }
        self.change(turn, ChangeKind::Registered, node.id.clone(), Some(node));
        Ok(())
    }

    /// Puts what a node says of itself now in the place of what it said before; `new` is as a registration makes it.
    pub fn update(&mut self, turn: &mut Turn, mut new: Node) -> Result<NodeStatus, ApiError> {
        let known = self.nodes.get(&new.id).filter(|node| node.public_key == new.public_key);
        let known = known.ok_or_else(|| unknown_node(&new.id))?;
        may_beat(known)?;
        if new.registration.1 <= known.registration.1 {
            let message = "what this node said later counts already: sign again, with the time of now";
            return Err(ApiError::unauthorized(message).with_code("overtaken"));
        }
        self.check_claim(&new)?;
        for (kind, record) in &mut new.services {
            if let Some(before) = known.services.get(kind)
                && (before.port, before.public_key) == (record.port, record.public_key)
            {
                (record.created_at, record.health) = (before.created_at, before.health);
            }
        }
        let node = Node {
            hostname: new.hostname,
            ip: new.ip,
            services: new.services,
            order: new.order,
            registration: new.registration,
            ..known.clone()
        };
        let status = node.status;
        self.change(turn, ChangeKind::Updated, new.id, Some(node));
        Ok(status)
    }

    /// Refuses a node that names a validator's key which another one has or names. A node that registers with the key itself is never refused
    /// for this: it proves that the key is its own, and whoever merely named it did not.
    fn check_claim(&self, node: &Node) -> Result<(), ApiError> {
        let Some(claimed) = node.claimed_key() else { return Ok(()) };
        let holder = self.by_key.get(&claimed).or_else(|| self.claimed.get(&claimed));
        let Some(other) = holder.filter(|other| **other != node.id) else { return Ok(()) };
        let message = format!("the key of the service `consensus` is named already, by `{other}`; name the node's own");
        Err(ApiError::conflict(message).with_code("duplicate_key"))
    }

    /// Uses a nonce up, for good: also when what it was signed for is refused after this.
    fn spend(&mut self, turn: &mut Turn, key: PublicKey, nonce: &str, timestamp: u64) -> Result<(), ApiError> {
        let spent = (key, nonce.to_owned());
        if self.nonces.contains_key(&spent) {
            return Err(ApiError::unauthorized("this signature was used already: sign again with a new nonce")
                .with_code("replayed"));
        }
        if self.nonces.len() >= NONCES_MAX {
            return Err(
                ApiError::too_many("too many signatures within two minutes; try again later").with_code("nonces_full")
            );
        }
        let until = timestamp.saturating_add(NONCE_LIFE_MS);
        self.nonces.insert(spent.clone(), until);
        turn.batch.nonces.push((spent.clone(), until));
        turn.undo.push(Undo::Nonce(spent, None));
        Ok(())
    }

    /// Approves or denies. Returns what the approver's client needs for the chain.
    pub fn decide(&mut self, turn: &mut Turn, decided: &Decided, now: u64) -> Result<Option<ValidatorLink>, ApiError> {
        self.spend(turn, decided.approver, &decided.nonce, decided.timestamp)?;
        let node = self.nodes.get(&decided.id).ok_or_else(|| unknown_node(&decided.id))?;
        if node.decided.is_some_and(|last| decided.timestamp < last) {
            let message = "a later signed decision about this node counts already: sign again, with the time of now";
            return Err(ApiError::unauthorized(message).with_code("overtaken"));
        }
        let (status, kind) = match (decided.decision, node.status) {
            (Decision::Approve, NodeStatus::Pending | NodeStatus::Denied) => (NodeStatus::Active, ChangeKind::Approved),
            (Decision::Deny, NodeStatus::Pending | NodeStatus::Active | NodeStatus::Offline) => {
                (NodeStatus::Denied, ChangeKind::Denied)
            }
            (Decision::Approve, _) => {
                let message = format!("`{}` is not pending: it is {} already", decided.id, node.status.name());
                return Err(ApiError::not_found(message).with_code("not_pending"));
            }
            (Decision::Deny, _) => {
                return Err(ApiError::not_found(format!("`{}` is denied already", decided.id)).with_code("not_pending"));
            }
        };
        // Who was never let in has nothing to be put out of; and a stranger's registration must not lead to the removal of a validator.
        let link = match (decided.decision, node.approved) {
            (Decision::Deny, None) => None,
            _ => self.link(node, turn.members.as_deref()),
        };
        let mut node = node.clone();
        node.status = status;
        node.decided = Some(decided.timestamp);
        if status == NodeStatus::Active {
            node.approved = Some((now, decided.approver));
        }
        self.change(turn, kind, decided.id.clone(), Some(node));
        Ok(link)
    }

    /// Describes a sovereign key.
    pub fn describe(&mut self, turn: &mut Turn, described: &Described, now: u64) -> Result<(), ApiError> {
        self.spend(turn, described.signer, &described.nonce, described.timestamp)?;
        if self.descriptions.len() >= DESCRIPTIONS_MAX && !self.descriptions.contains_key(&described.key) {
            return Err(
                ApiError::too_many("too many sovereign keys are described already").with_code("descriptions_full")
            );
        }
        let description = Description { text: described.text.clone(), added_at: now };
        let old = self.descriptions.insert(described.key, description.clone());
        turn.batch.descriptions.push((described.key, description));
        turn.undo.push(Undo::Description(described.key, old));
        Ok(())
    }

    /// Takes a heartbeat whose signature by `key` counts. Returns the newest signed time.
    pub fn heartbeat(
        &mut self,
        (id, key): (&str, PublicKey),
        (timestamp, now): (u64, u64),
        ip: Option<IpAddr>,
        services: &[ServiceHealth],
        members: Option<&Members>,
    ) -> Result<u64, ApiError> {
        // It may be another than the one whose key was looked up before the signature was checked.
        let node = self.nodes.get_mut(id).filter(|node| node.public_key == key).ok_or_else(|| unknown_node(id))?;
        may_beat(node)?;
        let newer = node.hear(timestamp, now, ip, services);
        let newest = node.newest_heartbeat().unwrap_or(timestamp);
        if !newer {
            return Ok(newest);
        }
        let back = node.status == NodeStatus::Offline;
        if !node.heartbeats_unwritten && !node.unwritten {
            self.unwritten.push(id.to_owned());
        }
        node.heartbeats_unwritten = true;
        if back {
            node.unwritten = true;
            node.status = NodeStatus::Active;
            self.count.offline -= 1;
            self.count.active += 1;
            self.late.push((now, id.to_owned()));
            if !self.is_writing {
                self.tell_late(members);
            }
        }
        Ok(newest)
    }

    /// Finds who fell silent and what may be forgotten. Returns how many nodes are offline now that were not.
    pub fn sweep(&mut self, turn: &mut Turn, now: u64) -> usize {
        let listened = now.saturating_sub(self.since) > START_GRACE_MS;
        let silent =
            |node: &&Node| node.status == NodeStatus::Active && now.saturating_sub(node.alive_at()) > SILENCE_MS;
        let forgotten = |node: &&Node| {
            node.status == NodeStatus::Pending && now.saturating_sub(node.registered_at) > PENDING_LIFE_MS
        };
        let silent: Vec<Node> =
            if listened { self.nodes.values().filter(silent).cloned().collect() } else { Vec::new() };
        let forgotten: Vec<String> = self.nodes.values().filter(forgotten).map(|node| node.id.clone()).collect();
        let count = silent.len();
        for mut node in silent {
            node.status = NodeStatus::Offline;
            self.change(turn, ChangeKind::Offline, node.id.clone(), Some(node));
        }
        for id in forgotten {
            self.change(turn, ChangeKind::Removed, id, None);
        }
        let old: Vec<NonceKey> =
            self.nonces.iter().filter(|(_, until)| **until < now).map(|(key, _)| key.clone()).collect();
        for key in old {
            let until = self.nonces.remove(&key);
            turn.batch.nonces_gone.push(key.clone());
            turn.undo.push(Undo::Nonce(key, until));
        }
        count
    }

    /// Adds to a turn's batch the nodes that it changed, and, when it is time, those whose heartbeats wait.
    pub fn fill(&mut self, turn: &mut Turn, flush: bool) {
        self.is_writing = true;
        for id in &turn.touched {
            let node = self.nodes.get(id).cloned();
            if node.as_ref().is_some_and(|node| node.status == NodeStatus::Pending) {
                // A node that had this id before may have left some.
                turn.batch.heartbeats.push((id.clone(), Heartbeats::default()));
            }
            turn.batch.nodes.push((id.clone(), node));
        }
        if !flush {
            return;
        }
        for id in std::mem::take(&mut self.unwritten) {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            if std::mem::take(&mut node.unwritten) && !turn.touched.contains(&id) {
                turn.batch.nodes.push((id.clone(), Some(node.clone())));
            }
            if std::mem::take(&mut node.heartbeats_unwritten) {
                turn.batch.heartbeats.push((id, node.heartbeats.clone()));
            }
        }
    }

    /// The turn is on disk: the feed may know.
    pub fn written(&mut self, turn: Turn, now: u64) {
        for (kind, view) in turn.changes {
            self.feed.say(now, kind, view);
        }
        self.tell_late(turn.members.as_deref());
    }

    /// Tells who came back: those who are back still.
    fn tell_late(&mut self, members: Option<&Members>) {
        self.is_writing = false;
        for (at, id) in std::mem::take(&mut self.late) {
            if let Some(node) = self.nodes.get(&id).filter(|node| node.status == NodeStatus::Active) {
                self.feed.say(at, ChangeKind::Back, node.view(members));
            }
        }
    }

    /// The turn could not be written: all is as before, but for the heartbeats that came meanwhile, and heartbeats wait again.
    pub fn take_back(&mut self, mut turn: Turn) {
        for (id, _) in turn.batch.nodes.iter().filter(|(id, _)| !turn.touched.contains(id)) {
            if let Some(node) = self.nodes.get_mut(id) {
                node.unwritten = true;
            }
        }
        for (id, _) in &turn.batch.heartbeats {
            if let Some(node) = self.nodes.get_mut(id) {
                node.heartbeats_unwritten = true;
            }
        }
        for undo in std::mem::take(&mut turn.undo).into_iter().rev() {
            match undo {
                Undo::Node(id, old) => {
                    let mut old = old.map(|node| *node);
                    if let (Some(old), Some(later)) = (&mut old, self.nodes.get(&id)) {
                        old.keep_heartbeats_of(later);
                    }
                    self.put(id, old);
                }
                Undo::Nonce(key, Some(until)) => {
                    self.nonces.insert(key, until);
                }
                Undo::Nonce(key, None) => {
                    self.nonces.remove(&key);
                }
                Undo::Description(key, Some(old)) => {
                    self.descriptions.insert(key, old);
                }
                Undo::Description(key, None) => {
                    self.descriptions.remove(&key);
                }
            }
        }
        let unwritten = self.nodes.values().filter(|node| node.unwritten || node.heartbeats_unwritten);
        self.unwritten = unwritten.map(|node| node.id.clone()).collect();
        self.tell_late(turn.members.as_deref());
    }
}

/// Whether a node's heartbeats count.
pub(crate) fn may_beat(node: &Node) -> Result<(), ApiError> {
    match node.status {
        NodeStatus::Active | NodeStatus::Offline => Ok(()),
        NodeStatus::Pending | NodeStatus::Denied => {
            let message = format!("`{}` is {}: only an approved node's heartbeats count", node.id, node.status.name());
            Err(ApiError::forbidden(message).with_code("not_active"))
        }
    }
}

/// 404 for an id.
pub(crate) fn unknown_node(id: &str) -> ApiError {
    ApiError::not_found(format!("no node is registered as `{id}`")).with_code("unknown_node")
}
