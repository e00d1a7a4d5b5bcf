//! The mesh that a command talks to: which one it is, and what its refusals mean to a person.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tana_mesh::agent::client::{CallError, MeshClient};
use tana_mesh::check::host_of;

use crate::commands::start::layout::mesh_url;
use crate::error::CliError;
use crate::home::Home;
use crate::node::printable;

/// The environment variable that names the mesh.
pub const MESH_VARIABLE: &str = "MESH_URL";
/// The mesh unless somebody says another.
pub const MESH_DEFAULT: &str = "http://127.0.0.1:8190";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A mesh that can be asked.
#[derive(Debug)]
pub struct Mesh {
    client: MeshClient,
}

impl Mesh {
    /// The meshes given, else that of `MESH_URL`, else that of the home's network, else the one on this machine.
    ///
    /// # Errors
    /// [`CliError::Usage`] when an address is no `http://` URL.
    pub fn new(given: &[String], home: &Home) -> Result<Self, CliError> {
        let mut addresses = given.to_vec();
        if addresses.is_empty() {
            let named = std::env::var(MESH_VARIABLE).ok().filter(|url| !url.is_empty());
            addresses.push(named.or_else(|| mesh_url(home)).unwrap_or_else(|| MESH_DEFAULT.to_owned()));
        }
        let client = MeshClient::new(&addresses, PATIENCE).map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(Self { client })
    }

    /// `GET`; `path` in its segments.
    ///
    /// # Errors
    /// [`CliError::Node`] when no mesh answers, or one refuses.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T, CliError> {
        self.client.get(path, query).await.map_err(|error| self.explain(error))
    }

    /// `POST` of a JSON body; `path` in its segments.
    ///
    /// # Errors
    /// [`CliError::Node`] when no mesh answers, or one refuses.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &(impl Serialize + Sync),
    ) -> Result<T, CliError> {
        self.try_post(path, body).await.map_err(|error| self.explain(error))
    }

    /// The same for whoever looks at a refusal before it is told.
    ///
    /// # Errors
    /// As the client says it; [`Mesh::explain`] makes it an error of a command.
    pub async fn try_post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &(impl Serialize + Sync),
    ) -> Result<T, CallError> {
        self.client.post(path, body).await
    }

    /// Whether the mesh that answered last is on this machine, so that nobody can have changed its answer on the way.
    pub fn is_loopback(&self) -> bool {
        let (host, _) = host_of(self.client.address());
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// What a call that failed means to a person.
    pub fn explain(&self, error: CallError) -> CliError {
        CliError::Node(match error {
            CallError::Refused { status, message, .. } => {
                format!("the mesh {} answers {status}: {}", self.client.address(), printable(&message))
            }
            CallError::NoAnswer(why) => format!(
                "no mesh answers: {}; start one with `tana start`, or name another with --mesh or {MESH_VARIABLE}",
                printable(&why)
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_on_this_machine_is_known_by_its_address() {
        let home = Home::resolve(Some(std::path::Path::new("/nowhere"))).unwrap();
        for (url, is_loopback) in [
            ("http://127.0.0.1:8190", true),
            ("http://127.9.9.9", true),
            ("http://localhost:8190", true),
            ("http://[::1]:8190", true),
            ("http://10.0.0.1:8190", false),
            ("http://localhost.example:8190", false),
            ("http://127.0.0.1.example", false),
        ] {
            assert_eq!(Mesh::new(&[url.to_owned()], &home).unwrap().is_loopback(), is_loopback, "{url}");
        }
    }
}
