//! The frame of a block and the hot loop over its transactions.
//!
//! 1. Check that the block is the next one and that the batches are those it lists.
//! 2. Put the validator set of its epoch in force.
//! 3. Take the transactions in windows. Before a window is applied, look up all accounts of the one behind it and ask for everything that
//!    will be needed: the trips to memory overlap with each other and with the work. Then apply the transactions in order, from warm
//!    caches.
//! 4. Sort the changed accounts, copy their records, hash changed overflows, publish nonces to the directory.
//! 5. Check the books, move progress on, hash the sections that changed.
//!
//! A window's look-ups may be out of date when an account was created since; whatever was not found is then looked up again.
//! Hints from other stages are compared with the key before they are used.

use std::hint::black_box;

use tana_types::Hash;
use tana_types::account::{AccountIndex, NO_ACCOUNT, SENTINEL};
use tana_types::batch::Batch;
use tana_types::code::Code;
use tana_types::header::BlockHeader;
use tana_types::payload::{Kind, TRANSFER_PAYLOAD_BYTES};
use tana_types::transaction::Transaction;

use crate::error::ExecuteError;
use crate::outcome::Outcome;
use crate::state::State;

/// Transactions of a window: what two of them touch, about 350 bytes a transaction, stays in the nearest caches.
const WINDOW: usize = 64;
/// Changed accounts that are read ahead together: as many trips to memory as a core has in flight.
const GROUP: usize = 16;
/// Below this many, a comparison sort beats counting.
const COUNTING_SORT_MIN: usize = 512;

/// What every transaction of a block is judged by.
pub(crate) struct BlockContext {
    pub(crate) height: u64,
    pub(crate) timestamp_ms: u64,
    pub(crate) epoch: u64,
    /// Accounts created so far.
    pub(crate) creations: u32,
}

/// Memory that is used again in every block.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Of the window that is applied, and of the one behind it.
    windows: [WindowAccounts; 2],
    sort: Vec<AccountIndex>,
}

/// The accounts of a window's transactions, in their order.
#[derive(Default)]
struct WindowAccounts {
    senders: Vec<AccountIndex>,
    recipients: Vec<AccountIndex>,
    /// Accounts that the block had created when they were looked up.
    creations: u32,
}

/// The recipient's key of a well-formed transfer; the key of zeros, which nobody has, for everything else.
#[inline]
fn recipient_key<'a>(transaction: &Transaction<'a>) -> &'a [u8; 32] {
    let payload = transaction.payload_bytes();
    if transaction.header().kind == Kind::Transfer as u8 && payload.len() == TRANSFER_PAYLOAD_BYTES {
        payload.first_chunk().unwrap_or(&[0; 32])
    } else {
        &[0; 32]
    }
}

impl State {
    /// Executes the next block: `batches` in the order in which `header` lists them. Identifiers are taken from the batches where they
    /// are filled in and computed otherwise.
    ///
    /// # Errors
    /// See [`ExecuteError`]; on all but `Conservation` the state is as it was.
    pub fn execute(
        &mut self,
        header: &BlockHeader,
        batches: &[&Batch],
        outcome: &mut Outcome,
    ) -> Result<(), ExecuteError> {
        self.check_block(header, batches)?;
        outcome.clear();
        self.accounts.begin_block();
        let epoch = self.epoch_of(header.height);
        self.enter_epoch(epoch, header.height);
        let mut context =
            BlockContext { height: header.height, timestamp_ms: header.timestamp_ms, epoch, creations: 0 };
        self.execute_batches(&mut context, batches, outcome);
        outcome.creations = context.creations;
        self.finish_changes(outcome);
        self.finish_block(header, outcome)
    }

    fn check_block(&self, header: &BlockHeader, batches: &[&Batch]) -> Result<(), ExecuteError> {
        let (height, executed) = (header.height, self.progress.height);
        if executed.checked_add(1) != Some(height) {
            return Err(ExecuteError::Height { height, executed });
        }
        let given_transactions = batches.iter().map(|batch| batch.len() as u64).sum::<u64>();
        let listed_transactions = u64::from(header.transaction_count);
        let (listed, given) = (header.batch_count(), batches.len());
        if listed != given || listed_transactions != given_transactions {
            return Err(ExecuteError::Batches { height, listed, given, listed_transactions, given_transactions });
        }
        Ok(())
    }

