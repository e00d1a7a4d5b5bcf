//! Execute: the only stage that changes state. Between blocks it answers questions about the state and saves pages for the checkpoint.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tana_execute::{Outcome, State};
use tana_types::Hash;

use super::membership::Membership;
use super::remote::Buffers;
use super::{ExecutedBlock, FinalBlock};
use crate::agreement::Member;
use crate::answers::{Answers, Place};
use crate::channel::{Inlet, Outlet};
use crate::checkpointer::{Beginning, CheckpointFeed};
use crate::failure::Failure;
use crate::published::Published;
use crate::stage::{Poll, Stage, StageCounters, add};
use crate::sync::changes::SetChanges;
use crate::telemetry::Event;

/// A question about the state, asked between blocks.
pub type StateQuestion = Box<dyn FnOnce(&State) + Send>;

/// Questions answered per poll, so that they cannot hold up blocks.
const QUESTIONS_PER_POLL: usize = 8;

/// See the module's text.
pub struct ExecuteStage {
    state: State,
    recovered: VecDeque<FinalBlock>,
    input: Inlet<FinalBlock>,
    output: Outlet<ExecutedBlock>,
    outcomes: Inlet<Box<Outcome>>,
    questions: Inlet<StateQuestion>,
    feed: CheckpointFeed,
    limiter: Limiter,
    answers: Answers,
    buffers: Arc<Buffers>,
    published: Arc<Published>,
    failure: Arc<Failure>,
    membership: Option<Membership>,
    changes: SetChanges,
    /// A block that was executed and waits until the checkpoint behind it can begin; nothing is executed meanwhile.
    owing: Option<ExecutedBlock>,
    counters: Arc<StageCounters>,
}

/// Holds execution back to a rate, for tests of backpressure.
#[derive(Debug, Clone, Copy)]
pub struct Limiter {
    per_s: u64,
    free_at_ns: u64,
}

impl Limiter {
    /// So many transactions a second; 0 is no limit.
    pub fn new(per_s: u64) -> Self {
        Self { per_s, free_at_ns: 0 }
    }

    fn is_open(&self, now_ns: u64) -> bool {
        now_ns >= self.free_at_ns
    }

    fn spend(&mut self, transactions: u64, now_ns: u64) {
        if let Some(cost_ns) = (transactions * 1_000_000_000).checked_div(self.per_s) {
            self.free_at_ns = now_ns.max(self.free_at_ns) + cost_ns;
        }
    }
}

/// What an execute stage is made of.
pub struct ExecuteParts {
    /// The state.
    pub state: State,
    /// Final blocks that a restart found without a commit record: they come first.
    pub recovered: VecDeque<FinalBlock>,
    /// Outcomes that were used and come back.
    pub outcomes: Inlet<Box<Outcome>>,
    /// Questions about the state.
    pub questions: Inlet<StateQuestion>,
    /// The way of pages to the checkpoint.
    pub feed: CheckpointFeed,
    /// The rate limit.
    pub limiter: Limiter,
    /// Where answers go.
    pub answers: Answers,
    /// Tells own batches from others'.
    pub buffers: Arc<Buffers>,
    /// Heights and latencies.
    pub published: Arc<Published>,
    /// Where a broken rule is told.
    pub failure: Arc<Failure>,
    /// Where validators agree: whether this node is one of them. Agreement then hears of the validator sets behind each height.
    pub membership: Option<Membership>,
    /// Keeps what shows changes of the validator set to nodes that join later.
    pub changes: SetChanges,
}

/// The validator sets from the epoch of `height` on that nothing executed above it can change. A change takes effect two epochs after the one
/// in which it is executed at the earliest, so the next block can change nothing below its own epoch plus two.
pub fn fixed_sets(state: &State, height: u64) -> Vec<(u64, Vec<Member>)> {
    let member = |validator: tana_execute::Validator| Member { key: validator.key.0, address: validator.address };
    let (first, next) = (state.epoch_of(height), state.epoch_of(height.saturating_add(1)));
    (first..=next.saturating_add(1))
        .map(|epoch| (epoch, state.validators(epoch).into_iter().map(member).collect()))
        .collect()
}

