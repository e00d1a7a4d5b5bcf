//! What agreement's tasks and the host share: the chain's rules, the lanes, and a bell.
//!
//! Everything that decides is in two pure machines, [`Chain`] (blocks) and [`LaneBook`] (batches). They stand behind one lock that is held
//! for single calls and never across a wait. Whoever changes them rings the bell; a task that waits for a block to become valid or
//! proposable looks again then, or at the time that the machine named. So nothing polls, and an idle validator does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use commonware_runtime::Clock;
use parking_lot::Mutex;
use tana_lane::{Evidence, HeldBatch, LaneBook};
use tana_order::{Chain, Now};
use tana_types::Hash;
use tokio::sync::Notify;

use super::heights::Epochs;
use super::scheme::Schemes;
use crate::api::{ConsensusStatus, Counts, EpochSet, Event, Execution, Host};
use crate::observation::Observation;

/// Proofs against one validator that are handed to the host; more of them tell nothing new.
const EVIDENCE_PER_VALIDATOR_MAX: usize = 64;

/// Own batches that wait for this validator to be in a set; a pool of batches in memory is smaller.
const OWN_UNPLACED_MAX: usize = 1_024;

/// What is behind the lock.
pub(crate) struct State {
    /// Blocks.
    pub chain: Chain,
    /// Batches.
    pub book: LaneBook,
    /// Sealed bytes of own batches that are sent to others, by digest; as many as the own lane has unsettled batches.
    pub own: BTreeMap<Hash, Bytes>,
    /// Own held batches that wait until this validator is in a known set (again): the lane book has no lane for them meanwhile.
    pub unplaced: Vec<HeldBatch>,
    /// The last block handed to the host.
    pub finalized: (u64, Hash),
    /// The last height whose commit record is durable.
    pub committed: u64,
    /// The block below the running epoch's first: (epoch, hash).
    pub boundary: Option<(u64, Hash)>,
    /// Known validator sets.
    pub sets: BTreeMap<u64, EpochSet>,
    /// Validators of the running epoch and the known later ones.
    pub members: BTreeSet<[u8; 32]>,
    /// Whether the own marks changed since they were told.
    pub marks_changed: bool,
    /// For people.
    pub status: ConsensusStatus,
    evidence: BTreeMap<[u8; 32], usize>,
}

/// The shared part of one validator's agreement.
pub(crate) struct Shared {
    state: Mutex<State>,
    bell: Arc<Rings>,
    /// What stands behind agreement.
    pub host: Arc<dyn Host>,
    /// The own key.
    pub me: [u8; 32],
    /// Which heights are of which epoch.
    pub epochs: Epochs,
    /// Who signs in which epoch.
    pub schemes: Schemes,
    /// How far the own wall clock is off, for simulations, milliseconds.
    pub clock_offset_ms: i64,
}

/// What [`Shared::new`] is made of.
pub(crate) struct Parts {
    pub chain: Chain,
    pub book: LaneBook,
    pub finalized: (u64, Hash),
    pub committed: u64,
    pub boundary: Option<(u64, Hash)>,
    pub host: Arc<dyn Host>,
    pub me: [u8; 32],
    pub epochs: Epochs,
    pub schemes: Schemes,
    pub clock_offset_ms: i64,
}

