//! What a leader proposes.
//!
//! 1. *Roots.* The highest height executed here, but no end of an epoch is passed without being attested. Where execution is behind what the
//!    parent attests, the parent's roots are named again. The last block of an epoch waits until the end of the epoch before can be attested.
//! 2. *Batches.* Lane by lane in rounds, beginning at a lane that moves on with every height, oldest first, as long as the block has room: what is
//!    held here and by enough others, see [`LaneBook::proposable`]. None while execution lags more than the rules allow.
//! 3. *When.* At once when the block is full. With anything in it, or to attest what no block attests yet, once `block_interval` has passed since the
//!    parent, or the time to gather that a busy chain takes ([`GATHER_NS_PER_TRANSACTION`](super::GATHER_NS_PER_TRANSACTION)); otherwise an empty
//!    block after `empty_interval`. The parent's time is its timestamp, or when it was first seen if that was earlier: a leader with a fast
//!    clock does not slow the next one down.

use tana_lane::{HeldBatch, LaneBook};
use tana_types::Hash;
use tana_types::header::{BLOCK_BATCHES_MAX, BlockHeader, LaneBatches};

use super::{Chain, Point};
use crate::chain::rules::{BLOCK_BODY_BYTES_MAX, CLOCK_AHEAD_MS_MAX};
use crate::{ExecutedRoots, Now};

/// What to do about a proposal.
// One at a time is alive; boxing it would only add an allocation.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposal {
    /// Propose this.
    Block(BlockHeader),
    /// Ask again after the next event, and at this time on the wall clock (milliseconds) at the latest.
    WaitUntil(u64),
    /// Ask again after the next event: the parent, an executed height or the epoch is missing.
    Wait,
}

/// The batches chosen for a block.
#[derive(Default)]
struct Choice<'a> {
    /// By lane; consecutive.
    lanes: Vec<Vec<&'a HeldBatch>>,
    transactions: usize,
    bytes: usize,
    batches: usize,
    /// Something was left out for lack of room.
    full: bool,
}

impl Chain {
    /// The header that `proposer`, as leader in `epoch`, proposes on `parent` now.
    pub fn propose(&self, parent: Hash, proposer: [u8; 32], epoch: u64, now: Now, book: &LaneBook) -> Proposal {
        let Some(parent) = self.point(&parent) else { return Proposal::Wait };
        let height = parent.height + 1;
        if self.rules.epoch_of(height) != epoch {
            return Proposal::Wait;
        }
        let Ok((members, marks)) = self.ground(parent, height) else { return Proposal::Wait };
        let Some(roots) = self.roots_to_attest(parent) else { return Proposal::Wait };
        if roots.height < self.rules.attested_min(height) {
            return Proposal::Wait;
        }
        let mut choice = Choice { lanes: vec![Vec::new(); members.len()], ..Choice::default() };
        if height.saturating_sub(self.executed_height) <= self.rules.lag_blocks_max {
            // A place below the number of members, which is at most 256.
            let first_lane = (height % (members.len() as u64).max(1)) as usize;
            self.choose(
                &mut choice,
                members,
                first_lane,
                height,
                epoch,
                book,
                |author| marks.mark(author),
                |author, sequence| marks.is_below_floor(author, sequence),
            );
        }
        let due_ms = self.due_ms(parent, &choice, &roots, now);
        if now.wall_ms < due_ms {
            return Proposal::WaitUntil(due_ms);
        }
        Proposal::Block(header(parent, proposer, epoch, now, &roots, &choice))
    }

