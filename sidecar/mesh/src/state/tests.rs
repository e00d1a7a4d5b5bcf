//! What cannot be reached over HTTP: a full registry, and a disk that does not take a turn.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::node::Heartbeats;

const NOW: u64 = 1_000_000_000;

fn key(number: usize) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
    PublicKey(bytes)
}

fn node(number: usize, status: NodeStatus) -> Node {
    Node {
        id: format!("n{number}"),
        public_key: key(number),
        hostname: "h".to_owned(),
        ip: None,
        status,
        registered_at: NOW,
        registration: (String::new(), NOW),
        source: Some(IpAddr::from(u32::try_from(number).unwrap().to_be_bytes())),
        approved: None,
        decided: Some(NOW + number as u64),
        services: BTreeMap::new(),
        order: Vec::new(),
        heartbeats: Heartbeats::default(),
        heartbeats_unwritten: false,
        unwritten: false,
    }
}

fn state(nodes: impl IntoIterator<Item = Node>) -> State {
    State::new(Found { nodes: nodes.into_iter().collect(), ..Found::default() }, NOW)
}

/// All that a caller can see.
fn seen(state: &State) -> (Snapshot, Vec<String>, usize, usize) {
    (
        state.snapshot(None),
        state.by_key.values().cloned().collect::<BTreeSet<_>>().into_iter().collect(),
        state.nonces.len(),
        state.pending_from.len(),
    )
}

fn approve(number: usize) -> Decided {
    let (id, nonce) = (format!("n{number}"), format!("nonce{number}"));
    Decided { decision: Decision::Approve, id, approver: key(0), timestamp: NOW * 2, nonce }
}

#[test]
fn a_turn_that_was_not_written_never_was() {
    let mut state = state([node(1, NodeStatus::Pending), node(2, NodeStatus::Active), node(3, NodeStatus::Denied)]);
    let before = seen(&state);
    let mut turn = Turn::default();
    state.register(&mut turn, node(4, NodeStatus::Pending)).unwrap();
    state.decide(&mut turn, &approve(1), NOW).unwrap();
    state.decide(&mut turn, &approve(3), NOW).unwrap();
    assert_eq!(state.decide(&mut turn, &approve(2), NOW).unwrap_err().code, "not_pending");
    let described = Described { key: key(9), text: None, signer: key(0), timestamp: NOW, nonce: "n".to_owned() };
    state.describe(&mut turn, &described, NOW).unwrap();
    assert_eq!((state.count().active, state.nonces.len()), (3, 4));
    state.fill(&mut turn, false);
    state.take_back(turn);
    assert_eq!(seen(&state), before);
    assert!(state.descriptions().is_empty());
    // So it may be asked for again.
    let mut turn = Turn::default();
    state.register(&mut turn, node(4, NodeStatus::Pending)).unwrap();
    state.decide(&mut turn, &approve(1), NOW).unwrap();
}

#[test]
fn heartbeats_that_were_not_written_wait_again() {
    let mut silent = node(1, NodeStatus::Offline);
    silent.approved = Some((NOW, key(0)));
    let mut state = state([silent]);
    assert_eq!(state.heartbeat(("n1", key(1)), (NOW + 7, NOW + 8), None, &[], None).unwrap(), NOW + 7);
    // A decision about the same node is in the turn that fails.
    for _ in 0..2 {
        let mut turn = Turn::default();
        let deny = Decided { decision: Decision::Deny, ..approve(1) };
        state.decide(&mut turn, &deny, NOW + 9).unwrap();
        state.fill(&mut turn, true);
        assert_eq!((turn.batch.nodes.len(), turn.batch.heartbeats.len()), (1, 1));
        assert!(state.unwritten.is_empty());
        state.take_back(turn);
        assert_eq!(state.node("n1").unwrap().status, NodeStatus::Active);
        assert_eq!(state.unwritten, ["n1"]);
    }
    let mut turn = Turn::default();
    state.fill(&mut turn, true);
    assert_eq!(turn.batch.nodes[0].1.as_ref().unwrap().status, NodeStatus::Active);
    assert_eq!(turn.batch.heartbeats[0].1.heard_at, Some(NOW + 8));
    state.written(turn, NOW);
    assert!(state.unwritten.is_empty());
}

/// What the feed said, in its order.
fn said(feed: &mut tokio::sync::broadcast::Receiver<Arc<crate::Change>>) -> Vec<(ChangeKind, NodeStatus)> {
    std::iter::from_fn(|| feed.try_recv().ok()).map(|change| (change.kind, change.node.row.status)).collect()
}

