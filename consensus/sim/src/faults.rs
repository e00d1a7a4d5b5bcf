//! What goes wrong in a simulation, when and where: a schedule drawn from the seed, several things at once.

use std::collections::BTreeSet;

use crate::byzantine::Character;
use crate::chain::ChainNumbers;
use crate::load::{LoadNumbers, SetChange};
use crate::replica::{HEALTHY, Pace};
use tana_sim_network::Weather;
use tana_sim_network::dice::Dice;

/// A fault, or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Power fails at a node.
    Crash(usize),
    /// A node starts again.
    Start(usize),
    /// The nodes of this list cannot reach the others, nor be reached by them.
    Split(BTreeSet<usize>),
    /// The first cannot reach the second; the other way it works.
    Cut(usize, usize),
    /// All links work again.
    Mend,
    /// A node's disk, verification or execution gets slow, or healthy again.
    Pace(usize, Pace),
    /// Late and doubled messages, or nothing that finalizes.
    Weather(Weather),
    /// Messages lost, of 1,000, on every link.
    Loss(u64),
}

/// A fault and when it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Simulated milliseconds since the start.
    pub at_ms: u64,
    /// What happens.
    pub fault: Fault,
}

/// A whole simulation, before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The seed that it was drawn from.
    pub seed: u64,
    /// The chain.
    pub numbers: ChainNumbers,
    /// The clients.
    pub load: LoadNumbers,
    /// What the sovereign does.
    pub changes: Vec<SetChange>,
    /// The one-way delay of a link, milliseconds, drawn for each within half and one and a half.
    pub latency_ms: u64,
    /// How much the delay varies, milliseconds (the standard deviation).
    pub jitter_ms: u64,
    /// The traitor, if there is one.
    pub liar: Option<(usize, Character)>,
    /// How far each validator's clock is off, milliseconds.
    pub skews_ms: Vec<i64>,
    /// What goes wrong, in order of time.
    pub steps: Vec<Step>,
    /// When power fails everywhere at once, milliseconds.
    pub power_cut_ms: Option<u64>,
    /// When everything is well again, milliseconds.
    pub heal_ms: u64,
    /// A leader's time-out, milliseconds.
    pub leader_timeout_ms: u64,
    /// The time between blocks, and between empty ones, milliseconds.
    pub intervals_ms: (u64, u64),
}

/// The kinds of faults that a schedule is made of.
const KINDS: u64 = 8;

