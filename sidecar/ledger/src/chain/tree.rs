//! The tree of accounts, at the newest height that a header attests: what proofs are made from, and what shows that the state is right.
//!
//! Not every height is attested, so the tree takes several blocks' changes at once and is then held against the header that names the height.
//! It moves when a header with a certificate comes, because a proof needs one; where none come (consensus is off), or when too much waits,
//! it moves with any header. About 45 bytes per account.

use tana_root::{AccountTree, ExclusionProof, InclusionProof, Leaf, LeafChanges};
use tana_types::Hash;
use tana_types::account::AccountIndex;
use tana_types::header::BlockHeader;
use tana_types::state::StateSections;

use super::accounts::RecordBytes;
use super::state::State;

/// Blocks that may wait for the tree before it moves without a certificate.
const WAITING_BLOCKS_MAX: usize = 64;
/// Bytes of old records that may wait for it.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Headers in a row without a certificate behind which no certificate is expected any more.
const UNCERTIFIED_MAX: u32 = 16;

/// A header with a certificate that attests the tree's height.
#[derive(Debug, Clone)]
pub(crate) struct Attesting {
    /// The header.
    pub header: BlockHeader,
    /// Its certificate.
    pub certificate: Vec<u8>,
}

/// See the module's text.
pub(crate) struct ProofTree {
    tree: AccountTree,
    /// The state that the tree is of.
    sections: StateSections,
    attesting: Option<Attesting>,
    uncertified: u32,
}

/// What changes between the tree's height and another.
pub(crate) struct TreeChanges {
    sections: StateSections,
    indexes: Vec<AccountIndex>,
    records: Vec<RecordBytes>,
    overflows: Vec<(u32, Hash)>,
}

/// What a proof is made of.
pub(crate) enum TreeProof {
    /// The account is there.
    Inclusion(Box<InclusionProof>, Option<Vec<u8>>),
    /// Nobody has the key.
    Exclusion(Box<ExclusionProof>),
}

impl ProofTree {
    /// A tree of a state that was checked against its state root.
    pub(crate) fn new(tree: AccountTree, sections: StateSections) -> Self {
        Self { tree, sections, attesting: None, uncertified: 0 }
    }

    /// The height of the tree.
    pub(crate) fn height(&self) -> u64 {
        self.sections.height
    }

    /// What the state root of that height commits to.
    pub(crate) fn sections(&self) -> &StateSections {
        &self.sections
    }

    /// The header with a certificate that attests that height, when one came.
    pub(crate) fn attesting(&self) -> Option<&Attesting> {
        self.attesting.as_ref()
    }

    /// Whether the tree should move to the height that this header attests.
    pub(crate) fn wants(&mut self, header: &BlockHeader, has_certificate: bool, state: &State) -> bool {
        self.uncertified = if has_certificate { 0 } else { self.uncertified.saturating_add(1) };
        let waits_too_long = state.undo().len() > WAITING_BLOCKS_MAX || state.undo_bytes() > WAITING_BYTES_MAX;
        header.executed_height >= self.sections.height
            && (has_certificate || waits_too_long || self.uncertified >= UNCERTIFIED_MAX)
    }

    /// What leads from the tree's height to `height`; none when it is the same one, or not known.
    pub(crate) fn changes(&self, height: u64, state: &State) -> Option<TreeChanges> {
        let from = self.sections.height;
        let passed = || state.undo().iter().filter(move |undo| undo.height > from && undo.height <= height);
        let sections = passed().find(|undo| undo.height == height)?.sections;
        let mut indexes: Vec<AccountIndex> = passed().flat_map(|undo| undo.changed.iter().copied()).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let (mut records, mut overflow_places, mut overflow_bytes) =
            (Vec::with_capacity(indexes.len()), Vec::new(), Vec::new());
        for index in &indexes {
            let record = state.record_at(*index, height)?;
            if let Some(bytes) = state.overflow_at(*index, height) {
                overflow_places.push(records.len() as u32);
                overflow_bytes.push(bytes);
            }
            records.push(*record);
        }
        let mut hashes = vec![[0; 32]; overflow_bytes.len()];
        tana_hash::hash_each(&overflow_bytes, &mut hashes);
        let overflows = overflow_places.into_iter().zip(hashes).collect();
        Some(TreeChanges { sections, indexes, records, overflows })
    }

    /// Takes changes in.
    ///
    /// # Errors
    /// When the accounts' root that comes out is not the one that the record has.
    pub(crate) fn apply(&mut self, changes: &TreeChanges) -> Result<(), String> {
        let leaves =
            LeafChanges { indexes: &changes.indexes, records: &changes.records, overflows: &changes.overflows };
        let root = self.tree.update(&leaves, None).map_err(|error| error.to_string())?;
        let sections = &changes.sections;
        if root != sections.accounts_root || self.tree.len() != u64::from(sections.account_count) {
            return Err(format!(
                "height {}: the accounts give the root {}, but the block's record has {}",
                sections.height,
                hex::encode(root),
                hex::encode(sections.accounts_root)
            ));
        }
        (self.sections, self.attesting) = (*sections, None);
        Ok(())
    }

    /// Holds the tree's height against a header that attests it.
    ///
    /// # Errors
    /// When the header names another state root.
    pub(crate) fn attest(&mut self, header: &BlockHeader, certificate: &[u8]) -> Result<(), String> {
        let own = self.sections.root();
        if header.executed_height != self.sections.height || header.state_root != own {
            return Err(format!(
                "block {} attests the state root {} for height {}, but here it is {}",
                header.height,
                hex::encode(header.state_root),
                header.executed_height,
                hex::encode(own)
            ));
        }
        if self.attesting.is_none() && !certificate.is_empty() {
            self.attesting = Some(Attesting { header: header.clone(), certificate: certificate.to_vec() });
        }
        Ok(())
    }

    /// The proof about a key at the tree's height; `state` may be further.
    pub(crate) fn prove(&self, key: &[u8; 32], state: &State) -> Option<TreeProof> {
        let (height, count) = (self.sections.height, self.sections.account_count);
        let index = state.at_or_before_at(key, count);
        let lower = self.leaf(index, height, state)?;
        if index != 0 && lower.leaf.key() == *key {
            let overflow = state.overflow_at(index, height).map(<[u8]>::to_vec);
            return Some(TreeProof::Inclusion(Box::new(lower), overflow));
        }
        let upper = match lower.leaf.next() {
            Some(next) => Some(self.leaf(next, height, state)?),
            None => None,
        };
        Some(TreeProof::Exclusion(Box::new(ExclusionProof { lower, upper })))
    }

    fn leaf(&self, index: AccountIndex, height: u64, state: &State) -> Option<InclusionProof> {
        let record = *state.record_at(index, height)?;
        let overflow = state.overflow_at(index, height).map(tana_hash::hash);
        Some(InclusionProof { index, leaf: Leaf { record, overflow }, path: self.tree.prove(index)? })
    }
}
