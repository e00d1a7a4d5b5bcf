//! The batch: one contiguous buffer of transactions that ingest fills and every later stage reads, seals, stores and sends as the
//! same bytes.
//!
//! A sealed batch is a 200-byte seal and then the body: transactions back to back.
//!
//! ```text
//! offset  size  field
//!      0     2  version, 1
//!      2     2  zero
//!      4     4  count of transactions
//!      8     4  bytes of the body
//!     12     4  skipped: how many sequences directly before this one the author withdraws, below the sequence
//!     16     8  epoch
//!     24     8  sequence: the author's batches are numbered from 1 without a gap, and no number is used twice
//!     32     8  expiry height: no block above it may list the batch
//!     40    32  genesis hash
//!     72    32  author's validator key
//!    104    32  body hash: BLAKE3 of the body
//!    136    64  signature: Ed25519 over SEAL_TAG ++ bytes 0 to 136
//! ```
//!
//! A block names a batch by its digest, the BLAKE3 hash of bytes 0 to 136: the signature is not under it, so re-signing does not make
//! a second batch. Whether a sealed batch is valid depends on its bytes and the genesis alone.

use ed25519_dalek::{Signer, SigningKey};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Hash;
use crate::account::{AccountIndex, NO_ACCOUNT};
use crate::codec::{COUNTER_MAX, DecodeError, invalid};
use crate::transaction::{Chain, Transaction};

/// The only version of the seal.
pub const SEAL_VERSION: u16 = 1;
/// What a seal's signature begins with.
pub const SEAL_TAG: [u8; 16] = *b"tana-batch-v1\0\0\0";
/// Bytes of the seal.
pub const SEAL_BYTES: usize = 200;
/// Bytes of the seal that are signed and hashed.
pub const SEAL_SIGNED_BYTES: usize = 136;
/// The most transactions of one batch.
pub const BATCH_TRANSACTIONS_MAX: usize = 4_096;
/// The most bytes of one body: 1 MiB holds 4,096 transactions of 256 bytes.
pub const BATCH_BODY_BYTES_MAX: usize = 1 << 20;

/// The seal in front of a sealed batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Seal {
    /// [`SEAL_VERSION`].
    pub version: U16,
    /// Zero.
    pub reserved: U16,
    /// Transactions in the body.
    pub count: U32,
    /// Bytes of the body.
    pub body_length: U32,
    /// How many sequences directly before this one the author withdraws: a block may list this batch without them. Below the sequence.
    pub skipped: U32,
    /// The author's epoch.
    pub epoch: U64,
    /// The batch's number in its author's lane, from 1.
    pub sequence: U64,
    /// The last height at which a block may list the batch.
    pub expiry_height: U64,
    /// The chain.
    pub genesis_hash: Hash,
    /// The validator that sealed it.
    pub author: [u8; 32],
    /// BLAKE3 of the body.
    pub body_hash: Hash,
    /// The author's signature.
    pub signature: [u8; 64],
}
const _: () = assert!(size_of::<Seal>() == SEAL_BYTES);

impl Seal {
    /// Reads the seal at the start of a sealed batch and checks everything but the signature and the body's transactions.
    pub fn decode<'a>(bytes: &'a [u8], chain: &Chain) -> Result<(&'a Seal, &'a [u8]), DecodeError> {
        let Ok((seal, body)) = Seal::ref_from_prefix(bytes) else {
            return Err(DecodeError::Short { field: "seal", needed: SEAL_BYTES, left: bytes.len() });
        };
        if seal.version.get() != SEAL_VERSION || seal.reserved.get() != 0 {
            return invalid("seal version", "1, with the reserved field zero");
        }
        if u64::from(seal.skipped.get()) >= seal.sequence.get() {
            return invalid("seal sequence", "at least 1, and above what it skips");
        }
        if &seal.genesis_hash != chain.genesis_hash() {
            return invalid("seal genesis hash", "that of this chain");
        }
        let (epoch, sequence, expiry_height) = (seal.epoch.get(), seal.sequence.get(), seal.expiry_height.get());
        if sequence == 0 || epoch.max(sequence).max(expiry_height) > COUNTER_MAX {
            return invalid("seal epoch, sequence or expiry height", "below 2^63, and sequences from 1 on");
        }
        let (count, length) = (seal.count.get() as usize, seal.body_length.get() as usize);
        if count == 0 || count > BATCH_TRANSACTIONS_MAX || length > BATCH_BODY_BYTES_MAX || length != body.len() {
            return invalid(
                "seal count or body length",
                "1 to 4,096 transactions in exactly the bytes that follow, at most 1 MiB",
            );
        }
        Ok((seal, body))
    }

    /// The bytes behind [`SEAL_TAG`] that the signature covers.
    pub fn signed_bytes(&self) -> &[u8] {
        &self.as_bytes()[..SEAL_SIGNED_BYTES]
    }

    /// What a block names the batch by.
    pub fn digest(&self) -> Hash {
        *blake3::hash(self.signed_bytes()).as_bytes()
    }

    fn message(&self) -> [u8; 16 + SEAL_SIGNED_BYTES] {
        let mut message = [0; 16 + SEAL_SIGNED_BYTES];
        message[..16].copy_from_slice(&SEAL_TAG);
        message[16..].copy_from_slice(self.signed_bytes());
        message
    }

    /// Whether the author signed this seal.
    pub fn signature_is_valid(&self) -> bool {
        ed25519_dalek::VerifyingKey::from_bytes(&self.author).is_ok_and(|key| {
            key.verify_strict(&self.message(), &ed25519_dalek::Signature::from_bytes(&self.signature)).is_ok()
        })
    }
}

