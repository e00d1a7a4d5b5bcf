//! Fake validators, a fake registry and a WebSocket client.

#![allow(dead_code, clippy::unwrap_used)]

pub mod client;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tana_visualizer::frame::{MeshNode, MeshService};
use tana_visualizer::{Nodes, Options, Visualizer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::BroadcastStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use client::ClientModel;

/// How long anything may take before a test gives up: far more than it ever does.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn key(number: u64) -> String {
    format!("ed25519_{number:064x}")
}

/// A registry that a test changes.
pub struct FakeNodes {
    nodes: Mutex<Vec<MeshNode>>,
    version: watch::Sender<u64>,
}

impl FakeNodes {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { nodes: Mutex::new(Vec::new()), version: watch::Sender::new(0) })
    }

    /// Adds or replaces a validator.
    pub fn put(&self, number: u64, address: SocketAddr, status: &str) {
        let mut nodes = self.nodes.lock().unwrap();
        let id = format!("val_{number}");
        nodes.retain(|node| node.id != id);
        nodes.push(MeshNode {
            id,
            public_key: key(number),
            tailscale_hostname: address.ip().to_string(),
            status: status.to_owned(),
            services: vec![MeshService {
                kind: "consensus".to_owned(),
                port: address.port() - 1,
                ..MeshService::default()
            }],
            ..MeshNode::default()
        });
        self.version.send_modify(|version| *version += 1);
    }

    pub fn remove(&self, number: u64) {
        self.nodes.lock().unwrap().retain(|node| node.id != format!("val_{number}"));
        self.version.send_modify(|version| *version += 1);
    }
}

