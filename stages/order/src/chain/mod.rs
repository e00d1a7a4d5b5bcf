//! The chain: which blocks there are above the finalized one, what the next one may say, and whether one that somebody else made is valid.
//!
//! A pure machine; time and the [`LaneBook`](tana_lane::LaneBook) come as arguments. What consensus asks and tells:
//!
//! 1. [`Chain::propose`] makes the header that a leader proposes on a parent, or says when to ask again.
//! 2. [`Chain::verify`] judges a header. *Invalid* is permanent. What only needs time comes back as a wait: missing batches, an executed height, the
//!    clock, the parent.
//! 3. [`Chain::insert`] takes a header that consensus has notarized, finalized or verified; others may be built on it.
//! 4. [`Chain::finalize`] moves the tip one block on; whatever does not descend from it is dropped.
//! 5. [`Chain::executed`] hears of an executed height: its roots, and validator sets that it fixes.
//!
//! Marks of lanes are kept with every block, so that the same batch may be listed on two branches and never twice on one.
//!
//! Bounds: [`BRANCH_BLOCKS_MAX`] headers above the tip, [`FINALIZED_KEPT`] hashes below, [`EXECUTED_KEPT_MAX`] roots, and sets from the tip's
//! epoch on.

mod marks;
mod propose;
mod rules;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tana_types::Hash;
use tana_types::header::BlockHeader;
use thiserror::Error;

use crate::{ExecutedRoots, Now};
use marks::LaneMarks;
use tana_execute::LaneFloors;

pub use marks::{AuthorMarks, marks_by_author};
pub use propose::Proposal;
pub use rules::{BLOCK_BODY_BYTES_MAX, CLOCK_AHEAD_MS_MAX, ChainRules, GATHER_MS_MAX, GATHER_NS_PER_TRANSACTION};
pub use verify::Verdict;

/// The most headers above the finalized one: views in which blocks were notarized and none finalized, and dead branches of them.
pub const BRANCH_BLOCKS_MAX: usize = 4_096;
/// Finalized hashes that are remembered, so that a late question about one of them is answered rightly.
pub const FINALIZED_KEPT: u64 = 1_024;
/// The most executed heights whose roots are kept, from the one that the finalized tip attests upwards.
pub const EXECUTED_KEPT_MAX: usize = 65_536;

/// The finalized block that a chain starts behind.
// One at a time is alive; boxing it would only add an allocation.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartTip {
    /// Height 0: the genesis hash, and its timestamp.
    Genesis {
        /// What the first block names as its parent.
        hash: Hash,
        /// Milliseconds since 1970-01-01T00:00:00Z.
        timestamp_ms: u64,
    },
    /// A finalized header.
    Block(BlockHeader),
}

/// Where a chain starts: the last *executed* block. Finalized headers above it are given by [`Chain::insert`] and [`Chain::finalize`].
#[derive(Debug, Clone)]
pub struct StartPoint {
    /// Its block.
    pub tip: StartTip,
    /// The marks after it, see [`marks_by_author`].
    pub marks: AuthorMarks,
    /// What is left of the lanes of authors that left the set, as the state after it has them.
    pub floors: LaneFloors,
    /// Roots of executed heights: its own, and all below it from the one on that it attests. Without the latter this validator cannot vote for
    /// blocks that attest them, and where all validators lack the end of an epoch among them, the chain stands still.
    pub executed: Vec<ExecutedRoots>,
    /// Validator sets by epoch as keys in order: of its own epoch, and all later ones that are fixed (at least the next).
    pub sets: BTreeMap<u64, Vec<[u8; 32]>>,
}

/// What is told of an executed height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its roots.
    pub roots: ExecutedRoots,
    /// Validator sets as the state after it has them, by epoch. The chain takes those that are fixed by then: of its epoch and the next one, and of
    /// the one after if the height ends its epoch. More may be given.
    pub sets: Vec<(u64, Vec<[u8; 32]>)>,
}

/// What came of a header that was given to a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is there, now or since before.
    Yes,
    /// Its parent is not: give that first. For a header at or below the tip this never changes.
    WaitParent,
    /// The set of its epoch is not known before this height is executed.
    WaitExecuted(u64),
    /// It cannot follow its parent; no validator that keeps the rules has voted for it.
    Refused,
    /// [`BRANCH_BLOCKS_MAX`] headers wait already.
    Full,
}

/// What a block's finalization changes.
#[derive(Debug, Clone)]
pub struct Finalized {
    /// The header.
    pub header: Arc<BlockHeader>,
    /// The marks of all lanes after it, by author.
    pub marks: AuthorMarks,
}

