//! What `/health` and `/peers` answer, as JSON objects. Fields may be added; those that are here keep their meaning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The answer of `GET /health`: status 200 when the node votes, 503 when it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// `voting`, or `not voting`.
    pub status: String,
    /// Whether its votes count towards blocks (a validator without consensus orders alone, which is the same).
    pub voting: bool,
    /// Why it does not vote; empty when it does.
    pub reason: String,
    /// The chain's name.
    pub chain: String,
    /// The genesis hash in hexadecimal.
    pub genesis_hash: String,
    /// The validator's key.
    pub validator: String,
    /// The last committed height: blocks up to it are executed and durable.
    pub height: u64,
    /// The state root after that height, in hexadecimal.
    pub state_root: String,
    /// The last final height.
    pub finalized_height: u64,
    /// The epoch of the next block.
    pub epoch: u64,
    /// The view in that epoch.
    pub view: u64,
    /// The key of the view's leader; empty where nobody knows.
    pub leader: String,
    /// Other validators that are connected.
    pub peers: u64,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// The node's version.
    pub version: String,
}

/// One entry of the list that `GET /peers` answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerView {
    /// Its key.
    pub key: String,
    /// Where its links are, `host:port`.
    pub address: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Seconds since it connected.
    pub connected_s: u64,
    /// The measured round trip, milliseconds.
    pub round_trip_ms: f64,
    /// Bytes of messages received, by channel.
    pub bytes_in: BTreeMap<String, u64>,
    /// Bytes of messages sent, by channel.
    pub bytes_out: BTreeMap<String, u64>,
    /// Messages dropped because a queue was full, by channel.
    pub dropped: BTreeMap<String, u64>,
    /// UDP payload received, QUIC's own words and repeats included.
    pub wire_bytes_in: u64,
    /// UDP payload sent.
    pub wire_bytes_out: u64,
    /// Why it is blocked; empty when it is not.
    pub blocked: String,
    /// Why the last connection or attempt ended.
    pub last_error: String,
}

impl PeerView {
    /// Bytes received on all channels.
    pub fn bytes_in_all(&self) -> u64 {
        self.bytes_in.values().sum()
    }

    /// Bytes sent on all channels.
    pub fn bytes_out_all(&self) -> u64 {
        self.bytes_out.values().sum()
    }
}

/// What can be told of a node; implemented by [`super::telemetry::NodeTelemetry`] and by tests.
pub trait NodeView: Send + Sync + 'static {
    /// Whether it votes, and how far it is.
    fn health(&self) -> Health;
    /// The other validators.
    fn peers(&self) -> Vec<PeerView>;
    /// Every counter in Prometheus' text form.
    fn metrics(&self) -> String;
}
