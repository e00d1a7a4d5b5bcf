//! All accounts, compactly: records as the chain stores them, overflows of the few that have one, and how they are found.
//!
//! Memory: 96 bytes of record and about 6 of order per account; for an account with an overflow its bytes and about 60 more, and for one
//! with a username about 100 more. (The proof tree adds about 45 per account, see [`super::tree`].)

use std::collections::HashMap;

use tana_types::account::{AccountIndex, HotAccount, INLINE_BALANCES, NO_ACCOUNT, Overflow, RECORD_BYTES, SENTINEL};
use tana_types::currency::CurrencyId;
use tana_types::key::PublicKey;
use tana_types::username::Username;

use super::order::KeyOrder;

/// A record as it is stored and hashed.
pub(crate) type RecordBytes = [u8; RECORD_BYTES];

/// Records of one piece of memory: 1.5 MiB, so that growing never moves what is there.
const CHUNK_RECORDS: usize = 1 << 14;

/// See the module's text.
pub(crate) struct Accounts {
    chunks: Vec<Vec<RecordBytes>>,
    count: u32,
    overflows: HashMap<AccountIndex, Box<[u8]>, ahash::RandomState>,
    usernames: HashMap<Box<str>, AccountIndex, ahash::RandomState>,
    order: KeyOrder,
}

/// The key in a record.
pub(crate) fn key_of_record(record: &RecordBytes) -> &[u8; 32] {
    record.first_chunk().unwrap_or(&[0; 32])
}

fn record_in(chunks: &[Vec<RecordBytes>], index: AccountIndex) -> &RecordBytes {
    let index = index as usize;
    chunks.get(index / CHUNK_RECORDS).and_then(|chunk| chunk.get(index % CHUNK_RECORDS)).unwrap_or(&[0; RECORD_BYTES])
}

/// What a record and its overflow say that an account holds, by currency.
pub(crate) fn balances_of(record: &RecordBytes, overflow: Option<&[u8]>) -> Vec<(CurrencyId, u128)> {
    let (_, hot) = HotAccount::from_record(record);
    let inline = (0..INLINE_BALANCES).map(|slot| (hot.currencies[slot].get(), hot.amounts[slot].get()));
    let further = overflow.and_then(|bytes| Overflow::decode(bytes).ok()).map(|overflow| overflow.balances);
    let mut balances: Vec<_> = inline.filter(|entry| entry.0 != 0).chain(further.unwrap_or_default()).collect();
    balances.sort_unstable();
    balances
}

impl Accounts {
    /// From all records in order of index and all overflows.
    ///
    /// # Errors
    /// When the links between the records do not visit every account in key order, or an overflow cannot be read.
    pub(crate) fn new(loading: LoadedAccounts) -> Result<Self, String> {
        let LoadedAccounts { chunks, count, overflows } = loading;
        let sorted = walk(&chunks, count)?;
        let order = KeyOrder::from_sorted(&sorted, |index| key_of_record(record_in(&chunks, index)));
        let mut usernames = HashMap::default();
        for (index, bytes) in &overflows {
            let overflow =
                Overflow::decode(bytes).map_err(|error| format!("the overflow of account {index}: {error}"))?;
            if let Some(name) = &overflow.username {
                usernames.insert(name.as_str().into(), *index);
            }
        }
        Ok(Self { chunks, count, overflows, usernames, order })
    }

    /// Accounts, the sentinel included.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The record of an account that exists.
    pub(crate) fn record(&self, index: AccountIndex) -> Option<&RecordBytes> {
        (index < self.count).then(|| record_in(&self.chunks, index))
    }

    /// The canonical bytes of an account's overflow.
    pub(crate) fn overflow(&self, index: AccountIndex) -> Option<&[u8]> {
        self.overflows.get(&index).map(|bytes| &**bytes)
    }

    /// The last account whose key is not above `key`, maybe the sentinel.
    pub(crate) fn at_or_before(&self, key: &[u8; 32]) -> AccountIndex {
        self.order.at_or_before(key, |index| key_of_record(record_in(&self.chunks, index)))
    }

