//! Links: one authenticated connection per pair of validators, a stream per channel in each direction.
//!
//! A link moves messages (bytes) between the validators of the current set and knows nothing of their meaning. Who may
//! connect is decided inside the TLS handshake, by the Ed25519 key that the other side proves; which messages go first,
//! and what happens to those that find no room, is decided by their [channel](limits).
//!
//! - [`limits`]: the channels with their bounds, all other bounds and times, and the close codes.
//! - [`frame`]: what is on a stream, byte by byte: a stream type, then a hello or frames.
//! - [`trouble`]: a socket that loses and delays on purpose, in test networks.
//! - `window`: how much may be on its way to a peer.
//! - `tls`: raw public keys (RFC 7250), the check against the set, the chain's name in the ALPN.
//! - [`handle`]: [`Links`], the handle that all others use; `accept` and `dial` make connections for it.
//! - `peer`: what is kept for one peer: its connections, queues, counters and whether it is blocked.
//! - `connection`: the life of one connection; `send` and `receive` move its messages.
//! - [`inbound`]: the receiving end of a channel, fair between peers; `queue` is the sending end.
//! - [`metrics`]: counters and the status of each peer; `rate`: how fast one peer may talk.
//!
//! # Invariants
//! - Nothing is sent to, or read from, a connection whose key is not in the set.
//! - What one peer can make this side hold is bounded by [`limits::LinkLimits`] and independent of other peers: a
//!   flooding or silent peer takes nothing from the others.
//! - Order is kept per channel within one connection. What was in flight when a connection broke may be lost; whoever
//!   needs it sends it again.
//! - When two connections cross, one stays: the one that the smaller key dialled; a spare is given up only after the
//!   other has shown that it lives.

mod accept;
mod connection;
mod dial;
pub mod frame;
pub mod handle;
pub mod inbound;
pub mod limits;
pub mod metrics;
mod peer;
mod queue;
mod rate;
mod receive;
mod send;
mod tls;
pub mod trouble;
mod window;

#[cfg(test)]
mod tests;

pub use handle::{LinkConfig, LinkError, Links, Peer, SendOutcome};
pub use inbound::Inbound;
pub use limits::{CHANNELS, ChannelLimits, LinkCode, LinkLimits};
pub use metrics::{ChannelCount, LinkMetrics, LinkRefusal, PeerStatus};
pub use trouble::Trouble;