/// No stream: nobody wants answers.
pub const NO_STREAM: u32 = u32::MAX;
/// No source: not from the network of this process run.
pub const NO_SOURCE: u32 = u32::MAX;

/// Where a transaction came from, so that its fate can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The stream that it arrived on, unique in a process run.
    pub stream: u32,
    /// The connection's slot at ingest, for the account of bad signatures.
    pub source: u32,
    /// Its place on the stream, from 0.
    pub sequence: u64,
}

impl Default for Origin {
    /// From no stream and no source of this process: nobody is told and nobody is charged.
    fn default() -> Self {
        Self { stream: NO_STREAM, source: NO_SOURCE, sequence: 0 }
    }
}

/// What is known of one transaction beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where it begins in the batch's bytes (the seal included).
    pub offset: u32,
    /// The sender's account, or [`NO_ACCOUNT`] for a user creation.
    pub sender: AccountIndex,
    /// Where it came from.
    pub origin: Origin,
}

/// A working batch: room for the seal, then transactions; emptied and used again.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// Identifiers, one per entry once verification has filled them.
    pub ids: Vec<Hash>,
    /// Ingest's running number, by which order is restored behind several verifiers.
    pub number: u64,
    /// When the first transaction arrived, nanoseconds on the engine's clock.
    pub arrived_ns: u64,
    /// Whether its sources have failed so often that each signature is checked on its own.
    pub suspect: bool,
}

impl Batch {
    /// An empty batch with room for `transactions` and `body_bytes`.
    pub fn with_capacity(transactions: usize, body_bytes: usize) -> Self {
        let mut batch = Self {
            bytes: Vec::with_capacity(SEAL_BYTES + body_bytes),
            entries: Vec::with_capacity(transactions),
            ids: Vec::with_capacity(transactions),
            ..Self::default()
        };
        batch.clear();
        batch
    }

