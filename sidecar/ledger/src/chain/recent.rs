//! What stands in for look-up tables of the newest segments, which the node has not made yet.
//!
//! It is made only when somebody asks by identifier or by account, from where the last question left it up to the head, and costs nothing before.
//! 8 bytes for each account that a transaction is from or to, and about 30 for each identifier; a segment is let go when its table is there.
//! Where more transactions come than are kept, the oldest are let go: segments whole, and of the last one its oldest blocks. What is asked of
//! those cannot be answered until the node has made the table.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use tana_engine::indexer::{key_of_id, place, place_of};
use tana_types::account::AccountIndex;

use super::ChainError;
use super::describe::parties;
use super::files::{AccountPlaces, Content, Files};

/// Segments without a table that are looked at at the most; where the node makes none (`log.index = false`), older ones are not found.
const SEGMENTS_MAX: u32 = 4;
/// Transactions that are kept at the most, about 46 bytes each; the oldest go first.
const TRANSACTIONS_MAX: usize = 6_000_000;
/// Blocks that are kept at the most: one without a transaction takes room too.
const BLOCKS_MAX: usize = 2_000_000;
/// Keys that are looked up while the state is held.
pub(crate) const KEYS_PER_LOOK: usize = 256;

/// Looks keys up, at most [`KEYS_PER_LOOK`] at once; fails when the state cannot say who has which key.
pub(crate) type FindKeys<'a> = &'a dyn Fn(&[[u8; 32]]) -> Result<Vec<Option<AccountIndex>>, ChainError>;

/// What is kept of a segment for one question.
pub(crate) struct Found {
    /// The places.
    pub places: Vec<u64>,
    /// Whether that is all: otherwise older blocks of the segment are not kept.
    pub is_all: bool,
}

#[derive(Default)]
struct RecentSegment {
    first_height: u64,
    /// Whether blocks before `first_height` were let go.
    is_cut: bool,
    transactions: usize,
    /// Transactions of each block, and the accounts they are from and to.
    blocks: VecDeque<(usize, AccountPlaces)>,
    /// Places by the first eight bytes of an identifier.
    ids: HashMap<u64, u64, ahash::RandomState>,
    /// Places whose key was taken: copies of a transaction, mostly.
    more_ids: Vec<(u64, u64)>,
}

impl RecentSegment {
    /// Lets go of the oldest blocks until at most so many transactions and blocks are left. The newest block stays.
    fn cut(&mut self, transactions_max: usize, blocks_max: usize) {
        while self.blocks.len() > 1 && (self.transactions > transactions_max || self.blocks.len() > blocks_max) {
            let Some((transactions, _)) = self.blocks.pop_front() else { break };
            self.transactions -= transactions;
            self.first_height += 1;
            self.is_cut = true;
        }
        let first = place(self.first_height, 0);
        self.ids.retain(|_, at| *at >= first);
        self.more_ids.retain(|(_, at)| *at >= first);
    }
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Recent {
    segments: BTreeMap<u32, RecentSegment>,
    /// Of all segments together.
    transactions: usize,
    blocks: usize,
    /// The next height to take in.
    next: Option<u64>,
}

/// The accounts that a block's transactions are from and to.
///
/// # Errors
/// What `find` says; nothing is kept then, so that the next question looks again.
pub(crate) fn account_places<'a>(content: &'a Content, find: FindKeys<'_>) -> Result<&'a AccountPlaces, ChainError> {
    if let Some(places) = content.by_account.get() {
        return Ok(places);
    }
    let mut keys: Vec<([u8; 32], u32)> = Vec::with_capacity(2 * content.block.codes.len());
    for ((transaction, _), index) in content.transactions().zip(0..) {
        let (sender, other) = parties(&transaction);
        keys.push((sender, index));
        keys.extend(other.map(|key| (key, index)));
    }
    let mut places = AccountPlaces::with_capacity(keys.len());
    for chunk in keys.chunks(KEYS_PER_LOOK) {
        let wanted: Vec<[u8; 32]> = chunk.iter().map(|(key, _)| *key).collect();
        let found = find(&wanted)?.into_iter().zip(chunk);
        places.extend(found.filter_map(|(account, (_, index))| Some((account?, *index))));
    }
    places.sort_unstable();
    Ok(content.by_account.get_or_init(|| places))
}

impl Recent {
    /// Takes in what is new, until `until` at the most.
    ///
    /// # Errors
    /// [`ChainError::TooLong`] when there was not enough time; what was done is kept.
    pub(crate) fn catch_up(&mut self, files: &Files, find: FindKeys<'_>, until: Instant) -> Result<(), ChainError> {
        let Some((head, last)) = files.blocks.last() else { return Ok(()) };
        self.segments.retain(|segment, _| *segment == last.segment || !files.tables.exist(*segment));
        self.count();
        let next = match self.next {
            Some(next) => next,
            None => self.begin(files, last.segment)?,
        };
        self.next = Some(next);
        for height in next..=head {
            if Instant::now() >= until {
                return Err(ChainError::TooLong);
            }
            // What was pruned meanwhile is not looked for any more.
            let Some(position) = files.blocks.find(height)? else {
                self.next = None;
                return Err(ChainError::TooLong);
            };
            if position.segment == last.segment || !files.tables.exist(position.segment) {
                let content = files.content(height, false)?;
                self.take(position.segment, height, &content, account_places(&content, find)?);
                self.bound(TRANSACTIONS_MAX, BLOCKS_MAX);
            }
            self.next = Some(height + 1);
        }
        Ok(())
    }

