//! The model without sockets and clocks: what becomes of reports, and that snapshot and deltas come to the same.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::frame::{Frame, Latency, MeshService, Message, Stage};
use crate::report::{PeerLink, Sample, Status, Vote, VoteKind};

#[path = "../tests/common/client.rs"]
mod client;
use client::ClientModel;

fn key(number: u64) -> String {
    format!("ed25519_{number:064x}")
}

fn node(number: u64, status: &str) -> MeshNode {
    MeshNode {
        id: format!("val_{number}"),
        public_key: key(number),
        tailscale_hostname: "127.0.0.1".to_owned(),
        status: status.to_owned(),
        services: vec![MeshService { kind: "consensus".to_owned(), port: 9_000, ..MeshService::default() }],
        ..MeshNode::default()
    }
}

/// A model that follows validators 1 to `count`, each with the source of its number.
fn following(count: u64) -> Model {
    let mut model = Model::default();
    let nodes: Vec<MeshNode> = (1..=count).map(|number| node(number, "active")).collect();
    for (number, registered) in (1..).zip(validators_of(&nodes).values()) {
        model.follow(registered, number);
    }
    model.take(Input::Nodes(nodes), 1);
    model
}

fn status(number: u64, height: u64, leader: u64) -> Report {
    Report::Status(Status {
        key: key(number),
        voting: true,
        height,
        finalized_height: height + 1,
        epoch: 1,
        view: height,
        leader: key(leader),
        ..Status::default()
    })
}

fn links(of: u64, count: u64, connected: impl Fn(u64) -> bool) -> Report {
    let others = (1..=count).filter(|other| *other != of);
    Report::Peers(others.map(|other| PeerLink { key: key(other), connected: connected(other) }).collect())
}

/// Five validators that are well, at height 10 under leader 2.
fn five() -> Model {
    let mut model = following(5);
    for number in 1..=5 {
        model.take(Input::Report(number, Report::Up { every_ms: 250 }), 1_000);
        model.take(Input::Report(number, status(number, 10, 2)), 1_000);
        model.take(Input::Report(number, links(number, 5, |_| true)), 1_000);
    }
    model
}

fn kinds(delta: &Delta) -> Vec<(crate::frame::EventKind, &str)> {
    delta.events.iter().map(|event| (event.event, event.validator_id.as_str())).collect()
}

use crate::frame::EventKind::{
    Approval, Block, Denied, Evidence, Follower, Leader, Offline, Online, Recovered, Registered as Registration,
    Unhealthy,
};

#[test]
fn five_validators_that_are_well_are_shown_with_their_links_and_one_leader() {
    let mut model = five();
    let delta = model.flush(1_000).unwrap();
    assert_eq!(delta.sequence, 1);
    let state = model.state();
    assert!(state.validators.iter().all(|one| one.online && one.healthy && one.voting && one.reason.is_empty()));
    assert!(state.validators.iter().all(|one| one.peer_count == 4 && one.current_height == 10));
    let leaders: Vec<&str> = state.validators.iter().filter(|one| one.is_leader).map(|one| one.id.as_str()).collect();
    assert_eq!(leaders, ["val_2"]);
    assert_eq!(state.edges.len(), 10);
    assert!(state.edges.iter().all(|edge| edge.source < edge.target && edge.at == 1_000));
    assert_eq!((state.chain.height, state.chain.finalized_height, state.chain.view), (10, 11, 10));
    assert_eq!((state.mesh.node_count.active, state.mesh.node_count.total), (5, 5));
    assert_eq!(kinds(&delta).iter().filter(|(kind, _)| *kind == Online).count(), 5);
    assert!(kinds(&delta).contains(&(Leader, "val_2")));
    assert_eq!(model.flush(1_001), None, "nothing changed");
}

#[test]
fn one_validator_works_like_five() {
    let mut model = following(1);
    model.take(Input::Report(1, status(1, 3, 1)), 1_000);
    model.flush(1_000).unwrap();
    let one = &model.state().validators[0];
    assert!(one.online && one.healthy && one.is_leader);
    assert_eq!((model.state().chain.height, model.state().edges.len()), (3, 0));
    model.take(Input::Report(1, Report::Committed(4)), 2_100);
    let delta = model.flush(2_100).unwrap();
    assert_eq!(kinds(&delta), [(Block, "val_1")]);
    assert_eq!((delta.events[0].height, delta.events[0].details.as_deref()), (Some(4), Some("block 4")));
}

