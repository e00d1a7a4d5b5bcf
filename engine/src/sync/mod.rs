//! State sync: how a validator joins from nothing, and how others help it.
//!
//! Every epoch's last height is attested by exactly itself, so the state behind it can be shown to be the chain's by one state root in a finalized
//! header. A snapshot is the state there: small sections in a [`manifest`], accounts in runs ([`chunk`]) that hang under one node of the tree
//! each, and a [`proof`] that leads from validators whom the joining node trusts to the header that attests it.
//!
//! Serving: [`wishes`] ask the execute stage for a checkpoint at a boundary; behind its commit it becomes a [`snapshot`], files that the [`service`]
//! answers from; [`side`] holds all that for a node, [`after`] is what happens behind a checkpoint. [`changes`] keeps what shows each change of the validator set; [`headers`] reads the rest from the logs.
//!
//! Joining: [`client`] asks over an [`exchange`] of [`message`]s on [`links`], [`install`] writes the node's checkpoint, and [`floor`] tells agreement where to go
//! on. From there the start is the usual one.

pub mod after;
pub mod changes;
pub mod chunk;
pub mod client;
pub mod exchange;
pub mod floor;
pub mod headers;
pub mod install;
pub mod links;
pub mod manifest;
pub mod message;
pub mod proof;
pub mod service;
pub mod side;
pub mod snapshot;
#[cfg(test)]
pub(crate) mod tests;
pub mod wishes;

pub use after::AfterCheckpoint;
pub use client::{SyncClient, SyncConfig, SyncError, Synced};
pub use exchange::{PeerKey, Transport};
pub use floor::Floor;
pub use headers::LoggedChain;
pub use install::is_empty;
pub use links::LinkTransport;
pub use proof::CertificateVerifier;
pub use service::{SyncParts, SyncService};
pub use side::SyncSide;
pub use snapshot::SnapshotStore;
pub use wishes::Wishes;
