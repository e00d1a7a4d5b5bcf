//! A running node: the [`Replica`] behind the real core of agreement, and what ties the two together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use commonware_p2p::simulated::{self, Oracle};
use commonware_runtime::{Clock, Quota, Spawner, Supervisor};
use commonware_utils::NZU32;
use parking_lot::Mutex;
use tana_consensus::core::CoreConfig;
use tana_consensus::core::keys::PublicKey;
use tana_consensus::{
    ChainStart, ConsensusHandle, EpochSet, Event, Execution, FinalizedBlock, Host, RecordStore, Timeouts, Validator,
};
use tana_lane::{Evidence, LaneLimits};
use tana_order::ChainRules;
use tana_types::Hash;
use tokio::sync::Notify;

use crate::byzantine::{Character, Liar};
use crate::chain::{START_MS, SimChain};
use crate::checks::{Checks, Violation};
use crate::disk::Disk;
use crate::faults::Plan;
use crate::history::History;
use crate::replica::{HEALTHY, Output, Pace, Recovered, Replica};
use tana_sim_network::dice::Dice;
use tana_sim_network::{Context, Hand, Mail, Side, Sky};

/// Far above what a node sends: links of the simulation are not limited by count.
pub const QUOTA: Quota = Quota::per_second(NZU32!(10_000));

/// What all nodes of a simulation share.
#[derive(Clone)]
pub struct Common {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The chain.
    pub chain: Arc<SimChain>,
    /// The checks.
    pub checks: Arc<Mutex<Checks>>,
    /// What happened.
    pub history: Arc<Mutex<History>>,
    /// The weather.
    pub sky: Sky,
}

impl Common {
    /// Whether the validator with this key tells the truth.
    pub fn is_honest(&self, key: &[u8; 32]) -> bool {
        self.plan.liar.is_none_or(|(liar, _)| &self.chain.public(liar) != key)
    }

    /// Hears that the first blocks the second.
    pub fn blocked(&self, from: &[u8; 32], to: &[u8; 32]) {
        if self.is_honest(from) && self.is_honest(to) {
            let number = |key| self.number(key).unwrap_or(usize::MAX);
            let violation = Violation::Framed { node: number(from), deed: "blocks", victim: number(to) };
            self.checks.lock().broken(violation);
        }
    }

    /// The number of the validator with this key.
    pub fn number(&self, key: &[u8; 32]) -> Option<usize> {
        (0..self.chain.validators.len()).find(|number| &self.chain.public(*number) == key)
    }
}

/// What agreement and the rest of the simulation see of a node.
pub struct Inside {
    common: Common,
    /// Its number: validators first, a twin's second half last.
    number: usize,
    honest: bool,
    replica: Mutex<Option<Replica>>,
    consensus: Mutex<Option<ConsensusHandle>>,
    wake: Notify,
    /// Simulated time as the node's last look at the clock had it, microseconds.
    clock: Mutex<Option<Context>>,
}

/// Microseconds since the simulation began.
pub fn now_us(clock: &impl Clock) -> u64 {
    let since = clock.current().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    (since.as_micros() as u64).saturating_sub(START_MS * 1_000)
}

impl Inside {
    fn now_us(&self) -> u64 {
        self.clock.lock().as_ref().map_or(0, now_us)
    }

    /// Looks at the replica with the checks, if the node is up; then lets it go on.
    fn with<R>(&self, look: impl FnOnce(&mut Replica, Option<&mut Checks>, u64) -> R) -> Option<R> {
        let now_us = self.now_us();
        let mut replica = self.replica.lock();
        let replica = replica.as_mut()?;
        let result = if self.honest {
            look(replica, Some(&mut self.common.checks.lock()), now_us)
        } else {
            look(replica, None, now_us)
        };
        self.wake.notify_one();
        Some(result)
    }

    /// Looks at the replica, if the node is up.
    pub fn look<R>(&self, look: impl FnOnce(&mut Replica) -> R) -> Option<R> {
        self.replica.lock().as_mut().map(look)
    }

    /// Offers a transaction.
    pub fn submit(&self, transaction: &[u8]) -> bool {
        self.with(|replica, _, now_us| replica.submit(transaction, now_us)).unwrap_or(false)
    }

