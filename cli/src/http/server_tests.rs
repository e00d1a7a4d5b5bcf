//! The server against real sockets on loopback.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::Value;
use tana_engine::telemetry::{Event, Telemetry};
use tana_types::Hash;

use super::*;
use crate::http::client::{Page, get};
use crate::http::propose::BODY_BYTES_MAX;
use crate::http::routes::ROUTES;
use crate::http::streams::FRAMES_MAX;
use crate::http::view::{Health, Identity, IngestPort, PeerView, Peers, QuorumError, QuorumView, Sample, Sampler};

const PATIENCE: Duration = Duration::from_secs(10);
/// The block that memory knows, the one that the log knows, and the one that the log does not find in time.
const SEEN: Hash = [1; 32];
const LOGGED: Hash = [2; 32];
const SLOW: Hash = [3; 32];

#[derive(Default)]
struct FixedView {
    voting: AtomicBool,
    height: AtomicU64,
    events: Telemetry,
    ingest: Option<IngestPort>,
}

struct FixedSampler(u64);

impl Sampler for FixedSampler {
    fn sample(&mut self) -> Sample {
        self.0 += 1;
        Sample { applied: self.0, ..Sample::default() }
    }
}

fn quorum(block: &Hash, height: u64) -> QuorumView {
    QuorumView { block_hash: hex::encode(block), height, total_validators: 4, ..QuorumView::default() }
}

impl NodeView for FixedView {
    fn health(&self) -> Health {
        let height = self.height.load(Ordering::Relaxed);
        Health { voting: self.voting.load(Ordering::Relaxed), height, ..Health::default() }
    }

    fn peers(&self) -> Vec<PeerView> {
        vec![PeerView { key: "k".to_owned(), connected: true, ..PeerView::default() }]
    }

    fn metrics(&self) -> String {
        "tana_height 7\n".repeat(5_000)
    }

    fn identity(&self) -> Identity {
        Identity { chain: "fixed".to_owned(), ..Identity::default() }
    }

    fn events(&self) -> &Telemetry {
        &self.events
    }

    fn sampler(&self) -> Box<dyn Sampler> {
        Box::new(FixedSampler(0))
    }

    fn quorum_seen(&self, block: &Hash) -> Option<QuorumView> {
        (*block == SEEN).then(|| quorum(block, 5))
    }

    fn quorum_logged(&self, block: &Hash, height: Option<u64>, _: Instant) -> Result<QuorumView, QuorumError> {
        match *block {
            LOGGED => Ok(quorum(block, height.unwrap_or(3))),
            SLOW => Err(QuorumError::TimeOver),
            _ => Err(QuorumError::Unknown),
        }
    }

    fn ingest(&self) -> Option<IngestPort> {
        self.ingest
    }
}

fn start() -> (HttpServer, Arc<FixedView>) {
    start_with(FixedView { height: AtomicU64::new(7), ..FixedView::default() })
}

fn start_with(view: FixedView) -> (HttpServer, Arc<FixedView>) {
    let view = Arc::new(view);
    (HttpServer::start("127.0.0.1:0".parse().unwrap(), view.clone()).unwrap(), view)
}

fn ask(server: &HttpServer, path: &str) -> Page {
    get(server.address(), path, PATIENCE).unwrap()
}

/// Sends a whole request and reads the whole answer.
fn exchange(server: &HttpServer, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may have answered and closed before all of it was written.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn request(server: &HttpServer, method: &str, path: &str, body: &str) -> String {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    exchange(server, (head + body).as_bytes())
}

/// The status and the body's `code`.
fn problem(answer: &str) -> (u16, String) {
    let status = answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()), "no sentence for people in: {answer}");
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn committed(height: u64) -> Event {
    Event::Committed { height, hash: [9; 32], applied: 1, failed: 0, skipped: 0 }
}

/// A reader of `/telemetry`.
struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(server: &HttpServer) -> Self {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /telemetry HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut stream = Self(BufReader::new(stream));
        let head = stream.line().unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        stream
    }

    /// A line without its end; none where the stream ends.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
        }
    }

    /// The next event: its name and its data; none where the stream ends.
    fn next(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        loop {
            // Lines with the lengths of chunks are between those of events.
            let line = self.line()?;
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(data).unwrap()));
            }
        }
    }

    /// Reads on to the next event of this name.
    fn until(&mut self, name: &str) -> Value {
        loop {
            let (found, data) = self.next().expect("the stream goes on");
            if found == name {
                return data;
            }
        }
    }
}