#[test]
fn one_that_goes_down_is_offline_without_links_and_comes_back() {
    let mut model = five();
    model.flush(1_000);
    model.take(Input::Report(3, Report::Down("refuses connections".to_owned())), 1_100);
    for number in [1, 2, 4, 5] {
        model.take(Input::Report(number, Report::Peer(PeerLink { key: key(3), connected: false })), 1_100);
    }
    let delta = model.flush(1_100).unwrap();
    assert_eq!(kinds(&delta), [(Offline, "val_3")]);
    assert_eq!(delta.removed_edges.len(), 4);
    let gone = model.state().validators[2].clone();
    assert_eq!((gone.online, gone.healthy, gone.voting, gone.peer_count), (false, false, false, 0));
    assert_eq!((gone.reason.as_str(), gone.current_height), ("refuses connections", 10));

    model.take(Input::Report(3, status(3, 12, 2)), 1_500);
    model.take(Input::Report(3, links(3, 5, |_| true)), 1_500);
    let delta = model.flush(1_500).unwrap();
    assert_eq!(kinds(&delta), [(Online, "val_3")]);
    assert_eq!(model.state().edges.len(), 6, "the others still say that its links are down");
}

#[test]
fn one_whose_links_the_others_lost_is_unhealthy_while_it_speaks_and_offline_once_it_is_silent() {
    let mut model = five();
    model.flush(1_000);
    for number in [1, 2, 4, 5] {
        model.take(Input::Report(number, Report::Peer(PeerLink { key: key(3), connected: false })), 1_200);
    }
    let delta = model.flush(1_300).unwrap();
    assert_eq!(kinds(&delta), [(Unhealthy, "val_3")]);
    assert_eq!(model.state().validators[2].reason, LINKS_LOST);
    // Its own stream stands still: it is not waited for until that is given up.
    let delta = model.flush(1_900).unwrap();
    assert_eq!(kinds(&delta), [(Offline, "val_3")]);

    for number in [1, 2, 4, 5] {
        model.take(Input::Report(number, Report::Peer(PeerLink { key: key(3), connected: true })), 2_000);
    }
    assert_eq!(kinds(&model.flush(2_000).unwrap()), [(Online, "val_3")]);
}

#[test]
fn one_that_stops_voting_is_unhealthy_until_it_votes() {
    let mut model = five();
    model.flush(1_000);
    let quiet = Status { key: key(1), reason: "its journal is older".to_owned(), height: 10, ..Status::default() };
    model.take(Input::Report(1, Report::Status(quiet)), 1_100);
    assert_eq!(kinds(&model.flush(1_100).unwrap()), [(Unhealthy, "val_1")]);
    assert_eq!(model.state().validators[0].reason, "does not vote: its journal is older");
    model.take(Input::Report(1, status(1, 10, 2)), 1_200);
    assert_eq!(kinds(&model.flush(1_200).unwrap()), [(Recovered, "val_1")]);
}

#[test]
fn one_liar_of_five_moves_neither_height_nor_leader_nor_the_others_links() {
    let mut model = five();
    model.flush(1_000);
    model.take(
        Input::Report(
            4,
            Report::Status(Status {
                voting: true,
                height: 1 << 50,
                epoch: 9,
                view: 1 << 40,
                leader: key(4),
                ..Status::default()
            }),
        ),
        1_100,
    );
    model.take(
        Input::Report(
            4,
            Report::Peers((1..=5).filter(|n| *n != 4).map(|n| PeerLink { key: key(n), connected: false }).collect()),
        ),
        1_100,
    );
    let vote =
        |voter| Report::Vote(Vote { epoch: 1, view: 10, voter: key(voter), kind: VoteKind::Notarize, leader: key(2) });
    model.take(Input::Report(4, vote(1)), 1_100);
    let delta = model.flush(1_100).unwrap();
    let state = model.state();
    assert_eq!((state.chain.height, state.chain.leader.as_str()), (10, "val_2"));
    assert!(state.validators.iter().filter(|one| one.id != "val_4").all(|one| one.healthy));
    assert!(delta.edges.is_empty(), "a vote that one other saw is not believed: {:?}", delta.edges);
    model.take(Input::Report(5, vote(1)), 1_200);
    let delta = model.flush(1_200).unwrap();
    assert_eq!((delta.edges[0].kind, delta.edges[0].source.as_str()), (EdgeKind::Vote, "val_1"));
}

