//! The start: from what the host has to running tasks.
//!
//! 1. Where the chain stands ([`Origin`]): the host's tip, its epoch, the known sets, the certificate of a state sync.
//! 2. The library's store is opened, and the guard decides whether this validator may vote.
//! 3. The shared state: chain and lane book behind the host's last executed block.
//! 4. The library's actors for blocks, then our tasks for delivery and lanes, then the conductor, which starts the epoch's engine.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use commonware_broadcast::buffered;
use commonware_consensus::marshal::core::{Actor, Mailbox};
use commonware_consensus::marshal::resolver::p2p as resolver;
use commonware_consensus::marshal::standard::{Inline, Standard};
use commonware_consensus::marshal::{Identifier, Start};
use commonware_consensus::simplex::Floor;
use commonware_consensus::simplex::types::Finalization;
use commonware_consensus::types::Height;
use commonware_cryptography::Digested;
use commonware_p2p::utils::mux::{Builder as _, Muxer};
use commonware_p2p::{Blocker, Manager, Receiver, Sender};
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_utils::acknowledgement::Exact;
use tana_lane::LaneBook;
use tana_order::{Chain, StartPoint, StartTip};
use tana_types::Hash;
use tana_types::header::BlockHeader;
use tokio::sync::mpsc;

use super::application::Application;
use super::block::{self, Block, BlockConfig, Digest};
use super::conductor::{self, Conductor};
use super::deliver::{self, Delivery};
use super::fetch::Answers;
use super::guard::Guard;
use super::heights::Epochs;
use super::intake::Intake;
use super::keys::{self, Keyring, PublicKey};
use super::lanes::Lanes;
use super::scheme::{Scheme, Schemes};
use super::shared::{Parts, Shared};
use super::store::{self, Store};
use super::{Channels, ConsensusHandle, CoreConfig, Environment, StartError};
use crate::api::{ChainStart, Host};
use crate::certificate;
use crate::record::RecordStore;

/// Blocks of one sender that the broadcast buffer keeps: those of the views that may still be decided.
const BLOCKS_PER_SENDER: usize = 16;

/// A pair of channel ends.
type Ends<S, R> = (S, R);
/// Blocks that marshal reports.
type Reported = mpsc::UnboundedReceiver<(Digested<Block>, Exact)>;

/// Where the chain stands for this node.
struct Origin {
    epochs: Epochs,
    schemes: Schemes,
    above: VecDeque<(BlockHeader, Hash)>,
    base_height: u64,
    tip: (u64, Hash),
    /// The epoch of the block behind the tip.
    epoch: u64,
    /// The certificate of a state sync.
    floor: Option<Finalization<Scheme, Digest>>,
}

impl Origin {
    fn new(config: &CoreConfig, start: &ChainStart) -> Result<Self, StartError> {
        let epochs = Epochs::new(NonZeroU64::new(config.rules.epoch_blocks).unwrap_or(NonZeroU64::MIN));
        let schemes = Schemes::new(&config.genesis_hash);
        for set in &start.sets {
            if !schemes.learn(set.epoch, &set.keys()) {
                return Err(StartError::Set { epoch: set.epoch });
            }
        }
        let above: VecDeque<_> = start.above.iter().map(|header| (header.clone(), header.hash())).collect();
        let base_height = start.base.as_ref().map_or(0, |base| base.height);
        let tip = match (above.back(), &start.base) {
            (Some((header, hash)), _) => (header.height, *hash),
            (None, Some(base)) => (base.height, base.hash()),
            (None, None) => (0, config.genesis_hash),
        };
        let first = epochs.of(base_height + 1);
        if schemes.verifier(first).is_none() {
            return Err(StartError::NoSet { epoch: first });
        }
        let floor = match &start.certificate {
            Some(bytes) => Some(certificate::decode(bytes).ok_or(StartError::Certificate)?),
            None => None,
        };
        Ok(Self { epoch: epochs.of(tip.0 + 1), epochs, schemes, above, base_height, tip, floor })
    }

    /// The block below the epoch's first, if that is known without the library's store.
    fn boundary(&self, start: &ChainStart) -> Option<(u64, Hash)> {
        let at_tip = self.epochs.boundary(self.epoch) == self.tip.0;
        start.boundary.or(at_tip.then_some(self.tip.1)).map(|hash| (self.epoch, hash))
    }
}

