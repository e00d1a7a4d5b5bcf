//! A whole simulation: machines, network, clients and faults from a seed, until everything is well again and has shown that it is.
//!
//! 1. All machines start. Every [`TICK`] the world does what the plan says, lets clients send, and asks the checks.
//! 2. A power cut, if the plan has one, ends the runtime: everything that it had not synced is gone, or torn, and all machines start again
//!    from what is left, on the recovered runtime.
//! 3. At the plan's time everything heals: links, disks, machines. From then on the world waits for progress: every validator must commit
//!    more heights than execution may lag behind, and clients must see new transfers applied, within [`PROGRESS_MS`].
//! 4. At the end every honest machine goes down and its disk is executed again from the genesis: each must hold the same chain, and in
//!    it every transaction that was ever reported final.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use commonware_p2p::simulated::{self, Link, Network, Oracle, SplitTarget};
use commonware_p2p::{CheckedSender as _, LimitedSender as _, Recipients};
use commonware_runtime::deterministic::{self, FaultConfig, PartialWriteMode, WriteConfig};
use commonware_runtime::{Clock, IoBuf, Supervisor};
use commonware_utils::{NZUsize, Probability, probability};
use parking_lot::Mutex;
use serde::Serialize;
use tana_consensus::core::keys::{PublicKey, key_bytes, public_key};

use crate::byzantine::{Character, garbage};
use crate::chain::{START_MS, SimChain};
use crate::checks::{Checks, Violation};
use crate::faults::{Fault, Plan};
use crate::history::History;
use crate::load::{Load, Validators};
use crate::node::{self, Common, Ends, Machine, QUOTA, now_us};
use crate::replica::HEALTHY;
use tana_sim_network::dice::Dice;
use tana_sim_network::{CHANNELS, Context, Sky, Weather};

/// How often the world looks, simulated milliseconds.
const TICK: Duration = Duration::from_millis(20);
/// How long progress after healing may take, simulated milliseconds.
const PROGRESS_MS: u64 = 40_000;
/// Transfers that must be applied after healing.
const PROGRESS_TRANSFERS: u64 = 6;
/// How often a twin's sides change, milliseconds.
const SIDES_MS: u64 = 1_700;
/// How often garbage is sent, milliseconds.
const GARBAGE_MS: u64 = 300;

/// What a simulation came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was planned, in words.
    pub faults: String,
    /// The highest finalized height.
    pub height: u64,
    /// Transfers that were applied.
    pub transfers: u64,
    /// Transactions that were reported final.
    pub reported: usize,
    /// Proofs that honest nodes had.
    pub proofs: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Events.
    pub events: u64,
    /// The digest of everything that happened, in hexadecimal digits.
    pub digest: String,
    /// The broken rule, if one was.
    pub violation: Option<String>,
}

/// Runs the simulation of a seed. With `printed`, every event goes to the error output.
pub fn run(seed: u64, printed: bool) -> Report {
    run_plan(&Plan::new(seed), printed)
}

/// Runs a planned simulation. A panic of the code under test is a violation like any other.
pub fn run_plan(plan: &Plan, printed: bool) -> Report {
    match World::new(plan, printed) {
        Ok(mut world) => {
            let common = world.common.clone();
            let run = catch_unwind(AssertUnwindSafe(|| world.run()));
            if let Err(panic) = run {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text");
                common.checks.lock().broken(Violation::Broken { node: usize::MAX, what: format!("panicked: {text}") });
            }
            world.report()
        }
        Err(what) => Report {
            seed: plan.seed,
            faults: plan.words(),
            height: 0,
            transfers: 0,
            reported: 0,
            proofs: 0,
            simulated_ms: 0,
            events: 0,
            digest: String::new(),
            violation: Some(what),
        },
    }
}

/// See the module's text.
struct World {
    common: Common,
    machines: Vec<Machine>,
    load: Load,
    dice: Dice,
    /// Machines that the plan holds down now.
    down: BTreeSet<usize>,
    /// Steps of the plan that were done.
    steps_done: usize,
    /// Links that are cut, by number of the validators.
    cut: BTreeSet<(usize, usize)>,
    loss_per_mille: u64,
    healed: Option<Healed>,
    simulated_ms: u64,
    audit: String,
}

