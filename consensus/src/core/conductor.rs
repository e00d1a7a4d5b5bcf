//! One engine per epoch: when to start it, as what, and when to stop it.
//!
//! 1. The epoch that should run is that of the height behind the last block handed to the host. Its engine starts when the block below its
//!    first, the last of the epoch before, was handed on, and its validator set is known (an execution tells).
//! 2. The engine's journal has a partition of its own. It starts from the epoch's boundary block; what the journal knows goes further.
//! 3. A validator of the set that the [guard](super::guard) lets vote signs; everybody else runs the same engine without a key and follows.
//! 4. The engine before is stopped. Its journal is removed an epoch later: nobody votes in an ended epoch.
//! 5. Messages carry their epoch as the number of a sub-channel, so that no vote of another epoch reaches an engine, which would block its
//!    sender. A message of a later epoch tells that this node is behind: it asks the sender for the certificate of the last block of its own
//!    epoch, and with that the library fetches what lies between.
//! 6. Links are kept with all validators of this epoch and the known later ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use commonware_consensus::marshal::core::Mailbox;
use commonware_consensus::marshal::standard::{Inline, Standard};
use commonware_consensus::simplex::{Config, Engine, Floor, ForwardPolicy, SkipBudget, SkipPolicy};
use commonware_consensus::types::{Epoch, Height, ViewDelta};
use commonware_cryptography::certificate::Scheme as _;
use commonware_p2p::utils::mux::MuxHandle;
use commonware_p2p::{Blocker, Manager, Message, Sender, TrackedPeers};
use commonware_parallel::Sequential;
use commonware_runtime::Handle;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_utils::ordered::Set;
use commonware_utils::vec::NonEmptyVec;
use tana_types::Hash;
use tokio::sync::mpsc;

use super::application::Application;
use super::block::{Block, Digest, digest};
use super::guard::Guard;
use super::heights::Epochs;
use super::keys::{Keyring, PublicKey};
use super::observer::{Observer, Rotation};
use super::scheme::Scheme;
use super::shared::Shared;
use super::store::{MAILBOX_MESSAGES, REPLAY_BUFFER_BYTES, above_zero};
use super::{Environment, StartError, Timeouts};
use crate::api::NOT_A_MEMBER;
use crate::observation::Observation;

/// Views behind the last finalized one of which votes are kept, for evidence and for peers that are late.
const VIEWS_KEPT: ViewDelta = ViewDelta::new(32);
/// Bytes that the journal gathers before it writes; every vote is synced all the same.
const JOURNAL_BUFFER_BYTES: std::num::NonZeroUsize = above_zero!(std::num::NonZeroUsize, 64 << 10);
/// The shortest time between two questions for the end of an epoch, milliseconds.
const ASK_EPOCH_END_MS: u64 = 100;

/// Sets of peers that are numbered for one epoch; two later sets become known in it at the most.
const UPDATES_PER_EPOCH: u64 = 4;

/// The library's wrapper of the application.
pub(crate) type Wrapped<E> = Inline<E, Scheme, Application, Block, Epochs>;

/// What the conductor works with.
pub(crate) struct Parts<E: Environment, S: Sender<PublicKey = PublicKey>, B, M> {
    pub context: E,
    pub shared: Arc<Shared>,
    pub key: ed25519_dalek::SigningKey,
    pub genesis_hash: Hash,
    pub prefix: String,
    pub timeouts: Timeouts,
    pub guard: Guard<E>,
    pub marshal: Mailbox<Scheme, Standard<Block>>,
    pub wrapped: Wrapped<E>,
    pub blocker: B,
    pub manager: M,
    pub keyring: Keyring,
    pub page_cache: CacheRef,
    /// Votes, certificates and certificate requests, by epoch.
    pub channels: [MuxHandle<S>; 3],
    /// Votes of epochs that do not run here.
    pub ahead: mpsc::Receiver<(u64, Message<PublicKey>)>,
    /// Where the epoch starts that is already under way, instead of at its boundary: after a state sync.
    pub floor: Option<Floor<Scheme, Digest>>,
}

/// The task.
pub(crate) struct Conductor<E: Environment, S: Sender<PublicKey = PublicKey>, B, M> {
    parts: Parts<E, S, B, M>,
    running: Option<(u64, Handle<()>)>,
    tracked: BTreeSet<[u8; 32]>,
    tracked_epoch: Option<u64>,
    /// The epoch and the last known set when lanes and links were told last.
    told: Option<(u64, Option<u64>)>,
    updates: u64,
    asked_ms: u64,
}

