//! tx-gen
pub mod accounts;
mod chunk;
pub mod load;
pub mod plan;
mod random;
mod schedule;
pub mod signer;
#[cfg(test)]
mod testing;
mod zipf;