#[test]
fn leaders_flag_is_current_though_events_of_leaders_are_few() {
    let mut model = five();
    model.flush(1_000);
    let mut told = 0;
    for step in 1..=24 {
        let (view, leader) = (10 + step, 1 + step % 5);
        for number in 1..=5 {
            model.take(Input::Report(number, Report::View { epoch: 1, view, leader: key(leader) }), 1_000 + step * 90);
        }
        let delta = model.flush(1_000 + step * 90).unwrap();
        let leaders: Vec<String> =
            model.state().validators.iter().filter(|one| one.is_leader).map(|one| one.id.clone()).collect();
        assert_eq!(leaders, [format!("val_{leader}")]);
        told += kinds(&delta).iter().filter(|(kind, _)| matches!(kind, Leader | Follower)).count();
    }
    assert_eq!(told, 4, "two pairs in two seconds");
}

#[test]
fn proposals_and_votes_are_told_once_and_kept_by_no_state() {
    let mut model = five();
    model.flush(1_000);
    for number in 1..=5 {
        model.take(Input::Report(number, Report::Proposal { leader: key(2) }), 1_010);
        for voter in 1..=5 {
            let vote = Vote { epoch: 1, view: 10, voter: key(voter), kind: VoteKind::Finalize, leader: key(2) };
            model.take(Input::Report(number, Report::Vote(vote)), 1_020);
        }
    }
    let delta = model.flush(1_020).unwrap();
    let count = |kind| delta.edges.iter().filter(|edge| edge.kind == kind).count();
    assert_eq!((count(EdgeKind::Proposal), count(EdgeKind::Vote)), (4, 4), "the leader's own go nowhere");
    assert!(model.state().edges.iter().all(|edge| edge.kind == EdgeKind::Peer));
    assert_eq!(model.flush(1_030), None);
    for view in 0..MOMENTS_MAX as u64 + 10 {
        let vote = Vote { epoch: 2, view, voter: key(1), kind: VoteKind::Finalize, leader: key(2) };
        model.take(Input::Report(1, Report::Vote(vote)), 1_040);
    }
    assert_eq!(model.flush(1_040).unwrap().edges.len(), MOMENTS_MAX);
}

#[test]
fn the_registry_shows_who_registers_is_approved_refused_and_leaves() {
    let mut model = following(2);
    model.take(Input::Report(1, status(1, 1, 1)), 1_000);
    assert!(
        kinds(&model.flush(1_000).unwrap()).iter().all(|(kind, _)| matches!(kind, Online | Leader)),
        "the first reading is no news"
    );
    let nodes = |third, fourth| vec![node(1, "active"), node(2, "active"), node(3, third), node(4, fourth)];
    model.take(Input::Nodes(nodes("pending", "pending")), 1_100);
    assert_eq!(kinds(&model.flush(1_100).unwrap()), [(Registration, "val_3"), (Registration, "val_4")]);
    model.take(Input::Nodes(nodes("active", "denied")), 1_200);
    assert_eq!(kinds(&model.flush(1_200).unwrap()), [(Approval, "val_3"), (Denied, "val_4")]);
    model.take(Input::Nodes(nodes("offline", "denied")), 1_300);
    assert!(model.flush(1_300).unwrap().events.is_empty());
    model.take(Input::Nodes(nodes("active", "denied")), 1_400);
    assert!(model.flush(1_400).unwrap().events.is_empty(), "it came back by itself");

    model.forget("val_1");
    model.take(Input::Nodes(vec![node(2, "active")]), 1_500);
    let delta = model.flush(1_500).unwrap();
    assert_eq!(delta.removed_validators, ["val_1"]);
    assert_eq!(delta.mesh.as_ref().unwrap().removed_nodes, ["val_1", "val_3", "val_4"]);
    assert_eq!(kinds(&delta), [(Offline, "val_1")]);
    model.take(Input::Report(1, status(1, 99, 1)), 1_600);
    assert_eq!(model.flush(1_600), None, "its old source is no longer heard");
}

#[test]
fn who_is_a_validator() {
    let mut observer = node(4, "active");
    observer.services[0].kind = "ledger".to_owned();
    let mut addressed = node(5, "offline");
    addressed.tailscale_ip = Some("10.0.0.5".to_owned());
    addressed.services[0].public_key = key(50);
    let found = validators_of(&[node(1, "active"), node(2, "pending"), node(3, "denied"), observer, addressed]);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["val_1", "val_5"]);
    assert_eq!((found["val_1"].host.as_str(), found["val_5"].host.as_str()), ("127.0.0.1", "10.0.0.5"));
    assert_eq!(found["val_5"].public_key, key(50));
    let mut named = node(6, "active");
    named.tailscale_hostname = "ws://node6.tail.net:9000".to_owned();
    assert_eq!(validators_of(&[named])["val_6"].host, "node6.tail.net");
    let many: Vec<MeshNode> = (0..1_000).map(|number| node(number, "active")).collect();
    assert_eq!(validators_of(&many).len(), VALIDATORS_MAX);
}

