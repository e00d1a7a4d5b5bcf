//! The list of scenarios, and how each is played: a network is built, all validators vote, clients send, then the scenario does what its name
//! says; at the end everything is compared ([`Stage::finish`]).

use super::network::NetworkChoices;
use super::outcome::Outcome;
use super::stage::{Settings, Stage, Trouble};
use super::{crashes, join, partitions, trouble, twin};

/// Transactions per second in all, where a scenario asks for nothing else.
const RATE: u64 = 2_000;

/// How a scenario is played.
#[derive(Clone, Copy)]
enum Play {
    /// On a network that votes and is flooded at this rate.
    Running(fn(&mut Stage) -> Result<(), Trouble>, u64),
    /// On a network where nothing runs yet.
    Empty(fn(&mut Stage) -> Result<(), Trouble>),
    /// On a network where nothing runs yet, and it finishes by itself.
    Whole(fn(Stage, &str) -> Result<Outcome, Trouble>),
}

/// Something that may happen.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What happens, and what must hold.
    pub about: &'static str,
    machines: usize,
    accounts: u32,
    segment_mib: u64,
    play: Play,
}

const fn running(
    name: &'static str,
    about: &'static str,
    play: fn(&mut Stage) -> Result<(), Trouble>,
    rate: u64,
) -> Scenario {
    Scenario { name, about, machines: 4, accounts: 10_000, segment_mib: 32, play: Play::Running(play, rate) }
}

/// All of them, the quick ones first.
pub const SCENARIOS: [Scenario; 14] = [
    running("crash-one", "f of 3f+1 are killed: the others go on, it comes back", crashes::one, RATE),
    running("crash-two", "f+1 are killed: the chain stands still, and goes on when one is back", crashes::two, RATE),
    running("crash-all", "all are killed at once and come back with everything", crashes::all, RATE),
    running("leader", "the leader is killed, five times: how long until the next block", crashes::leader, RATE),
    running("halves", "2-2 partition: nobody goes on; healed, all do", partitions::halves, RATE),
    running("minority", "one is cut off: the others go on; healed, it comes back", partitions::minority, RATE),
    running("one-way", "one hears the others but is not heard", partitions::one_way, RATE),
    running("moving", "every three seconds another one is cut off", partitions::moving, RATE),
    running("slow-network", "100 ms delay and 5 % loss between all", trouble::slow_network, RATE),
    running("pause", "SIGSTOP of one, SIGCONT later", trouble::pause, RATE),
    Scenario {
        play: Play::Whole(trouble::full_disk),
        segment_mib: 8,
        ..running("full-disk", "one's disk runs full: a clear error; with room it comes back", trouble::pause, 0)
    },
    Scenario {
        machines: 5,
        play: Play::Empty(twin::twin),
        ..running("twin", "one key on two machines: caught, proven, and nothing forks", twin::twin, 0)
    },
    running("away", "one is away for 60 s under 10,000 tx/s: how long until it caught up", crashes::away, 10_000),
    Scenario {
        machines: 5,
        accounts: 1_000_000,
        ..running("join", "a new validator joins a chain of 1,000,000 accounts from nothing", join::join, RATE)
    },
];

/// The one that is not among [`SCENARIOS`], because it takes ten minutes: it is played last.
pub const KILLS: Scenario =
    running("kills", "random SIGKILLs with restarts under flood, for ten minutes", crashes::kills, RATE);

impl Scenario {
    /// All scenarios in the order in which they are played.
    pub fn all() -> impl Iterator<Item = Self> {
        SCENARIOS.into_iter().chain([KILLS])
    }

    /// Plays it. The folder of a scenario that passed is removed; that of one that did not is kept.
    ///
    /// # Errors
    /// [`Trouble`] when it could not be played to its end; a violation in the course of it is in the outcome.
    pub fn play(&self, settings: &Settings) -> Result<Outcome, Trouble> {
        let choices = NetworkChoices { validators: 4, accounts: self.accounts, segment_mib: self.segment_mib };
        let mut stage = Stage::open(settings, self.name, self.machines, &choices)?;
        let folder = stage.folder().to_owned();
        let outcome = match self.play {
            Play::Whole(play) => play(stage, self.name),
            Play::Empty(play) => {
                let played = play(&mut stage);
                stage.finish(self.name, played)
            }
            Play::Running(play, rate) => {
                let played = stage
                    .start_voting(&[0, 1, 2, 3])
                    .and_then(|()| stage.flood(&[0, 1, 2, 3], rate))
                    .and_then(|()| stage.goes_on(&[0, 1, 2, 3], crashes::RECOVERY))
                    .and_then(|_| play(&mut stage));
                stage.finish(self.name, played)
            }
        }?;
        if outcome.is_passed() {
            // What cannot be removed is only in the way of the next run, which says so.
            let _ = std::fs::remove_dir_all(folder);
        }
        Ok(outcome)
    }
}
