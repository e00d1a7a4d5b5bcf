//! Keys that separate the uses of a hash.
//!
//! Two uses of BLAKE3 under different keys are unrelated functions, so that an account record can never be taken for a
//! tree node, however its bytes are chosen. The keys are public: they are hashes of a sentence that names the use,
//! and any implementation can compute them again from that sentence.

use crate::Hash;

/// The 32-byte key of one use of keyed BLAKE3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKey([u8; 32]);

impl HashKey {
    /// The key for the use that `context` names: the plain BLAKE3 hash of its bytes.
    pub fn from_context(context: &'static str) -> Self {
        Self(crate::hash(context.as_bytes()))
    }

    /// A key from its 32 bytes.
    pub const fn from_bytes(bytes: Hash) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
