//! Why a snapshot is the chain's: certificates from a validator set that the asker trusts up to the block that attests the snapshot's state root.
//!
//! What the rules of the chain give:
//! - Epoch `k` has the heights `k * E + 1 ..= (k + 1) * E`. Its set is fixed by what epochs up to `k - 2` executed.
//! - Every epoch's last height is attested by exactly itself, by a block of the next epoch at the latest.
//! - An epoch's last block has a certificate of its own.
//!
//! So one who knows the set of epoch `k` learns that of `k + 1` by a [`SetStep`]: a block of epoch `k` that attests the last height of `k - 1`, the
//! certificate of a block that descends from it in the same epoch, the sections of that state, and the section that holds the validators. Epochs
//! whose set is that of the epoch before need no step: a set speaks until it hands over. Whoever trusts a set trusts it for as long as its keys are
//! not stolen; a node that is afraid of old keys is given a recent height and hash by its operator ([`Anchor`]).
//!
//! The last step is the [`Attestation`] of the snapshot itself: the blocks behind it up to one that attests it and on to one with a
//! certificate, and the certificate of the snapshot's own block, which agreement starts from.

use tana_execute::{Validator, hash_set, read_validators};
use tana_order::ExecutedRoots;
use tana_types::Hash;
use tana_types::codec::{DecodeError, Reader, Writer};
use tana_types::genesis::{Genesis, VALIDATORS_MAX};
use tana_types::header::BlockHeader;
use tana_types::state::{STATE_SECTIONS_BYTES, StateSections};
use thiserror::Error;

use super::manifest::{CheckedManifest, read_header, write_header};

/// The only version of proofs and anchors.
const VERSION: u16 = 1;
/// The most bytes of a certificate: a signature, a key and some bits for each of 256 validators, and room.
pub const CERTIFICATE_BYTES_MAX: usize = 64 << 10;
/// The most headers of one chain: as far as execution may be behind, many times over.
pub const CHAIN_HEADERS_MAX: usize = 4_096;
/// The most changes of the set that one proof leads over.
pub const STEPS_MAX: usize = 65_536;
/// The most bytes of the validators' section: a set and as many changes as may wait.
const VALIDATORS_BYTES_MAX: usize = 8 + (32 + 256) * VALIDATORS_MAX + (41 + 256) * tana_execute::VALIDATOR_CHANGES_MAX;

/// Checks certificates of finalized blocks; agreement implements it.
pub trait CertificateVerifier: Send + Sync {
    /// Whether `certificate` says that more than two thirds of `set` (keys in the set's order) finalized the block `hash` in `epoch`.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    fn verify(&self, epoch: u64, set: &[[u8; 32]], hash: &Hash, certificate: &[u8]) -> Result<(), String>;
}

/// Why a proof was refused.
#[derive(Debug, Error)]
pub enum ProofError {
    /// The bytes break their layout.
    #[error("the proof cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The validators' section cannot be read.
    #[error("the proof's validators cannot be read: {0}")]
    Validators(#[from] tana_execute::RestoreError),
    /// A rule does not hold.
    #[error("the proof does not hold for epoch {epoch}: {rule}")]
    Rule {
        /// The epoch whose step was checked.
        epoch: u64,
        /// What does not hold.
        rule: &'static str,
    },
    /// A certificate does not hold.
    #[error("the certificate of epoch {epoch} does not hold: {reason}")]
    Certificate {
        /// The epoch of the block that it is for.
        epoch: u64,
        /// What the verifier said.
        reason: String,
    },
}

/// Headers that follow each other, the last one with its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalChain {
    /// Ascending, each the parent of the next; not empty.
    pub headers: Vec<BlockHeader>,
    /// The certificate of the last.
    pub certificate: Vec<u8>,
}