/// What was reached when everything was well again.
struct Healed {
    at_ms: u64,
    height: u64,
    transfers: u64,
}

/// How a phase ended.
enum End {
    PowerCut,
    Done,
}

/// What clients see.
struct View<'a> {
    machines: &'a [Machine],
}

impl Validators for View<'_> {
    fn nonce(&self, validator: usize, account: &tana_types::key::PublicKey) -> Option<u64> {
        node::nonce(&self.machines.get(validator)?.inside, account)
    }

    fn epoch(&self, validator: usize) -> Option<u64> {
        node::epoch(&self.machines.get(validator)?.inside)
    }

    fn submit(&mut self, validator: usize, transaction: &[u8]) -> bool {
        self.machines.get(validator).is_some_and(|machine| machine.inside.submit(transaction))
    }
}

impl World {
    fn new(plan: &Plan, printed: bool) -> Result<Self, String> {
        let chain = Arc::new(SimChain::new(plan.numbers).map_err(|error| error.to_string())?);
        let common = Common {
            plan: Arc::new(plan.clone()),
            checks: Arc::new(Mutex::new(Checks::new(chain.money()))),
            history: Arc::new(Mutex::new(History::new(printed))),
            sky: Sky::new(plan.seed),
            chain: chain.clone(),
        };
        let validators = chain.validators.len();
        let mut machines: Vec<_> = (0..validators).map(|number| Machine::new(&common, number, number)).collect();
        if let Some((liar, Character::Twins)) = plan.liar {
            machines.push(Machine::new(&common, validators, liar));
        }
        Ok(Self {
            load: Load::new(&chain, plan.seed, plan.load, plan.changes.clone()),
            dice: Dice::new(plan.seed, "world"),
            common,
            machines,
            down: BTreeSet::new(),
            steps_done: 0,
            cut: BTreeSet::new(),
            loss_per_mille: 0,
            healed: None,
            simulated_ms: 0,
            audit: String::new(),
        })
    }

    fn report(&self) -> Report {
        let (checks, history) = (self.common.checks.lock(), self.common.history.lock());
        let mut hasher = blake3::Hasher::new();
        hasher.update(&history.digest()).update(self.audit.as_bytes());
        Report {
            seed: self.common.plan.seed,
            faults: self.common.plan.words(),
            height: checks.highest(),
            transfers: self.load.confirmed(),
            reported: checks.reported_count(),
            proofs: history.proofs(),
            simulated_ms: self.simulated_ms,
            events: history.events(),
            digest: hex::encode(hasher.finalize().as_bytes()),
            violation: checks.violation().map(ToString::to_string),
        }
    }

    /// Runs all phases.
    fn run(&mut self) {
        let retained = WriteConfig {
            failure_rate: share(0),
            retention_rate: share(500),
            mode: if self.dice.chance(500) { PartialWriteMode::Prefix } else { PartialWriteMode::Subset },
        };
        let config = deterministic::Config::new()
            .with_seed(self.common.plan.seed)
            .with_start_time(UNIX_EPOCH + Duration::from_millis(START_MS))
            .with_storage_fault_config(FaultConfig::default().write(retained));
        let mut runner = deterministic::Runner::new(config);
        loop {
            let (end, checkpoint) = runner.start_and_recover(|context| self.phase(context));
            self.audit = checkpoint.auditor().state();
            match end {
                End::PowerCut => runner = deterministic::Runner::from(checkpoint),
                End::Done => break,
            }
        }
        self.audit_disks();
    }

    /// From a start of the runtime to its end.
    async fn phase(&mut self, context: Context) -> End {
        let (oracle, peers) = self.network(&context).await;
        for number in 0..self.machines.len() {
            if !self.down.contains(&number) {
                self.start(&context, &oracle, number).await;
            }
        }
        let garbage_sender = self.garbage_ends(&oracle).await;
        let end = self.live(&context, &oracle, &peers, garbage_sender).await;
        for machine in &mut self.machines {
            machine.crash(&mut self.dice).await;
        }
        end
    }

