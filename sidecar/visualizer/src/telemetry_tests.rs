//! What validators send, well formed and not.

#![allow(clippy::unwrap_used)]

use super::*;

fn told(decoder: &mut Decoder, name: &str, data: &str) -> Vec<Report> {
    let mut reports = Vec::new();
    decoder.event(&SseEvent { name: name.to_owned(), data: data.to_owned() }, &mut reports);
    reports
}

const SNAPSHOT: &str = r#"{"validator":"ed25519_0a","validator_id":"val_0a","chain":"devnet","sequence":40,
    "peers":[{"id":"val_77","key":"ed25519_77","address":"127.0.0.1:9010","connected":true},{"key":"ed25519_88"}],
    "time_ms":1,"window_ms":250,"height":812,"finalized_height":813,"epoch":3,"view":208,"leader":"ed25519_77","voting":true,"reason":"",
    "applied":5000,"applied_per_s":2001.26,"waiting":7,
    "stages":[{"name":"verify","per_s":2000.04,"busy":0.1234,"input":0.5,"output":7.5,"cores":0.2}],
    "latency_final":{"count":3,"p50_ms":61.23,"p99_ms":118.4},"latency_applied":{"count":0,"p50_ms":0,"p99_ms":0}}"#;

#[test]
fn a_snapshot_says_who_and_how_the_validator_is() {
    let mut decoder = Decoder::default();
    let reports = told(&mut decoder, "snapshot", SNAPSHOT);
    let [Report::Status(status), Report::Sample(sample), Report::Peers(peers)] = reports.as_slice() else {
        panic!("{reports:?}")
    };
    assert_eq!((status.key.as_str(), status.height, status.finalized_height), ("ed25519_0a", 812, 813));
    assert_eq!((status.epoch, status.view, status.leader.as_str(), status.voting), (3, 208, "ed25519_77", true));
    assert_eq!((sample.applied_total, sample.applied_tps, sample.waiting), (5_000, 2_001.3, 7));
    assert_eq!((sample.latency.final_p50, sample.latency.applied_p50), (Some(61.2), None));
    let stage = &sample.stages[0];
    assert_eq!((stage.busy, stage.output, stage.transactions_per_second), (0.12, 1.0, 2_000.0));
    assert_eq!(peers[0], PeerLink { key: "ed25519_77".to_owned(), connected: true });
    assert!(!peers[1].connected);
    assert_eq!(decoder.malformed(), 0);
}

#[test]
fn events_and_samples_follow_and_a_sample_keeps_the_key() {
    let mut decoder = Decoder::default();
    told(&mut decoder, "snapshot", SNAPSHOT);
    let reports = told(
        &mut decoder,
        "events",
        r#"[{"sequence":41,"kind":"view","epoch":3,"view":209,"leader":"ed25519_88"},
            {"sequence":42,"kind":"proposal","epoch":3,"view":209,"height":813,"proposer":"ed25519_88","hash":"9c"},
            {"sequence":43,"kind":"vote","epoch":3,"view":208,"validator":"ed25519_0a","vote":"finalize","hash":"9c"},
            {"sequence":44,"kind":"vote","epoch":3,"view":1,"validator":"ed25519_0a","vote":"nullify","hash":""},
            {"sequence":45,"kind":"finalized","height":814,"hash":"9c","proposer":"ed25519_77","transactions":500},
            {"sequence":46,"kind":"committed","height":814,"hash":"9c","applied":499,"failed":1,"skipped":0},
            {"sequence":47,"kind":"peer","validator":"ed25519_88","id":"val_88","connected":true},
            {"sequence":48,"kind":"evidence","validator":"ed25519_88"},
            {"sequence":49,"kind":"epoch","epoch":4,"validators":5,"voting":true},
            {"sequence":50,"kind":"something of a later version"}]"#,
    );
    let vote = |view, kind, leader: &str| {
        Report::Vote(Vote { epoch: 3, view, voter: "ed25519_0a".to_owned(), kind, leader: leader.to_owned() })
    };
    assert_eq!(
        reports,
        [
            Report::View { epoch: 3, view: 209, leader: "ed25519_88".to_owned() },
            Report::Proposal { leader: "ed25519_88".to_owned() },
            vote(208, VoteKind::Finalize, "ed25519_77"),
            vote(1, VoteKind::Nullify, ""),
            Report::Finalized { height: 814, proposer: "ed25519_77".to_owned() },
            Report::Committed(814),
            Report::Peer(PeerLink { key: "ed25519_88".to_owned(), connected: true }),
            Report::Evidence("ed25519_88".to_owned()),
        ]
    );
    let reports =
        told(&mut decoder, "sample", r#"{"window_ms":250,"height":814,"voting":false,"reason":"its journal is gone"}"#);
    let [Report::Status(status), Report::Sample(sample)] = reports.as_slice() else { panic!("{reports:?}") };
    assert_eq!((status.key.as_str(), status.reason.as_str()), ("ed25519_0a", "its journal is gone"));
    assert_eq!(sample.finalized_tps, 2_000.0, "500 in a quarter of a second");
}

#[test]
fn what_cannot_be_read_is_counted_and_leaves_the_rest() {
    let mut decoder = Decoder::default();
    for data in ["", "nonsense", "{", "[1,2", "{\"height\":-1}", "{\"height\":\"x\"}", "{\"stages\":3}", "\u{0}"] {
        assert!(told(&mut decoder, "sample", data).is_empty(), "{data}");
    }
    let reports = told(
        &mut decoder,
        "events",
        r#"[1,null,{},{"kind":"committed"},{"kind":"committed","height":-4},{"kind":"committed","height":9}]"#,
    );
    assert_eq!(reports, [Report::Committed(9)]);
    assert!(decoder.malformed() >= 13);
    assert!(told(&mut decoder, "lost", "{\"events\":3}").is_empty());
    assert!(told(&mut decoder, "no such event", "x").is_empty());
}

#[test]
fn lists_texts_and_numbers_are_cut() {
    let mut decoder = Decoder::default();
    let stages: Vec<String> =
        (0..200).map(|number| format!("{{\"name\":\"s{number}\",\"busy\":-3,\"per_s\":1e300}}")).collect();
    let peers: Vec<String> = (0..900).map(|number| format!("{{\"key\":\"k{number}\"}}")).collect();
    let data = format!(
        "{{\"validator\":\"k\",\"reason\":\"{}\",\"height\":18446744073709551615,\"stages\":[{}],\"peers\":[{}]}}",
        "r\\n".repeat(5_000),
        stages.join(","),
        peers.join(",")
    );
    let reports = told(&mut decoder, "snapshot", &data);
    let [Report::Status(status), Report::Sample(sample), Report::Peers(peers)] = reports.as_slice() else {
        panic!("{reports:?}")
    };
    assert_eq!((status.reason.len(), status.height), (TEXT_CHARACTERS_MAX, WHOLE_MAX));
    assert_eq!((sample.stages.len(), peers.len()), (STAGES_MAX, PEERS_MAX));
    assert_eq!((sample.stages[0].busy, sample.stages[0].transactions_per_second), (0.0, RATE_MAX));
}

#[test]
fn peers_are_read_as_a_list_and_as_an_object() {
    for body in [r#"[{"key":"a","connected":true}]"#, r#"{"peers":[{"key":"a","connected":true}],"count":1}"#] {
        let mut reports = Vec::new();
        Decoder::default().peers(body.as_bytes(), &mut reports);
        assert_eq!(reports, [Report::Peers(vec![PeerLink { key: "a".to_owned(), connected: true }])]);
    }
}
