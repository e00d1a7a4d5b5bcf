//! Finds transactions by identifier and by account: newest segments first, each by its table or by what stands in for one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tana_engine::indexer::{TableKind, key_of_id, place, place_of};
use tana_types::Hash;
use tana_types::account::AccountIndex;
use tana_types::code::Code;

use super::describe::{Decimals, describe_transaction};
use super::files::Files;
use super::recent::{FindKeys, Found};
use super::{ChainError, Place, TransactionPage, TransactionView};

/// How long one look-up may take.
pub(crate) const LOOKUP_TIME: Duration = Duration::from_secs(2);

/// What a look-up works with.
pub(crate) struct Lookup<'a> {
    /// The files.
    pub files: &'a Files,
    /// Accounts by key.
    pub find: FindKeys<'a>,
    /// For amounts.
    pub decimals: Decimals,
}

/// How much an end says: where the nonce was consumed with effect, where it was consumed without, where it was passed over.
fn rank(code: u8) -> u8 {
    match Code::from_u8(code) {
        Some(Code::Applied) => 2,
        Some(code) if code.is_skipped() => 0,
        _ => 1,
    }
}

impl Lookup<'_> {
    /// The segments that are kept and begin at or below `height`, newest first.
    fn segments(&self, height: u64) -> Result<impl Iterator<Item = u32> + use<>, ChainError> {
        let (first, last) = match self.files.blocks.last() {
            None => (1, 0),
            Some((head, last)) if height >= head => (self.files.blocks.first_segment()?, last.segment),
            Some((_, last)) => {
                (self.files.blocks.first_segment()?, self.files.blocks.segment_of(height, last.segment)?)
            }
        };
        Ok((first..=last).rev())
    }

    /// The transaction with this identifier, found before `until`: where it says most; of two ends alike the earlier one.
    pub(crate) fn by_id(&self, id: &Hash, until: Instant) -> Result<TransactionView, ChainError> {
        let recent = {
            let mut recent = self.files.recent.lock();
            recent.catch_up(self.files, self.find, until)?;
            recent.ids(key_of_id(id))
        };
        let mut best: Option<(u8, TransactionView)> = None;
        for segment in self.segments(u64::MAX)? {
            // One look into a table may cost several reads, and there may be thousands.
            if Instant::now() >= until {
                return Err(ChainError::TimeOver);
            }
            let Found { mut places, is_all } = self.places_of_id(&recent, segment, id)?;
            places.sort_unstable();
            for at in places.into_iter().rev() {
                if Instant::now() >= until {
                    return Err(ChainError::TimeOver);
                }
                let (height, index) = place_of(at);
                let content = self.files.content(height, true)?;
                if content.transaction(index).is_none_or(|(_, found)| found != id) {
                    continue;
                }
                let rank = content.block.codes.get(index as usize).map_or(0, |code| rank(*code));
                if best.as_ref().is_none_or(|(other, _)| rank >= *other) {
                    best = describe_transaction(&content, index, &self.decimals).map(|view| (rank, view)).or(best);
                }
            }
            // Applied is once and for all; a failure or a copy may hide an older place that says more.
            if best.as_ref().is_some_and(|(rank, _)| *rank == 2) {
                break;
            }
            if !is_all {
                return Err(ChainError::TooLong);
            }
        }
        best.map(|(_, view)| view).ok_or_else(|| {
            let from = self.files.blocks.oldest().ok().flatten().filter(|oldest| *oldest > 1);
            let from =
                from.map_or_else(String::new, |oldest| format!(" from {oldest} on, where this node's logs begin,"));
            ChainError::NotFound(format!("no committed block{from} holds the transaction {}", hex::encode(id)))
        })
    }

    fn places_of_id(&self, recent: &BTreeMap<u32, Found>, segment: u32, id: &Hash) -> Result<Found, ChainError> {
        if let Some(found) = recent.get(&segment) {
            return Ok(Found { places: found.places.clone(), is_all: found.is_all });
        }
        let places = match self.files.tables.get(TableKind::Transactions, segment)? {
            Some(table) => table.lookup(key_of_id(id)).map_err(ChainError::read)?,
            None => self.without_table(segment)?,
        };
        Ok(Found { places, is_all: true })
    }

    /// No table and nothing instead of one: pruned this moment, or the node makes none.
    fn without_table(&self, segment: u32) -> Result<Vec<u64>, ChainError> {
        if segment < self.files.blocks.first_segment()? { Ok(Vec::new()) } else { Err(ChainError::TooLong) }
    }

    /// Transactions below `given` that are from or to an account, newest first. What is not found before `until` is left to the next page.
    pub(crate) fn by_account(
        &self,
        account: AccountIndex,
        given: Option<Place>,
        limit: usize,
        until: Instant,
    ) -> Result<TransactionPage, ChainError> {
        let newest = given.map_or(u64::MAX, |given| given.height);
        let mut before = given.map_or(u64::MAX, |given| place(given.height, given.index as usize));
        let recent = {
            let mut recent = self.files.recent.lock();
            recent.catch_up(self.files, self.find, until)?;
            recent.account(account, before, limit + 1)
        };
        let mut places: Vec<u64> = Vec::new();
        let mut is_all = true;
        for segment in self.segments(newest)? {
            if places.len() > limit {
                break;
            }
            if Instant::now() >= until {
                if places.is_empty() {
                    return self.empty_page(given, segment);
                }
                return self.page(&places, limit, until, true);
            }
            let wanted = limit + 1 - places.len();
            let found = match recent.get(&segment) {
                Some(found) => {
                    is_all = found.is_all || found.places.len() >= wanted;
                    found.places.iter().copied().take(wanted).collect()
                }
                None => match self.files.tables.get(TableKind::Accounts, segment)? {
                    Some(table) => table
                        .lookup_range_descending(u64::from(account), Some(before), wanted)
                        .map_err(ChainError::read)?,
                    None => self.without_table(segment)?,
                },
            };
            before = found.last().copied().unwrap_or(before);
            places.extend(found);
            if !is_all {
                // The rest of this segment needs its table. What is known already is an answer, the next page waits for it.
                break;
            }
        }
        if !is_all && places.is_empty() {
            return Err(ChainError::TooLong);
        }
        self.page(&places, limit, until, !is_all)
    }

    /// What follows below `given` when the time is over before `segment` and nothing was found yet: nothing, and where to go on.
    fn empty_page(&self, given: Option<Place>, segment: u32) -> Result<TransactionPage, ChainError> {
        let height = self.files.blocks.first_height(segment + 1)?.ok_or(ChainError::TimeOver)?;
        let above = Place { height, index: 0 };
        let next = given.map_or(above, |given| given.min(above));
        Ok(TransactionPage { transactions: Vec::new(), next: Some(next) })
    }

    /// The transactions at places, which are one more than `limit` when others follow; `is_more` when others follow anyhow. A page that would
    /// take too long ends early.
    fn page(&self, places: &[u64], limit: usize, until: Instant, is_more: bool) -> Result<TransactionPage, ChainError> {
        let mut transactions = Vec::with_capacity(limit.min(places.len()));
        for at in places.iter().take(limit) {
            if Instant::now() >= until && !transactions.is_empty() {
                break;
            }
            let (height, index) = place_of(*at);
            let content = match self.files.content(height, true) {
                // The rest was pruned while it was looked for.
                Err(ChainError::Pruned { .. }) => return Ok(TransactionPage { transactions, next: None }),
                other => other?,
            };
            transactions.extend(describe_transaction(&content, index, &self.decimals));
        }
        let is_more = is_more || places.len() > transactions.len();
        let next = transactions.last().filter(|_| is_more);
        let next = next.map(|last| Place { height: last.block_height, index: last.index });
        Ok(TransactionPage { transactions, next })
    }
}
