//! `tana status` where `tana start` runs a network: a line for each validator.

use std::time::Duration;

use serde_json::json;

use super::FLOOD;
use super::layout::{Place, network_folder, pids_folder, places};
use super::processes::Processes;
use crate::commands::devnet::network::Network;
use crate::error::CliError;
use crate::home::Home;
use crate::http::client::get;
use crate::http::view::Health;
use crate::output::{Output, grouped};

/// How long a validator may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the home has a network and no validator of its own, so that `tana status` means the network.
pub fn is_meant(home: &Home) -> bool {
    Network::is_in(&network_folder(home)) && (!home.node_config().exists() || home.network_runs())
}

/// Shows the network.
///
/// # Errors
/// [`CliError`] when its files cannot be read, or nothing of it runs.
pub fn run(home: &Home, output: &Output) -> Result<(), CliError> {
    let network = Network::open(&network_folder(home), None)?;
    let processes = Processes::new(pids_folder(home));
    let places = places(&network)?;
    let page = places.first().map_or_else(String::new, |place| format!("http://{}", place.mesh()));
    let states: Vec<(Place, Option<Health>)> =
        places.into_iter().map(|place| (place.clone(), health(&place))).collect();
    let running = |name: &str| processes.running(name).map(|record| record.pid);
    let values: Vec<_> = states
        .iter()
        .map(|(place, health)| {
            json!({
                "validator": place.validator(), "id": place.id(), "pid": running(&place.validator()),
                "sidecar_pid": running(&place.sidecar()), "health": health, "ledger": format!("http://{}", place.ledger()),
            })
        })
        .collect();
    let value = json!({
        "chain": network.genesis.chain, "genesis_hash": hex::encode(network.genesis.hash()), "page": page, "flood_pid": running(FLOOD),
        "validators": values,
    });
    output.result(&value, |output| {
        let rows = states.iter().map(|(place, health)| {
            let state = match (running(&place.validator()), health) {
                (None, _) => "stopped".to_owned(),
                (Some(_), None) => "does not answer".to_owned(),
                (Some(_), Some(health)) if health.voting => "votes".to_owned(),
                (Some(_), Some(health)) => format!("does not vote: {}", health.reason),
            };
            let pid = |name: &str| running(name).map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            vec![
                place.validator(),
                place.id(),
                state,
                health.as_ref().map_or_else(|| "-".to_owned(), |health| grouped(health.height)),
                health.as_ref().map_or_else(|| "-".to_owned(), |health| health.peers.to_string()),
                pid(&place.validator()),
                pid(&place.sidecar()),
                format!("http://{}", place.ledger()),
            ]
        });
        output.rows(
            &["validator", "id", "state", "height", "peers", "pid", "sidecar", "ledger API"],
            &[3, 4, 5, 6],
            rows,
        );
        output.line(format!("page {page}"));
        if let Some(pid) = running(FLOOD) {
            output.line(format!("a flood is under way, pid {pid}: {}", network.folder.join("flood.log").display()));
        }
    });
    match states.iter().any(|(place, _)| running(&place.validator()).is_some()) {
        true => Ok(()),
        false => Err(CliError::Node("nothing of the network runs; `tana start` starts it".to_owned())),
    }
}

fn health(place: &Place) -> Option<Health> {
    get(place.http, "/health", PATIENCE).ok()?.json().ok()
}
