//! Deterministic simulation of validators.

pub mod byzantine;
pub mod chain;
pub mod checks;
pub mod dice;
pub mod disk;
pub mod ledger;
pub mod load;
pub mod replica;