    async fn live(
        &mut self,
        context: &Context,
        oracle: &Oracle<PublicKey, Context>,
        peers: &[PublicKey],
        mut garbage_ends: Vec<Ends>,
    ) -> End {
        let (mut sides_ms, mut garbage_ms) = (0, 0);
        loop {
            context.sleep(TICK).await;
            let now_us = now_us(context);
            let now_ms = now_us / 1_000;
            let cut = self.common.plan.power_cut_ms.filter(|at_ms| self.simulated_ms < *at_ms && *at_ms <= now_ms);
            self.simulated_ms = now_ms;
            if cut.is_some() {
                self.note(now_us, "power fails everywhere");
                return End::PowerCut;
            }
            if self.common.checks.lock().violation().is_some() {
                return End::Done;
            }
            self.steps(context, oracle, peers, now_ms).await;
            self.load.step(now_us, START_MS + now_ms, &mut View { machines: &self.machines });
            if now_ms >= sides_ms + SIDES_MS {
                sides_ms = now_ms;
                self.move_sides();
            }
            if now_ms >= garbage_ms + GARBAGE_MS {
                garbage_ms = now_ms;
                self.send_garbage(&mut garbage_ends);
            }
            self.framed(oracle).await;
            if self.is_done(now_ms) {
                return End::Done;
            }
        }
    }

    fn note(&self, now_us: u64, text: &str) {
        self.common.history.lock().note(now_us, || text.to_owned());
    }

    /// Does what the plan has for this time.
    async fn steps(
        &mut self,
        context: &Context,
        oracle: &Oracle<PublicKey, Context>,
        peers: &[PublicKey],
        now_ms: u64,
    ) {
        let plan = self.common.plan.clone();
        while self.healed.is_none()
            && let Some(step) = plan.steps.get(self.steps_done).filter(|step| step.at_ms <= now_ms)
        {
            self.steps_done += 1;
            self.note(now_ms * 1_000, &format!("{:?}", step.fault));
            match &step.fault {
                Fault::Crash(node) => {
                    self.down.insert(*node);
                    self.machines[*node].crash(&mut self.dice).await;
                }
                Fault::Start(node) => {
                    self.down.remove(node);
                    self.start(context, oracle, *node).await;
                }
                Fault::Split(side) => {
                    let count = self.common.chain.validators.len();
                    let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
                    self.cut.extend(pairs.filter(|(from, to)| side.contains(from) != side.contains(to)));
                    self.link_all(oracle, peers).await;
                }
                Fault::Cut(from, to) => {
                    self.cut.insert((*from, *to));
                    self.link_all(oracle, peers).await;
                }
                Fault::Mend => {
                    self.cut.clear();
                    self.link_all(oracle, peers).await;
                }
                Fault::Pace(node, pace) => self.machines[*node].set_pace(*pace),
                Fault::Weather(weather) => self.common.sky.set(*weather),
                Fault::Loss(per_mille) => {
                    self.loss_per_mille = *per_mille;
                    self.link_all(oracle, peers).await;
                }
            }
        }
        if self.healed.is_none() && now_ms >= plan.heal_ms {
            self.heal(context, oracle, peers, now_ms).await;
        }
    }

    /// Everything works again; only the liar goes on lying.
    async fn heal(&mut self, context: &Context, oracle: &Oracle<PublicKey, Context>, peers: &[PublicKey], now_ms: u64) {
        self.note(now_ms * 1_000, "all is well again");
        self.cut.clear();
        self.loss_per_mille = 0;
        self.common.sky.set(Weather::default());
        self.link_all(oracle, peers).await;
        for number in 0..self.machines.len() {
            self.machines[number].set_pace(HEALTHY);
            self.down.remove(&number);
            self.start(context, oracle, number).await;
        }
        let height = self.common.checks.lock().highest();
        self.healed = Some(Healed { at_ms: now_ms, height, transfers: self.load.confirmed() });
    }

