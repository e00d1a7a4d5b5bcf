//! The visualizer: what all validators do, as one stream for everybody who looks.
//!
//! ```text
//! registry ──▶ nodes ──┐                        ┌──▶ ws: a snapshot, then deltas, to each client
//!                      ├─▶ model ─▶ publish ────┤
//! validators ─▶ source ┘   (pure)   (once)      └──▶ /api/network
//! ```
//!
//! [`frame`] is what is sent (docs/visualizer.md), `model` makes it, `nodes` and `source` feed it, [`page`] serves the page that shows it, and
//! [`chaos`] takes orders for faults in devnets. Changes are gathered for at most [`GATHER`], so that a client hears of anything within 100 ms.

mod diff;
mod events;
mod hub;
mod interest;
mod model;
mod nodes;
mod publish;
mod rate;
mod registry;
mod report;
mod source;
mod sse;
mod telemetry;
mod tracked;
mod votes;
mod ws;

pub mod chaos;
pub mod frame;
pub mod page;

pub use chaos::{Chaos, ChaosError, DevnetToken, Done, chaos_router, chaos_routes};
pub use hub::{CLIENTS_MAX, GATHER, Options, StartError, Visualizer};
pub use nodes::Nodes;
pub use page::{PageOptions, page_router};
pub use registry::RegistryNodes;
pub use ws::Origins;
