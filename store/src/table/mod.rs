//! Segment tables: immutable sorted files from a 64-bit key to 64-bit values.
//!
//! When a log segment is sealed, one table per question is built in the background: the first 8 bytes of a transaction's id to its
//! position, an account's index to the positions of its transactions. A key may have many values and, being a prefix, may
//! belong to two things: the caller compares what stands at the position.
//!
//! A file is header, entry blocks, index and filter (see `format`). A look-up asks the filter (one read of 64 bytes; about 98 of 100
//! absent keys end there), searches the index in memory (one entry per block), and reads the block or blocks that can hold the
//! key. Only positional reads, so the page cache is the cache, and every block carries its checksum.
//!
//! A table is written under a temporary name, synced and renamed: under its own name it is whole or it is damaged.

mod builder;
mod filter;
mod format;
mod reader;
mod runs;
#[cfg(test)]
mod tests;

pub use builder::TableBuilder;
pub use format::ENTRIES_MAX;
pub use reader::{LOOKUP_MAX, Table};
