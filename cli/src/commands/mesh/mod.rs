//! `tana mesh`: the registry of a network's nodes.

pub mod arguments;
pub mod client;
mod decide;
mod dev;
mod list;
mod register;

use rand::TryRng;
use rand::rngs::SysRng;
use tana_mesh::wire::{NodeList, NodeStatus, NodeView};

use self::arguments::MeshCommand;
use self::client::Mesh;
use crate::error::CliError;
use crate::home::Home;
use crate::output::Output;

/// Nodes of a page: even where each says as much of itself as it may, the page is below what the client takes.
const PAGE: &str = "200";
/// The most pages of a list that are asked for.
const PAGES_MAX: usize = 10_000;

/// Runs `tana mesh`.
///
/// # Errors
/// [`CliError`] when the mesh does not answer or refuses, or a key cannot be read.
pub fn run(command: &MeshCommand, home: &Home, output: &Output) -> Result<(), CliError> {
    match command {
        MeshCommand::Register(arguments) if arguments.dev => dev::run(arguments, home, output),
        MeshCommand::Register(arguments) => register::run(arguments, home, output),
        MeshCommand::Approve(arguments) => decide::run(tana_mesh::wire::Decision::Approve, arguments, home, output),
        MeshCommand::Deny(arguments) => decide::run(tana_mesh::wire::Decision::Deny, arguments, home, output),
        MeshCommand::Status { id, mesh } => list::status(id.as_deref(), mesh, home, output),
        MeshCommand::List { status, all, mesh } => {
            list::list(if *all { None } else { Some(*status) }, mesh, home, output)
        }
    }
}

/// A nonce that nobody can guess and that does not come again: 32 hexadecimal digits.
///
/// # Errors
/// [`CliError::System`] when the system gives no randomness.
pub fn new_nonce() -> Result<String, CliError> {
    let mut bytes = [0; 16];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| CliError::System {
        action: "get randomness from the system",
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(hex::encode(bytes))
}

/// The nodes of one status, or of all in the order of [`NodeStatus::ALL`].
///
/// # Errors
/// [`CliError`] when the mesh does not answer.
pub async fn nodes(mesh: &Mesh, status: Option<NodeStatus>) -> Result<Vec<NodeView>, CliError> {
    let status = status.map_or("all", NodeStatus::name);
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let mut query = vec![("status", status), ("limit", PAGE)];
        query.extend(after.as_deref().map(|after| ("after", after)));
        let page: NodeList = mesh.get(&["nodes"], &query).await?;
        all.extend(page.nodes);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    all.sort_by_key(|node| node.row.status);
    Ok(all)
}