/// Why a block cannot be the next finalized one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FinalizeError {
    /// It was not inserted.
    #[error("the finalized block is not known; give its header first")]
    Unknown,
    /// It does not lie directly on the finalized tip.
    #[error(
        "the finalized block at height {height} does not follow the tip at height {tip}; finalize block by block, and stop if there is another one at its height"
    )]
    NotNext {
        /// Its height.
        height: u64,
        /// The tip's.
        tip: u64,
    },
}

/// A block, or the genesis, with what later ones need to know of it.
#[derive(Debug, Clone)]
struct Point {
    hash: Hash,
    height: u64,
    timestamp_ms: u64,
    executed_height: u64,
    marks: Arc<LaneMarks>,
    /// The last height up to it that lists batches.
    full_height: u64,
    /// When this validator saw it first, milliseconds of the wall clock; its timestamp may be ahead of that.
    seen_ms: u64,
    /// Transactions of all blocks from the start point up to it.
    listed: u64,
    /// Transactions of the largest recent block up to it: each block takes a quarter off what those before weigh.
    recent: u64,
    header: Option<Arc<BlockHeader>>,
}

/// What is kept of a finalized block.
struct Settled {
    hash: Hash,
    /// See [`Point`].
    listed: u64,
}

/// See the module's text.
pub struct Chain {
    rules: ChainRules,
    tip: Point,
    blocks: BTreeMap<Hash, Point>,
    /// By height.
    finalized: BTreeMap<u64, Settled>,
    executed: BTreeMap<u64, ExecutedRoots>,
    /// The highest executed height.
    executed_height: u64,
    sets: BTreeMap<u64, Vec<[u8; 32]>>,
}

impl Chain {
    /// A chain behind `start`.
    pub fn new(rules: ChainRules, start: StartPoint) -> Self {
        let marks = Arc::new(LaneMarks::new(start.marks, start.floors));
        let tip = match start.tip {
            StartTip::Genesis { hash, timestamp_ms } => Point {
                hash,
                height: 0,
                timestamp_ms,
                executed_height: 0,
                marks,
                full_height: 0,
                seen_ms: 0,
                listed: 0,
                recent: 0,
                header: None,
            },
            StartTip::Block(header) => Point {
                hash: header.hash(),
                height: header.height,
                timestamp_ms: header.timestamp_ms,
                executed_height: header.executed_height,
                marks,
                // Whether one of the blocks that it does not attest lists batches is not known: as if it did itself.
                full_height: header.height,
                seen_ms: 0,
                listed: 0,
                recent: 0,
                header: Some(Arc::new(header)),
            },
        };
        let executed: BTreeMap<_, _> = start.executed.into_iter().map(|roots| (roots.height, roots)).collect();
        let executed_height = executed.last_key_value().map_or(0, |(&height, _)| height);
        let finalized = BTreeMap::from([(tip.height, Settled { hash: tip.hash, listed: tip.listed })]);
        Self { rules, tip, blocks: BTreeMap::new(), finalized, executed, executed_height, sets: start.sets }
    }

    /// The rules.
    pub fn rules(&self) -> &ChainRules {
        &self.rules
    }

    /// Height and hash of the finalized tip.
    pub fn tip(&self) -> (u64, Hash) {
        (self.tip.height, self.tip.hash)
    }

    /// The finalized tip's header; none at the genesis.
    pub fn tip_header(&self) -> Option<&Arc<BlockHeader>> {
        self.tip.header.as_ref()
    }

    /// The highest executed height.
    pub fn executed_height(&self) -> u64 {
        self.executed_height
    }

    /// Headers above the tip.
    pub fn branch_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The validator set of an epoch, if it is known: keys in order.
    pub fn set(&self, epoch: u64) -> Option<&[[u8; 32]]> {
        self.sets.get(&epoch).map(Vec::as_slice)
    }

    /// Whether a block is the tip or above it.
    pub fn contains(&self, hash: &Hash) -> bool {
        self.point(hash).is_some()
    }

    /// The header of the tip or a block above it.
    pub fn header(&self, hash: &Hash) -> Option<&Arc<BlockHeader>> {
        self.point(hash)?.header.as_ref()
    }

    /// The marks after the tip or a block above it, by author.
    pub fn marks(&self, hash: &Hash) -> Option<&AuthorMarks> {
        self.point(hash).map(|point| &point.marks.marks)
    }

    /// What is left of the lanes of authors that left the set, after the tip or a block above it.
    pub fn floors(&self, hash: &Hash) -> Option<&LaneFloors> {
        self.point(hash).map(|point| point.marks.floors())
    }

    fn point(&self, hash: &Hash) -> Option<&Point> {
        if hash == &self.tip.hash { Some(&self.tip) } else { self.blocks.get(hash) }
    }