/// Waits until `is_so`, which must come.
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_pages_are_there_and_health_has_its_status() {
    let (server, view) = start();
    assert_eq!(ask(&server, "/health").status, 503);
    view.voting.store(true, Ordering::Relaxed);
    let page = ask(&server, "/health");
    assert_eq!((page.status, page.json::<Health>().unwrap().height), (200, 7));
    let fields: Value = page.json().unwrap();
    assert!(["status", "validatorId", "peers", "currentHeight"].iter().all(|field| fields.get(field).is_some()));
    let peers = ask(&server, "/peers").json::<Peers>().unwrap();
    assert_eq!((peers.peers[0].key.as_str(), peers.count), ("k", 1));
    assert_eq!(ask(&server, "/metrics").body.lines().count(), 5_000);
}

#[test]
fn every_page_answers_its_methods_and_no_other() {
    let (server, _) = start();
    for (_, path, methods) in ROUTES {
        let path = path.replace("HASH", &hex::encode(SEEN));
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            if methods.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let answer = request(&server, method, &path, "");
            assert_eq!(problem(&answer), (405, "method_not_allowed".to_owned()), "{method} {path}");
            assert!(answer.contains(&format!("\r\nallow: {methods}\r\n")), "{method} {path}: {answer}");
        }
        if methods.contains("HEAD") {
            let answer = request(&server, "HEAD", &path, "");
            assert!(answer.starts_with("HTTP/1.1 ") && answer.ends_with("\r\n\r\n"), "{path}: {answer}");
        }
    }
    let writing: Vec<_> = ROUTES.iter().filter(|(_, _, methods)| *methods != "GET, HEAD").collect();
    assert_eq!(writing.len(), 1, "whoever adds a page that changes something says here who may: {writing:?}");
}

#[test]
fn an_unknown_page_names_all_that_there_are() {
    let (server, _) = start();
    for path in ["/", "/other", "/health/", "/quorum", "/peers/x", "/%2e%2e/health"] {
        let answer = request(&server, "GET", path, "");
        assert_eq!(problem(&answer), (404, "not_found".to_owned()), "{path}");
        assert!(ROUTES.iter().all(|(_, known, _)| answer.contains(known)), "{answer}");
    }
}

#[test]
fn a_quorum_comes_from_memory_or_from_the_log() {
    let (server, _) = start();
    let path = |hash: &Hash, query: &str| format!("/quorum/{}{query}", hex::encode(hash));
    assert_eq!(ask(&server, &path(&SEEN, "")).json::<QuorumView>().unwrap(), quorum(&SEEN, 5));
    // A look into the log may have to wait for the pause behind the one before.
    let patiently = |path: &str| loop {
        let page = ask(&server, path);
        if page.status != 429 {
            return page;
        }
    };
    assert_eq!(patiently(&path(&LOGGED, "")).json::<QuorumView>().unwrap(), quorum(&LOGGED, 3));
    assert_eq!(patiently(&path(&LOGGED, "?height=9")).json::<QuorumView>().unwrap(), quorum(&LOGGED, 9));
    let code = |page: Page| (page.status, page.json::<Value>().unwrap()["code"].as_str().unwrap().to_owned());
    assert_eq!(code(patiently(&path(&[4; 32], ""))), (404, "unknown_block".to_owned()));
    assert_eq!(code(patiently(&path(&SLOW, ""))), (503, "look_up_too_long".to_owned()));
    for bad in ["/quorum/", "/quorum/12", &path(&SEEN, "0"), "/quorum/zz", "/quorum/a/b"] {
        assert_eq!(code(ask(&server, bad)), (400, "bad_hash".to_owned()), "{bad}");
    }
    assert_eq!(code(ask(&server, &path(&SEEN, "?height=x"))), (400, "bad_height".to_owned()));
}

