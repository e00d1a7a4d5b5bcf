//! The transaction server: endpoints on threads of their own, started and stopped from outside tokio.
//!
//! Each thread is a *shard*: one UDP socket (sharing the port), one quinn endpoint, one single-threaded tokio runtime.
//! The kernel keeps a connection on the socket that it began on, so a connection's work never changes threads, and the
//! intake sees each shard from one thread only. With one thread the socket is plain.
//!
//! The life of a server is a phase that only goes forward:
//!
//! 1. *running*: connections come, streams are read;
//! 2. *draining* ([`TxServer::stop_reading`]): nothing is accepted or read any more, answers still go out;
//! 3. *finishing* ([`TxServer::shutdown`]): what waits of the answers is written, each connection is closed with code 6
//!    once its streams are done;
//! 4. *closing*: whatever is left is closed at once.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ahash::AHashMap;
use parking_lot::Mutex;
use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime, VarInt};
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::connection::{ConnectionContext, serve_connection};
use crate::hub::AnswerHub;
use crate::identity::{ALPN, Identity, IdentityError};
use crate::intake::Intake;
use crate::limits::{CloseCode, Limits, WINDOW_STEPS};
use crate::metrics::{Metrics, MetricsSnapshot, add};
use crate::score::Clock;
use crate::sources::{Admission, Refusal, Slot, SourceTable};
use crate::stream::BufferPool;
use crate::transport;

/// Most threads that a server runs.
pub const THREADS_MAX: usize = 64;

/// Handshakes that quinn holds for a shard until it decides on them, and bytes that it holds for each and for all.
const INCOMING_MAX: usize = 1_024;
const INCOMING_BYTES_MAX: u64 = 64 * 1024;
const INCOMING_BYTES_IN_ALL_MAX: u64 = 4 * 1024 * 1024;

/// How long the last packets may take to leave after everything is closed, and then how long blocking work that
/// queries started may take to end. What takes longer is left to end by itself, so that it cannot hold up a stop.
const LINGER: Duration = Duration::from_millis(500);

/// Called on each server thread, with the shard's index, before it starts: the place to pin it to a core.
pub type ThreadStart = Arc<dyn Fn(usize) + Send + Sync>;

/// What a server is started with.
#[derive(Clone)]
pub struct ServerConfig {
    /// Address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The validator's identity, which clients pin.
    pub identity: Identity,
    /// Bounds and times.
    pub limits: Limits,
    /// Threads (1 to [`THREADS_MAX`]).
    pub threads: usize,
    /// Hook for each thread's start.
    pub on_thread_start: Option<ThreadStart>,
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServerConfig")
            .field("listen", &self.listen)
            .field("identity", &self.identity)
            .field("limits", &self.limits)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl ServerConfig {
    /// One thread, default limits.
    pub fn new(listen: SocketAddr, identity: Identity) -> Self {
        ServerConfig { listen, identity, limits: Limits::default(), threads: 1, on_thread_start: None }
    }
}

/// Why a server did not start.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The port is taken.
    #[error("UDP {0} is in use; stop the other process or choose another address for transactions")]
    InUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on UDP {address}: {source}; check that the address belongs to this machine")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The identity does not work with TLS.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No thread or runtime could be started.
    #[error("cannot start a server thread: {0}; check the limits on processes and open files")]
    Thread(io::Error),
    /// The number of threads is out of range.
    #[error("{0} server threads were asked for; choose 1 to 64")]
    Threads(usize),
}

/// How far the end of a server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Running,
    Draining,
    Finishing,
    Closing,
}

/// What all shards share.
pub(crate) struct Shared {
    pub(crate) intake: Arc<dyn Intake>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) hub: AnswerHub,
    pub(crate) metrics: Metrics,
    pub(crate) table: Arc<SourceTable>,
    pub(crate) clock: Clock,
    pub(crate) phase: watch::Sender<Phase>,
    /// Bytes in unfinished frames, of all connections.
    pub(crate) partial_bytes: AtomicUsize,
    pub(crate) queries: Semaphore,
    /// Streams that wait for room in the intake, or for their turn to.
    pub(crate) waiting: AtomicUsize,
    /// The last offer found the intake full.
    pub(crate) full: AtomicBool,
    /// The turn to use the room that a full intake makes.
    pub(crate) turn: Semaphore,
    /// Open connections by number, to find one to evict; at most `connections_max`.
    connections: Mutex<AHashMap<u64, Arc<ConnectionContext>>>,
    next_connection: AtomicU64,
}