impl Plan {
    /// The simulation of a seed.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let validators = [1, 4, 4, 4, 4, 4, 4, 5, 7, 7][dice.place(10)];
        let liar = (validators >= 4 && dice.chance(500)).then(|| (dice.place(validators), *pick_character(&mut dice)));
        let moves = validators == 4 && liar.is_none_or(|(_, character)| !character.signs_votes()) && dice.chance(300);
        let epoch_blocks = dice.between(8, 30);
        let lag_blocks_max = dice.between(3, 12);
        let numbers = ChainNumbers {
            validators,
            spare: usize::from(moves),
            epoch_blocks,
            lag_blocks_max,
            expiry_blocks: dice.between(12, 60),
        };
        let heal_ms = dice.between(6_000, 16_000);
        let mut plan = Self {
            seed,
            numbers,
            load: LoadNumbers {
                clients: 4 + dice.place(8),
                pause_us: dice.between(150_000, 600_000),
                doubled_per_mille: if dice.chance(500) { 100 } else { 0 },
            },
            changes: if moves { set_changes(&mut dice, validators, heal_ms, liar) } else { Vec::new() },
            latency_ms: dice.between(1, 60),
            jitter_ms: dice.between(0, 15),
            liar,
            skews_ms: (0..validators + numbers.spare).map(|_| dice.between(0, 600) as i64 - 300).collect(),
            steps: Vec::new(),
            power_cut_ms: dice.chance(200).then(|| dice.between(2_000, heal_ms - 1_000)),
            heal_ms,
            leader_timeout_ms: dice.between(400, 1_000),
            intervals_ms: (dice.between(30, 120), dice.between(150, 300)),
        };
        let count = dice.between(2, 6);
        for _ in 0..count {
            plan.add_fault(&mut dice);
        }
        plan.steps.sort_by_key(|step| step.at_ms);
        plan
    }

    /// Nodes with a key in the first set that are honest.
    fn honest(&self) -> Vec<usize> {
        (0..self.numbers.validators).filter(|node| self.liar.is_none_or(|(liar, _)| liar != *node)).collect()
    }

    fn add_fault(&mut self, dice: &mut Dice) {
        let begin_ms = dice.between(300, self.heal_ms - 1_000);
        let end_ms = (begin_ms + dice.between(300, 8_000)).min(self.heal_ms);
        let all: Vec<usize> = (0..self.numbers.validators).collect();
        let (Some(&node), Some(&other)) = (dice.pick(&self.honest()), dice.pick(&all)) else { return };
        let mut step = |at_ms, fault| self.steps.push(Step { at_ms, fault });
        match dice.below(KINDS) {
            0 | 1 => {
                step(begin_ms, Fault::Crash(node));
                step(end_ms, Fault::Start(node));
            }
            2 => {
                // The whole of it, so that halves, minorities and single nodes all occur.
                let mut side: Vec<usize> = all.clone();
                dice.shuffle(&mut side);
                side.truncate(1 + dice.place(all.len().saturating_sub(1).max(1)));
                step(begin_ms, Fault::Split(side.into_iter().collect()));
                step(end_ms, Fault::Mend);
            }
            3 => {
                for _ in 0..dice.between(1, 4) {
                    let to = dice.place(all.len());
                    step(begin_ms + dice.below(1_000), Fault::Cut(other, to));
                }
                step(end_ms.max(begin_ms + 1_000), Fault::Mend);
            }
            4 => {
                let slow = dice.between(20_000, 800_000);
                let pace = match dice.below(3) {
                    0 => Pace { sync_us: slow, ..HEALTHY },
                    1 => Pace { execute_us: slow, ..HEALTHY },
                    _ => Pace { verify_us: slow, ..HEALTHY },
                };
                step(begin_ms, Fault::Pace(node, pace));
                step(end_ms, Fault::Pace(node, HEALTHY));
            }
            5 => {
                let weather = Weather {
                    late_per_mille: dice.between(10, 300),
                    late_ms_max: dice.between(5, 400),
                    doubled_per_mille: dice.between(0, 200),
                    nothing_finalizes: false,
                };
                step(begin_ms, Fault::Weather(weather));
                step(end_ms, Fault::Weather(Weather::default()));
            }
            6 => {
                step(begin_ms, Fault::Loss(dice.between(5, 150)));
                step(end_ms, Fault::Loss(0));
            }
            _ => {
                step(begin_ms, Fault::Weather(Weather { nothing_finalizes: true, ..Weather::default() }));
                step(end_ms, Fault::Weather(Weather::default()));
            }
        }
    }

    /// In a few words, for people.
    pub fn words(&self) -> String {
        let mut words = vec![format!("{} validators", self.numbers.validators), format!("{} ms", self.latency_ms)];
        if let Some((node, character)) = self.liar {
            words.push(format!("{character:?} {node}"));
        }
        if let Some(at_ms) = self.power_cut_ms {
            words.push(format!("power cut at {at_ms}"));
        }
        if !self.changes.is_empty() {
            words.push(format!("{} set changes", self.changes.len()));
        }
        for step in &self.steps {
            let word = match &step.fault {
                Fault::Crash(node) => format!("crash {node}"),
                Fault::Split(side) => format!("split {side:?}"),
                Fault::Cut(from, to) => format!("cut {from}>{to}"),
                Fault::Pace(node, pace) if *pace != HEALTHY => format!("slow {node}"),
                Fault::Weather(weather) if weather.nothing_finalizes => "nothing finalizes".to_owned(),
                Fault::Weather(weather) if *weather != Weather::default() => "late messages".to_owned(),
                Fault::Loss(per_mille) if *per_mille > 0 => format!("loss {per_mille}/1000"),
                _ => continue,
            };
            words.push(word);
        }
        words.join(", ")
    }
}

fn pick_character(dice: &mut Dice) -> &'static Character {
    &Character::ALL[dice.place(Character::ALL.len())]
}

/// The fifth validator joins, and perhaps another one or itself leaves later.
fn set_changes(dice: &mut Dice, validators: usize, heal_ms: u64, liar: Option<(usize, Character)>) -> Vec<SetChange> {
    let at_us = dice.between(500, 3_000) * 1_000;
    let mut changes = vec![SetChange { at_us, add: true, validator: validators, epochs_ahead: 2 }];
    if dice.chance(500) {
        let honest: Vec<usize> = (0..=validators).filter(|node| liar.is_none_or(|(liar, _)| liar != *node)).collect();
        let validator = *dice.pick(&honest).unwrap_or(&validators);
        let at_us = at_us + dice.between(1_000, heal_ms / 2) * 1_000;
        changes.push(SetChange { at_us, add: false, validator, epochs_ahead: dice.between(2, 4) });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_everything() {
        for seed in 0..50 {
            assert_eq!(Plan::new(seed), Plan::new(seed));
        }
        assert_ne!(Plan::new(1), Plan::new(2));
    }

    #[test]
    fn every_fault_and_character_occurs_and_ends_before_healing() {
        let mut kinds = BTreeSet::new();
        let mut characters = Vec::new();
        for seed in 0..400 {
            let plan = Plan::new(seed);
            assert!(plan.steps.len() >= 2 && plan.steps.is_sorted_by_key(|step| step.at_ms));
            for step in &plan.steps {
                let text = format!("{:?}", step.fault);
                kinds.extend(text.split('(').next().map(str::to_owned));
                // Ends may be a little late; healing undoes everything anyway.
                assert!(step.at_ms <= plan.heal_ms + 1_000, "{step:?}");
            }
            characters.extend(plan.liar.map(|(_, character)| character));
            if let Some((_, character)) = plan.liar {
                assert!(plan.changes.is_empty() || !character.signs_votes());
            }
        }
        assert_eq!(kinds.len(), 8, "{kinds:?}");
        assert!(Character::ALL.iter().all(|character| characters.contains(character)));
    }
}