impl FinalChain {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u32(self.headers.len() as u32);
        self.headers.iter().for_each(|header| write_header(writer, header));
        write_certificate(writer, &self.certificate);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.u32("header count")? as usize;
        if count == 0 || count > CHAIN_HEADERS_MAX {
            return Err(DecodeError::Invalid { field: "header count", rule: "1 to 4,096" });
        }
        let headers = (0..count).map(|_| read_header(reader)).collect::<Result<_, _>>()?;
        Ok(Self { headers, certificate: read_certificate(reader)? })
    }

    /// All headers are of `epoch`, follow each other, and `set` finalized the last.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(
        &self,
        epoch: u64,
        set: &[Validator],
        epoch_blocks: u64,
        verifier: &dyn CertificateVerifier,
    ) -> Result<(), ProofError> {
        let rule = |rule| Err(ProofError::Rule { epoch, rule });
        let mut before: Option<(u64, Hash)> = None;
        for header in &self.headers {
            let follows = before.is_none_or(|(height, hash)| header.height == height + 1 && header.parent == hash);
            if !follows || header.epoch != epoch || (header.height - 1) / epoch_blocks != epoch {
                return rule("the headers are not of this epoch, each the parent of the next");
            }
            before = Some((header.height, header.hash()));
        }
        let Some((_, hash)) = before else { return rule("there is a header") };
        check_certificate(epoch, set, &hash, &self.certificate, verifier)
    }
}

fn check_certificate(
    epoch: u64,
    set: &[Validator],
    hash: &Hash,
    certificate: &[u8],
    verifier: &dyn CertificateVerifier,
) -> Result<(), ProofError> {
    let keys: Vec<[u8; 32]> = set.iter().map(|member| member.key.0).collect();
    verifier.verify(epoch, &keys, hash, certificate).map_err(|reason| ProofError::Certificate { epoch, reason })
}

/// One change of the validator set, told by the set before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetStep {
    /// The state after the last block of the epoch before, by its sections.
    pub sections: StateSections,
    /// The section that holds the validators, as its hash in `sections` has it.
    pub validators: Vec<u8>,
    /// From the block that attests that state on.
    pub chain: FinalChain,
}

impl SetStep {
    /// The epoch whose set it gives.
    pub fn next_epoch(&self) -> u64 {
        self.chain.headers.first().map_or(0, |header| header.epoch.saturating_add(1))
    }

    /// Writes the canonical bytes.
    pub fn encode(&self, writer: &mut Writer) {
        writer.bytes(&self.sections.encode()).u32(self.validators.len() as u32).bytes(&self.validators);
        self.chain.encode(writer);
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let sections = StateSections::decode(reader.bytes(STATE_SECTIONS_BYTES, "sections")?)?;
        let length = reader.u32("validators length")? as usize;
        if length > VALIDATORS_BYTES_MAX {
            return Err(DecodeError::Invalid { field: "validators length", rule: "at most the largest section" });
        }
        let validators = reader.bytes(length, "validators")?.to_vec();
        Ok(Self { sections, validators, chain: FinalChain::decode(reader)? })
    }

    /// The set of the next epoch, when `set` is that of this step's epoch.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(
        &self,
        set: &[Validator],
        genesis: &Genesis,
        verifier: &dyn CertificateVerifier,
    ) -> Result<Vec<Validator>, ProofError> {
        let Some(first) = self.chain.headers.first() else {
            return Err(ProofError::Rule { epoch: 0, rule: "there is a header" });
        };
        let epoch = first.epoch;
        let rule = |rule| Err(ProofError::Rule { epoch, rule });
        self.chain.check(epoch, set, genesis.rules.epoch_blocks, verifier)?;
        let boundary = epoch.checked_mul(genesis.rules.epoch_blocks);
        if boundary != Some(first.executed_height) || first.executed_height == 0 {
            return rule("its first block does not attest the last height of the epoch before");
        }
        let sections = &self.sections;
        if sections.height != first.executed_height
            || sections.root() != first.state_root
            || tana_execute::validators_hash(&self.validators) != sections.validators_hash
        {
            return rule("its sections are not those of the attested state root");
        }
        if read_validators(&self.validators, genesis, epoch)? != set {
            return rule("the attested state knows another set for this epoch");
        }
        Ok(read_validators(&self.validators, genesis, epoch + 1)?)
    }
}