    /// Step 1: where an epoch begins, its validator set enters into force.
    fn enter_epoch(&mut self, epoch: u64, height: u64) {
        if height <= 1 || self.epoch_of(height - 1) == epoch {
            return;
        }
        let before = self.validators.set_of(0);
        if self.validators.enter(epoch) {
            self.hashes.validators_changed = true;
        }
        self.progress.enter_epoch(&before, &self.validators.set_of(0), height, self.rules.batch_expiry_blocks);
    }

    /// Step 3.
    fn execute_batches(&mut self, context: &mut BlockContext, batches: &[&Batch], outcome: &mut Outcome) {
        let [mut current, mut following] = std::mem::take(&mut self.scratch.windows);
        let mut windows = batches.iter().flat_map(|batch| {
            let starts = (0..batch.len()).step_by(WINDOW);
            starts.map(move |start| (*batch, start..batch.len().min(start + WINDOW)))
        });
        let mut next = windows.next();
        if let Some((batch, window)) = &next {
            self.resolve(batch, window.clone(), context.creations, &mut current);
        }
        while let Some((batch, window)) = next {
            next = windows.next();
            if let Some((batch, window)) = &next {
                self.resolve(batch, window.clone(), context.creations, &mut following);
            }
            self.execute_window(context, batch, window, &current, outcome);
            std::mem::swap(&mut current, &mut following);
        }
        self.scratch.windows = [current, following];
    }

    fn execute_window(
        &mut self,
        context: &mut BlockContext,
        batch: &Batch,
        window: std::ops::Range<usize>,
        accounts: &WindowAccounts,
        outcome: &mut Outcome,
    ) {
        for ((position, &sender), &recipient) in window.zip(&accounts.senders).zip(&accounts.recipients) {
            let transaction = batch.transaction(position);
            let (mut sender, mut recipient) = (sender, recipient);
            if context.creations != accounts.creations {
                if sender == NO_ACCOUNT {
                    sender = self.accounts.find(&transaction.sender()).unwrap_or(NO_ACCOUNT);
                }
                if recipient == NO_ACCOUNT {
                    recipient = self.accounts.directory.view().find(recipient_key(&transaction)).unwrap_or(NO_ACCOUNT);
                }
            }
            let code = self.execute_one(context, &transaction, batch.ids.get(position), sender, recipient);
            outcome.push_code(code);
        }
    }

    /// Looks up senders and recipients of a window and asks for what they need.
    fn resolve(&self, batch: &Batch, window: std::ops::Range<usize>, creations: u32, accounts: &mut WindowAccounts) {
        accounts.creations = creations;
        let WindowAccounts { senders, recipients, .. } = accounts;
        senders.clear();
        recipients.clear();
        let view = self.accounts.directory.view();
        let entries = &batch.entries()[window.clone()];
        view.find_each(window.clone().map(|position| recipient_key(&batch.transaction(position))), recipients);
        for &index in recipients.iter() {
            self.accounts.prefetch(index);
        }
        if entries.iter().all(|entry| entry.sender != NO_ACCOUNT) {
            for entry in entries {
                self.accounts.prefetch(entry.sender);
            }
            senders.extend(entries.iter().zip(window.clone()).map(|(entry, position)| {
                let right = entry.sender != SENTINEL
                    && entry.sender < self.accounts.count()
                    && view.key(entry.sender).0 == batch.transaction(position).header().sender;
                if right { entry.sender } else { NO_ACCOUNT }
            }));
            if !senders.contains(&NO_ACCOUNT) {
                return;
            }
            senders.clear();
        }
        view.find_each(window.map(|position| &batch.transaction(position).header().sender), senders);
        for &index in senders.iter() {
            self.accounts.prefetch(index);
        }
    }

    /// One transaction from nonce to code. `sender` and `recipient` are what a look-up of their keys gives now.
    #[inline]
    fn execute_one(
        &mut self,
        context: &mut BlockContext,
        transaction: &Transaction<'_>,
        id: Option<&Hash>,
        sender: AccountIndex,
        recipient: AccountIndex,
    ) -> Code {
        let header = transaction.header();
        if header.kind == Kind::UserCreation as u8 {
            return self.create_user(context, transaction, sender);
        }
        if sender == NO_ACCOUNT {
            return Code::UnknownSender;
        }
        let (last, nonce) = (self.accounts.get(sender).nonce.get(), header.nonce.get());
        if nonce <= last {
            return Code::Duplicate;
        }
        if nonce - last != 1 {
            return Code::NonceGap;
        }
        self.accounts.touch(sender);
        self.accounts.get_mut(sender).nonce.set(nonce);
        if header.chain.get() != self.chain.tag() {
            return Code::Malformed;
        }
        let in_window = header.timestamp_ms.get().abs_diff(context.timestamp_ms) <= self.rules.transaction_window_ms;
        if header.kind == Kind::Transfer as u8 {
            return self.transfer(transaction.payload_bytes(), in_window, sender, recipient);
        }
        match transaction.payload() {
            Err(_) => Code::Malformed,
            Ok(_) if !in_window => Code::TimestampOutOfWindow,
            Ok(payload) => match self.apply(context, transaction, id, sender, payload) {
                Ok(()) => Code::Applied,
                Err(code) => code,
            },
        }
    }

