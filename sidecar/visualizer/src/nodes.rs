//! Where validators come from: the registry, read again whenever it says that it changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::frame::MeshNode;
use crate::report::Input;

/// The registry is read again after so long even when it says nothing: heartbeats are no change that it tells of.
const REREAD: Duration = Duration::from_secs(5);
/// The least pause between two readings, whatever it says.
const PAUSE: Duration = Duration::from_millis(50);
/// A reading may take at most one part in so many of the time.
const SHARE: u32 = 10;

/// A list of nodes that changes: the mesh's registry, or a test's.
pub trait Nodes: Send + Sync + 'static {
    /// All nodes, in any order. It may wait for a disk.
    ///
    /// # Errors
    /// A text for the log; what was read before stays.
    fn list(&self) -> Result<Vec<MeshNode>, String>;

    /// Something that changes whenever a node appears, goes, or changes its status, address or services. Heartbeats need not count.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// Reads the registry for as long as somebody takes what is read.
pub(crate) async fn discover(nodes: Arc<dyn Nodes>, inputs: mpsc::Sender<Input>) {
    let mut changes = nodes.changes();
    let mut tells = true;
    loop {
        changes.borrow_and_update();
        let begun = Instant::now();
        let reader = nodes.clone();
        match tokio::task::spawn_blocking(move || reader.list()).await {
            Ok(Ok(list)) => {
                if inputs.send(Input::Nodes(list)).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "the registry could not be read"),
            Err(error) => tracing::warn!(%error, "reading the registry failed"),
        }
        tokio::time::sleep(PAUSE.max(begun.elapsed() * SHARE)).await;
        tokio::select! {
            changed = changes.changed(), if tells => tells = changed.is_ok(),
            () = tokio::time::sleep(REREAD) => {}
        }
    }
}
