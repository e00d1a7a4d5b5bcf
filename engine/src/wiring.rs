//! Wires the pipeline: channels, threads' bells and stages, from what recovery found.
//!
//! The channels are made first, because the log thread's output and the intake need their ends; the stages follow when the network's
//! hub of answers exists.

mod makers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ed25519_dalek::SigningKey;
use tana_accounts::Directory;
use tana_execute::Outcome;
use tana_ingest::{Admission, AdmissionConfig, BatchLimits};
use tana_lane::Lane;
use tana_net::AnswerHub;
use tana_order::{ExecutedRoots, LaneFloors, Orderer, SealedBatch, Solo, SoloConfig};
use tana_store::checkpoint::MAP_BYTES_DEFAULT;
use tana_store::{Checkpoint, CheckpointMode, Durable, DurableWriter, LogBackend, LogConfig, LogThread};
use tana_types::batch::Batch;
use tana_types::genesis::Genesis;
use tana_types::header::BlockHeader;
use tana_types::key::PublicKey;
use tana_types::transaction::Chain;
use tana_verify::Backend;

use crate::agreement::{AgreementInput, AgreementPort, Member};
use crate::batch_places::BatchPlaces;
use crate::block_index::BlockIndex;
use crate::channel::{Bell, Inlet, Outlet, channel};
use crate::checkpointer::{CheckpointFeed, CheckpointMessage};
use crate::clock::Clock;
use crate::config::{LogWriter, NodeConfig, VerifyBackend};
use crate::cores;
use crate::executor::ThreadPlan;
use crate::failure::Failure;
use crate::intake::{IntakeParts, NodeIntake};
use crate::layout::{Role, ThreadLayout, lay_out};
use crate::metrics::NodeMetrics;
use crate::node::NodeError;
use crate::pipeline::agreed::{AGREEMENT_INPUTS_MAX, AgreedParts};
use crate::pipeline::commit::DurableBlock;
use crate::pipeline::execute::{StateQuestion, fixed_sets};
use crate::pipeline::held::HeldBatches;
use crate::pipeline::remote::{Buffers, REMOTE_IN_FLIGHT_MAX, RemoteBatch, RemoteGate};
use crate::pipeline::reseal::ResealGate;
use crate::pipeline::{BLOCKS_IN_FLIGHT_MAX, BatchMark, ExecutedBlock, FinalBlock, LOG_NAMES, LogEntry};
use crate::pool::Pool;
use crate::published::Published;
use crate::query::QUESTIONS_MAX;
use crate::recover::{Recovered, marks_of};
use crate::replay::{DataFolders, Replayer};
use crate::room;
use crate::sources::Sources;
use crate::stage::{Stage, StageCounters};
use makers::StageMakers;

/// Blocks that wait between two stages: those in flight, and those that recovery found.
const BLOCK_ROOM: usize = 2 * BLOCKS_IN_FLIGHT_MAX;

/// Opens the checkpoint's folder.
pub fn open_checkpoint(folders: &DataFolders) -> Result<Checkpoint, NodeError> {
    Ok(Checkpoint::open(&folders.checkpoint, CheckpointMode::ReadWrite, MAP_BYTES_DEFAULT)?)
}

/// Both ends of a channel.
type Pair<T> = (Outlet<T>, Inlet<T>);

/// The channels of a pipeline.
struct Channels {
    verify: Pair<Batch>,
    lane: Pair<Batch>,
    log: Pair<LogEntry>,
    batches: Pair<SealedBatch>,
    blocks: Pair<FinalBlock>,
    executed: Pair<ExecutedBlock>,
    roots: Pair<ExecutedRoots>,
    committed: Pair<DurableBlock>,
    outcomes: Pair<Box<Outcome>>,
    questions: Pair<StateQuestion>,
    remote: Pair<RemoteBatch>,
    inputs: Pair<AgreementInput>,
}