    /// How agreement is doing, if the node is up.
    pub fn status(&self) -> Option<tana_consensus::ConsensusStatus> {
        self.consensus.lock().as_ref().map(ConsensusHandle::status)
    }

    fn note(&self, text: impl FnOnce() -> String) {
        self.common.history.lock().note(self.now_us(), || format!("node {}: {}", self.number, text()));
    }

    fn broken(&self, what: String) {
        if self.honest {
            self.common.checks.lock().broken(Violation::Broken { node: self.number, what });
        }
    }

    /// Whom a proof names, if it is good.
    fn culprit(&self, evidence: &Evidence) -> Result<[u8; 32], String> {
        let Evidence::Votes { kind, first, second } = evidence else {
            return evidence.verify(&self.common.chain.chain).map_err(|error| error.to_string());
        };
        let set: Vec<_> =
            (0..self.common.plan.numbers.validators).map(|number| self.common.chain.public(number)).collect();
        tana_consensus::evidence::check(&self.common.chain.hash(), &set, *kind, first, second)
            .map(|offence| offence.culprit)
            .map_err(|error| error.to_string())
    }
}

impl Host for Inside {
    fn verify(&self, batch: Bytes, _author: [u8; 32]) -> bool {
        self.with(|replica, _, now_us| replica.verify(batch, now_us)).unwrap_or(true)
    }

    fn finalized(&self, block: FinalizedBlock) {
        self.note(|| {
            let header = &block.header;
            format!(
                "final {} {} ({} transactions, attests {})",
                header.height,
                hex::encode(&block.hash[..4]),
                header.transaction_count,
                header.executed_height
            )
        });
        self.with(|replica, checks, now_us| replica.finalized(block.header, &block.hash, now_us, checks));
    }

    fn read_batch(&self, digest: &Hash, _height_hint: u64) -> Option<Bytes> {
        self.look(|replica| replica.read_batch(digest)).flatten()
    }

    fn forget(&self, _digests: &[Hash]) {}

    fn reseal_own(&self, mark: u64) {
        self.note(|| format!("seals again what lies behind {mark}"));
        self.with(|replica, _, now_us| replica.reseal_own(mark, now_us));
    }

    fn evidence(&self, evidence: Evidence) {
        // Votes can be checked here only while the set stays the first one.
        let unknown = matches!(evidence, Evidence::Votes { .. }) && !self.common.plan.changes.is_empty();
        if self.honest && !unknown {
            match self.culprit(&evidence) {
                Ok(culprit) => {
                    self.note(|| format!("has proof against {:?}", self.common.number(&culprit)));
                    self.common.history.lock().count_proof();
                    if self.common.is_honest(&culprit) {
                        let victim = self.common.number(&culprit).unwrap_or(usize::MAX);
                        let violation = Violation::Framed { node: self.number, deed: "has proof against", victim };
                        self.common.checks.lock().broken(violation);
                    }
                }
                Err(reason) => self.broken(format!("an evidence does not verify: {reason}")),
            }
        }
        self.with(|replica, _, _| replica.keep_evidence(&evidence));
    }

    fn answer_sync(&self, _peer: &[u8; 32], _request: Bytes) -> Option<Bytes> {
        None
    }
}

impl RecordStore for Inside {
    fn load(&self) -> Result<Option<Vec<u8>>, String> {
        self.look(|replica| replica.disk().vote_record()).ok_or_else(|| "the node is down".to_owned())
    }

    fn store(&self, bytes: &[u8]) -> Result<(), String> {
        self.look(|replica| replica.disk().set_vote_record(bytes)).ok_or_else(|| "the node is down".to_owned())
    }
}

/// A machine: a node, or what is left of it while it is down.
pub struct Machine {
    /// Its number.
    pub number: usize,
    /// Whose key it has.
    pub validator: usize,
    /// Whether it tells the truth.
    pub honest: bool,
    /// What it does with its messages.
    pub liar: Option<Hand>,
    /// Whom it talks to, if it is a twin.
    pub side: Option<Side>,
    /// What runs, while it is up.
    pub inside: Arc<Inside>,
    /// How long things take there.
    pub pace: Pace,
    disk: Disk,
    task: Option<commonware_runtime::Handle<()>>,
    starts: u64,
}

