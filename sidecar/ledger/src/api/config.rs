//! What the ledger API is told at its start.

use std::net::SocketAddr;
use std::time::Duration;

use tana_net::ServerPin;

/// The node that submissions go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeTarget {
    /// Where it takes transactions (QUIC), by default port 9002 + 10 i.
    pub address: SocketAddr,
    /// The key that it must hold.
    pub pin: ServerPin,
}

/// How feeds treat their readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedConfig {
    /// A reader that was at the head and is now further behind than so many blocks is told the gap and taken to the head.
    pub lag_blocks_max: u64,
    /// A reader that takes nothing for so long is disconnected.
    pub stall: Duration,
    /// How often a silent feed shows that it is alive.
    pub ping: Duration,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self { lag_blocks_max: 256, stall: Duration::from_secs(60), ping: Duration::from_secs(15) }
    }
}

/// What the ledger API is told at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiConfig {
    /// The node that submissions go to; without one they are refused with 503.
    pub node: Option<NodeTarget>,
    /// `/ready` says yes while the reader is at most so many final blocks behind.
    pub ready_blocks_behind: u64,
    /// How feeds treat their readers.
    pub feed: FeedConfig,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { node: None, ready_blocks_behind: 20, feed: FeedConfig::default() }
    }
}
