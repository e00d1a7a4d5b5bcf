//! Nodes with links for tests, a bare QUIC peer that follows no rules, and waiting for events with a time limit.
#![allow(dead_code, clippy::unwrap_used)]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};
use tana_net::link::{Inbound, LinkConfig, LinkLimits, LinkMetrics, Links, Peer, PeerStatus, SendOutcome};

/// Long enough for a slow machine, short enough to end a test that would hang.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Genesis hash of all nodes, unless a test wants another chain.
pub const GENESIS: [u8; 32] = [0x5a; 32];

/// Waits for `future`, at most so long as a slow machine may need.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// Asks `look` again and again until it gives something.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

pub fn signing_key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// Numbers of two keys, the smaller key first.
pub fn ordered(a: u8, b: u8) -> (u8, u8) {
    if public(a) < public(b) { (a, b) } else { (b, a) }
}

pub fn public(number: u8) -> [u8; 32] {
    signing_key(number).verifying_key().to_bytes()
}

/// One validator's links.
pub struct Node {
    pub number: u8,
    pub links: Links,
    pub inbound: Vec<Inbound>,
    pub address: SocketAddr,
}

impl Node {
    pub fn start(number: u8, change: impl FnOnce(&mut LinkConfig)) -> Node {
        let mut config = LinkConfig {
            key: signing_key(number),
            genesis_hash: GENESIS,
            listen: "127.0.0.1:0".parse().unwrap(),
            limits: LinkLimits::default(),
            trouble: None,
        };
        change(&mut config);
        let (links, inbound) = Links::start(config).unwrap();
        let address = links.local_addr().unwrap();
        Node { number, links, inbound, address }
    }

    pub fn new(number: u8) -> Node {
        Node::start(number, |_| ())
    }

    pub fn key(&self) -> [u8; 32] {
        public(self.number)
    }

    pub fn peer(&self) -> Peer {
        Peer { key: self.key(), address: self.address.to_string() }
    }

    pub fn status_of(&self, key: &[u8; 32]) -> PeerStatus {
        self.links.status().into_iter().find(|status| status.key == *key).unwrap()
    }

    pub async fn connected_to(&self, other: &Node) {
        until("a connection", || self.links.is_connected(&other.key()).then_some(())).await;
    }

    pub async fn metrics_until(&self, what: &str, wanted: impl Fn(&LinkMetrics) -> bool) -> LinkMetrics {
        until(what, || Some(self.links.metrics()).filter(|metrics| wanted(metrics))).await
    }

    pub fn send(&self, to: &Node, channel: u8, message: impl Into<Bytes>) -> SendOutcome {
        self.links.try_send(&to.key(), channel, message.into())
    }

    pub async fn next(&mut self, channel: u8) -> ([u8; 32], Bytes) {
        soon("a message", self.inbound[usize::from(channel)].recv()).await.unwrap()
    }

    /// Closes everything and waits until the port is free again.
    pub async fn stop(self) -> SocketAddr {
        let address = self.address;
        self.links.close();
        soon("the goodbye", self.links.closed()).await;
        drop(self);
        until("the port", || std::net::UdpSocket::bind(address).ok()).await;
        address
    }
}

/// Makes each of `nodes` know all others.
pub fn introduce(nodes: &[&Node]) {
    let peers: Vec<Peer> = nodes.iter().map(|node| node.peer()).collect();
    for node in nodes {
        node.links.set_peers(peers.clone());
    }
}

/// Two nodes that are connected.
pub async fn pair(change: impl Fn(&mut LinkConfig)) -> (Node, Node) {
    let (a, b) = (Node::start(1, &change), Node::start(2, &change));
    introduce(&[&a, &b]);
    a.connected_to(&b).await;
    b.connected_to(&a).await;
    (a, b)
}

/// What a bare peer shows in the handshake.
pub enum Shown {
    /// The raw key of this number.
    Raw(u8),
    /// An X.509 certificate of the key of this number, valid until the given year.
    Certificate { number: u8, until_year: i32 },
    /// Nothing.
    Nothing,
}

