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
mod start;
mod store;

use std::sync::Arc;
use std::time::Duration;

use commonware_runtime::{Clock, Metrics, Spawner, Storage};
use commonware_utils::NonZeroDuration;
use rand::CryptoRng;
use tana_lane::LaneLimits;
use tana_order::ChainRules;
use tana_types::Hash;
use thiserror::Error;

pub use self::heights::Epochs;
use self::shared::Shared;
pub use self::start::start;
use crate::api::{ConsensusStatus, Event};

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
        // A leader that dies behind its proposal is given up when the view is not decided in time: clearly less than two leader timeouts, so that
        // the next leader's block comes within two.
        let certification = leader * 3 / 2;
        Self { leader, certification, retry: leader, skip: leader * 4, fetch, fetch_retry: leader / 10 }
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
    #[error(
        "{0}; without it this validator cannot know whether it has voted, so check the disk and the rights of the folder"
    )]
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
