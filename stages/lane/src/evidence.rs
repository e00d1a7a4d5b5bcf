//! Signed proof that a validator misbehaved.
//!
//! The first two kinds need nothing but their bytes and the chain's genesis hash to be believed; whoever gets them, checks them again.
//!
//! - **Conflicting seals**: two seals by one author at one sequence with different digests. No honest author numbers two batches alike, not even
//!   after a crash.
//! - **Bad batch**: a sealed batch with a valid seal over a body that is no list of transactions, or in which a signature is not valid. Its
//!   author verified it before it sealed it, or did not care.
//! - **Votes**: two messages of consensus that contradict each other. They are opaque here; the crate that speaks consensus checks them.
//!
//! Bytes (little-endian): version 1 (u8), kind (u8); kind 1: two seals of 200; kind 2: index u32, then the sealed batch to the end; kind 3: what
//! u8, length of the first u32, the first, the second to the end.

use tana_types::batch::{Batch, SEAL_BYTES, Seal};
use tana_types::codec::{DecodeError, Reader, Writer};
use tana_types::transaction::Chain;
use tana_verify::{Backend, Item, Mode, NoCache, Verifier};
use thiserror::Error;
use zerocopy::{FromBytes, IntoBytes};

use crate::messages::SEALED_BATCH_BYTES_MAX;

/// The only version of the encoding.
const EVIDENCE_VERSION: u8 = 1;
const KIND_SEALS: u8 = 1;
const KIND_BATCH: u8 = 2;
const KIND_VOTES: u8 = 3;
/// The most bytes of one vote: far above any message of consensus.
const VOTE_BYTES_MAX: usize = 1 << 20;

/// The most bytes of an encoded evidence: two of the largest votes.
pub const EVIDENCE_BYTES_MAX: usize = 7 + 2 * VOTE_BYTES_MAX;
const _: () = assert!(EVIDENCE_BYTES_MAX > 6 + SEALED_BATCH_BYTES_MAX);

/// The index in a bad batch whose body as a whole is no list of transactions.
pub const BAD_BODY: u32 = u32::MAX;

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Two seals at one sequence.
    ConflictingSeals(Box<[Seal; 2]>),
    /// A batch that its author should not have sealed.
    BadBatch {
        /// Seal and body.
        sealed: Vec<u8>,
        /// The transaction whose signature is not valid, or [`BAD_BODY`].
        index: u32,
    },
    /// Messages of consensus that contradict each other.
    Votes {
        /// What they are, in the numbers of the crate that speaks consensus.
        kind: u8,
        /// One of them.
        first: Vec<u8>,
        /// The other one.
        second: Vec<u8>,
    },
}

/// Why an evidence proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EvidenceError {
    /// A seal is not one of this chain.
    #[error(
        "the evidence holds a seal that is not one of this chain ({0}); ask whoever sent it for the original bytes"
    )]
    Form(#[from] DecodeError),
    /// A seal was not signed by its author.
    #[error("the evidence holds a seal that its author did not sign; it proves nothing")]
    Unsigned,
    /// The seals do not contradict each other.
    #[error("the seals are not by one author at one sequence with different digests; they prove nothing")]
    NoConflict,
    /// The batch is good.
    #[error("the batch has no fault at the given place; it proves nothing")]
    NoFault,
    /// Votes are checked elsewhere.
    #[error("votes are checked by the part of the node that speaks consensus, not here")]
    Votes,
}

