//! Deterministic simulation of validators: the real lanes, chain rules, execution, tree of accounts and core of agreement, on the library's
//! deterministic runtime and simulated network, with disks that lose what was not synced, machines that fail at any moment, and
//! validators that lie. A seed says everything; the same seed is the same run, bit for bit.
//!
//! Read in this order: [`world`] (a simulation from start to end), [`faults`] (what a seed draws), [`node`] and [`replica`] (a validator
//! behind agreement), [`disk`], [`byzantine`], [`load`], [`checks`] (what must hold). The network is a package of its own, [`tana_sim_network`].

pub mod byzantine;
pub mod chain;
pub mod checks;
pub mod disk;
pub mod faults;
pub mod history;
pub mod ledger;
pub mod load;
pub mod node;
pub mod replica;
pub mod world;

pub use world::{Report, run};