    /// The roots for a block on `parent`, if there are any that it may attest.
    fn roots_to_attest(&self, parent: &Point) -> Option<ExecutedRoots> {
        let best = self.executed_height.min(parent.height).min(self.rules.attested_max(parent.executed_height));
        let from = if parent.header.is_none() { 0 } else { parent.executed_height + 1 };
        let newest = (from <= best).then(|| self.executed.range(from..=best).next_back()).flatten();
        if let Some((_, roots)) = newest {
            return Some(*roots);
        }
        parent.header.as_ref().map(|header| ExecutedRoots {
            height: header.executed_height,
            state_root: header.state_root,
            receipts_root: header.receipts_root,
            validator_set_hash: header.validator_set_hash,
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn choose<'a>(
        &self,
        choice: &mut Choice<'a>,
        members: &[[u8; 32]],
        first_lane: usize,
        height: u64,
        epoch: u64,
        book: &'a LaneBook,
        mark: impl Fn(&[u8; 32]) -> u64,
        listed_before: impl Fn(&[u8; 32], u64) -> bool,
    ) {
        let mut open: Vec<usize> = (0..members.len()).map(|place| (first_lane + place) % members.len()).collect();
        while !open.is_empty() {
            open.retain(|&lane| {
                let author = &members[lane];
                let last = choice.lanes[lane].last().map(|batch| batch.sequence);
                let from = last.unwrap_or_else(|| mark(author));
                let expiry_blocks = self.rules.batch_expiry_blocks;
                let next = book.proposable(author, from, last.is_none(), height, epoch, expiry_blocks);
                // A batch that no block has room for holds up its author's lane alone.
                let fits_a_block = |next: &HeldBatch| next.transactions as usize <= self.rules.block_transactions_max;
                match next.filter(|next| fits_a_block(next) && !listed_before(author, next.sequence)) {
                    Some(next) => choice.take(lane, next, self.rules.block_transactions),
                    None => false,
                }
            });
        }
    }

    /// When the block may be proposed, milliseconds on the wall clock.
    fn due_ms(&self, parent: &Point, choice: &Choice<'_>, roots: &ExecutedRoots, now: Now) -> u64 {
        if choice.full || choice.transactions >= self.rules.block_transactions {
            return 0;
        }
        let since_ms = parent.timestamp_ms.min(if parent.seen_ms == 0 { u64::MAX } else { parent.seen_ms });
        if since_ms > now.wall_ms.saturating_add(CLOCK_AHEAD_MS_MAX) {
            // The clock was set back; waiting for the old time could take days.
            return 0;
        }
        // A root that nobody attests yet is worth a block when a newer one is known, and so is a block with batches that is not final yet.
        let unattested = parent.executed_height < parent.full_height;
        let makes_final = parent.full_height > self.tip.height;
        let soon = choice.batches > 0 || (unattested && (roots.height > parent.executed_height || makes_final));
        let wait_ms = match soon {
            false => self.rules.empty_interval_ms,
            // Nothing is gathered for a block that only makes the one before final.
            true if choice.batches == 0 && makes_final => self.rules.block_interval_ms,
            true => self.rules.block_interval_ms.max(self.gather_ms(parent)),
        };
        since_ms.saturating_add(wait_ms)
    }

    /// How long to gather for the block behind `parent`, milliseconds.
    fn gather_ms(&self, parent: &Point) -> u64 {
        // What is not known here is below the start point, and so executed, or was executed ahead of the tip.
        let executed = self.finalized.get(&self.executed_height).map_or(parent.listed, |at| at.listed);
        let unexecuted = parent.listed.saturating_sub(executed);
        let transactions = parent.recent.max(unexecuted).min(self.rules.block_transactions as u64);
        let gather_ms = transactions.saturating_mul(self.rules.gather_ns_per_transaction) / 1_000_000;
        gather_ms.min(self.rules.gather_ms_max)
    }
}

impl<'a> Choice<'a> {
    /// Takes the next batch of a lane if the block has room for it. The first batch of a block may pass the leader's own bound.
    fn take(&mut self, lane: usize, batch: &'a HeldBatch, transactions_max: usize) -> bool {
        let transactions = self.transactions + batch.transactions as usize;
        let bytes = self.bytes + batch.bytes as usize;
        let fits =
            transactions <= transactions_max && bytes <= BLOCK_BODY_BYTES_MAX && self.batches < BLOCK_BATCHES_MAX;
        if !fits && self.batches > 0 {
            self.full = true;
            return false;
        }
        self.transactions = transactions;
        self.bytes = bytes;
        self.batches += 1;
        self.lanes[lane].push(batch);
        true
    }
}

fn header(
    parent: &Point,
    proposer: [u8; 32],
    epoch: u64,
    now: Now,
    roots: &ExecutedRoots,
    choice: &Choice<'_>,
) -> BlockHeader {
    let ids: Vec<&[Hash]> = choice.lanes.iter().flatten().map(|batch| &*batch.ids).collect();
    let lanes = (0u16..).zip(&choice.lanes).filter_map(|(lane, batches)| {
        let first_sequence = batches.first()?.sequence;
        Some(LaneBatches { lane, first_sequence, digests: batches.iter().map(|batch| batch.digest).collect() })
    });
    BlockHeader {
        height: parent.height + 1,
        epoch,
        parent: parent.hash,
        proposer,
        timestamp_ms: now.wall_ms.max(parent.timestamp_ms.saturating_add(1)),
        executed_height: roots.height,
        state_root: roots.state_root,
        receipts_root: roots.receipts_root,
        transaction_root: tana_execute::transaction_root_of_parts(ids),
        // At most the genesis' 100,000.
        transaction_count: choice.transactions as u32,
        validator_set_hash: roots.validator_set_hash,
        lanes: lanes.collect(),
    }
}