    /// The set of a block at `height` and the marks before it; or the height that must be executed first.
    fn ground(&self, parent: &Point, height: u64) -> Result<(&[[u8; 32]], Arc<LaneMarks>), u64> {
        let epoch = self.rules.epoch_of(height);
        let members = self.set(epoch).ok_or_else(|| self.rules.set_known_after(epoch))?;
        if parent.height == 0 || self.rules.epoch_of(parent.height) == epoch {
            return Ok((members, parent.marks.clone()));
        }
        Ok((members, Arc::new(parent.marks.enter(members, height, self.rules.batch_expiry_blocks))))
    }

    /// Takes a header under its hash, which the caller has computed. Its validity is not judged here.
    pub fn insert(&mut self, header: BlockHeader, hash: Hash, now: Now) -> Inserted {
        if self.contains(&hash) {
            return Inserted::Yes;
        }
        let Some(parent) = self.point(&header.parent) else { return Inserted::WaitParent };
        if header.height != parent.height.saturating_add(1) || header.timestamp_ms <= parent.timestamp_ms {
            return Inserted::Refused;
        }
        if self.blocks.len() >= BRANCH_BLOCKS_MAX {
            return Inserted::Full;
        }
        let (members, mut marks) = match self.ground(parent, header.height) {
            Ok(ground) => ground,
            Err(height) => return Inserted::WaitExecuted(height),
        };
        if !header.lanes.is_empty() && !Arc::make_mut(&mut marks).advance(&header, members) {
            return Inserted::Refused;
        }
        let point = Point {
            hash,
            height: header.height,
            timestamp_ms: header.timestamp_ms,
            executed_height: header.executed_height,
            marks,
            full_height: if header.lanes.is_empty() { parent.full_height } else { header.height },
            seen_ms: now.wall_ms,
            listed: parent.listed.saturating_add(u64::from(header.transaction_count)),
            recent: u64::from(header.transaction_count).max(parent.recent - parent.recent.div_ceil(4)),
            header: Some(Arc::new(header)),
        };
        self.blocks.insert(hash, point);
        Inserted::Yes
    }

    /// Moves the tip to a block that was inserted and lies on the tip.
    pub fn finalize(&mut self, hash: &Hash) -> Result<Finalized, FinalizeError> {
        let Some(point) = self.blocks.get(hash) else { return Err(FinalizeError::Unknown) };
        let header = match &point.header {
            Some(header) if header.parent == self.tip.hash => header.clone(),
            _ => return Err(FinalizeError::NotNext { height: point.height, tip: self.tip.height }),
        };
        self.tip = point.clone();
        self.keep_descendants();
        self.finalized.insert(self.tip.height, Settled { hash: self.tip.hash, listed: self.tip.listed });
        while self.finalized.len() as u64 > FINALIZED_KEPT {
            self.finalized.pop_first();
        }
        self.drop_old();
        Ok(Finalized { header, marks: self.tip.marks.marks.clone() })
    }

    /// Drops every block that does not descend from the tip.
    fn keep_descendants(&mut self) {
        let mut by_height: Vec<(u64, Hash, Hash)> = (self.blocks.values())
            .filter(|point| point.height > self.tip.height)
            .filter_map(|point| Some((point.height, point.hash, point.header.as_ref()?.parent)))
            .collect();
        by_height.sort_unstable();
        let mut alive = BTreeSet::from([self.tip.hash]);
        for (_, hash, parent) in by_height {
            if alive.contains(&parent) {
                alive.insert(hash);
            }
        }
        alive.remove(&self.tip.hash);
        self.blocks.retain(|hash, _| alive.contains(hash));
    }

    /// Roots below what the tip attests and sets of epochs before the tip's are never asked for again.
    fn drop_old(&mut self) {
        let attested = self.tip.executed_height;
        while self.executed.len() > 1
            && (self.executed.len() > EXECUTED_KEPT_MAX
                || self.executed.first_key_value().is_some_and(|(&height, _)| height < attested))
        {
            self.executed.pop_first();
        }
        let epoch = self.rules.epoch_of(self.tip.height);
        self.sets.retain(|&kept, _| kept >= epoch);
    }

    /// Hears of an executed height, in order.
    pub fn executed(&mut self, executed: Executed) {
        let height = executed.roots.height;
        self.executed.insert(height, executed.roots);
        self.executed_height = self.executed_height.max(height);
        let epoch = self.rules.epoch_of(height);
        let fixed = if self.rules.ends_epoch(height) { epoch + 2 } else { epoch + 1 };
        for (epoch, members) in executed.sets {
            if epoch <= fixed {
                self.sets.insert(epoch, members);
            }
        }
        self.drop_old();
    }

    /// The roots that a block may attest at `height`, if that was executed here.
    fn roots(&self, height: u64) -> Option<&ExecutedRoots> {
        self.executed.get(&height)
    }
}