/// A running transaction server. Dropping it closes everything at once.
pub struct TxServer {
    shared: Arc<Shared>,
    local_addr: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl TxServer {
    /// Listens and starts the threads; returns when packets are received.
    ///
    /// # Errors
    /// [`ServerError`] when the address, the identity or the machine does not allow it.
    pub fn start(config: ServerConfig, intake: Arc<impl Intake>) -> Result<TxServer, ServerError> {
        if !(1..=THREADS_MAX).contains(&config.threads) {
            return Err(ServerError::Threads(config.threads));
        }
        let sockets = transport::bind_sockets(config.listen, config.threads).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => ServerError::InUse(config.listen),
            _ => ServerError::Listen { address: config.listen, source },
        })?;
        let listen_error = |source| ServerError::Listen { address: config.listen, source };
        let local_addr = match sockets.first() {
            Some(socket) => socket.local_addr().map_err(listen_error)?,
            None => return Err(ServerError::Threads(config.threads)),
        };
        let limits = Arc::new(config.limits);
        let configs = quinn_configs(&config.identity, &limits)?;
        let clock = Clock::start();
        let shared = Arc::new(Shared {
            intake,
            hub: AnswerHub::new(&limits),
            metrics: Metrics::default(),
            table: Arc::new(SourceTable::new(limits.clone(), clock)),
            clock,
            phase: watch::Sender::new(Phase::Running),
            partial_bytes: AtomicUsize::new(0),
            queries: Semaphore::new(limits.queries_max),
            waiting: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            turn: Semaphore::new(1),
            connections: Mutex::new(AHashMap::new()),
            next_connection: AtomicU64::new(0),
            limits,
        });
        let mut server = TxServer { shared: shared.clone(), local_addr, threads: Vec::new() };
        for (index, socket) in sockets.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(ServerError::Thread)?;
            let endpoint = {
                let _context = runtime.enter();
                Endpoint::new(EndpointConfig::default(), Some((*configs[0]).clone()), socket, Arc::new(TokioRuntime))
                    .map_err(listen_error)?
            };
            let shard = Shard {
                shared: shared.clone(),
                index,
                configs: configs.clone(),
                buffers: Arc::new(BufferPool::default()),
            };
            let on_thread_start = config.on_thread_start.clone();
            let thread = std::thread::Builder::new().name(format!("tx-server-{index}")).spawn(move || {
                if let Some(start) = on_thread_start {
                    start(index);
                }
                runtime.block_on(shard.run(endpoint));
                runtime.shutdown_timeout(LINGER);
            });
            server.threads.push(thread.map_err(ServerError::Thread)?);
        }
        Ok(server)
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The counters now.
    pub fn metrics(&self) -> MetricsSnapshot {
        let shared = &self.shared;
        MetricsSnapshot {
            connections: shared.table.connections() as u64,
            sources: shared.table.len() as u64,
            partial_bytes: shared.partial_bytes.load(Ordering::Relaxed) as u64,
            streams_waiting: shared.waiting.load(Ordering::Relaxed) as u64,
            answers_queued: shared.hub.queued() as u64,
            answers_sent: shared.hub.sent(),
            answers_lost: shared.hub.lost(),
            answers_unwanted: shared.hub.unwanted(),
            ..shared.metrics.snapshot()
        }
    }

    /// The way for answers and reports about addresses, from any thread.
    pub fn answers(&self) -> AnswerHub {
        self.shared.hub.clone()
    }

    /// Accepts and reads nothing more, from now on; answers still go out. What was offered is all there is.
    pub fn stop_reading(&self) {
        self.advance(Phase::Draining);
    }

    /// Stops reading, writes the answers that wait, closes every connection with code 6, and joins the threads; what
    /// is not done after `patience` is cut off. Blocks for at most `patience` and about a second.
    pub fn shutdown(mut self, patience: Duration) {
        self.advance(Phase::Finishing);
        let deadline = std::time::Instant::now() + patience;
        while self.shared.table.connections() > 0 && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.join();
    }

    fn advance(&self, phase: Phase) {
        self.shared.phase.send_if_modified(|now| {
            let forward = phase > *now;
            *now = phase.max(*now);
            forward
        });
        if phase >= Phase::Finishing {
            self.shared.hub.finish_all();
        }
    }

    fn join(&mut self) {
        self.advance(Phase::Closing);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the transaction server panicked");
            }
        }
    }
}

impl Drop for TxServer {
    fn drop(&mut self) {
        self.join();
    }
}

