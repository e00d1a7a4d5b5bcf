//! The tree of hashes over all accounts.
//!
//! The four children of a node are kept together, 128 aligned bytes that are hashed where they lie. Level `h` holds the nodes
//! of height `h` in groups of four; places without a node are zero, as the definition of the root says. An update:
//! 1. Checks the changes and makes room for new accounts.
//! 2. Hashes the changed leaves sixteen at a time and writes them into level 0, noting which groups changed.
//! 3. For each level: hashes the changed groups sixteen at a time and writes the results into the level above, which tells the
//!    groups that changed there. Indexes rise throughout, so that removing duplicates is a comparison with the last one.
//!
//! Tree memory is far larger than a core's caches, and what an update touches is spread all over it: writes
//! and hashes prefetch what they need a few groups ahead. With a thread pool, the hashing of long levels is spread over
//! it; the result is the same.

use rayon::prelude::*;
use tana_hash::{HASH_BYTES, Hash, LANES, keyed, keyed_each_at, keyed_each_fixed, prefetch};

use crate::leaf::{LEAF_KEY, LONG_LEAVES, NODE_KEY, hash_long_leaves};
use crate::{ACCOUNTS_MAX, ChangesError, LeafChanges, Siblings, height};

/// Children of a node.
const ARITY: usize = 4;

/// Bytes of a node's children.
const GROUP_BYTES: usize = ARITY * HASH_BYTES;

/// Writes into a level prefetch this many groups ahead: 16 writes take longer than a trip to memory.
const PREFETCH_GROUPS: usize = 16;

/// Nodes that are hashed and then written at a time by a thread on its own: large enough to hide a trip to memory behind hashing,
/// small enough that what was fetched is still in the nearest cache.
const TILE: usize = 2 * LANES;

/// Messages that a thread takes at a time: about 20 us of hashing, well above the cost of handing work over.
const MESSAGES_PER_TASK: usize = 1024;

/// Leaf hashes that a rebuild takes in at a time; bounds the scratch memory of a rebuild to about 2 MiB.
const REBUILD_LEAVES: usize = 1 << 16;

/// The children of one node, on two cache lines of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
struct Group([u8; GROUP_BYTES]);

impl Group {
    const MISSING: Self = Self([0; GROUP_BYTES]);

    fn child(&self, slot: usize) -> Hash {
        std::array::from_fn(|byte| self.0[slot * HASH_BYTES + byte])
    }

    fn set_child(&mut self, slot: usize, hash: &Hash) {
        self.0[slot * HASH_BYTES..(slot + 1) * HASH_BYTES].copy_from_slice(hash);
    }
}

impl std::borrow::Borrow<[u8; GROUP_BYTES]> for Group {
    fn borrow(&self) -> &[u8; GROUP_BYTES] {
        &self.0
    }
}

/// The Merkle tree over all accounts, by account index.
///
/// Memory: 32 bytes for each leaf and 10.7 for the nodes above it, plus at most an eighth of that as room to grow, plus
/// scratch of 36 bytes for each change of the largest update so far.
#[derive(Clone, Debug, Default)]
pub struct AccountTree {
    count: u64,
    root: Hash,
    /// `levels[h]` holds the nodes of height `h`; empty without accounts, otherwise at least one level.
    levels: Vec<Vec<Group>>,
    /// Groups of one level that changed, rising; kept between updates for its memory only.
    changed: Vec<u32>,
    /// Hashes of changed leaves or groups; kept between updates for its memory only.
    hashes: Vec<Hash>,
}

