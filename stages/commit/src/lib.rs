//! Commit: what the block log keeps of an executed block, and when it may be shown.
//!
//! A commit record holds the header, the roots after the block, where its batches lie, one code per transaction and the new records of
//! the accounts that changed: enough for a reader in another process to follow the state without executing anything.
//! A height is acknowledged, published and visible to readers only once its record is durable; [`Watermark`] keeps that order.
//!
//! Layout (little-endian): version 2, height 8, header length 4, state root 32, receipts root 32, sections 174, batch count 4, transaction
//! count 4, changed count 4, overflow bytes 4, header, batch positions 8 each, changed indexes 4 each, codes 1 each, changed records 96 each,
//! overflows (position in the changed list 4, length 4, bytes).

mod record;
#[cfg(test)]
mod tests;
mod watermark;

pub use record::{CommitParts, CommitRecord};
pub use watermark::Watermark;
