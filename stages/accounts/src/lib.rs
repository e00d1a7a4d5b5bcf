//! The account directory: from a key to its dense index, and per index the key, the last nonce and the decoded key.
//!
//! Three stages share one directory without locks. Ingest looks up senders and nonces, verification looks up keys and keeps what it
//! decoded, on many threads; execution, the one writer of state, adds accounts and moves nonces. All of it is safe Rust over atomics:
//!
//! - `store`: accounts lie in chunks that are added and never move, so that a reference taken once stays good.
//! - `table`: a hash table of 8-byte slots finds the index of a key. It grows by a table of twice the size that replaces it at
//!   once; whoever still reads the old one misses the newest accounts and nothing else.
//!
//! Index 0 is the sentinel of the key order. It exists from the start, has the key of zeros, belongs to nobody and is never found.
//!
//! Memory per account: key 32, decoded key 32, nonce 8, slots 11 to 23 (13 when the number expected was right).

mod directory;
mod store;
mod table;

pub use directory::{Directory, DirectoryWriter, View, directory};
pub use store::ACCOUNTS_MAX;

#[cfg(test)]
mod tests;
