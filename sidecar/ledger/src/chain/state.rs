//! The state at the last committed height, and how a commit record moves it on.
//!
//! Beside the accounts stands what they were at the few heights that the proof tree has not reached yet ([`Undo`]): a block's old records are
//! put aside before the new ones are written, and let go when the tree has passed it.
//!
//! A record is taken in two steps, so that readers wait only for the second:
//! 1. [`State::prepare`] checks it against the state, reads the old records, and works out the small sections.
//! 2. [`State::commit`] writes.

use std::collections::VecDeque;

use tana_commit::CommitRecord;
use tana_execute::{AppliedTransaction, FollowedSections, Progress};
use tana_types::Hash;
use tana_types::account::AccountIndex;
use tana_types::batch::Batch;
use tana_types::code::Code;
use tana_types::genesis::Genesis;
use tana_types::payload::Kind;
use tana_types::state::StateSections;

use super::accounts::{Accounts, RecordBytes, balances_of, key_of_record};

/// What a block changed, as it was before.
pub(crate) struct Undo {
    /// The block.
    pub height: u64,
    /// The state after the block.
    pub sections: StateSections,
    /// The accounts that it changed or created, ascending.
    pub changed: Vec<AccountIndex>,
    /// Old records of those that there were before, which are the first ones of `changed`.
    records: Vec<RecordBytes>,
    /// Old overflows of those whose overflow changed, ascending.
    overflows: Vec<(AccountIndex, Option<Box<[u8]>>)>,
    /// The currencies' section before, when it changed.
    currencies: Option<Vec<u8>>,
}

impl Undo {
    /// Bytes in memory.
    fn bytes(&self) -> usize {
        let overflows: usize =
            self.overflows.iter().map(|(_, bytes)| 32 + bytes.as_ref().map_or(0, |bytes| bytes.len())).sum();
        256 + self.changed.len() * 4
            + self.records.len() * size_of::<RecordBytes>()
            + overflows
            + self.currencies.as_ref().map_or(0, Vec::len)
    }
}

/// Where the state stands.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The last committed height.
    pub height: u64,
    /// The hash of its header.
    pub hash: Hash,
    /// Its timestamp.
    pub timestamp_ms: u64,
    /// What its state root commits to.
    pub sections: StateSections,
    /// Transactions that took effect since genesis.
    pub applied: u64,
    /// That failed with a final receipt.
    pub failed: u64,
    /// That were passed over.
    pub skipped: u64,
}

/// See the module's text.
pub(crate) struct State {
    /// All accounts.
    pub accounts: Accounts,
    /// Currencies, pending requests and validators.
    pub sections: FollowedSections,
    /// Where the state stands.
    pub facts: Facts,
    undo: VecDeque<Undo>,
    undo_bytes: usize,
}

/// A record that was checked, and what is to be kept of what it replaces.
pub(crate) struct Prepared {
    undo: Undo,
    sections: Option<FollowedSections>,
    facts: Facts,
}

/// The epoch of a height.
pub(crate) fn epoch_of(genesis: &Genesis, height: u64) -> u64 {
    height.saturating_sub(1) / genesis.rules.epoch_blocks
}

impl State {
    /// At a checkpoint.
    pub(crate) fn new(
        accounts: Accounts,
        sections: FollowedSections,
        progress: &Progress,
        state_sections: StateSections,
    ) -> Self {
        let facts = Facts {
            height: progress.height,
            hash: progress.block_hash,
            timestamp_ms: progress.timestamp_ms,
            sections: state_sections,
            applied: progress.applied,
            failed: progress.failed,
            skipped: progress.skipped,
        };
        Self { accounts, sections, facts, undo: VecDeque::new(), undo_bytes: 0 }
    }

