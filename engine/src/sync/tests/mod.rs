//! State sync between services and clients in this process: honest peers, liars of every kind, interruptions, changes of the validator set.

#![allow(clippy::unwrap_used)]

mod chunks;
mod joining;
mod liars;
mod messages;
mod network;
mod serving;
pub(crate) mod world;
