//! What the environment says of the mesh: where it keeps its data and on which port it listens, by the names that operators of the system that
//! this one takes the place of know. It goes before what a file says.

use std::path::PathBuf;

use thiserror::Error;

/// The folder of the database.
pub const DB_PATH: &str = "TANA_MESH_DB_PATH";
/// The same in the old system, where it was a file.
pub const OLD_DB_PATH: &str = "MESH_DB_PATH";
/// The HTTP port.
pub const PORT: &str = "TANA_MESH_PORT";
/// The same in the old system.
pub const OLD_PORT: &str = "MESH_PORT";
/// All of them, for whoever starts a mesh that no environment is to change.
pub const VARIABLES: [&str; 4] = [DB_PATH, OLD_DB_PATH, PORT, OLD_PORT];

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}={value} is no port: set it to a number from 0 to 65535, or unset it to use the one in sidecar.toml")]
pub struct ConfigError {
    name: &'static str,
    value: String,
}

/// What the environment says; nothing where it is silent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MeshOverrides {
    /// The folder of the database; made when it is missing.
    pub folder: Option<PathBuf>,
    /// The HTTP port; 0 for any that is free.
    pub port: Option<u16>,
}

impl MeshOverrides {
    /// From the environment, in which the new names go before the old ones.
    ///
    /// # Errors
    /// A port that is none.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// From any look-up of names. An empty value counts as none.
    ///
    /// # Errors
    /// A port that is none.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| lookup(name).filter(|value| !value.is_empty()).map(|value| (name, value)))
        };
        let folder = first([DB_PATH, OLD_DB_PATH]).map(|(_, value)| value.into());
        let port = match first([PORT, OLD_PORT]) {
            None => None,
            Some((name, value)) => Some(value.parse().map_err(|_| ConfigError { name, value })?),
        };
        Ok(Self { folder, port })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn new_names_go_before_old_ones() {
        let old = |name: &str| match name {
            OLD_DB_PATH => Some("/old".to_owned()),
            OLD_PORT => Some("1".to_owned()),
            _ => None,
        };
        let said = |folder: &str, port| MeshOverrides { folder: Some(folder.into()), port: Some(port) };
        assert_eq!(MeshOverrides::read(old).unwrap(), said("/old", 1));
        let both = |name: &str| match name {
            DB_PATH => Some("/new".to_owned()),
            PORT => Some("2".to_owned()),
            other => old(other),
        };
        assert_eq!(MeshOverrides::read(both).unwrap(), said("/new", 2));
        assert_eq!(MeshOverrides::read(|_| None).unwrap(), MeshOverrides::default());
        assert_eq!(MeshOverrides::read(|_| Some(String::new())).unwrap(), MeshOverrides::default());
        assert!(MeshOverrides::read(|name| (name == OLD_PORT).then(|| "x".to_owned())).is_err());
    }
}
