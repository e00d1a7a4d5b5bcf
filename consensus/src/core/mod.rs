//! Agreement's core, generic over the world that it runs in: the runtime (threads, clock, storage, randomness) and the network.
//!
//! The same code runs in a validator, on the library's tokio runtime over our links ([`crate::Consensus`]), and in tests and the simulation,
//! on the library's deterministic runtime over its simulated network. Nothing here names a clock, a socket or a file of the real world.
//!
//! # How to drive it
//! 1. Have a runtime context `E` (an [`Environment`]; the deterministic `Context` is one), and for each of [`Channels`] a pair of sender and
//!    receiver of the library's p2p traits, a `Blocker`, and a `Manager` of peers (the simulated network's `oracle.manager()`).
//! 2. Implement [`crate::Host`] and a [`crate::RecordStore`]. Both survive restarts as far as the simulated disk does.
//! 3. Call [`start`] with a [`CoreConfig`] and a [`crate::ChainStart`]. It returns a [`ConsensusHandle`]: tell it events.
//! 4. To crash the validator, abort the task that called [`start`] (all of its tasks are that task's children) and start again from what the host
//!    kept, with the same `prefix`.
//!
//! # Tasks
//! | task | what |
//! |---|---|
//! | simplex (library) | votes and certificates of the running epoch, from [`conductor`] |
//! | marshal, buffer, resolver (library) | blocks: broadcast, delivery in order, back-fill |
//! | [`deliver`] | finalized blocks to the host |
//! | [`lanes`], [`intake`], [`fetch`] | batches, marks, requests |
//! | three multiplexers (library) | one sub-channel per epoch |

pub mod block;
pub mod keys;
pub mod scheme;

mod application;
mod conductor;
mod deliver;
mod fetch;
mod guard;
mod heights;
mod intake;
mod lanes;
mod observer;
mod shared;
mod store;

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use commonware_broadcast::buffered;
use commonware_consensus::marshal::core::Actor;
use commonware_consensus::marshal::resolver::p2p as resolver;
use commonware_consensus::marshal::standard::Inline;
use commonware_consensus::marshal::{Identifier, Start};
use commonware_consensus::simplex::Floor;
use commonware_consensus::types::Height;
use commonware_p2p::utils::mux::{Builder as _, Muxer};
use commonware_p2p::{Blocker, Manager, Receiver, Sender};
use commonware_parallel::Sequential;
use commonware_runtime::{Clock, Metrics, Spawner, Storage};
use commonware_utils::NonZeroDuration;
use rand::CryptoRng;
use tana_lane::{LaneBook, LaneLimits};
use tana_order::{Chain, ChainRules, StartPoint, StartTip};
use tana_types::Hash;
use thiserror::Error;

use self::application::Application;
use self::block::{Block, BlockConfig};
use self::conductor::Conductor;
use self::deliver::Delivery;
use self::fetch::Answers;
use self::guard::Guard;
pub use self::heights::Epochs;
use self::intake::Intake;
use self::keys::{Keyring, PublicKey};
use self::lanes::Lanes;
use self::scheme::Schemes;
use self::shared::{Parts, Shared};
use crate::api::{ChainStart, ConsensusStatus, Event, Host};
use crate::certificate;
use crate::record::RecordStore;

/// Blocks of one sender that the broadcast buffer keeps: those of the views that may still be decided.
const BLOCKS_PER_SENDER: usize = 16;

/// A runtime: clock, tasks, storage, randomness, metrics.
pub trait Environment: Clock + CryptoRng + Spawner + Storage + Metrics + Send + Sync + 'static {}
impl<T: Clock + CryptoRng + Spawner + Storage + Metrics + Send + Sync + 'static> Environment for T {}

/// How long agreement waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a leader's proposal.
    pub leader: Duration,
    /// For a view to be decided; above `leader`.
    pub certification: Duration,
    /// Between two votes to skip the same view.
    pub retry: Duration,
    /// Silence of a leader after which its views are skipped at once; above `certification` and `retry`.
    pub skip: Duration,
    /// For the answer to a request for a certificate or block.
    pub fetch: NonZeroDuration,
    /// Before such a request is made again.
    pub fetch_retry: Duration,
}

