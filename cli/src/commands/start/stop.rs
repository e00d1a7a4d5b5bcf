//! `tana stop`: ends everything that `tana start` started, by process id, and nothing else.

use std::time::Duration;

use serde_json::json;

use super::arguments::StopArguments;
use super::layout::{Place, network_folder, pids_folder, places};
use super::processes::Processes;
use crate::commands::devnet::network::Network;
use crate::error::CliError;
use crate::home::Home;
use crate::http::client::get;
use crate::output::Output;

/// How long sidecars and load have; they have nothing to finish.
const SHORT: Duration = Duration::from_secs(10);
/// How long validators have: they finish what is inside for up to 30 s.
const LONG: Duration = Duration::from_secs(45);
/// How long a validator may take to say that it is up.
const PATIENCE: Duration = Duration::from_secs(1);

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

/// The validators that still take the state from the others: they have nothing to finish, and no ear for a first signal.
fn joining(home: &Home, processes: &Processes) -> Vec<String> {
    // Without the network's files nobody can be told apart, and all are stopped alike.
    let all = Network::open(&network_folder(home), None).and_then(|network| places(&network)).unwrap_or_default();
    let is_joining = |place: &Place| {
        place.is_added
            && processes.running(&place.validator()).is_some()
            && get(place.http, "/health", PATIENCE).is_err()
    };
    all.iter().filter(|place| is_joining(place)).map(Place::validator).collect()
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
    killed.extend(processes.stop_at_once(&joining(home, &processes), SHORT));
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
