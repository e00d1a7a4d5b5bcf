//! Whether a block that somebody proposed is valid.
//!
//! A no is permanent, so it is said only of what no later knowledge can change: it follows from the header, its parent, the rules, and batches and
//! roots that are known here for good. Everything else is a wait. In order:
//!
//! 1. The parent is known and directly below; the epoch is that of the height; the proposer is the leader; the timestamp is above the parent's.
//! 2. The attested height is not below the parent's, passes no end of an epoch, and reaches the end of the last epoch in the last block of this one.
//! 3. The lanes are in the set, and go on behind their marks in the parent; every digest stands there once.
//! 4. Every listed batch is held. Each stands in its author's lane at its sequence, has not expired, does not expire too late, and is of no later
//!    epoch; the first of a lane reaches back to the mark; the block keeps to its limits.
//! 5. The attested roots are those that were computed here.
//! 6. Transaction count and transaction root are those of the batches.
//! 7. The timestamp is not too far ahead of the clock.

use std::collections::BTreeSet;

use tana_lane::{HeldBatch, LaneBook};
use tana_types::Hash;
use tana_types::header::{BLOCK_BATCHES_MAX, BlockHeader};

use super::marks::LaneMarks;
use super::{Chain, Point};
use crate::Now;
use crate::chain::rules::{BLOCK_BODY_BYTES_MAX, CLOCK_AHEAD_MS_MAX};

/// What a validator makes of a proposed block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It keeps every rule and all of it is here.
    Valid,
    /// It breaks a rule, and always will.
    Invalid(&'static str),
    /// These batches are missing: fetch them and ask again when they are held.
    WaitBatches(Vec<Hash>),
    /// Ask again when this height has been executed here.
    WaitExecuted(u64),
    /// Its timestamp is too far ahead: ask again at this time on the wall clock (milliseconds).
    WaitClock(u64),
    /// Ask again when its parent was inserted.
    WaitParent,
}

/// How judging ends early.
type Step<T = ()> = Result<T, Verdict>;

fn invalid<T>(rule: &'static str) -> Step<T> {
    Err(Verdict::Invalid(rule))
}

fn demand(holds: bool, rule: &'static str) -> Step {
    if holds { Ok(()) } else { invalid(rule) }
}

impl Chain {
    /// Judges a header that `leader`, as consensus has it for this view, proposed or should have.
    pub fn verify(&self, header: &BlockHeader, leader: &[u8; 32], now: Now, book: &LaneBook) -> Verdict {
        if header.height <= self.tip.height {
            return self.judge_finalized(header);
        }
        match self.judge(header, leader, now, book) {
            Ok(()) => Verdict::Valid,
            Err(verdict) => verdict,
        }
    }

    /// At or below the tip there is one valid block at each height.
    fn judge_finalized(&self, header: &BlockHeader) -> Verdict {
        if self.finalized.get(&header.height).is_some_and(|settled| settled.hash == header.hash()) {
            Verdict::Valid
        } else {
            Verdict::Invalid("another block is finalized at its height, or it is far below the finalized one")
        }
    }

    fn judge(&self, header: &BlockHeader, leader: &[u8; 32], now: Now, book: &LaneBook) -> Step {
        demand(header.epoch == self.rules.epoch_of(header.height), "the epoch is not that of the height")?;
        demand(&header.proposer == leader, "the proposer is not the leader")?;
        let parent = self.point(&header.parent).ok_or(Verdict::WaitParent)?;
        demand(header.height == parent.height + 1, "the height is not one above the parent's")?;
        demand(header.timestamp_ms > parent.timestamp_ms, "the timestamp is not above the parent's")?;
        self.judge_executed_height(header, parent)?;
        let (members, marks) = self.ground(parent, header.height).map_err(Verdict::WaitExecuted)?;
        judge_lanes(header, members, &marks)?;
        let batches = find_batches(header, book)?;
        self.judge_batches(header, members, &marks, &batches)?;
        self.judge_roots(header)?;
        let ids: Vec<&[Hash]> = batches.iter().map(|batch| &*batch.ids).collect();
        let root = tana_execute::transaction_root_of_parts(ids);
        demand(header.transaction_root == root, "the transaction root is not that of the batches")?;
        if header.timestamp_ms > now.wall_ms.saturating_add(CLOCK_AHEAD_MS_MAX) {
            return Err(Verdict::WaitClock(header.timestamp_ms - CLOCK_AHEAD_MS_MAX));
        }
        Ok(())
    }

