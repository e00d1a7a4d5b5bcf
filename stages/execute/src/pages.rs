//! Which pages of account records a checkpoint must save, and what they looked like when it began.
//!
//! A page is [`PAGE_RECORDS`] records by account index. Every page that changes is marked dirty. When a checkpoint begins, the dirty
//! pages become its pages to save and the marks start afresh; pages are then emitted a few at a time between blocks. Execution goes on
//! meanwhile: before it first changes an account whose page is still to be saved, the account's fixed part is put aside, 64 bytes, and
//! the page is later emitted with what was put aside. So a checkpoint shows one height, costs nothing while none runs, and never copies
//! whole pages inside a block.
//!
//! What is put aside is bounded by the accounts that blocks change until the last page is emitted, one image each: a caller that emits
//! pages after each block at the pace of the blocks keeps it at a few megabytes.

use hashbrown::HashMap;
use tana_types::account::{AccountIndex, HotAccount};

/// Records of a page: 42 x 96 = 4,032 bytes, so that page and key fit the 4 KiB of a database page.
pub const PAGE_RECORDS: u32 = 42;

/// The page that an account is on.
#[inline]
pub fn page_of(index: AccountIndex) -> u32 {
    index / PAGE_RECORDS
}

#[derive(Default)]
pub(crate) struct Pages {
    /// One bit per page: changed since the last checkpoint began.
    dirty: Vec<u64>,
    /// One bit per page: of the running checkpoint and not yet emitted.
    to_save: Vec<u64>,
    /// Fixed parts as they were when the running checkpoint began.
    put_aside: HashMap<AccountIndex, HotAccount, ahash::RandomState>,
    /// Accounts when the running checkpoint began; 0 when none runs.
    count: u32,
    /// The word of `to_save` to look at next.
    cursor: usize,
}

impl Pages {
    /// Marks the account's page; `hot` is the account before the change.
    #[inline]
    pub(crate) fn touch(&mut self, index: AccountIndex, hot: &HotAccount) {
        let page = page_of(index) as usize;
        let (word, bit) = (page / 64, 1 << (page % 64));
        if word >= self.dirty.len() {
            self.dirty.resize(word + 1, 0);
        }
        self.dirty[word] |= bit;
        if index < self.count && self.to_save.get(word).is_some_and(|pages| pages & bit != 0) {
            self.put_aside.entry(index).or_insert(*hot);
        }
    }

    /// Marks every page of `count` accounts.
    pub(crate) fn mark_all(&mut self, count: u32) {
        let pages = count.div_ceil(PAGE_RECORDS) as usize;
        self.dirty = vec![u64::MAX; pages / 64];
        if !pages.is_multiple_of(64) {
            self.dirty.push((1 << (pages % 64)) - 1);
        }
    }

    /// Whether a checkpoint is under way.
    pub(crate) fn is_running(&self) -> bool {
        self.count != 0
    }

    /// Starts a checkpoint of `count` accounts; gives the number of its pages.
    pub(crate) fn begin(&mut self, count: u32) -> u64 {
        self.to_save = std::mem::take(&mut self.dirty);
        self.dirty = vec![0; self.to_save.len()];
        (self.count, self.cursor) = (count, 0);
        self.to_save.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// The next page to emit with its range of accounts, taken off the list; `None` when the checkpoint is complete, which ends it.
    pub(crate) fn next(&mut self) -> Option<(u32, std::ops::Range<AccountIndex>)> {
        while let Some(word) = self.to_save.get_mut(self.cursor) {
            if *word == 0 {
                self.cursor += 1;
                continue;
            }
            let page = (self.cursor * 64) as u32 + word.trailing_zeros();
            *word &= *word - 1;
            let first = page * PAGE_RECORDS;
            if first < self.count {
                return Some((page, first..self.count.min(first + PAGE_RECORDS)));
            }
        }
        self.count = 0;
        self.put_aside.clear();
        None
    }

    /// What was put aside of an account, which is then forgotten.
    pub(crate) fn take_put_aside(&mut self, index: AccountIndex) -> Option<HotAccount> {
        if self.put_aside.is_empty() { None } else { self.put_aside.remove(&index) }
    }

    /// Accounts put aside at this moment.
    pub(crate) fn put_aside_count(&self) -> usize {
        self.put_aside.len()
    }
}