    /// Steps 4: what changed, in order of index.
    fn finish_changes(&mut self, outcome: &mut Outcome) {
        let count = self.accounts.count();
        sort_indexes(&mut self.accounts.changed, &mut self.scratch.sort, count);
        self.accounts.finish_overflows();
        outcome.changed.extend_from_slice(&self.accounts.changed);
        outcome.records.reserve(outcome.changed.len());
        let mut position = 0;
        for group in outcome.changed.chunks(GROUP) {
            let warmth = |index: &AccountIndex| self.accounts.warm(*index) ^ self.directory().warm(*index);
            black_box(group.iter().map(warmth).fold(0, |sum, word| sum ^ word));
            for &index in group {
                outcome.records.push(self.accounts.record(index));
                let hot = self.accounts.get(index);
                let (nonce, has_overflow) = (hot.nonce.get(), hot.has_overflow());
                self.accounts.directory.set_nonce(index, nonce);
                if has_overflow && let Some(hash) = self.accounts.overflow_hash(index) {
                    outcome.overflow_hashes.push((position, hash));
                }
                position += 1;
            }
        }
        for &index in &self.accounts.overflow_changed {
            // Whatever changed in an account, the account is among the changed.
            if let Ok(position) = outcome.changed.binary_search(&index) {
                outcome.push_overflow(position as u32, self.accounts.overflow_bytes(index));
            }
        }
    }

    /// Step 5.
    fn finish_block(&mut self, header: &BlockHeader, outcome: &mut Outcome) -> Result<(), ExecuteError> {
        self.accounts.movements.drain(&mut outcome.movements);
        if let Some(wrong) = outcome.movements.iter().find(|movement| !movement.is_conserved()) {
            return Err(ExecuteError::Conservation {
                height: header.height,
                currency: wrong.currency,
                moved: wrong.moved,
                minted: wrong.minted,
                burned: wrong.burned,
            });
        }
        self.progress.applied += u64::from(outcome.applied);
        self.progress.failed += u64::from(outcome.failed);
        self.progress.skipped += u64::from(outcome.skipped);
        self.progress.advance(header);
        self.refresh_sections();
        Ok(())
    }
}

/// Sorts distinct account indexes below `count`: by counting, eleven bits at a time, when there are many.
fn sort_indexes(indexes: &mut Vec<AccountIndex>, scratch: &mut Vec<AccountIndex>, count: u32) {
    const BITS: u32 = 11;
    if indexes.len() < COUNTING_SORT_MIN {
        indexes.sort_unstable();
        return;
    }
    scratch.resize(indexes.len(), 0);
    let mut shift = 0;
    while shift < u32::BITS && count >> shift != 0 {
        let mut places = [0u32; 1 << BITS];
        let digit = |index: u32| (index >> shift) as usize & ((1 << BITS) - 1);
        indexes.iter().for_each(|&index| places[digit(index)] += 1);
        let mut start = 0;
        for place in &mut places {
            start += std::mem::replace(place, start);
        }
        for &index in indexes.iter() {
            let place = &mut places[digit(index)];
            scratch[*place as usize] = index;
            *place += 1;
        }
        std::mem::swap(indexes, scratch);
        shift += BITS;
    }
}

#[cfg(test)]
mod tests {
    use super::sort_indexes;

    #[test]
    fn counting_sorts_like_comparing() {
        for (length, count) in [(0, 10), (10, 100), (5_000, 6_000), (9_000, 3_000_000), (1_000, u32::MAX)] {
            let step = (count / (length + 1)).max(1);
            let mut indexes: Vec<u32> = (0..length).map(|at| (at.wrapping_mul(7_919) % length.max(1)) * step).collect();
            indexes.sort_unstable();
            indexes.dedup();
            let expected = indexes.clone();
            indexes.reverse();
            sort_indexes(&mut indexes, &mut Vec::new(), count);
            assert_eq!(indexes, expected);
        }
    }
}
