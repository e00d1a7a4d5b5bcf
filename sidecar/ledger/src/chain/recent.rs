//! What stands in for look-up tables of the newest segments, which the node has not made yet.
//!
//! It is made only when somebody asks by identifier or by account, from where the last question left it up to the head, and costs nothing before.
//! 8 bytes for each account that a transaction is from or to, and about 30 for each identifier; a segment is let go when its table is there.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use tana_engine::indexer::{key_of_id, place, place_of};
use tana_types::account::AccountIndex;

use super::ChainError;
use super::describe::parties;
use super::files::{AccountPlaces, Content, Files};

/// Segments without a table that are looked at at the most; where the node makes none (`log.index = false`), older ones are not found.
const SEGMENTS_MAX: u32 = 4;
/// Transactions that are kept at the most, about 46 bytes each; the oldest segment goes first.
const TRANSACTIONS_MAX: usize = 6_000_000;
/// Keys that are looked up while the state is held.
pub(crate) const KEYS_PER_LOOK: usize = 256;

/// Looks keys up, at most [`KEYS_PER_LOOK`] at once; fails when the state cannot say who has which key.
pub(crate) type FindKeys<'a> = &'a dyn Fn(&[[u8; 32]]) -> Result<Vec<Option<AccountIndex>>, ChainError>;

#[derive(Default)]
struct RecentSegment {
    first_height: u64,
    transactions: usize,
    /// One per block.
    accounts: Vec<AccountPlaces>,
    /// Places by the first eight bytes of an identifier.
    ids: HashMap<u64, u64, ahash::RandomState>,
    /// Places whose key was taken: copies of a transaction, mostly.
    more_ids: Vec<(u64, u64)>,
}

/// See the module's text.
#[derive(Default)]
pub(crate) struct Recent {
    segments: BTreeMap<u32, RecentSegment>,
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

    fn take(&mut self, segment: u32, height: u64, content: &Content, accounts: &AccountPlaces) {
        let recent = self.segments.entry(segment).or_default();
        if recent.accounts.is_empty() {
            recent.first_height = height;
        }
        recent.accounts.push(accounts.clone());
        for ((_, id), index) in content.transactions().zip(0..) {
            let (key, at) = (key_of_id(id), place(height, index));
            if let Some(before) = recent.ids.insert(key, at) {
                recent.more_ids.push((key, before));
            }
        }
        recent.transactions += content.block.codes.len();
        let all: usize = self.segments.values().map(|recent| recent.transactions).sum();
        if all > TRANSACTIONS_MAX && self.segments.len() > 1 {
            self.segments.pop_first();
        }
    }

    /// Places of identifiers that begin like this key, by segment; every segment that is here has an entry.
    pub(crate) fn ids(&self, key: u64) -> BTreeMap<u32, Vec<u64>> {
        let find = |recent: &RecentSegment| {
            let more = recent.more_ids.iter().filter(|(other, _)| *other == key).map(|(_, at)| *at);
            recent.ids.get(&key).copied().into_iter().chain(more).collect()
        };
        self.segments.iter().map(|(segment, recent)| (*segment, find(recent))).collect()
    }

    /// At most `limit` places in each segment that are from or to an account, below `before`, newest first; every segment that is here has an
    /// entry.
    pub(crate) fn account(&self, account: AccountIndex, before: u64, limit: usize) -> BTreeMap<u32, Vec<u64>> {
        let find = |recent: &RecentSegment| {
            let mut places = Vec::new();
            let upper = place_of(before).0.saturating_sub(recent.first_height).saturating_add(1);
            let blocks =
                recent.accounts.iter().zip(recent.first_height..).take(usize::try_from(upper).unwrap_or(usize::MAX));
            let blocks: Vec<_> = blocks.collect();
            for (accounts, height) in blocks.into_iter().rev() {
                let first = accounts.partition_point(|entry| entry.0 < account);
                let end = accounts.partition_point(|entry| entry.0 <= account);
                let found = accounts[first..end].iter().rev().map(|(_, index)| place(height, *index as usize));
                places.extend(found.filter(|at| *at < before));
                if places.len() >= limit {
                    break;
                }
            }
            places.truncate(limit);
            places
        };
        self.segments.iter().map(|(segment, recent)| (*segment, find(recent))).collect()
    }
}
