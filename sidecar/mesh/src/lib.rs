//! The registry of a network's nodes, and what a node does to stay in it.
//!
//! - [`registry`]: the registry itself; [`routes`] is its HTTP side, [`wire`] what travels, `docs/mesh.md` the reference.
//! - [`chain`]: what it asks of a chain; [`change`]: the feed of what changes in it.
//! - [`agent`]: what speaks for a node to a registry, and a client of one.
//! - [`store`]: its database; [`config`]: what the environment says of it; [`limits`]: every bound.
//!
//! # Invariants
//! - Nothing changes without a signature over a text that says what, about whom and when, and counts once.
//! - Registrations, approvals and denials are on disk before they are answered.
//! - Heartbeats never wait for a disk, and no lock is held while a signature is checked.

pub mod agent;
pub mod chain;
pub mod change;
pub mod check;
pub mod config;
pub mod limits;
pub mod node;
pub mod registry;
pub mod routes;
mod signed;
mod state;
pub mod store;
pub mod wire;
mod writer;

pub use chain::{FixedSovereigns, Members, Sovereigns, ValidatorSet};
pub use change::{Change, ChangeKind, Snapshot};
pub use config::MeshOverrides;
pub use registry::{Page, Registry};
pub use routes::{router, routes};
