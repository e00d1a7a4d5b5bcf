//! A scenario's stage: machines, their network, their validators and their clients, with everything that scenarios do to them and wait for.
//!
//! Every wait has an end, hears of Ctrl-C, and notices a validator that ends by itself. [`Stage::finish`] is the same for all scenarios: the
//! network is made good, the clients stop, all validators must come to one state root at one height, stop cleanly, and leave disks that agree with
//! each other and with everything that was reported ([`super::ledger`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tana_cli::http::view::Health;

use super::ledger::{self, Ledger};
use super::load::{Load, LoadPlan};
use super::machine::Machine;
use super::network::{Member, Network, NetworkChoices};
use super::outcome::{Figure, Outcome};
use super::space::{Lab, LabError};
use super::watch::health;
use super::wire::Fault;
use crate::dice::Dice;

/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(20);
/// How long validators may take until they vote: a million accounts are derived, logs are replayed, on a machine that does other things too.
const VOTES: Duration = Duration::from_secs(300);
/// How long a clean stop may take: what is inside is finished for up to 30 s.
const STOP: Duration = Duration::from_secs(60);
/// How long all validators may take to come to one height when everything is good again.
const TOGETHER: Duration = Duration::from_secs(120);
/// How long a validator may take to answer a question at all.
const ANSWERS: Duration = Duration::from_secs(30);
/// Blocks that must be added for a chain to count as going on.
const GROWTH_BLOCKS: u64 = 3;
/// How many blocks a validator may be behind the others and still count as caught up: half a second of them.
pub const LAG_BLOCKS: u64 = 25;
/// Heights whose roots are remembered while a common one is looked for.
const HEIGHTS_MAX: usize = 4_096;

/// What holds for all scenarios of a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This program, which is also `tana`.
    pub program: PathBuf,
    /// Folder of the data.
    pub folder: PathBuf,
    /// How long faults last; none leaves it to each scenario.
    pub seconds: Option<u64>,
    /// Transactions per second in all; none leaves it to each scenario.
    pub rate: Option<u64>,
    /// Decides what is left to chance.
    pub seed: u64,
    /// True when a person wants to stop.
    pub stopping: Arc<AtomicBool>,
}

/// Why a scenario did not pass.
#[derive(Debug)]
pub enum Trouble {
    /// This machine has no such networks.
    NotHere(String),
    /// A person stopped it.
    Interrupted,
    /// Something that must not be.
    Violation(String),
}

impl From<String> for Trouble {
    fn from(reason: String) -> Self {
        Self::Violation(reason)
    }
}

impl From<LabError> for Trouble {
    fn from(error: LabError) -> Self {
        match error {
            LabError::NotHere(reason) => Self::NotHere(reason),
            LabError::Failed(_) => Self::Violation(error.to_string()),
        }
    }
}

/// A stage. Fields are dropped in this order: processes end before their network does.
pub struct Stage {
    /// The machines, by number.
    pub machines: Vec<Machine>,
    load: Option<Load>,
    /// The network between them.
    pub lab: Lab,
    /// The chain.
    pub network: Network,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Machines whose disks are only compared block by block: they began with a snapshot, or are not meant to be honest.
    pub loose: Vec<usize>,
    /// The machine whose validator is about to end by itself, as the scenario wants it to.
    pub is_to_end: Option<usize>,
    /// Chance.
    pub dice: Dice,
    /// What holds for all scenarios.
    pub settings: Settings,
    begun: Instant,
}

impl Stage {
    /// Builds a network of `machines` machines and a chain whose validators live on the first of them.
    ///
    /// # Errors
    /// [`Trouble`]; then nothing of it is left but the folder.
    pub fn open(settings: &Settings, name: &str, machines: usize, choices: &NetworkChoices) -> Result<Self, Trouble> {
        let begun = Instant::now();
        let lab = Lab::build(machines, settings.seed)?;
        let network = Network::create(&settings.folder.join(name), &lab, choices)?;
        let machines = network.members.iter().map(|member| Machine::new(member.clone(), &settings.program)).collect();
        Ok(Self {
            machines,
            load: None,
            lab,
            network,
            figures: Vec::new(),
            loose: Vec::new(),
            is_to_end: None,
            dice: Dice::new(settings.seed),
            settings: settings.clone(),
            begun,
        })
    }