impl AccountTree {
    /// A tree without accounts; its root is 32 zero bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree over leaf hashes (see [`hash_leaves`]) in order of index.
    ///
    /// # Errors
    /// [`ChangesError::Gap`] if there are more than [`ACCOUNTS_MAX`].
    pub fn from_leaves(
        leaves: impl IntoIterator<Item = Hash>,
        threads: Option<&rayon::ThreadPool>,
    ) -> Result<Self, ChangesError> {
        let mut tree = Self::new();
        let mut leaves = leaves.into_iter();
        loop {
            tree.hashes.clear();
            tree.hashes.extend(leaves.by_ref().take(REBUILD_LEAVES));
            let first = tree.count;
            let count = first + tree.hashes.len() as u64;
            if count == first {
                return Ok(tree);
            }
            if count > ACCOUNTS_MAX {
                return Err(ChangesError::Gap { index: u32::MAX, count: first });
            }
            tree.grow(count);
            tree.changed.clear();
            // Below ACCOUNTS_MAX, so they fit.
            tree.changed.extend(first as u32..count as u32);
            let Self { levels, changed, hashes, .. } = &mut tree;
            let kept = store(&mut levels[0], changed, 0, 0, hashes);
            changed.truncate(kept);
            tree.climb(threads);
        }
    }

    /// Accounts in the tree.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether the tree has no accounts.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The root, as defined at the top of this crate.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Takes in changed and new accounts; gives the new root. Threads make it faster, never different.
    ///
    /// # Errors
    /// If the changes are out of order or do not fit the tree, which then stays as it was.
    pub fn update(
        &mut self,
        changes: &LeafChanges<'_>,
        threads: Option<&rayon::ThreadPool>,
    ) -> Result<Hash, ChangesError> {
        let count = changes.check(self.count)?;
        if changes.indexes.is_empty() {
            return Ok(self.root);
        }
        self.grow(count);
        self.changed.clear();
        self.changed.extend_from_slice(changes.indexes);
        let hash_tile = |start: usize, nodes: &[u32], out: &mut [Hash]| {
            keyed_each_fixed(&LEAF_KEY, &changes.records[start..start + nodes.len()], out);
        };
        let Self { levels, changed: nodes, hashes, .. } = &mut *self;
        raise(&mut levels[0], nodes, hashes, threads, hash_tile, |_| {});
        self.store_long_leaves(changes);
        self.climb(threads);
        Ok(self.root)
    }

    /// The hash of leaf `index`, or `None` if there is no such account.
    pub fn leaf_hash(&self, index: u32) -> Option<Hash> {
        (u64::from(index) < self.count).then(|| self.levels[0][index as usize / ARITY].child(index as usize % ARITY))
    }

    /// The path of leaf `index`: on each level from the leaves upward, the three siblings in order. `None` if there is no
    /// such account. With the account's [`crate::Leaf`] it makes an [`crate::InclusionProof`].
    pub fn prove(&self, index: u32) -> Option<Vec<Siblings>> {
        if u64::from(index) >= self.count {
            return None;
        }
        let path = (0..height(self.count)).map(|level| {
            let node = index as usize >> (2 * level);
            let group = &self.levels[level][node / ARITY];
            // The siblings' slots are the other three, in order: those from the node's own slot on are one further.
            std::array::from_fn(|sibling| group.child(sibling + usize::from(sibling >= node % ARITY)))
        });
        Some(path.collect())
    }

    /// Makes room for `count` accounts (never fewer than now); new places hold "missing".
    fn grow(&mut self, count: u64) {
        if count == self.count {
            return;
        }
        let levels = height(count).max(1);
        for level in 0..levels {
            let groups = count.div_ceil(1 << (2 * level)).div_ceil(ARITY as u64) as usize;
            if level == self.levels.len() {
                let mut groups = Vec::new();
                if let Some(below) = self.levels.last() {
                    // What was the whole tree is now the first of four nodes. If accounts are added below that node, it is
                    // hashed again; if it was full, this is its final value.
                    let mut top = Group::MISSING;
                    top.set_child(0, &keyed(&NODE_KEY, &below[0].0));
                    groups.push(top);
                }
                self.levels.push(groups);
            }
            let stored = &mut self.levels[level];
            if groups > stored.capacity() {
                // An eighth of room instead of the usual doubling: the tree is the largest thing in memory.
                stored.reserve_exact(groups - stored.len() + groups / 8);
            }
            stored.resize(groups, Group::MISSING);
        }
        self.count = count;
    }

