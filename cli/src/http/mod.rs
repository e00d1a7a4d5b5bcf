//! What a node tells over HTTP, for people's eyes and for monitoring: `GET /health`, `/peers` and `/metrics`.
//!
//! [`view`] is what is told, [`telemetry`] reads it from a running node, [`prometheus`] writes counters as text, [`server`] serves them
//! from a thread of its own, and [`client`] is the few lines that `tana devnet` asks with. Nothing of it touches a pipeline thread: all
//! that is read are counters and heights that the pipeline publishes anyway.

pub mod client;
pub mod prometheus;
pub mod server;
pub mod telemetry;
pub mod view;
