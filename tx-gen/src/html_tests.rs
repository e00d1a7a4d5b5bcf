//! The page: well-formed, self-contained, with every series, and safe against what a node might say.

use std::collections::BTreeMap;

use super::*;
use crate::plan::LoadPlan;
use crate::recorder::Counts;
use crate::report::{Ended, Failure, FailureKind, Latency, Rates};

fn report(message: Option<&str>) -> Report {
    let row = |second: u32| SecondRow {
        second,
        is_warm_up: second < 2,
        counts: Counts { sent: 1_000 + u64::from(second), applied: 900, ..Counts::default() },
        latency_final_p50_ms: 1.5,
        latency_final_p99_ms: if second == 3 { 0.0 } else { 9.0 },
        latency_applied_p50_ms: 2.5,
        latency_applied_p99_ms: 77.25,
    };
    Report {
        version: "0.1.0".to_owned(),
        genesis_hash: "ab".repeat(32),
        to: "127.0.0.1:9002".to_owned(),
        mode: "closed".to_owned(),
        rate: None,
        in_flight: None,
        without_answers: false,
        threads: 1,
        plan: LoadPlan::default(),
        started_ms: 1,
        elapsed_seconds: 6.0,
        warm_up_seconds: 2.0,
        measured_seconds: 4.0,
        ended: Ended::Time,
        failure: message.map(|message| Failure { kind: FailureKind::Connection, message: message.to_owned() }),
        signed: 10_000,
        totals: Counts { sent: 6_000, ..Counts::default() },
        measured: Counts::default(),
        per_second: Rates { sent: 1_003.0, applied: 900.0, ..Rates::default() },
        unanswered: 0,
        unsent: 0,
        codes: BTreeMap::from([("bad_signature".to_owned(), 12)]),
        latency_final_ms: Latency::default(),
        latency_applied_ms: Latency { p50: 2.5, p99: 77.25, ..Latency::default() },
        reconnects: 0,
        bytes_per_transaction: 180.06,
        client_cpu_ns_per_transaction: Some(212.0),
        series: (0..6).map(row).collect(),
    }
}

/// Checks that every tag is closed in order; returns how often each was opened.
fn tags(page: &str) -> BTreeMap<String, u32> {
    let mut open = Vec::new();
    let mut counts = BTreeMap::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = rest.find('>').expect("a tag ends");
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
            continue;
        }
        let name = tag.split_ascii_whitespace().next().unwrap().trim_end_matches('/').to_owned();
        *counts.entry(name.clone()).or_insert(0) += 1;
        if !tag.ends_with('/') {
            if ["script", "style"].contains(&name.as_str()) {
                let close = rest.find(&format!("</{name}>")).expect("raw text ends");
                rest = &rest[close..];
            }
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<String>::new());
    counts
}

#[test]
fn the_page_is_well_formed_and_holds_every_series() {
    let page = page(&report(None));
    let tags = tags(&page);
    assert_eq!((tags["svg"], tags["path"]), (2, 8));
    for name in ["sent", "final p50", "final p99", "applied p50", "applied p99", "rejected"] {
        assert!(page.contains(&format!("</i>{name}</span>")), "{name}");
    }
    assert!(page.contains("bad_signature"));
    let json = page.split("id=\"report\">").nth(1).unwrap().split("</script>").next().unwrap();
    assert_eq!(serde_json::from_str::<Report>(json).unwrap(), report(None));
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let page = page(&report(None));
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("prefers-color-scheme:dark"));
}

#[test]
fn what_a_node_says_stays_text() {
    let page = page(&report(Some("</script><script>alert(1)</script>&\"")));
    assert_eq!(tags(&page)["script"], 2);
    assert!(!page.contains("<script>alert"));
}