/// A pair of channel ends.
pub type Ends = (simulated::Sender<PublicKey, Context>, simulated::Receiver<PublicKey>);

impl Machine {
    /// A machine that was never started.
    pub fn new(common: &Common, number: usize, validator: usize) -> Self {
        let character = common.plan.liar.filter(|(liar, _)| *liar == validator).map(|(_, character)| character);
        let liar = character.map(|character| {
            Arc::new(Mutex::new(Liar::new(character, &common.chain, validator, common.plan.seed))) as Hand
        });
        let inside = Inside {
            common: common.clone(),
            number,
            honest: character.is_none(),
            replica: Mutex::new(None),
            consensus: Mutex::new(None),
            wake: Notify::new(),
            clock: Mutex::new(None),
        };
        let mut disk = Disk::default();
        // The key was just made, and says so.
        disk.set_vote_record(&tana_consensus::record::Record::default().encode());
        Self {
            number,
            validator,
            honest: character.is_none(),
            liar,
            side: (character == Some(Character::Twins)).then(Side::default),
            inside: Arc::new(inside),
            pace: HEALTHY,
            disk,
            task: None,
            starts: 0,
        }
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.task.is_some()
    }

    /// Power fails: every task ends at once, and the disk keeps what was safe.
    pub async fn crash(&mut self, dice: &mut Dice) {
        let Some(task) = self.task.take() else { return };
        task.abort();
        // It was told to end; how it ended does not matter.
        let _ = task.await;
        self.inside.note(|| "crashes".to_owned());
        *self.inside.consensus.lock() = None;
        *self.inside.clock.lock() = None;
        if let Some(mut replica) = self.inside.replica.lock().take() {
            self.disk = replica.crash(dice);
        }
    }

    /// What the machine's disk holds, executed again; for the end of a simulation. The machine must be down.
    pub fn audit(&mut self, common: &Common) -> Result<Recovered, String> {
        let disk = self.disk.clone();
        Replica::start(&common.chain, self.number, self.validator, disk, None).map(|(_, recovered)| recovered)
    }

    /// Starts it on its disk, on these channel ends.
    pub fn start(&mut self, context: &Context, common: &Common, oracle: &Oracle<PublicKey, Context>, ends: Vec<Ends>) {
        if self.is_up() {
            return;
        }
        let disk = std::mem::take(&mut self.disk);
        let started = {
            let mut checks = common.checks.lock();
            Replica::start(&common.chain, self.number, self.validator, disk, self.honest.then_some(&mut *checks))
        };
        let (mut replica, recovered) = match started {
            Ok(started) => started,
            Err(what) => return self.inside.broken(what),
        };
        replica.pace = self.pace;
        if common.plan.liar == Some((self.validator, Character::WrongRoots)) {
            replica.lie_about_roots();
        }
        self.starts += 1;
        *self.inside.replica.lock() = Some(replica);
        *self.inside.clock.lock() = Some(context.child("clock").with_attribute("node", self.number));
        self.inside.note(|| format!("starts at height {}", recovered.base.as_ref().map_or(0, |base| base.height)));
        let parts = Parts {
            inside: self.inside.clone(),
            common: common.clone(),
            oracle: oracle.clone(),
            ends,
            recovered,
            validator: self.validator,
            liar: self.liar.clone().filter(|_| !self.honest),
            side: self.side.clone(),
        };
        let context = context.child("node").with_attribute("number", self.number);
        self.task = Some(context.spawn(move |context| run(context, parts)));
    }

    /// Changes how long things take.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
        self.inside.look(|replica| replica.pace = pace);
    }
}

/// What a node's task is made of.
struct Parts {
    inside: Arc<Inside>,
    common: Common,
    oracle: Oracle<PublicKey, Context>,
    ends: Vec<Ends>,
    recovered: Recovered,
    validator: usize,
    liar: Option<Hand>,
    side: Option<Side>,
}

