//! `tana mesh approve` and `tana mesh deny`: the sovereign decides about a node, and about its validator with it.
//!
//! 1. The decision is signed here and sent to the mesh; the sovereign's key stays on this machine.
//! 2. For a validator the mesh says which key and address it has. Unless the chain's set is so already, a validator-set transaction follows, signed
//!    here too, for the earliest epoch that a change can be in force.

use serde_json::json;
use tana_mesh::wire::{ChainStanding, Decision, DecisionAnswer, DecisionRequest, ValidatorLink};

use super::arguments::DecideArguments;
use super::client::Mesh;
use super::list::check_id;
use super::new_nonce;
use crate::arguments::NodeArguments;
use crate::commands::submit;
use crate::commands::submit::arguments::{SubmitArguments, SubmitKind, SubmitOptions};
use crate::error::CliError;
use crate::home::Home;
use crate::keys;
use crate::node::{Target, runtime};
use crate::output::Output;
use crate::time::now_ms;

/// Epochs from the one that runs to the earliest in which a change is in force.
const EPOCHS_AHEAD: u64 = 2;
/// How often the transaction is made again when an epoch ended between asking and executing.
const TRIES: u64 = 3;

/// Runs `tana mesh approve` or `tana mesh deny`.
///
/// # Errors
/// [`CliError`] when the mesh refuses, or the transaction is refused or has no effect.
pub fn run(decision: Decision, arguments: &DecideArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    check_id(&arguments.id)?;
    let mesh = Mesh::new(&arguments.mesh.meshes, home)?;
    let file = keys::read_key_file(&keys::locate_key(home, &arguments.key), output)?;
    let request = DecisionRequest::signed(decision, &arguments.id, &file.key, now_ms(), &new_nonce()?);
    let path = [decision.verb(), arguments.id.as_str()];
    let answer: DecisionAnswer = runtime()?.block_on(mesh.post(&path, &request))?;
    output.result(&answer, |output| output.line(format!("{} is {} in the mesh", answer.node_id, answer.status.name())));
    let Some(link) = answer.validator.filter(|_| !arguments.no_chain) else { return Ok(()) };
    let wanted = match decision {
        Decision::Approve => ChainStanding::InSet,
        Decision::Deny => ChainStanding::NotInSet,
    };
    if link.chain == Some(wanted) {
        output.note("the chain's validator set is so already");
        return Ok(());
    }
    change_set(decision, link, arguments, home, output)
}

fn change_set(
    decision: Decision,
    link: ValidatorLink,
    arguments: &DecideArguments,
    home: &Home,
    output: &Output,
) -> Result<(), CliError> {
    if decision == Decision::Approve && link.address.is_none() {
        return Err(CliError::Usage(format!(
            "{} did not say where its links are, so it cannot enter the validator set; let it register again with a consensus service, or submit a \
             validator-set-change with its --address by hand",
            arguments.id
        )));
    }
    for tried in 1..=TRIES {
        let epoch = epoch(&arguments.node, home)? + EPOCHS_AHEAD + (tried - 1);
        let (key, address) = (link.public_key.clone(), link.address.clone());
        let kind = match decision {
            Decision::Approve => SubmitKind::ValidatorSetChange { add: Some(key), remove: None, address, epoch },
            Decision::Deny => SubmitKind::ValidatorSetChange { add: None, remove: Some(key), address: None, epoch },
        };
        let options = SubmitOptions::signed_by(arguments.key.clone(), arguments.node.clone());
        match submit::run(&SubmitArguments { options, kind }, home, output) {
            Err(CliError::Transaction { .. }) if tried < TRIES => {
                output.note("once more, for a later epoch: the one asked for may have been too near");
            }
            Err(error) => return Err(error),
            Ok(()) => {
                let value = json!({ "validator": link.public_key, "decision": decision.verb(), "epoch": epoch });
                output.result(&value, |output| {
                    let verb = if decision == Decision::Approve { "votes" } else { "votes no more" };
                    output.line(format!("its validator {verb} from epoch {epoch} on"));
                });
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The epoch that runs.
fn epoch(arguments: &NodeArguments, home: &Home) -> Result<u64, CliError> {
    let target = Target::resolve(arguments, home)?;
    runtime()?.block_on(async {
        let node = target.connect().await?;
        let status = node.status().await;
        node.close().await;
        match status?.agreement {
            Some(agreement) => Ok(agreement.epoch),
            None => Err(CliError::Usage(
                "this validator orders alone, without agreement, so its set cannot change; use --no-chain".to_owned(),
            )),
        }
    })
}
