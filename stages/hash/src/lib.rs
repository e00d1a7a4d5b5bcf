//! BLAKE3 for a ledger: many short messages side by side, and Merkle trees over lists of hashes.
//!
//! A validator hashes millions of short messages a second (transactions of about 180 bytes, tree nodes of 128 bytes,
//! account records of 96 bytes). BLAKE3's own parallelism is inside one long message, so that a short message runs at the
//! speed of a single dependent chain: 75-85 ns for 64 bytes. This crate puts sixteen messages next to each other,
//! one in each 32-bit lane of the AVX-512 registers, and reaches 8-10 ns for the same 64 bytes. The result is BLAKE3,
//! bit for bit: machines without AVX-512 compute the same hashes with the `blake3` crate, one at a time.
//!
//! - [`hash`] and [`keyed`]: one message of any length.
//! - [`hash_each`] and [`keyed_each`]: many messages of mixed lengths.
//! - [`keyed_each_fixed`] and [`keyed_each_from`]: many messages of one length, which is known at compile time.
//! - [`list_tree`]: the roots of transaction and receipt lists, with inclusion proofs.
//!
//! Keyed mode separates domains: each use of a hash has its own [`HashKey`], derived from a sentence that names the use.
//!
//! Source: the BLAKE3 paper (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020), sections 2.2-2.4.

mod each;
mod key;
mod lanes;
pub mod list_tree;

pub use each::{hash_each, keyed_each, keyed_each_fixed, keyed_each_from};
pub use key::HashKey;
pub use lanes::{prefetch, prefetch_value};
pub use list_tree::{ListDomain, merkle_proof, merkle_root, merkle_verify};

/// A BLAKE3 hash: 32 bytes.
pub type Hash = [u8; 32];

/// Bytes of a [`Hash`].
pub const HASH_BYTES: usize = 32;

/// Messages that the vector code hashes at once. Batches that are a multiple of this waste nothing.
pub const LANES: usize = lanes::LANES;

/// The BLAKE3 hash of one message of any length.
pub fn hash(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

/// The keyed BLAKE3 hash of one message of any length.
pub fn keyed(key: &HashKey, bytes: &[u8]) -> Hash {
    *blake3::keyed_hash(key.as_bytes(), bytes).as_bytes()
}

/// Name of the code that hashes batches on this machine: `avx512-16` or `portable`.
pub fn backend() -> &'static str {
    if lanes::Lanes::detect().is_some() { "avx512-16" } else { "portable" }
}

#[cfg(test)]
mod tests;
