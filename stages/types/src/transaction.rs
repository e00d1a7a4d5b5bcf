//! The transaction: a fixed header, a payload by kind, a signature; decoded where it lies.
//!
//! ```text
//! offset  size  field
//!      0     1  version, 1
//!      1     1  kind
//!      2     2  payload length p, at most 1,280
//!      4     4  chain: the first four bytes of the genesis hash
//!      8     8  nonce
//!     16     8  timestamp, milliseconds since 1970-01-01T00:00:00Z
//!     24    32  sender's Ed25519 public key
//!     56     p  payload
//! 56 + p    64  signature
//! ```
//!
//! All numbers are little-endian; nothing is aligned. A transfer has 180 bytes. The signature is Ed25519 over
//! [`SIGNING_TAG`] ++ genesis hash ++ bytes 0 to 56 + p, so it is valid on one chain only. A transaction's identifier is the BLAKE3 hash of all
//! its bytes, signature included.

use ed25519_dalek::{Signer, SigningKey};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Hash;
use crate::codec::DecodeError;
use crate::key::PublicKey;
use crate::payload::{Kind, PAYLOAD_BYTES_MAX, Payload, TRANSFER_PAYLOAD_BYTES};

/// The only version there is.
pub const TRANSACTION_VERSION: u8 = 1;
/// What a transaction's signature begins with, so that nothing else signed is ever one.
pub const SIGNING_TAG: [u8; 16] = *b"tana-tx-v1\0\0\0\0\0\0";
/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 56;
/// Bytes of the signature.
pub const SIGNATURE_BYTES: usize = 64;
/// The smallest transaction.
pub const TRANSACTION_BYTES_MIN: usize = HEADER_BYTES + SIGNATURE_BYTES;
/// The largest transaction: 56 + 1,280 + 64.
pub const TRANSACTION_BYTES_MAX: usize = HEADER_BYTES + PAYLOAD_BYTES_MAX + SIGNATURE_BYTES;
/// Bytes of a signed transfer.
pub const TRANSFER_BYTES: usize = HEADER_BYTES + TRANSFER_PAYLOAD_BYTES + SIGNATURE_BYTES;
const _: () = assert!(TRANSFER_BYTES <= 192);

/// The fixed header, as it lies in memory.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct TransactionHeader {
    /// [`TRANSACTION_VERSION`].
    pub version: u8,
    /// A [`Kind`].
    pub kind: u8,
    /// Bytes of the payload.
    pub payload_length: U16,
    /// See [`Chain::tag`].
    pub chain: U32,
    /// One more than the account's last nonce; 0 for a user creation.
    pub nonce: U64,
    /// Milliseconds since 1970-01-01T00:00:00Z, by the sender's clock.
    pub timestamp_ms: U64,
    /// The sender's key.
    pub sender: [u8; 32],
}
const _: () = assert!(size_of::<TransactionHeader>() == HEADER_BYTES);

/// What ties a signature to one chain: made once from the genesis hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    genesis_hash: Hash,
    prefix: [u8; 48],
}

impl Chain {
    /// The chain that begins with this genesis.
    pub fn new(genesis_hash: Hash) -> Self {
        let mut prefix = [0; 48];
        prefix[..16].copy_from_slice(&SIGNING_TAG);
        prefix[16..].copy_from_slice(&genesis_hash);
        Self { genesis_hash, prefix }
    }

    /// The genesis hash.
    pub fn genesis_hash(&self) -> &Hash {
        &self.genesis_hash
    }

    /// The first four bytes of the genesis hash: tells a transaction of another chain without checking its signature.
    pub fn tag(&self) -> u32 {
        u32::from_le_bytes([self.genesis_hash[0], self.genesis_hash[1], self.genesis_hash[2], self.genesis_hash[3]])
    }

    /// What is signed in front of a transaction's own bytes.
    pub fn signing_prefix(&self) -> &[u8; 48] {
        &self.prefix
    }
}

