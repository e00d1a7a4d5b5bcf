//! The registry: who asks, whether the signature counts, and then what [`crate::state`] says.
//!
//! Signatures are checked here, outside of all locks. Everything that comes in is judged in the order of `docs/mesh.md`.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tana_http::clock::Clock;
use tana_http::error::ApiError;
use tana_http::guard::{Standing, StandingFuture};
use tana_http::token::NodeStanding;
use tana_types::key::PublicKey;
use tokio::sync::{broadcast, oneshot};

use crate::chain::{Members, Sovereigns, ValidatorSet};
use crate::change::{Change, Snapshot};
use crate::limits::{PAGE_MAX, SWEEP_INTERVAL_MS};
use crate::node::Node;
use crate::state::{State, unknown_node};
use crate::store::{MeshStoreError, Store};
use crate::wire::{
    ActiveValidators, NodeAnswer, NodeCount, NodeList, NodeStatus, SovereignList, SovereignRow, Topology, ValidatorView,
};
use crate::writer::{self, Command, Door, NotTaken, Reply};

/// The registry of a network's nodes. A clone is another handle to the same one; the last one that goes writes what waits and closes it.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    state: Arc<RwLock<State>>,
    commands: Option<Door>,
    thread: Mutex<Option<JoinHandle<()>>>,
    clock: Clock,
    sovereigns: Arc<dyn Sovereigns>,
    set: Option<Arc<dyn ValidatorSet>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without senders the thread writes what waits and ends.
        self.commands = None;
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Registry {
    /// Opens the registry in `folder`, which is made with mode 0700 when it is missing.
    ///
    /// `sovereigns` says who approves, `set` who is a validator on the chain (none when the mesh does not read one), `clock` what time it is.
    /// The set must be told at once; the sovereign's key may have to be looked for.
    ///
    /// # Errors
    /// When the folder is no folder, in use by another process, or its database cannot be read.
    pub fn open(
        folder: &Path,
        sovereigns: Arc<dyn Sovereigns>,
        set: Option<Arc<dyn ValidatorSet>>,
        clock: Clock,
    ) -> Result<Self, MeshStoreError> {
        let store = Store::open(folder)?;
        let state = Arc::new(RwLock::new(State::new(store.load()?, clock())));
        let (commands, thread) = writer::start(store, state.clone(), set.clone(), clock.clone())?;
        let (commands, thread) = (Some(commands), Mutex::new(Some(thread)));
        Ok(Self(Arc::new(Inner { state, commands, thread, clock, sovereigns, set })))
    }

    /// What time it is, in ms since 1970.
    pub(crate) fn now(&self) -> u64 {
        (self.0.clock)()
    }

    /// The clock that times are judged by.
    pub(crate) fn clock(&self) -> Clock {
        self.0.clock.clone()
    }

    /// Who is in the chain's set now; nothing when that cannot be said. Asked before any lock is taken.
    pub(crate) fn members(&self) -> Option<Arc<Members>> {
        self.0.set.as_ref()?.members()
    }

    /// Whether a key is sovereign now.
    ///
    /// # Errors
    /// 503 when the chain cannot be asked.
    pub(crate) fn is_sovereign(&self, key: &PublicKey) -> Result<bool, ApiError> {
        self.0.sovereigns.is_sovereign(key).ok_or_else(chain_unknown)
    }

    /// All keys that are sovereign now. To find them may take a look through all accounts.
    ///
    /// # Errors
    /// 503 when the chain cannot be asked.
    pub(crate) async fn sovereign_keys(&self) -> Result<Vec<PublicKey>, ApiError> {
        let sovereigns = self.0.sovereigns.clone();
        let found = tokio::task::spawn_blocking(move || sovereigns.keys()).await;
        found.ok().flatten().ok_or_else(chain_unknown)
    }

    /// The nodes, for changes that need no disk.
    pub(crate) fn state(&self) -> &RwLock<State> {
        &self.0.state
    }

    /// Has the writer make a change. Returns when it is on disk.
    pub(crate) async fn submit<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, ApiError> {
        let closed = || ApiError::unavailable("the registry is closed").with_code("closed");
        let (reply, answer) = oneshot::channel();
        let commands = self.0.commands.as_ref().ok_or_else(closed)?;
        match commands.send(command(reply)) {
            Ok(()) => answer.await.map_err(|_| closed())?,
            Err(NotTaken::Full) => {
                Err(ApiError::unavailable("too many changes wait to be written; try again").with_code("busy"))
            }
            Err(NotTaken::Closed) => Err(closed()),
        }
    }

    /// Calls those offline that fell silent, and forgets what is too old. Returns how many nodes are offline now that were not.
    ///
    /// # Errors
    /// When it could not be written, or the registry is closed.
    pub async fn sweep(&self) -> Result<usize, ApiError> {
        self.submit(Command::Sweep).await
    }

    /// Sweeps every 5 s, for ever: to be spawned, and aborted in the end.
    pub async fn keep_swept(self) {
        let mut interval = tokio::time::interval(Duration::from_millis(SWEEP_INTERVAL_MS));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "the registry was not swept");
            }
        }
    }

    /// Writes the heartbeats that wait.
    ///
    /// # Errors
    /// When they could not be written, or the registry is closed.
    pub async fn flush(&self) -> Result<(), ApiError> {
        self.submit(Command::Flush).await
    }

    /// Writes what waits and takes no more changes. The folder is free when the last handle is gone.
    ///
    /// # Errors
    /// When it could not be written, or the registry is closed already.
    pub async fn close(&self) -> Result<(), ApiError> {
        self.submit(Command::Close).await
    }

    /// All nodes now. To follow what happens then, [`Registry::subscribe`] first, and pass over changes whose number is not behind the
    /// snapshot's.
    pub fn snapshot(&self) -> Snapshot {
        let members = self.members();
        self.state().read().snapshot(members.as_deref())
    }

    /// The changes from now on. Who falls behind by [`crate::limits::FEED_MAX`] is told so and takes a new snapshot.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Change>> {
        self.state().read().feed().subscribe()
    }

    /// How many nodes there are.
    pub fn count(&self) -> NodeCount {
        self.state().read().count()
    }

    /// Key and status of a node.
    pub fn node_standing(&self, id: &str) -> Option<(PublicKey, NodeStatus)> {
        self.state().read().node(id).map(|node| (node.public_key, node.status))
    }

    /// A node with its last heartbeats.
    ///
    /// # Errors
    /// 404 when it is not registered.
    pub fn node(&self, id: &str) -> Result<NodeAnswer, ApiError> {
        let members = self.members();
        let members = members.as_deref();
        let state = self.state().read();
        let node = state.node(id).ok_or_else(|| unknown_node(id))?;
        Ok(NodeAnswer { node: node.view(members), heartbeats: node.history(), validator: state.link(node, members) })
    }

    /// A node, as `GET /validators/{id}` has it.
    ///
    /// # Errors
    /// 404 when it is not registered.
    pub fn validator(&self, id: &str) -> Result<ValidatorView, ApiError> {
        self.node(id).map(|answer| ValidatorView { validator: answer.node })
    }

    /// Nodes of these statuses, by id.
    pub fn nodes(&self, statuses: &[NodeStatus], page: &Page) -> NodeList {
        let (nodes, next) = self.page(statuses, page, Node::view);
        NodeList { nodes, next }
    }

    /// Active nodes and where their services are, by id.
    pub fn topology(&self, page: &Page) -> Topology {
        let (nodes, next) = self.page(&[NodeStatus::Active], page, Node::topology);
        Topology { nodes, next }
    }

    /// Active nodes as validators, by id.
    pub fn active(&self, page: &Page) -> ActiveValidators {
        let (validators, next) = self.page(&[NodeStatus::Active], page, |node, _| node.active());
        ActiveValidators { validators, next }
    }

    fn page<T>(
        &self,
        statuses: &[NodeStatus],
        page: &Page,
        show: impl Fn(&Node, Option<&Members>) -> T,
    ) -> (Vec<T>, Option<String>) {
        let members = self.members();
        let state = self.state().read();
        let limit = page.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let mut nodes = state.nodes_after(page.after.as_deref()).filter(|node| statuses.contains(&node.status));
        let mut last = None;
        let shown = nodes
            .by_ref()
            .take(limit)
            .inspect(|node| last = Some(node.id.clone()))
            .map(|node| show(node, members.as_deref()))
            .collect();
        let next = if nodes.next().is_some() { last } else { None };
        (shown, next)
    }

    /// The chain's sovereign keys, and those that were described.
    ///
    /// # Errors
    /// 503 when the chain cannot be asked.
    pub async fn sovereigns(&self) -> Result<SovereignList, ApiError> {
        let keys = self.sovereign_keys().await?;
        let state = self.state().read();
        let described = state.descriptions();
        let others = described.keys().filter(|key| !keys.contains(key));
        let row = |key: &PublicKey| SovereignRow {
            public_key: key.to_string(),
            description: described.get(key).and_then(|description| description.text.clone()),
            added_at: described.get(key).map(|description| description.added_at),
            on_chain: keys.contains(key),
        };
        Ok(SovereignList { sovereigns: keys.iter().chain(others).map(row).collect() })
    }
}

/// 503: nobody can tell now who is sovereign.
fn chain_unknown() -> ApiError {
    ApiError::unavailable("the chain cannot be asked now who is sovereign; try again in a moment")
}

/// Which part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Nodes behind this id; from the beginning without one.
    pub after: Option<String>,
    /// At most so many; [`PAGE_MAX`] without it, and never more.
    pub limit: Option<usize>,
}

impl Standing for Registry {
    fn standing<'a>(&'a self, node: &'a str) -> StandingFuture<'a> {
        use tana_http::token::NodeStatus as Status;
        let standing = self.node_standing(node).map(|(key, status)| NodeStanding {
            key,
            status: match status {
                NodeStatus::Pending => Status::Pending,
                NodeStatus::Active => Status::Active,
                NodeStatus::Denied => Status::Denied,
                NodeStatus::Offline => Status::Offline,
            },
        });
        Box::pin(std::future::ready(Ok(standing)))
    }
}
