//! What one sidecar runs, read from `sidecar.toml`. Each section turns one part on; a key that nobody knows is an error.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tana_mesh::MeshOverrides;

use crate::error::CliError;

/// A sidecar's parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SidecarConfig {
    /// The configuration of the validator that this stands beside. Relative paths are taken from the folder of the file.
    #[serde(default = "default_node")]
    pub node: PathBuf,
    /// The registry and the page; one a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<MeshSection>,
    /// The stream that the page shows; beside a mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visualizer: Option<VisualizerSection>,
    /// The ledger API; one a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerSection>,
    /// Speaks for the node at the mesh: registers it, sends its heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSection>,
}

/// The registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeshSection {
    /// TCP address, 8190 by custom.
    pub listen: SocketAddr,
    /// Folder of the registry.
    pub data: PathBuf,
}

/// The stream of what happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisualizerSection {
    /// TCP address, 8191 by custom.
    pub listen: SocketAddr,
    /// In a devnet: the file with the secret of the chaos panel. With it the panel acts on this home's processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chaos: Option<ChaosSection>,
}

/// What the chaos panel may act on: processes of a devnet on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChaosSection {
    /// The file with the panel's secret.
    pub token: PathBuf,
    /// The home whose processes they are.
    pub home: PathBuf,
}

/// The ledger API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerSection {
    /// TCP address, 8080 by custom.
    pub listen: SocketAddr,
    /// Pages that may read it from a browser: origins, or `*`, which is what counts when this is left out; empty lets none.
    #[serde(default = "everybody")]
    pub origins: Vec<String>,
}

/// The node's voice at the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSection {
    /// Meshes, the first that answers is used: `http://HOST:PORT`.
    pub meshes: Vec<String>,
    /// Under which host the others reach this node.
    pub host: String,
    /// Its IP address, beside the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// The node's id; `val_` and the first 8 digits of its key when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

fn default_node() -> PathBuf {
    "node.toml".into()
}

fn everybody() -> Vec<String> {
    vec!["*".to_owned()]
}

impl SidecarConfig {
    /// Reads a file and checks it; relative paths in it are taken from its folder. What the environment says of the mesh goes before it.
    ///
    /// # Errors
    /// [`CliError`] when it cannot be read or is not valid.
    pub fn load(path: &Path) -> Result<Self, CliError> {
        let overrides = MeshOverrides::from_env().map_err(|error| CliError::Usage(error.to_string()))?;
        Self::load_with(path, overrides)
    }

    fn load_with(path: &Path, overrides: MeshOverrides) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path).map_err(|source| CliError::file("read", path, source))?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| CliError::Usage(format!("{} is not valid: {error}", path.display())))?;
        config.resolve(path.parent().unwrap_or(Path::new(".")));
        if let Some(mesh) = &mut config.mesh {
            if let Some(port) = overrides.port {
                mesh.listen.set_port(port);
            }
            if let Some(folder) = overrides.folder {
                mesh.data = folder;
            }
        }
        config.check().map_err(|text| CliError::Usage(format!("{}: {text}", path.display())))?;
        Ok(config)
    }

    fn resolve(&mut self, folder: &Path) {
        let chaos = self.visualizer.as_mut().and_then(|section| section.chaos.as_mut());
        let (token, home) = chaos.map(|chaos| (&mut chaos.token, &mut chaos.home)).unzip();
        let mesh = self.mesh.as_mut().map(|section| &mut section.data);
        for path in [Some(&mut self.node), mesh, token, home].into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.mesh.is_none() && self.ledger.is_none() && self.agent.is_none() {
            return Err("there is nothing to run: add [mesh], [ledger] or [agent]".to_owned());
        }
        if self.visualizer.is_some() && self.mesh.is_none() {
            return Err("[visualizer] needs [mesh]: it shows the nodes of the registry beside it".to_owned());
        }
        if self.agent.as_ref().is_some_and(|agent| agent.meshes.is_empty()) {
            return Err("[agent] needs at least one of `meshes`".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<SidecarConfig, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sidecar.toml");
        std::fs::write(&path, text).unwrap();
        SidecarConfig::load(&path)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = "[mesh]\nlisten = \"127.0.0.1:8190\"\ndata = \"mesh\"\n[visualizer]\nlisten = \"127.0.0.1:8191\"\n\
            [ledger]\nlisten = \"127.0.0.1:8080\"\n[agent]\nmeshes = [\"http://127.0.0.1:8190\"]\nhost = \"127.0.0.1\"\n";
        let config = load(text).unwrap();
        assert_eq!(config.ledger.as_ref().unwrap().origins, ["*"]);
        assert!(config.node.is_absolute(), "paths are taken from the folder of the file");
        assert!(config.mesh.as_ref().unwrap().data.ends_with("mesh"));
        let again = load(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!((again.mesh, again.agent), (config.mesh, config.agent));
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sidecar.toml");
        let said = MeshOverrides { folder: Some("/elsewhere".into()), port: Some(1) };
        std::fs::write(&path, "[mesh]\nlisten = \"127.0.0.1:8190\"\ndata = \"mesh\"\n").unwrap();
        let mesh = SidecarConfig::load_with(&path, said.clone()).unwrap().mesh.unwrap();
        assert_eq!((mesh.listen.to_string().as_str(), mesh.data.as_path()), ("127.0.0.1:1", Path::new("/elsewhere")));
        // Where no mesh is to run, none does.
        std::fs::write(&path, "[ledger]\nlisten = \"127.0.0.1:8080\"\n").unwrap();
        assert_eq!(SidecarConfig::load_with(&path, said).unwrap().mesh, None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, why) in [
            ("", "nothing to run"),
            ("[ledger]\nlisten = \"127.0.0.1:8080\"\n[visualizer]\nlisten = \"127.0.0.1:8191\"", "needs [mesh]"),
            ("[agent]\nmeshes = []\nhost = \"a\"", "at least one"),
            ("[ledger]\nlisten = \"127.0.0.1:8080\"\nport = 1", "unknown field"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
