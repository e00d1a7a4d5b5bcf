//! What a state root commits to: everything that execution reads, section by section, so that nothing can be forged in a state sync.
//!
//! The state root is BLAKE3 in keyed mode under [`STATE_CONTEXT`] over the encoded [`StateSections`] (174 bytes). A client that holds a state
//! root checks an account by the sections and the account's path in the tree of accounts.

use crate::Hash;
use crate::codec::{DecodeError, Reader, Writer, invalid};

/// The key of the state root is the BLAKE3 hash of this text.
pub const STATE_CONTEXT: &str = "tana state root v1";
/// Bytes of the encoded sections: version 2, height 8, account count 4, five hashes of 32.
pub const STATE_SECTIONS_BYTES: usize = 2 + 8 + 4 + 5 * 32;

/// The parts of the state, each by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateSections {
    /// The height after which this is the state.
    pub height: u64,
    /// Accounts, the sentinel included; also the number of leaves of the tree.
    pub account_count: u32,
    /// Root of the tree of accounts.
    pub accounts_root: Hash,
    /// Hash of the currencies with the total of each.
    pub currencies_hash: Hash,
    /// Hash of the deposits and withdrawals that wait for the sovereign.
    pub pending_hash: Hash,
    /// Hash of the validator sets: in force, and changes to come.
    pub validators_hash: Hash,
    /// Hash of the lane marks, the last block's timestamp and the running totals.
    pub progress_hash: Hash,
}

impl StateSections {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(STATE_SECTIONS_BYTES);
        writer.u16(1).u64(self.height).u32(self.account_count).bytes(&self.accounts_root).bytes(&self.currencies_hash);
        writer.bytes(&self.pending_hash).bytes(&self.validators_hash).bytes(&self.progress_hash);
        writer.finish()
    }

    /// Reads canonical bytes; anything else is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u16("version")? != 1 {
            return invalid("version", "1");
        }
        let sections = Self {
            height: reader.u64("height")?,
            account_count: reader.u32("account_count")?,
            accounts_root: reader.array("accounts_root")?,
            currencies_hash: reader.array("currencies_hash")?,
            pending_hash: reader.array("pending_hash")?,
            validators_hash: reader.array("validators_hash")?,
            progress_hash: reader.array("progress_hash")?,
        };
        reader.finish()?;
        Ok(sections)
    }

    /// The state root.
    pub fn root(&self) -> Hash {
        *blake3::keyed_hash(blake3::hash(STATE_CONTEXT.as_bytes()).as_bytes(), &self.encode()).as_bytes()
    }
}
