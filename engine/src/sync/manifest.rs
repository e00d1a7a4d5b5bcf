//! What a snapshot is a snapshot of: everything of the state but the accounts, and the nodes by which the accounts are checked.
//!
//! It is the same bytes on every validator, because it holds nothing but the state after an epoch's last block, that block's header and hashes of
//! it. [`StateManifest::check`] shows that it is consistent with itself: all of it then follows from its state root, which a [`super::proof`] ties
//! to the chain.
//!
//! Layout: version 2, header (4 + n), sections 174, meta of the checkpoint (4 + n), node count 4, nodes 32 each.

use tana_execute::{MetaSections, Progress, Validator};
use tana_types::Hash;
use tana_types::codec::{DecodeError, Reader, Writer};
use tana_types::genesis::Genesis;
use tana_types::header::{BlockHeader, HEADER_BYTES_MAX};
use tana_types::state::{STATE_SECTIONS_BYTES, StateSections};
use thiserror::Error;

use super::chunk::{chunk_count, root_of_chunks};

/// The only version of the manifest.
const VERSION: u16 = 1;

/// Why a manifest was refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The bytes break their layout.
    #[error("the manifest cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The small sections of the state cannot be read.
    #[error("the manifest's sections cannot be read: {0}")]
    Sections(#[from] tana_execute::RestoreError),
    /// Its parts contradict each other.
    #[error("the manifest contradicts itself: {0}")]
    Contradiction(&'static str),
}

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateManifest {
    /// The header of the snapshot's height, the last of its epoch.
    pub header: BlockHeader,
    /// What the state root commits to.
    pub sections: StateSections,
    /// The small sections, as a checkpoint keeps them.
    pub meta: Vec<u8>,
    /// The node of each run of accounts, in order.
    pub chunk_roots: Vec<Hash>,
}

/// What a checked manifest says.
#[derive(Debug, Clone)]
pub struct CheckedManifest {
    /// The manifest.
    pub manifest: StateManifest,
    /// The header's hash.
    pub hash: Hash,
    /// The state root that everything in it follows from.
    pub state_root: Hash,
    /// Where execution stands.
    pub progress: Progress,
    /// The validator sets of the snapshot's epoch and of the two behind it, which nothing can change any more.
    pub sets: [Vec<Validator>; 3],
}

impl StateManifest {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let header = self.header.encode();
        let mut writer = Writer::with_capacity(512 + header.len() + self.meta.len() + 32 * self.chunk_roots.len());
        writer.u16(VERSION).u32(header.len() as u32).bytes(&header).bytes(&self.sections.encode());
        writer.u32(self.meta.len() as u32).bytes(&self.meta).u32(self.chunk_roots.len() as u32);
        writer.bytes(self.chunk_roots.as_flattened());
        writer.finish()
    }

    /// Reads canonical bytes; anything else is refused.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u16("version")? != VERSION {
            return Err(DecodeError::Invalid { field: "version", rule: "1" });
        }
        let header = read_header(&mut reader)?;
        let sections = StateSections::decode(reader.bytes(STATE_SECTIONS_BYTES, "sections")?)?;
        let meta_length = reader.u32("meta length")? as usize;
        let meta = reader.bytes(meta_length, "meta")?.to_vec();
        let count = reader.u32("node count")? as usize;
        let (nodes, _) = reader.bytes(count.saturating_mul(32), "nodes")?.as_chunks::<32>();
        reader.finish()?;
        Ok(Self { header, sections, meta, chunk_roots: nodes.to_vec() })
    }

    /// Shows that everything in it follows from its state root, and reads what is in it.
    ///
    /// # Errors
    /// What does not.
    pub fn check(self, genesis: &Genesis) -> Result<CheckedManifest, ManifestError> {
        let refuse = |what| Err(ManifestError::Contradiction(what));
        let (height, hash) = (self.header.height, self.header.hash());
        let epoch_blocks = genesis.rules.epoch_blocks;
        if !height.is_multiple_of(epoch_blocks) || self.sections.height != height {
            return refuse("its height is not that of its sections, or not the last of an epoch");
        }
        let meta = MetaSections::split(&self.meta, genesis)?;
        let sections = &self.sections;
        if meta.account_count != sections.account_count || meta.hashes() != sections_hashes(sections) {
            return refuse("the small sections are not those that the state root commits to");
        }
        if self.chunk_roots.len() != chunk_count(sections.account_count) as usize
            || root_of_chunks(&self.chunk_roots) != sections.accounts_root
        {
            return refuse("the nodes do not make the root of accounts");
        }
        let progress = meta.read_progress()?;
        if progress.height != height || progress.block_hash != hash {
            return refuse("its header is not that of the last executed block");
        }
        let epoch = height / epoch_blocks - 1;
        let set = |epoch| meta.read_validators(genesis, epoch);
        let sets = [set(epoch)?, set(epoch + 1)?, set(epoch + 2)?];
        Ok(CheckedManifest { hash, state_root: sections.root(), progress, sets, manifest: self })
    }
}

impl CheckedManifest {
    /// The snapshot's height.
    pub fn height(&self) -> u64 {
        self.manifest.header.height
    }

    /// Accounts, the sentinel included.
    pub fn account_count(&self) -> u32 {
        self.manifest.sections.account_count
    }
}

/// The hashes of currencies, pending requests, validators and progress.
pub fn sections_hashes(sections: &StateSections) -> [Hash; 4] {
    [sections.currencies_hash, sections.pending_hash, sections.validators_hash, sections.progress_hash]
}

/// Reads a header behind its length.
pub(super) fn read_header(reader: &mut Reader<'_>) -> Result<BlockHeader, DecodeError> {
    let length = reader.u32("header length")? as usize;
    if length > HEADER_BYTES_MAX {
        return Err(DecodeError::Invalid { field: "header length", rule: "at most the largest header" });
    }
    BlockHeader::decode(reader.bytes(length, "header")?)
}

/// Writes a header behind its length.
pub(super) fn write_header(writer: &mut Writer, header: &BlockHeader) {
    let bytes = header.encode();
    writer.u32(bytes.len() as u32).bytes(&bytes);
}