impl State {
    /// Tells the lanes who the validators are in `epoch` and later. Gives batches that may leave memory.
    pub(crate) fn set_members(&mut self, epoch: u64) -> Vec<Hash> {
        let members = self.sets.get(&epoch).map(|set| set.keys()).unwrap_or_default();
        let later = self.sets.range(epoch + 1..).flat_map(|(_, set)| set.keys());
        let later: BTreeSet<_> = later.filter(|key| !members.contains(key)).collect();
        self.members = members.iter().chain(&later).copied().collect();
        if !self.members.contains(self.book.own()) {
            // They are sealed again if this validator comes back before they expire.
            let room = OWN_UNPLACED_MAX.saturating_sub(self.unplaced.len());
            self.unplaced.extend(self.book.own_unlisted().take(room).cloned());
        }
        let mut gone = self.book.set_members(&members, &later.into_iter().collect::<Vec<_>>());
        if !gone.is_empty() {
            let kept: BTreeSet<Hash> = self.unplaced.iter().map(|batch| batch.digest).collect();
            gone.retain(|digest| !kept.contains(digest));
        }
        for digest in &gone {
            self.own.remove(digest);
        }
        if self.members.contains(self.book.own()) {
            for batch in std::mem::take(&mut self.unplaced) {
                self.book.held(batch);
            }
        }
        self.marks_changed = true;
        gone
    }

