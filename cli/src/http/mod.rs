//! What a node tells over HTTP, for people's eyes, for monitoring and for the sidecar; docs/node-http.md describes every page.
//!
//! [`view`] is what is told, [`telemetry`] and [`sampler`] read it from a running node, [`prometheus`] writes counters as text and [`frames`] events.
//! [`server`] serves them from a thread of its own: [`routes`] says which page is what, [`quorum`], [`propose`] and [`streams`] are the pages that
//! do more than to ask the view, [`answer`] and [`rate`] what they share. [`client`] is the few lines that `tana devnet` asks with.
//!
//! Nothing of it touches a pipeline thread: all that is read are counters, heights and events that the pipeline publishes anyway.

pub mod answer;
pub mod client;
pub mod frames;
pub mod prometheus;
pub mod propose;
pub mod quorum;
pub mod rate;
pub mod routes;
pub mod sampler;
pub mod server;
pub mod streams;
pub mod telemetry;
pub mod view;