impl Timeouts {
    /// All of them from the leader's, which is at least 1 millisecond.
    pub fn from_leader(leader: Duration) -> Self {
        let leader = leader.max(Duration::from_millis(1));
        // A leader's time-out is above 0, and so is its half when it is at least 2 nanoseconds.
        #[allow(clippy::expect_used)]
        let fetch = NonZeroDuration::new(leader).expect("above 0");
        Self {
            leader,
            certification: leader * 2,
            retry: leader,
            skip: leader * 4,
            fetch,
            fetch_retry: leader / 10,
        }
    }
}

/// What one validator's core is set up with.
#[derive(Clone)]
pub struct CoreConfig {
    /// The validator's key.
    pub key: ed25519_dalek::SigningKey,
    /// The chain.
    pub genesis_hash: Hash,
    /// The rules of blocks.
    pub rules: ChainRules,
    /// Bounds of lanes.
    pub lanes: LaneLimits,
    /// Times.
    pub timeouts: Timeouts,
    /// Heights that the library's own store keeps for peers that were away; 0 keeps all.
    pub keep_heights: u64,
    /// What the names of this validator's storage partitions begin with: letters, digits, `-`, `_`.
    pub prefix: String,
    /// How far the validator's wall clock is off, milliseconds; for simulations.
    pub clock_offset_ms: i64,
}

/// A pair of sender and receiver for each channel.
pub struct Channels<S, R> {
    /// 0: votes.
    pub votes: (S, R),
    /// 1: certificates.
    pub certificates: (S, R),
    /// 2: requests for certificates, and answers.
    pub certificate_fetches: (S, R),
    /// 3: blocks.
    pub blocks: (S, R),
    /// 4: requests for blocks, and answers.
    pub block_fetches: (S, R),
    /// 5: marks of lanes.
    pub marks: (S, R),
    /// 6: sealed batches.
    pub batches: (S, R),
    /// 7: requests for batches, and answers.
    pub batch_fetches: (S, R),
}

/// Why agreement cannot start or go on.
#[derive(Debug, Error)]
pub enum StartError {
    /// The storage failed.
    #[error("agreement's storage failed: {0}; check the disk, and restore the folder `consensus` if it is damaged")]
    Storage(String),
    /// The voting record cannot be read or written.
    #[error("{0}; without it this validator cannot know whether it has voted, so check the disk and the rights of the folder")]
    Record(String),
    /// The voting record is damaged.
    #[error("the voting record is damaged; restore it, or let a new key join")]
    RecordDamaged,
    /// A write of the guard was interrupted.
    #[error("the guard of votes was interrupted while it wrote; start the node again")]
    GuardClosed,
    /// A validator set holds something that is no key.
    #[error("the validator set of epoch {epoch} holds something that is no key, or a key twice")]
    Set {
        /// Of this epoch.
        epoch: u64,
    },
    /// The set of the epoch to start in was not given.
    #[error("the validator set of epoch {epoch} is not known; the host must give the sets from its tip's epoch on")]
    NoSet {
        /// The epoch.
        epoch: u64,
    },
    /// The block below an epoch is not known.
    #[error("the last block before epoch {epoch} is not known; synchronise the state again")]
    NoBoundary {
        /// The epoch.
        epoch: u64,
    },
    /// The given certificate cannot be read.
    #[error("the finalization certificate to start from cannot be read; synchronise the state again")]
    Certificate,
    /// A channel of an epoch is taken or closed.
    #[error("a channel of the network cannot be used: {0}")]
    Channel(String),
    /// The links cannot start.
    #[error("the validator links cannot start: {0}")]
    Links(String),
    /// The thread ended before it had started.
    #[error("agreement's thread ended while it started; the log says why")]
    Thread,
}

impl StartError {
    fn storage(error: impl std::fmt::Display) -> Self {
        Self::Storage(error.to_string())
    }

    fn channel(error: impl std::fmt::Display) -> Self {
        Self::Channel(error.to_string())
    }
}

/// The way to agreement for whoever hosts it. Clones share.
#[derive(Clone)]
pub struct ConsensusHandle {
    shared: Arc<Shared>,
}

impl ConsensusHandle {
    /// Tells an event. Waits for nothing but a short lock.
    pub fn send(&self, event: Event) {
        self.shared.event(event);
    }

    /// How agreement is doing.
    pub fn status(&self) -> ConsensusStatus {
        self.shared.with(|state| state.status.clone())
    }

    /// A new connection to a peer stands: what was under way on the old one is sent again.
    pub fn connected(&self, peer: &[u8; 32]) {
        self.shared.with(|state| state.book.connected(peer));
        self.shared.ring();
    }
}

