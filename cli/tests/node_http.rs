//! The pages of real nodes: one that runs alone, as a new user has it, and four that agree. Ports are chosen by the system or looked for, waiting is for
//! events and never for time.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::TestHome;
use tana_cli::http::client::{Page, get};

/// How long anything here may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stops a child, or kills it where a test ends early.
struct Running(Child);

impl Running {
    #[track_caller]
    fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::INT).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn page(address: SocketAddr, path: &str) -> Page {
    get(address, path, PATIENCE).unwrap()
}

/// The body of `path`, which must be there.
#[track_caller]
fn ask(address: SocketAddr, path: &str) -> Value {
    let page = page(address, path);
    assert_eq!(page.status, 200, "{path}: {page:?}");
    page.json().unwrap()
}

/// The answer to a body for `/propose`: status and JSON.
#[track_caller]
fn propose(address: SocketAddr, body: &Value) -> (u16, Value) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("POST /propose HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

/// A reader of `/telemetry`.
struct Stream {
    lines: BufReader<TcpStream>,
    /// The number of the last event.
    sequence: u64,
}

impl Stream {
    /// Opens it; gives the snapshot.
    fn open(address: SocketAddr) -> (Self, Value) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /telemetry HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut stream = Self { lines: BufReader::new(stream), sequence: 0 };
        let (name, snapshot) = stream.next().unwrap();
        assert_eq!(name, "snapshot");
        stream.sequence = snapshot["sequence"].as_u64().unwrap();
        (stream, snapshot)
    }

    fn next(&mut self) -> Option<(String, Value)> {
        let (mut name, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            if !self.lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                return None;
            }
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.trim_end().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).unwrap()));
            }
        }
    }

    /// Reads events, of which none may be missing, until `is_enough`.
    fn events(&mut self, mut is_enough: impl FnMut(&Value) -> bool) {
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < PATIENCE, "what is waited for does not happen");
            let (name, data) = self.next().unwrap();
            assert_ne!(name, "lost", "{data}");
            let mut enough = false;
            for event in data.as_array().into_iter().flatten() {
                self.sequence += 1;
                assert_eq!(event["sequence"], self.sequence);
                enough |= is_enough(event);
            }
            if enough {
                return;
            }
        }
    }

    fn sample(&mut self) -> Value {
        loop {
            match self.next().unwrap() {
                (name, data) if name == "sample" => return data,
                (name, data) if name == "events" => self.sequence += data.as_array().unwrap().len() as u64,
                (name, data) => panic!("{name}: {data}"),
            }
        }
    }
}

