//! A node for tests: a real transaction server whose intake answers at once, as it is told to.
#![allow(clippy::unwrap_used, dead_code, missing_docs)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tana_net::{
    AnswerEvent, AnswerHub, AnswerKind, Identity, Intake, Offer, QueryFuture, ServerConfig, ServerPin, Source,
    StreamId, TxServer,
};
use tana_types::code::Code;
use tana_types::genesis::Genesis;
use tana_types::transaction::Transaction;
use tokio::sync::Notify;
use tx_gen::FloodConfig;

const SEED: [u8; 32] = [3; 32];

/// What the node does with transactions.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Rejects everything with this code.
    pub reject: Option<Code>,
    /// Takes everything and never says what became of it.
    pub hold: bool,
    /// Keeps no copies of what arrives.
    pub forget: bool,
    /// Takes nothing for so long after the first frame came.
    pub deaf_for: Duration,
}

struct TestIntake {
    behaviour: Behaviour,
    room: Notify,
    hub: OnceLock<AnswerHub>,
    first: OnceLock<Instant>,
    seen: Mutex<Vec<Vec<u8>>>,
    sequences: Mutex<BTreeMap<StreamId, u64>>,
}

impl TestIntake {
    fn answer(&self, stream: StreamId, first: u64, count: u32) {
        let Some(hub) = self.hub.get() else { return };
        let event = |kind, code| AnswerEvent { count, ..AnswerEvent::here(kind, code, first) };
        match self.behaviour.reject {
            Some(code) => hub.send(stream, event(AnswerKind::Rejected, code as u8)),
            None => {
                let kinds = [AnswerKind::Accepted, AnswerKind::Final, AnswerKind::Applied];
                hub.send_all(stream, &kinds.map(|kind| event(kind, 0)));
            }
        }
    }
}

impl Intake for TestIntake {
    fn offer(&self, _: &Source, stream: StreamId, mut frame: &[u8]) -> Offer {
        if self.first.get_or_init(Instant::now).elapsed() < self.behaviour.deaf_for {
            return Offer::Full { consumed: 0 };
        }
        let mut count = 0;
        let mut seen = self.seen.lock();
        while !frame.is_empty() {
            let Some(transaction) = Transaction::first_of(frame) else { return Offer::Malformed { code: 64 } };
            if !self.behaviour.forget {
                seen.push(transaction.bytes().to_vec());
            }
            frame = &frame[transaction.bytes().len()..];
            count += 1;
        }
        drop(seen);
        if stream.wants_answers() && !self.behaviour.hold {
            let mut sequences = self.sequences.lock();
            let first = sequences.entry(stream).or_insert(0);
            self.answer(stream, *first, count);
            *first += u64::from(count);
        }
        Offer::Taken
    }

    fn room(&self) -> &Notify {
        &self.room
    }

    fn query(&self, _: Vec<u8>) -> QueryFuture {
        Box::pin(async { br#"{"error":"this node answers no questions"}"#.to_vec() })
    }

    fn closed(&self, _: StreamId) {}
}

/// A server on a free loopback port.
pub struct Node {
    server: Option<TxServer>,
    address: SocketAddr,
    key: [u8; 32],
    intake: Arc<TestIntake>,
}

impl Node {
    pub fn start(behaviour: Behaviour) -> Node {
        let identity = Identity::from_seed(&SEED).unwrap();
        let key = identity.public_key();
        let intake = Arc::new(TestIntake {
            behaviour,
            room: Notify::new(),
            hub: OnceLock::new(),
            first: OnceLock::new(),
            seen: Mutex::new(Vec::new()),
            sequences: Mutex::new(BTreeMap::new()),
        });
        let config = ServerConfig::new("127.0.0.1:0".parse().unwrap(), identity);
        let server = TxServer::start(config, intake.clone()).unwrap();
        let _ = intake.hub.set(server.answers());
        Node { address: server.local_addr(), server: Some(server), key, intake }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// The server, to be stopped by the test itself.
    pub fn take_server(&mut self) -> Option<TxServer> {
        self.server.take()
    }

    /// Everything that arrived, in order.
    pub fn transactions(&self) -> Vec<Vec<u8>> {
        self.intake.seen.lock().clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown(Duration::from_millis(100));
        }
    }
}

/// A configuration for this node.
pub fn quick(node: &Node) -> FloodConfig {
    FloodConfig::new(node.address(), ServerPin::Key(node.key()))
}

pub fn sender_and_nonce(transaction: &[u8]) -> ([u8; 32], u64) {
    let transaction = Transaction::exactly(transaction).unwrap();
    (transaction.header().sender, transaction.header().nonce.get())
}

/// The text of a genesis with this many bulk accounts, whose first validator is the test's node.
pub fn genesis_text(accounts: u32) -> String {
    let key = tana_types::key::PublicKey(Identity::from_seed(&SEED).unwrap().public_key());
    format!(
        r#"
        chain = "load-test"
        timestamp_ms = 1730592000000
        [sovereign]
        key = "ed25519_d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        [[currency]]
        code = "USD"
        decimals = 2
        type = "fiat"
        verified = true
        name = "US Dollar"
        symbol = "$"
        [[validator]]
        key = "{key}"
        address = "127.0.0.1:9000"
        [bulk]
        seed = "load-test"
        count = {accounts}
        currency = "USD"
        amount = "1000.00"
        "#
    )
}

pub fn genesis(accounts: u32) -> Genesis {
    Genesis::parse(&genesis_text(accounts)).unwrap()
}