/// Starts agreement in `context`: its tasks are children of the calling task and end with it.
pub async fn start<E, S, R, B, M>(
    context: E,
    config: CoreConfig,
    start: ChainStart,
    host: Arc<dyn Host>,
    record: Arc<dyn RecordStore>,
    channels: Channels<S, R>,
    blocker: B,
    manager: M,
) -> Result<ConsensusHandle, StartError>
where
    E: Environment,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey> + Sync,
    M: Manager<PublicKey = PublicKey> + Sync,
{
    let me = config.key.verifying_key().to_bytes();
    let block_config = BlockConfig { genesis_hash: config.genesis_hash };
    let epochs = Epochs::new(NonZeroU64::new(config.rules.epoch_blocks).unwrap_or(NonZeroU64::MIN));
    let schemes = Schemes::new(&config.genesis_hash);
    let keyring = Keyring::default();
    for set in &start.sets {
        if !schemes.learn(set.epoch, &set.keys()) {
            return Err(StartError::Set { epoch: set.epoch });
        }
    }
    let above: VecDeque<_> = start.above.iter().map(|header| (header.clone(), header.hash())).collect();
    let base_height = start.base.as_ref().map_or(0, |base| base.height);
    let (tip_height, tip_hash) = match (above.back(), &start.base) {
        (Some((header, hash)), _) => (header.height, *hash),
        (None, Some(base)) => (base.height, base.hash()),
        (None, None) => (0, config.genesis_hash),
    };
    let epoch = epochs.of(tip_height + 1);
    if schemes.verifier(epochs.of(base_height + 1)).is_none() {
        return Err(StartError::NoSet { epoch: epochs.of(base_height + 1) });
    }
    let floor = match &start.certificate {
        Some(bytes) => Some(certificate::decode(bytes).ok_or(StartError::Certificate)?),
        None => None,
    };

    // The library's store and its actors.
    let store = store::open(&context, &config.prefix, block_config).await?;
    // A store that is to begin at a certificate is empty until that block was fetched.
    let stored_height = if floor.is_some() && store.highest == 0 { tip_height } else { store.highest };
    let partition = format!("{}-guard", config.prefix);
    let guard = Guard::open(context.child("guard"), partition, record, tip_height, stored_height).await?;
    let anchor = match &floor {
        Some(floor) if store.highest == 0 => Start::Floor(floor.clone()),
        _ => Start::Genesis(Block::genesis(config.genesis_hash).digested()),
    };
    let page_cache = store.page_cache;
    let marshal_config =
        store::marshal_config(&config.prefix, schemes.clone(), epochs, anchor, block_config, page_cache.clone());
    let (marshal, mailbox, _): (store::Marshal<E>, _, _) =
        Actor::init(context.child("marshal"), store.certificates, store.blocks, marshal_config).await;

    // The shared state and what it needs to know at once.
    let tip = match &start.base {
        Some(base) => StartTip::Block(base.clone()),
        None => StartTip::Genesis { hash: config.genesis_hash, timestamp_ms: start.genesis_timestamp_ms },
    };
    let sets = start.sets.iter().map(|set| (set.epoch, set.keys())).collect();
    let (marks, executed) = (start.marks.clone(), start.executed);
    let chain = Chain::new(config.rules.clone(), StartPoint { tip, marks, executed, sets });
    let boundary = match start.boundary {
        Some(hash) => Some((epoch, hash)),
        None if epochs.boundary(epoch) == tip_height => Some((epoch, tip_hash)),
        None => None,
    };
    let shared = Arc::new(Shared::new(Parts {
        chain,
        book: LaneBook::new(me, config.lanes),
        finalized: (tip_height, tip_hash),
        committed: base_height,
        boundary,
        host,
        me,
        epochs,
        schemes,
        clock_offset_ms: config.clock_offset_ms,
    }));
    let company = if shared.schemes.verifier(epoch).is_some() { epoch } else { epochs.of(base_height + 1) };
    shared.with(|state| {
        state.book.finalized(&start.marks, base_height);
        state.sets = start.sets.into_iter().map(|set| (set.epoch, set)).collect();
        // The host may tell held batches as soon as this returns, so the lanes must be known by then.
        state.set_members(company)
    });

    let resolver = resolver::init(
        context.child("resolver"),
        resolver::Config {
            public_key: public_key(&me)?,
            peer_provider: manager.clone(),
            blocker: blocker.clone(),
            mailbox_size: store::MAILBOX_MESSAGES,
            fetch_timeout: config.timeouts.fetch,
            fetch_retry_delay: config.timeouts.fetch_retry,
            priority_requests: true,
            priority_responses: false,
        },
        channels.block_fetches,
    );
    let (broadcast, buffer) = buffered::Engine::new(
        context.child("broadcast"),
        buffered::Config {
            public_key: public_key(&me)?,
            mailbox_size: store::MAILBOX_MESSAGES,
            deque_size: BLOCKS_PER_SENDER,
            priority: true,
            codec_config: block_config,
            peer_provider: manager.clone(),
            strategy: Sequential,
        },
    );
    broadcast.start(channels.blocks);
    let (reports, reported) = deliver::reports();
    marshal.start(reports, buffer, resolver);

    // A boundary that the host does not know may be in the library's store.
    if boundary.is_none()
        && let Some((_, digest)) = mailbox.get_info(Identifier::Height(Height::new(epochs.boundary(epoch)))).await
    {
        shared.with(|state| state.boundary = Some((epoch, block::hash(&digest))));
    }
    let floor = floor.filter(|floor| certificate::certified(floor).epoch == epoch).map(Floor::Finalized);

    let delivery = Delivery::new(shared.clone(), mailbox.clone(), reported, above, config.keep_heights);
    context.child("deliver").spawn(|context| delivery.run(context));
    spawn_lanes(
        &context,
        &shared,
        &config,
        &keyring,
        &blocker,
        (channels.marks, channels.batches, channels.batch_fetches),
    );

    let (votes, votes_mux, ahead) =
        Muxer::builder(context.child("votes"), channels.votes.0, channels.votes.1).with_backup().build();
    votes.start();
    let (certificates, certificates_mux) =
        Muxer::new(context.child("certificates"), channels.certificates.0, channels.certificates.1);
    certificates.start();
    let (fetches, fetches_mux) = Muxer::new(
        context.child("certificate_fetches"),
        channels.certificate_fetches.0,
        channels.certificate_fetches.1,
    );
    fetches.start();

    let wrapped = Inline::new(context.child("wrapped"), Application::new(shared.clone()), mailbox.clone(), epochs);
    let conductor = Conductor::new(conductor::Parts {
        context: context.child("conductor"),
        shared: shared.clone(),
        key: config.key,
        genesis_hash: config.genesis_hash,
        prefix: config.prefix,
        timeouts: config.timeouts,
        guard,
        marshal: mailbox,
        wrapped,
        blocker,
        manager,
        keyring,
        page_cache,
        channels: [votes_mux, certificates_mux, fetches_mux],
        ahead,
        floor,
    });
    context.child("conductor").spawn(|_| conductor.run());
    Ok(ConsensusHandle { shared })
}