    /// Checks a record against the state. `batches` reads the block's batches with their identifiers; it is asked only when a small section
    /// changed.
    ///
    /// # Errors
    /// What does not fit.
    pub(crate) fn prepare(
        &self,
        record: &CommitRecord<'_>,
        genesis: &Genesis,
        batches: impl FnOnce() -> Result<Vec<Batch>, String>,
    ) -> Result<Prepared, String> {
        let header = &record.header;
        let (facts, count) = (&self.facts, self.accounts.count());
        if header.height != facts.height + 1 || header.parent != facts.hash {
            return Err(format!("block {} does not follow block {}", header.height, facts.height));
        }
        let old = record.changed.partition_point(|index| *index < count);
        let created = (record.changed.len() - old) as u32;
        let gapless = record.changed[old..].iter().zip(count..).all(|(index, expected)| *index == expected);
        if !gapless || count.checked_add(created) != Some(record.sections.account_count) {
            return Err(format!("block {} does not create the accounts that its sections count", header.height));
        }
        let records = record.changed[..old].iter().filter_map(|index| self.accounts.record(*index).copied()).collect();
        if !record.overflows.is_sorted_by(|left, right| left.0 < right.0) {
            return Err(format!("block {}: its overflows are not in order", header.height));
        }
        let mut overflows = Vec::with_capacity(record.overflows.len());
        for (position, bytes) in &record.overflows {
            let index = record.changed[*position as usize];
            if !bytes.is_empty() {
                tana_types::account::Overflow::decode(bytes)
                    .map_err(|error| format!("block {}: the overflow of account {index}: {error}", header.height))?;
            }
            overflows.push((index, self.accounts.overflow(index).map(Into::into)));
        }
        let mut undo = Undo {
            height: header.height,
            sections: record.sections,
            changed: record.changed.clone(),
            records,
            overflows,
            currencies: None,
        };
        let sections = self.follow_sections(record, genesis, &undo, batches)?;
        if sections.is_some() && record.sections.currencies_hash != facts.sections.currencies_hash {
            undo.currencies = Some(self.sections.currencies_section());
        }
        let count_of = |wanted: fn(Code) -> bool| {
            let codes = record.codes.iter().filter(|code| Code::from_u8(**code).is_some_and(wanted));
            codes.count() as u64
        };
        let (applied, skipped) = (count_of(|code| code == Code::Applied), count_of(Code::is_skipped));
        let facts = Facts {
            height: header.height,
            hash: header.hash(),
            timestamp_ms: header.timestamp_ms,
            sections: record.sections,
            applied: facts.applied + applied,
            failed: facts.failed + record.codes.len() as u64 - applied - skipped,
            skipped: facts.skipped + skipped,
        };
        Ok(Prepared { undo, sections, facts })
    }

    /// The small sections after the block, when one of them changed.
    fn follow_sections(
        &self,
        record: &CommitRecord<'_>,
        genesis: &Genesis,
        undo: &Undo,
        batches: impl FnOnce() -> Result<Vec<Batch>, String>,
    ) -> Result<Option<FollowedSections>, String> {
        let height = record.header.height;
        let hashes =
            |sections: &StateSections| [sections.currencies_hash, sections.pending_hash, sections.validators_hash];
        let wanted = hashes(&record.sections);
        if wanted == hashes(&self.facts.sections) {
            return Ok(None);
        }
        let mut sections = self.sections.clone();
        let epoch = epoch_of(genesis, height);
        if height > 1 && epoch_of(genesis, height - 1) != epoch {
            sections.enter(epoch);
        }
        let mut codes = record.codes.iter();
        for batch in &batches()? {
            for (transaction, id) in batch.transactions().zip(&batch.ids) {
                let is_applied = codes.next() == Some(&(Code::Applied as u8));
                if !is_applied || matches!(transaction.kind(), None | Some(Kind::Transfer | Kind::UserCreation)) {
                    continue;
                }
                let wrong = |error: &dyn std::fmt::Display| format!("block {height}: {error}");
                let payload = transaction.payload().map_err(|error| wrong(&error))?;
                let sender = self.find_with(&transaction.header().sender, record);
                let sender = sender.ok_or_else(|| wrong(&"an applied transaction has an unknown sender"))?;
                let place = AppliedTransaction { height, epoch, id, sender };
                sections.applied(&place, payload).map_err(|error| wrong(&error))?;
            }
        }
        self.follow_totals(record, undo, &mut sections);
        if sections.hashes() != wanted {
            return Err(format!(
                "block {height}: currencies, pending requests or validators are other ones than its record says"
            ));
        }
        Ok(Some(sections))
    }