/// A validator of a chain of its own that serves HTTP.
fn lone_validator(home: &TestHome) -> (Running, SocketAddr) {
    let path = home.path("node.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("# http = \"127.0.0.1:9001\"", "http = \"127.0.0.1:0\"")).unwrap();
    let log = std::fs::File::create(home.beside("node.log")).unwrap();
    let mut child = home.command(&["validator", "--json"]).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let running = Running(child);
    let start: Value = serde_json::from_str(&line)
        .unwrap_or_else(|_| panic!("no start: {}", std::fs::read_to_string(home.beside("node.log")).unwrap()));
    std::fs::write(home.beside("address"), start["listen"].as_str().unwrap()).unwrap();
    (running, start["http"].as_str().unwrap().parse().unwrap())
}

/// A signed transfer of the sovereign to itself.
fn transfer(home: &TestHome, nonce: u64) -> Value {
    let nonce = nonce.to_string();
    let amount = ["--to", "@sovereign", "--amount", "1", "--currency", "USD", "--nonce", &nonce];
    let address = std::fs::read_to_string(home.beside("address")).unwrap();
    let arguments =
        [&["submit", "transfer", "--key", "sovereign", "--dry-run", "--json"], &amount[..], &["--node", &address]];
    home.tana(&arguments.concat()).json(0)
}

#[test]
fn transactions_in_hexadecimal_are_taken_as_if_they_had_come_over_quic_and_their_way_is_told() {
    let home = TestHome::initialised("pages");
    let (running, http) = lone_validator(&home);
    let health = ask(http, "/health");
    assert_eq!((&health["status"], &health["height"]), (&"healthy".into(), &health["currentHeight"]));
    let key = health["validator"].as_str().unwrap().strip_prefix("ed25519_").unwrap();
    assert_eq!(health["validatorId"], format!("val_{}", &key[..8]));
    assert_eq!(ask(http, "/peers"), json!({"peers": [], "count": 0}));

    let (mut stream, snapshot) = Stream::open(http);
    for field in
        ["validator", "chain", "genesis_hash", "voting", "applied_per_s", "stages", "pool_free", "latency_final"]
    {
        assert!(!snapshot[field].is_null(), "{field} is missing in {snapshot}");
    }
    let [first, second] = [1, 2].map(|nonce| transfer(&home, nonce));
    let mut forged = second["bytes"].as_str().unwrap().to_owned();
    let last = forged.pop().unwrap();
    forged.push(if last == '0' { '1' } else { '0' });
    let list = json!({"transactions": [first["bytes"], forged, second["bytes"]]});
    let (status, answer) = propose(http, &list);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer, json!({"success": true, "accepted": 2, "rejected": [{"index": 1, "code": "bad_signature"}]}));

    // Both are in blocks, of which each was final before it was committed.
    let (mut applied, mut hash, mut height, mut finalized) = (0, String::new(), 0, 0);
    stream.events(|event| {
        match event["kind"].as_str().unwrap() {
            "finalized" => finalized = event["height"].as_u64().unwrap(),
            "committed" => {
                height = event["height"].as_u64().unwrap();
                assert!(height <= finalized || finalized == 0, "{event}");
                applied += event["applied"].as_u64().unwrap();
                hash = event["hash"].as_str().unwrap().to_owned();
            }
            _ => {}
        }
        applied == 2
    });
    let sample = stream.sample();
    assert!(sample["applied"].as_u64().unwrap() >= 2 && sample["window_ms"].as_u64().unwrap() > 0, "{sample}");

    // The same again is refused by its nonce or as a copy, by the node itself.
    let (status, answer) = propose(http, &list);
    assert_eq!((status, &answer["accepted"]), (200, &0.into()), "{answer}");
    let codes: Vec<_> = answer["rejected"].as_array().unwrap().iter().map(|rejected| &rejected["code"]).collect();
    assert!(codes[1] == "bad_signature" && ["resent", "nonce_used"].iter().any(|code| codes[0] == code), "{answer}");

    let quorum = ask(http, &format!("/quorum/{hash}"));
    let expected = json!({"blockHash": hash, "totalValidators": 1, "total": 1, "approve": 1, "reject": 0, "required": 1, "hasQuorum": true});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&quorum[field], value, "{field}: {quorum}");
    }
    assert_eq!((&quorum["final"], &quorum["height"]), (&true.into(), &height.into()));
    assert_eq!(page(http, &format!("/quorum/{}", "ab".repeat(32))).status, 404);
    assert_eq!(page(http, "/quorum/ab").status, 400);

    kill_process(Pid::from_child(&running.0), Signal::INT).unwrap();
    while stream.next().is_some() {}
    drop(running);

    // After a restart nothing is left in memory: the log answers.
    let (running, http) = lone_validator(&home);
    for query in [String::new(), format!("?height={height}")] {
        let quorum = loop {
            // A certificate may come with a later block only, and a look into the log has to wait for its turn.
            let page = page(http, &format!("/quorum/{hash}{query}"));
            let quorum: Value = page.json().unwrap();
            if page.status == 200 && quorum["height"] != 0 {
                break quorum;
            }
        };
        assert_eq!((&quorum["hasQuorum"], &quorum["final"]), (&true.into(), &true.into()), "{quorum}");
        assert_eq!((&quorum["approve"], &quorum["height"]), (&1.into(), &height.into()), "{quorum}");
    }
    running.stop();
}