fn public_key(bytes: &[u8; 32]) -> Result<PublicKey, StartError> {
    // The key was derived from a signing key, so it is a point; the error is for form.
    keys::public_key(bytes).ok_or_else(|| StartError::Channel("the own key is no point of the curve".into()))
}

/// A pair of channel ends.
type Ends<S, R> = (S, R);

fn spawn_lanes<E, S, R, B>(
    context: &E,
    shared: &Arc<Shared>,
    config: &CoreConfig,
    keyring: &Keyring,
    blocker: &B,
    (marks, batches, fetches): (Ends<S, R>, Ends<S, R>, Ends<S, R>),
) where
    E: Environment,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey> + Sync,
{
    let chain = tana_types::transaction::Chain::new(config.genesis_hash);
    let intake = Intake::new(context.child("intake"), shared.clone(), chain, blocker.clone());
    let answers = Answers::new(context.child("answers"), shared.clone(), fetches.0.clone());
    let lanes =
        Lanes::new(context.child("lanes"), shared.clone(), keyring.clone(), (batches.0, marks.0, fetches.0));
    let reader = intake.clone();
    context.child("batches").spawn(|_| reader.batches(batches.1));
    let reader = intake.clone();
    context.child("marks").spawn(|_| reader.marks(marks.1));
    context.child("batch_fetches").spawn(|_| intake.fetches(fetches.1, answers));
    context.child("lanes").spawn(|_| lanes.run());
}
