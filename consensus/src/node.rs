//! Agreement in a validator: a thread of its own with the library's tokio runtime, the validator links inside it, and the [core](crate::core).
//!
//! The library's runtime cannot join another one, so everything of agreement, the links' sockets too, lives on its workers; no flood of
//! transactions can slow a vote. The storage is a folder of its own, locked by the library while it runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use commonware_runtime::{Runner, Spawner, Supervisor};
use tana_lane::LaneLimits;
use tana_net::link::{Inbound, LinkConfig, LinkLimits, LinkMetrics, Links, PeerStatus, Trouble};
use tana_order::ChainRules;
use tana_types::Hash;
use tokio::sync::oneshot;

use crate::api::{ChainStart, ConsensusStatus, Event, Host, PeerReport};
use crate::core::{self, Channels, ConsensusHandle, CoreConfig, StartError, Timeouts};
use crate::observation::Observation;
use crate::record::FileRecord;
use crate::transport::{Directory, LinkReceiver, LinkSender};

/// The channel of state sync.
pub const SYNC_CHANNEL: u8 = 8;
/// How long a stop waits for the library's tasks.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stop waits until peers were told.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);
/// Threads for file operations; more only wait for the same disk.
const FILE_THREADS: usize = 16;

/// What a validator's agreement is set up with.
#[derive(Clone)]
pub struct ConsensusConfig {
    /// The validator's key.
    pub key: ed25519_dalek::SigningKey,
    /// The chain.
    pub genesis_hash: Hash,
    /// The rules of blocks.
    pub rules: ChainRules,
    /// Bounds of lanes.
    pub lanes: LaneLimits,
    /// UDP address of the links.
    pub listen: SocketAddr,
    /// Bounds of the links.
    pub links: LinkLimits,
    /// What is wrong with the links on purpose; none outside of tests.
    pub trouble: Option<Arc<Trouble>>,
    /// How long to wait for a leader's proposal; other times follow from it.
    pub leader_timeout: Duration,
    /// Heights that agreement's own store keeps for peers that were away; 0 keeps all.
    pub keep_heights: u64,
    /// Agreement's folder.
    pub folder: PathBuf,
    /// The voting record, outside of that folder.
    pub record: PathBuf,
    /// Threads of the runtime, 1 or 2.
    pub workers: usize,
}

/// Running agreement. Dropping it stops it.
pub struct Consensus {
    handle: ConsensusHandle,
    links: Links,
    directory: Directory,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread hands back once it runs.
type Started = Result<(ConsensusHandle, Links, Directory), StartError>;

impl Consensus {
    /// Starts the thread and waits until agreement runs.
    ///
    /// # Errors
    /// [`StartError`] when the links, the storage or the voting record do not allow it.
    pub fn start(config: ConsensusConfig, start: ChainStart, host: Arc<dyn Host>) -> Result<Self, StartError> {
        let (started, result) = mpsc::sync_channel::<Started>(1);
        let (stop, stopped) = oneshot::channel();
        let runner = commonware_runtime::tokio::Runner::new(
            commonware_runtime::tokio::Config::new()
                .with_worker_threads(config.workers.clamp(1, 2))
                .with_max_blocking_threads(FILE_THREADS)
                .with_storage_directory(config.folder.clone()),
        );
        let thread = std::thread::Builder::new()
            .name("consensus".into())
            .spawn(move || runner.start(|context| run(context, config, start, host, started, stopped)))
            .map_err(|error| StartError::Links(format!("no thread for them: {error}")))?;
        match result.recv() {
            Ok(Ok((handle, links, directory))) => {
                Ok(Self { handle, links, directory, stop: Some(stop), thread: Some(thread) })
            }
            Ok(Err(error)) => {
                let _ = thread.join();
                Err(error)
            }
            Err(_) => {
                let _ = thread.join();
                Err(StartError::Thread)
            }
        }
    }

    /// Tells agreement what the host did; may be called from any thread.
    pub fn handle(&self) -> NodeHandle {
        NodeHandle { core: self.handle.clone(), links: self.links.clone(), directory: self.directory.clone() }
    }

    /// Whether its thread still runs; when it does not, the node must stop.
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Stops agreement and waits for its thread. Nothing is lost: what was promised is in the journal.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("agreement's thread had ended in a panic; the log above says why");
        }
    }
}

impl Drop for Consensus {
    fn drop(&mut self) {
        self.end();
    }
}

/// The way to a validator's agreement. Clones share.
#[derive(Clone)]
pub struct NodeHandle {
    core: ConsensusHandle,
    links: Links,
    directory: Directory,
}

impl NodeHandle {
    /// Tells an event. Waits for nothing but a short lock.
    pub fn send(&self, event: Event) {
        if let Event::Executed(execution) = &event {
            let validators = execution.sets.iter().flat_map(|set| &set.validators);
            self.directory.learn(validators.map(|validator| (validator.key, validator.address.clone())));
        }
        self.core.send(event);
    }

    /// How agreement is doing, its peers included.
    pub fn status(&self) -> ConsensusStatus {
        let report = |peer: PeerStatus| PeerReport {
            key: peer.key,
            address: peer.address,
            connected: peer.connected_since.is_some(),
            round_trip_us: peer.round_trip.map_or(0, |time| time.as_micros() as u64),
            blocked: peer.blocked.map(|(reason, _)| reason),
        };
        ConsensusStatus { peers: self.links.status().into_iter().map(report).collect(), ..self.core.status() }
    }