/// Starts agreement in `context`: its tasks are children of the calling task and end with it.
// Each argument is a seam of its own: who calls has all of them in hand and in different places.
#[allow(clippy::too_many_arguments)]
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
    let mut origin = Origin::new(&config, &start)?;
    let block_config = BlockConfig { genesis_hash: config.genesis_hash };
    let store = store::open(&context, &config.prefix, block_config).await?;
    let guard = open_guard(&context, &config, record, &origin, store.highest).await?;
    let page_cache = store.page_cache.clone();
    let boundary = origin.boundary(&start);
    let above = std::mem::take(&mut origin.above);
    let shared = share(&config, start, host, &origin, boundary);
    let (mailbox, reported) = start_blocks(
        &context,
        &config,
        &origin,
        store,
        (&blocker, &manager),
        (channels.blocks, channels.block_fetches),
    )
    .await?;

    // A boundary that the host does not know may be in the library's store.
    let below = Identifier::Height(Height::new(origin.epochs.boundary(origin.epoch)));
    if boundary.is_none()
        && let Some((_, digest)) = mailbox.get_info(below).await
    {
        shared.with(|state| state.boundary = Some((origin.epoch, block::hash(&digest))));
    }
    let delivery = Delivery::new(shared.clone(), mailbox.clone(), reported, above, config.keep_heights);
    context.child("deliver").spawn(|context| delivery.run(context));
    let keyring = Keyring::default();
    let lanes = (channels.marks, channels.batches, channels.batch_fetches);
    spawn_lanes(&context, &shared, &config, &keyring, &blocker, lanes);
    let votes = (channels.votes, channels.certificates, channels.certificate_fetches);
    let parts = ConductorParts { config, guard, mailbox, blocker, manager, keyring, page_cache };
    spawn_conductor(&context, &shared, &origin, parts, votes);
    Ok(ConsensusHandle { shared })
}

async fn open_guard<E: Environment>(
    context: &E,
    config: &CoreConfig,
    record: Arc<dyn RecordStore>,
    origin: &Origin,
    highest: u64,
) -> Result<Guard<E>, StartError> {
    let tip_height = origin.tip.0;
    // A store that is to begin at a certificate is empty until that block was fetched.
    let stored_height = if origin.floor.is_some() && highest == 0 { tip_height } else { highest };
    let partition = format!("{}-guard", config.prefix);
    Guard::open(context.child("guard"), partition, record, tip_height, stored_height).await
}

/// Chain and lanes behind the host's last executed block.
fn share(
    config: &CoreConfig,
    start: ChainStart,
    host: Arc<dyn Host>,
    origin: &Origin,
    boundary: Option<(u64, Hash)>,
) -> Arc<Shared> {
    let me = config.key.verifying_key().to_bytes();
    let tip = match start.base {
        Some(base) => StartTip::Block(base),
        None => StartTip::Genesis { hash: config.genesis_hash, timestamp_ms: start.genesis_timestamp_ms },
    };
    let sets = start.sets.iter().map(|set| (set.epoch, set.keys())).collect();
    let (marks, floors, executed) = (start.marks.clone(), start.floors, start.executed);
    let shared = Arc::new(Shared::new(Parts {
        chain: Chain::new(config.rules.clone(), StartPoint { tip, marks, floors, executed, sets }),
        book: LaneBook::new(me, config.lanes),
        finalized: origin.tip,
        committed: origin.base_height,
        boundary,
        host,
        me,
        epochs: origin.epochs,
        schemes: origin.schemes.clone(),
        clock_offset_ms: config.clock_offset_ms,
    }));
    let known = origin.schemes.verifier(origin.epoch).is_some();
    let epoch = if known { origin.epoch } else { origin.epochs.of(origin.base_height + 1) };
    shared.with(|state| {
        state.book.finalized(&start.marks, origin.base_height);
        state.sets = start.sets.into_iter().map(|set| (set.epoch, set)).collect();
        // The host may tell held batches as soon as this returns, so the lanes must be known by then.
        state.set_members(epoch)
    });
    shared
}