/// A node's task: starts agreement, then carries what the replica says to it.
async fn run(context: Context, parts: Parts) {
    let (inside, common) = (parts.inside.clone(), parts.common.clone());
    let plan = &common.plan;
    let shared = Arc::new(context.child("mail"));
    let end = |(channel, (sender, receiver)): (usize, Ends)| {
        let (sky, liar, side) = (common.sky.clone(), parts.liar.clone(), parts.side.clone());
        (Mail::new(sender, channel as u64, shared.clone(), sky, liar, side), receiver)
    };
    let ends: Vec<_> = parts.ends.into_iter().enumerate().map(end).collect();
    let mut rules = ChainRules::new(&common.chain.genesis.rules, 64, plan.intervals_ms.0, plan.intervals_ms.1);
    rules.batch_expiry_blocks = plan.numbers.expiry_blocks;
    let config = CoreConfig {
        key: common.chain.validators[parts.validator].clone(),
        genesis_hash: common.chain.hash(),
        rules,
        lanes: LaneLimits { batches_per_author: 32, bytes_per_author: 1 << 20, fetches_in_flight: 16 },
        timeouts: Timeouts::from_leader(Duration::from_millis(plan.leader_timeout_ms)),
        keep_heights: 0,
        prefix: format!("node-{}", inside.number),
        clock_offset_ms: plan.skews_ms.get(parts.validator).copied().unwrap_or(0),
    };
    let from = chain_start(parts.recovered);
    let agreement = context.child("core");
    let started =
        tana_sim_network::start(agreement, config, from, inside.clone(), inside.clone(), ends, parts.oracle).await;
    match started {
        Ok(handle) => {
            *inside.consensus.lock() = Some(handle.clone());
            carry(context, inside, handle).await;
        }
        Err(error) => inside.broken(format!("agreement does not start: {error}")),
    }
}

fn chain_start(recovered: Recovered) -> ChainStart {
    ChainStart {
        genesis_timestamp_ms: START_MS,
        base: recovered.base,
        marks: recovered.marks,
        floors: recovered.floors,
        executed: recovered.executed,
        sets: epoch_sets(recovered.sets),
        above: recovered.above,
        boundary: recovered.boundary,
        certificate: None,
    }
}

fn epoch_sets(sets: Vec<(u64, Vec<tana_execute::Validator>)>) -> Vec<EpochSet> {
    let validator = |validator: tana_execute::Validator| Validator { key: validator.key.0, address: validator.address };
    sets.into_iter()
        .map(|(epoch, validators)| EpochSet { epoch, validators: validators.into_iter().map(validator).collect() })
        .collect()
}

/// Lets the replica do what is due, and tells agreement what came of it.
async fn carry(context: Context, inside: Arc<Inside>, handle: ConsensusHandle) {
    loop {
        let now_us = now_us(&context);
        let outputs = {
            let mut replica = inside.replica.lock();
            let Some(replica) = replica.as_mut() else { return };
            if inside.honest {
                replica.run(now_us, Some(&mut inside.common.checks.lock()))
            } else {
                replica.run(now_us, None)
            }
        };
        for output in outputs {
            inside.note(|| words(&output));
            handle.send(event(output));
        }
        let due_us = inside.look(|replica| replica.next_due_us()).flatten();
        match due_us {
            Some(due_us) => {
                let pause = Duration::from_micros(due_us.saturating_sub(now_us).max(1));
                tokio::select! {
                    biased;
                    () = inside.wake.notified() => {}
                    () = context.sleep(pause) => {}
                }
            }
            None => inside.wake.notified().await,
        }
    }
}

fn event(output: Output) -> Event {
    match output {
        Output::Held(batch, own) => Event::Held { batch, own },
        Output::Refused { seal, evidence } => {
            Event::Refused { author: seal.author, sequence: seal.sequence.get(), digest: seal.digest(), evidence }
        }
        Output::Executed(roots, sets) => Event::Executed(Execution { roots, sets: epoch_sets(sets) }),
        Output::Committed(height) => Event::Committed(height),
    }
}

fn words(output: &Output) -> String {
    match output {
        Output::Held(batch, own) => format!(
            "holds {} {} of {}{}",
            batch.sequence,
            hex::encode(&batch.digest[..4]),
            hex::encode(&batch.author[..4]),
            if own.is_some() { ", its own" } else { "" }
        ),
        Output::Refused { seal, evidence } => format!(
            "refuses {} {} of {}{}",
            seal.sequence.get(),
            hex::encode(&seal.digest()[..4]),
            hex::encode(&seal.author[..4]),
            if evidence.is_some() { ", with proof" } else { "" }
        ),
        Output::Executed(roots, _) => format!("executed {} {}", roots.height, hex::encode(&roots.state_root[..4])),
        Output::Committed(height) => format!("committed {height}"),
    }
}

