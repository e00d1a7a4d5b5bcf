//! The server against real sockets on loopback.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::*;
use crate::http::client::{Page, get};
use crate::http::view::{Health, PeerView};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct FixedView {
    voting: AtomicBool,
}

impl NodeView for FixedView {
    fn health(&self) -> Health {
        Health { voting: self.voting.load(Ordering::Relaxed), height: 7, ..Health::default() }
    }

    fn peers(&self) -> Vec<PeerView> {
        vec![PeerView { key: "k".to_owned(), ..PeerView::default() }]
    }

    fn metrics(&self) -> String {
        "tana_height 7\n".repeat(5_000)
    }
}

fn start() -> (HttpServer, Arc<FixedView>) {
    let view = Arc::new(FixedView::default());
    (HttpServer::start("127.0.0.1:0".parse().unwrap(), view.clone()).unwrap(), view)
}

fn ask(server: &HttpServer, path: &str) -> Page {
    get(server.address(), path, PATIENCE).unwrap()
}

#[test]
fn the_pages_are_there_and_health_has_its_status() {
    let (server, view) = start();
    assert_eq!(ask(&server, "/health").status, 503);
    view.voting.store(true, Ordering::Relaxed);
    let page = ask(&server, "/health");
    assert_eq!((page.status, page.json::<Health>().unwrap().height), (200, 7));
    assert_eq!(ask(&server, "/peers").json::<Vec<PeerView>>().unwrap()[0].key, "k");
    assert_eq!(ask(&server, "/metrics").body.lines().count(), 5_000);
    assert_eq!(ask(&server, "/other").status, 404);
}

#[test]
fn only_questions_are_answered() {
    let (server, _) = start();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
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