    fn follow_totals(&self, record: &CommitRecord<'_>, undo: &Undo, sections: &mut FollowedSections) {
        for (position, new) in record.records.iter().enumerate() {
            let index = record.changed[position];
            let overflow = self.accounts.overflow(index);
            if let Some(old) = undo.records.get(position) {
                for (currency, amount) in balances_of(old, overflow) {
                    sections.balance_changed(currency, amount, 0);
                }
            }
            let changed = record.overflows.binary_search_by_key(&position, |(at, _)| *at as usize);
            let changed = changed.ok().map(|place| record.overflows[place].1);
            for (currency, amount) in balances_of(new, changed.or(overflow).filter(|bytes| !bytes.is_empty())) {
                sections.balance_changed(currency, 0, amount);
            }
        }
    }

    /// The account with a key, those that the block creates included.
    fn find_with(&self, key: &[u8; 32], record: &CommitRecord<'_>) -> Option<AccountIndex> {
        let created = || {
            let mut created = record.changed.iter().zip(record.records);
            created.find(|(index, new)| **index >= self.accounts.count() && key_of_record(new) == key)
        };
        self.accounts.find(key).or_else(|| created().map(|(index, _)| *index))
    }

    /// Writes what was prepared from this record.
    pub(crate) fn commit(&mut self, record: &CommitRecord<'_>, prepared: Prepared) {
        for (index, new) in record.changed.iter().zip(record.records) {
            self.accounts.put(*index, new);
        }
        for (position, bytes) in &record.overflows {
            self.accounts.put_overflow(record.changed[*position as usize], bytes);
        }
        if let Some(sections) = prepared.sections {
            self.sections = sections;
        }
        self.facts = prepared.facts;
        self.undo_bytes += prepared.undo.bytes();
        self.undo.push_back(prepared.undo);
    }

    /// Blocks whose old records are kept, oldest first.
    pub(crate) fn undo(&self) -> &VecDeque<Undo> {
        &self.undo
    }

    /// Bytes of the old records.
    pub(crate) fn undo_bytes(&self) -> usize {
        self.undo_bytes
    }

    /// Lets go of old records up to `height`: nobody asks for the state at a height below any more.
    pub(crate) fn forget_up_to(&mut self, height: u64) {
        while let Some(oldest) = self.undo.front().filter(|undo| undo.height <= height) {
            self.undo_bytes -= oldest.bytes().min(self.undo_bytes);
            self.undo.pop_front();
        }
    }

    fn behind(&self, height: u64) -> impl Iterator<Item = &Undo> {
        self.undo.iter().filter(move |undo| undo.height > height)
    }

    /// A record as it was at `height`, which is not below the oldest block whose old records are kept; none when there was no such account.
    pub(crate) fn record_at(&self, index: AccountIndex, height: u64) -> Option<&RecordBytes> {
        for undo in self.behind(height) {
            if let Ok(place) = undo.changed.binary_search(&index) {
                return undo.records.get(place);
            }
        }
        self.accounts.record(index)
    }

    /// An overflow as it was at `height`.
    pub(crate) fn overflow_at(&self, index: AccountIndex, height: u64) -> Option<&[u8]> {
        for undo in self.behind(height) {
            if let Ok(place) = undo.overflows.binary_search_by_key(&index, |entry| entry.0) {
                return undo.overflows[place].1.as_deref();
            }
        }
        self.accounts.overflow(index)
    }

    /// The currencies' section as it was at `height`.
    pub(crate) fn currencies_at(&self, height: u64) -> Vec<u8> {
        let before = self.behind(height).find_map(|undo| undo.currencies.clone());
        before.unwrap_or_else(|| self.sections.currencies_section())
    }

    /// The last of the first `count` accounts whose key is not above `key`, maybe the sentinel.
    pub(crate) fn at_or_before_at(&self, key: &[u8; 32], count: u32) -> AccountIndex {
        let mut key = *key;
        loop {
            let index = self.accounts.at_or_before(&key);
            if index < count || index == 0 {
                return index;
            }
            // Created since: go on before it. Keys never change, so its own is right at any height.
            let Some(record) = self.record_at(index, self.facts.height) else { return 0 };
            key = just_below(*key_of_record(record));
        }
    }
}

/// The key right below a key that is not zero.
fn just_below(mut key: [u8; 32]) -> [u8; 32] {
    for byte in key.iter_mut().rev() {
        let (less, borrowed) = byte.overflowing_sub(1);
        *byte = less;
        if !borrowed {
            break;
        }
    }
    key
}
