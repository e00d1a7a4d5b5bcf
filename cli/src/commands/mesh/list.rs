//! `tana mesh status` and `tana mesh list`.

use serde_json::json;
use tana_mesh::wire::{ChainStanding, InfoAnswer, NodeAnswer, NodeStatus, NodeView, ServiceRow, ValidatorLink};

use super::arguments::{MeshArguments, StatusChoice};
use super::client::Mesh;
use super::nodes;
use crate::error::CliError;
use crate::home::Home;
use crate::node::{printable, runtime};
use crate::output::{Output, grouped};
use crate::time::iso8601;

impl From<StatusChoice> for NodeStatus {
    fn from(choice: StatusChoice) -> Self {
        match choice {
            StatusChoice::Pending => Self::Pending,
            StatusChoice::Active => Self::Active,
            StatusChoice::Denied => Self::Denied,
            StatusChoice::Offline => Self::Offline,
        }
    }
}

/// Runs `tana mesh list`.
///
/// # Errors
/// [`CliError`] when the mesh does not answer.
pub fn list(status: Option<StatusChoice>, mesh: &MeshArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let mesh = Mesh::new(&mesh.meshes, home)?;
    let found = runtime()?.block_on(nodes(&mesh, status.map(NodeStatus::from)))?;
    output.result(&json!({ "nodes": found }), |output| {
        if found.is_empty() {
            output.line(match status {
                Some(status) => {
                    format!("no {} nodes; --all lists those of every status", NodeStatus::from(status).name())
                }
                None => "no nodes".to_owned(),
            });
            return;
        }
        let rows = found.iter().map(|node| {
            vec![
                printable(&node.row.id),
                node.row.status.name().to_owned(),
                printable(&node.row.public_key),
                host(node),
                services(node),
                node.row.last_heartbeat.map_or_else(|| "never".to_owned(), iso8601),
            ]
        });
        output.rows(&["id", "status", "key", "host", "services", "last heartbeat"], &[], rows);
    });
    Ok(())
}

/// Runs `tana mesh status`.
///
/// # Errors
/// [`CliError`] when the mesh does not answer or does not know the node.
pub fn status(id: Option<&str>, mesh: &MeshArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let mesh = Mesh::new(&mesh.meshes, home)?;
    let Some(id) = id else {
        let info: InfoAnswer = runtime()?.block_on(mesh.get(&["info"], &[]))?;
        output.result(&info, |output| {
            let count = |count: usize| grouped(count as u64);
            output.pairs([
                ("active", count(info.nodes.active)),
                ("pending", count(info.nodes.pending)),
                ("offline", count(info.nodes.offline)),
                ("denied", count(info.nodes.denied)),
                ("all", count(info.nodes.total)),
            ]);
        });
        return Ok(());
    };
    check_id(id)?;
    let answer: NodeAnswer = runtime()?.block_on(mesh.get(&["nodes", id], &[]))?;
    output.result(&answer, |output| {
        let (node, row) = (&answer.node, &answer.node.row);
        let time = |ms: Option<u64>| ms.map_or_else(|| "never".to_owned(), iso8601);
        let mut pairs = vec![
            ("id", printable(&row.id)),
            ("status", row.status.name().to_owned()),
            ("key", printable(&row.public_key)),
            ("host", printable(&row.tailscale_hostname)),
        ];
        pairs.extend(row.tailscale_ip.as_deref().map(|ip| ("IP", printable(ip))));
        let own = row.public_key.as_str();
        pairs.extend(node.services.iter().map(|service| {
            let key =
                if service.public_key == own { "the node's key".to_owned() } else { printable(&service.public_key) };
            ("service", format!("{}, {key}", service_text(service)))
        }));
        if let Some(link) = &answer.validator {
            pairs.push(("validator", validator_text(link)));
        }
        pairs.push(("registered", iso8601(row.registered_at)));
        pairs.push(("approved", time(row.approved_at)));
        pairs.extend(row.approved_by.as_deref().map(|key| ("by", printable(key))));
        pairs.push(("last heartbeat", time(row.last_heartbeat)));
        output.pairs(pairs);
    });
    Ok(())
}

/// An id that may stand in a path.
pub fn check_id(id: &str) -> Result<(), CliError> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    match !id.is_empty() && id.chars().all(is_letter) {
        true => Ok(()),
        false => {
            Err(CliError::Usage(format!("`{}` is no node id: they have letters, digits, -, _ and .", printable(id))))
        }
    }
}

/// Where a validator's links are and what its key is, and whether the chain has it.
pub fn validator_text(link: &ValidatorLink) -> String {
    let address = link.address.as_deref().map_or_else(|| "an address that is not known".to_owned(), printable);
    let chain = match link.chain {
        Some(ChainStanding::InSet) => ", in the validator set",
        Some(ChainStanding::NotInSet) => ", not in the validator set",
        None => "",
    };
    format!("{}, links at {address}{chain}", printable(&link.public_key))
}

fn host(node: &NodeView) -> String {
    let host = printable(&node.row.tailscale_hostname);
    match node.row.tailscale_ip.as_deref() {
        Some(ip) if ip != node.row.tailscale_hostname => format!("{host} ({})", printable(ip)),
        _ => host,
    }
}

fn service_text(service: &ServiceRow) -> String {
    let health = match service.healthy {
        Some(true) => "",
        Some(false) => " (unhealthy)",
        None => " (not known)",
    };
    format!("{} {}{health}", printable(&service.service_type), service.port)
}

fn services(node: &NodeView) -> String {
    let one = |service: &ServiceRow| match service.public_key == node.row.public_key {
        true => service_text(service),
        // Another key than the node's own is nothing that the node has proven.
        false => format!("{} with the key {}", service_text(service), printable(&service.public_key)),
    };
    let all: Vec<String> = node.services.iter().map(one).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}