    /// The first height of the segments at the end that have no table.
    fn begin(&self, files: &Files, last: u32) -> Result<u64, ChainError> {
        let first = files.blocks.first_segment()?.max((last + 1).saturating_sub(SEGMENTS_MAX));
        let mut segment = last;
        while segment > first && !files.tables.exist(segment - 1) {
            segment -= 1;
        }
        files.blocks.first_height(segment)?.ok_or(ChainError::TooLong)
    }

    /// Takes in a block and the accounts that its transactions are from and to.
    pub(super) fn take(&mut self, segment: u32, height: u64, content: &Content, accounts: &AccountPlaces) {
        let recent = self.segments.entry(segment).or_default();
        if recent.blocks.is_empty() {
            recent.first_height = height;
        }
        let transactions = content.block.codes.len();
        recent.blocks.push_back((transactions, accounts.clone()));
        for ((_, id), index) in content.transactions().zip(0..) {
            let (key, at) = (key_of_id(id), place(height, index));
            if let Some(before) = recent.ids.insert(key, at) {
                recent.more_ids.push((key, before));
            }
        }
        recent.transactions += transactions;
        self.transactions += transactions;
        self.blocks += 1;
    }

    /// One that has nothing and needs nothing below `next`.
    #[cfg(test)]
    pub(super) fn caught_up(next: u64) -> Self {
        Self { next: Some(next), ..Self::default() }
    }

    /// Blocks of all segments.
    #[cfg(test)]
    pub(super) fn kept_blocks(&self) -> usize {
        self.segments.values().map(|recent| recent.blocks.len()).sum()
    }

    /// What all segments hold.
    fn count(&mut self) {
        self.transactions = self.segments.values().map(|recent| recent.transactions).sum();
        self.blocks = self.segments.values().map(|recent| recent.blocks.len()).sum();
    }

    /// Lets go of what is too much.
    pub(super) fn bound(&mut self, transactions_max: usize, blocks_max: usize) {
        if self.transactions <= transactions_max && self.blocks <= blocks_max {
            return;
        }
        if self.segments.len() > 1 {
            self.segments.pop_first();
        } else if let Some(mut last) = self.segments.first_entry() {
            // A quarter at once, because what goes is looked for among all identifiers.
            last.get_mut().cut(transactions_max / 4 * 3, blocks_max / 4 * 3);
        }
        self.count();
    }

    /// Places of identifiers that begin like this key, by segment; every segment that is here has an entry.
    pub(crate) fn ids(&self, key: u64) -> BTreeMap<u32, Found> {
        let find = |recent: &RecentSegment| {
            let more = recent.more_ids.iter().filter(|(other, _)| *other == key).map(|(_, at)| *at);
            let places = recent.ids.get(&key).copied().into_iter().chain(more).collect();
            Found { places, is_all: !recent.is_cut }
        };
        self.segments.iter().map(|(segment, recent)| (*segment, find(recent))).collect()
    }

    /// At most `limit` places in each segment that are from or to an account, below `before`, newest first; every segment that is here has an
    /// entry.
    pub(crate) fn account(&self, account: AccountIndex, before: u64, limit: usize) -> BTreeMap<u32, Found> {
        let find = |recent: &RecentSegment| {
            let mut places = Vec::new();
            let upper = place_of(before).0.saturating_sub(recent.first_height).saturating_add(1);
            let count = usize::try_from(upper).unwrap_or(usize::MAX).min(recent.blocks.len());
            let heights = (recent.first_height..recent.first_height + count as u64).rev();
            for ((_, accounts), height) in recent.blocks.range(..count).rev().zip(heights) {
                let first = accounts.partition_point(|entry| entry.0 < account);
                let end = accounts.partition_point(|entry| entry.0 <= account);
                let found = accounts[first..end].iter().rev().map(|(_, index)| place(height, *index as usize));
                places.extend(found.filter(|at| *at < before));
                if places.len() >= limit {
                    break;
                }
            }
            let is_all = !recent.is_cut || places.len() >= limit;
            places.truncate(limit);
            Found { places, is_all }
        };
        self.segments.iter().map(|(segment, recent)| (*segment, find(recent))).collect()
    }
}
