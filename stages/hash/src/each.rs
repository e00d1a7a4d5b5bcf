//! Batches of messages: which ones share a group of lanes, and what happens to the rest.
//!
//! A group of sixteen lanes takes as many steps as its longest message has blocks, so that mixed lengths in one group
//! waste lanes. Messages of mixed lengths are therefore handled in windows:
//! 1. Count the 64-byte blocks of each message of the window.
//! 2. If they all have the same count (the usual case: one kind of transaction), keep their order.
//! 3. Otherwise order them by count with a counting sort; only indexes move.
//! 4. Hash sixteen at a time in that order and put every hash where its message stood.
//!
//! Messages above 1024 bytes, and a message left alone in its group, go through the `blake3` crate one at a time.
//! Without AVX-512 all do. What comes out never depends on which path was taken.

use crate::lanes::{BLOCK_BYTES, CHUNK_BYTES, LANES, Lanes, Mode};
use crate::{Hash, HashKey};

/// Messages looked at together. Indexes within a window fit a byte, and the sorted order is 256 bytes on the stack.
const WINDOW: usize = 256;

/// Block counts of messages that fit one chunk are 1..=16; 17 stands for anything longer.
const LONG: usize = CHUNK_BYTES / BLOCK_BYTES + 1;

/// The plain hash of each message, in place: `out[i]` is the hash of `inputs[i]`. Lengths may differ.
///
/// # Panics
/// If `inputs` and `out` differ in length.
pub fn hash_each(inputs: &[&[u8]], out: &mut [Hash]) {
    each(Lanes::detect(), &Mode::PLAIN, inputs, out, crate::hash);
}

/// The hash of each message under `key`, in place: `out[i]` is the hash of `inputs[i]`. Lengths may differ.
///
/// # Panics
/// If `inputs` and `out` differ in length.
pub fn keyed_each(key: &HashKey, inputs: &[&[u8]], out: &mut [Hash]) {
    each(Lanes::detect(), &Mode::keyed(key.as_bytes()), inputs, out, |bytes| crate::keyed(key, bytes));
}

/// The hash under `key` of each message of `N` bytes (1..=1024): `out[i]` is the hash of `inputs[i]`.
///
/// # Panics
/// If `inputs` and `out` differ in length.
pub fn keyed_each_fixed<const N: usize>(key: &HashKey, inputs: &[[u8; N]], out: &mut [Hash]) {
    assert_eq!(inputs.len(), out.len(), "one hash for each message");
    fixed(Lanes::detect(), key, inputs.len(), |index| &inputs[index], |_| {}, out);
}

/// The hash under `key` of messages of `N` bytes (1..=1024) that lie anywhere: `out[i]` is the hash of `message(i)`.
///
/// Made for trees whose nodes are spread over large tables: `touch` is called at least once for each place, here and there between
/// the steps of hashing it, so that it can [`prefetch`](crate::prefetch) what is needed next at hardly any cost. A core has only
/// some sixteen requests for memory under way; spread like this, they do not queue up in front of the arithmetic.
pub fn keyed_each_from<'a, const N: usize>(
    key: &HashKey,
    message: impl Fn(usize) -> &'a [u8; N],
    touch: impl Fn(usize),
    out: &mut [Hash],
) {
    fixed(Lanes::detect(), key, out.len(), message, touch, out);
}

/// Hashes `count` messages of one length, which `message` gives by position; without lanes one at a time.
#[inline]
pub(crate) fn fixed<'a, const N: usize>(
    lanes: Option<Lanes>,
    key: &HashKey,
    count: usize,
    message: impl Fn(usize) -> &'a [u8; N],
    touch: impl Fn(usize),
    out: &mut [Hash],
) {
    let mut done = 0;
    if let Some(lanes) = lanes {
        let mode = Mode::keyed(key.as_bytes());
        let (groups, _) = out.as_chunks_mut::<LANES>();
        for group in groups {
            let inputs: [&[u8; N]; LANES] = std::array::from_fn(|lane| message(done + lane));
            lanes.hash_fixed(&mode, &inputs, |lane| touch(done + lane), group);
            done += LANES;
        }
        if count - done > 1 {
            // The last group is not full: its free lanes hash the last message again, and those copies are dropped.
            let inputs: [&[u8; N]; LANES] = std::array::from_fn(|lane| message((done + lane).min(count - 1)));
            let mut group = [[0; 32]; LANES];
            lanes.hash_fixed(&mode, &inputs, |lane| touch((done + lane).min(count - 1)), &mut group);
            out[done..].copy_from_slice(&group[..count - done]);
            done = count;
        }
    }
    for (index, hash) in out.iter_mut().enumerate().skip(done) {
        touch(index);
        *hash = crate::keyed(key, message(index));
    }
}

/// Hashes messages of any lengths; `one` is the same function for a single message. Without lanes one at a time.
pub(crate) fn each(lanes: Option<Lanes>, mode: &Mode, inputs: &[&[u8]], out: &mut [Hash], one: impl Fn(&[u8]) -> Hash) {
    assert_eq!(inputs.len(), out.len(), "one hash for each message");
    let Some(lanes) = lanes else {
        for (input, hash) in inputs.iter().zip(out) {
            *hash = one(input);
        }
        return;
    };
    for (inputs, out) in inputs.chunks(WINDOW).zip(out.chunks_mut(WINDOW)) {
        let mut order = [0u8; WINDOW];
        let short = order_by_blocks(inputs, &mut order);
        let (order, long) = order[..inputs.len()].split_at(short);
        for group in order.chunks(LANES) {
            if let [single] = *group {
                out[usize::from(single)] = one(inputs[usize::from(single)]);
                continue;
            }
            // Free lanes hash the empty message, which takes one step of the many that the group takes anyway.
            let messages = std::array::from_fn(|lane| group.get(lane).map_or(&[][..], |&at| inputs[usize::from(at)]));
            let mut hashes = [[0; 32]; LANES];
            lanes.hash_mixed(mode, &messages, &mut hashes);
            for (&at, hash) in group.iter().zip(hashes) {
                out[usize::from(at)] = hash;
            }
        }
        for &at in long {
            out[usize::from(at)] = one(inputs[usize::from(at)]);
        }
    }
}

/// Fills `order` with the indexes of a window's messages, by rising count of blocks and otherwise in place; returns how
/// many of them fit one chunk (the others come last).
fn order_by_blocks(inputs: &[&[u8]], order: &mut [u8; WINDOW]) -> usize {
    let mut ends = [0usize; LONG + 1];
    for input in inputs {
        ends[block_count(input)] += 1;
    }
    let short = inputs.len() - ends[LONG];
    if ends.contains(&inputs.len()) {
        for (index, slot) in order.iter_mut().enumerate() {
            *slot = index as u8;
        }
        return short;
    }
    let mut start = 0;
    for end in &mut ends {
        start += std::mem::replace(end, start);
    }
    for (index, input) in inputs.iter().enumerate() {
        let place = &mut ends[block_count(input)];
        order[*place] = index as u8;
        *place += 1;
    }
    short
}

/// Blocks of a message: at least 1 (the empty message has one block of length 0), at most [`LONG`].
fn block_count(input: &[u8]) -> usize {
    input.len().div_ceil(BLOCK_BYTES).clamp(1, LONG)
}
