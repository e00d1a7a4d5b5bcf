//! Validators' keys, ours and the library's, and the domain that votes are signed in.
//!
//! A validator is its Ed25519 public key, 32 bytes. The library keeps decoded keys; decoding costs a square root, so a [`Keyring`]
//! remembers those of the sets that are in use.

use std::collections::BTreeMap;
use std::sync::Arc;

use commonware_codec::{Copying, DecodeExt};
use commonware_cryptography::ed25519;
use commonware_utils::ordered::Set;
use parking_lot::RwLock;
use tana_types::Hash;

/// A validator's key, decoded.
pub type PublicKey = ed25519::PublicKey;

/// What every vote's domain begins with; the genesis hash follows.
const NAMESPACE: &[u8] = b"tana agreement v1 ";

/// The domain of a chain's votes: a vote of one chain is nothing on another.
pub fn namespace(genesis_hash: &Hash) -> Vec<u8> {
    [NAMESPACE, genesis_hash.as_slice()].concat()
}

/// A key from its 32 bytes; none where they are no point of the curve.
pub fn public_key(bytes: &[u8; 32]) -> Option<PublicKey> {
    PublicKey::decode(Copying(bytes)).ok()
}

/// The 32 bytes of a key.
pub fn key_bytes(key: &PublicKey) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(key.as_ref());
    bytes
}

/// The library's signing key of a validator.
pub fn private_key(key: &ed25519_dalek::SigningKey) -> ed25519::PrivateKey {
    // A signing key is any 32 bytes, so decoding them cannot fail.
    #[allow(clippy::expect_used)]
    ed25519::PrivateKey::decode(Copying(&key.to_bytes())).expect("32 bytes are a signing key")
}

/// A set of validators in the library's order, which is that of the bytes; none where one is no key or comes twice.
pub fn participants(set: &[[u8; 32]]) -> Option<Set<PublicKey>> {
    let keys = set.iter().map(public_key).collect::<Option<Vec<_>>>()?;
    Set::try_from(keys).ok()
}

/// Decoded keys of the validators that are in use. Clones share.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    keys: Arc<RwLock<BTreeMap<[u8; 32], PublicKey>>>,
}

impl Keyring {
    /// Keeps the keys of `set` and forgets all others.
    pub fn replace<'a>(&self, set: impl Iterator<Item = &'a [u8; 32]>) {
        let mut keys = self.keys.write();
        let next = set
            .filter_map(|bytes| Some((*bytes, keys.get(bytes).cloned().or_else(|| public_key(bytes))?)))
            .collect::<BTreeMap<_, _>>();
        *keys = next;
    }

    /// A key of the sets in use.
    pub fn get(&self, bytes: &[u8; 32]) -> Option<PublicKey> {
        self.keys.read().get(bytes).cloned()
    }

    /// All keys but `me`, ascending.
    pub fn others(&self, me: &[u8; 32]) -> Vec<([u8; 32], PublicKey)> {
        self.keys.read().iter().filter(|(bytes, _)| *bytes != me).map(|(bytes, key)| (*bytes, key.clone())).collect()
    }
}
