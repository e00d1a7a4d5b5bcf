//! Where the mesh keeps its data and where it listens, from the environment.

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
/// The port when none is set.
pub const PORT_DEFAULT: u16 = 8190;
/// The folder when none is set.
pub const DB_PATH_DEFAULT: &str = "mesh.db";

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}={value} is no port: set it to a number from 0 to 65535")]
pub struct ConfigError {
    name: &'static str,
    value: String,
}

/// Where the mesh keeps its data and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshConfig {
    /// The folder of the database; made when it is missing.
    pub folder: PathBuf,
    /// The HTTP port; 0 for any that is free.
    pub port: u16,
}

impl MeshConfig {
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
        let folder = first([DB_PATH, OLD_DB_PATH]).map_or_else(|| DB_PATH_DEFAULT.into(), |(_, value)| value.into());
        let port = match first([PORT, OLD_PORT]) {
            None => PORT_DEFAULT,
            Some((name, value)) => value.parse().map_err(|_| ConfigError { name, value })?,
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
        assert_eq!(MeshConfig::read(old).unwrap(), MeshConfig { folder: "/old".into(), port: 1 });
        let both = |name: &str| match name {
            DB_PATH => Some("/new".to_owned()),
            PORT => Some("2".to_owned()),
            other => old(other),
        };
        assert_eq!(MeshConfig::read(both).unwrap(), MeshConfig { folder: "/new".into(), port: 2 });
        assert_eq!(MeshConfig::read(|_| None).unwrap(), MeshConfig { folder: "mesh.db".into(), port: 8190 });
        assert!(MeshConfig::read(|name| (name == OLD_PORT).then(|| "x".to_owned())).is_err());
    }
}
