//! Finalization certificates for those who only have a validator set: state sync, a client, `tana verify-log`.
//!
//! A certificate says that a quorum of an epoch's validators (n - f of n, where f = (n - 1) / 3) voted to finalize one block in one view. Its
//! bytes are the library's encoding of a finalization; signatures are Ed25519, one per voter.

use commonware_codec::{Copying, Decode, Encode};
use commonware_consensus::simplex::types::Finalization;
use commonware_consensus::types::Participant;
use commonware_consensus::{Epochable, Viewable};
use commonware_cryptography::certificate::Verifier;
use commonware_parallel::Sequential;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use tana_types::Hash;

use crate::core::block::{Digest, hash};
use crate::core::keys;
use crate::core::scheme::Scheme;
use crate::observation::Voters;

/// The most bytes of a certificate: 256 signatures of 64 bytes, who signed, and the proposal.
pub const CERTIFICATE_BYTES_MAX: usize = 256 * 64 + 32 + 256;

/// What a certificate finalizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certified {
    /// The epoch of the vote.
    pub epoch: u64,
    /// Its view.
    pub view: u64,
    /// The block's hash; that block and all its ancestors are final.
    pub hash: Hash,
}

/// What the bytes claim, unchecked; none where they are no certificate.
pub fn claimed(certificate: &[u8]) -> Option<Certified> {
    decode(certificate).map(|finalization| certified(&finalization))
}

/// Whose votes the bytes claim to hold, unchecked, and how many validators the epoch has; none where they are no certificate.
pub fn voters(certificate: &[u8]) -> Option<(Voters, u32)> {
    let finalization = decode(certificate)?;
    let signers = &finalization.certificate.signers;
    Some((signers.iter().map(Participant::get).collect(), signers.len() as u32))
}

/// Checks a certificate of an epoch whose validators are `set`: all signatures, the quorum, the chain. None where anything is wrong.
pub fn check(genesis_hash: &Hash, set: &[[u8; 32]], certificate: &[u8]) -> Option<Certified> {
    let finalization = decode(certificate)?;
    let participants = keys::participants(set).filter(|participants| !participants.is_empty())?;
    let scheme = Scheme::verifier(&keys::namespace(genesis_hash), participants);
    finalization.verify(&mut coefficients(certificate), &scheme, &Sequential).then(|| certified(&finalization))
}

/// The certificate as the library's type.
pub(crate) fn decode(certificate: &[u8]) -> Option<Finalization<Scheme, Digest>> {
    if certificate.len() > CERTIFICATE_BYTES_MAX {
        return None;
    }
    Finalization::decode_cfg(Copying(certificate), &Scheme::certificate_codec_config_unbounded()).ok()
}

/// A certificate's bytes.
pub(crate) fn encode(finalization: &Finalization<Scheme, Digest>) -> Vec<u8> {
    finalization.encode().to_vec()
}

pub(crate) fn certified(finalization: &Finalization<Scheme, Digest>) -> Certified {
    Certified {
        epoch: finalization.epoch().get(),
        view: finalization.view().get(),
        hash: hash(&finalization.proposal.payload),
    }
}

/// Coefficients for checking signatures together: they depend on every byte that is checked, so that nobody can choose the bytes after them.
pub(crate) fn coefficients(bytes: &[u8]) -> ChaCha20Rng {
    ChaCha20Rng::from_seed(*blake3::hash(bytes).as_bytes())
}