impl Nodes for FakeNodes {
    fn list(&self) -> Result<Vec<MeshNode>, String> {
        Ok(self.nodes.lock().unwrap().clone())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

struct Inner {
    number: u64,
    telemetry: bool,
    status: Mutex<Value>,
    stream: broadcast::Sender<Bytes>,
    streams_opened: AtomicU64,
    health_asked: AtomicU64,
}

/// A validator's HTTP on a runtime of its own, so that it can end as a killed process does.
pub struct FakeValidator {
    pub number: u64,
    pub address: SocketAddr,
    inner: Arc<Inner>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl FakeValidator {
    /// One of `count`, linked to all the others.
    pub fn start(number: u64, count: u64) -> Self {
        Self::start_with(number, count, true, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub fn start_with(number: u64, count: u64, telemetry: bool, address: SocketAddr) -> Self {
        let others = (1..=count).filter(|other| *other != number);
        let peers: Vec<Value> = others.map(|other| json!({ "key": key(other), "connected": true })).collect();
        let status = json!({
            "validator": key(number), "voting": true, "reason": "", "height": 10, "finalized_height": 11, "epoch": 1, "view": 20,
            "leader": key(1), "peers": peers, "window_ms": 250, "applied": 1_000, "applied_per_s": 100.0, "waiting": 0, "stages": [],
        });
        let inner = Arc::new(Inner {
            number,
            telemetry,
            status: Mutex::new(status),
            stream: broadcast::Sender::new(1_024),
            streams_opened: AtomicU64::new(0),
            health_asked: AtomicU64::new(0),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/telemetry", get(telemetry_page))
            .route("/health", get(health_page))
            .route("/peers", get(peers_page))
            .with_state(inner.clone());
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        Self { number, address, inner, runtime: Some(runtime) }
    }

    /// Ends at once: connections break, the port refuses.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// What its snapshot and its `/health` say from now on.
    pub fn set(&self, field: &str, value: Value) {
        self.inner.status.lock().unwrap()[field] = value;
    }

    pub fn event(&self, name: &str, data: &str) {
        self.raw(format!("event: {name}\ndata: {data}\n\n"));
    }

    pub fn events(&self, events: Value) {
        self.event("events", &events.to_string());
    }

    /// Sends a sample with what was set.
    pub fn sample(&self) {
        let status = self.inner.status.lock().unwrap().to_string();
        self.event("sample", &status);
    }

    /// Sends any bytes into every open stream.
    pub fn raw(&self, bytes: impl Into<Bytes>) {
        // Nobody may be listening.
        let _ = self.inner.stream.send(bytes.into());
    }

    pub fn streams_opened(&self) -> u64 {
        self.inner.streams_opened.load(Ordering::SeqCst)
    }

    pub fn health_asked(&self) -> u64 {
        self.inner.health_asked.load(Ordering::SeqCst)
    }
}

impl Drop for FakeValidator {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn telemetry_page(State(inner): State<Arc<Inner>>) -> Response {
    if !inner.telemetry {
        return StatusCode::NOT_FOUND.into_response();
    }
    let later = BroadcastStream::new(inner.stream.subscribe()).filter_map(|piece| async move { piece.ok() });
    let first = Bytes::from(format!("event: snapshot\ndata: {}\n\n", inner.status.lock().unwrap()));
    let all = futures_util::stream::once(async move { first }).chain(later).map(Ok::<_, std::convert::Infallible>);
    inner.streams_opened.fetch_add(1, Ordering::SeqCst);
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(all)).into_response()
}

async fn health_page(State(inner): State<Arc<Inner>>) -> Response {
    inner.health_asked.fetch_add(1, Ordering::SeqCst);
    axum::Json(inner.status.lock().unwrap().clone()).into_response()
}

async fn peers_page(State(inner): State<Arc<Inner>>) -> Response {
    let peers = inner.status.lock().unwrap()["peers"].clone();
    axum::Json(json!({ "peers": peers, "count": 0 })).into_response()
}

/// A visualizer that is served on ports of its own.
pub struct Served {
    pub visualizer: Visualizer,
    pub ws: SocketAddr,
    pub http: SocketAddr,
}

pub async fn serve(nodes: Arc<FakeNodes>, options: Options) -> Served {
    let visualizer = Visualizer::start(nodes, options).unwrap();
    let ws = serve_router(visualizer.ws_router()).await;
    let http = serve_router(visualizer.api_router()).await;
    Served { visualizer, ws, http }
}

/// Serves on a free port. What the system buffers for a reader that is slow is small there.
pub async fn serve_router(router: Router) -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(8 * 1_024).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(1_024).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// A client that follows the state.
pub struct Client {
    pub model: ClientModel,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpSocket::new_v4().unwrap();
        stream.set_recv_buffer_size(4 * 1_024).unwrap();
        let stream = MaybeTlsStream::Plain(stream.connect(address).await.unwrap());
        let (socket, _) = tokio_tungstenite::client_async(format!("ws://{address}/ws"), stream).await.unwrap();
        Self { model: ClientModel::default(), socket }
    }

    /// Reads the next frame and takes it in.
    pub async fn next(&mut self) {
        // One deadline for all: the server's pings are no frame, and come for ever.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let message = tokio::time::timeout_at(deadline, self.socket.next()).await.expect("a frame in time");
            match message.expect("the socket stays open").unwrap() {
                Message::Text(text) => {
                    self.model.take(&text).unwrap();
                    return;
                }
                Message::Close(close) => panic!("closed: {close:?}"),
                _ => {}
            }
        }
    }

    /// Reads until the state is as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !(self.model.state.is_object() && wanted(&self.model.state)) {
            assert!(tokio::time::Instant::now() < deadline, "never {what}: {:#}", self.model.state);
            self.next().await;
        }
    }

    pub async fn send(&mut self, message: Message) -> bool {
        use futures_util::SinkExt;
        self.socket.send(message).await.is_ok()
    }

    /// Reads until the server closes the connection.
    pub async fn until_closed(&mut self) {
        let read_all = async { while let Some(Ok(_)) = self.socket.next().await {} };
        tokio::time::timeout(PATIENCE, read_all).await.expect("it is closed");
    }
}

pub fn validator<'a>(state: &'a Value, id: &str) -> &'a Value {
    state["validators"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap_or(&Value::Null)
}

pub fn healthy(state: &Value) -> usize {
    state["validators"].as_array().unwrap().iter().filter(|one| one["healthy"] == true).count()
}

pub fn has_event(state: &Value, kind: &str, id: &str) -> bool {
    state["events"].as_array().unwrap().iter().any(|event| event["event"] == kind && event["validatorId"] == id)
}
