//! From changed leaves to the root: the two ways to walk the tree, which compute the same.
//!
//! A tree of a million accounts is far larger than a core's caches, and what a block changes is spread all over it. The time goes
//! into hashing and into fetching memory, and the two have to overlap.
//!
//! **Alone** ([`rise_alone`]), a thread goes depth first in tiles, so that what it has just written is still in the cache
//! when it is hashed:
//! 1. Hash a tile of leaves; meanwhile the groups that they belong to are prefetched. Write them, and note these groups as pending.
//! 2. While a level has more than a tile pending, hash its pending groups the same way and write them into the level above, which
//!    gets pending groups in turn. The last pending group stays: the next leaves may change it again.
//! 3. After the last leaf, hash what is pending on each level, from the bottom up.
//!
//! **Together** ([`rise_together`]), threads hash one whole level at a time, each a part of it; one thread writes the results.

use rayon::prelude::*;
use tana_hash::{HASH_BYTES, Hash, LANES, keyed_each_from, prefetch};

use crate::HEIGHT_MAX;
use crate::group::{ARITY, Group, store};
use crate::leaf::NODE_KEY;

/// Nodes that are hashed before any is written: 8 groups of lanes take 2.5 us, enough to hide trips to memory, and touch 16 KiB.
const TILE: usize = 8 * LANES;

/// Messages that a thread takes at a time: about 20 us of hashing, well above the cost of handing work over.
pub(crate) const MESSAGES_PER_TASK: usize = 1024;

/// Memory that updates work in; kept between them only to spare the allocations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    /// Per level, groups that changed and are not hashed yet.
    pending: [Vec<u32>; HEIGHT_MAX],
    /// Hashes of one level, for threads.
    hashes: Vec<Hash>,
}

/// Writes the leaves `nodes` (rising) and everything above them but the root. `levels` are all that lie below the root;
/// `hash_leaves(start, touch, out)` gives the hashes of `nodes[start..]`, as many as `out` takes, and calls `touch` with each
/// position meanwhile.
pub(crate) fn rise_alone(
    levels: &mut [Vec<Group>],
    nodes: &[u32],
    scratch: &mut Scratch,
    hash_leaves: impl Fn(usize, &dyn Fn(usize), &mut [Hash]),
) {
    let pending = &mut scratch.pending;
    let mut hashes = [[0; HASH_BYTES]; TILE];
    for start in (0..nodes.len()).step_by(TILE) {
        let tile = &nodes[start..nodes.len().min(start + TILE)];
        let hashes = &mut hashes[..tile.len()];
        let target = &mut levels[0];
        let touch = |position: usize| prefetch(&target[nodes[position] as usize / ARITY].0);
        hash_leaves(start, &touch, hashes);
        store(target, tile, hashes, &mut pending[0]);
        for level in 1..levels.len() {
            if pending[level - 1].len() <= TILE {
                break;
            }
            hash_pending(levels, level, pending, TILE);
        }
    }
    for level in 1..levels.len() {
        while !pending[level - 1].is_empty() {
            let count = pending[level - 1].len().min(TILE);
            hash_pending(levels, level, pending, count);
        }
    }
    pending.iter_mut().for_each(Vec::clear);
}

/// Hashes the first `count` pending groups below `level`, at most a tile, and writes them into it.
fn hash_pending(levels: &mut [Vec<Group>], level: usize, pending: &mut [Vec<u32>], count: usize) {
    let (below, above) = levels.split_at_mut(level);
    let (source, target) = (&below[level - 1], &mut above[0]);
    let (pending_below, pending_above) = pending.split_at_mut(level);
    let nodes = &mut pending_below[level - 1];
    let message = |place: usize| &source[nodes[place] as usize].0;
    let touch = |place: usize| prefetch(&target[nodes[place] as usize / ARITY].0);
    let mut hashes = [[0; HASH_BYTES]; TILE];
    keyed_each_from(&NODE_KEY, message, touch, &mut hashes[..count]);
    store(target, &nodes[..count], &hashes[..count], &mut pending_above[0]);
    nodes.drain(..count);
}

/// As [`rise_alone`], on the threads of a pool.
pub(crate) fn rise_together(
    levels: &mut [Vec<Group>],
    nodes: &[u32],
    scratch: &mut Scratch,
    threads: &rayon::ThreadPool,
    hash_leaves: impl Fn(usize, &dyn Fn(usize), &mut [Hash]) + Sync,
) {
    let Scratch { pending, hashes } = scratch;
    let Some((leaves, _)) = levels.split_first_mut() else { return };
    spread(nodes.len(), hashes, threads, |start, out| hash_leaves(start, &|_| {}, out));
    store(leaves, nodes, hashes, &mut pending[0]);
    for level in 1..levels.len() {
        let (below, above) = levels.split_at_mut(level);
        let (source, target) = (&below[level - 1], &mut above[0]);
        let (pending_below, pending_above) = pending.split_at_mut(level);
        let nodes = &mut pending_below[level - 1];
        spread(nodes.len(), hashes, threads, |start, out| {
            let message = |place: usize| &source[nodes[start + place] as usize].0;
            let touch = |place: usize| {
                if let Some(&ahead) = nodes.get(start + place + 2 * LANES) {
                    prefetch(&source[ahead as usize].0);
                }
            };
            keyed_each_from(&NODE_KEY, message, touch, out);
        });
        store(target, nodes, hashes, &mut pending_above[0]);
        nodes.clear();
    }
    pending.iter_mut().for_each(Vec::clear);
}

/// Fills `hashes` with `count` hashes; `hash(start, out)` gives the part that begins at `start`.
fn spread(count: usize, hashes: &mut Vec<Hash>, threads: &rayon::ThreadPool, hash: impl Fn(usize, &mut [Hash]) + Sync) {
    hashes.resize(count, [0; HASH_BYTES]);
    if count <= MESSAGES_PER_TASK {
        return hash(0, hashes);
    }
    threads.install(|| {
        let tasks = hashes.par_chunks_mut(MESSAGES_PER_TASK).enumerate();
        tasks.for_each(|(task, out)| hash(task * MESSAGES_PER_TASK, out));
    });
}