/// The blocks behind a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// From the block behind the snapshot's on, over the one that attests it, to one with a certificate. All of the next epoch.
    pub chain: FinalChain,
    /// The certificate of the snapshot's own block.
    pub certificate: Vec<u8>,
}

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustProof {
    /// Every change of the set behind the trusted epoch, in order.
    pub steps: Vec<SetStep>,
    /// The snapshot's own.
    pub attestation: Attestation,
}

/// What a checked proof gives beside trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Roots that the blocks right behind the snapshot may attest, ascending; the last are the snapshot's own.
    pub roots: Vec<ExecutedRoots>,
}

/// A validator set and the first epoch in which it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedSet {
    /// The epoch.
    pub epoch: u64,
    /// The set.
    pub set: Vec<Validator>,
}

impl TrustedSet {
    /// The genesis' own.
    pub fn of_genesis(genesis: &Genesis) -> Self {
        let member = |entry: &tana_types::genesis::GenesisValidator| Validator {
            key: entry.key,
            address: entry.address.clone(),
        };
        Self { epoch: 0, set: genesis.validators.iter().map(member).collect() }
    }
}

impl TrustProof {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(4_096);
        writer.u16(VERSION).u32(self.steps.len() as u32);
        self.steps.iter().for_each(|step| step.encode(&mut writer));
        self.attestation.chain.encode(&mut writer);
        write_certificate(&mut writer, &self.attestation.certificate);
        writer.finish()
    }

    /// Reads canonical bytes; anything else is refused.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        read_version(&mut reader)?;
        let count = reader.u32("step count")? as usize;
        if count > STEPS_MAX {
            return Err(DecodeError::Invalid { field: "step count", rule: "at most 65,536" });
        }
        let steps = (0..count).map(|_| SetStep::decode(&mut reader)).collect::<Result<_, _>>()?;
        let chain = FinalChain::decode(&mut reader)?;
        let attestation = Attestation { chain, certificate: read_certificate(&mut reader)? };
        reader.finish()?;
        Ok(Self { steps, attestation })
    }

    /// Leads from `trusted` to the state root of `snapshot`.
    ///
    /// # Errors
    /// Where it does not.
    pub fn check(
        &self,
        trusted: TrustedSet,
        snapshot: &CheckedManifest,
        genesis: &Genesis,
        verifier: &dyn CertificateVerifier,
    ) -> Result<Proven, ProofError> {
        let epoch = snapshot.height() / genesis.rules.epoch_blocks - 1;
        let rule = |rule| Err(ProofError::Rule { epoch, rule });
        let mut sets = vec![trusted];
        for step in &self.steps {
            let Some(last) = sets.last() else { break };
            let (from, next_epoch) = (last.epoch, step.next_epoch());
            if next_epoch <= from || next_epoch > epoch + 1 {
                return rule("its changes of the set are not ascending, up to the epoch behind the snapshot");
            }
            let set = step.check(&last.set, genesis, verifier)?;
            sets.push(TrustedSet { epoch: next_epoch, set });
        }
        let next = sets.iter().rev().find(|known| known.epoch <= epoch + 1).map(|known| known.set.as_slice());
        let Some(next) = next else { return rule("the trusted height is above the snapshot's") };
        if snapshot.sets[1] != next {
            return rule("the snapshot knows another validator set than the proof leads to");
        }
        let Attestation { chain, certificate } = &self.attestation;
        chain.check(epoch + 1, next, genesis.rules.epoch_blocks, verifier)?;
        let proven = self.check_attested(snapshot, epoch)?;
        // From here on the snapshot is the chain's, and with it the set that finalized its block.
        check_certificate(epoch, &snapshot.sets[0], &snapshot.hash, certificate, verifier)?;
        Ok(proven)
    }

    /// The headers behind the snapshot follow it and attest its state root; gives the roots that they attest up to there.
    fn check_attested(&self, snapshot: &CheckedManifest, epoch: u64) -> Result<Proven, ProofError> {
        let rule = |rule| Err(ProofError::Rule { epoch, rule });
        let headers = &self.attestation.chain.headers;
        let height = snapshot.height();
        if headers.first().is_none_or(|first| first.parent != snapshot.hash || first.height != height + 1) {
            return rule("the blocks behind the snapshot do not follow it");
        }
        let mut roots = vec![roots_of(&snapshot.manifest.header)];
        for header in headers {
            let attested = roots_of(header);
            let last = roots.last().map_or(0, |roots| roots.height);
            if attested.height < last {
                return rule("a block attests less than its parent");
            }
            if attested.height > last {
                roots.push(attested);
            }
            if attested.height >= height {
                break;
            }
        }
        match roots.last() {
            Some(last) if last.height == height && last.state_root == snapshot.state_root => Ok(Proven { roots }),
            _ => rule("no block attests the snapshot's state root"),
        }
    }
}

