//! `tana mesh approve` and `tana mesh deny`: the sovereign decides about a node, and about its validator with it.
//!
//! 1. The mesh says what it knows of the node: its key, and the key and address of its validator. The person compares them ([`agree`]).
//! 2. Where the validator set is to change, the chain is asked for its epoch, so that a chain that is not reached leaves nothing half done.
//! 3. The decision is signed here and sent to the mesh; the sovereign's key stays on this machine. That the mesh has it already is as good: so a
//!    command that was cut short is simply given again.
//! 4. A validator-set transaction follows, signed here too, for the earliest epoch that a change can be in force; none where every change
//!    that is decided already makes the set so. It is about the key and address that were shown, and no others.
//!
//! A key that is not the node's own proves nothing: anybody may register with an honest validator's. Such a key is acted upon only when the
//! person names it (`--validator-key`).

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde_json::json;
use tana_mesh::agent::client::CallError;
use tana_mesh::wire::{
    ChainStanding, Decision, DecisionAnswer, DecisionRequest, NodeAnswer, NodeStatus, ValidatorLink,
};
use tana_types::code::Code;
use tana_types::key::PublicKey;

use super::arguments::DecideArguments;
use super::client::Mesh;
use super::list::{check_id, validator_text};
use super::new_nonce;
use crate::arguments::NodeArguments;
use crate::commands::submit;
use crate::commands::submit::arguments::{SubmitArguments, SubmitKind, SubmitOptions};
use crate::error::CliError;
use crate::home::Home;
use crate::keys::{self, KeyFile};
use crate::node::{Target, printable, runtime};
use crate::output::Output;
use crate::time::now_ms;

/// Epochs from the one that runs to the earliest in which a change is in force.
const EPOCHS_AHEAD: u64 = 2;
/// How often the transaction is made again when an epoch ended between asking and executing.
const TRIES: u64 = 3;

/// Runs `tana mesh approve` or `tana mesh deny`.
///
/// # Errors
/// [`CliError`] when the node is not the one that is meant, the mesh refuses, or the transaction is refused or has no effect.
pub fn run(decision: Decision, arguments: &DecideArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    check_id(&arguments.id)?;
    let mesh = Mesh::new(&arguments.mesh.meshes, home)?;
    let file = keys::read_key_file(&keys::locate_key(home, &arguments.key), output)?;
    let found: NodeAnswer = runtime()?.block_on(mesh.get(&["nodes", &arguments.id], &[]))?;
    show(&found, output);
    let link = link_of(decision, &found, arguments)?;
    agree(decision, &found, link.is_some(), arguments, &mesh, output)?;
    let wanted = match decision {
        Decision::Approve => ChainStanding::InSet,
        Decision::Deny => ChainStanding::NotInSet,
    };
    let change = link.as_ref().filter(|link| link.chain != Some(wanted));
    let epoch = match change {
        Some(link) if decision == Decision::Approve && link.address.is_none() => return Err(no_address(arguments)),
        Some(_) => Some(epoch(&arguments.node, home)?),
        None => None,
    };
    let said = decide(decision, &found, arguments, &file, &mesh, output)?;
    if let Some(said) = said.filter(|_| !arguments.no_chain) {
        check_same(&said, found.validator.as_ref(), arguments)?;
    }
    match (change, epoch) {
        (Some(link), Some(epoch)) => change_set(decision, link, epoch, arguments, home, output),
        _ => {
            if link.is_some() {
                output.note("the chain's validator set is so already");
            }
            Ok(())
        }
    }
}

/// What the mesh says of the node, for the person to compare.
fn show(found: &NodeAnswer, output: &Output) {
    let row = &found.node.row;
    output.note(format!("{}: {}, with the key {}", printable(&row.id), row.status.name(), printable(&row.public_key)));
    if let Some(link) = &found.validator {
        output.note(format!("its validator: {}", validator_text(link)));
    }
}

/// The validator that is to enter or leave the chain's set; nothing where the set is to stay as it is.
fn link_of(
    decision: Decision,
    found: &NodeAnswer,
    arguments: &DecideArguments,
) -> Result<Option<ValidatorLink>, CliError> {
    let (id, own) = (&arguments.id, found.node.row.public_key.as_str());
    if arguments.no_chain {
        return Ok(None);
    }
    let Some(link) = &found.validator else {
        return match arguments.validator_key {
            None => Ok(None),
            Some(key) => Err(CliError::Usage(format!(
                "{id} has no validator with the key {key} in the mesh; leave --validator-key out, or change the set with `tana submit validator-set-change`"
            ))),
        };
    };
    let key: PublicKey = link.public_key.parse()?;
    match arguments.validator_key {
        Some(named) if named != key => Err(CliError::Usage(format!(
            "{id} names the validator key {key}, not {named}; ask its operator which one is right"
        ))),
        Some(_) => Ok(Some(link.clone())),
        // Who was never let in has nothing to be put out of.
        None if decision == Decision::Deny && found.node.row.approved_at.is_none() => Ok(None),
        None if link.public_key != own => Err(CliError::Usage(format!(
            "{id} says that its validator has the key {key}, which is not the node's own and may be anybody's; give --validator-key {key} if its \
             operator says the same, or --no-chain to decide in the registry alone"
        ))),
        None => Ok(Some(link.clone())),
    }
}