    /// Adds a machine for the last member of the network; its number.
    pub fn add_machine(&mut self) -> usize {
        let member = self.network.members[self.network.members.len() - 1].clone();
        self.machines.push(Machine::new(member, &self.settings.program));
        self.machines.len() - 1
    }

    /// How long a fault lasts, when the scenario would let it last `seconds`.
    pub fn seconds(&self, seconds: u64) -> Duration {
        Duration::from_secs(self.settings.seconds.unwrap_or(seconds))
    }

    /// Starts the validators of `machines` and waits until all of them vote.
    ///
    /// # Errors
    /// [`Trouble`] when one ends, or not all vote in time.
    pub fn start_voting(&mut self, machines: &[usize]) -> Result<(), Trouble> {
        for machine in machines {
            self.machines[*machine].start(&self.lab)?;
        }
        self.until("all validators vote", VOTES, |stage| {
            machines.iter().all(|machine| stage.health(*machine).is_some_and(|health| health.voting))
        })?;
        Ok(())
    }

    /// Clients of `machines` begin to send, `rate` transactions a second in all.
    ///
    /// # Errors
    /// [`Trouble`] when the system gives no thread.
    pub fn flood(&mut self, machines: &[usize], rate: u64) -> Result<(), Trouble> {
        let target = |machine: &usize| {
            let member = &self.machines[*machine].member;
            (member.transactions, member.key)
        };
        let plan = LoadPlan {
            chain: self.network.genesis.to_chain(),
            targets: machines.iter().map(target).collect(),
            first_account: 0,
            rate: self.settings.rate.unwrap_or(rate),
        };
        self.load = Some(Load::start(plan)?);
        Ok(())
    }

    /// What `/health` of a machine says; none when it does not answer.
    pub fn health(&self, machine: usize) -> Option<Health> {
        let machine = &self.machines[machine];
        machine.is_answering().then(|| health(&machine.member)).flatten()
    }

    /// The last final height of a machine; 0 when it does not answer.
    pub fn finalized(&self, machine: usize) -> u64 {
        self.health(machine).map_or(0, |health| health.finalized_height)
    }

    /// The same of several machines, each of which must answer.
    ///
    /// # Errors
    /// [`Trouble`] when one does not.
    pub fn heights(&mut self, machines: &[usize]) -> Result<Vec<u64>, Trouble> {
        let mut heights = Vec::with_capacity(machines.len());
        for machine in machines {
            let what = format!("{} answers", self.machines[*machine].member.name);
            let mut found = None;
            self.until(&what, ANSWERS, |stage| {
                found = stage.health(*machine).map(|health| health.finalized_height);
                found.is_some()
            })?;
            heights.extend(found);
        }
        Ok(heights)
    }

    /// Reports of final transactions that the clients got.
    pub fn finals(&self) -> u64 {
        self.load.as_ref().map_or(0, Load::finals)
    }