/// Agreement's ends of the pipeline.
#[derive(Clone)]
pub struct AgreementEnds {
    /// What the stages tell.
    pub port: Arc<AgreementPort>,
    /// The way in of other validators' batches.
    pub remote: Arc<RemoteGate>,
    /// What the order stage hears.
    pub inputs: Outlet<AgreementInput>,
    /// Where batches lie that no committed block lists yet.
    pub places: Arc<BatchPlaces>,
}

/// The beginning: what is known before recovery.
pub struct Wiring {
    /// The engine's clock.
    pub clock: Clock,
    /// The signature path.
    pub backend: Backend,
    /// Why that one.
    pub backend_reason: String,
    config: NodeConfig,
    genesis: Genesis,
    chain: Chain,
    key: SigningKey,
    layout: Vec<(ThreadLayout, Arc<Bell>)>,
    channels: Channels,
    ends: AgreementEnds,
    failure: Arc<Failure>,
}

/// What the node keeps beside the threads.
pub struct WiringParts {
    /// Stands behind the network.
    pub intake: Arc<NodeIntake>,
    /// Heights and totals.
    pub published: Arc<Published>,
    /// Where blocks lie.
    pub blocks: Arc<BlockIndex>,
    /// Accounts by key.
    pub directory: Arc<Directory>,
    /// Counters.
    pub metrics: Arc<NodeMetrics>,
    /// The way to the execute stage.
    pub questions: Outlet<StateQuestion>,
    /// Agreement's ends.
    pub ends: AgreementEnds,
    /// What agreement must know of the chain.
    pub standing: ChainStanding,
    /// What becomes the stages.
    pub pipeline: Pipeline,
}

/// Where the chain stands, as agreement must know it.
pub struct ChainStanding {
    /// The last committed height.
    pub committed: u64,
    /// Its header; none at the genesis, and behind a state sync until a block was committed.
    pub base: Option<BlockHeader>,
    /// The lanes' marks after it, by author.
    pub marks: BTreeMap<[u8; 32], u64>,
    /// What is left of the lanes of authors that left the set before.
    pub floors: LaneFloors,
    /// The roots of heights up to it that later headers may attest.
    pub executed: Vec<ExecutedRoots>,
    /// The validator sets that are fixed behind it.
    pub sets: Vec<(u64, Vec<Member>)>,
    /// The headers of final blocks above it.
    pub above: Vec<BlockHeader>,
}

/// Threads ready to start.
pub struct Plan {
    /// The threads.
    pub threads: Vec<ThreadPlan>,
    /// Counters by stage.
    pub counters: Vec<(&'static str, Arc<StageCounters>)>,
    /// Whether nothing is inside.
    pub idle: Box<dyn Fn() -> bool + Send>,
    /// A line per thread, for people.
    pub description: Vec<String>,
}

impl Wiring {
    /// Chooses backend and layout and makes the channels.
    pub fn new(
        config: &NodeConfig,
        genesis: &Genesis,
        key: SigningKey,
        failure: Arc<Failure>,
    ) -> Result<Self, NodeError> {
        room::check_room(config, genesis)?;
        let (backend, backend_reason) = choose_backend(config.verify.backend)?;
        let cores = cores::layout(&config.threads.cores)?;
        let layout = lay_out(&cores, config.verify.threads);
        let layout: Vec<_> = layout.into_iter().map(|thread| (thread, Arc::new(Bell::default()))).collect();
        let channels = Channels::new(&layout, config.ingest.pool_batches);
        let clock = Clock::new();
        let ends = AgreementEnds {
            port: Arc::default(),
            remote: Arc::new(RemoteGate::new(channels.remote.0.clone(), clock)),
            inputs: channels.inputs.0.clone(),
            places: Arc::default(),
        };
        Ok(Self {
            clock,
            backend,
            backend_reason,
            config: config.clone(),
            chain: genesis.to_chain(),
            genesis: genesis.clone(),
            key,
            layout,
            channels,
            ends,
            failure,
        })
    }

    /// The validator's key.
    pub fn validator(&self) -> PublicKey {
        PublicKey(self.key.verifying_key().to_bytes())
    }

