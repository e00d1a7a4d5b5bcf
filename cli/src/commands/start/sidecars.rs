//! What runs beside each validator of a started network, written as its `sidecar.toml`.

use super::Starting;
use super::layout::{Place, chaos_token};
use crate::commands::sidecar::config::{
    AgentSection, ChaosSection, LedgerSection, MeshSection, SidecarConfig, VisualizerSection,
};
use crate::error::CliError;

/// Writes the configuration of what runs beside `place`, unless somebody has changed it by hand: a file that is there stays.
///
/// # Errors
/// [`CliError::File`] when it cannot be written.
pub fn write_config(starting: &Starting<'_>, place: &Place) -> Result<(), CliError> {
    let path = place.sidecar_config();
    if path.exists() {
        return Ok(());
    }
    let is_first = place.number == 0;
    let folder = &starting.network.folder;
    let config = SidecarConfig {
        node: "node.toml".into(),
        mesh: is_first.then(|| MeshSection { listen: place.mesh(), data: "../mesh".into() }),
        visualizer: is_first.then(|| VisualizerSection {
            listen: place.visualizer(),
            chaos: Some(ChaosSection { token: chaos_token(folder), home: starting.home.folder().to_owned() }),
        }),
        ledger: Some(LedgerSection { listen: place.ledger(), origins: vec!["*".to_owned()] }),
        agent: Some(AgentSection {
            meshes: vec![format!("http://{}", place.mesh())],
            host: place.links.ip().to_string(),
            ip: Some(place.links.ip()),
            id: Some(place.id()),
        }),
    };
    let text =
        toml::to_string(&config).map_err(|error| CliError::file("write", &path, std::io::Error::other(error)))?;
    let text = format!("# Written by `tana start`: what runs beside this validator.\n{text}");
    std::fs::write(&path, text).map_err(|source| CliError::file("write", &path, source))
}
