//! From recorder to report: windows, rates, codes, notes.

use std::time::Duration;

use tana_net::{AnswerEvent, AnswerKind, ServerPin};

use super::*;
use crate::load::sign_load;
use crate::recorder::StreamTimes;
use crate::testing::genesis;

const SECOND_NS: u64 = 1_000_000_000;

fn load() -> Load {
    let plan = LoadPlan { accounts: 10, connections: 2, count: 6_400, ..LoadPlan::default() };
    sign_load(&genesis(10), &plan, &mut |_| ()).unwrap()
}

fn config() -> FloodConfig {
    let mut config = FloodConfig::new("127.0.0.1:9002".parse().unwrap(), ServerPin::Insecure);
    config.warm_up = Duration::from_secs(1);
    config.duration = Some(Duration::from_secs(4));
    config
}

fn report(config: &FloodConfig, sent: u64) -> Report {
    let mut recorder = Recorder::new(SECOND_NS, config.deadline_ns());
    let times =
        StreamTimes { frame_transactions: 100, moments_ns: (0..64).map(|frame| frame * SECOND_NS / 10).collect() };
    recorder.on_sent(2 * SECOND_NS, sent, sent * 181);
    let mut applied = AnswerEvent::here(AnswerKind::Applied, 0, 1_000);
    applied.count = 1_000;
    recorder.on_answers(3 * SECOND_NS, &[applied], &times);
    let mut rejected = AnswerEvent::here(AnswerKind::Rejected, Code::NonceUsed as u8, 0);
    rejected.count = 1_000;
    recorder.on_answers(3 * SECOND_NS, &[rejected], &times);
    let outcome = Outcome {
        recorder,
        started_ms: 5,
        elapsed_ns: 6 * SECOND_NS,
        cpu_ns: Some(sent * 250),
        reconnects: 1,
        failure: None,
        is_stopped: false,
    };
    Report::new(&load(), config, outcome)
}

#[test]
fn rates_are_of_the_measured_window() {
    let by_time = report(&config(), 4_000);
    assert_eq!(by_time.ended, Ended::Time);
    assert_eq!(by_time.measured_seconds, 4.0);
    assert_eq!((by_time.per_second.sent, by_time.per_second.applied), (1_000.0, 250.0));
    assert_eq!(by_time.unanswered, 2_000);
    assert_eq!(by_time.client_cpu_ns_per_transaction, Some(250.0));
    assert_eq!(by_time.codes.get("nonce_used"), Some(&1_000));
    let used_up = report(&config(), 6_400);
    assert_eq!(used_up.ended, Ended::LoadUsedUp);
    assert_eq!(used_up.measured_seconds, 2.0, "to the last answer");
    assert_eq!(used_up.per_second.applied, 500.0);
}

#[test]
fn latencies_come_in_milliseconds() {
    // Frames 10 to 19 were due from 1.0 to 1.9 s and applied at 3 s.
    let latency = report(&config(), 4_000).latency_applied_ms;
    assert_eq!(latency.count, 1_000);
    assert!((1_490.0..1_510.0).contains(&latency.p50), "{latency:?}");
    assert!((1_990.0..2_010.0).contains(&latency.max), "{latency:?}");
    assert!(latency.p50 <= latency.p90 && latency.p90 <= latency.p99 && latency.p99 <= latency.p999);
}

#[test]
fn an_open_loop_says_what_it_could_not_send() {
    let mut config = config();
    config.pace = Pace::Open { rate: 1_000 };
    assert_eq!(report(&config, 4_950).unsent, 0, "a frame per connection may be due at the end");
    let behind = report(&config, 3_000);
    assert_eq!(behind.unsent, 5_000 - 3_000 - 128);
    assert!(behind.notes()[0].contains("did not keep up"));
}

#[test]
fn notes_say_what_to_do_about_rejections() {
    assert!(report(&config(), 4_000).notes().iter().any(|note| note.contains("--start-nonce")));
}

#[test]
fn a_report_is_the_same_after_json() {
    let report = report(&config(), 4_000);
    let text = serde_json::to_string_pretty(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    assert!(text.contains("\"final\""));
    for key in ["p50", "p999", "applied_p99_ms", "measured_seconds", "reconnects"] {
        assert!(text.contains(key), "{key}");
    }
}