#[test]
fn evidence_is_told_once_however_many_find_it() {
    let mut model = five();
    model.flush(1_000);
    for number in 1..=5 {
        model.take(Input::Report(number, Report::Evidence(key(3))), 1_100);
    }
    let delta = model.flush(1_100).unwrap();
    assert_eq!(kinds(&delta), [(Evidence, "val_3")]);
    assert_eq!(delta.events[0].details.as_deref(), Some("broke the rules; the proof was found by val_1, val_2"));
    model.take(Input::Report(1, Report::Evidence(key(3))), 1_200);
    assert_eq!(model.flush(1_200), None);
}

#[test]
fn what_one_validator_alone_says_to_have_a_proof_of_is_its_word_only() {
    let mut model = five();
    model.flush(1_000);
    let evidence = |against: String| Input::Report(1, Report::Evidence(against));
    model.take(evidence(key(77)), 1_100);
    model.take(evidence(String::new()), 1_100);
    assert_eq!(model.flush(1_100), None, "those are no validators");
    for _ in 0..3 {
        model.take(evidence(key(3)), 1_200);
    }
    let delta = model.flush(1_200).unwrap();
    assert_eq!(kinds(&delta), [(Evidence, "val_3")]);
    assert!(delta.events[0].details.as_ref().unwrap().starts_with("val_1 says"), "{:?}", delta.events);
    // Another one has it too.
    model.take(Input::Report(5, Report::Evidence(key(3))), 1_300);
    let delta = model.flush(1_300).unwrap();
    assert_eq!(delta.events[0].details.as_deref(), Some("broke the rules; the proof was found by val_1, val_5"));
    // One that accuses everybody is heard a few times.
    let mut model = following(20);
    model.flush(1_000);
    for accused in 2..=20 {
        model.take(evidence(key(accused)), 1_100);
    }
    assert_eq!(kinds(&model.flush(1_100).unwrap()).len(), 4);
}

#[test]
fn one_liar_neither_chooses_the_view_nor_its_leader_nor_the_proposer() {
    // Four others, each in a view of its own, as they are in the middle of a change: no two name the same leader of one view.
    let mut model = following(5);
    let view = |view: u64, leader: u64| Report::View { epoch: 1, view, leader: key(leader) };
    for number in 1..=5 {
        model.take(Input::Report(number, status(number, 10, 2)), 1_000);
    }
    for (number, at) in [(1, 11), (2, 12), (3, 13)] {
        for passed in 11..=at {
            model.take(Input::Report(number, view(passed, passed % 5 + 1)), 1_100);
        }
    }
    model.take(Input::Report(4, Report::View { epoch: 9, view: 12, leader: key(4) }), 1_100);
    model.flush(1_100);
    let chain = model.state().chain.clone();
    assert_eq!((chain.epoch, chain.view, chain.leader.as_str()), (1, 13, ""), "only one says who leads it");
    model.take(Input::Report(4, Report::View { epoch: 1, view: 12, leader: key(4) }), 1_200);
    model.flush(1_200);
    let chain = model.state().chain.clone();
    assert_eq!((chain.epoch, chain.view), (1, 12));
    assert_eq!(chain.leader, "val_3", "those that were in view 12 and one that is further say so");
    // A block is not said to be of one whom a single validator names.
    let finalized = |proposer: u64| Report::Finalized { height: 11, proposer: key(proposer) };
    model.take(Input::Report(1, finalized(4)), 2_300);
    for number in [2, 3, 4, 5] {
        model.take(Input::Report(number, finalized(3)), 2_300);
        model.take(Input::Report(number, Report::Committed(11)), 2_300);
    }
    let delta = model.flush(2_300).unwrap();
    assert!(kinds(&delta).contains(&(Block, "val_3")), "{:?}", kinds(&delta));
}

/// One thing that happens to a model.
#[derive(Debug, Clone)]
enum Step {
    Nodes(Vec<u8>),
    Report(u64, Report),
    Flush(u64),
}

fn a_key() -> impl Strategy<Value = String> {
    (0u64..8).prop_map(key)
}

