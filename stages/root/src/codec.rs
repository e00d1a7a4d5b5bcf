//! Bytes of a proof, for wire and disk.
//!
//! ```text
//! inclusion   version 1 | kind 1 | account
//! exclusion   version 1 | kind 2 | account (lower) | 0, or 1 and account (upper)
//! account     index u32 | record 96 bytes | 0, or 1 and overflow hash 32 bytes | levels u8 (0..=16) | levels x 3 hashes
//! ```
//!
//! Integers are little-endian; version, kind, marks and levels are one byte each. Decoding is strict: every proof has exactly one
//! encoding, anything else is refused, bytes after the end too. A count is checked before memory is taken for it, so that
//! garbage costs at most [`PROOF_BYTES_MAX`].

use tana_hash::{HASH_BYTES, Hash};

use crate::HEIGHT_MAX;
use crate::leaf::{Leaf, RECORD_BYTES};
use crate::proof::{ExclusionProof, InclusionProof, Siblings};

const VERSION: u8 = 1;
const KIND_INCLUSION: u8 = 1;
const KIND_EXCLUSION: u8 = 2;
const MARK_ABSENT: u8 = 0;
const MARK_PRESENT: u8 = 1;

/// Bytes of one level of a path.
const LEVEL_BYTES: usize = 3 * HASH_BYTES;

/// Most bytes of one account: index, record, mark, overflow, levels, path.
const ACCOUNT_BYTES_MAX: usize = 4 + RECORD_BYTES + 1 + HASH_BYTES + 1 + HEIGHT_MAX * LEVEL_BYTES;

/// Most bytes of an encoded proof: an exclusion of two full accounts, 3343.
pub const PROOF_BYTES_MAX: usize = 2 + ACCOUNT_BYTES_MAX + 1 + ACCOUNT_BYTES_MAX;

/// Why bytes are not a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("the proof ends too early, at byte {length}; it was cut off on the way")]
    Truncated {
        /// Length of the bytes.
        length: usize,
    },
    /// Bytes follow the end.
    #[error("{extra} bytes follow the end of the proof; give the decoder one proof exactly")]
    Trailing {
        /// Bytes after the end.
        extra: usize,
    },
    /// The version is not 1.
    #[error("the proof has version {version}, this program reads version {VERSION}; use a program of the same release")]
    Version {
        /// The version byte.
        version: u8,
    },
    /// The proof is of the other kind, or of none.
    #[error("the proof is of kind {kind}, expected {expected} (1 is inclusion, 2 is exclusion)")]
    Kind {
        /// The kind byte.
        kind: u8,
        /// The kind that was to be decoded.
        expected: u8,
    },
    /// A mark is neither 0 nor 1.
    #[error("byte {offset} must be 0 (absent) or 1 (present) and is {mark}")]
    Mark {
        /// Where the mark stands.
        offset: usize,
        /// The byte there.
        mark: u8,
    },
    /// More levels than any tree has.
    #[error("the proof claims {levels} levels, a tree has at most {HEIGHT_MAX}")]
    Levels {
        /// The number claimed.
        levels: u8,
    },
}

impl InclusionProof {
    /// The proof's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, KIND_INCLUSION];
        encode_account(self, &mut bytes);
        bytes
    }

    /// A proof from its bytes. It still has to be verified.
    ///
    /// # Errors
    /// If the bytes are not exactly one encoded inclusion proof.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, KIND_INCLUSION)?;
        let proof = reader.account()?;
        reader.finish(proof)
    }
}

impl ExclusionProof {
    /// The proof's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, KIND_EXCLUSION];
        encode_account(&self.lower, &mut bytes);
        match &self.upper {
            None => bytes.push(MARK_ABSENT),
            Some(upper) => {
                bytes.push(MARK_PRESENT);
                encode_account(upper, &mut bytes);
            }
        }
        bytes
    }

    /// A proof from its bytes. It still has to be verified.
    ///
    /// # Errors
    /// If the bytes are not exactly one encoded exclusion proof.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, KIND_EXCLUSION)?;
        let lower = reader.account()?;
        let upper = if reader.mark()? { Some(reader.account()?) } else { None };
        reader.finish(Self { lower, upper })
    }
}

fn encode_account(proof: &InclusionProof, bytes: &mut Vec<u8>) {
    // Proofs of more levels than a tree has cannot be verified either; cutting them keeps every encoding decodable.
    let path = &proof.path[..proof.path.len().min(HEIGHT_MAX)];
    bytes.extend_from_slice(&proof.index.to_le_bytes());
    bytes.extend_from_slice(&proof.leaf.record);
    match &proof.leaf.overflow {
        None => bytes.push(MARK_ABSENT),
        Some(overflow) => {
            bytes.push(MARK_PRESENT);
            bytes.extend_from_slice(overflow);
        }
    }
    bytes.push(path.len() as u8);
    bytes.extend_from_slice(path.as_flattened().as_flattened());
}

/// Takes fields off the front of the bytes.
struct Reader<'a> {
    length: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader behind version and kind, which are checked.
    fn new(bytes: &'a [u8], expected: u8) -> Result<Self, DecodeError> {
        let mut reader = Self { length: bytes.len(), rest: bytes };
        let [version] = reader.take()?;
        if version != VERSION {
            return Err(DecodeError::Version { version });
        }
        let [kind] = reader.take()?;
        if kind != expected {
            return Err(DecodeError::Kind { kind, expected });
        }
        Ok(reader)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (field, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated { length: self.length })?;
        self.rest = rest;
        Ok(*field)
    }

    fn mark(&mut self) -> Result<bool, DecodeError> {
        let offset = self.length - self.rest.len();
        match self.take()? {
            [MARK_ABSENT] => Ok(false),
            [MARK_PRESENT] => Ok(true),
            [mark] => Err(DecodeError::Mark { offset, mark }),
        }
    }

    fn account(&mut self) -> Result<InclusionProof, DecodeError> {
        let index = u32::from_le_bytes(self.take()?);
        let record = self.take()?;
        let overflow: Option<Hash> = if self.mark()? { Some(self.take()?) } else { None };
        let [levels] = self.take()?;
        if usize::from(levels) > HEIGHT_MAX {
            return Err(DecodeError::Levels { levels });
        }
        let path = (0..levels).map(|_| Ok([self.take()?, self.take()?, self.take()?]));
        let path: Vec<Siblings> = path.collect::<Result<_, DecodeError>>()?;
        Ok(InclusionProof { index, leaf: Leaf { record, overflow }, path })
    }

    fn finish<T>(self, proof: T) -> Result<T, DecodeError> {
        match self.rest.len() {
            0 => Ok(proof),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }
}
