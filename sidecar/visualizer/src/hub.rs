//! Runs the visualizer: takes what sources tell, keeps a source for every validator of the registry, and flushes the model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::frame::MeshNode;
use crate::interest::Interest;
use crate::model::{Registered, validators_of};
use crate::nodes::{Nodes, discover};
use crate::publish::{DELTAS_MAX, Publisher};
use crate::report::{Input, Report, SourceId};
use crate::source::{Source, client, url};
use crate::ws::{self, Origins};

/// The least time between two deltas.
pub const GATHER: Duration = Duration::from_millis(50);
/// After a quiet time, how long the first change waits for those that come with it.
const GATHER_FIRST: Duration = Duration::from_millis(5);
/// How often what depends on time alone is looked at: silence, rates, interest.
const CHECK: Duration = Duration::from_millis(250);
/// Clients at a time, unless options say otherwise.
pub const CLIENTS_MAX: usize = 1_024;
/// Inputs that wait for the hub; sources wait when it is full, and behind them the validators' streams, which drop and count.
const INPUTS_MAX: usize = 1_024;
/// Inputs that are taken in before anything else is looked at.
const INPUTS_AT_ONCE: usize = 256;

/// How a visualizer is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which web pages may connect.
    pub origins: Origins,
    /// Clients at a time.
    pub clients_max: usize,
    /// Deltas that wait for a client at most; one that is further behind gets a snapshot instead. All clients share them.
    pub deltas_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { origins: Origins::Any, clients_max: CLIENTS_MAX, deltas_max: DELTAS_MAX }
    }
}

/// The visualizer could not be started.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client can be made: {0}")]
pub struct StartError(#[from] reqwest::Error);

/// A running visualizer. It ends when this is dropped; clients that are connected then hear no more and are closed.
pub struct Visualizer {
    publisher: Arc<Publisher>,
    interest: Arc<Interest>,
    server: Arc<ws::Server>,
    tasks: Vec<JoinHandle<()>>,
}

impl Visualizer {
    /// Starts following the validators of `nodes`, on the tokio runtime that this is called in.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(nodes: Arc<dyn Nodes>, options: Options) -> Result<Self, StartError> {
        let (publisher, interest) = (Arc::new(Publisher::new(options.deltas_max)), Arc::new(Interest::default()));
        let (inputs, taken) = mpsc::channel(INPUTS_MAX);
        let hub = Hub {
            publisher: publisher.clone(),
            interest: interest.clone(),
            wanted: interest.follow(),
            client: client()?,
            inputs: inputs.clone(),
            sources: BTreeMap::new(),
            next_source: 1,
        };
        let tasks = vec![tokio::spawn(hub.run(taken)), tokio::spawn(discover(nodes, inputs))];
        let server = Arc::new(ws::Server {
            publisher: publisher.clone(),
            interest: interest.clone(),
            origins: options.origins,
            permits: Arc::new(Semaphore::new(options.clients_max)),
        });
        Ok(Self { publisher, interest, server, tasks })
    }

    /// The WebSocket's routes, `/` and `/ws`: for a port of their own, 8191.
    pub fn ws_router(&self) -> Router {
        ws::router(self.server.clone())
    }

    /// `GET /api/network`: for the mesh's port.
    pub fn api_router(&self) -> Router {
        Router::new().route("/api/network", get(network)).with_state((self.publisher.clone(), self.interest.clone()))
    }

    /// Clients that are connected.
    pub fn clients(&self) -> usize {
        self.interest.clients()
    }

    /// The present state as `GET /api/network` answers it.
    pub fn state_json(&self) -> String {
        self.publisher.snapshot().data().to_owned()
    }
}

impl Drop for Visualizer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn network(State((publisher, interest)): State<(Arc<Publisher>, Arc<Interest>)>) -> impl IntoResponse {
    interest.touch();
    let snapshot = publisher.snapshot();
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], snapshot.data().to_owned())
}

struct Running {
    registered: Registered,
    task: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

struct Hub {
    publisher: Arc<Publisher>,
    interest: Arc<Interest>,
    wanted: watch::Receiver<bool>,
    client: reqwest::Client,
    inputs: mpsc::Sender<Input>,
    sources: BTreeMap<String, Running>,
    next_source: SourceId,
}

impl Hub {
    async fn run(mut self, mut taken: mpsc::Receiver<Input>) {
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut flushed = Instant::now();
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                // This end holds a sender, so the channel does not close.
                Some(input) = taken.recv() => {
                    self.take(input);
                    for _ in 0..INPUTS_AT_ONCE {
                        let Ok(input) = taken.try_recv() else { break };
                        self.take(input);
                    }
                    due.get_or_insert_with(|| (flushed + GATHER).max(Instant::now() + GATHER_FIRST));
                }
                () = sleep_until(due.unwrap_or(flushed)), if due.is_some() => {
                    (flushed, due) = (Instant::now(), None);
                    self.publisher.flush(now_ms());
                }
                _ = check.tick() => {
                    self.interest.check();
                    due.get_or_insert_with(|| (flushed + GATHER).max(Instant::now()));
                }
            }
        }
    }

    fn take(&mut self, input: Input) {
        if let Input::Nodes(nodes) = &input {
            self.follow(nodes);
        }
        self.publisher.with_model(|model| model.take(input, now_ms()));
    }

    /// Starts and ends sources, so that there is one for each validator of the registry.
    fn follow(&mut self, nodes: &[MeshNode]) {
        let wanted = validators_of(nodes);
        let gone: Vec<String> = self.sources.keys().filter(|id| !wanted.contains_key(*id)).cloned().collect();
        for id in gone {
            self.sources.remove(&id);
            self.publisher.with_model(|model| model.forget(&id));
        }
        for (id, registered) in wanted {
            if self.sources.get(&id).is_some_and(|running| running.registered == registered) {
                continue;
            }
            let source = self.next_source;
            self.next_source += 1;
            self.publisher.with_model(|model| model.follow(&registered, source));
            let task = self.start(&registered, source);
            self.sources.insert(id, Running { registered, task });
        }
    }

    fn start(&self, registered: &Registered, id: SourceId) -> Option<JoinHandle<()>> {
        let Some(url) = url(&registered.host, registered.port) else {
            let reason = "its registered host is neither a name nor an address".to_owned();
            let report = Input::Report(id, Report::Down(reason));
            self.publisher.with_model(|model| model.take(report, now_ms()));
            return None;
        };
        let source =
            Source { id, url, client: self.client.clone(), interest: self.wanted.clone(), inputs: self.inputs.clone() };
        Some(tokio::spawn(source.run()))
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