/// What a header attests.
fn roots_of(header: &BlockHeader) -> ExecutedRoots {
    ExecutedRoots {
        height: header.executed_height,
        state_root: header.state_root,
        receipts_root: header.receipts_root,
        validator_set_hash: header.validator_set_hash,
    }
}

/// A header that the operator trusts, with the validator set that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The header.
    pub header: BlockHeader,
    /// The set of the epoch of the height that it attests.
    pub set: Vec<Validator>,
}

impl Anchor {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(1_024);
        writer.u16(VERSION);
        write_header(&mut writer, &self.header);
        writer.u32(self.set.len() as u32);
        for member in &self.set {
            writer.bytes(&member.key.0).text_u8(&member.address);
        }
        writer.finish()
    }

    /// Reads canonical bytes; anything else is refused.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        read_version(&mut reader)?;
        let header = read_header(&mut reader)?;
        let count = reader.u32("validator count")? as usize;
        if count == 0 || count > VALIDATORS_MAX {
            return Err(DecodeError::Invalid { field: "validator count", rule: "1 to 256" });
        }
        let mut set = Vec::with_capacity(count);
        for _ in 0..count {
            let key = tana_types::key::PublicKey(reader.array("validator")?);
            set.push(Validator { key, address: reader.text_u8("address")?.to_owned() });
        }
        reader.finish()?;
        Ok(Self { header, set })
    }

    /// What it gives to one who trusts the block `hash` at `height`.
    ///
    /// # Errors
    /// When it is about another block, or brings another set than the block names.
    pub fn check(self, height: u64, hash: &Hash, epoch_blocks: u64) -> Result<TrustedSet, ProofError> {
        let epoch = self.header.executed_height.saturating_sub(1) / epoch_blocks;
        let rule = |rule| Err(ProofError::Rule { epoch, rule });
        if self.header.height != height || self.header.hash() != *hash {
            return rule("the header is not the one that the operator trusts");
        }
        if hash_set(&self.set) != self.header.validator_set_hash {
            return rule("the validator set is not the one that the trusted header names");
        }
        Ok(TrustedSet { epoch, set: self.set })
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match reader.u16("version")? {
        VERSION => Ok(()),
        _ => Err(DecodeError::Invalid { field: "version", rule: "1" }),
    }
}

pub(super) fn write_certificate(writer: &mut Writer, certificate: &[u8]) {
    writer.u32(certificate.len() as u32).bytes(certificate);
}

pub(super) fn read_certificate(reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let length = reader.u32("certificate length")? as usize;
    if length > CERTIFICATE_BYTES_MAX {
        return Err(DecodeError::Invalid { field: "certificate length", rule: "at most 64 KiB" });
    }
    Ok(reader.bytes(length, "certificate")?.to_vec())
}
