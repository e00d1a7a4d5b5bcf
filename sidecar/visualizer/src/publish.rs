//! From the model to the clients: every frame is serialized once, and all clients share its bytes.

use axum::extract::ws::Utf8Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::frame::{Delta, NETWORK_UPDATE, State};
use crate::model::Model;

/// Deltas that wait for a client at most unless options say otherwise; one that is further behind gets a snapshot instead. All clients share
/// them.
pub const DELTAS_MAX: usize = 64;

/// The frame, borrowed; as [`crate::frame::Frame`] on the wire.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum FrameRef<'a> {
    Snapshot(&'a State),
    Delta(&'a Delta),
}

/// A message and where its `data` lies in it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    message: Utf8Bytes,
    data_from: usize,
}

impl Snapshot {
    /// The whole message.
    pub fn message(&self) -> Utf8Bytes {
        self.message.clone()
    }

    /// The frame without its envelope.
    pub fn data(&self) -> &str {
        self.message.get(self.data_from..self.message.len() - 1).unwrap_or_default()
    }
}

fn message(frame: &FrameRef<'_>) -> Snapshot {
    let mut text = format!("{{\"type\":\"{NETWORK_UPDATE}\",\"data\":");
    let data_from = text.len();
    // Texts, finite numbers, lists and structs: these always serialize.
    text.push_str(&serde_json::to_string(frame).unwrap_or_else(|_| "null".to_owned()));
    text.push('}');
    Snapshot { message: text.into(), data_from }
}

struct Inner {
    model: Model,
    /// The state's snapshot, once somebody asked for it.
    snapshot: Option<Snapshot>,
    deltas: broadcast::Sender<Utf8Bytes>,
}

/// The model, and who listens to it. Locked for the time of a change or of one serialization.
pub struct Publisher {
    inner: Mutex<Inner>,
}

impl Publisher {
    /// Without validators so far. `deltas_max` are those that wait for a client at most; a power of two.
    pub fn new(deltas_max: usize) -> Self {
        let deltas = broadcast::Sender::new(deltas_max.clamp(1, 1 << 16));
        Self { inner: Mutex::new(Inner { model: Model::default(), snapshot: None, deltas }) }
    }

    /// Does something with the model.
    pub fn with_model<T>(&self, act: impl FnOnce(&mut Model) -> T) -> T {
        act(&mut self.inner.lock().model)
    }

    /// Makes the next state and sends what changed to everybody.
    pub fn flush(&self, now_ms: u64) {
        let mut inner = self.inner.lock();
        let Some(delta) = inner.model.flush(now_ms) else { return };
        inner.snapshot = None;
        if inner.deltas.receiver_count() > 0 {
            // Nobody is left to listen if this fails.
            let _ = inner.deltas.send(message(&FrameRef::Delta(&delta)).message());
        }
    }

    /// The present state.
    pub fn snapshot(&self) -> Snapshot {
        snapshot_of(&mut self.inner.lock())
    }

    /// The present state, and every delta from there on.
    pub fn subscribe(&self) -> (Snapshot, broadcast::Receiver<Utf8Bytes>) {
        let mut inner = self.inner.lock();
        (snapshot_of(&mut inner), inner.deltas.subscribe())
    }
}

fn snapshot_of(inner: &mut Inner) -> Snapshot {
    let Inner { model, snapshot, .. } = inner;
    snapshot.get_or_insert_with(|| message(&FrameRef::Snapshot(model.state()))).clone()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::frame::{Frame, Message};

    #[test]
    fn what_is_sent_is_what_the_types_say() {
        let publisher = Publisher::new(DELTAS_MAX);
        let (snapshot, mut deltas) = publisher.subscribe();
        let read: Message = serde_json::from_str(&snapshot.message()).unwrap();
        assert_eq!(read, Message::new(Frame::Snapshot(State::default())));
        assert_eq!(serde_json::from_str::<Frame>(snapshot.data()).unwrap(), read.data);

        publisher.with_model(|model| model.take(crate::report::Input::Nodes(Vec::new()), 5));
        publisher.flush(5);
        let read: Message = serde_json::from_str(&deltas.try_recv().unwrap()).unwrap();
        let Frame::Delta(delta) = read.data else { panic!("a delta follows") };
        assert_eq!((delta.sequence, delta.mesh.unwrap().last_update), (1, 5));
        publisher.flush(6);
        assert!(deltas.try_recv().is_err(), "nothing changed, so nothing is sent");
    }
}