    /// Whether there was progress after healing; without it for too long, that is a violation.
    fn is_done(&mut self, now_ms: u64) -> bool {
        let Some(healed) = &self.healed else { return false };
        let goal = healed.height + self.common.plan.numbers.lag_blocks_max + 2;
        let behind: Vec<String> = (self.machines.iter())
            .filter(|machine| machine.honest && machine.inside.look(|replica| replica.is_member()).unwrap_or(true))
            .filter_map(|machine| {
                let height = machine.inside.look(|replica| replica.executed_height()).unwrap_or(0);
                let status = machine.inside.status();
                let words = status.map_or("down".to_owned(), |status| {
                    format!(
                        "epoch {} view {} {} {}",
                        status.epoch,
                        status.view,
                        status.reason,
                        status.failure.unwrap_or_default()
                    )
                });
                (height < goal).then(|| format!("node {} at {height} ({words})", machine.number))
            })
            .collect();
        let transfers = self.load.confirmed().saturating_sub(healed.transfers);
        if behind.is_empty() && transfers >= PROGRESS_TRANSFERS {
            return true;
        }
        let waited_ms = now_ms - healed.at_ms;
        if waited_ms > PROGRESS_MS {
            let what =
                format!("the goal is height {goal}, {transfers} transfers were applied; behind: {}", behind.join(", "));
            self.common.checks.lock().broken(Violation::Stalled { waited_ms, what });
        }
        waited_ms > PROGRESS_MS
    }

    /// Honest nodes must not block each other.
    async fn framed(&self, oracle: &Oracle<PublicKey, Context>) {
        let Ok(blocked) = oracle.blocked().await else { return };
        for (from, to) in blocked {
            self.common.blocked(&key_bytes(&from), &key_bytes(&to));
        }
    }

    /// The network with all links.
    async fn network(&mut self, context: &Context) -> (Oracle<PublicKey, Context>, Vec<PublicKey>) {
        let chain = &self.common.chain;
        let peers: Vec<_> =
            (0..chain.validators.len()).filter_map(|number| public_key(&chain.public(number))).collect();
        let config = simulated::Config {
            max_size: 4 << 20,
            max_peers_per_set: NZUsize!(16),
            disconnect_on_block: true,
            tracked_peer_sets: NZUsize!(4),
        };
        let (network, oracle) = Network::new_with_peers(context.child("network"), config, peers.clone()).await;
        network.start();
        self.link_all(&oracle, &peers).await;
        (oracle, peers)
    }

    /// Puts every link into the state that it should be in.
    async fn link_all(&mut self, oracle: &Oracle<PublicKey, Context>, peers: &[PublicKey]) {
        let plan = &self.common.plan;
        for (from, sender) in peers.iter().enumerate() {
            for (to, receiver) in peers.iter().enumerate().filter(|(to, _)| *to != from) {
                // Missing links cannot be removed, which is fine.
                let _ = oracle.remove_link(sender.clone(), receiver.clone()).await;
                if self.cut.contains(&(from, to)) {
                    continue;
                }
                let mut dice = Dice::new(plan.seed, &format!("link {from} {to}"));
                let link = Link {
                    latency: Duration::from_millis(dice.between(plan.latency_ms / 2, plan.latency_ms * 3 / 2)),
                    jitter: Duration::from_millis(plan.jitter_ms),
                    success_rate: share(1_000 - self.loss_per_mille.min(1_000)),
                };
                let _ = oracle.add_link(sender.clone(), receiver.clone(), link).await;
            }
        }
    }