    /// The way to agreement alone: whoever holds it keeps no link open.
    pub fn core(&self) -> &ConsensusHandle {
        &self.core
    }

    /// The links' counters.
    pub fn link_metrics(&self) -> LinkMetrics {
        self.links.metrics()
    }

    /// The links themselves, for state sync's channel.
    pub fn links(&self) -> &Links {
        &self.links
    }
}

/// The runtime's root task.
async fn run(
    context: commonware_runtime::tokio::Context,
    config: ConsensusConfig,
    start: ChainStart,
    host: Arc<dyn Host>,
    started: mpsc::SyncSender<Started>,
    stopped: oneshot::Receiver<()>,
) {
    let me = config.key.verifying_key().to_bytes();
    let links = Links::start(LinkConfig {
        key: config.key.clone(),
        genesis_hash: config.genesis_hash,
        listen: config.listen,
        limits: config.links.clone(),
        trouble: config.trouble.clone(),
    });
    let (links, inbound) = match links {
        Ok(links) => links,
        Err(error) => return drop(started.send(Err(StartError::Links(error.to_string())))),
    };
    let directory = Directory::new(links.clone(), me);
    let validators = start.sets.iter().flat_map(|set| &set.validators);
    directory.learn(validators.map(|validator| (validator.key, validator.address.clone())));
    let Some((channels, sync)) = channels(&directory, inbound) else {
        return drop(started.send(Err(StartError::Links("they have fewer channels than agreement needs".into()))));
    };
    let core = CoreConfig {
        key: config.key,
        genesis_hash: config.genesis_hash,
        rules: config.rules,
        lanes: config.lanes,
        timeouts: Timeouts::from_leader(config.leader_timeout),
        keep_heights: config.keep_heights,
        prefix: "agreement".into(),
        clock_offset_ms: 0,
    };
    let record = Arc::new(FileRecord::new(config.record));
    let result = core::start(
        context.child("agreement"),
        core,
        start,
        host.clone(),
        record,
        channels,
        directory.clone(),
        directory.clone(),
    )
    .await;
    let handle = match result {
        Ok(handle) => handle,
        Err(error) => return drop(started.send(Err(error))),
    };
    context.child("sync").spawn({
        let (links, host) = (links.clone(), host.clone());
        move |context| answer_sync(context, sync, links, host)
    });
    context.child("connections").spawn({
        let (links, handle, host) = (links.clone(), handle.clone(), host.clone());
        move |_| tell_connections(links, handle, host)
    });
    if started.send(Ok((handle, links.clone(), directory))).is_ok() {
        // Whoever started may also drop the sender: then it is time to stop as well.
        let _ = stopped.await;
    }
    links.close();
    let _ = tokio::time::timeout(GOODBYE_TIMEOUT, links.closed()).await;
    if context.stop(0, Some(STOP_TIMEOUT)).await.is_err() {
        tracing::warn!("agreement's tasks did not stop in time and were ended");
    }
}

/// Both ends of each channel, and the receiving end of state sync.
fn channels(directory: &Directory, inbound: Vec<Inbound>) -> Option<(Channels<LinkSender, LinkReceiver>, Inbound)> {
    let mut receivers = inbound.into_iter();
    let mut next =
        |channel: u8| Some((LinkSender::new(directory.clone(), channel), LinkReceiver::new(receivers.next()?)));
    let channels = Channels {
        votes: next(0)?,
        certificates: next(1)?,
        certificate_fetches: next(2)?,
        blocks: next(3)?,
        block_fetches: next(4)?,
        marks: next(5)?,
        batches: next(6)?,
        batch_fetches: next(7)?,
    };
    Some((channels, receivers.next()?))
}

/// Answers requests of peers that synchronise their state, one after the other: it is the lowest priority.
async fn answer_sync(
    context: commonware_runtime::tokio::Context,
    mut requests: Inbound,
    links: Links,
    host: Arc<dyn Host>,
) {
    while let Some((peer, request)) = requests.recv().await {
        let host = host.clone();
        let answer =
            context.child("answer").shared(true).spawn(move |_| async move { host.answer_sync(&peer, request) });
        if let Ok(Some(answer)) = answer.await {
            // A peer whose link is full asks again.
            links.try_send(&peer, SYNC_CHANNEL, answer);
        }
    }
}

/// Tells the lanes about every new connection, so that they send again what was under way on the old one, and those who watch about links that
/// came or went.
async fn tell_connections(links: Links, handle: ConsensusHandle, host: Arc<dyn Host>) {
    let mut changes = links.changes();
    // By peer, how often it connected and whether it is connected.
    let mut seen: BTreeMap<[u8; 32], (u64, bool)> = BTreeMap::new();
    loop {
        let look = |peer: PeerStatus| (peer.key, (peer.connects, peer.connected_since.is_some()));
        let now: BTreeMap<_, _> = links.status().into_iter().map(look).collect();
        for (key, (connects, connected)) in &now {
            let (connects_before, connected_before) = seen.remove(key).unwrap_or_default();
            let is_new = connects_before != *connects;
            if is_new {
                handle.connected(key);
            }
            if connected_before && (is_new || !connected) {
                host.observed(Observation::Peer { key: *key, connected: false });
            }
            if *connected && (is_new || !connected_before) {
                host.observed(Observation::Peer { key: *key, connected: true });
            }
        }
        // Whoever is left was taken out of the set of peers.
        for (key, (_, connected)) in seen {
            if connected {
                host.observed(Observation::Peer { key, connected: false });
            }
        }
        seen = now;
        if changes.changed().await.is_err() {
            return;
        }
    }
}
