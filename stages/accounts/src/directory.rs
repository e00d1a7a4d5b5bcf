//! The directory that stages share, the view through which they read, and the one writer.
//!
//! A [`View`] holds the hash table of the moment it was taken. Take one per batch: taking it costs a few nanoseconds, and while it is
//! held a replaced table stays in memory. Accounts added after that may be found through it or not; what is found is right.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::{ArcSwap, Guard};
use tana_types::account::{AccountIndex, SENTINEL};
use tana_types::key::PublicKey;

use crate::store::{ACCOUNTS_MAX, Store};
use crate::table::Table;

/// All accounts, for any number of readers.
pub struct Directory {
    store: Store,
    table: ArcSwap<Table>,
    len: AtomicU32,
}

/// The right to add accounts and to move nonces: there is one for a directory.
pub struct DirectoryWriter {
    directory: Arc<Directory>,
}

/// A directory as it was a moment ago; see [`Directory::view`].
pub struct View<'a> {
    directory: &'a Directory,
    table: Guard<Arc<Table>>,
}

/// A directory with nothing in it but the sentinel, sized for `expected_accounts` so that it need not grow until there are more.
pub fn directory(expected_accounts: usize) -> (DirectoryWriter, Arc<Directory>) {
    let table = Table::new(expected_accounts.min(ACCOUNTS_MAX as usize), ahash::RandomState::new());
    let store = Store::new();
    store.write_key(SENTINEL, &[0; 32]);
    let directory = Arc::new(Directory { store, table: ArcSwap::from_pointee(table), len: AtomicU32::new(1) });
    (DirectoryWriter { directory: Arc::clone(&directory) }, directory)
}

impl Directory {
    /// Where to look keys up; one for a batch.
    #[inline]
    pub fn view(&self) -> View<'_> {
        View { directory: self, table: self.table.load() }
    }

    /// Accounts, the sentinel included. Every index below it has its key.
    pub fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// Whether nobody has an account.
    pub fn is_empty(&self) -> bool {
        self.len() <= 1
    }

    /// The account's key; zeros for the sentinel and for an index that is not there.
    #[inline]
    pub fn key(&self, index: AccountIndex) -> PublicKey {
        PublicKey(self.store.key(index))
    }

    /// The last nonce that the account used; 0 for an index that is not there.
    #[inline]
    pub fn nonce(&self, index: AccountIndex) -> u64 {
        self.store.nonce(index)
    }

    /// Reads a little of what is kept of the account, so that the caches have it; the value means nothing. Called for a group of
    /// accounts before they are worked on, it lets their trips to memory overlap.
    #[inline]
    pub fn warm(&self, index: AccountIndex) -> u64 {
        self.store.warm(index)
    }

    /// As [`Directory::warm`], for key and decoded key alone.
    #[inline]
    pub fn warm_key(&self, index: AccountIndex) -> u64 {
        self.store.touch(index)
    }

    /// The x coordinate of the key's point, if any thread has filled it in.
    #[inline]
    pub fn decoded(&self, index: AccountIndex) -> Option<[u8; 32]> {
        self.store.decoded(index)
    }

    /// Keeps the x coordinate of the key's point: little-endian, below 2^255. It must follow from the key alone, so that it does not
    /// matter who fills it in; anything with the top bit set is no coordinate and is not kept.
    #[inline]
    pub fn set_decoded(&self, index: AccountIndex, x: &[u8; 32]) {
        self.store.set_decoded(index, x);
    }

    /// Bytes set aside for accounts and table; the unused end of the last chunk is counted and takes no memory.
    pub fn memory_bytes(&self) -> usize {
        self.store.memory_bytes() + self.table.load().memory_bytes()
    }
}

impl View<'_> {
    /// The account with this key. The sentinel is never found.
    #[inline]
    pub fn find(&self, key: &[u8; 32]) -> Option<AccountIndex> {
        self.table.find(key, &self.directory.store)
    }

    /// Looks up many keys at a time and appends an index for each, [`tana_types::account::NO_ACCOUNT`] where there is none. Costs
    /// a fraction of as many calls of [`View::find`], because the trips to memory overlap.
    pub fn find_each<'k>(&self, keys: impl IntoIterator<Item = &'k [u8; 32]>, out: &mut Vec<AccountIndex>) {
        self.table.find_each(keys.into_iter(), &self.directory.store, out);
    }

    /// See [`Directory::key`].
    #[inline]
    pub fn key(&self, index: AccountIndex) -> PublicKey {
        self.directory.key(index)
    }

    /// See [`Directory::nonce`].
    #[inline]
    pub fn nonce(&self, index: AccountIndex) -> u64 {
        self.directory.nonce(index)
    }

    /// See [`Directory::decoded`].
    #[inline]
    pub fn decoded(&self, index: AccountIndex) -> Option<[u8; 32]> {
        self.directory.decoded(index)
    }

    /// See [`Directory::set_decoded`].
    #[inline]
    pub fn set_decoded(&self, index: AccountIndex, x: &[u8; 32]) {
        self.directory.set_decoded(index, x);
    }

    /// The directory behind the view.
    pub fn directory(&self) -> &Directory {
        self.directory
    }
}

impl DirectoryWriter {
    /// Adds an account and gives its index: the next one. A key that is there already keeps its index, and so does the key of zeros,
    /// which is the sentinel's. A directory of [`ACCOUNTS_MAX`] accounts takes no more and answers with the sentinel; the rules of a
    /// chain forbid that many.
    pub fn insert(&mut self, key: PublicKey) -> AccountIndex {
        let directory = &*self.directory;
        let index = directory.len();
        if key.0 == [0; 32] || index >= ACCOUNTS_MAX {
            return SENTINEL;
        }
        if let Some(index) = directory.view().find(&key.0) {
            return index;
        }
        let table = directory.table.load();
        directory.store.write_key(index, &key.0);
        if table.is_full(index) {
            let grown = table.grown(&directory.store, index);
            grown.insert(&key.0, index);
            directory.table.store(Arc::new(grown));
        } else {
            table.insert(&key.0, index);
        }
        directory.len.store(index + 1, Ordering::Release);
        index
    }

    /// Notes the last nonce that an account used.
    #[inline]
    pub fn set_nonce(&mut self, index: AccountIndex, nonce: u64) {
        self.directory.store.set_nonce(index, nonce);
    }

    /// See [`Directory::view`].
    #[inline]
    pub fn view(&self) -> View<'_> {
        self.directory.view()
    }

    /// The directory that readers share.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }
}
