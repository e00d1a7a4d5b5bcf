//! The data of the ledger: every layout that travels, is signed, hashed or stored, and nothing that acts on it.
//!
//! Read in this order: [`key`] and [`amount`] (the words), [`transaction`] with [`payload`] (what users sign), [`batch`] (the unit of
//! work), [`header`] (what validators agree on), [`code`] (how a transaction ends), [`account`] and [`state`] (what execution changes
//! and what a root commits to), [`genesis`] (where a chain begins).
//!
//! All layouts are little-endian, carry a version, and are decoded with every length checked before it is used. Signatures are made
//! over a domain tag, the genesis hash and the content, so that nothing signed for one purpose or chain is valid for another.

pub mod account;
pub mod amount;
pub mod batch;
pub mod bulk;
pub mod code;
pub mod codec;
pub mod currency;
pub mod genesis;
pub mod header;
pub mod key;
pub mod payload;
pub mod query;
pub mod state;
pub mod transaction;
pub mod username;

/// A 32-byte BLAKE3 hash.
pub type Hash = [u8; 32];