impl ExecuteStage {
    /// The execute stage between the order log and the root.
    pub fn new(parts: ExecuteParts, input: Inlet<FinalBlock>, output: Outlet<ExecutedBlock>) -> Self {
        Self {
            state: parts.state,
            recovered: parts.recovered,
            input,
            output,
            outcomes: parts.outcomes,
            questions: parts.questions,
            feed: parts.feed,
            limiter: parts.limiter,
            answers: parts.answers,
            buffers: parts.buffers,
            published: parts.published,
            failure: parts.failure,
            membership: parts.membership,
            changes: parts.changes,
            owing: None,
            counters: Arc::default(),
        }
    }

    fn announce(&mut self, block: &FinalBlock, now_ns: u64) {
        let header = &block.block.header;
        self.published.finalized.store(header.height, Ordering::Release);
        self.published.telemetry.push(Event::Finalized {
            height: header.height,
            hash: block.block.hash,
            proposer: header.proposer,
            transactions: header.transaction_count,
        });
        let mut first_index = 0;
        for sealed in &block.block.batches {
            let transactions = sealed.batch.len() as u64;
            // Others' transactions are answered and timed by those who took them in.
            if self.buffers.is_own(&sealed.batch) {
                self.answers.in_final_block(sealed.batch.entries(), Place { height: header.height, first_index });
                self.published.record_final(now_ns.saturating_sub(sealed.batch.arrived_ns), transactions);
            }
            first_index += transactions;
        }
    }

    fn execute(&mut self, block: FinalBlock, now_ns: u64) {
        self.announce(&block, now_ns);
        let mut outcome = self.outcomes.take().unwrap_or_default();
        let batches: Vec<_> = block.block.batches.iter().map(|sealed| &sealed.batch).collect();
        if let Err(error) = self.state.execute(&block.block.header, &batches, &mut outcome) {
            self.failure.tell(format!("block {} cannot be executed: {error}", block.block.header.height));
            return;
        }
        if let Err(reason) = self.changes.executed(&self.state) {
            self.failure.tell(reason);
            return;
        }
        let transactions = u64::from(block.block.header.transaction_count);
        add(&self.counters.transactions, transactions);
        self.limiter.spend(transactions, now_ns);
        let sections = self.state.sections(Hash::default());
        let epoch = self.state.epoch_of(block.block.header.height);
        let validator_set_hash = self.state.validator_set_hash(epoch);
        let sets = match &mut self.membership {
            Some(membership) => {
                membership.executed(&self.state);
                fixed_sets(&self.state, block.block.header.height)
            }
            None => Vec::new(),
        };
        let beginning = self.feed.begin_if_due(&mut self.state, now_ns);
        let checkpoint = beginning == Beginning::Begun;
        let executed = ExecutedBlock { block, outcome, sections, validator_set_hash, sets, checkpoint };
        match beginning {
            Beginning::Owed => self.owing = Some(executed),
            Beginning::None | Beginning::Begun => {
                self.output.send(executed);
            }
        }
    }
}

impl Stage for ExecuteStage {
    fn name(&self) -> &'static str {
        "execute"
    }

    fn poll(&mut self, now_ns: u64) -> Poll {
        if self.failure.is_told() {
            return Poll::Idle;
        }
        for _ in 0..QUESTIONS_PER_POLL {
            match self.questions.take() {
                Some(question) => question(&self.state),
                None => break,
            }
        }
        let saved = self.feed.step(&mut self.state);
        if let Some(mut executed) = self.owing.take() {
            if !self.feed.begin(&mut self.state, now_ns) {
                self.owing = Some(executed);
                return Poll::Blocked;
            }
            executed.checkpoint = true;
            // There was room for it when it was executed.
            self.output.send(executed);
            return Poll::Worked;
        }
        if self.output.is_full() || !self.limiter.is_open(now_ns) {
            return if self.input.is_empty() && self.recovered.is_empty() { Poll::Idle } else { Poll::Blocked };
        }
        match self.recovered.pop_front().or_else(|| self.input.take()) {
            Some(block) => {
                self.execute(block, now_ns);
                Poll::Worked
            }
            None if saved => Poll::Worked,
            None => Poll::Idle,
        }
    }

    fn counters(&self) -> &Arc<StageCounters> {
        &self.counters
    }
}
