//! The tree of hashes over all accounts.
//!
//! The four children of a node are kept together, 128 aligned bytes that are hashed where they lie. Level `h` holds the nodes
//! of height `h` in groups of four; places without a node are zero, as the definition of the root says. An update:
//! 1. Checks the changes, before anything is touched.
//! 2. Makes room for new accounts.
//! 3. Hashes the changed leaves and what is above them, sixteen at a time, up to the last group ([`crate::rise`]).
//! 4. Hashes that group: the root.

use tana_hash::{HASH_BYTES, Hash, keyed};

use crate::group::{ARITY, Group};
use crate::huge_pages;
use crate::leaf::NODE_KEY;
use crate::rise::{MESSAGES_PER_TASK, Scratch, rise_alone, rise_together};
use crate::{ACCOUNTS_MAX, ChangesError, LeafChanges, Siblings, height};

/// Leaf hashes that a rebuild takes in at a time; bounds the scratch memory of a rebuild to about 5 MiB.
const REBUILD_LEAVES: usize = 1 << 16;

/// The Merkle tree over all accounts, by account index.
///
/// Memory: 32 bytes for each leaf and 10.7 for the nodes above it, plus at most an eighth of that as room to grow. Updates on
/// one thread need a few KiB more; on a pool, 40 bytes for each change of the largest update so far.
#[derive(Clone, Debug, Default)]
pub struct AccountTree {
    count: u64,
    root: Hash,
    /// `levels[h]` holds the nodes of height `h`; empty without accounts, otherwise at least one level.
    levels: Vec<Vec<Group>>,
    scratch: Scratch,
}

impl AccountTree {
    /// A tree without accounts; its root is 32 zero bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree over leaf hashes (see [`crate::hash_leaves`]) in order of index. Threads make it faster, never different.
    ///
    /// # Errors
    /// [`ChangesError::Gap`] if there are more than [`ACCOUNTS_MAX`].
    pub fn from_leaves(
        leaves: impl IntoIterator<Item = Hash>,
        threads: Option<&rayon::ThreadPool>,
    ) -> Result<Self, ChangesError> {
        let mut tree = Self::new();
        let mut leaves = leaves.into_iter();
        let expected = (leaves.size_hint().0 as u64).min(ACCOUNTS_MAX);
        loop {
            let part: Vec<Hash> = leaves.by_ref().take(REBUILD_LEAVES).collect();
            if part.is_empty() {
                return Ok(tree);
            }
            let first = tree.count;
            let count = first + part.len() as u64;
            if count > ACCOUNTS_MAX {
                return Err(ChangesError::Gap { index: u32::MAX, count: first });
            }
            tree.grow(count, expected);
            // Not above ACCOUNTS_MAX, so they fit.
            let nodes: Vec<u32> = (first as u32..count as u32).collect();
            tree.rise(&nodes, threads, |start, _, out| out.copy_from_slice(&part[start..start + out.len()]));
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
        if !changes.indexes.is_empty() {
            self.grow(count, count);
            self.rise(changes.indexes, threads, |start, touch, out| changes.hash(start, touch, out));
        }
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

    /// Makes room for `count` accounts (never fewer than now); new places hold "missing". Memory is taken for as many as are
    /// `expected`, or else for an eighth more than needed: the usual doubling is too much for the largest thing in memory.
    fn grow(&mut self, count: u64, expected: u64) {
        if count == self.count {
            return;
        }
        let levels = height(count).max(1);
        for level in 0..levels {
            let groups = groups_at(level, count);
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
                let room = groups_at(level, expected).max(groups + groups / 8);
                // If there is no memory for what was expected, `resize` still asks for what is needed.
                let _ = stored.try_reserve_exact(room - stored.len());
                huge_pages::advise(stored);
            }
            stored.resize(groups, Group::MISSING);
        }
        self.count = count;
    }

    /// Writes the leaves `nodes` and hashes everything above them.
    fn rise(
        &mut self,
        nodes: &[u32],
        threads: Option<&rayon::ThreadPool>,
        hash_leaves: impl Fn(usize, &dyn Fn(usize), &mut [Hash]) + Sync,
    ) {
        match threads.filter(|_| nodes.len() > MESSAGES_PER_TASK) {
            Some(threads) => rise_together(&mut self.levels, nodes, &mut self.scratch, threads, hash_leaves),
            None => rise_alone(&mut self.levels, nodes, &mut self.scratch, hash_leaves),
        }
        self.root = match self.levels.last() {
            Some(top) if self.count > 1 => keyed(&NODE_KEY, &top[0].0),
            Some(top) => top[0].child(0),
            None => [0; HASH_BYTES],
        };
    }
}

/// Groups of the level of height `level` in a tree of `count` accounts.
fn groups_at(level: usize, count: u64) -> usize {
    count.div_ceil(1 << (2 * level)).div_ceil(ARITY as u64) as usize
}
