//! The node: takes the lock, recovers, starts the threads in order, and stops them in order.
//!
//! Start: genesis and key, the lock of the data folder, logs (a torn tail is cut), recovery, then the pipeline from its end to its
//! beginning, and the network last. Stop: the network first; what is inside is verified, ordered, executed and committed; then the
//! threads end. A failure stops without draining: what was acknowledged is on disk.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use parking_lot::Mutex;
use tana_consensus::NodeHandle;
use tana_net::{Identity, Limits, ServerConfig, ServerError, TxServer};
use tana_store::{DataLock, LogThread, StoreError};
use tana_types::genesis::{Genesis, GenesisError};
use tana_types::header::BlockHeader;
use tana_types::key::PublicKey;
use thiserror::Error;

use crate::agreement_host::{Agreement, AgreementMaker, AgreementStart, PipelineHost};
use crate::checkpointer::Checkpointer;
use crate::config::{ConfigError, NodeConfig};
use crate::cores::CoreError;
use crate::evidence_store::EvidenceStore;
use crate::executor::Executor;
use crate::failure::Failure;
use crate::history::History;
use crate::indexer::{Indexer, IndexerParts};
use crate::intake::NodeIntake;
use crate::keyfile::{KeyFileError, load_key_file};
use crate::metrics::{NetworkCounters, NodeMetrics};
use crate::owner;
use crate::published::Published;
use crate::query::{NodeFacts, QueryService, READS_MAX};
use crate::recover::recover;
use crate::replay::{DataFolders, Progress, ReplayError};
use crate::sync::headers::LoggedChain;
use crate::sync::snapshot::SnapshotError;
use crate::sync::{Floor, SyncSide};
use crate::votes::VoteBook;
use crate::wiring::{ChainStanding, Wiring, WiringParts};

