//! What a node's files say, over HTTP: blocks, transactions, accounts, proofs, and feeds of what is new.

pub mod api;
pub mod chain;