    /// Opens the logs and starts their thread; what becomes durable goes to the next stage.
    pub fn start_log(&mut self, folders: &DataFolders) -> Result<LogThread, NodeError> {
        let config = LogConfig {
            segment_bytes: self.config.log.segment_mib << 20,
            record_bytes_max: room::record_bytes_max(self.config.log.segment_mib),
            backend: match self.config.log.writer {
                LogWriter::Auto => LogBackend::Auto,
                LogWriter::Plain => LogBackend::Plain,
                LogWriter::Uring => LogBackend::Uring,
            },
            ..LogConfig::new(&folders.logs, &LOG_NAMES)
        };
        let (batches, blocks, committed) =
            (self.channels.batches.0.clone(), self.channels.blocks.0.clone(), self.channels.committed.0.clone());
        let output = move |durable: Durable<LogEntry>| {
            let position = durable.position.to_u64();
            match durable.write {
                LogEntry::Batch(batch) => batches.send(SealedBatch { position, ..batch }),
                LogEntry::Order(entry) => {
                    let (block, batch_mark) = (entry.block, entry.batch_mark);
                    blocks.send(FinalBlock { block, order_position: position, batch_mark })
                }
                LogEntry::Commit(entry) => committed.send(DurableBlock { entry, block_position: position }),
            };
        };
        let failure = self.failure.clone();
        let input = self.channels.log.1.receiver().clone();
        Ok(LogThread::start(config, input, output, move |error| failure.tell(error.to_string()))?)
    }

    /// Makes everything but the stages from what recovery found.
    pub fn prepare(
        &self,
        recovered: Recovered,
        feed: CheckpointFeed,
        checkpoints: Outlet<CheckpointMessage>,
        folders: &DataFolders,
    ) -> Result<WiringParts, NodeError> {
        let Recovered { replayer, tip, final_blocks, withdrawn, batch_mark, blocks, applied, .. } = recovered;
        let (marks, spare_batches) = (recovered.marks, recovered.spare_batches);
        let standing = ChainStanding {
            committed: replayer.height,
            base: recovered.base_header,
            marks: marks_of(&replayer.state),
            floors: replayer.state.progress().lane_floors.clone(),
            executed: replayer.attested.roots().copied().collect(),
            sets: fixed_sets(&replayer.state, replayer.height),
            above: final_blocks.iter().map(|block| block.block.header.clone()).collect(),
        };
        let pool = Arc::new(Pool::new(self.config.ingest.pool_batches));
        let buffers = Arc::new(Buffers::new(self.validator().0, pool.clone()));
        let directory = replayer.accounts.clone();
        let roots = replayer.attested.last().copied();
        let state_root = roots.map_or([0; 32], |roots| roots.state_root);
        let accounts = u64::from(replayer.state.account_count());
        let published = Arc::new(Published::new(replayer.height, state_root, applied, accounts));
        published.proposed(tip.height);
        published.last_timestamp_ms.store(tip.timestamp_ms, Ordering::Relaxed);
        let unfinished = final_blocks.iter().flat_map(|block| &block.block.batches).chain(&spare_batches);
        let unfinished = unfinished.map(|sealed| &sealed.batch).chain(&withdrawn);
        let unfinished: u64 = unfinished.filter(|batch| buffers.is_own(batch)).map(|batch| batch.len() as u64).sum();
        published.waiting.store(unfinished, Ordering::Release);
        let seeds: [u64; 4] = rand::random();
        let admission = AdmissionConfig {
            creations_per_second: self.config.ingest.creations_per_s.min(u64::from(u32::MAX)) as u32,
            ..AdmissionConfig::with_seeds(seeds)
        };
        let admission = Arc::new(Admission::new(&admission, &self.chain, &self.genesis.rules, directory.clone())?);
        let sources = Arc::new(Sources::default());
        let parts = IntakeParts {
            admission: admission.clone(),
            pool: pool.clone(),
            verify: self.channels.verify.0.clone(),
            sources: sources.clone(),
            published: published.clone(),
        };
        let ingest = &self.config.ingest;
        let limits = BatchLimits { transactions: ingest.batch_transactions, body_bytes: ingest.batch_kib << 10 };
        let intake = Arc::new(NodeIntake::new(parts, limits, ingest.threads, self.clock)?);
        let bad_signatures = Arc::new(AtomicU64::new(0));
        let metrics = Arc::new(NodeMetrics::new(
            self.clock,
            published.clone(),
            admission.clone(),
            pool.clone(),
            bad_signatures.clone(),
        ));
        let gate = Arc::new(ResealGate::with_withdrawn(withdrawn));
        let order = match self.config.consensus.enabled {
            true => {
                for sealed in final_blocks.iter().flat_map(|block| &block.block.batches) {
                    self.ends.places.insert(sealed.digest, sealed.position);
                }
                let held = HeldBatches::new(self.validator().0, tip.height, marks, batch_mark);
                OrderParts::Agreed(Box::new(AgreedParts {
                    held,
                    spare: spare_batches,
                    port: self.ends.port.clone(),
                    places: self.ends.places.clone(),
                    buffers: buffers.clone(),
                    remote: self.ends.remote.clone(),
                    gate: gate.clone(),
                    published: published.clone(),
                    failure: self.failure.clone(),
                }))
            }
            false => OrderParts::Alone(self.orderer(&replayer, tip, spare_batches), batch_mark),
        };
        let pipeline = Pipeline {
            replayer,
            order,
            final_blocks,
            lane: Lane::new(
                self.chain,
                self.key.clone(),
                batch_mark.own_sequence,
                self.genesis.rules.batch_expiry_blocks,
            ),
            feed,
            checkpoints,
            durable: DurableWriter::open(&folders.logs)?,
            last_batch_position: recovered.last_batch_position,
            gate,
            buffers,
            places: self.ends.places.clone(),
            intake: intake.clone(),
            admission,
            pool,
            sources,
            bad_signatures,
            published: published.clone(),
            blocks: blocks.clone(),
            directory: directory.clone(),
        };
        let questions = self.channels.questions.0.clone();
        let ends = self.ends.clone();
        Ok(WiringParts { intake, published, blocks, directory, metrics, questions, ends, standing, pipeline })
    }