fn a_report() -> impl Strategy<Value = Report> {
    let status =
        (any::<bool>(), 0u64..50, 0u64..3, 0u64..50, a_key()).prop_map(|(voting, height, epoch, view, leader)| {
            Report::Status(Status {
                voting,
                height,
                finalized_height: height + 1,
                epoch,
                view,
                leader,
                ..Status::default()
            })
        });
    let link = || (a_key(), any::<bool>()).prop_map(|(key, connected)| PeerLink { key, connected });
    let sample = (0.0..5e3f64, 0u64..100, proptest::option::of(0.0..1e3f64)).prop_map(|(rate, waiting, latency)| {
        let stage = Stage { name: "verify".to_owned(), busy: rate / 5e3, ..Stage::default() };
        let latency = Latency { final_p50: latency, ..Latency::default() };
        Report::Sample(Sample { applied_tps: rate, waiting, latency, stages: vec![stage], ..Sample::default() })
    });
    let pending = proptest::collection::vec((0u32..200, 0u64..50), 0..60).prop_map(|list| {
        let one = |(id, timestamp): (u32, u64)| Pending { id: id.to_string(), timestamp, ..Pending::default() };
        Report::Pending(list.into_iter().map(one).collect())
    });
    let vote = (0u64..9, a_key(), a_key()).prop_map(|(view, voter, leader)| {
        Report::Vote(Vote { epoch: 0, view, voter, kind: VoteKind::Notarize, leader })
    });
    prop_oneof![
        Just(Report::Down("gone".to_owned())),
        Just(Report::Up { every_ms: 250 }),
        status,
        proptest::collection::vec(link(), 0..6).prop_map(Report::Peers),
        link().prop_map(Report::Peer),
        (0u64..50).prop_map(Report::Committed),
        (0u64..50, a_key()).prop_map(|(height, proposer)| Report::Finalized { height, proposer }),
        a_key().prop_map(|leader| Report::Proposal { leader }),
        vote,
        sample,
        pending,
        a_key().prop_map(Report::Evidence),
    ]
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => proptest::collection::vec(0u8..5, 6).prop_map(Step::Nodes),
        12 => (1u64..7, a_report()).prop_map(|(source, report)| Step::Report(source, report)),
        6 => (1u64..2_000).prop_map(Step::Flush),
    ]
}

/// Follows the validators of a reading as the hub does; sources have their validators' numbers, so that old and new ones mix.
fn follow(model: &mut Model, nodes: &[MeshNode]) {
    let wanted = validators_of(nodes);
    for number in 1..=6 {
        match wanted.get(&format!("val_{number}")) {
            Some(registered) => model.follow(registered, number),
            None => model.forget(&format!("val_{number}")),
        }
    }
}

proptest! {
    #[test]
    fn a_snapshot_and_the_deltas_behind_it_come_to_the_servers_state(steps in proptest::collection::vec(a_step(), 1..120), late in 0usize..60) {
        let (mut model, mut now) = (Model::default(), 1_000);
        let (mut early, mut later) = (ClientModel::default(), None);
        let snapshot = |model: &Model| serde_json::to_string(&Message::new(Frame::Snapshot(model.state().clone()))).unwrap();
        early.take(&snapshot(&model)).unwrap();
        for (number, step) in steps.into_iter().enumerate() {
            if number == late {
                let mut client = ClientModel::default();
                client.take(&snapshot(&model)).unwrap();
                later = Some(client);
            }
            match step {
                Step::Nodes(statuses) => {
                    let status = |code: &u8| ["active", "pending", "denied", "offline", ""][usize::from(*code)];
                    let all = (1u64..).zip(statuses.iter().map(status));
                    let nodes: Vec<MeshNode> = all.filter(|(_, status)| !status.is_empty()).map(|(number, status)| node(number, status)).collect();
                    follow(&mut model, &nodes);
                    model.take(Input::Nodes(nodes), now);
                }
                Step::Report(source, report) => model.take(Input::Report(source, report), now),
                Step::Flush(after) => {
                    now += after;
                    let Some(delta) = model.flush(now) else { continue };
                    let message = serde_json::to_string(&Message::new(Frame::Delta(delta))).unwrap();
                    let expected: serde_json::Value = serde_json::from_str(&snapshot(&model)).unwrap();
                    for client in std::iter::once(&mut early).chain(&mut later) {
                        client.take(&message).map_err(TestCaseError::fail)?;
                        prop_assert_eq!(&client.state, &expected["data"]);
                    }
                }
            }
        }
    }
}
