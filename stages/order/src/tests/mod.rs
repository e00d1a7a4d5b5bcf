//! Tests of this crate as a whole.
#![allow(clippy::unwrap_used)]

mod epochs;
mod network;
mod propose;
mod solo;
mod support;
mod verify;