/// The library's actors for blocks: broadcast, fetching, delivery in order.
async fn start_blocks<E, S, R, B, M>(
    context: &E,
    config: &CoreConfig,
    origin: &Origin,
    store: Store<E>,
    (blocker, manager): (&B, &M),
    (blocks, fetches): (Ends<S, R>, Ends<S, R>),
) -> Result<(Mailbox<Scheme, Standard<Block>>, Reported), StartError>
where
    E: Environment,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey> + Sync,
    M: Manager<PublicKey = PublicKey> + Sync,
{
    let block_config = BlockConfig { genesis_hash: config.genesis_hash };
    // The key was derived from a signing key, so it is a point; the error is for form.
    let me = keys::public_key(&config.key.verifying_key().to_bytes())
        .ok_or_else(|| StartError::Channel("the own key is no point of the curve".into()))?;
    let anchor = match &origin.floor {
        Some(floor) if store.highest == 0 => Start::Floor(floor.clone()),
        _ => Start::Genesis(Block::genesis(config.genesis_hash).digested()),
    };
    let (schemes, page_cache) = (origin.schemes.clone(), store.page_cache);
    let marshal_config =
        store::marshal_config(&config.prefix, schemes, origin.epochs, anchor, block_config, page_cache);
    let (marshal, mailbox, _): (store::Marshal<E>, _, _) =
        Actor::init(context.child("marshal"), store.certificates, store.blocks, marshal_config).await;
    let resolver_config = resolver::Config {
        public_key: me.clone(),
        peer_provider: manager.clone(),
        blocker: blocker.clone(),
        mailbox_size: store::MAILBOX_MESSAGES,
        fetch_timeout: config.timeouts.fetch,
        fetch_retry_delay: config.timeouts.fetch_retry,
        priority_requests: true,
        priority_responses: false,
    };
    let resolver = resolver::init(context.child("resolver"), resolver_config, fetches);
    let buffer_config = buffered::Config {
        public_key: me,
        mailbox_size: store::MAILBOX_MESSAGES,
        deque_size: BLOCKS_PER_SENDER,
        priority: true,
        codec_config: block_config,
        peer_provider: manager.clone(),
        strategy: Sequential,
    };
    let (broadcast, buffer) = buffered::Engine::new(context.child("broadcast"), buffer_config);
    broadcast.start(blocks);
    let (reports, reported) = deliver::reports();
    marshal.start(reports, buffer, resolver);
    Ok((mailbox, reported))
}

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
    let lanes = Lanes::new(context.child("lanes"), shared.clone(), keyring.clone(), (batches.0, marks.0, fetches.0));
    let reader = intake.clone();
    context.child("batches").spawn(|_| reader.batches(batches.1));
    let reader = intake.clone();
    context.child("marks").spawn(|_| reader.marks(marks.1));
    context.child("batch_fetches").spawn(|_| intake.fetches(fetches.1, answers));
    context.child("lanes").spawn(|_| lanes.run());
}

/// What the conductor gets beside the channels.
struct ConductorParts<E: Environment, B, M> {
    config: CoreConfig,
    guard: Guard<E>,
    mailbox: Mailbox<Scheme, Standard<Block>>,
    blocker: B,
    manager: M,
    keyring: Keyring,
    page_cache: CacheRef,
}

fn spawn_conductor<E, S, R, B, M>(
    context: &E,
    shared: &Arc<Shared>,
    origin: &Origin,
    parts: ConductorParts<E, B, M>,
    (votes, certificates, fetches): (Ends<S, R>, Ends<S, R>, Ends<S, R>),
) where
    E: Environment,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey> + Sync,
    M: Manager<PublicKey = PublicKey> + Sync,
{
    let (mux, votes, ahead) = Muxer::builder(context.child("votes"), votes.0, votes.1).with_backup().build();
    mux.start();
    let (mux, certificates) = Muxer::new(context.child("certificates"), certificates.0, certificates.1);
    mux.start();
    let (mux, fetches) = Muxer::new(context.child("certificate_fetches"), fetches.0, fetches.1);
    mux.start();
    let application = Application::new(shared.clone());
    let wrapped = Inline::new(context.child("wrapped"), application, parts.mailbox.clone(), origin.epochs);
    let floor = origin.floor.clone().filter(|floor| certificate::certified(floor).epoch == origin.epoch);
    let conductor = Conductor::new(conductor::Parts {
        context: context.child("conductor"),
        shared: shared.clone(),
        key: parts.config.key,
        genesis_hash: parts.config.genesis_hash,
        prefix: parts.config.prefix,
        timeouts: parts.config.timeouts,
        guard: parts.guard,
        marshal: parts.mailbox,
        wrapped,
        blocker: parts.blocker,
        manager: parts.manager,
        keyring: parts.keyring,
        page_cache: parts.page_cache,
        channels: [votes, certificates, fetches],
        ahead,
        floor: floor.map(Floor::Finalized),
    });
    context.child("conductor").spawn(|_| conductor.run());
}
