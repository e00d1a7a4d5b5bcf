//! Liars: what a Byzantine validator does to its messages.

use tana_types::Hash;
use tana_types::batch::{Batch, SEAL_BYTES};

use crate::chain::SimChain;

/// How a sealed batch is changed by its own author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// A signature in it is not valid, and the author seals it all the same.
    BadSignature,
    /// Another batch at the same sequence.
    OtherSeal,
    /// The bytes behind the seal are not those that were sealed.
    OtherBody,
}

/// Another version of a sealed batch by the author's own key; none where the bytes are no batch.
pub fn reseal(chain: &SimChain, author: usize, sealed: &[u8], lie: Lie) -> Option<Vec<u8>> {
    let mut changed = sealed.to_vec();
    if lie == Lie::OtherBody {
        *changed.last_mut()? ^= 1;
        return Some(changed);
    }
    let mut batch = Batch::default();
    batch.load_sealed(sealed, &chain.chain).ok()?;
    let seal = *batch.seal_header();
    let expiry_height = match lie {
        Lie::OtherSeal => seal.expiry_height.get().saturating_sub(1),
        _ => seal.expiry_height.get(),
    };
    if lie == Lie::BadSignature {
        // The signature is the end of the last transaction, which is the end of the batch.
        *changed.last_mut()? ^= 1;
        let body: Hash = *blake3::hash(&changed[SEAL_BYTES..]).as_bytes();
        let at = std::mem::offset_of!(tana_types::batch::Seal, body_hash);
        changed[at..at + body.len()].copy_from_slice(&body);
        batch.load_sealed(&changed, &chain.chain).ok()?;
    }
    batch.seal(
        &chain.chain,
        &chain.validators[author],
        seal.epoch.get(),
        seal.sequence.get(),
        seal.skipped.get(),
        expiry_height,
    );
    Some(batch.sealed_bytes().to_vec())
}
