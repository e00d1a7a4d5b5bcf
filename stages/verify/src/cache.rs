//! Decoded keys between batches.
//!
//! Decoding a key means a square root, a fifth of a whole verification. An account's key never changes, so the caller
//! keeps the result beside the account: 32 bytes, the x coordinate; y is in the key itself. A verifier checks that what it
//! gets back is a point of the curve with the key's sign, so that a damaged or mixed-up cache costs time, never a wrong
//! verdict.

/// What is worth keeping of a key: everything but its own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodedKey {
    /// The x coordinate, canonical (below 2^255 - 19), 32 bytes, little-endian. The y coordinate is the key's lower 255
    /// bits modulo 2^255 - 19.
    pub x: [u8; 32],
}

/// Where a verifier looks for decoded keys and leaves the ones that it decoded. The implementation bounds its own size.
pub trait KeyCache {
    /// The decoded form of `key`, if it is there. `hint` is the account index of [`crate::Item::hint`], `u32::MAX` for
    /// none. Called once per distinct key of a batch.
    fn get(&self, hint: u32, key: &[u8; 32]) -> Option<DecodedKey>;

    /// Offers the decoded form of `key`; it may be dropped. The signature under the key is **not** yet verified: a cache
    /// that must not be filled by strangers drops what comes without a hint.
    fn put(&self, hint: u32, key: &[u8; 32], decoded: &DecodedKey);
}

/// Remembers nothing: every key is decoded in every batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCache;

impl KeyCache for NoCache {
    fn get(&self, _hint: u32, _key: &[u8; 32]) -> Option<DecodedKey> {
        None
    }

    fn put(&self, _hint: u32, _key: &[u8; 32], _decoded: &DecodedKey) {}
}