impl Evidence {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(EVIDENCE_VERSION);
        match self {
            Evidence::ConflictingSeals(seals) => {
                writer.u8(KIND_SEALS).bytes(seals[0].as_bytes()).bytes(seals[1].as_bytes());
            }
            Evidence::BadBatch { sealed, index } => {
                writer.u8(KIND_BATCH).u32(*index).bytes(sealed);
            }
            Evidence::Votes { kind, first, second } => {
                writer.u8(KIND_VOTES).u8(*kind).u32(first.len() as u32).bytes(first).bytes(second);
            }
        }
        writer.finish()
    }

    /// Reads canonical bytes; anything else is refused. What it holds is not believed yet, see [`Evidence::verify`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8("evidence version")? != EVIDENCE_VERSION {
            return Err(DecodeError::Invalid { field: "evidence version", rule: "1" });
        }
        let evidence = match reader.u8("evidence kind")? {
            KIND_SEALS => Evidence::ConflictingSeals(Box::new([read_seal(&mut reader)?, read_seal(&mut reader)?])),
            KIND_BATCH => {
                let index = reader.u32("index")?;
                let sealed = reader.bytes(reader.remaining(), "sealed batch")?;
                if sealed.len() < SEAL_BYTES || sealed.len() > SEALED_BATCH_BYTES_MAX {
                    return Err(DecodeError::Invalid { field: "sealed batch", rule: "a seal and at most 1 MiB" });
                }
                Evidence::BadBatch { sealed: sealed.to_vec(), index }
            }
            KIND_VOTES => {
                let kind = reader.u8("what")?;
                let length = reader.u32("length of the first vote")? as usize;
                if length > VOTE_BYTES_MAX {
                    return Err(DecodeError::Invalid { field: "length of the first vote", rule: "at most 1 MiB" });
                }
                let first = reader.bytes(length, "first vote")?.to_vec();
                if reader.remaining() > VOTE_BYTES_MAX {
                    return Err(DecodeError::Invalid { field: "second vote", rule: "at most 1 MiB" });
                }
                let second = reader.bytes(reader.remaining(), "second vote")?.to_vec();
                Evidence::Votes { kind, first, second }
            }
            _ => return Err(DecodeError::Invalid { field: "evidence kind", rule: "1 to 3" }),
        };
        reader.finish()?;
        Ok(evidence)
    }

    /// Checks the proof from its bytes alone and names the culprit.
    pub fn verify(&self, chain: &Chain) -> Result<[u8; 32], EvidenceError> {
        match self {
            Evidence::ConflictingSeals(seals) => verify_seals(seals, chain),
            Evidence::BadBatch { sealed, index } => verify_batch(sealed, *index, chain),
            Evidence::Votes { .. } => Err(EvidenceError::Votes),
        }
    }
}

fn read_seal(reader: &mut Reader<'_>) -> Result<Seal, DecodeError> {
    let bytes = reader.bytes(SEAL_BYTES, "seal")?;
    Seal::read_from_bytes(bytes).map_err(|_| DecodeError::Invalid { field: "seal", rule: "200 bytes" })
}

fn verify_seals(seals: &[Seal; 2], chain: &Chain) -> Result<[u8; 32], EvidenceError> {
    let [first, second] = seals;
    for seal in seals {
        if &seal.genesis_hash != chain.genesis_hash() {
            return Err(DecodeError::Invalid { field: "seal genesis hash", rule: "that of this chain" }.into());
        }
        if !seal.signature_is_valid() {
            return Err(EvidenceError::Unsigned);
        }
    }
    let same_place = (first.author, first.sequence) == (second.author, second.sequence);
    if same_place && first.digest() != second.digest() { Ok(first.author) } else { Err(EvidenceError::NoConflict) }
}

/// The seal must be as good as any; the fault must be in what it covers.
fn verify_batch(sealed: &[u8], index: u32, chain: &Chain) -> Result<[u8; 32], EvidenceError> {
    let (seal, body) = Seal::decode(sealed, chain)?;
    if !seal.signature_is_valid() {
        return Err(EvidenceError::Unsigned);
    }
    if blake3::hash(body).as_bytes() != &seal.body_hash {
        // Anybody can put other bytes behind a good seal.
        return Err(EvidenceError::NoFault);
    }
    let author = seal.author;
    let mut batch = Batch::default();
    let loads = batch.load_sealed(sealed, chain).is_ok();
    let faulty = match (loads, index) {
        (false, BAD_BODY) => true,
        (true, index) if (index as usize) < batch.len() => !signature_is_valid(&batch, index as usize, chain),
        _ => false,
    };
    if faulty { Ok(author) } else { Err(EvidenceError::NoFault) }
}

/// By the rule that all validators use, on the plainest path.
fn signature_is_valid(batch: &Batch, index: usize, chain: &Chain) -> bool {
    let transaction = batch.transaction(index);
    let item = Item {
        key: &transaction.header().sender,
        message: transaction.body(),
        signature: transaction.signature(),
        hint: u32::MAX,
    };
    let mut verdicts = Vec::new();
    // The reference path draws no random numbers, so the seed does not matter.
    Verifier::new(Backend::Reference, [0; 32]).verify(
        chain.signing_prefix(),
        &[item],
        &NoCache,
        Mode::EachAlone,
        &mut verdicts,
    );
    verdicts.first().copied().unwrap_or(false)
}