    fn orderer(&self, replayer: &Replayer, tip: tana_order::Tip, spare: Vec<SealedBatch>) -> Box<dyn Orderer> {
        let config = SoloConfig {
            proposer: self.validator().0,
            block_transactions: self.config.order.block_transactions,
            block_interval_ns: self.config.order.block_interval_ms * 1_000_000,
            empty_interval_ns: self.config.order.empty_interval_ms * 1_000_000,
            lag_blocks_max: self.genesis.rules.lag_blocks_max,
            epoch_blocks: self.genesis.rules.epoch_blocks,
        };
        let nothing =
            ExecutedRoots { height: 0, state_root: [0; 32], receipts_root: [0; 32], validator_set_hash: [0; 32] };
        // Recovery always leaves the last height's roots.
        let mut solo = Solo::new(config, tip, replayer.attested.last().copied().unwrap_or(nothing));
        for batch in spare {
            solo.offer(batch);
        }
        Box::new(solo)
    }

    /// Makes the stages and lays them out on their threads.
    pub fn build(&self, pipeline: Pipeline, hub: &AnswerHub) -> Result<Plan, NodeError> {
        let idle = pipeline.idle();
        let mut makers = StageMakers::new(self, pipeline, hub)?;
        let (mut threads, mut counters, mut description) = (Vec::new(), Vec::new(), Vec::new());
        counters.push(("ingest", makers.ingest_counters.clone()));
        for (layout, bell) in &self.layout {
            let mut stages: Vec<Box<dyn Stage>> = Vec::new();
            for role in &layout.roles {
                if let Some(stage) = makers.make(*role, self, hub) {
                    stages.push(stage);
                }
            }
            let names: Vec<_> = stages.iter().map(|stage| stage.name()).collect();
            description.push(format!("{} on core {}: {}", layout.name, layout.core, names.join(", ")));
            counters.extend(stages.iter().map(|stage| (stage.name(), stage.counters().clone())));
            threads.push(ThreadPlan {
                name: layout.name.clone(),
                core: self.config.threads.pin.then_some(layout.core),
                bell: bell.clone(),
                stages,
            });
        }
        let rank = |name: &str| STAGE_ORDER.iter().position(|other| *other == name).unwrap_or(usize::MAX);
        counters.retain(|(name, _)| *name != "flush");
        counters.sort_by_key(|(name, _)| rank(name));
        Ok(Plan { threads, counters, idle, description })
    }
}

/// The order in which stages are shown.
const STAGE_ORDER: [&str; 7] = ["ingest", "verify", "lane", "order", "execute", "root", "commit"];

impl Channels {
    fn new(layout: &[(ThreadLayout, Arc<Bell>)], batches: usize) -> Self {
        let bells = |role: Role| -> Vec<Arc<Bell>> {
            layout.iter().filter(|(thread, _)| thread.roles.contains(&role)).map(|(_, bell)| bell.clone()).collect()
        };
        Self {
            verify: channel(batches, bells(Role::Verify)),
            lane: channel(batches, bells(Role::Lane)),
            // Twice what can be on its way: a thread that sends here may be the one that takes there, so that both must never be full.
            log: channel(2 * batches + REMOTE_IN_FLIGHT_MAX + BLOCK_ROOM, Vec::new()),
            batches: channel(2 * batches + REMOTE_IN_FLIGHT_MAX, bells(Role::Order)),
            blocks: channel(BLOCK_ROOM, bells(Role::Execute)),
            executed: channel(BLOCK_ROOM, bells(Role::Root)),
            roots: channel(BLOCK_ROOM, bells(Role::Order)),
            committed: channel(BLOCK_ROOM, bells(Role::Commit)),
            outcomes: channel(BLOCK_ROOM, Vec::new()),
            questions: channel(QUESTIONS_MAX, bells(Role::Execute)),
            remote: channel(REMOTE_IN_FLIGHT_MAX, bells(Role::Verify)),
            inputs: channel(AGREEMENT_INPUTS_MAX, bells(Role::Order)),
        }
    }
}

fn choose_backend(wanted: VerifyBackend) -> Result<(Backend, String), NodeError> {
    let (detected, reason) = Backend::detect();
    let (backend, name) = match wanted {
        VerifyBackend::Auto => return Ok((detected, reason.to_owned())),
        VerifyBackend::Ifma => (Backend::Ifma, "ifma"),
        VerifyBackend::Portable => (Backend::Portable, "portable"),
        VerifyBackend::Reference => (Backend::Reference, "reference"),
    };
    match backend.is_available() {
        true => Ok((backend, "verify.backend asks for it".to_owned())),
        false => Err(NodeError::Backend(name)),
    }
}

/// Who decides the order of batches.
enum OrderParts {
    /// This validator alone.
    Alone(Box<dyn Orderer>, BatchMark),
    /// The validators together.
    Agreed(Box<AgreedParts>),
}

/// What becomes the stages.
pub struct Pipeline {
    replayer: Replayer,
    order: OrderParts,
    final_blocks: Vec<FinalBlock>,
    lane: Lane,
    feed: CheckpointFeed,
    checkpoints: Outlet<CheckpointMessage>,
    durable: DurableWriter,
    last_batch_position: u64,
    gate: Arc<ResealGate>,
    buffers: Arc<Buffers>,
    places: Arc<BatchPlaces>,
    intake: Arc<NodeIntake>,
    admission: Arc<Admission>,
    pool: Arc<Pool>,
    sources: Arc<Sources>,
    bad_signatures: Arc<AtomicU64>,
    published: Arc<Published>,
    blocks: Arc<BlockIndex>,
    directory: Arc<Directory>,
}

impl Pipeline {
    fn idle(&self) -> Box<dyn Fn() -> bool + Send> {
        let (intake, published) = (self.intake.clone(), self.published.clone());
        Box::new(move || {
            intake.batches_sent() == published.lane_batches.load(Ordering::Acquire)
                && published.waiting.load(Ordering::Acquire) == 0
                && published.blocks_in_flight() == 0
        })
    }
}
