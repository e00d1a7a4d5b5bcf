//! The load generator: signs transactions ahead, floods a node with them over QUIC, and measures what becomes of them.
//!
//! As a library it has three steps, which `bench/throughput` and the `tx-gen` binary share:
//!
//! 1. a [`LoadPlan`] says what to send: how many transactions, of which accounts, with which share of bad ones;
//! 2. [`sign_load`] makes a [`Load`] of it on all cores: frames ready to send, the same for the same seed; [`file`] keeps it;
//! 3. [`Flood::run`] sends it as a [`FloodConfig`] says and returns a [`Report`], which becomes JSON, a [`summary`] or a
//!    page ([`html`]).
//!
//! # Invariants
//! - Sending is never what is measured: nothing is signed, allocated or copied per transaction while a flood runs, and answers
//!   are recorded by runs, not one by one.
//! - Latency in an open loop counts from the planned moment, so a node that stalls cannot hide it.
//! - Nothing is tried for ever: reconnects, silence and hopeless floods end with a cause.

pub mod accounts;
mod chart;
mod chunk;
pub mod config;
mod connection;
mod cursor;
pub mod file;
pub mod flood;
pub mod html;
pub mod load;
pub mod plan;
pub mod probe;
mod random;
pub mod recorder;
pub mod report;
mod schedule;
pub mod signer;
pub mod summary;
#[cfg(test)]
mod testing;
mod zipf;

pub use config::{FloodConfig, FloodError, Pace, StopHandle, Target};
pub use flood::{Flood, Tick};
pub use load::{Load, LoadError, Progress, Stage, sign_load};
pub use plan::{LoadPlan, PlanError, Shares};
pub use report::{Ended, Failure, FailureKind, Report};
