//! What the engine and agreement say to each other: plain data and one trait, no type of the library.
//!
//! Agreement calls the [`Host`] (the engine's pipeline, or a replica of the simulation); the host answers later with [`Event`]s through
//! its [`crate::ConsensusHandle`]. The order of a block's life:
//!
//! 1. Batches of other validators arrive: [`Host::verify`]. When one is verified and durable: [`Event::Held`].
//! 2. A block is finalized and every batch that it lists is held: [`Host::finalized`], height by height.
//! 3. The host executed it: [`Event::Executed`]. Its commit record is durable: [`Event::Committed`]; only then does agreement forget it.

use bytes::Bytes;
use tana_lane::{Evidence, HeldBatch};
use tana_order::{AuthorMarks, ExecutedRoots, LaneFloors};
use tana_types::Hash;
use tana_types::header::BlockHeader;

use crate::observation::Observation;

/// A block that validators agreed on for good, in order of height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalizedBlock {
    /// What was agreed on.
    pub header: BlockHeader,
    /// The header's hash.
    pub hash: Hash,
    /// The finalization certificate of this height, or nothing: heights are often finalized through a descendant.
    pub certificate: Vec<u8>,
    /// The epoch in which it was finalized.
    pub epoch: u64,
    /// The view of the certificate; 0 without one.
    pub view: u64,
}

/// What stands behind agreement. Methods are called from agreement's threads and must return soon.
pub trait Host: Send + Sync + 'static {
    /// Takes a batch of another validator: check its signatures, make it durable, then tell [`Event::Held`] or [`Event::Refused`]. The
    /// seal's fields and signature are checked, the body's hash is not. False when there is no room now: it is offered again, and the
    /// sender is held back meanwhile.
    fn verify(&self, batch: Bytes, author: [u8; 32]) -> bool;

    /// Takes a finalized block; all batches that it lists were told as held.
    fn finalized(&self, block: FinalizedBlock);

    /// The sealed bytes of a durable batch, for a peer that asks; `height_hint` is the height of the block that lists it, 0 where none
    /// does yet. May read from a disk.
    fn read_batch(&self, digest: &Hash, height_hint: u64) -> Option<Bytes>;

    /// These batches are included or dead: agreement needs them no longer in memory.
    fn forget(&self, digests: &[Hash]);

    /// Own batches behind `mark` can no longer be listed: seal the transactions of all unlisted ones again.
    fn reseal_own(&self, mark: u64);

    /// Proof against a validator: keep it.
    fn evidence(&self, evidence: Evidence);

    /// Answers a request of a peer that synchronises its state; nothing where it is not understood.
    fn answer_sync(&self, peer: &[u8; 32], request: Bytes) -> Option<Bytes>;

    /// Something happened that people may want to watch. Nothing by default.
    fn observed(&self, observation: Observation) {
        let _ = observation;
    }
}

/// What the host tells agreement.
#[derive(Debug, Clone)]
pub enum Event {
    /// A batch is verified and durable here.
    Held {
        /// What blocks are made of.
        batch: HeldBatch,
        /// Its sealed bytes, where it is of the own lane: they are sent to every validator.
        own: Option<Bytes>,
    },
    /// A batch that was given to [`Host::verify`] is not valid.
    Refused {
        /// Its author.
        author: [u8; 32],
        /// Its number in the author's lane.
        sequence: u64,
        /// Its digest.
        digest: Hash,
        /// Proof against the author, which is handed to [`Host::evidence`].
        evidence: Option<Evidence>,
    },
    /// A height was executed, in order.
    Executed(Execution),
    /// The commit record of this height, and of all below it, is durable.
    Committed(u64),
}

/// What an executed height makes known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The roots that a later header attests.
    pub roots: ExecutedRoots,
    /// The validator sets that are now fixed; those that were told before may be left out.
    pub sets: Vec<EpochSet>,
}

/// A validator and where its links listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// Its key.
    pub key: [u8; 32],
    /// `host:port` of its links.
    pub address: String,
}

/// The validators of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochSet {
    /// The epoch.
    pub epoch: u64,
    /// Its validators in the state's order, by which headers number lanes.
    pub validators: Vec<Validator>,
}

impl EpochSet {
    /// The validators' keys, in the same order.
    pub fn keys(&self) -> Vec<[u8; 32]> {
        self.validators.iter().map(|validator| validator.key).collect()
    }
}

/// Where agreement goes on.
#[derive(Debug, Clone)]
pub struct ChainStart {
    /// The genesis timestamp in milliseconds since 1970-01-01T00:00:00Z.
    pub genesis_timestamp_ms: u64,
    /// The last executed block, whose commit record is durable; none at the chain's start.
    pub base: Option<BlockHeader>,
    /// Every author's mark after it.
    pub marks: AuthorMarks,
    /// What is left of the lanes of authors that left the set before it.
    pub floors: LaneFloors,
    /// The roots of executed heights, ascending, up to it: at least its own, and better all from the one on that it attests. At the chain's
    /// start those of height 0.
    pub executed: Vec<ExecutedRoots>,
    /// The validator sets that are fixed by it: that of its epoch and the next, and one more where it ends its epoch; at the chain's
    /// start those of epochs 0 and 1.
    pub sets: Vec<EpochSet>,
    /// The final blocks above it that the host has, in order. The host executes them by itself.
    pub above: Vec<BlockHeader>,
    /// The hash of the block below the first of the next height's epoch, where the host has it. Without it, agreement takes it from its own
    /// store or from `certificate`.
    pub boundary: Option<Hash>,
    /// A finalization certificate at or below the tip, from a state sync: where agreement's own store begins when it is empty.
    pub certificate: Option<Vec<u8>>,
}

/// A validator that agreement knows, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerReport {
    /// Its key.
    pub key: [u8; 32],
    /// Where its links listen.
    pub address: String,
    /// Whether a connection stands.
    pub connected: bool,
    /// The round trip in microseconds, 0 where unknown.
    pub round_trip_us: u64,
    /// Why it is blocked, where it is.
    pub blocked: Option<String>,
}

/// What [`ConsensusStatus::reason`] says of a validator that the running epoch's set does not have.
pub const NOT_A_MEMBER: &str = "the key is not in this epoch's validator set";

/// How agreement is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsensusStatus {
    /// The epoch that runs.
    pub epoch: u64,
    /// The highest view seen in it.
    pub view: u64,
    /// That view's leader; zeros before the first.
    pub leader: [u8; 32],
    /// The last height handed to the host.
    pub finalized_height: u64,
    /// Whether this validator votes in the running epoch.
    pub voting: bool,
    /// Why it does not vote; empty when it does.
    pub reason: String,
    /// Why agreement ended, if it did; the node must stop then.
    pub failure: Option<String>,
    /// Counted since the start.
    pub counts: Counts,
    /// The other validators.
    pub peers: Vec<PeerReport>,
}

/// What agreement counted since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Views that ended without a block.
    pub views_nullified: u64,
    /// Blocks proposed here.
    pub proposed: u64,
    /// Blocks of others found valid.
    pub verified: u64,
    /// Blocks of others found invalid for good.
    pub rejected: u64,
    /// Batches of others taken in.
    pub batches_received: u64,
    /// Batches of others left alone: over the quota, of a stranger, or too old.
    pub batches_refused: u64,
    /// Messages that could not be read.
    pub malformed: u64,
    /// Batches asked for by digest.
    pub fetches: u64,
    /// Batches sent to peers that asked.
    pub answers: u64,
    /// Proofs against validators.
    pub evidence: u64,
}
