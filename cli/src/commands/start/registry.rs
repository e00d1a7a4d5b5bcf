//! The validators of a started network enter its registry: each registers itself, and the network's own sovereign lets it in.

use std::time::{Duration, Instant};

use tana_mesh::wire::{Decision, DecisionAnswer, DecisionRequest, NodeStatus};

use super::Starting;
use crate::commands::mesh::client::Mesh;
use crate::commands::mesh::{new_nonce, nodes};
use crate::error::CliError;
use crate::keys;
use crate::node::runtime;
use crate::progress::Live;
use crate::time::now_ms;

/// How often the registry is asked.
const LOOK: Duration = Duration::from_millis(200);

/// Waits until each validator of the network is registered, approves those that wait for it, and waits until all are active. A node that was
/// denied stays so.
///
/// # Errors
/// [`CliError`] when the mesh does not answer or refuses, or not all are active within `patience`.
pub fn approve_all(
    starting: &Starting<'_>,
    patience: Duration,
    is_stopping: &dyn Fn() -> bool,
) -> Result<(), CliError> {
    runtime()?.block_on(approve(starting, patience, is_stopping))
}

async fn approve(starting: &Starting<'_>, patience: Duration, is_stopping: &dyn Fn() -> bool) -> Result<(), CliError> {
    let Some(first) = starting.places.first() else { return Ok(()) };
    let mesh = Mesh::new(&[format!("http://{}", first.mesh())], starting.home)?;
    let sovereign = keys::read_key_file(&starting.network.folder.join("sovereign.json"), starting.output)?.key;
    let of_genesis = &starting.places[..starting.network.members.len().min(starting.places.len())];
    let (begin, live) = (Instant::now(), Live::new(starting.output));
    loop {
        let known = nodes(&mesh, None).await?;
        let mut settled = 0;
        for place in of_genesis {
            // Only the key that the genesis names is let in, whatever else calls itself by this id.
            let key = place.key.to_string();
            match known
                .iter()
                .find(|node| node.row.id == place.id() && node.row.public_key == key)
                .map(|node| node.row.status)
            {
                Some(NodeStatus::Active | NodeStatus::Denied) => settled += 1,
                Some(NodeStatus::Pending) => {
                    let request =
                        DecisionRequest::signed(Decision::Approve, &place.id(), &sovereign, now_ms(), &new_nonce()?);
                    let path = ["approve", &place.id()];
                    mesh.post::<DecisionAnswer>(&path, &request).await.inspect_err(|_| live.clear())?;
                }
                Some(NodeStatus::Offline) | None => {}
            }
        }
        if settled == of_genesis.len() || is_stopping() {
            live.clear();
            return Ok(());
        }
        if begin.elapsed() > patience {
            live.clear();
            return Err(CliError::Node(format!(
                "only {settled} of {} validators are active in the mesh; `tana mesh list --all` shows them, and each sidecar.log says why",
                of_genesis.len()
            )));
        }
        live.say(format!("{settled} of {} active in the mesh", of_genesis.len()));
        tokio::time::sleep(LOOK).await;
    }
}