    /// The account with this key; the sentinel is nobody's.
    pub(crate) fn find(&self, key: &[u8; 32]) -> Option<AccountIndex> {
        let index = self.at_or_before(key);
        (index != SENTINEL && key_of_record(record_in(&self.chunks, index)) == key).then_some(index)
    }

    /// The account with this username, in stored form.
    pub(crate) fn find_username(&self, name: &Username) -> Option<AccountIndex> {
        self.usernames.get(name.as_str()).copied()
    }

    /// Puts a changed account's record in place, or appends the next account. The caller has checked that new ones come without a gap.
    pub(crate) fn put(&mut self, index: AccountIndex, record: &RecordBytes) {
        let place = index as usize;
        if index < self.count {
            if let Some(slot) =
                self.chunks.get_mut(place / CHUNK_RECORDS).and_then(|chunk| chunk.get_mut(place % CHUNK_RECORDS))
            {
                *slot = *record;
            }
            return;
        }
        push(&mut self.chunks, record);
        self.count += 1;
        let chunks = &self.chunks;
        self.order.insert(index, |index| key_of_record(record_in(chunks, index)));
    }

    /// Replaces an account's overflow, or takes it away; gives the one before.
    pub(crate) fn put_overflow(&mut self, index: AccountIndex, bytes: &[u8]) -> Option<Box<[u8]>> {
        if bytes.is_empty() {
            return self.overflows.remove(&index);
        }
        // A username is given once, when the account is created; what a record holds was decoded before.
        if let Some(name) = Overflow::decode(bytes).ok().and_then(|overflow| overflow.username) {
            self.usernames.insert(name.as_str().into(), index);
        }
        self.overflows.insert(index, bytes.into())
    }
}

fn push(chunks: &mut Vec<Vec<RecordBytes>>, record: &RecordBytes) {
    match chunks.last_mut() {
        Some(chunk) if chunk.len() < CHUNK_RECORDS => chunk.push(*record),
        _ => {
            let mut chunk = Vec::with_capacity(CHUNK_RECORDS);
            chunk.push(*record);
            chunks.push(chunk);
        }
    }
}

/// Accounts while they come from a checkpoint.
#[derive(Default)]
pub(crate) struct LoadedAccounts {
    chunks: Vec<Vec<RecordBytes>>,
    count: u32,
    overflows: HashMap<AccountIndex, Box<[u8]>, ahash::RandomState>,
}

impl LoadedAccounts {
    /// Appends a page's records.
    pub(crate) fn push_page(&mut self, records: &[RecordBytes]) {
        for record in records {
            push(&mut self.chunks, record);
        }
        self.count += records.len() as u32;
    }

    /// Adds an overflow.
    pub(crate) fn push_overflow(&mut self, index: AccountIndex, bytes: &[u8]) {
        self.overflows.insert(index, bytes.into());
    }

    /// Accounts so far.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The record of an account that came.
    pub(crate) fn record(&self, index: AccountIndex) -> &RecordBytes {
        record_in(&self.chunks, index)
    }

    /// The overflow of an account.
    pub(crate) fn overflow(&self, index: AccountIndex) -> Option<&[u8]> {
        self.overflows.get(&index).map(|bytes| &**bytes)
    }
}

/// Follows the links from the sentinel: the accounts in key order.
fn walk(chunks: &[Vec<RecordBytes>], count: u32) -> Result<Vec<AccountIndex>, String> {
    let mut sorted = Vec::with_capacity(count as usize);
    let (mut index, mut last) = (SENTINEL, PublicKey::default());
    if count == 0 {
        return Err("there is no account at all".to_owned());
    }
    loop {
        sorted.push(index);
        let next = HotAccount::from_record(record_in(chunks, index)).1.next.get();
        if next == NO_ACCOUNT {
            break;
        }
        let key = PublicKey(*key_of_record(record_in(chunks, next)));
        // Rising keys never come back to an account, so the walk ends.
        if next >= count || key <= last {
            return Err(format!("the link of account {index} does not lead to the next key"));
        }
        (index, last) = (next, key);
    }
    if sorted.len() != count as usize {
        return Err(format!("the links visit {} of {count} accounts", sorted.len()));
    }
    Ok(sorted)
}