    /// Own batches that waited for this validator to be in a set and have expired behind the final `height`: their transactions' time is long
    /// over, so nothing waits for them any more. Gives their digests.
    pub(crate) fn drop_unplaced(&mut self, height: u64) -> Vec<Hash> {
        let (waiting, expired) =
            std::mem::take(&mut self.unplaced).into_iter().partition(|batch| batch.expiry_height > height);
        self.unplaced = waiting;
        let expired: Vec<HeldBatch> = expired;
        expired.into_iter().map(|batch| batch.digest).collect()
    }
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let status = ConsensusStatus { finalized_height: parts.finalized.0, ..ConsensusStatus::default() };
        let state = State {
            chain: parts.chain,
            book: parts.book,
            own: BTreeMap::new(),
            unplaced: Vec::new(),
            finalized: parts.finalized,
            committed: parts.committed,
            boundary: parts.boundary,
            sets: BTreeMap::new(),
            members: BTreeSet::new(),
            marks_changed: true,
            status,
            evidence: BTreeMap::new(),
        };
        Self {
            state: Mutex::new(state),
            bell: Arc::default(),
            host: parts.host,
            me: parts.me,
            epochs: parts.epochs,
            schemes: parts.schemes,
            clock_offset_ms: parts.clock_offset_ms,
        }
    }

    /// One look at the state; must not call the host.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.state.lock())
    }

    /// Counts something.
    pub(crate) fn count(&self, count: impl FnOnce(&mut Counts)) {
        self.with(|state| count(&mut state.status.counts));
    }

    /// Tells every waiting task to look again.
    pub(crate) fn ring(&self) {
        self.bell.count.fetch_add(1, Ordering::AcqRel);
        self.bell.notify.notify_waiters();
    }

    /// A bell to wait on; subscribe before looking, so that no ring is missed.
    pub(crate) fn bell(&self) -> Bell {
        Bell { seen: self.bell.count.load(Ordering::Acquire), rings: self.bell.clone() }
    }

    /// The time by `clock`.
    pub(crate) fn now(&self, clock: &impl Clock) -> Now {
        // A clock before 1970 counts as 1970.
        let since = clock.current().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let wall_ms = since.as_millis() as u64;
        Now { engine_ns: since.as_nanos() as u64, wall_ms: wall_ms.saturating_add_signed(self.clock_offset_ms) }
    }

    /// Milliseconds for timers, without the offset of the wall clock.
    pub(crate) fn now_ms(&self, clock: &impl Clock) -> u64 {
        self.now(clock).engine_ns / 1_000_000
    }

    /// A view runs, led by `leader`: notes and tells it where that is news.
    pub(crate) fn entered(&self, epoch: u64, view: u64, leader: [u8; 32]) {
        let is_news = self.with(|state| {
            let status = &mut state.status;
            let is_news =
                status.epoch == epoch && (view > status.view || (view == status.view && leader != status.leader));
            if is_news {
                (status.view, status.leader) = (view, leader);
            }
            is_news
        });
        if is_news {
            self.host.observed(Observation::View { epoch, view, leader });
        }
    }

    /// Hands proof to the host, up to a bound for each validator.
    pub(crate) fn evidence(&self, culprit: Option<[u8; 32]>, evidence: Evidence) {
        let culprit = culprit.unwrap_or([0; 32]);
        let keep = self.with(|state| {
            let count = state.evidence.entry(culprit).or_default();
            *count += 1;
            state.status.counts.evidence += u64::from(*count <= EVIDENCE_PER_VALIDATOR_MAX);
            *count <= EVIDENCE_PER_VALIDATOR_MAX
        });
        if keep {
            self.host.evidence(evidence);
            self.host.observed(Observation::Evidence { culprit });
        }
    }

    /// Notes that agreement cannot go on.
    pub(crate) fn fail(&self, failure: String) {
        tracing::error!(failure, "agreement cannot go on");
        self.with(|state| {
            state.status.voting = false;
            state.status.reason.clone_from(&failure);
            state.status.failure.get_or_insert(failure);
        });
    }

    /// Takes what the host tells. Never waits for anything but the lock.
    pub(crate) fn event(&self, event: Event) {
        match event {
            Event::Held { batch, own } => self.with(|state| {
                state.marks_changed = true;
                if let Some(own) = own {
                    state.own.insert(batch.digest, own);
                    if !state.members.contains(&self.me) {
                        if state.unplaced.len() < OWN_UNPLACED_MAX {
                            state.unplaced.push(batch);
                        }
                        return;
                    }
                }
                state.book.held(batch);
            }),
            Event::Refused { author, sequence, digest, evidence } => {
                self.with(|state| state.book.refused(&author, sequence, &digest));
                if let Some(evidence) = evidence {
                    self.evidence(Some(author), evidence);
                }
            }
            Event::Executed(execution) => self.executed(execution),
            Event::Committed(height) => self.with(|state| state.committed = state.committed.max(height)),
        }
        self.ring();
    }

    fn executed(&self, execution: Execution) {
        // A height fixes the sets up to the next epoch, and where it ends its own, one more; later ones may still change.
        let height = execution.roots.height;
        let epoch = self.epochs.of(height);
        let fixed = epoch + if height == self.epochs.last_height(epoch) { 2 } else { 1 };
        let sets: Vec<_> = execution.sets.into_iter().filter(|set| set.epoch <= fixed).collect();
        for set in &sets {
            if !self.schemes.learn(set.epoch, &set.keys()) {
                tracing::error!(
                    epoch = set.epoch,
                    "the validator set of an epoch is not usable; the chain ends before it"
                );
            }
        }
        self.with(|state| {
            let keys = sets.iter().map(|set| (set.epoch, set.keys())).collect();
            state.chain.executed(tana_order::Executed { roots: execution.roots, sets: keys });
            for set in sets {
                state.sets.entry(set.epoch).or_insert(set);
            }
        });
    }
}

/// The bell: how often it rang, and who waits. Waiters wake in the order in which they came (tokio's `watch` channel would draw lots, and a
/// simulation could not be replayed).
#[derive(Default)]
struct Rings {
    count: AtomicU64,
    notify: Notify,
}

/// A task's place at the bell.
pub(crate) struct Bell {
    rings: Arc<Rings>,
    /// The last ring that was heard.
    seen: u64,
}

impl Bell {
    /// Waits for a ring, or for `milliseconds` if given.
    pub(crate) async fn wait(&mut self, clock: &impl Clock, milliseconds: Option<u64>) {
        let Some(milliseconds) = milliseconds else { return self.rung().await };
        tokio::select! {
            biased;
            () = self.rung() => {}
            () = clock.sleep(Duration::from_millis(milliseconds)) => {}
        }
    }

    /// Waits for a ring that was not heard yet.
    async fn rung(&mut self) {
        loop {
            let notified = self.rings.notify.notified();
            tokio::pin!(notified);
            // In line before the look, so that a ring in between is not missed.
            notified.as_mut().enable();
            let count = self.rings.count.load(Ordering::Acquire);
            if count != self.seen {
                self.seen = count;
                return;
            }
            notified.await;
        }
    }
}
