//! `tana devnet` as a person runs it: real validators as processes of their own, on free loopback ports, in a temporary folder.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod support;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Ran, TestHome};

/// How long anything here may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// A base port whose ports for `validators` are free now; each call looks elsewhere, so that tests side by side do not meet.
fn base_port(validators: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = (std::process::id() % 200) as u16 * 100;
    for _ in 0..100 {
        let base = 20_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed) * 50) % 30_000;
        let is_free = |port: u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        let is_free_too = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        let mut firsts = (0..validators).map(|number| base + 10 * number);
        if firsts.all(|first| is_free(first) && is_free(first + 2) && is_free_too(first + 1)) {
            return base;
        }
    }
    panic!("no free ports on loopback");
}

struct Devnet {
    home: TestHome,
    validators: u16,
    base: String,
}

impl Devnet {
    fn new(validators: u16) -> Self {
        Self { home: TestHome::empty(), validators, base: base_port(validators).to_string() }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&["devnet", "--data", "net", "--base-port", &self.base, "--set", "log.segment_mib=16"], more].concat()
    }

    fn run(&self, more: &[&str]) -> Ran {
        self.home.tana(&self.arguments(more))
    }

    /// Starts it and waits until all vote.
    fn start(&self, more: &[&str]) -> Child {
        let mut child = self.home.command(&self.arguments(more)).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (mut voting, mut said) = (0, String::new());
        for line in lines.map_while(Result::ok) {
            voting += u16::from(line.contains(" votes after "));
            if voting == self.validators && line.contains("running; Ctrl-C stops it") {
                return child;
            }
            said += &(line + "\n");
        }
        panic!("not all voted: {:?}\n{said}", child.wait());
    }

    /// The process ids of all validators that this network ever had.
    fn processes(&self) -> Vec<u64> {
        let mut ids = Vec::new();
        for number in 0..self.validators {
            let log = std::fs::read_to_string(self.home.beside(&format!("net/validator-{number}/node.log"))).unwrap();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            ids.extend(lines.filter_map(|line| line["pid"].as_u64()));
        }
        ids
    }

    #[track_caller]
    fn assert_gone(&self, starts: usize) {
        let begin = Instant::now();
        let ids = self.processes();
        assert_eq!(ids.len(), starts * usize::from(self.validators));
        while ids.iter().any(|id| Path::new(&format!("/proc/{id}")).exists()) {
            assert!(begin.elapsed() < PATIENCE, "validators are still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[track_caller]
fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[track_caller]
fn check_flood(summary: &Value, validators: usize) {
    assert_eq!(summary["validators"], validators, "{summary}");
    assert_eq!(summary["roots_equal"], true, "{summary}");
    assert_eq!(summary["state_root"].as_object().unwrap().len(), validators);
    assert_eq!((&summary["unanswered"], &summary["dropped"]), (&0.into(), &serde_json::json!({})), "{summary}");
    // How much becomes final within the window is the machine's affair; that everything sent does is not.
    for rate in ["finalized_tps", "applied_tps", "blocks_per_s"] {
        assert!(summary[rate].is_number(), "{rate}: {summary}");
    }
    assert!(summary["sent"].as_u64() > Some(0) && summary["height"].as_u64() > Some(0), "{summary}");
    for latency in ["latency_final_ms", "latency_applied_ms"] {
        assert!(summary[latency]["p75"].as_f64().unwrap() > 0.0, "{summary}");
    }
    assert_eq!(summary["cpu_cores"].as_object().unwrap().len(), validators + 1);
    assert_eq!(summary["failures"], serde_json::json!([]));
}

fn flood_stop_and_go_on(validators: u16) {
    let net = Devnet::new(validators);
    let count = validators.to_string();
    let flood = ["--flood", "400", "--warm-up", "1", "--seconds", "3", "--flood-accounts", "400", "--keep"];
    let first = [&flood[..], &["--validators", &count, "--accounts", "1000", "--json", "first.json"]].concat();
    let ran = net.run(&first).ok();
    assert!(ran.stdout.contains("state roots") && ran.stderr.contains("kept"), "{ran:?}");
    let first: Value = serde_json::from_slice(&std::fs::read(net.home.beside("first.json")).unwrap()).unwrap();
    check_flood(&first, validators.into());
    net.assert_gone(1);

    let second = net.run(&[&flood[..], &["--json", "-"]].concat()).json(0);
    check_flood(&second, validators.into());
    assert!(second["height"].as_u64() > first["height"].as_u64());
    net.assert_gone(2);
    net.run(&flood).fails(2, &["200 of this network's 1000 test accounts", "--flood-accounts"]);

    let genesis = net.home.beside("net/genesis.toml");
    for number in 0..validators {
        let data = net.home.beside(&format!("net/validator-{number}/data"));
        let place = ["--data", data.to_str().unwrap(), "--genesis", genesis.to_str().unwrap()];
        net.home.tana(&[&["verify-log", "--certificates"], &place[..]].concat()).ok();
        assert_eq!(net.home.tana(&[&["evidence", "--json"], &place[..]].concat()).json(0), serde_json::json!([]));
    }
}

#[test]
fn one_validator_is_flooded_stops_and_goes_on() {
    flood_stop_and_go_on(1);
}

#[test]
fn four_validators_agree_under_load_and_again_on_the_same_data() {
    flood_stop_and_go_on(4);
}

#[test]
fn ctrl_c_stops_all_cleanly_and_a_network_not_to_be_kept_is_gone() {
    let net = Devnet::new(1);
    let mut child = net.start(&["--validators", "1"]);
    let ids = net.processes();
    signal(&child, Signal::INT);
    assert!(child.wait().unwrap().success());
    assert!(!net.home.beside("net").exists());
    assert!(ids.iter().all(|id| !Path::new(&format!("/proc/{id}")).exists()));
}

#[test]
fn validators_do_not_outlive_a_killed_devnet() {
    let net = Devnet::new(1);
    let mut child = net.start(&["--validators", "1"]);
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    net.assert_gone(1);
    let log = std::fs::read_to_string(net.home.beside("net/validator-0/node.log")).unwrap();
    assert!(log.contains("\"stopped\":true"), "{log}");
}

#[test]
fn a_validator_that_cannot_start_is_named_with_its_reason() {
    let net = Devnet::new(1);
    let port: u16 = net.base.parse().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1)).unwrap();
    net.run(&["--validators", "1"]).fails(2, &["validator-0's HTTP", "is in use", "--base-port"]);
    assert!(!net.home.beside("net").exists(), "nothing was started, so nothing is left behind");
    drop(taken);
    net.run(&["--validators", "1", "--keep", "--warm-up", "0", "--seconds", "1"]).ok();
    std::fs::write(net.home.beside("net/validator-0/validator.json"), "{}").unwrap();
    net.run(&[]).fails(1, &["validator-0 ended by itself", "validator.json", "node.log"]);
    assert!(net.home.beside("net/validator-0/node.log").exists());
}

#[test]
fn wrong_arguments_say_what_is_right() {
    let net = Devnet::new(1);
    net.run(&["--validators", "0"]).fails(2, &["--validators"]);
    net.run(&["--flood", "fast"]).fails(2, &["or max"]);
    net.run(&["--validators", "4", "--solo"]).fails(2, &["--validators 1"]);
    net.run(&["--set", "order.block_interval_ms=0"]).fails(1, &["order.block_interval_ms"]);
    net.run(&["--json"]).fails(2, &["--json"]);
    assert!(!net.home.beside("net").exists());
}
