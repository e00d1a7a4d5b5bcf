//! Validators that die: some, too many, the leader, again and again, for a minute.

use std::time::{Duration, Instant};

use super::outcome::Figure;
use super::stage::{Stage, Trouble};

/// How long a network that is able to go on may take until it does.
pub const RECOVERY: Duration = Duration::from_secs(60);
/// What may become final after too many died: certificates that were under way.
pub const SETTLE: Duration = Duration::from_secs(3);
/// The bar for a validator that was away for a minute, seconds.
const CATCH_UP_S: f64 = 20.0;
/// How long it may take until the wait is given up.
const CATCH_UP_MAX: Duration = Duration::from_secs(180);
/// The default of a leader's timeout, twice: the bar for the next block after its death, milliseconds.
const NEXT_BLOCK_MS: f64 = 2_000.0;
/// How often a leader is killed.
const LEADERS: u32 = 5;
/// How long heights are watched after a leader's death.
const WATCHED: Duration = Duration::from_secs(6);

/// f of 3f + 1 die: the others go on, and the dead one comes back.
pub fn one(stage: &mut Stage) -> Result<(), Trouble> {
    stage.kill(3)?;
    stage.goes_on(&[0, 1, 2], RECOVERY)?;
    stage.hold(stage.seconds(10))?;
    stage.goes_on(&[0, 1, 2], RECOVERY)?;
    stage.start(3)?;
    let caught_up = stage.catches_up(3, 0, RECOVERY)?;
    stage.note(Figure::new("back after s", caught_up.as_secs_f64()));
    stage.goes_on(&[0, 1, 2, 3], RECOVERY).map(drop)
}

/// f + 1 die: the chain stands still, and goes on when one comes back.
pub fn two(stage: &mut Stage) -> Result<(), Trouble> {
    stage.kill(2)?;
    stage.kill(3)?;
    stage.stands_still(&[0, 1], SETTLE, stage.seconds(10))?;
    stage.start(2)?;
    let resumed = stage.goes_on(&[0, 1, 2], RECOVERY)?;
    stage.note(Figure::new("resumed after s", resumed.as_secs_f64()));
    stage.start(3)?;
    stage.catches_up(3, 0, RECOVERY)?;
    stage.goes_on(&[0, 1, 2, 3], RECOVERY).map(drop)
}

/// All die at once, as in a power failure, and come back.
pub fn all(stage: &mut Stage) -> Result<(), Trouble> {
    let heights = stage.heights(&[0, 1, 2, 3])?;
    for machine in 0..4 {
        stage.kill(machine)?;
    }
    stage.hold(Duration::from_secs(1))?;
    for machine in 0..4 {
        stage.start(machine)?;
    }
    let begun = Instant::now();
    stage.until("all answer again", RECOVERY, |stage| (0..4).all(|machine| stage.health(machine).is_some()))?;
    for (machine, (before, after)) in heights.into_iter().zip(stage.heights(&[0, 1, 2, 3])?).enumerate() {
        if after < before {
            return Err(Trouble::Violation(format!("validator {machine} forgot heights {after} to {before}")));
        }
    }
    stage.goes_on(&[0, 1, 2, 3], RECOVERY)?;
    stage.note(Figure::new("resumed after s", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// The leader of the moment dies, several times: the longest time without a new block in the seconds after it.
pub fn leader(stage: &mut Stage) -> Result<(), Trouble> {
    let (mut longest, mut back) = (Duration::ZERO, Duration::ZERO);
    for round in 0..LEADERS {
        let asked = round as usize % 4;
        let leader = stage.health(asked).map(|health| health.leader).unwrap_or_default();
        let of_leader = |machine: &usize| stage.machines[*machine].member.key.to_string() == leader;
        let victim = (0..4).find(of_leader).unwrap_or(asked);
        let watcher = (victim + 1) % 4;
        let mut height = stage.finalized(watcher);
        stage.kill(victim)?;
        let (begun, mut last) = (Instant::now(), Instant::now());
        while begun.elapsed() < WATCHED {
            stage.hold(Duration::from_millis(5))?;
            let now = stage.finalized(watcher);
            if now > height {
                (height, longest, last) = (now, longest.max(last.elapsed()), Instant::now());
            }
        }
        longest = longest.max(last.elapsed());
        stage.start(victim)?;
        back = back.max(stage.catches_up(victim, watcher, RECOVERY)?);
    }
    stage.note(Figure::new("back after s", back.as_secs_f64()));
    stage.note(Figure::at_most("longest without a block ms", (longest.as_secs_f64() * 1e3).round(), NEXT_BLOCK_MS));
    Ok(())
}

/// One is away for a minute under 10,000 transactions a second.
pub fn away(stage: &mut Stage) -> Result<(), Trouble> {
    stage.goes_on(&[0, 1, 2, 3], RECOVERY)?;
    let (before, finals) = (stage.heights(&[0])?, stage.finals());
    stage.kill(3)?;
    let away = stage.seconds(60);
    stage.hold(away)?;
    let blocks = stage.heights(&[0])?[0].saturating_sub(before[0]);
    let per_s = (stage.finals() - finals) as f64 / away.as_secs_f64();
    stage.note(Figure::new("away s", away.as_secs_f64()));
    stage.note(Figure::new("blocks missed", blocks as f64));
    stage.note(Figure::new("final tx/s meanwhile", per_s.round()));
    stage.start(3)?;
    let caught_up = stage.catches_up(3, 0, CATCH_UP_MAX)?;
    stage.note(Figure::at_most("caught up s", caught_up.as_secs_f64(), CATCH_UP_S));
    stage.goes_on(&[0, 1, 2, 3], RECOVERY).map(drop)
}

/// Random ones are killed and come back, for minutes.
pub fn kills(stage: &mut Stage) -> Result<(), Trouble> {
    let end = Instant::now() + stage.seconds(600);
    let (mut kills, mut longest) = (0, Duration::ZERO);
    while Instant::now() < end {
        // Mostly f at a time; now and then one more, which stands the chain still for a moment.
        let count = if stage.dice.below(5) == 0 { 2 } else { 1 };
        let first = stage.dice.below(4) as usize;
        let victims: Vec<usize> =
            (0..count).map(|step| (first + step * (1 + stage.dice.below(3) as usize)) % 4).collect();
        for victim in &victims {
            stage.kill(*victim)?;
            kills += 1;
        }
        let dead = Duration::from_millis(stage.dice.range(50, 3_000));
        stage.hold(dead)?;
        for victim in &victims {
            stage.start(*victim)?;
        }
        // In one round of three the next one dies while these still recover.
        if stage.dice.below(3) == 0 {
            let early = Duration::from_millis(stage.dice.range(0, 500));
            stage.hold(early)?;
            continue;
        }
        longest = longest.max(stage.goes_on(&[0, 1, 2, 3], RECOVERY)?);
        let quiet = Duration::from_millis(stage.dice.range(0, 2_000));
        stage.hold(quiet)?;
    }
    for machine in 0..4 {
        stage.catches_up(machine, (machine + 1) % 4, RECOVERY)?;
    }
    stage.goes_on(&[0, 1, 2, 3], RECOVERY)?;
    stage.note(Figure::new("kills", f64::from(kills)));
    stage.note(Figure::new("longest until all went on s", longest.as_secs_f64()));
    Ok(())
}
