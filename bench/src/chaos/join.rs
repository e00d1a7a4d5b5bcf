//! A new validator joins a chain of a million accounts from nothing: the sovereign adds its key, it fetches a snapshot from the others, and from
//! its epoch on it votes.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::crashes::RECOVERY;
use super::outcome::Figure;
use super::stage::{LAG_BLOCKS, Stage, Trouble};

/// The bar, seconds.
const JOINED_S: f64 = 60.0;
/// How long it may take until the wait is given up.
const JOINED_MAX: Duration = Duration::from_secs(300);
/// Epochs between now and the change: an epoch may end while the sovereign's transaction is under way.
const EPOCHS_AHEAD: u64 = 3;

/// See the module.
pub fn join(stage: &mut Stage) -> Result<(), Trouble> {
    // The chain must be long enough that it is a snapshot that is fetched.
    stage.hold(stage.seconds(20))?;
    let place = stage.network.members.len();
    stage.network.add_new(&stage.lab, place)?;
    let new = stage.add_machine();
    stage.machines[new].words = vec!["--join"];
    stage.loose.push(new);
    let epoch = stage.health(0).map_or(0, |health| health.epoch) + EPOCHS_AHEAD;
    submit_change(stage, new, epoch)?;
    let begun = Instant::now();
    stage.machines[new].start(&stage.lab)?;
    stage.until("the new validator is where the others are", JOINED_MAX, |stage| {
        let goal = stage.finalized(0);
        stage.health(new).is_some_and(|health| health.height > 0 && health.height + LAG_BLOCKS >= goal)
    })?;
    stage.note(Figure::new("synced after s", begun.elapsed().as_secs_f64()));
    stage.until("the new validator votes", JOINED_MAX, |stage| {
        stage.health(new).is_some_and(|health| health.voting && health.epoch >= epoch)
    })?;
    stage.note(Figure::at_most("synced and voting s", begun.elapsed().as_secs_f64(), JOINED_S));
    stage.goes_on(&[0, 1, 2, 3, new], RECOVERY)?;
    // Five validators stand the death of one; without the new one's votes they would not stand that of two of five.
    stage.kill(0)?;
    stage.goes_on(&[1, 2, 3, new], RECOVERY)?;
    stage.start(0)?;
    stage.catches_up(0, 1, RECOVERY).map(drop)
}

fn submit_change(stage: &Stage, new: usize, epoch: u64) -> Result<(), Trouble> {
    let (member, asked) = (&stage.machines[new].member, &stage.machines[0].member);
    let mut command = std::process::Command::new(&stage.settings.program);
    command.args(["tana", "submit", "validator-set-change", "--json"]);
    command.args(["--add", &member.key.to_string(), "--address", &member.links.to_string()]);
    command.args(["--epoch", &epoch.to_string(), "--key"]).arg(stage.network.sovereign());
    command.args(["--node", &asked.transactions.to_string(), "--server-key", &asked.key.to_string()]);
    command.arg("--genesis").arg(stage.network.genesis_file());
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("cannot run tana submit: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Trouble::Violation(format!("the sovereign's change was not applied: {}", said.trim())))
}
