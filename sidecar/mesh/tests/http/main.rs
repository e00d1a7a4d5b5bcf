//! The registry as a stranger, a node and the sovereign see it: over real HTTP, every endpoint, right and wrong.
#![allow(clippy::unwrap_used)]

mod decide;
mod heartbeat;
mod life;
mod mesh;
mod read;
mod register;
mod routes;
mod sovereign;
mod update;