#[test]
fn a_proposal_that_cannot_be_taken_says_why() {
    let (server, _) = start();
    let answer = request(&server, "POST", "/propose", r#"{"transactions":["00"]}"#);
    assert_eq!(problem(&answer), (400, "not_validator".to_owned()));

    let ingest = IngestPort { address: "127.0.0.1:1".parse().unwrap(), key: [1; 32], genesis_hash: [2; 32] };
    let (server, _) = start_with(FixedView { ingest: Some(ingest), ..FixedView::default() });
    for body in ["", "{", "[]", r#"{"block":{}}"#, r#"{"transactions":[]}"#, r#"{"transactions":["0"]}"#] {
        let answer = request(&server, "POST", "/propose", body);
        assert_eq!(problem(&answer), (400, "bad_request".to_owned()), "{body}");
    }
    let head = format!("POST /propose HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
    assert_eq!(problem(&exchange(&server, head.as_bytes())), (413, "too_large".to_owned()));
    // Nothing of this is signed, so nothing of it goes to the node, where nobody listens.
    let answer = request(&server, "POST", "/propose", r#"{"transactions":["00","ff"]}"#);
    let refused =
        r#"{"success":true,"accepted":0,"rejected":[{"index":0,"code":"malformed"},{"index":1,"code":"malformed"}]}"#;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(refused), "{answer}");
}

#[test]
fn an_address_has_its_share_of_proposals() {
    let ingest = IngestPort { address: "127.0.0.1:1".parse().unwrap(), key: [1; 32], genesis_hash: [2; 32] };
    let (server, _) = start_with(FixedView { ingest: Some(ingest), ..FixedView::default() });
    let body = serde_json::json!({ "transactions": vec!["00"; 1_000] }).to_string();
    let begin = Instant::now();
    loop {
        let answer = request(&server, "POST", "/propose", &body);
        if !answer.starts_with("HTTP/1.1 200 ") {
            assert_eq!(problem(&answer), (429, "too_many".to_owned()));
            assert!(answer.contains("\r\nretry-after: "), "{answer}");
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "there is no bound");
    }
}

#[test]
fn a_stream_begins_with_a_snapshot_and_goes_on_with_what_happens() {
    let (server, view) = start();
    view.events.push(committed(1));
    let mut stream = Stream::open(&server);
    let (name, snapshot) = stream.next().unwrap();
    assert_eq!(name, "snapshot");
    assert_eq!(
        (&snapshot["chain"], &snapshot["height"], &snapshot["sequence"]),
        (&"fixed".into(), &7.into(), &0.into())
    );
    assert_eq!((&snapshot["peers"][0]["key"], &snapshot["peers"][0]["connected"]), (&"k".into(), &true.into()));
    view.events.push(committed(8));
    view.events.push(committed(9));
    let mut heights = Vec::new();
    while heights.len() < 2 {
        let lines = stream.until("events");
        for line in lines.as_array().unwrap() {
            assert_eq!(line["kind"], "committed");
            assert_eq!(line["sequence"], heights.len() + 1);
            heights.push(line["height"].as_u64().unwrap());
        }
    }
    assert_eq!(heights, [8, 9], "what happened before anybody listened is not told");
    let first = stream.until("sample")["applied"].as_u64().unwrap();
    assert!(stream.until("sample")["applied"].as_u64().unwrap() > first);

    // Who comes later begins behind what has happened.
    view.height.store(9, Ordering::Relaxed);
    let (_, snapshot) = Stream::open(&server).next().unwrap();
    assert_eq!((&snapshot["height"], &snapshot["sequence"]), (&9.into(), &2.into()));
    drop(stream);
    wait_for("the end of listening", || !view.events.is_listening());
}

#[test]
fn a_reader_that_is_too_slow_is_told_what_it_lost_and_gets_everything_anew() {
    let (server, view) = start();
    let (mut slow, mut quick) = (Stream::open(&server), Stream::open(&server));
    assert_eq!((slow.next().unwrap().0.as_str(), quick.next().unwrap().0.as_str()), ("snapshot", "snapshot"));
    // The quick one reads as much as the slow one can have waiting for it, in the system and in its queue, many times over.
    let waiting = 16 * 1_024 * FRAMES_MAX + 8 * (1 << 20);
    let (mut height, mut seen, mut bytes) = (0, 0, 0);
    while bytes < 2 * waiting {
        for _ in 0..1_000 {
            height += 1;
            view.events.push(committed(height));
        }
        while seen < height {
            match quick.next().unwrap() {
                (name, lines) if name == "events" => {
                    let lines = lines.as_array().unwrap();
                    seen = lines.last().unwrap()["sequence"].as_u64().unwrap();
                    bytes += lines.len() * 150;
                }
                (name, _) => assert_eq!(name, "sample", "the quick reader has lost something"),
            }
        }
    }
    // What the slow one gets: the beginning, then what was lost, then a snapshot behind it.
    let (mut last, mut sent) = (0, 0);
    let lost = loop {
        let (name, data) = slow.next().unwrap();
        match name.as_str() {
            "events" => {
                let lines = data.as_array().unwrap();
                assert_eq!(lines[0]["sequence"], last + 1, "a gap that nobody told");
                (last, sent) = (lines.last().unwrap()["sequence"].as_u64().unwrap(), sent + lines.len() as u64);
            }
            "lost" => break data["events"].as_u64().unwrap(),
            _ => {}
        }
    };
    let (name, snapshot) = slow.next().unwrap();
    assert_eq!(name, "snapshot");
    assert_eq!((snapshot["sequence"].as_u64().unwrap(), sent + lost), (height, height));
    // From here on it is like any other.
    view.events.push(committed(height + 1));
    assert_eq!(slow.until("events")[0]["sequence"], height + 1);
}

#[test]
fn what_the_node_itself_lost_is_told_to_all() {
    let view = FixedView { events: Telemetry::with_room(4), ..FixedView::default() };
    let (server, view) = start_with(view);
    let mut stream = Stream::open(&server);
    assert_eq!(stream.next().unwrap().0, "snapshot");
    let (mut told, mut lost, mut pushed) = (0, 0, 0);
    while lost == 0 {
        for _ in 0..1_000 {
            pushed += 1;
            view.events.push(committed(pushed));
        }
        while told + lost < pushed {
            match stream.next().unwrap() {
                (name, data) if name == "events" => told += data.as_array().unwrap().len() as u64,
                (name, data) if name == "lost" => lost += data["events"].as_u64().unwrap(),
                _ => {}
            }
        }
    }
    assert_eq!(told + lost, pushed);
}

#[test]
fn streams_are_bounded_and_take_no_place_of_others() {
    let (server, _) = start();
    let mut streams: Vec<_> = (0..STREAMS_MAX).map(|_| Stream::open(&server)).collect();
    assert!(streams.iter_mut().all(|stream| stream.next().unwrap().0 == "snapshot"));
    assert_eq!(problem(&request(&server, "GET", "/telemetry", "")), (503, "busy".to_owned()));
    let held: Vec<_> = (0..CONNECTIONS_MAX - 1).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    assert_eq!(ask(&server, "/peers").status, 200);
    drop(held);
    drop(streams.pop());
    wait_for("a free place", || {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(b"GET /telemetry HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).is_ok() && head == *b"HTTP/1.1 200"
    });
}

#[test]
fn streams_end_with_the_server_and_a_stuck_reader_does_not_hold_it() {
    let (server, view) = start();
    let (mut stream, _stuck) = (Stream::open(&server), Stream::open(&server));
    assert_eq!(stream.next().unwrap().0, "snapshot");
    for height in 0..4_000 {
        view.events.push(committed(height));
    }
    let begin = Instant::now();
    drop(server);
    assert!(begin.elapsed() < PATIENCE, "the server waits for somebody who does not read");
    // Whoever had not read what was on its way is cut off in the middle of it.
    while stream.line().is_some() {}
    assert!(!view.events.is_listening());
}

#[test]
fn headers_without_end_and_garbage_are_cut_off() {
    let (server, _) = start();
    for bytes in [vec![b'a'; 4 * BUFFER_BYTES], b"GET / HTTP/1.1\r\nx: ".repeat(4_000), vec![0; 100]] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        // The server may close while this is still being written.
        let _ = stream.write_all(&bytes);
        let _ = stream.write_all(b"\r\n\r\n");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(ask(&server, "/peers").status, 200);
}

#[test]
fn connections_beyond_the_bound_are_refused_and_the_others_answered() {
    let (server, _) = start();
    let held: Vec<_> = (0..CONNECTIONS_MAX).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let begin = Instant::now();
    while get(server.address(), "/peers", PATIENCE).is_ok() {
        // The server has not accepted all that are held yet.
        assert!(begin.elapsed() < HEADERS_TIME, "more connections than allowed are served");
    }
    assert!(server.refused() > 0);
    drop(held);
    let begin = Instant::now();
    while get(server.address(), "/peers", PATIENCE).is_err() {
        assert!(begin.elapsed() < PATIENCE, "connections that are gone still count");
    }
}

#[test]
fn a_taken_port_is_an_error_and_a_dropped_server_frees_it() {
    let (server, view) = start();
    let address = server.address();
    assert_eq!(HttpServer::start(address, view.clone()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(server);
    HttpServer::start(address, view).unwrap();
}
