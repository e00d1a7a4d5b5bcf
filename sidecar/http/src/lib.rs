//! What every page of the sidecar shares: how signatures and errors look, tokens and who is let in by one, limits, and a server that stops.

pub mod clock;
pub mod error;
pub mod guard;
pub mod limits;
pub mod routes;
pub mod server;
pub mod signature;
pub mod token;