    /// Writes the leaves of accounts with an overflow part over the ones without, which come from hashing records alone.
    fn store_long_leaves(&mut self, changes: &LeafChanges<'_>) {
        let mut hashes = [[0; HASH_BYTES]; LONG_LEAVES];
        for overflows in changes.overflows.chunks(LONG_LEAVES) {
            let hashes = &mut hashes[..overflows.len()];
            hash_long_leaves(changes.records, overflows, hashes);
            for ((position, _), hash) in overflows.iter().zip(hashes) {
                let index = changes.indexes[*position as usize] as usize;
                self.levels[0][index / ARITY].set_child(index % ARITY, hash);
            }
        }
    }

    /// Hashes from the `changed` groups of level 0 up to the root.
    fn climb(&mut self, threads: Option<&rayon::ThreadPool>) {
        let Self { levels, changed, hashes, .. } = self;
        for level in 1..height(self.count) {
            let (below, above) = levels.split_at_mut(level);
            let (source, target) = (&below[level - 1][..], &mut above[0][..]);
            let hash = |_: usize, nodes: &[u32], out: &mut [Hash]| keyed_each_at(&NODE_KEY, source, nodes, out);
            let touch = |nodes: &[u32]| nodes.iter().for_each(|&node| prefetch(&source[node as usize].0));
            raise(target, changed, hashes, threads, hash, touch);
        }
        // The group below the root is all that is left; in a tree of one account it is the leaf alone.
        self.root = match self.levels.last() {
            Some(top) if self.count > 1 => keyed(&NODE_KEY, &top[0].0),
            Some(top) => top[0].child(0),
            None => [0; HASH_BYTES],
        };
    }
}

/// Hashes the `changed` nodes of a level and writes them into `target`, where that level is kept; leaves in `changed` the groups
/// of `target` that they are in. `hash(start, nodes, out)` hashes the part `nodes` of `changed` that begins at `start`; `touch`
/// asks for the memory that hashing some nodes will read.
///
/// Alone, a thread works in tiles: while it hashes one, the memory that the next ones read and write is on its way.
fn raise(
    target: &mut [Group],
    changed: &mut Vec<u32>,
    hashes: &mut Vec<Hash>,
    threads: Option<&rayon::ThreadPool>,
    hash: impl Fn(usize, &[u32], &mut [Hash]) + Sync,
    touch: impl Fn(&[u32]),
) {
    let count = changed.len();
    let mut kept = 0;
    if let Some(threads) = threads.filter(|_| count > MESSAGES_PER_TASK) {
        hashes.resize(count, [0; HASH_BYTES]);
        threads.install(|| {
            let tasks = changed.par_chunks(MESSAGES_PER_TASK).zip(hashes.par_chunks_mut(MESSAGES_PER_TASK)).enumerate();
            tasks.for_each(|(task, (nodes, out))| hash(task * MESSAGES_PER_TASK, nodes, out));
        });
        kept = store(target, changed, 0, 0, hashes);
    } else {
        let mut out = [[0; HASH_BYTES]; TILE];
        for start in (0..count).step_by(TILE) {
            let part = |from: usize| from.min(count)..(from + TILE).min(count);
            for &node in &changed[part(start + TILE)] {
                prefetch(&target[node as usize / ARITY].0);
            }
            touch(&changed[part(start + 2 * TILE)]);
            let nodes = &changed[part(start)];
            let out = &mut out[..nodes.len()];
            hash(start, nodes, out);
            kept = store(target, changed, start, kept, out);
        }
    }
    changed.truncate(kept);
}

/// Writes `hashes` into `target` as the nodes `changed[start..]`, and puts their groups, each once, into `changed[kept..]`; gives
/// the end of those. `kept` never passes `start`, because every group has at least one node.
fn store(target: &mut [Group], changed: &mut [u32], start: usize, mut kept: usize, hashes: &[Hash]) -> usize {
    for (position, hash) in (start..).zip(hashes) {
        if let Some(ahead) = changed.get(position + PREFETCH_GROUPS) {
            prefetch(&target[*ahead as usize / ARITY].0);
        }
        let node = changed[position];
        let group = node / ARITY as u32;
        target[group as usize].set_child(node as usize % ARITY, hash);
        if kept == 0 || changed[kept - 1] != group {
            changed[kept] = group;
            kept += 1;
        }
    }
    kept
}
