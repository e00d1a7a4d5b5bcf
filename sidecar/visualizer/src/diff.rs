//! What turns one state into the next: a comparison, so that a delta can neither forget a change nor tell one that is none.

use std::collections::BTreeMap;

use crate::frame::{
    ChainView, Delta, Edge, EdgeEnds, EdgeKind, Event, Mesh, MeshDelta, MeshNode, Pending, State, Validator,
    ValidatorPatch,
};

/// The delta from `old` to `new`, or `None` where nothing changed. Lists that have an order by key are sorted by it in both.
///
/// `moments` are the proposal and vote edges since `old`, `events` those that were put behind `old`'s: no state holds them apart.
pub fn diff(old: &State, new: &State, moments: Vec<Edge>, events: Vec<Event>) -> Option<Delta> {
    let (validators, removed_validators) = validators(&old.validators, &new.validators);
    let (mut edges, removed_edges) = edges(&old.edges, &new.edges);
    edges.extend(moments);
    let pending_count = (old.pending_count != new.pending_count).then_some(new.pending_count);
    let delta = Delta {
        sequence: new.sequence,
        validators,
        removed_validators,
        edges,
        removed_edges,
        mesh: mesh(&old.mesh, &new.mesh),
        pending_transactions: changed::<Vec<Pending>>(&old.pending_transactions, &new.pending_transactions),
        pending_count,
        events,
        chain: changed::<ChainView>(&old.chain, &new.chain),
        last_update: new.last_update,
    };
    let nothing = Delta { sequence: new.sequence, last_update: new.last_update, ..Delta::default() };
    (delta != nothing).then_some(delta)
}

fn changed<T: PartialEq + Clone>(old: &T, new: &T) -> Option<T> {
    (old != new).then(|| new.clone())
}

fn validators(old: &[Validator], new: &[Validator]) -> (Vec<ValidatorPatch>, Vec<String>) {
    let before: BTreeMap<&str, &Validator> = old.iter().map(|validator| (validator.id.as_str(), validator)).collect();
    let after: BTreeMap<&str, &Validator> = new.iter().map(|validator| (validator.id.as_str(), validator)).collect();
    let patches = new.iter().filter_map(|validator| patch(before.get(validator.id.as_str()).copied(), validator));
    let removed = before.keys().filter(|id| !after.contains_key(*id)).map(|id| (*id).to_owned());
    (patches.collect(), removed.collect())
}

/// Every field of a validator that is new; of another the fields that changed, or `None` if none did.
fn patch(old: Option<&Validator>, new: &Validator) -> Option<ValidatorPatch> {
    macro_rules! field {
        ($name:ident) => {
            match old {
                Some(old) => changed(&old.$name, &new.$name),
                None => Some(new.$name.clone()),
            }
        };
    }
    let patch = ValidatorPatch {
        id: new.id.clone(),
        public_key: field!(public_key),
        online: field!(online),
        healthy: field!(healthy),
        voting: field!(voting),
        reason: field!(reason),
        is_leader: field!(is_leader),
        current_height: field!(current_height),
        finalized_height: field!(finalized_height),
        peer_count: field!(peer_count),
        last_seen: field!(last_seen),
        applied_tps: field!(applied_tps),
        finalized_tps: field!(finalized_tps),
        latency: field!(latency),
        stages: field!(stages),
    };
    let nothing = ValidatorPatch { id: new.id.clone(), ..ValidatorPatch::default() };
    (patch != nothing).then_some(patch)
}

fn edges(old: &[Edge], new: &[Edge]) -> (Vec<Edge>, Vec<EdgeEnds>) {
    let ends = |edge: &Edge| EdgeEnds { source: edge.source.clone(), target: edge.target.clone() };
    let peers = |edges: &[Edge]| -> BTreeMap<EdgeEnds, Edge> {
        edges.iter().filter(|edge| edge.kind == EdgeKind::Peer).map(|edge| (ends(edge), edge.clone())).collect()
    };
    let (before, after) = (peers(old), peers(new));
    let added = after.iter().filter(|(ends, edge)| before.get(ends) != Some(edge)).map(|(_, edge)| edge.clone());
    let removed = before.keys().filter(|ends| !after.contains_key(ends)).cloned();
    (added.collect(), removed.collect())
}

fn mesh(old: &Mesh, new: &Mesh) -> Option<MeshDelta> {
    if old == new {
        return None;
    }
    let before: BTreeMap<&str, &MeshNode> = old.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let after: BTreeMap<&str, &MeshNode> = new.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let nodes = new.nodes.iter().filter(|node| before.get(node.id.as_str()) != Some(node)).cloned();
    let removed = before.keys().filter(|id| !after.contains_key(*id)).map(|id| (*id).to_owned());
    Some(MeshDelta {
        nodes: nodes.collect(),
        removed_nodes: removed.collect(),
        node_count: new.node_count,
        last_update: new.last_update,
    })
}