/// A base port whose ports for four validators are free now.
fn base_port() -> u16 {
    let first = 52_000 + (std::process::id() % 100) as u16 * 100;
    let is_free = |port: u16| {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, port + 2)).is_ok()
            && TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1)).is_ok()
    };
    let mut bases = (first..first + 3_000).step_by(50);
    bases.find(|base| (0..4).all(|number| is_free(base + 10 * number))).unwrap()
}

#[test]
fn four_validators_show_their_votes_and_links() {
    let home = TestHome::empty();
    let base = base_port();
    let port = base.to_string();
    let network = ["devnet", "--validators", "4", "--data", "net", "--base-port", &port, "--set", "log.segment_mib=16"];
    let mut child = home.command(&network).stderr(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines();
    let running = Running(child);
    assert!(said.map_while(Result::ok).any(|line| line.contains("running; Ctrl-C stops it")));
    let http: Vec<SocketAddr> =
        (0..4).map(|number| SocketAddr::from((Ipv4Addr::LOCALHOST, base + 1 + 10 * number))).collect();

    let peers = ask(http[0], "/peers");
    assert_eq!((&peers["count"], peers["peers"].as_array().unwrap().len()), (&3.into(), 3));
    assert!(peers["peers"].as_array().unwrap().iter().all(|peer| peer["id"].as_str().unwrap().starts_with("val_")));

    let (mut stream, snapshot) = Stream::open(http[0]);
    let is_up = |peer: &&Value| peer["connected"] == true;
    let mut up: BTreeSet<String> = BTreeSet::new();
    up.extend(snapshot["peers"].as_array().unwrap().iter().filter(is_up).map(|peer| peer["key"].to_string()));
    if up.len() < 3 {
        stream.events(|event| {
            if event["kind"] == "peer" && event["connected"] == true {
                up.insert(event["validator"].to_string());
            }
            up.len() == 3
        });
    }
    // Every validator votes, every kind of event comes, and the leader goes round.
    let (mut voters, mut leaders) = (Vec::new(), Vec::new());
    let (mut kinds, mut hash) = (Vec::new(), String::new());
    let note = |list: &mut Vec<String>, value: &Value| {
        let value = value.as_str().unwrap().to_owned();
        if !list.contains(&value) {
            list.push(value);
        }
    };
    stream.events(|event| {
        note(&mut kinds, &event["kind"]);
        match event["kind"].as_str().unwrap() {
            "vote" if event["vote"] == "finalize" => note(&mut voters, &event["validator"]),
            "view" => note(&mut leaders, &event["leader"]),
            "committed" => hash = event["hash"].as_str().unwrap().to_owned(),
            _ => {}
        }
        let has = |kind: &str| kinds.iter().any(|seen| seen == kind);
        voters.len() == 4
            && leaders.len() == 4
            && ["proposal", "certificate", "finalized", "committed"].iter().all(|kind| has(kind))
    });
    for address in &http {
        // One that lags behind does not know the block yet, or has to wait for its turn in the log.
        let quorum = loop {
            let page = page(*address, &format!("/quorum/{hash}"));
            if page.status == 200 {
                let quorum: Value = page.json().unwrap();
                if quorum["hasQuorum"] == true {
                    break quorum;
                }
            }
        };
        assert_eq!((&quorum["totalValidators"], &quorum["required"]), (&4.into(), &3.into()), "{quorum}");
        assert!(quorum["approve"].as_u64().unwrap() >= 3, "{quorum}");
    }

    // A validator that falls silent is told when its link is given up, and again when it comes back.
    let victim = ask(http[3], "/health")["validator"].clone();
    let log = std::fs::read_to_string(home.beside("net/validator-3/node.log")).unwrap();
    let started = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let id = started.filter_map(|line| line["pid"].as_i64()).next_back().unwrap();
    let id = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
    let mut is_told = |connected: bool| {
        stream
            .events(|event| event["kind"] == "peer" && event["validator"] == victim && event["connected"] == connected);
    };
    kill_process(id, Signal::STOP).unwrap();
    is_told(false);
    kill_process(id, Signal::CONT).unwrap();
    is_told(true);
    running.stop();
}