/// What woke the task.
enum Woken {
    Bell,
    Ahead(u64, PublicKey),
    Ended,
    Closed,
}

impl<E, S, B, M> Conductor<E, S, B, M>
where
    E: Environment,
    S: Sender<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey> + Sync,
    M: Manager<PublicKey = PublicKey> + Sync,
{
    pub(crate) fn new(parts: Parts<E, S, B, M>) -> Self {
        Self {
            parts,
            running: None,
            tracked: BTreeSet::new(),
            tracked_epoch: None,
            told: None,
            updates: 0,
            asked_ms: 0,
        }
    }

    pub(crate) async fn run(mut self) {
        let mut bell = self.parts.shared.bell();
        loop {
            if let Err(error) = self.advance().await {
                self.parts.shared.fail(error.to_string());
                return;
            }
            let ended = async {
                match &mut self.running {
                    Some((_, handle)) => drop(handle.await),
                    None => std::future::pending().await,
                }
            };
            let woken = tokio::select! {
                biased;
                () = bell.wait(&self.parts.context, None) => Woken::Bell,
                message = self.parts.ahead.recv() => message.map_or(Woken::Closed, |(epoch, (peer, _))| Woken::Ahead(epoch, peer)),
                () = ended => Woken::Ended,
            };
            match woken {
                Woken::Bell => {}
                Woken::Ahead(epoch, peer) => self.ask_epoch_end(epoch, peer),
                Woken::Ended => {
                    self.parts.shared.fail("the engine of an epoch ended by itself".into());
                    return;
                }
                Woken::Closed => return,
            }
        }
    }

    /// Starts the engine of the epoch that should run, if it does not, and keeps lanes and links with the right validators.
    async fn advance(&mut self) -> Result<(), StartError> {
        let shared = self.parts.shared.clone();
        let (epoch, boundary) = shared.with(|state| (shared.epochs.of(state.finalized.0 + 1), state.boundary));
        if shared.schemes.verifier(epoch).is_none() {
            return Ok(());
        }
        self.keep_company(epoch);
        if self.running.as_ref().is_some_and(|(running, _)| *running == epoch) {
            return Ok(());
        }
        let genesis = self.parts.genesis_hash;
        let floor = match (boundary, epoch, self.parts.floor.take()) {
            (Some((of, hash)), ..) if of == epoch => Floor::Genesis(digest(&hash)),
            (_, 0, _) => Floor::Genesis(digest(&genesis)),
            (_, _, Some(floor)) if self.running.is_none() => floor,
            _ => return Err(StartError::NoBoundary { epoch }),
        };
        self.start(epoch, floor).await
    }

    /// Tells lanes, keyring and links which validators there are, where that changed.
    fn keep_company(&mut self, epoch: u64) {
        let shared = &self.parts.shared;
        let news = (epoch, shared.with(|state| state.sets.last_key_value().map(|(last, _)| *last)));
        if self.told == Some(news) {
            return;
        }
        self.told = Some(news);
        let (all, gone) = shared.with(|state| {
            state.sets.retain(|of, _| *of + 1 >= epoch);
            let gone = state.set_members(epoch);
            (state.members.clone(), gone)
        });
        if !gone.is_empty() {
            shared.host.forget(&gone);
        }
        self.parts.keyring.replace(all.iter());
        if self.tracked_epoch == Some(epoch) && self.tracked == all {
            return;
        }
        let peers = Set::from_iter_dedup(all.iter().filter_map(|key| self.parts.keyring.get(key)));
        // Sets of peers are numbered upwards; those of all nodes in step, as far as they know the same.
        self.updates = if self.tracked_epoch == Some(epoch) { self.updates + 1 } else { 0 };
        let number = UPDATES_PER_EPOCH * epoch + self.updates.min(UPDATES_PER_EPOCH - 1);
        let _ = self.parts.manager.track(number, TrackedPeers::primary(peers));
        (self.tracked, self.tracked_epoch) = (all, Some(epoch));
        shared.ring();
    }

    async fn start(&mut self, epoch: u64, floor: Floor<Scheme, Digest>) -> Result<(), StartError> {
        if let Some((_, handle)) = self.running.take() {
            handle.abort();
            // It was told to end; how it ended does not matter.
            let _ = handle.await;
        }
        let parts = &mut self.parts;
        let shared = parts.shared.clone();
        let Some(verifier) = shared.schemes.verifier(epoch) else { return Ok(()) };
        let previous = parts.guard.last_epoch();
        let signer = shared.schemes.signer(epoch, &parts.key);
        let is_member = signer.is_some();
        let (scheme, reason) = match signer {
            None => {
                parts.guard.not_a_member(epoch).await?;
                ((*verifier).clone(), NOT_A_MEMBER)
            }
            Some(signer) if parts.guard.may_vote(epoch).await? => (signer, ""),
            Some(_) => {
                let refusal = parts.guard.refusal();
                (
                    (*verifier).clone(),
                    refusal.map_or("an earlier start voted in a later epoch", |refusal| refusal.reason()),
                )
            }
        };
        let votes_itself = reason.is_empty();
        shared.with(|state| {
            state.status.epoch = epoch;
            (state.status.view, state.status.leader) = (1, [0; 32]);
            (state.status.voting, state.status.reason) = (votes_itself, reason.to_owned());
        });
        let validators = verifier.participants().len() as u32;
        shared.host.observed(Observation::Epoch { epoch, validators, voting: votes_itself });
        match is_member && !votes_itself {
            // The others count on a vote that does not come.
            true => tracing::warn!(epoch, reason, "an epoch begins, and this validator of its set does not vote"),
            false => tracing::info!(epoch, voting = votes_itself, reason, "an epoch begins"),
        }
        let config = Config {
            scheme,
            elector: Rotation::default(),
            blocker: parts.blocker.clone(),
            automaton: parts.wrapped.clone(),
            relay: parts.wrapped.clone(),
            reporter: Observer::new(shared.clone(), verifier, epoch, parts.wrapped.clone()),
            track_historical_votes: true,
            strategy: Sequential,
            partition: partition(&parts.prefix, epoch, votes_itself),
            mailbox_size: MAILBOX_MESSAGES,
            epoch: Epoch::new(epoch),
            floor,
            replay_buffer: REPLAY_BUFFER_BYTES,
            write_buffer: JOURNAL_BUFFER_BYTES,
            page_cache: parts.page_cache.clone(),
            leader_timeout: parts.timeouts.leader,
            certification_timeout: parts.timeouts.certification,
            timeout_retry: parts.timeouts.retry,
            view_retention: VIEWS_KEPT,
            skip: SkipPolicy::Enabled { timeout: parts.timeouts.skip, budget: SkipBudget::Participants },
            fetch_timeout: parts.timeouts.fetch,
            fetch_retry_delay: parts.timeouts.fetch_retry,
            forward: ForwardPolicy::SilentVoters,
        };
        let [votes, certificates, fetches] = &mut parts.channels;
        let votes = votes.register(epoch).await.map_err(StartError::channel)?;
        let certificates = certificates.register(epoch).await.map_err(StartError::channel)?;
        let fetches = fetches.register(epoch).await.map_err(StartError::channel)?;
        let context = parts.context.child("engine").with_attribute("epoch", epoch);
        let engine = Engine::new(context, config);
        self.running = Some((epoch, engine.start(votes, certificates, fetches)));
        self.remove_journals(previous, epoch).await;
        Ok(())
    }

    /// Removes journals of epochs that ended before the last one; one that is not there is fine.
    async fn remove_journals(&self, previous: u64, epoch: u64) {
        // Who only follows votes in no epoch, so its journals are found by the epoch that begins.
        for ended in [previous.saturating_sub(1), previous, epoch.saturating_sub(2)] {
            if ended + 2 <= epoch {
                for voted in [true, false] {
                    let _ = self.parts.context.remove(&partition(&self.parts.prefix, ended, voted), None).await;
                }
            }
        }
    }

    /// A peer is in a later epoch: asks it for the end of the own one, and of the next one if its set is known, so that blocks of both are
    /// fetched while the first ones execute.
    fn ask_epoch_end(&mut self, epoch: u64, peer: PublicKey) {
        let shared = &self.parts.shared;
        let own = shared.epochs.of(shared.with(|state| state.finalized.0) + 1);
        let now_ms = shared.now_ms(&self.parts.context);
        if epoch <= own || now_ms < self.asked_ms + ASK_EPOCH_END_MS {
            return;
        }
        self.asked_ms = now_ms;
        for ended in [own, own + 1] {
            if ended < epoch && shared.schemes.verifier(ended).is_some() {
                let height = Height::new(shared.epochs.last_height(ended));
                self.parts.marshal.hint_finalized(height, NonEmptyVec::new(peer.clone()));
            }
        }
    }
}

/// The journal of an epoch. Who only follows has one of its own: the engine takes a journal with votes for a defect when it has no key to vote
/// with, and a validator that voted in an epoch and then restarts into it behind a later vote is just that.
fn partition(prefix: &str, epoch: u64, votes: bool) -> String {
    let what = if votes { "epoch" } else { "follows" };
    format!("{prefix}-{what}-{epoch}")
}