/// Whether this is the node that is meant: by the key given, or by a person's word. Only a mesh on this machine is believed without either.
fn agree(
    decision: Decision,
    found: &NodeAnswer,
    changes_set: bool,
    arguments: &DecideArguments,
    mesh: &Mesh,
    output: &Output,
) -> Result<(), CliError> {
    let (id, has) = (&arguments.id, printable(&found.node.row.public_key));
    if let Some(expected) = arguments.public_key {
        return match has.parse::<PublicKey>().ok() == Some(expected) {
            true => Ok(()),
            false => Err(CliError::Usage(format!(
                "{id} has the key {has}, not {expected}: it is not the node that you mean; ask its operator for its id and key"
            ))),
        };
    }
    if arguments.yes || (decision == Decision::Deny && !changes_set) {
        return Ok(());
    }
    if !output.is_json() && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        return ask(decision);
    }
    if mesh.is_loopback() {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "the mesh is on another machine, so nobody knows that {has} is the key of {id}: give --public-key with the key that the node's operator names, \
         or --yes to believe the mesh"
    )))
}

/// A question on the terminal.
fn ask(decision: Decision) -> Result<(), CliError> {
    let mut errors = std::io::stderr().lock();
    let _ = write!(errors, "{} the node with this key? [y/N] ", decision.verb());
    let _ = errors.flush();
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|source| CliError::System { action: "read the answer", source })?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::Node("nothing was decided".to_owned())),
    }
}

/// Whether the registry has this decision.
fn is_decided(decision: Decision, status: NodeStatus) -> bool {
    match decision {
        Decision::Approve => matches!(status, NodeStatus::Active | NodeStatus::Offline),
        Decision::Deny => status == NodeStatus::Denied,
    }
}

/// Sends the decision unless the registry has it. Returns what the mesh says of the validator then.
fn decide(
    decision: Decision,
    found: &NodeAnswer,
    arguments: &DecideArguments,
    file: &KeyFile,
    mesh: &Mesh,
    output: &Output,
) -> Result<Option<ValidatorLink>, CliError> {
    let id = arguments.id.as_str();
    let answer = if is_decided(decision, found.node.row.status) {
        None
    } else {
        let request = DecisionRequest::signed(decision, id, &file.key, now_ms(), &new_nonce()?);
        runtime()?.block_on(async {
            match mesh.try_post::<DecisionAnswer>(&[decision.verb(), id], &request).await {
                Ok(answer) => Ok(Some(answer)),
                // Somebody was faster, or an answer of this very decision was lost.
                Err(CallError::Refused { status: 404, code, message }) if code == "not_pending" => {
                    let now: NodeAnswer = mesh.get(&["nodes", id], &[]).await?;
                    match is_decided(decision, now.node.row.status) {
                        true => Ok(None),
                        false => Err(mesh.explain(CallError::Refused { status: 404, code, message })),
                    }
                }
                Err(error) => Err(mesh.explain(error)),
            }
        })?
    };
    let Some(answer) = answer else {
        let now: NodeAnswer = runtime()?.block_on(mesh.get(&["nodes", id], &[]))?;
        let status = now.node.row.status;
        output.result(&json!({ "success": true, "nodeId": id, "status": status, "already": true }), |output| {
            output.line(format!("{id} is {} in the mesh already", status.name()));
        });
        return Ok(now.validator);
    };
    output.result(&answer, |output| output.line(format!("{id} is {} in the mesh", answer.status.name())));
    Ok(answer.validator)
}

/// The mesh must still mean the validator that was shown.
fn check_same(
    said: &ValidatorLink,
    shown: Option<&ValidatorLink>,
    arguments: &DecideArguments,
) -> Result<(), CliError> {
    let is_same = shown.is_some_and(|shown| (&shown.public_key, &shown.address) == (&said.public_key, &said.address));
    if is_same {
        return Ok(());
    }
    Err(CliError::Node(format!(
        "the mesh names another validator for {} now: {}; nothing was sent to the chain. Look at it with `tana mesh status {0}` and decide again",
        arguments.id,
        validator_text(said)
    )))
}

fn no_address(arguments: &DecideArguments) -> CliError {
    CliError::Usage(format!(
        "{} did not say where its links are, so it cannot enter the validator set; let it register again with a consensus service, or submit a \
         validator-set-change with its --address by hand",
        arguments.id
    ))
}

fn change_set(
    decision: Decision,
    link: &ValidatorLink,
    first_epoch: u64,
    arguments: &DecideArguments,
    home: &Home,
    output: &Output,
) -> Result<(), CliError> {
    let mut now = first_epoch;
    for tried in 1..=TRIES {
        let epoch = now + EPOCHS_AHEAD + (tried - 1);
        let (key, address) = (link.public_key.clone(), link.address.clone());
        let kind = match decision {
            Decision::Approve => SubmitKind::ValidatorSetChange { add: Some(key), remove: None, address, epoch },
            Decision::Deny => SubmitKind::ValidatorSetChange { add: None, remove: Some(key), address: None, epoch },
        };
        let options = SubmitOptions::signed_by(arguments.key.clone(), arguments.node.clone());
        match submit::run(&SubmitArguments { options, kind }, home, output) {
            Err(error) if tried < TRIES && is_epoch_past(&error) => {
                output.note("once more, for a later epoch: the one asked for was too near");
                now = self::epoch(&arguments.node, home)?;
            }
            Err(error) => {
                output.note(format!(
                    "the registry has the decision; the same command goes on with the chain: tana mesh {} {}",
                    decision.verb(),
                    arguments.id
                ));
                return Err(error);
            }
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

/// Whether a transaction had no effect because its epoch was too near: the one end that a later epoch mends.
fn is_epoch_past(error: &CliError) -> bool {
    matches!(error, CliError::Transaction { code } if code == Code::EpochPast.name())
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

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