/// A transaction in place: its bounds are checked, its payload and signature are not.
#[derive(Debug, Clone, Copy)]
pub struct Transaction<'a> {
    bytes: &'a [u8],
    header: &'a TransactionHeader,
}

impl<'a> Transaction<'a> {
    /// Looks at the transaction that `bytes` begins with; what follows it is left alone. `None` when the bytes are no transaction.
    #[inline]
    pub fn first_of(bytes: &'a [u8]) -> Option<Self> {
        let (header, _) = TransactionHeader::ref_from_prefix(bytes).ok()?;
        let payload_length = header.payload_length.get() as usize;
        if header.version != TRANSACTION_VERSION || payload_length > PAYLOAD_BYTES_MAX {
            return None;
        }
        let bytes = bytes.get(..HEADER_BYTES + payload_length + SIGNATURE_BYTES)?;
        Some(Self { bytes, header })
    }

    /// Looks at `bytes` as exactly one transaction.
    pub fn exactly(bytes: &'a [u8]) -> Option<Self> {
        Self::first_of(bytes).filter(|transaction| transaction.bytes.len() == bytes.len())
    }

    /// The fixed header.
    #[inline]
    pub fn header(&self) -> &'a TransactionHeader {
        self.header
    }

    /// All bytes, signature included.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes that are signed behind [`Chain::signing_prefix`].
    #[inline]
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[..self.bytes.len() - SIGNATURE_BYTES]
    }

    /// The payload's bytes.
    #[inline]
    pub fn payload_bytes(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..self.bytes.len() - SIGNATURE_BYTES]
    }

    /// The signature.
    #[inline]
    pub fn signature(&self) -> &'a [u8; SIGNATURE_BYTES] {
        // `first_of` made the slice at least this long, so the fallback is never taken.
        self.bytes.last_chunk().unwrap_or(&[0; SIGNATURE_BYTES])
    }

    /// The sender's key.
    #[inline]
    pub fn sender(&self) -> PublicKey {
        PublicKey(self.header.sender)
    }

    /// The kind, if its number is one.
    #[inline]
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_u8(self.header.kind)
    }

    /// The payload, with every rule that needs no state.
    pub fn payload(&self) -> Result<Payload<'a>, DecodeError> {
        match self.kind() {
            Some(kind) => Payload::decode(kind, self.payload_bytes()),
            None => Err(DecodeError::Invalid { field: "kind", rule: "1 to 11" }),
        }
    }

    /// The identifier: BLAKE3 of all bytes.
    pub fn id(&self) -> Hash {
        *blake3::hash(self.bytes).as_bytes()
    }
}

/// Builds and signs a transaction.
///
/// Errors when the payload breaks a rule that needs no state; nothing invalid is signed.
pub fn sign(
    chain: &Chain,
    key: &SigningKey,
    nonce: u64,
    timestamp_ms: u64,
    payload: &Payload<'_>,
) -> Result<Vec<u8>, DecodeError> {
    let payload_bytes = payload.encode()?;
    let header = TransactionHeader {
        version: TRANSACTION_VERSION,
        kind: payload.kind() as u8,
        payload_length: U16::new(payload_bytes.len() as u16),
        chain: U32::new(chain.tag()),
        nonce: U64::new(nonce),
        timestamp_ms: U64::new(timestamp_ms),
        sender: key.verifying_key().to_bytes(),
    };
    let mut signed = Vec::with_capacity(48 + HEADER_BYTES + payload_bytes.len() + SIGNATURE_BYTES);
    signed.extend_from_slice(chain.signing_prefix());
    signed.extend_from_slice(header.as_bytes());
    signed.extend_from_slice(&payload_bytes);
    let signature = key.sign(&signed).to_bytes();
    let mut bytes = signed.split_off(48);
    bytes.extend_from_slice(&signature);
    Ok(bytes)
}
