//! Checkpoints while execution goes on.
//!
//! 1. [`State::begin_checkpoint`], between two blocks, fixes the height: it gives everything small at once (the head) and makes the
//!    dirty pages those to be saved.
//! 2. [`State::checkpoint_step`], after each following block, emits a few pages as they were at that height (see `pages`).
//! 3. When a step says that it is complete, the caller commits head and pages together.
//!
//! The head's `meta` bytes: version 2, genesis hash 32, account count 4, then currencies, pending, validators and progress, each behind its
//! length 4, as their sections are hashed.

use tana_types::account::{AccountIndex, RECORD_BYTES};
use tana_types::codec::Writer;

use crate::pages::PAGE_RECORDS;
use crate::state::State;

/// The only version of the meta bytes.
pub(crate) const META_VERSION: u16 = 1;

/// What a checkpoint saves at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointHead {
    /// The height that the checkpoint shows.
    pub height: u64,
    /// Accounts at that height, the sentinel included.
    pub account_count: u32,
    /// Pages that will be emitted.
    pub pages: u64,
    /// Everything but accounts, for [`State::restore`].
    pub meta: Vec<u8>,
    /// Overflows that changed since the checkpoint before, by account: the canonical bytes, `None` when gone.
    pub overflows: Vec<(AccountIndex, Option<Vec<u8>>)>,
}

impl State {
    /// Starts a checkpoint of the last executed height. `None` while one is under way.
    pub fn begin_checkpoint(&mut self) -> Option<CheckpointHead> {
        if self.accounts.pages.is_running() {
            return None;
        }
        let account_count = self.accounts.count();
        let overflows = self.accounts.take_overflow_dirty();
        let bytes_of = |index| (index, self.accounts.overflow_bytes(index).map(<[u8]>::to_vec));
        let overflows = overflows.into_iter().map(bytes_of).collect();
        let meta = self.encode_meta();
        let pages = self.accounts.pages.begin(account_count);
        Some(CheckpointHead { height: self.progress.height, account_count, pages, meta, overflows })
    }

    /// Emits at most `pages_max` pages, ascending by number: up to 42 records of 96 bytes each, fewer on the last page. True when the
    /// checkpoint is complete; then, and when none is under way, nothing is emitted any more.
    pub fn checkpoint_step(&mut self, pages_max: usize, sink: &mut impl FnMut(u32, &[u8])) -> bool {
        let mut bytes = Vec::with_capacity(PAGE_RECORDS as usize * RECORD_BYTES);
        for _ in 0..pages_max {
            let Some((page, range)) = self.accounts.pages.next() else { return true };
            bytes.clear();
            for index in range {
                let record = match self.accounts.pages.take_put_aside(index) {
                    Some(hot) => hot.record(&self.directory().key(index)),
                    None => self.accounts.record(index),
                };
                bytes.extend_from_slice(&record);
            }
            sink(page, &bytes);
        }
        !self.accounts.pages.is_running()
    }

    /// Accounts whose old value is kept for the checkpoint under way, 64 bytes each; a caller that sees it grow takes larger steps.
    pub fn checkpoint_backlog(&self) -> usize {
        self.accounts.pages.put_aside_count()
    }

    fn encode_meta(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(4_096);
        writer.u16(META_VERSION).bytes(self.chain.genesis_hash()).u32(self.accounts.count());
        for section in
            [self.currencies.encode(), self.pending.encode(), self.validators.encode(), self.progress.encode()]
        {
            // The largest, 65,536 requests and more by the rules, is a few megabytes.
            writer.u32(section.len() as u32).bytes(&section);
        }
        writer.finish()
    }

    /// Records and overflow hashes of a range of accounts, by index: the leaves of the tree of accounts. Ranges may be read in parallel.
    pub fn leaves(
        &self,
        range: std::ops::Range<AccountIndex>,
    ) -> impl Iterator<Item = ([u8; RECORD_BYTES], Option<tana_types::Hash>)> {
        let end = range.end.min(self.accounts.count());
        (range.start..end).map(|index| (self.accounts.record(index), self.accounts.overflow_hash(index)))
    }
}
