//! `tana mesh register --dev`: a further validator of the network that `tana start` runs on this machine.
//!
//! 1. A key, a configuration and a folder, as those of the other validators.
//! 2. Its sidecar starts and registers it; its validator starts, and waits until it is let in.
//! 3. Once the sovereign has approved it, it takes the state from the others, and votes from the epoch on that the chain says.

use std::time::{Duration, Instant};

use serde_json::json;

use super::arguments::RegisterArguments;
use super::client::Mesh;
use super::nodes;
use crate::commands::devnet::network::{Network, NetworkPlan, PORT_STEP, add_validator};
use crate::commands::start::Starting;
use crate::commands::start::layout::{Place, network_folder, pids_folder, places};
use crate::commands::start::processes::Processes;
use crate::error::CliError;
use crate::home::Home;
use crate::node::runtime;
use crate::output::Output;

/// How long the registration may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the mesh is asked.
const LOOK: Duration = Duration::from_millis(200);

/// Runs `tana mesh register --dev`.
///
/// # Errors
/// [`CliError`] when no network is here, a file cannot be written, or the registration is not seen in time.
pub fn run(arguments: &RegisterArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let folder = network_folder(home);
    if !Network::is_in(&folder) {
        return Err(CliError::Usage("there is no network on this machine; `tana start` makes one".to_owned()));
    }
    // Nothing is made for a mesh that does not answer.
    let mesh = Mesh::new(&arguments.mesh.meshes, home)?;
    runtime()?.block_on(nodes(&mesh, None))?;
    let network = Network::open(&folder, None)?;
    let existing = places(&network)?;
    let free = existing.len() as u16;
    let number = arguments.port_offset.unwrap_or(free);
    if number != free {
        return Err(CliError::Usage(format!(
            "validators are numbered without gaps: the next one is {free}, so leave --port-offset out or give {free}"
        )));
    }
    let port = u32::from(existing.first().map_or(9_000, |place| place.links.port()))
        + u32::from(PORT_STEP) * u32::from(number);
    let port = u16::try_from(port).ok().filter(|port| *port < u16::MAX - 2);
    let port = port.ok_or_else(|| {
        CliError::Usage(format!("validator {number} would have no ports left; this machine has enough of them"))
    })?;
    add_validator(&folder, number, port, &NetworkPlan::of_start(1, 0))?;
    let place = Place::read(&folder, number, true)?;
    let program = std::env::current_exe().map_err(|source| CliError::System { action: "find this program", source })?;
    let starting = Starting {
        home,
        network,
        places: vec![place.clone()],
        processes: Processes::new(pids_folder(home)),
        program,
        output,
    };
    starting.start_validator(&place)?;
    starting.start_sidecar(&place)?;
    await_registration(&place, &mesh)?;
    let value = json!({ "nodeId": place.id(), "publicKey": place.key, "status": "pending", "folder": place.folder });
    output.result(&value, |output| {
        output.line(format!("{} is pending in the mesh; its folder is {}", place.id(), place.folder.display()));
        output.note(format!("next, the sovereign: tana mesh approve {}", place.id()));
    });
    Ok(())
}

fn await_registration(place: &Place, mesh: &Mesh) -> Result<(), CliError> {
    let begin = Instant::now();
    runtime()?.block_on(async {
        loop {
            let key = place.key.to_string();
            if nodes(mesh, None).await?.iter().any(|node| node.row.public_key == key) {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(CliError::Node(format!(
                    "{} has not registered within {} s; {} says why",
                    place.id(),
                    PATIENCE.as_secs(),
                    place.sidecar_log().display()
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    })
}