/// Transactions by sender and nonce that a node's state knows, for the clients.
pub fn nonce(inside: &Inside, account: &tana_types::key::PublicKey) -> Option<u64> {
    inside.look(|replica| {
        let state = replica.ledger().state();
        state.find(account).map_or(0, |index| state.nonce(index))
    })
}

/// The running epoch as a node executed it.
pub fn epoch(inside: &Inside) -> Option<u64> {
    inside.look(|replica| {
        let state = replica.ledger().state();
        state.epoch_of(state.progress().height + 1)
    })
}

/// Heights by node, for the report.
pub fn heights(machines: &[Machine]) -> BTreeMap<usize, u64> {
    machines
        .iter()
        .filter_map(|machine| Some((machine.number, machine.inside.look(|replica| replica.tip())?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::byzantine::{Lie, reseal};
    use tana_types::batch::{Batch, Seal};
    use tana_types::payload::Payload;
    use tana_types::transaction::{Transaction, sign};

    fn common(liar: Option<(usize, Character)>) -> Common {
        let plan = Plan { liar, changes: Vec::new(), ..Plan::new(1) };
        let plan = Plan { numbers: crate::chain::ChainNumbers { validators: 4, spare: 0, ..plan.numbers }, ..plan };
        let chain = Arc::new(SimChain::new(plan.numbers).unwrap());
        Common {
            plan: Arc::new(plan),
            checks: Arc::new(Mutex::new(Checks::new(chain.money()))),
            history: Arc::new(Mutex::new(History::new(false))),
            sky: Sky::new(1),
            chain,
        }
    }

    /// Two seals of validator 1 at one sequence.
    fn proof(chain: &SimChain) -> Evidence {
        let mut batch = Batch::default();
        batch.clear();
        let recipient = tana_types::key::PublicKey(chain.accounts[1].verifying_key().to_bytes());
        let payload = Payload::Transfer { recipient, currency: chain.currency, amount: 1 };
        let bytes = sign(&chain.chain, &chain.accounts[0], 1, START_MS, &payload).unwrap();
        batch.push(Transaction::exactly(&bytes).unwrap(), 0, tana_types::batch::Origin::default());
        batch.seal(&chain.chain, &chain.validators[1], 0, 1, 0, 50);
        let other = reseal(chain, 1, batch.sealed_bytes(), Lie::OtherSeal).unwrap();
        let seal = |bytes: &[u8]| *Seal::decode(bytes, &chain.chain).unwrap().0;
        Evidence::ConflictingSeals(Box::new([seal(batch.sealed_bytes()), seal(&other)]))
    }

    #[test]
    fn proof_against_an_honest_validator_is_a_violation() {
        for (liar, framed) in [(None, true), (Some((1, Character::DoubleSealer)), false)] {
            let common = common(liar);
            let machine = Machine::new(&common, 0, 0);
            machine.inside.evidence(proof(&common.chain));
            let violation = common.checks.lock().violation().cloned();
            let expected = Violation::Framed { node: 0, deed: "has proof against", victim: 1 };
            assert_eq!(violation, framed.then_some(expected));
        }
    }

    #[test]
    fn proof_that_proves_nothing_is_a_violation() {
        let common = common(None);
        let Evidence::ConflictingSeals(seals) = proof(&common.chain) else { unreachable!() };
        let machine = Machine::new(&common, 0, 0);
        machine.inside.evidence(Evidence::ConflictingSeals(Box::new([seals[0], seals[0]])));
        assert!(matches!(common.checks.lock().violation(), Some(Violation::Broken { node: 0, .. })));
    }

    #[test]
    fn honest_validators_that_block_each_other_are_seen() {
        let common = common(Some((3, Character::Garbage)));
        let key = |number| common.chain.public(number);
        common.blocked(&key(0), &key(3));
        common.blocked(&key(3), &key(0));
        assert_eq!(common.checks.lock().violation(), None);
        common.blocked(&key(0), &key(1));
        let expected = Violation::Framed { node: 0, deed: "blocks", victim: 1 };
        assert_eq!(common.checks.lock().violation(), Some(&expected));
    }
}