    /// Starts a machine, and a twin together with its other half, because they share their channels' ends.
    async fn start(&mut self, context: &Context, oracle: &Oracle<PublicKey, Context>, number: usize) {
        let validator = self.machines[number].validator;
        if self.common.plan.liar == Some((validator, Character::Garbage)) {
            // Its channels belong to the one who sends garbage.
            return;
        }
        let halves: Vec<usize> = (0..self.machines.len())
            .filter(|other| self.machines[*other].validator == validator && !self.machines[*other].is_up())
            .collect();
        if !halves.contains(&number) {
            return;
        }
        let Some(ends) = self.register(oracle, validator).await else { return };
        match halves[..] {
            [first, second] => {
                let (one, other) = self.split(context, ends, first, second);
                self.machines[first].start(context, &self.common, oracle, one);
                self.machines[second].start(context, &self.common, oracle, other);
            }
            _ => self.machines[number].start(context, &self.common, oracle, ends),
        }
    }

    async fn register(&self, oracle: &Oracle<PublicKey, Context>, validator: usize) -> Option<Vec<Ends>> {
        let control = oracle.control(public_key(&self.common.chain.public(validator))?);
        let mut ends = Vec::new();
        for channel in 0..CHANNELS {
            ends.push(control.register(channel, QUOTA).await.ok()?);
        }
        Some(ends)
    }

    /// Two sets of ends from one: what arrives goes to the halves whose side the sender is on.
    fn split(&self, context: &Context, ends: Vec<Ends>, first: usize, second: usize) -> (Vec<Ends>, Vec<Ends>) {
        let sides = [first, second].map(|half| self.machines[half].side.clone().unwrap_or_default());
        let split = |(sender, receiver): Ends| {
            let [one, other] = sides.clone();
            let router = move |(peer, _): &(PublicKey, IoBuf)| {
                let peer = key_bytes(peer);
                match (one.reaches(&peer), other.reaches(&peer)) {
                    (true, true) => SplitTarget::Both,
                    (true, false) => SplitTarget::Primary,
                    (false, true) => SplitTarget::Secondary,
                    (false, false) => SplitTarget::None,
                }
            };
            let (primary, secondary) = receiver.split_with(context.child("split"), router);
            ((sender.clone(), primary), (sender, secondary))
        };
        ends.into_iter().map(split).unzip()
    }

    /// Twins talk to other parts of the network from now on.
    fn move_sides(&mut self) {
        let keys: Vec<_> =
            (0..self.common.chain.validators.len()).map(|number| self.common.chain.public(number)).collect();
        let mut halves: [BTreeSet<[u8; 32]>; 2] = Default::default();
        for key in keys {
            match self.dice.below(5) {
                0 => {}
                1 | 2 => drop(halves[0].insert(key)),
                _ => drop(halves[1].insert(key)),
            }
        }
        let mut halves = halves.into_iter();
        for side in self.machines.iter().filter_map(|machine| machine.side.as_ref()) {
            side.hide(halves.next().unwrap_or_default());
        }
    }

    /// The ends through which garbage is sent; none where nobody does.
    async fn garbage_ends(&self, oracle: &Oracle<PublicKey, Context>) -> Vec<Ends> {
        match self.common.plan.liar {
            Some((liar, Character::Garbage)) => self.register(oracle, liar).await.unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    fn send_garbage(&mut self, ends: &mut [Ends]) {
        for (channel, (sender, _)) in ends.iter_mut().enumerate() {
            let bytes = garbage(&mut self.dice, channel as u64);
            if let Ok(checked) = sender.check(Recipients::All) {
                let _ = checked.send(IoBuf::from(bytes), false);
            }
        }
    }

    /// Every honest disk, executed again.
    fn audit_disks(&mut self) {
        let common = self.common.clone();
        for machine in self.machines.iter_mut().filter(|machine| machine.honest) {
            let number = machine.number;
            let audited = machine.audit(&common);
            let mut checks = common.checks.lock();
            match audited {
                Ok(recovered) => checks.audited(number, &recovered.contents),
                Err(what) => checks.broken(Violation::Broken { node: number, what }),
            }
        }
    }
}

/// A probability of `per_mille` in 1,000.
fn share(per_mille: u64) -> Probability {
    // Callers give at most 1,000.
    Probability::new(per_mille, 1_000).unwrap_or(probability!(1.0))
}
