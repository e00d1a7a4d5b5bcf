//! One chunk of a load: frames laid out in one buffer, signed, and spoiled where the plan wants bad ones.
//!
//! 1. Each planned transaction is written behind the others: fixed header, payload, room for the signature. A frame's length goes
//!    in front of its first transaction.
//! 2. All of them are signed where they lie.
//! 3. A bad signature gets one bit flipped in its `s`: it still looks like a signature and fails only the full check.
//! 4. A duplicate takes the bytes of the transaction before it, signature included. Where the chunk has none before
//!    it of the same length, it stays what it was written as: a stale nonce.

use bytes::Bytes;
use tana_types::codec::DecodeError;
use tana_types::currency::CurrencyCode;
use tana_types::key::PublicKey;
use tana_types::payload::{Kind, Payload, TRANSFER_PAYLOAD_BYTES};
use tana_types::transaction::{Chain, SIGNATURE_BYTES, TRANSACTION_VERSION, TRANSFER_BYTES, TransactionHeader};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use crate::accounts::{AccountKey, creation_key, creation_username};
use crate::load::offset_ms;
use crate::plan::LoadPlan;
use crate::schedule::{Planned, Purpose};
use crate::signer::{ChunkSigner, Slot};

/// The most transactions of a chunk: 740 KB of transfers, which the last-level cache holds while they are signed.
const CHUNK_TRANSACTIONS: u64 = 4_096;
/// Bytes of a frame's length.
pub(crate) const LENGTH_BYTES: usize = 4;
/// More of any currency than exists, and still no overflow when it is added to what exists.
const UNFUNDED_AMOUNT: u128 = u128::MAX / 2;

/// How many transactions a full chunk holds, in whole frames.
pub(crate) fn transactions_of_chunk(frame_transactions: u32) -> u64 {
    let frame = u64::from(frame_transactions.max(1));
    (CHUNK_TRANSACTIONS / frame).max(1) * frame
}

/// Makes the chunks of one load.
#[derive(Debug)]
pub(crate) struct ChunkMaker<'a> {
    chain: &'a Chain,
    plan: &'a LoadPlan,
    keys: &'a [AccountKey],
    /// The payload of a transfer that should succeed, and of one that should not; the recipient is filled in.
    transfer: [u8; TRANSFER_PAYLOAD_BYTES],
    unfunded: [u8; TRANSFER_PAYLOAD_BYTES],
}

/// A transaction as it was written, before it is signed.
struct Written {
    offset: usize,
    length: usize,
    purpose: Purpose,
    /// A new account's key; the others are in the table.
    created: Option<AccountKey>,
    sender: usize,
}

impl<'a> ChunkMaker<'a> {
    /// A maker for a checked plan, whose accounts have these keys and this currency.
    pub(crate) fn new(
        chain: &'a Chain,
        plan: &'a LoadPlan,
        keys: &'a [AccountKey],
        currency: CurrencyCode,
    ) -> Result<Self, DecodeError> {
        let transfer = transfer_payload(currency, u128::from(plan.amount))?;
        Ok(Self { chain, plan, keys, transfer, unfunded: transfer_payload(currency, UNFUNDED_AMOUNT)? })
    }