/// How long a clean stop waits for what is inside.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a clean stop waits for the other validators to list what is inside; what they do not is offered again after the next start.
const AGREED_DRAIN: Duration = Duration::from_secs(3);
/// Agreement's own files, below the data folder.
const AGREEMENT_FOLDER: &str = "consensus";
/// How often it looks.
const LOOK: Duration = Duration::from_millis(2);
/// What a thread that ended by itself means.
const STAGE_PANIC: &str = "a stage's thread ended by a panic; this is a defect of the node, please report it";
/// How long the network has to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// Why a node did not start, or stopped.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The genesis is not valid.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The key file is not valid.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The key is no validator of this chain.
    #[error(
        "the key {key} is not the validator of this genesis, which names {expected}; use that validator's key file or another genesis; a validator that was added later starts with --join"
    )]
    NotValidator {
        /// The key in the file.
        key: PublicKey,
        /// The validator in the genesis.
        expected: String,
    },
    /// Alone behind blocks that were agreed on.
    #[error(
        "the data in {0} belong to a validator that agrees on its blocks, but consensus.enabled is false: set it to true, or choose another \
         data folder"
    )]
    Agreed(PathBuf),
    /// More than one validator needs consensus.
    #[error(
        "this genesis names {0} validators, but consensus.enabled is false, with which a validator orders blocks by itself; set it to true"
    )]
    TooManyValidators(usize),
    /// Agreement did not start.
    #[error("agreement with the other validators cannot start: {0}")]
    Agreement(String),
    /// The data belongs to another validator.
    #[error(
        "the data folder {data} belongs to the validator {found}, but the key file holds {key}: give that validator's key file (--key), or a folder of its own (--data)"
    )]
    OtherValidator {
        /// The data folder.
        data: PathBuf,
        /// The key it was made with.
        found: String,
        /// The key given.
        key: PublicKey,
    },
    /// The data belongs to another chain.
    #[error(
        "the data folder {data} belongs to the chain {found}, but the genesis is that of {expected}; name another --data folder or the right genesis"
    )]
    OtherChain {
        /// The data folder.
        data: PathBuf,
        /// Its genesis hash.
        found: String,
        /// The genesis hash given.
        expected: String,
    },
    /// The disk refused something.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The folder of snapshots is in the way.
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    /// The network did not start.
    #[error(transparent)]
    Network(#[from] ServerError),
    /// The identity cannot be made.
    #[error(transparent)]
    Identity(#[from] tana_net::identity::IdentityError),
    /// A block could become final whose commit record does not fit a segment.
    #[error(
        "a block of {transactions} transactions may need a larger record than half a segment: set log.segment_mib to {needed_mib} or more, or \
         {lower} lower"
    )]
    Room {
        /// Transactions of the largest block.
        transactions: usize,
        /// MiB that a segment needs.
        needed_mib: u64,
        /// What may be set lower instead.
        lower: &'static str,
    },
    /// Own batches could be larger than any block.
    #[error(
        "ingest.batch_transactions is {transactions}, but a block holds {block} by the genesis' rules.block_transactions: set it to {block} or lower"
    )]
    Batch {
        /// Transactions of a batch.
        transactions: usize,
        /// Transactions of a block.
        block: usize,
    },
    /// Batches could expire while they wait.
    #[error(
        "ingest.pool_batches is {pool}, but may be at most half of the genesis' rules.batch_expiry_blocks, {expiry}"
    )]
    Expiry {
        /// Batches in existence.
        pool: u64,
        /// Blocks for which a batch may be listed.
        expiry: u64,
    },
    /// A core is not there.
    #[error(transparent)]
    Cores(#[from] CoreError),
    /// Ingest refused its settings.
    #[error(transparent)]
    Ingest(#[from] tana_ingest::ConfigError),
    /// The verify backend is not there.
    #[error("verify.backend asks for `{0}`, which this processor does not have; use \"auto\"")]
    Backend(&'static str),
    /// A thread or file of the system.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The node stopped by itself.
    #[error("the node stopped: {0}")]
    Failed(String),
}

/// What a person wants to know of a start.
#[derive(Debug, Clone)]
pub struct StartReport {
    /// The chain's name.
    pub chain: String,
    /// The genesis hash in hexadecimal.
    pub genesis_hash: String,
    /// The validator's key.
    pub validator: PublicKey,
    /// Where transactions are taken.
    pub listen: SocketAddr,
    /// The signature path.
    pub verify_backend: String,
    /// Why that one.
    pub verify_reason: String,
    /// The log writer.
    pub log_backend: String,
    /// Why that one.
    pub log_reason: String,
    /// The committed height that was recovered.
    pub height: u64,
    /// Blocks executed again at the start.
    pub replayed_blocks: u64,
    /// Whether a checkpoint was used.
    pub from_checkpoint: bool,
    /// Accounts.
    pub accounts: u64,
    /// Stage threads with their cores and stages.
    pub threads: Vec<String>,
    /// How long recovery took.
    pub recovery: Duration,
}

/// A running node.
pub struct Node {
    report: StartReport,
    agreement: Option<Box<dyn Agreement>>,
    evidence: Arc<EvidenceStore>,
    votes: Arc<VoteBook>,
    chain: Arc<LoggedChain>,
    intake: Arc<NodeIntake>,
    server: Arc<Mutex<Option<TxServer>>>,
    executor: Executor,
    checkpointer: Checkpointer,
    indexer: Option<Indexer>,
    log: LogThread,
    published: Arc<Published>,
    metrics: Arc<NodeMetrics>,
    failure: Arc<Failure>,
    idle: Box<dyn Fn() -> bool + Send>,
    _lock: DataLock,
}

impl Node {
    /// Starts a node; returns when it takes transactions. `progress` hears what a long start is doing.
    pub fn start(config: &NodeConfig, progress: Progress<'_>) -> Result<Self, NodeError> {
        Self::start_with(config, &crate::consensus::start, progress)
    }

    /// Starts a node whose blocks are agreed on by what `agreement` makes, when the configuration says that they are agreed on at all.
    pub fn start_with(
        config: &NodeConfig,
        agreement: AgreementMaker<'_>,
        progress: Progress<'_>,
    ) -> Result<Self, NodeError> {
        config.check()?;
        let genesis = Genesis::load(&config.genesis)?;
        let key = load_key_file(&config.key)?;
        let public_key = PublicKey(key.verifying_key().to_bytes());
        if !config.consensus.enabled {
            check_alone(&genesis, &public_key)?;
            // Blocks without certificates behind others with them would leave a chain that nobody can vote on again.
            if config.data.join(AGREEMENT_FOLDER).exists() {
                return Err(NodeError::Agreed(config.data.clone()));
            }
        }
        let identity = Identity::from_signing_key(&key)?;
        let lock = DataLock::acquire(&config.data)?;
        check_chain(config, &genesis)?;
        let has_owner = owner::is_named(&config.data, &public_key)?;
        let folders = DataFolders::new(&config.data);
        let failure = Arc::new(Failure::default());
        let mut wiring = Wiring::new(config, &genesis, key.clone(), failure.clone())?;
        let log = wiring.start_log(&folders)?;
        let checkpoint = crate::wiring::open_checkpoint(&folders)?;
        let started = Instant::now();
        let recovered = recover(&genesis, &public_key.0, &folders, &checkpoint, log.found(), progress)?;
        let recovery = started.elapsed();
        let has_checkpoint = recovered.from_checkpoint;
        let (height, replayed_blocks) = (recovered.replayer.height, recovered.replayed_blocks);
        if config.consensus.enabled && recovered.replayer.height == 0 {
            check_member(&genesis, &public_key)?;
        }
        if !has_owner {
            owner::name(&config.data, &public_key)?;
        }
        let sync = SyncSide::open(&config.data, &genesis, recovered.blocks.clone(), &recovered.replayer.state)?;
        let (checkpointer, feed, checkpoints) = Checkpointer::start(
            checkpoint,
            Duration::from_secs(config.checkpoint.interval_s),
            !has_checkpoint,
            sync.wishes(),
            sync.after_checkpoint(config.log.keep_heights),
            failure.clone(),
        )
        .map_err(system("start the checkpoint's thread"))?;
        let parts = wiring.prepare(recovered, feed, checkpoints, &folders)?;
        let WiringParts { intake, published, blocks, directory, metrics, questions, ends, standing, pipeline } = parts;
        let server_config = ServerConfig {
            limits: limits(config),
            threads: config.ingest.threads,
            ..ServerConfig::new(config.listen, identity)
        };
        let server = TxServer::start(server_config, intake.clone())?;
        let (answers, listen) = (server.answers(), server.local_addr());
        let server = Arc::new(Mutex::new(Some(server)));
        let plan = wiring.build(pipeline, &answers)?;
        metrics.set_stages(plan.counters);
        metrics.set_network(network_reader(server.clone()));
        let idle = plan.idle;
        let report = StartReport {
            chain: genesis.chain.clone(),
            genesis_hash: hex::encode(genesis.hash()),
            validator: wiring.validator(),
            listen,
            verify_backend: wiring.backend.to_string(),
            verify_reason: wiring.backend_reason.clone(),
            log_backend: log.backend_name().to_owned(),
            log_reason: log.reason().to_owned(),
            height,
            replayed_blocks,
            from_checkpoint: has_checkpoint,
            accounts: published.accounts.load(Ordering::Relaxed).saturating_sub(1),
            threads: plan.description,
            recovery,
        };
        let executor = Executor::start(plan.threads, wiring.clock, config.threads.spin)
            .map_err(system("start the stages' threads"))?;
        let indexer = match config.log.index {
            true => Some(
                Indexer::start(IndexerParts {
                    logs: folders.logs.clone(),
                    tables: folders.tables.clone(),
                    chain: genesis.to_chain(),
                    directory,
                    blocks: blocks.clone(),
                    published: published.clone(),
                })
                .map_err(system("start the indexer's thread"))?,
            ),
            false => None,
        };
        let chain = Arc::new(LoggedChain { logs: folders.logs.clone(), blocks: blocks.clone() });
        let history = Arc::new(History {
            logs: folders.logs,
            tables: folders.tables,
            chain: genesis.to_chain(),
            blocks,
            published: published.clone(),
        });
        let evidence = Arc::new(EvidenceStore::open(&config.data).map_err(system("open the file of evidence"))?);
        let service = Arc::new(sync.service(published.clone()));
        let host = Arc::new(PipelineHost::new(ends, history.clone(), evidence.clone(), Some(service), failure.clone()));
        let votes = host.votes().clone();
        let facts = NodeFacts {
            chain: report.chain.clone(),
            genesis_hash: report.genesis_hash.clone(),
            genesis: std::fs::read_to_string(&config.genesis).map_err(system("read the genesis file again"))?,
            validator: report.validator.to_string(),
            verify_backend: report.verify_backend.clone(),
            log_backend: report.log_backend.clone(),
        };
        let agreement = match config.consensus.enabled {
            true => Some(start_agreement(config, genesis, key, standing, host, agreement)?),
            false => None,
        };
        let handle = agreement.as_ref().and_then(|agreement| agreement.handle());
        let queries = QueryService {
            facts,
            published: published.clone(),
            questions,
            history,
            reads: Arc::new(tokio::sync::Semaphore::new(READS_MAX)),
            metrics: metrics.clone(),
            agreement: handle.map(|handle| handle.core().clone()),
        };
        intake.open(answers, Arc::new(queries));
        Ok(Self {
            agreement,
            evidence,
            votes,
            chain,
            report,
            intake,
            server,
            executor,
            checkpointer,
            indexer,
            log,
            published,
            metrics,
            failure,
            idle,
            _lock: lock,
        })
    }

    /// What the start found and chose.
    pub fn report(&self) -> &StartReport {
        &self.report
    }

    /// Its counters.
    pub fn metrics(&self) -> &Arc<NodeMetrics> {
        &self.metrics
    }

    /// Its heights.
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// The way to agreement, when blocks are agreed on.
    pub fn consensus(&self) -> Option<NodeHandle> {
        self.agreement.as_ref()?.handle()
    }

    /// Proofs against validators.
    pub fn evidence(&self) -> &Arc<EvidenceStore> {
        &self.evidence
    }

    /// Who voted for which of the last blocks.
    pub fn votes(&self) -> &Arc<VoteBook> {
        &self.votes
    }

    /// Its committed headers and their certificates.
    pub fn chain(&self) -> &Arc<LoggedChain> {
        &self.chain
    }

    /// Waits for a failure, at most `timeout`.
    pub fn wait_for_failure(&self, timeout: Duration) -> Option<String> {
        self.is_broken();
        if let Some(reason) = self.agreement.as_ref().and_then(|agreement| agreement.failure()) {
            self.failure.tell(reason);
        }
        self.failure.wait(timeout)
    }

    /// Stops: takes nothing more in, finishes what is inside, ends the threads.
    pub fn stop(mut self) -> Result<(), NodeError> {
        if let Some(server) = self.server.lock().as_ref() {
            server.stop_reading();
        }
        let deadline = Instant::now() + DRAIN;
        // What the others still list is listed; whether they do is theirs to say.
        let patience = if self.agreement.is_some() { AGREED_DRAIN } else { DRAIN };
        self.drain(patience);
        if let Some(agreement) = self.agreement.take() {
            agreement.stop();
        }
        // Empty blocks come at any time, so none is on its way only once order has said that it sends no more.
        self.published.close_order();
        while !self.is_broken() && !self.published.has_run_dry() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        if !self.is_broken() && !self.published.has_run_dry() {
            let (committed, in_flight) = (self.published.head().0, self.published.blocks_in_flight());
            tracing::warn!(committed, in_flight, "the stop waits no longer; the next start finishes what is final");
        }
        let server = self.server.lock().take();
        if let Some(server) = server {
            server.shutdown(GOODBYE);
        }
        if !self.executor.stop() {
            self.failure.tell(STAGE_PANIC);
        }
        if let Some(indexer) = self.indexer.take() {
            indexer.join();
        }
        self.checkpointer.join();
        // The intake and the stages held the last ends of the log's channel, so its thread writes what waits and ends.
        drop(self.intake);
        let log = self.log.join();
        match self.failure.reason() {
            Some(reason) => Err(NodeError::Failed(reason)),
            None => Ok(log?),
        }
    }

    /// Whether nothing inside moves any more: a failure was told, or a stage's thread is gone.
    fn is_broken(&self) -> bool {
        if self.executor.has_failed() {
            self.failure.tell(STAGE_PANIC);
        }
        self.failure.is_told()
    }

    /// Waits until nothing is inside, at most so long.
    fn drain(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while !self.is_broken() && Instant::now() < deadline {
            self.intake.flush_all();
            if (self.idle)() {
                break;
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Starts agreement where the chain stands.
fn start_agreement(
    config: &NodeConfig,
    genesis: Genesis,
    key: SigningKey,
    standing: ChainStanding,
    host: Arc<PipelineHost>,
    make: AgreementMaker<'_>,
) -> Result<Box<dyn Agreement>, NodeError> {
    let (mut base, mut certificate) = (standing.base, None);
    if base.is_none() && standing.committed > 0 {
        // The state came from others and no block has followed yet: the floor of the sync is the last committed block.
        let floor = Floor::load(&config.data).map_err(system("read where the state sync ended"))?;
        certificate = floor.as_ref().map(|floor| floor.certificate.clone());
        base = floor.map(|floor| floor.header);
    }
    let tip = standing.above.last().or(base.as_ref()).map_or(0, |tip| tip.height);
    let boundary = match tip - tip % genesis.rules.epoch_blocks.max(1) {
        0 => Some(genesis.hash()),
        boundary => {
            let known = standing.above.iter().chain(&base).find(|header| header.height == boundary);
            known.map(BlockHeader::hash).or_else(|| host.block_hash(boundary))
        }
    };
    let start = AgreementStart {
        config: config.clone(),
        genesis,
        key,
        folder: config.data.join(AGREEMENT_FOLDER),
        base,
        marks: standing.marks,
        floors: standing.floors,
        executed: standing.executed,
        sets: standing.sets,
        above: standing.above,
        boundary,
        certificate,
    };
    make(start, host).map_err(NodeError::Agreement)
}

pub(crate) fn system(action: &'static str) -> impl FnOnce(std::io::Error) -> NodeError {
    move |source| NodeError::System { action, source }
}

fn check_alone(genesis: &Genesis, key: &PublicKey) -> Result<(), NodeError> {
    if genesis.validators.len() != 1 {
        return Err(NodeError::TooManyValidators(genesis.validators.len()));
    }
    check_member(genesis, key)
}

/// At the genesis only its validators may start; who was added later has synced, and so stands above it.
fn check_member(genesis: &Genesis, key: &PublicKey) -> Result<(), NodeError> {
    match genesis.validators.iter().any(|validator| validator.key == *key) {
        true => Ok(()),
        false => Err(NodeError::NotValidator { key: *key, expected: genesis.validators[0].key.to_string() }),
    }
}

/// The data folder remembers its chain, so that a wrong genesis is noticed before anything is read.
fn check_chain(config: &NodeConfig, genesis: &Genesis) -> Result<(), NodeError> {
    let expected = hex::encode(genesis.hash());
    match owner::chain_of(&config.data).map_err(system("read the chain's name in the data folder"))? {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(NodeError::OtherChain { data: config.data.clone(), found, expected }),
        None => {
            owner::set_chain(&config.data, &expected).map_err(system("write the chain's name into the data folder"))
        }
    }
}

fn limits(config: &NodeConfig) -> Limits {
    Limits {
        connections_max: config.ingest.connections_max,
        connections_per_ip_max: config.ingest.connections_per_ip_max,
        ..Limits::default()
    }
}

/// Reads the network's counters as long as the server runs.
fn network_reader(server: Arc<Mutex<Option<TxServer>>>) -> impl Fn() -> NetworkCounters + Send + Sync + 'static {
    move || {
        let Some(snapshot) = server.lock().as_ref().map(TxServer::metrics) else { return NetworkCounters::default() };
        let refused = snapshot.refused.iter().map(|(reason, count)| (format!("refused_{reason}"), *count));
        let closed = snapshot.closed.iter().map(|(code, count)| (format!("closed_{}", code.meaning()), *count));
        NetworkCounters {
            connections: snapshot.connections,
            frames: snapshot.frames,
            bytes: snapshot.bytes,
            answers_lost: snapshot.answers_lost,
            refused_and_closed: refused.chain(closed).filter(|(_, count)| *count > 0).collect(),
        }
    }
}
