//! Proof of conflicting votes, as bytes that anybody can check who knows the epoch's validator set.
//!
//! | kind | first | second | proves |
//! |---|---|---|---|
//! | 1 | notarize vote | notarize vote | two blocks supported in one view; by its leader: an equivocating proposer |
//! | 2 | finalize vote | finalize vote | two blocks finalized in one view |
//! | 3 | nullify vote | finalize vote | a view both skipped and finalized |
//!
//! Votes are the library's encoding: the round, what is voted for, the signer's place in the set (ordered by key) and the Ed25519 signature
//! under the chain's [domain](crate::core::keys::namespace).

use bytes::Bytes;
use commonware_codec::{Copying, DecodeExt, Encode, ReadExt};
use commonware_consensus::Epochable;
use commonware_consensus::simplex::types::{
    Activity, Attributable, ConflictingFinalize, ConflictingNotarize, Finalize, Notarize, Nullify, NullifyFinalize,
};
use commonware_cryptography::certificate::Scheme as _;
use commonware_parallel::Sequential;
use tana_lane::Evidence;
use tana_types::Hash;
use thiserror::Error;

use crate::certificate::coefficients;
use crate::core::block::Digest;
use crate::core::keys;
use crate::core::scheme::Scheme;

/// Two notarize votes of one view.
pub const CONFLICTING_NOTARIZE: u8 = 1;
/// Two finalize votes of one view.
pub const CONFLICTING_FINALIZE: u8 = 2;
/// A nullify and a finalize vote of one view.
pub const NULLIFY_FINALIZE: u8 = 3;

/// Who did it, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offence {
    /// The validator.
    pub culprit: [u8; 32],
    /// The epoch.
    pub epoch: u64,
    /// The view.
    pub view: u64,
    /// [`CONFLICTING_NOTARIZE`], [`CONFLICTING_FINALIZE`] or [`NULLIFY_FINALIZE`].
    pub kind: u8,
}

/// Why votes prove nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VotesError {
    /// The bytes are no votes of a known kind.
    #[error("the evidence does not hold two votes of a known kind; it was damaged, or made by a newer version")]
    Form,
    /// The votes are not both of one validator and one view.
    #[error("the votes are not of one validator in one view, or do not contradict each other; they prove nothing")]
    NoConflict,
    /// A signature is not valid, or the set is not the one of the epoch.
    #[error(
        "a vote is not signed by a validator of the given set; check that it is the set of the epoch that the votes name"
    )]
    Unsigned,
    /// The given set is no set of validators.
    #[error("the validator set holds something that is no key, or a key twice")]
    Set,
}

/// A pair of votes, decoded.
enum Pair {
    Notarize(Notarize<Scheme, Digest>, Notarize<Scheme, Digest>),
    Finalize(Finalize<Scheme, Digest>, Finalize<Scheme, Digest>),
    Mixed(Nullify<Scheme>, Finalize<Scheme, Digest>),
}

/// The epoch that votes name, so that the caller can look up its set; none where they cannot be read.
pub fn epoch(kind: u8, first: &[u8], second: &[u8]) -> Option<u64> {
    Some(match decode(kind, first, second)? {
        Pair::Notarize(vote, _) => vote.epoch().get(),
        Pair::Finalize(vote, _) => vote.epoch().get(),
        Pair::Mixed(vote, _) => vote.epoch().get(),
    })
}

/// Checks the fields of [`Evidence::Votes`] against the validators of their epoch.
pub fn check(
    genesis_hash: &Hash,
    set: &[[u8; 32]],
    kind: u8,
    first: &[u8],
    second: &[u8],
) -> Result<Offence, VotesError> {
    let pair = decode(kind, first, second).ok_or(VotesError::Form)?;
    let participants = keys::participants(set).filter(|set| !set.is_empty()).ok_or(VotesError::Set)?;
    let scheme = Scheme::verifier(&keys::namespace(genesis_hash), participants);
    check_pair(&scheme, pair, kind)
}

fn decode(kind: u8, first: &[u8], second: &[u8]) -> Option<Pair> {
    let (first, second) = (Copying(first), Copying(second));
    Some(match kind {
        CONFLICTING_NOTARIZE => Pair::Notarize(Notarize::decode(first).ok()?, Notarize::decode(second).ok()?),
        CONFLICTING_FINALIZE => Pair::Finalize(Finalize::decode(first).ok()?, Finalize::decode(second).ok()?),
        NULLIFY_FINALIZE => Pair::Mixed(Nullify::decode(first).ok()?, Finalize::decode(second).ok()?),
        _ => return None,
    })
}

/// The library's constructors of conflicts insist on one signer and one round, so that is looked at first.
fn check_pair(scheme: &Scheme, pair: Pair, kind: u8) -> Result<Offence, VotesError> {
    let mut random = coefficients(&[kind]);
    let (signer, round, valid) = match pair {
        Pair::Notarize(first, second) => {
            if (first.signer(), first.round()) != (second.signer(), second.round()) || first.proposal == second.proposal
            {
                return Err(VotesError::NoConflict);
            }
            let (signer, round) = (first.signer(), first.round());
            (signer, round, ConflictingNotarize::new(first, second).verify(&mut random, scheme, &Sequential))
        }
        Pair::Finalize(first, second) => {
            if (first.signer(), first.round()) != (second.signer(), second.round()) || first.proposal == second.proposal
            {
                return Err(VotesError::NoConflict);
            }
            let (signer, round) = (first.signer(), first.round());
            (signer, round, ConflictingFinalize::new(first, second).verify(&mut random, scheme, &Sequential))
        }
        Pair::Mixed(first, second) => {
            if (first.signer(), first.round()) != (second.signer(), second.round()) {
                return Err(VotesError::NoConflict);
            }
            let (signer, round) = (first.signer(), first.round());
            (signer, round, NullifyFinalize::new(first, second).verify(&mut random, scheme, &Sequential))
        }
    };
    let key = scheme.participants().get(signer.get() as usize).filter(|_| valid).ok_or(VotesError::Unsigned)?;
    Ok(Offence { culprit: keys::key_bytes(key), epoch: round.epoch().get(), view: round.view().get(), kind })
}

/// The evidence in an activity of the library, where there is some and its signatures are valid.
pub(crate) fn from_activity(scheme: &Scheme, activity: &Activity<Scheme, Digest>) -> Option<(Evidence, Offence)> {
    let (kind, bytes) = match activity {
        Activity::ConflictingNotarize(conflict) => (CONFLICTING_NOTARIZE, conflict.encode()),
        Activity::ConflictingFinalize(conflict) => (CONFLICTING_FINALIZE, conflict.encode()),
        Activity::NullifyFinalize(conflict) => (NULLIFY_FINALIZE, conflict.encode()),
        _ => return None,
    };
    let (first, second) = halves(kind, &bytes)?;
    let offence = check_pair(scheme, decode(kind, &first, &second)?, kind).ok()?;
    Some((Evidence::Votes { kind, first, second }, offence))
}

/// The library writes a conflict as its two votes, one behind the other.
fn halves(kind: u8, bytes: &Bytes) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut rest = bytes.clone();
    match kind {
        CONFLICTING_NOTARIZE => drop(Notarize::<Scheme, Digest>::read(&mut rest).ok()?),
        CONFLICTING_FINALIZE => drop(Finalize::<Scheme, Digest>::read(&mut rest).ok()?),
        _ => drop(Nullify::<Scheme>::read(&mut rest).ok()?),
    }
    Some((bytes[..bytes.len() - rest.len()].to_vec(), rest.to_vec()))
}
