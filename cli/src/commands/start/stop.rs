//! `tana stop`: ends everything that `tana start` started, by process id, and nothing else.

use std::time::Duration;

use serde_json::json;

use super::arguments::StopArguments;
use super::layout::{network_folder, pids_folder};
use super::processes::Processes;
use crate::error::CliError;
use crate::home::Home;
use crate::output::Output;

/// How long sidecars and load have; they have nothing to finish.
const SHORT: Duration = Duration::from_secs(10);
/// How long validators have: they finish what is inside for up to 30 s.
const LONG: Duration = Duration::from_secs(45);

/// Runs `tana stop`.
///
/// # Errors
/// [`CliError`] when a process had to be killed, or the folder cannot be deleted.
pub fn run(arguments: &StopArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    stop_all(home, output)?;
    let folder = network_folder(home);
    if arguments.delete && folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|source| CliError::file("delete", &folder, source))?;
        output.note(format!("{} is deleted", folder.display()));
    }
    Ok(())
}

/// Ends all processes: load first, then sidecars, then validators.
///
/// # Errors
/// [`CliError::Node`] with those that had to be killed.
pub fn stop_all(home: &Home, output: &Output) -> Result<(), CliError> {
    let processes = Processes::new(pids_folder(home));
    let (validators, others): (Vec<String>, Vec<String>) =
        processes.names().into_iter().partition(|name| name.starts_with("validator-"));
    let running = |names: &[String]| names.iter().filter(|name| processes.running(name).is_some()).count();
    let ended = running(&validators) + running(&others);
    let mut killed = processes.stop(&others, SHORT);
    killed.extend(processes.stop(&validators, LONG));
    let value = json!({ "stopped": ended, "killed": killed });
    output.result(&value, |output| match ended {
        0 => output.line("nothing of this home runs"),
        ended => output.line(format!("{ended} processes ended")),
    });
    match killed.as_slice() {
        [] => Ok(()),
        killed => Err(CliError::Node(format!("{} did not end in time and were killed", killed.join(", ")))),
    }
}
