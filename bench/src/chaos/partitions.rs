//! Networks that fall apart and heal.

use std::time::Duration;

use super::crashes::{RECOVERY, SETTLE};
use super::outcome::Figure;
use super::stage::{Stage, Trouble};
use super::wire::Fault;

/// Two halves of the validators cannot hear each other: neither goes on; healed, they do.
pub fn halves(stage: &mut Stage) -> Result<(), Trouble> {
    stage.between(&[0, 1], &[2, 3], Fault::CUT);
    stage.stands_still(&[0, 1, 2, 3], SETTLE, stage.seconds(15))?;
    stage.lab.switch().heal();
    let resumed = stage.goes_on(&[0, 1, 2, 3], RECOVERY)?;
    stage.note(Figure::new("resumed after s", resumed.as_secs_f64()));
    Ok(())
}

/// One cannot hear the others: they go on, it does not; healed, it comes back.
pub fn minority(stage: &mut Stage) -> Result<(), Trouble> {
    stage.between(&[3], &[0, 1, 2], Fault::CUT);
    stage.goes_on(&[0, 1, 2], RECOVERY)?;
    stage.stands_still(&[3], SETTLE, stage.seconds(15))?;
    stage.goes_on(&[0, 1, 2], RECOVERY)?;
    stage.lab.switch().heal();
    let back = stage.catches_up(3, 0, RECOVERY)?;
    stage.note(Figure::new("back after s", back.as_secs_f64()));
    stage.goes_on(&[0, 1, 2, 3], RECOVERY).map(drop)
}

/// One hears the others, and they do not hear it.
pub fn one_way(stage: &mut Stage) -> Result<(), Trouble> {
    for other in 0..3 {
        stage.lab.switch().set(3, other, Fault::CUT);
    }
    stage.goes_on(&[0, 1, 2], RECOVERY)?;
    stage.hold(stage.seconds(15))?;
    stage.goes_on(&[0, 1, 2], RECOVERY)?;
    stage.lab.switch().heal();
    let back = stage.catches_up(3, 0, RECOVERY)?;
    stage.note(Figure::new("back after s", back.as_secs_f64()));
    stage.goes_on(&[0, 1, 2, 3], RECOVERY).map(drop)
}

/// Cuts that move: every few seconds another one is apart from the rest.
pub fn moving(stage: &mut Stage) -> Result<(), Trouble> {
    let rounds = stage.seconds(24).as_secs().div_ceil(3);
    for round in 0..rounds {
        stage.lab.switch().heal();
        let apart = [(round % 4) as usize];
        stage.between(&apart, &[0, 1, 2, 3], Fault::CUT);
        stage.hold(Duration::from_secs(3))?;
    }
    stage.lab.switch().heal();
    let resumed = stage.goes_on(&[0, 1, 2, 3], RECOVERY)?;
    stage.note(Figure::new("resumed after s", resumed.as_secs_f64()));
    for machine in 0..4 {
        stage.catches_up(machine, (machine + 1) % 4, RECOVERY)?;
    }
    Ok(())
}