/// Dials `node` without any of the links' code.
pub async fn dial_bare(node: &Node, shown: Shown, genesis: [u8; 32]) -> Result<quinn::Connection, String> {
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(bare_config(shown, genesis), node.address, "tana-link").unwrap();
    soon("the handshake", connecting).await.map_err(|error| error.to_string())
}

/// What a bare peer dials with.
pub fn bare_config(shown: Shown, genesis: [u8; 32]) -> quinn::ClientConfig {
    let raw = !matches!(shown, Shown::Certificate { .. });
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody { raw }));
    let mut tls = match shown {
        Shown::Nothing => builder.with_no_client_auth(),
        Shown::Raw(number) => {
            let key = signing_key(number);
            let signer = ring::sign::any_supported_type(&PrivateKeyDer::Pkcs8(pkcs8(number))).unwrap();
            let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
            let info = CertificateDer::from([&prefix[..], key.verifying_key().as_bytes()].concat());
            let certified = Arc::new(CertifiedKey::new(vec![info], signer));
            builder
                .with_client_cert_resolver(Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(certified)))
        }
        Shown::Certificate { number, until_year } => {
            let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8(number), &rcgen::PKCS_ED25519).unwrap();
            let mut parameters = rcgen::CertificateParams::new(vec!["tana-link".to_owned()]).unwrap();
            parameters.not_after = rcgen::date_time_ymd(until_year, 1, 1);
            let certificate = parameters.self_signed(&pair).unwrap();
            builder.with_client_auth_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(pkcs8(number))).unwrap()
        }
    };
    let digits: String = genesis.iter().map(|byte| format!("{byte:02x}")).collect();
    tls.alpn_protocols = vec![format!("tana-link/1/{digits}").into_bytes()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    quinn::ClientConfig::new(Arc::new(crypto))
}

/// A bare peer with an accepted key, after its hello.
pub async fn greet_bare(node: &Node, number: u8, instance: u64) -> quinn::Connection {
    let connection = dial_bare(node, Shown::Raw(number), GENESIS).await.unwrap();
    let mut stream = connection.open_uni().await.unwrap();
    let hello = [&[0xff, 1, 9, 0, 0][..], &instance.to_le_bytes()].concat();
    stream.write_all(&hello).await.unwrap();
    stream.finish().unwrap();
    connection
}

/// The application code with which `connection` was closed by the other side.
pub async fn close_code(connection: &quinn::Connection) -> u64 {
    match soon("the close", connection.closed()).await {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("closed in another way: {other}"),
    }
}

fn pkcs8(number: u8) -> PrivatePkcs8KeyDer<'static> {
    let prefix = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    PrivatePkcs8KeyDer::from([&prefix[..], &[number; 32]].concat())
}

/// Takes whatever the node shows.
#[derive(Debug)]
struct Anybody {
    raw: bool,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("no TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

/// Stands between a node and those that dial it, and can lose what goes either way.
pub struct Relay {
    pub address: SocketAddr,
    there: Arc<AtomicBool>,
    back: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// Forwards packets of whoever sent last to `target`, and back.
    pub async fn start(target: SocketAddr) -> Relay {
        let front = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let behind = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = front.local_addr().unwrap();
        let (there, back) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        let (forward_there, forward_back) = (there.clone(), back.clone());
        let task = tokio::spawn(async move {
            let (mut packet, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
            let mut source = None;
            loop {
                tokio::select! {
                    received = front.recv_from(&mut packet) => {
                        let Ok((length, from)) = received else { continue };
                        source = Some(from);
                        if forward_there.load(Ordering::SeqCst) {
                            let _ = behind.send_to(&packet[..length], target).await;
                        }
                    }
                    received = behind.recv_from(&mut answer) => {
                        let (Ok((length, _)), Some(to)) = (received, source) else { continue };
                        if forward_back.load(Ordering::SeqCst) {
                            let _ = front.send_to(&answer[..length], to).await;
                        }
                    }
                }
            }
        });
        Relay { address, there, back, task }
    }

    /// Says which way packets go from now on.
    pub fn forward(&self, there: bool, back: bool) {
        self.there.store(there, Ordering::SeqCst);
        self.back.store(back, Ordering::SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
