//! Where everything of a started network lies and listens.
//!
//! ```text
//! HOME                       ~/.config/tana
//!   network/                 genesis, sovereign's key, a folder per validator, as `tana devnet` makes them
//!     validator-0/
//!       node.toml            the validator's own choices
//!       sidecar.toml         what runs beside it
//!       data/, node.log, sidecar.log
//!     mesh/                  the registry
//!     chaos.token            the secret of the chaos panel, mode 0600
//!   pids/                    which process is which
//! ```
//!
//! Validator i listens on UDP 9000+10i (links), TCP 9001+10i (HTTP) and UDP 9002+10i (transactions); its ledger API on TCP 8080+i. The mesh and the
//! page are on TCP 8190, the visualizer's stream on TCP 8191, all of the first validator's sidecar. `--port-offset` of a new network moves all of them;
//! it is remembered by the ports in node.toml.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tana_engine::config::NodeConfig;
use tana_types::key::PublicKey;

use crate::commands::devnet::network::{Network, PORT_STEP};
use crate::error::CliError;
use crate::home::Home;
use crate::keys;

/// The first port of links.
pub const LINKS_PORT: u16 = 9_000;
/// The first port of ledger APIs.
pub const LEDGER_PORT: u16 = 8_080;
/// The mesh and the page.
pub const MESH_PORT: u16 = 8_190;
/// The visualizer's stream.
pub const VISUALIZER_PORT: u16 = 8_191;

/// How long a validator that was added waits to be let in, in seconds: a week, as long as its registration does.
const JOIN_PATIENCE_S: &str = "604800";

/// A validator of the network and what runs beside it.
#[derive(Debug, Clone)]
pub struct Place {
    /// From 0.
    pub number: u16,
    /// Its folder.
    pub folder: PathBuf,
    /// Its key.
    pub key: PublicKey,
    /// Where its links are.
    pub links: SocketAddr,
    /// Where it takes transactions.
    pub transactions: SocketAddr,
    /// Where it answers over HTTP.
    pub http: SocketAddr,
    /// Whether it was made after the network, so that the genesis does not name it: it takes the state from the others.
    pub is_added: bool,
}

impl Place {
    /// The validator's process.
    pub fn validator(&self) -> String {
        format!("validator-{}", self.number)
    }

    /// The process beside it.
    pub fn sidecar(&self) -> String {
        format!("sidecar-{}", self.number)
    }

    /// Its id in the mesh: `val_` and the first 8 digits of its key.
    pub fn id(&self) -> String {
        node_id(&self.key)
    }

    /// By how much all ports of its network are moved.
    fn port_offset(&self) -> u16 {
        self.links.port().saturating_sub(LINKS_PORT).saturating_sub(PORT_STEP.saturating_mul(self.number))
    }

    /// Where its ledger API listens.
    pub fn ledger(&self) -> SocketAddr {
        self.at(LEDGER_PORT.saturating_add(self.number))
    }

    /// Where the mesh and the page of its network listen.
    pub fn mesh(&self) -> SocketAddr {
        self.at(MESH_PORT)
    }

    /// Where the visualizer's stream of its network listens.
    pub fn visualizer(&self) -> SocketAddr {
        self.at(VISUALIZER_PORT)
    }

    fn at(&self, port: u16) -> SocketAddr {
        local(port.saturating_add(self.port_offset()))
    }

    /// The validator's configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    /// The sidecar's configuration.
    pub fn sidecar_config(&self) -> PathBuf {
        self.folder.join("sidecar.toml")
    }

    /// What the validator says.
    pub fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    /// What the sidecar says.
    pub fn sidecar_log(&self) -> PathBuf {
        self.folder.join("sidecar.log")
    }

    /// What its validator is started with. One that was added keeps asking the others for the state until it has one; where it has, that changes
    /// nothing, so it need not be known here whether the sovereign has let it in.
    pub fn validator_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["validator", "--no-live", "--json", "--own-session"];
        if self.is_added {
            arguments.extend(["--join", "--join-patience", JOIN_PATIENCE_S]);
        }
        let config = self.config().display().to_string();
        arguments.into_iter().chain(["--config", config.as_str()]).map(str::to_owned).collect()
    }

    /// Reads the folder of validator `number`; `is_added` as in the field.
    ///
    /// # Errors
    /// [`CliError`] when a file of it cannot be read or its configuration serves no HTTP.
    pub fn read(network: &Path, number: u16, is_added: bool) -> Result<Self, CliError> {
        let folder = network.join(format!("validator-{number}"));
        let config = NodeConfig::load(&folder.join("node.toml"))?;
        let key = keys::public_key(&tana_engine::keyfile::load_key_file(&config.key)?);
        let Some(http) = config.http else {
            return Err(CliError::Usage(format!(
                "{} has no `http`, without which nobody can tell how the validator is; add http = \"127.0.0.1:{}\"",
                folder.join("node.toml").display(),
                9_001 + u32::from(PORT_STEP) * u32::from(number)
            )));
        };
        Ok(Self { number, folder, key, links: config.consensus.listen, transactions: config.listen, http, is_added })
    }
}

/// The mesh of the network in `home`, `http://HOST:PORT`; none where there is no network.
pub fn mesh_url(home: &Home) -> Option<String> {
    let folder = network_folder(home);
    Network::is_in(&folder)
        .then(|| Place::read(&folder, 0, false).ok())
        .flatten()
        .map(|place| format!("http://{}", place.mesh()))
}

/// The ledger API of the first validator of the network in `home`; none where there is no network.
pub fn ledger_address(home: &Home) -> Option<SocketAddr> {
    let folder = network_folder(home);
    Network::is_in(&folder).then(|| Place::read(&folder, 0, false).ok()).flatten().map(|place| place.ledger())
}

/// An id of the mesh: `val_` and the first 8 digits of the key.
pub fn node_id(key: &PublicKey) -> String {
    format!("val_{}", hex::encode(&key.0[..4]))
}

/// An address of this machine.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// The folder of the network that `tana start` runs.
pub fn network_folder(home: &Home) -> PathBuf {
    home.network()
}

/// The folder of process records.
pub fn pids_folder(home: &Home) -> PathBuf {
    home.pids()
}

/// The secret of the chaos panel.
pub fn chaos_token(network: &Path) -> PathBuf {
    network.join("chaos.token")
}

/// All validators of the network: those of the genesis and those that were made since, by number.
///
/// # Errors
/// As [`Place::read`].
pub fn places(network: &Network) -> Result<Vec<Place>, CliError> {
    let mut places = Vec::new();
    for number in 0..=u16::MAX {
        let is_of_genesis = usize::from(number) < network.members.len();
        if !is_of_genesis && !network.folder.join(format!("validator-{number}")).join("node.toml").exists() {
            break;
        }
        places.push(Place::read(&network.folder, number, !is_of_genesis)?);
    }
    Ok(places)
}
