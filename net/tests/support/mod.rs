//! An intake for tests, and shorthands. Everything that a test waits for is an event with a time limit.
#![allow(dead_code, clippy::unwrap_used)]

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tana_net::{
    ClientError, CloseCode, Identity, Intake, Limits, MetricsSnapshot, Offer, QueryFuture, ServerConfig, ServerPin,
    Source, StreamId, TxClient, TxServer,
};
use tokio::sync::{Notify, mpsc};

/// Long enough for a slow machine, short enough to end a test that would hang.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What the intake saw.
#[derive(Debug)]
pub enum Seen {
    Frame { source: Source, stream: StreamId, bytes: Vec<u8> },
    Finished(StreamId),
    Closed(StreamId),
}

/// Takes frames while it has room, in bytes, and passes them on; the byte 0xff in front makes a frame malformed.
pub struct TestIntake {
    seen: mpsc::UnboundedSender<Seen>,
    room: Notify,
    room_bytes: AtomicUsize,
    record: AtomicBool,
    pub taken_bytes: AtomicUsize,
    pub held: Notify,
    pub query_gate: Arc<tokio::sync::Semaphore>,
    pub queries_running: Arc<AtomicUsize>,
    /// A query that begins with `B` blocks a thread until the other end of this is dropped.
    pub blocker: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
    pub sources: Mutex<Vec<Source>>,
}

impl TestIntake {
    pub fn new() -> (Arc<TestIntake>, mpsc::UnboundedReceiver<Seen>) {
        let (seen, receiver) = mpsc::unbounded_channel();
        let intake = TestIntake {
            seen,
            room: Notify::new(),
            room_bytes: AtomicUsize::new(usize::MAX),
            record: AtomicBool::new(true),
            taken_bytes: AtomicUsize::new(0),
            held: Notify::new(),
            query_gate: Arc::new(tokio::sync::Semaphore::new(1_000)),
            queries_running: Arc::new(AtomicUsize::new(0)),
            blocker: Mutex::new(None),
            sources: Mutex::new(Vec::new()),
        };
        (Arc::new(intake), receiver)
    }

    pub fn set_room(&self, bytes: usize) {
        self.room_bytes.store(bytes, Ordering::SeqCst);
        self.room.notify_waiters();
    }
}

impl Intake for TestIntake {
    fn offer(&self, source: &Source, stream: StreamId, frame: &[u8]) -> Offer {
        if frame.first() == Some(&0xff) {
            return Offer::Malformed { code: 77 };
        }
        let room = self.room_bytes.load(Ordering::SeqCst);
        let consumed = frame.len().min(room);
        if room != usize::MAX {
            self.room_bytes.store(room - consumed, Ordering::SeqCst);
        }
        self.taken_bytes.fetch_add(consumed, Ordering::SeqCst);
        if consumed > 0 {
            let _ = self.seen.send(Seen::Frame { source: source.clone(), stream, bytes: frame[..consumed].to_vec() });
        }
        if consumed < frame.len() {
            self.held.notify_one();
            return Offer::Full { consumed };
        }
        Offer::Taken
    }

    fn room(&self) -> &Notify {
        &self.room
    }

    fn query(&self, request: Vec<u8>) -> QueryFuture {
        let (gate, running) = (self.query_gate.clone(), self.queries_running.clone());
        if request.first() == Some(&b'B') {
            let blocker = self.blocker.lock().take().unwrap();
            return Box::pin(async move {
                let blocking = tokio::task::spawn_blocking(move || {
                    running.fetch_add(1, Ordering::SeqCst);
                    let _ = blocker.recv();
                });
                let _ = blocking.await;
                Vec::new()
            });
        }
        Box::pin(async move {
            running.fetch_add(1, Ordering::SeqCst);
            let permit = gate.acquire().await.unwrap();
            running.fetch_sub(1, Ordering::SeqCst);
            permit.forget();
            gate.add_permits(1);
            match request.first() {
                Some(b'L') => vec![7; 4 * 1024 * 1024],
                Some(b'X') => vec![7; 4 * 1024 * 1024 + 1],
                _ => [b"answer to ", &request[..]].concat(),
            }
        })
    }

    fn finished(&self, stream: StreamId) {
        let _ = self.seen.send(Seen::Finished(stream));
    }

    fn closed(&self, stream: StreamId) {
        let _ = self.seen.send(Seen::Closed(stream));
    }
}

/// A server on a free loopback port.
pub struct Bed {
    pub server: TxServer,
    pub intake: Arc<TestIntake>,
    pub seen: mpsc::UnboundedReceiver<Seen>,
    pub key: [u8; 32],
}

pub fn bed(change: impl FnOnce(&mut Limits)) -> Bed {
    bed_with(1, change)
}

pub fn bed_with(threads: usize, change: impl FnOnce(&mut Limits)) -> Bed {
    let identity = Identity::from_seed(&[42; 32]).unwrap();
    let key = identity.public_key();
    let mut config = ServerConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), identity);
    config.threads = threads;
    change(&mut config.limits);
    let (intake, seen) = TestIntake::new();
    let server = TxServer::start(config, intake.clone()).unwrap();
    Bed { server, intake, seen, key }
}

pub fn loopback(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

/// Awaits `future`, or fails the test.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

impl Bed {
    pub async fn connect(&self) -> TxClient {
        self.connect_from(1).await.unwrap()
    }

    pub async fn connect_from(&self, last: u8) -> Result<TxClient, ClientError> {
        let connect = TxClient::connect(self.server.local_addr(), ServerPin::Key(self.key), Some(loopback(last)));
        soon("connecting", connect).await
    }

    /// The next thing that the intake saw.
    pub async fn next(&mut self) -> Seen {
        soon("an event at the intake", self.seen.recv()).await.unwrap()
    }

    /// The next frame that the intake took.
    pub async fn next_frame(&mut self) -> (Source, StreamId, Vec<u8>) {
        match self.next().await {
            Seen::Frame { source, stream, bytes } => (source, stream, bytes),
            other => panic!("expected a frame, not {other:?}"),
        }
    }

    /// Waits until the counters satisfy `condition`; they have no event of their own.
    pub async fn metrics_until(&self, what: &str, condition: impl Fn(&MetricsSnapshot) -> bool) -> MetricsSnapshot {
        soon(what, async {
            loop {
                let metrics = self.server.metrics();
                if condition(&metrics) {
                    return metrics;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
    }
}

/// The code with which the server closed `client`.
pub async fn close_code(client: &TxClient) -> CloseCode {
    match soon("the connection's end", client.closed()).await {
        ClientError::Closed { code, .. } => code,
        other => panic!("expected a close with a code, not {other}"),
    }
}
