//! A run of accounts that is fetched and checked on its own, and the tree over all runs.
//!
//! The tree of accounts is 4-ary by index, so the 4,096 accounts from `4096 k` on hang under the one node of height 6 and number `k`. Its hash
//! is all that is needed to check them, whoever sent them:
//! 1. Read the records and the overflows; exactly the accounts that say so have one.
//! 2. Hash the leaves, then level by level up to the node of height 6; places without an account are zero.
//! 3. Compare with the node that the manifest names. The manifest's nodes themselves are checked by hashing on to the root.
//!
//! When all accounts fit one run, its root is the tree's root, which may be lower than height 6.
//!
//! The bytes of a run: overflow count 4, records of 96 bytes, then per overflow: position in the run 4, length 4, bytes.

use std::sync::LazyLock;

use tana_hash::{HashKey, keyed, keyed_each_fixed};
use tana_root::{NODE_CONTEXT, hash_leaves};
use tana_types::Hash;
use tana_types::account::{HotAccount, RECORD_BYTES};
use tana_types::codec::{DecodeError, Reader};

/// Levels of the tree below the node that stands for a run.
const CHUNK_LEVELS: u32 = 6;
/// Accounts of a full run.
pub const CHUNK_ACCOUNTS: u32 = 1 << (2 * CHUNK_LEVELS);
/// The most bytes of an account's overflow: version, name, display name, biography and 64 balances, with their lengths.
pub const OVERFLOW_BYTES_MAX: usize = 1 + 51 + 101 + 1_002 + 2 + 64 * 20;
/// The most bytes of a run.
pub const CHUNK_BYTES_MAX: usize = 4 + CHUNK_ACCOUNTS as usize * (RECORD_BYTES + 8 + OVERFLOW_BYTES_MAX);

/// Children of a node.
const ARITY: usize = 4;
/// Bytes of a node's children.
const NODE_BYTES: usize = ARITY * 32;

static NODE_KEY: LazyLock<HashKey> = LazyLock::new(|| HashKey::from_context(NODE_CONTEXT));

/// Runs of a state with so many accounts.
pub fn chunk_count(account_count: u32) -> u32 {
    account_count.div_ceil(CHUNK_ACCOUNTS)
}

/// Accounts in run `number`; 0 behind the last.
pub fn accounts_in(account_count: u32, number: u32) -> u32 {
    let first = u64::from(number) * u64::from(CHUNK_ACCOUNTS);
    u64::from(account_count).saturating_sub(first).min(u64::from(CHUNK_ACCOUNTS)) as u32
}

/// An overflow: position in the run and canonical bytes.
pub type OverflowAt<'a> = (u32, &'a [u8]);

/// Writes a run's bytes behind what is in `out`.
pub fn encode_chunk(records: &[[u8; RECORD_BYTES]], overflows: &[(u32, Vec<u8>)], out: &mut Vec<u8>) {
    out.extend_from_slice(&(overflows.len() as u32).to_le_bytes());
    out.extend_from_slice(records.as_flattened());
    for (position, bytes) in overflows {
        out.extend_from_slice(&position.to_le_bytes());
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    }
}

/// A run, read in place.
#[derive(Debug)]
pub struct Chunk<'a> {
    /// The accounts' records.
    pub records: &'a [[u8; RECORD_BYTES]],
    /// The overflows, ascending by position.
    pub overflows: Vec<OverflowAt<'a>>,
}

impl<'a> Chunk<'a> {
    /// Reads a run of `accounts` accounts. Nothing is known of its truth before [`Chunk::root`].
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &'a [u8], accounts: u32) -> Result<Self, DecodeError> {
        let rule = |field, rule| Err(DecodeError::Invalid { field, rule });
        let mut reader = Reader::new(bytes);
        let count = reader.u32("overflow count")?;
        if count > accounts || accounts > CHUNK_ACCOUNTS {
            return rule("overflow count", "at most the accounts of the run");
        }
        let (records, _) = reader.bytes(accounts as usize * RECORD_BYTES, "records")?.as_chunks();
        let mut flagged =
            (0..accounts).filter(|place| HotAccount::from_record(&records[*place as usize]).1.has_overflow());
        let mut overflows = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let (position, length) = (reader.u32("overflow position")?, reader.u32("overflow length")? as usize);
            if flagged.next() != Some(position) || length == 0 || length > OVERFLOW_BYTES_MAX {
                return rule("overflows", "one for each account that says so, in order, of 1 to 2,437 bytes");
            }
            overflows.push((position, reader.bytes(length, "overflow")?));
        }
        if flagged.next().is_some() {
            return rule("overflows", "one for each account that says so");
        }
        reader.finish()?;
        Ok(Self { records, overflows })
    }

    /// The hash of the node that the run hangs under; `alone` when it holds all accounts there are.
    pub fn root(&self, alone: bool) -> Hash {
        let overflow_bytes: Vec<&[u8]> = self.overflows.iter().map(|(_, bytes)| *bytes).collect();
        let mut overflow_hashes = vec![[0; 32]; overflow_bytes.len()];
        tana_hash::hash_each(&overflow_bytes, &mut overflow_hashes);
        let overflows: Vec<(u32, Hash)> =
            self.overflows.iter().zip(overflow_hashes).map(|((position, _), hash)| (*position, hash)).collect();
        let mut nodes = vec![[0; 32]; self.records.len()];
        hash_leaves(self.records, &overflows, &mut nodes);
        let mut level = 0;
        while nodes.len() > 1 {
            nodes = level_above(&nodes);
            level += 1;
        }
        let mut node = nodes.first().copied().unwrap_or_default();
        while !alone && level < CHUNK_LEVELS {
            node = level_above(&[node])[0];
            level += 1;
        }
        node
    }
}

/// The root of the whole tree from the nodes of its runs, in order.
pub fn root_of_chunks(nodes: &[Hash]) -> Hash {
    let mut nodes = nodes.to_vec();
    while nodes.len() > 1 {
        nodes = level_above(&nodes);
    }
    nodes.first().copied().unwrap_or_default()
}

/// The nodes above `nodes`, which begin at number 0 of their level; what is missing at the end is zero. Never empty unless `nodes` is.
fn level_above(nodes: &[Hash]) -> Vec<Hash> {
    let (whole, rest) = nodes.as_chunks::<ARITY>();
    let mut messages: Vec<[u8; NODE_BYTES]> = Vec::with_capacity(whole.len() + 1);
    messages.extend(whole.iter().map(|children| {
        let mut message = [0; NODE_BYTES];
        message.copy_from_slice(children.as_flattened());
        message
    }));
    if !rest.is_empty() {
        let mut message = [0; NODE_BYTES];
        message[..rest.len() * 32].copy_from_slice(rest.as_flattened());
        messages.push(message);
    }
    match messages.as_slice() {
        [message] => vec![keyed(&NODE_KEY, message)],
        _ => {
            let mut out = vec![[0; 32]; messages.len()];
            keyed_each_fixed(&NODE_KEY, &messages, &mut out);
            out
        }
    }
}