    /// Waits until `is_true`; how long that took.
    ///
    /// # Errors
    /// [`Trouble`] when it takes longer than `within`, a validator ends by itself, or a person stops it.
    pub fn until(
        &mut self,
        what: &str,
        within: Duration,
        mut is_true: impl FnMut(&mut Self) -> bool,
    ) -> Result<Duration, Trouble> {
        let begun = Instant::now();
        loop {
            self.check()?;
            if is_true(self) {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > within {
                let standing = self.standing();
                return Err(Trouble::Violation(format!("not within {} s: {what}; {standing}", within.as_secs())));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// [`Trouble`] when a validator ends by itself, or a person stops it.
    pub fn hold(&mut self, duration: Duration) -> Result<(), Trouble> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            self.check()?;
            std::thread::sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    /// An error when a person wants to stop, or a validator ended by itself.
    fn check(&mut self) -> Result<(), Trouble> {
        if self.settings.stopping.load(Ordering::SeqCst) {
            return Err(Trouble::Interrupted);
        }
        let is_to_end = self.is_to_end;
        let mut others = self.machines.iter_mut().enumerate().filter(|(number, _)| Some(*number) != is_to_end);
        Ok(others.try_for_each(|(_, machine)| machine.check())?)
    }

    /// How each validator stands, as a sentence for reports of failures.
    pub fn standing(&self) -> String {
        let one = |machine: usize| {
            let name = &self.machines[machine].member.name;
            match self.health(machine) {
                None if !self.machines[machine].is_running() => format!("{name} does not run"),
                None => format!("{name} does not answer"),
                Some(health) => format!(
                    "{name} is at height {} ({} final), epoch {}, view {}, {} peers, {}{}",
                    health.height,
                    health.finalized_height,
                    health.epoch,
                    health.view,
                    health.peers,
                    health.status,
                    if health.reason.is_empty() { String::new() } else { format!(" ({})", health.reason) }
                ),
            }
        };
        (0..self.machines.len()).map(one).collect::<Vec<_>>().join("; ")
    }

    /// Waits until the chain goes on: each of `machines` has a few more final blocks, and clients heard of more final transactions. How long that
    /// took.
    ///
    /// # Errors
    /// [`Trouble`] when it does not within `within`.
    pub fn goes_on(&mut self, machines: &[usize], within: Duration) -> Result<Duration, Trouble> {
        let before = self.heights(machines)?;
        let finals = self.finals();
        self.until("the chain goes on", within, |stage| {
            let has_grown = |(machine, before): (&usize, &u64)| stage.finalized(*machine) >= before + GROWTH_BLOCKS;
            (stage.load.is_none() || stage.finals() > finals) && machines.iter().zip(&before).all(has_grown)
        })
    }

    /// Makes sure that the chain stands still: what was under way may end within `settle`, then nothing becomes final for `duration`.
    ///
    /// # Errors
    /// [`Trouble::Violation`] when something becomes final all the same.
    pub fn stands_still(&mut self, machines: &[usize], settle: Duration, duration: Duration) -> Result<(), Trouble> {
        self.hold(settle)?;
        let before = self.heights(machines)?;
        self.hold(duration)?;
        for ((machine, before), after) in machines.iter().zip(before).zip(self.heights(machines)?) {
            if after > before {
                let name = &self.machines[*machine].member.name;
                let reason = format!("{name} went on from height {before} to {after} without a quorum");
                return Err(Trouble::Violation(reason));
            }
        }
        Ok(())
    }

    /// Waits until `machine` votes and is where `other` is; how long that took.
    ///
    /// # Errors
    /// [`Trouble`] when it is not within `within`.
    pub fn catches_up(&mut self, machine: usize, other: usize, within: Duration) -> Result<Duration, Trouble> {
        let what = format!("{} has caught up", self.machines[machine].member.name);
        self.until(&what, within, |stage| {
            let goal = stage.finalized(other);
            let there = stage.health(machine);
            goal > 0 && there.is_some_and(|health| health.voting && health.height + LAG_BLOCKS >= goal)
        })
    }

    /// Kills the validator of `machine`.
    ///
    /// # Errors
    /// [`Trouble::Violation`] when it had ended by itself.
    pub fn kill(&mut self, machine: usize) -> Result<(), Trouble> {
        self.machines[machine].kill()?;
        self.reconnect(machine);
        Ok(())
    }

    /// Starts the validator of `machine` again.
    ///
    /// # Errors
    /// [`Trouble::Violation`] when there is no process for it.
    pub fn start(&mut self, machine: usize) -> Result<(), Trouble> {
        self.machines[machine].start(&self.lab)?;
        self.reconnect(machine);
        Ok(())
    }

    fn reconnect(&self, machine: usize) {
        if let Some(load) = &self.load {
            load.reconnect(machine);
        }
    }

    /// Sets the wires between every machine of `ones` and every one of `others`, in both directions.
    pub fn between(&self, ones: &[usize], others: &[usize], fault: Fault) {
        for one in ones {
            for other in others.iter().filter(|other| *other != one) {
                self.lab.switch().set_both(*one, *other, fault);
            }
        }
    }

    /// Notes a measured value.
    pub fn note(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Makes everything good, stops everything, and compares what is left. `play` is how the scenario itself went.
    pub fn finish(mut self, name: &str, played: Result<(), Trouble>) -> Result<Outcome, Trouble> {
        let mut violations = Vec::new();
        match played {
            Ok(()) => {}
            Err(Trouble::Violation(reason)) => violations.push(reason),
            Err(other) => return Err(other),
        }
        self.lab.switch().heal();
        let heard = self.load.take().map(Load::stop).unwrap_or_default();
        violations.extend(heard.violations);
        // What went wrong already is told; that the rest does not come together then is no news.
        if violations.is_empty() {
            match self.comes_together() {
                Err(Trouble::Violation(reason)) => violations.push(reason),
                other => other?,
            }
        }
        let packets = self.lab.switch().counts();
        self.machines.iter_mut().for_each(Machine::terminate);
        let ends = self.machines.iter_mut().map(|machine| machine.await_end(STOP));
        violations.extend(ends.filter_map(Result::err));
        let (mut whole, mut joined): (Vec<&Member>, Vec<&Member>) = (Vec::new(), Vec::new());
        for (number, machine) in self.machines.iter().enumerate() {
            (if self.loose.contains(&number) { &mut joined } else { &mut whole }).push(&machine.member);
        }
        let ledger = ledger::compare(&whole, &joined, &self.network.genesis, &heard.reports);
        violations.extend(ledger.violations.iter().cloned());
        Ok(Outcome {
            scenario: name.to_owned(),
            seconds: self.begun.elapsed().as_secs_f64(),
            figures: std::mem::take(&mut self.figures),
            clients: heard.counts,
            finals: heard.reports.finals,
            ledger: Ledger { violations: Vec::new(), ..ledger },
            packets,
            violations,
        })
    }

    /// Waits until all running validators were seen at one height with one state root.
    fn comes_together(&mut self) -> Result<(), Trouble> {
        let running: Vec<usize> =
            (0..self.machines.len()).filter(|number| self.machines[*number].is_running()).collect();
        let mut seen: BTreeMap<u64, BTreeMap<usize, String>> = BTreeMap::new();
        let mut different = None;
        self.until("all validators have one state root at one height", TOGETHER, |stage| {
            for machine in &running {
                let Some(health) = stage.health(*machine) else { continue };
                let roots = seen.entry(health.height).or_default();
                roots.insert(*machine, health.state_root);
                if let Some(found) = differing(roots) {
                    different = Some(format!("at height {} the state roots differ: {found}", health.height));
                    return true;
                }
                if roots.len() == running.len() {
                    return true;
                }
            }
            while seen.len() > HEIGHTS_MAX {
                seen.pop_first();
            }
            false
        })?;
        different.map_or(Ok(()), |reason| Err(Trouble::Violation(reason)))
    }

    /// The folder of the chain.
    pub fn folder(&self) -> &Path {
        &self.network.folder
    }
}

/// What differs among roots of one height, as a sentence.
fn differing(roots: &BTreeMap<usize, String>) -> Option<String> {
    let first = roots.values().next()?;
    let is_different = roots.values().any(|root| root != first);
    is_different
        .then(|| roots.iter().map(|(machine, root)| format!("{machine}: {root}")).collect::<Vec<_>>().join(", "))
}