#[test]
fn who_comes_back_while_it_is_written_that_it_fell_silent_is_told_behind_it() {
    let later = NOW + SILENCE_MS + START_GRACE_MS + 1;
    for is_written in [true, false] {
        let mut state = state([node(1, NodeStatus::Active)]);
        let mut feed = state.feed().subscribe();
        let mut turn = Turn::default();
        assert_eq!(state.sweep(&mut turn, later), 1);
        state.fill(&mut turn, false);
        state.heartbeat(("n1", key(1)), (later + 1, later + 1), None, &[], None).unwrap();
        assert_eq!(said(&mut feed), [], "nothing is told before it is written");
        if is_written {
            state.written(turn, later);
            let told = [(ChangeKind::Offline, NodeStatus::Offline), (ChangeKind::Back, NodeStatus::Active)];
            assert_eq!(said(&mut feed), told);
        } else {
            state.take_back(turn);
            assert_eq!(said(&mut feed), [(ChangeKind::Back, NodeStatus::Active)]);
        }
        assert_eq!(state.node("n1").unwrap().status, NodeStatus::Active);
        assert_eq!(state.node("n1").unwrap().newest_heartbeat(), Some(later + 1), "it is not lost");
        assert_eq!((state.count().active, state.count().offline), (1, 0));
        assert_eq!(state.unwritten, ["n1"]);
    }
}

#[test]
fn a_heartbeat_that_came_meanwhile_outlives_a_change_that_was_not_written() {
    let mut state = state([node(1, NodeStatus::Offline)]);
    let mut turn = Turn::default();
    let mut new = node(1, NodeStatus::Pending);
    (new.hostname, new.registration.1) = ("elsewhere".to_owned(), NOW + 1);
    assert_eq!(state.update(&mut turn, new).unwrap(), NodeStatus::Offline);
    state.fill(&mut turn, false);
    state.heartbeat(("n1", key(1)), (NOW + 5, NOW + 5), None, &[], None).unwrap();
    state.take_back(turn);
    let node = state.node("n1").unwrap();
    assert_eq!((node.hostname.as_str(), node.status), ("h", NodeStatus::Active));
    assert_eq!(node.newest_heartbeat(), Some(NOW + 5));
    assert_eq!((state.count().active, state.count().offline), (1, 0));
    // What is not awaited any more is told at once.
    let mut feed = state.feed().subscribe();
    let mut silent = node.clone();
    silent.status = NodeStatus::Offline;
    state.put("n1".to_owned(), Some(silent));
    state.heartbeat(("n1", key(1)), (NOW + 6, NOW + 6), None, &[], None).unwrap();
    assert_eq!(said(&mut feed), [(ChangeKind::Back, NodeStatus::Active)]);
}

#[test]
fn a_full_registry_lets_the_one_go_that_was_denied_first() {
    let nodes = (0..NODES_MAX)
        .map(|number| node(number, if number % 1_000 == 5 { NodeStatus::Denied } else { NodeStatus::Active }));
    let mut state = state(nodes);
    let denied = state.count().denied;
    for number in 0..denied {
        let mut turn = Turn::default();
        state.register(&mut turn, node(NODES_MAX + number, NodeStatus::Pending)).unwrap();
        assert!(state.node(&format!("n{}", number * 1_000 + 5)).is_none());
        assert_eq!(state.count().total, NODES_MAX);
    }
    let refused = state.register(&mut Turn::default(), node(2 * NODES_MAX, NodeStatus::Pending)).unwrap_err();
    assert_eq!((refused.status.as_u16(), refused.code), (503, "registry_full"));
}

#[test]
fn only_so_many_wait() {
    let mut state = state((0..PENDING_MAX).map(|number| node(number, NodeStatus::Pending)));
    let refused = state.register(&mut Turn::default(), node(PENDING_MAX, NodeStatus::Pending)).unwrap_err();
    assert_eq!((refused.status.as_u16(), refused.code), (429, "pending_full"));
}

#[test]
fn a_new_node_does_not_inherit_heartbeats() {
    let mut state = state([]);
    let mut turn = Turn::default();
    state.register(&mut turn, node(1, NodeStatus::Pending)).unwrap();
    state.fill(&mut turn, false);
    assert_eq!(turn.batch.heartbeats, [("n1".to_owned(), Heartbeats::default())]);
}
