//! A twin: one key on two machines, as after a careless move of a validator. Both believe that they are the only one.
//!
//! The wires are set so that some validators hear the one and some the other, and change sides every few seconds. Both take transactions, so both
//! seal batches with the same numbers, and both vote. Some honest validator must find a proof against the key, the proof must hold, the honest
//! ones must go on, and nothing may fork: not even the twins.

use std::process::Stdio;
use std::time::Duration;

use super::crashes::RECOVERY;
use super::outcome::Figure;
use super::stage::{Stage, Trouble};
use super::watch::metric;
use super::wire::Fault;

/// The honest validators.
const HONEST: [usize; 3] = [0, 1, 2];
/// The one that moved.
const ORIGINAL: usize = 3;
/// How long it may take until somebody has a proof.
const CAUGHT: Duration = Duration::from_secs(120);
/// How long sides last.
const SIDES: Duration = Duration::from_secs(3);

/// See the module.
pub fn twin(stage: &mut Stage) -> Result<(), Trouble> {
    let place = stage.network.members.len();
    stage.network.add_twin(&stage.lab, place, ORIGINAL)?;
    let twin = stage.add_machine();
    stage.loose = vec![ORIGINAL, twin];
    take_sides(stage, twin, 0);
    stage.machines[twin].start(&stage.lab)?;
    stage.start_voting(&[0, 1, 2, ORIGINAL])?;
    stage.flood(&[0, 1, 2, ORIGINAL, twin], 2_000)?;
    let mut round = 0;
    let mut waited = Duration::ZERO;
    while !HONEST.iter().any(|machine| has_proof(stage, *machine)) {
        if waited > CAUGHT {
            return Err(Trouble::Violation(format!("nobody caught the twin; {}", stage.standing())));
        }
        round += 1;
        take_sides(stage, twin, round);
        stage.hold(SIDES)?;
        waited += SIDES;
    }
    stage.note(Figure::new("caught after s", waited.as_secs_f64()));
    stage.hold(stage.seconds(10))?;
    stage.kill(twin)?;
    stage.kill(ORIGINAL)?;
    stage.lab.switch().heal();
    stage.goes_on(&HONEST, RECOVERY)?;
    let proofs = proofs(stage)?;
    stage.note(Figure::new("proofs", proofs as f64));
    Ok(())
}

/// In round r validator r mod 3 hears the twin and not the original, the others the other way round.
fn take_sides(stage: &Stage, twin: usize, round: usize) {
    stage.lab.switch().heal();
    stage.between(&[ORIGINAL], &[twin], Fault::CUT);
    for honest in HONEST {
        let silent = if honest == round % HONEST.len() { ORIGINAL } else { twin };
        stage.between(&[silent], &[honest], Fault::CUT);
    }
}

fn has_proof(stage: &Stage, machine: usize) -> bool {
    metric(&stage.machines[machine].member, "tana_evidence_kept_total").is_some_and(|count| count > 0.0)
}

/// How many proofs against the key the honest validators show; each is checked again by `tana evidence`.
fn proofs(stage: &Stage) -> Result<usize, Trouble> {
    let culprit = stage.machines[ORIGINAL].member.key.to_string();
    let mut count = 0;
    for machine in HONEST {
        let member = &stage.machines[machine].member;
        let mut command = std::process::Command::new(&stage.settings.program);
        command.args(["tana", "evidence", "--json", "--data"]).arg(member.data());
        let output = command.arg("--genesis").arg(stage.network.genesis_file()).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("cannot run tana evidence: {error}"))?;
        let name = &member.name;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Trouble::Violation(format!("tana evidence on {name}: {}", said.trim())));
        }
        let found: Vec<serde_json::Value> =
            serde_json::from_slice(&output.stdout).map_err(|error| format!("tana evidence on {name}: {error}"))?;
        for proof in found {
            if proof["verdict"] != "proven" || proof["author"] != culprit.as_str() {
                return Err(Trouble::Violation(format!("{name} has a proof that proves nothing: {proof}")));
            }
            count += 1;
        }
    }
    if count == 0 {
        return Err(Trouble::Violation("no proof is on any disk".to_owned()));
    }
    Ok(count)
}