    /// Forgets the content and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(SEAL_BYTES, 0);
        self.entries.clear();
        self.ids.clear();
        (self.number, self.arrived_ns, self.suspect) = (0, 0, false);
    }

    /// Transactions in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds no transaction.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the body.
    pub fn body_length(&self) -> usize {
        self.bytes.len() - SEAL_BYTES
    }

    /// Whether one more transaction of `bytes` bytes fits within both limits.
    pub fn has_room(&self, bytes: usize, transactions_max: usize, body_bytes_max: usize) -> bool {
        self.entries.len() < transactions_max && self.body_length() + bytes <= body_bytes_max
    }

    /// Appends a transaction.
    pub fn push(&mut self, transaction: Transaction<'_>, sender: AccountIndex, origin: Origin) {
        self.entries.push(Entry { offset: self.bytes.len() as u32, sender, origin });
        self.bytes.extend_from_slice(transaction.bytes());
    }

    /// What is known of each transaction, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The transaction at `position`, which must be below [`Batch::len`].
    #[inline]
    pub fn transaction(&self, position: usize) -> Transaction<'_> {
        let start = self.entries[position].offset as usize;
        // Only `push` and `from_sealed` add entries, and both have looked at the transaction there.
        #[allow(clippy::expect_used)]
        Transaction::first_of(&self.bytes[start..]).expect("an entry always points at a transaction")
    }

    /// The transactions in order.
    pub fn transactions(&self) -> impl Iterator<Item = Transaction<'_>> {
        (0..self.len()).map(|position| self.transaction(position))
    }

    /// Notes each sender's account as `find` gives it, [`NO_ACCOUNT`] where there is none, for a batch that came sealed.
    pub fn set_senders(&mut self, mut find: impl FnMut(&[u8; 32]) -> AccountIndex) {
        for position in 0..self.len() {
            let sender = find(&self.transaction(position).header().sender);
            self.entries[position].sender = sender;
        }
    }

    /// Keeps the transactions whose verdict is true; the others leave the bytes too. Identifiers, when filled, follow.
    pub fn retain(&mut self, verdicts: &[bool]) {
        assert_eq!(verdicts.len(), self.len());
        if verdicts.iter().all(|&keep| keep) {
            return;
        }
        let (mut kept, mut end) = (0, SEAL_BYTES);
        for (position, &keep) in verdicts.iter().enumerate() {
            let start = self.entries[position].offset as usize;
            let stop = self.entries.get(position + 1).map_or(self.bytes.len(), |next| next.offset as usize);
            if keep {
                self.bytes.copy_within(start..stop, end);
                self.entries[kept] = Entry { offset: end as u32, ..self.entries[position] };
                if position < self.ids.len() {
                    self.ids[kept] = self.ids[position];
                }
                kept += 1;
                end += stop - start;
            }
        }
        self.bytes.truncate(end);
        self.entries.truncate(kept);
        self.ids.truncate(kept);
    }

    /// Writes and signs the seal. The batch must hold at least one transaction; `sequence` is at least 1, and `skipped` sequences directly
    /// before it are withdrawn, fewer than there are.
    pub fn seal(
        &mut self,
        chain: &Chain,
        author: &SigningKey,
        epoch: u64,
        sequence: u64,
        skipped: u32,
        expiry_height: u64,
    ) -> Hash {
        let body_hash = *blake3::hash(&self.bytes[SEAL_BYTES..]).as_bytes();
        let mut seal = Seal {
            version: U16::new(SEAL_VERSION),
            reserved: U16::ZERO,
            count: U32::new(self.len() as u32),
            body_length: U32::new(self.body_length() as u32),
            skipped: U32::new(skipped),
            epoch: U64::new(epoch),
            sequence: U64::new(sequence),
            expiry_height: U64::new(expiry_height),
            genesis_hash: *chain.genesis_hash(),
            author: author.verifying_key().to_bytes(),
            body_hash,
            signature: [0; 64],
        };
        seal.signature = author.sign(&seal.message()).to_bytes();
        self.bytes[..SEAL_BYTES].copy_from_slice(seal.as_bytes());
        seal.digest()
    }

    /// Seal and body, as they are stored and sent.
    pub fn sealed_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The seal; all zeros before [`Batch::seal`].
    pub fn seal_header(&self) -> &Seal {
        // `clear` and `from_sealed` keep at least SEAL_BYTES in front.
        #[allow(clippy::expect_used)]
        Seal::ref_from_prefix(&self.bytes).map(|(seal, _)| seal).expect("a batch begins with room for its seal")
    }

    /// Loads sealed bytes that came from a disk or a peer: checks the seal's fields, the body's hash and that the body is exactly its
    /// transactions. Signatures, of the seal and of the transactions, are left to the caller.
    pub fn load_sealed(&mut self, sealed: &[u8], chain: &Chain) -> Result<(), DecodeError> {
        self.clear();
        let (seal, body) = Seal::decode(sealed, chain)?;
        if blake3::hash(body).as_bytes() != &seal.body_hash {
            return invalid("seal body hash", "the BLAKE3 hash of the body");
        }
        let mut offset = 0;
        while offset < body.len() {
            let Some(transaction) = Transaction::first_of(&body[offset..]) else {
                self.clear();
                return invalid("body", "transactions back to back");
            };
            self.entries.push(Entry {
                offset: (SEAL_BYTES + offset) as u32,
                sender: NO_ACCOUNT,
                origin: Origin::default(),
            });
            offset += transaction.bytes().len();
        }
        if self.entries.len() != seal.count.get() as usize {
            self.clear();
            return invalid("seal count", "the number of transactions in the body");
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(sealed);
        Ok(())
    }
}