/// One configuration per window step, which differ in their transport only.
fn quinn_configs(identity: &Identity, limits: &Limits) -> Result<Vec<Arc<quinn::ServerConfig>>, ServerError> {
    let mut base = quinn::ServerConfig::with_crypto(identity.server_tls(ALPN)?);
    base.migration(false)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_IN_ALL_MAX);
    let config = |step| {
        let mut config = base.clone();
        config.transport_config(transport::server_transport(limits, step));
        Arc::new(config)
    };
    Ok((0..WINDOW_STEPS).map(config).collect())
}

/// One thread's part of the server.
struct Shard {
    shared: Arc<Shared>,
    index: usize,
    configs: Vec<Arc<quinn::ServerConfig>>,
    buffers: Arc<BufferPool>,
}

impl Shard {
    async fn run(self, endpoint: Endpoint) {
        let mut tasks = JoinSet::new();
        let mut phase = self.shared.phase.subscribe();
        loop {
            tokio::select! {
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) if *self.shared.phase.borrow() == Phase::Running => self.decide(incoming, &mut tasks),
                    Some(incoming) => self.refuse(incoming, Refusal::ShuttingDown),
                    None => break,
                },
                _ = tasks.join_next(), if !tasks.is_empty() => {}
                _ = phase.wait_for(|phase| *phase >= Phase::Closing) => break,
            }
        }
        endpoint.close(VarInt::from_u32(CloseCode::ShuttingDown as u32), CloseCode::ShuttingDown.meaning().as_bytes());
        let _ = tokio::time::timeout(LINGER, async {
            while tasks.join_next().await.is_some() {}
            endpoint.wait_idle().await;
        })
        .await;
    }

    fn decide(&self, incoming: Incoming, tasks: &mut JoinSet<()>) {
        let metrics = &self.shared.metrics;
        let address = incoming.remote_address();
        match self.shared.table.admit(address.ip(), incoming.remote_address_validated()) {
            Admission::Accept(slot) => {
                let step = self.shared.limits.window_step(slot.connections_before);
                match incoming.accept_with(self.configs[step.min(WINDOW_STEPS - 1)].clone()) {
                    Ok(connecting) => {
                        tasks.spawn(handshake(self.shared.clone(), self.index, self.buffers.clone(), connecting, slot));
                    }
                    Err(_) => add(&metrics.handshakes_failed, 1),
                }
            }
            Admission::Validate => {
                add(&metrics.retries, 1);
                // An error means that this one may not be asked (again): then it is not answered at all.
                if let Err(error) = incoming.retry() {
                    error.into_incoming().ignore();
                }
            }
            Admission::Refuse(reason) => {
                if reason == Refusal::Full {
                    self.shared.evict_one();
                }
                self.refuse(incoming, reason);
            }
        }
    }

    fn refuse(&self, incoming: Incoming, reason: Refusal) {
        self.shared.metrics.refuse(reason);
        incoming.refuse();
    }
}

/// Completes a handshake in time and serves the connection to its end.
async fn handshake(
    shared: Arc<Shared>,
    shard: usize,
    buffers: Arc<BufferPool>,
    connecting: quinn::Connecting,
    mut slot: Slot,
) {
    let timeout = shared.limits.handshake_timeout;
    let Ok(Ok(connection)) = tokio::time::timeout(timeout, connecting).await else {
        add(&shared.metrics.handshakes_failed, 1);
        return;
    };
    slot.established();
    add(&shared.metrics.accepted, 1);
    let number = shared.next_connection.fetch_add(1, Ordering::Relaxed);
    let ip = connection.remote_address().ip();
    let context = Arc::new(ConnectionContext::new(shared.clone(), number, ip, shard, slot.score().clone(), buffers));
    shared.connections.lock().insert(number, context.clone());
    let registered = Registered { shared: &shared, number };
    let end = serve_connection(context, &connection).await;
    shared.metrics.end(end);
    drop(registered);
    drop(slot);
}

/// Takes a connection out of the server's map, also when its task is cancelled.
struct Registered<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.shared.connections.lock().remove(&self.number);
    }
}

impl Shared {
    /// Makes room in a full server: tells one idle connection to go, of the address that has the most.
    fn evict_one(&self) {
        let idle_ms = u64::try_from(self.limits.evict_after.as_millis()).unwrap_or(u64::MAX);
        let Some(before_ms) = self.clock.now_ms().checked_sub(idle_ms) else { return };
        let connections = self.connections.lock();
        let victim = connections
            .iter()
            .filter(|(_, context)| context.last_frame_ms() <= before_ms)
            // Of those that are idle since the same moment it is the oldest.
            .min_by_key(|(number, context)| {
                (usize::MAX - context.connections_of_ip(), context.last_frame_ms(), **number)
            });
        if let Some((_, context)) = victim {
            context.evict.notify_one();
        }
    }
}
