//! tx-gen
pub mod accounts;
mod chunk;
pub mod config;
mod connection;
mod cursor;
pub mod file;
pub mod flood;
pub mod load;
pub mod plan;
mod random;
pub mod recorder;
pub mod report;
mod schedule;
pub mod signer;
#[cfg(test)]
mod testing;
mod zipf;

pub use config::{FloodConfig, FloodError, Pace, StopHandle};
pub use flood::{Flood, Tick};
pub use load::{Load, LoadError, Progress, Stage, sign_load};
pub use plan::{LoadPlan, PlanError, Shares};
pub use report::{Ended, Failure, FailureKind, Report};