    fn judge_executed_height(&self, header: &BlockHeader, parent: &Point) -> Step {
        let attested = header.executed_height;
        demand(attested < header.height, "the executed height is not below the height")?;
        demand(attested >= parent.executed_height, "the executed height is below the parent's")?;
        demand(
            attested <= self.rules.attested_max(parent.executed_height),
            "the executed height passes the end of an epoch that no block attests",
        )?;
        demand(
            attested >= self.rules.attested_min(header.height),
            "the last block of an epoch does not attest the end of the epoch before",
        )
    }

    fn judge_roots(&self, header: &BlockHeader) -> Step {
        let Some(roots) = self.roots(header.executed_height) else {
            return Err(Verdict::WaitExecuted(header.executed_height));
        };
        demand(header.state_root == roots.state_root, "the state root is not the one computed here")?;
        demand(header.receipts_root == roots.receipts_root, "the receipts root is not the one computed here")?;
        demand(
            header.validator_set_hash == roots.validator_set_hash,
            "the validator-set hash is not that of the attested height",
        )
    }

    fn judge_batches(
        &self,
        header: &BlockHeader,
        members: &[[u8; 32]],
        marks: &LaneMarks,
        batches: &[&HeldBatch],
    ) -> Step {
        let (mut transactions, mut bytes) = (0, 0);
        let mut lane_before = None;
        for ((lane, sequence, _), batch) in header.batches().zip(batches) {
            // `judge_lanes` has made sure that the lane is in the set.
            let author = &members[usize::from(lane)];
            let placed = (&batch.author, batch.sequence) == (author, sequence);
            demand(placed, "a batch stands in another lane or at another sequence than its own")?;
            demand(batch.epoch <= header.epoch, "a batch was sealed for a later epoch")?;
            demand(batch.expiry_height >= header.height, "a batch has expired")?;
            demand(
                batch.expiry_height - header.height <= self.rules.batch_expiry_blocks,
                "a batch expires later than batches may",
            )?;
            if lane_before.replace(lane) != Some(lane) {
                let follows = batch.follows(marks.mark(author));
                demand(follows, "a lane leaves out a batch that its author did not withdraw")?;
            }
            transactions += batch.transactions as usize;
            bytes += batch.bytes as usize;
        }
        demand(transactions <= self.rules.block_transactions_max, "more transactions than a block may have")?;
        demand(bytes <= BLOCK_BODY_BYTES_MAX, "more bytes than a block may have")?;
        demand(header.transaction_count as usize == transactions, "the transaction count is not that of the batches")
    }
}

/// What can be said of the lanes without their batches.
fn judge_lanes(header: &BlockHeader, members: &[[u8; 32]], marks: &LaneMarks) -> Step {
    let ascending = header.lanes.is_sorted_by(|left, right| left.lane < right.lane);
    demand(ascending, "the lanes are not ascending")?;
    demand(header.batch_count() <= BLOCK_BATCHES_MAX, "more batches than a block may list")?;
    for lane in &header.lanes {
        let Some(author) = members.get(usize::from(lane.lane)) else {
            return invalid("a lane has no author in the set");
        };
        demand(!lane.digests.is_empty(), "a lane is empty")?;
        let listed = lane.first_sequence <= marks.mark(author) || marks.is_below_floor(author, lane.first_sequence);
        demand(!listed, "a batch was listed before on this branch")?;
    }
    let mut seen = BTreeSet::new();
    demand(header.batches().all(|(_, _, digest)| seen.insert(digest)), "a batch is listed twice")
}

/// The listed batches in order, or which are missing.
fn find_batches<'a>(header: &BlockHeader, book: &'a LaneBook) -> Step<Vec<&'a HeldBatch>> {
    let mut batches = Vec::with_capacity(header.batch_count());
    let mut missing = Vec::new();
    for (_, _, digest) in header.batches() {
        match book.get(digest) {
            Some(batch) => batches.push(batch),
            None => missing.push(*digest),
        }
    }
    if missing.is_empty() { Ok(batches) } else { Err(Verdict::WaitBatches(missing)) }
}