    /// The chunk with this place; `first` is the index of its first transaction among the connection's.
    pub(crate) fn make(
        &self,
        connection: u32,
        chunk: u32,
        first: u64,
        planned: &[Planned],
    ) -> Result<Bytes, DecodeError> {
        let frame_transactions = self.plan.frame_transactions() as usize;
        let frames = planned.len().div_ceil(frame_transactions);
        let mut buffer = Vec::with_capacity(planned.len() * TRANSFER_BYTES + frames * LENGTH_BYTES);
        let mut written = Vec::with_capacity(planned.len());
        let mut index = first;
        for frame in planned.chunks(frame_transactions) {
            let start = buffer.len();
            buffer.extend_from_slice(&[0; LENGTH_BYTES]);
            for transaction in frame {
                let place = index * u64::from(self.plan.connections) + u64::from(connection);
                let timestamp_ms = self.plan.timestamp_ms.unwrap_or(0) + offset_ms(self.plan, place);
                written.push(self.write(transaction, timestamp_ms, &mut buffer)?);
                index += 1;
            }
            let length = (buffer.len() - start - LENGTH_BYTES) as u32;
            buffer[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        }
        self.sign(connection, chunk, &mut buffer, &written);
        spoil(&mut buffer, &written);
        Ok(Bytes::from(buffer))
    }

    fn write(&self, planned: &Planned, timestamp_ms: u64, buffer: &mut Vec<u8>) -> Result<Written, DecodeError> {
        let offset = buffer.len();
        let header = |kind: Kind, payload_length: usize, sender: [u8; 32]| TransactionHeader {
            version: TRANSACTION_VERSION,
            kind: kind as u8,
            payload_length: U16::new(payload_length as u16),
            chain: U32::new(self.chain.tag()),
            nonce: U64::new(planned.nonce),
            timestamp_ms: U64::new(timestamp_ms),
            sender,
        };
        let mut created = None;
        if planned.purpose == Purpose::Creation {
            let key = creation_key(&self.plan.seed, planned.sender);
            let username = creation_username(&self.plan.seed, planned.sender);
            let payload = Payload::UserCreation { username: &username, display_name: "", biography: "" }.encode()?;
            buffer.extend_from_slice(header(Kind::UserCreation, payload.len(), key.public).as_bytes());
            buffer.extend_from_slice(&payload);
            created = Some(key);
        } else {
            let sender = self.keys[planned.sender as usize].public;
            buffer.extend_from_slice(header(Kind::Transfer, TRANSFER_PAYLOAD_BYTES, sender).as_bytes());
            buffer.extend_from_slice(&self.keys[planned.recipient as usize].public);
            let template = if planned.purpose == Purpose::Unfunded { &self.unfunded } else { &self.transfer };
            buffer.extend_from_slice(&template[32..]);
        }
        buffer.extend_from_slice(&[0; SIGNATURE_BYTES]);
        let sender = if created.is_some() { 0 } else { planned.sender as usize };
        Ok(Written { offset, length: buffer.len() - offset, purpose: planned.purpose, created, sender })
    }

    fn sign(&self, connection: u32, chunk: u32, buffer: &mut [u8], written: &[Written]) {
        let slots: Vec<Slot<'_>> = written
            .iter()
            .map(|transaction| Slot {
                offset: transaction.offset,
                length: transaction.length,
                key: transaction.created.as_ref().unwrap_or(&self.keys[transaction.sender]),
            })
            .collect();
        ChunkSigner::new(self.chain, &self.plan.seed, connection, chunk).sign(buffer, &slots);
    }
}

fn spoil(buffer: &mut [u8], written: &[Written]) {
    for (index, transaction) in written.iter().enumerate() {
        let Written { offset, length, .. } = *transaction;
        match transaction.purpose {
            Purpose::BadSignature => buffer[offset + length - 32] ^= 1,
            Purpose::Duplicate => {
                let before = index.checked_sub(1).map(|before| &written[before]);
                if let Some(before) = before.filter(|before| before.length == length) {
                    buffer.copy_within(before.offset..before.offset + length, offset);
                }
            }
            _ => {}
        }
    }
}

/// The payload of a transfer to nobody yet.
fn transfer_payload(currency: CurrencyCode, amount: u128) -> Result<[u8; TRANSFER_PAYLOAD_BYTES], DecodeError> {
    let bytes = Payload::Transfer { recipient: PublicKey([0; 32]), currency, amount }.encode()?;
    let mut payload = [0; TRANSFER_PAYLOAD_BYTES];
    payload.copy_from_slice(&bytes);
    Ok(payload)
}
