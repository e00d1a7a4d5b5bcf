//! The home folder: where keys, genesis and configuration lie unless told otherwise.
//!
//! ```text
//! ~/.config/tana            or --home, or TANA_HOME; mode 0700
//!   validator.json          the validator's key, mode 0600
//!   sovereign.json          the sovereign's key, mode 0600
//!   genesis.toml            what all validators agree on
//!   node.toml               what this node chooses
//!   users/@alice.json       users' keys, mode 0600
//!   data/                   the node's logs and checkpoint
//!   network/                the network of `tana start`, if there is one
//!   pids/                   which of its processes is which
//! ```
//!
//! A home without files of its own borrows those of its network: the genesis, the sovereign's key, the first validator.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::commands::start::processes::Processes;
use crate::error::CliError;

/// The environment variable that names the home.
pub const HOME_VARIABLE: &str = "TANA_HOME";

/// A home folder, whether it exists or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    folder: PathBuf,
}

impl Home {
    /// The folder given, else that of `TANA_HOME`, else `~/.config/tana`.
    pub fn resolve(given: Option<&Path>) -> Result<Self, CliError> {
        Self::choose(given, |name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn choose(given: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, CliError> {
        let folder = match (given, variable(HOME_VARIABLE), variable("HOME")) {
            (Some(folder), _, _) => folder.to_owned(),
            (None, Some(folder), _) => PathBuf::from(folder),
            (None, None, Some(home)) => Path::new(&home).join(".config").join("tana"),
            (None, None, None) => return Err(CliError::NoHome),
        };
        // Files of the home name others of it, and processes that read them are started elsewhere: a path that is taken from wherever somebody
        // stands would mean something else there.
        let folder = std::path::absolute(&folder)
            .map_err(|source| CliError::System { action: "tell where the home folder is", source })?;
        Ok(Self { folder })
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The validator's key file.
    pub fn validator_key(&self) -> PathBuf {
        self.folder.join("validator.json")
    }

    /// The sovereign's key file.
    pub fn sovereign_key(&self) -> PathBuf {
        self.folder.join("sovereign.json")
    }

    /// The genesis file.
    pub fn genesis(&self) -> PathBuf {
        self.folder.join("genesis.toml")
    }

    /// The node's configuration.
    pub fn node_config(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    /// The node's logs and checkpoint.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The network that `tana start` runs.
    pub fn network(&self) -> PathBuf {
        self.folder.join("network")
    }

    /// Whether the network that `tana start` made runs now: its first validator does.
    pub fn network_runs(&self) -> bool {
        Processes::new(self.pids()).running("validator-0").is_some()
    }

    /// The folder of process records of `tana start`.
    pub fn pids(&self) -> PathBuf {
        self.folder.join("pids")
    }

    /// `borrowed` from the network if that exists, and runs or nothing stands before it; else `own`.
    fn or_of_network(&self, own: PathBuf, borrowed: &str) -> PathBuf {
        let borrowed = self.network().join(borrowed);
        if borrowed.exists() && (!own.exists() || self.network_runs()) { borrowed } else { own }
    }

    /// The genesis to read: that of the network while it runs; else the home's, else that of its network.
    pub fn known_genesis(&self) -> PathBuf {
        self.or_of_network(self.genesis(), "genesis.toml")
    }

    /// The sovereign's key file to read, chosen in the same way.
    pub fn known_sovereign_key(&self) -> PathBuf {
        self.or_of_network(self.sovereign_key(), "sovereign.json")
    }

    /// The validator's key file to read, chosen in the same way; of a network it is its first validator's.
    pub fn known_validator_key(&self) -> PathBuf {
        self.or_of_network(self.validator_key(), "validator-0/validator.json")
    }

    /// The configuration of the node to talk to, chosen in the same way; of a network it is its first validator's.
    pub fn known_node_config(&self) -> PathBuf {
        self.or_of_network(self.node_config(), "validator-0/node.toml")
    }

    /// The folder of the users' keys.
    pub fn users(&self) -> PathBuf {
        self.folder.join("users")
    }

    /// The key file of a user, whose name begins with `@`.
    pub fn user_key(&self, username: &str) -> PathBuf {
        self.users().join(format!("{username}.json"))
    }
}

/// Makes a folder that only its owner may enter; one that exists keeps its mode.
pub fn create_private_folder(path: &Path) -> Result<(), CliError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| CliError::file("make the folder", path, source))
}

/// The mode bits of a file if anybody but its owner may do anything with it.
pub fn loose_mode(path: &Path) -> io::Result<Option<u32>> {
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_without_files_borrows_those_of_its_network() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::choose(Some(folder.path()), |_| None).unwrap();
        assert_eq!(home.known_genesis(), home.genesis(), "neither is there");
        std::fs::create_dir_all(home.network()).unwrap();
        std::fs::write(home.network().join("genesis.toml"), "").unwrap();
        assert_eq!(home.known_genesis(), home.network().join("genesis.toml"));
        std::fs::write(home.genesis(), "").unwrap();
        assert_eq!(home.known_genesis(), home.genesis(), "its own comes first");
    }

    #[test]
    fn the_folder_given_comes_before_the_variable_and_that_before_the_default() {
        let both = |name: &str| Some(OsString::from(if name == "HOME" { "/home/alice" } else { "/srv/tana" }));
        let home_only = |name: &str| (name == "HOME").then(|| OsString::from("/home/alice"));
        assert_eq!(Home::choose(Some(Path::new("/here")), both).unwrap().folder(), Path::new("/here"));
        assert_eq!(Home::choose(None, both).unwrap().folder(), Path::new("/srv/tana"));
        assert_eq!(Home::choose(None, home_only).unwrap().folder(), Path::new("/home/alice/.config/tana"));
        assert!(matches!(Home::choose(None, |_| None), Err(CliError::NoHome)));
    }

    #[test]
    fn a_relative_folder_is_the_same_one_from_everywhere() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(Home::choose(Some(Path::new("./net")), |_| None).unwrap().folder(), here.join("net"));
        let variable = |name: &str| (name == HOME_VARIABLE).then(|| OsString::from("net"));
        assert_eq!(Home::choose(None, variable).unwrap().folder(), here.join("net"));
    }
}
