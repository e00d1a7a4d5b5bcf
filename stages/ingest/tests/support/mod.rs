//! Accounts, transactions with made-up signatures, and a port that keeps what leaves, for ingest's tests.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use tana_accounts::{Directory, DirectoryWriter, directory};
use tana_ingest::{
    Admission, AdmissionConfig, BatchLimits, BatchPort, Batcher, FrameOrigin, Moment, Offered, Rejection,
};
use tana_types::batch::Batch;
use tana_types::code::Code;
use tana_types::genesis::Rules;
use tana_types::key::PublicKey;
use tana_types::payload::{Kind, Payload};
use tana_types::transaction::{Chain, TransactionHeader};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

pub const WALL_MS: u64 = 1_800_000_000_000;
pub const NOW: Moment = Moment { engine_ns: 1_000, wall_ms: WALL_MS };
pub const CLEAN: FrameOrigin = FrameOrigin { stream: 7, source: 3, first_sequence: 0, suspect: false };

pub fn chain() -> Chain {
    Chain::new([9; 32])
}

pub fn key(number: u64) -> PublicKey {
    PublicKey(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// Bytes with every field as asked and a signature of `signature` repeated.
pub fn raw(
    kind: u8,
    chain_tag: u32,
    sender: u64,
    nonce: u64,
    timestamp_ms: u64,
    payload: &[u8],
    signature: u8,
) -> Vec<u8> {
    let header = TransactionHeader {
        version: 1,
        kind,
        payload_length: U16::new(payload.len() as u16),
        chain: U32::new(chain_tag),
        nonce: U64::new(nonce),
        timestamp_ms: U64::new(timestamp_ms),
        sender: key(sender).0,
    };
    [header.as_bytes(), payload, &[signature; 64]].concat()
}

pub fn transfer_payload() -> Vec<u8> {
    let usd = "USD".parse().unwrap();
    Payload::Transfer { recipient: key(1), currency: usd, amount: 5 }.encode().unwrap()
}

pub fn transfer(sender: u64, nonce: u64) -> Vec<u8> {
    raw(Kind::Transfer as u8, chain().tag(), sender, nonce, WALL_MS, &transfer_payload(), 1)
}

pub fn creation(sender: u64) -> Vec<u8> {
    let payload = Payload::UserCreation { username: "", display_name: "", biography: "" }.encode().unwrap();
    raw(Kind::UserCreation as u8, chain().tag(), sender, 0, WALL_MS, &payload, 1)
}

/// Keeps what leaves, and hands out so many batches.
#[derive(Default)]
pub struct Port {
    pub left: Vec<Batch>,
    pub available: usize,
}

impl BatchPort for Port {
    fn take(&mut self) -> Option<Batch> {
        self.available = self.available.checked_sub(1)?;
        Some(Batch::with_capacity(8, 2_048))
    }

    fn send(&mut self, batch: Batch) {
        self.left.push(batch);
    }
}

/// One shard with accounts 0 to 9, all with nonce 10.
pub struct Shard {
    pub writer: DirectoryWriter,
    pub admission: Arc<Admission>,
    pub batcher: Batcher,
    pub port: Port,
    pub rejected: Vec<Rejection>,
}

pub fn config() -> AdmissionConfig {
    AdmissionConfig { duplicate_slots: 1 << 12, creations_per_second: 2, ..AdmissionConfig::with_seeds([1, 2, 3, 4]) }
}

pub fn accounts(count: u64) -> (DirectoryWriter, Arc<Directory>) {
    let (mut writer, reader) = directory(count as usize);
    for number in 0..count {
        let index = writer.insert(key(number));
        writer.set_nonce(index, 10);
    }
    (writer, reader)
}

pub fn shard_with(limits: BatchLimits, config: &AdmissionConfig) -> Shard {
    let (writer, reader) = accounts(10);
    let admission = Arc::new(Admission::new(config, &chain(), &Rules::default(), reader).unwrap());
    let port = Port { available: 1_000, ..Port::default() };
    Shard { writer, admission, batcher: Batcher::new(limits).unwrap(), port, rejected: Vec::new() }
}

pub fn shard() -> Shard {
    shard_with(BatchLimits::default(), &config())
}

impl Shard {
    pub fn index(&self, account: u64) -> u32 {
        self.writer.view().find(&key(account).0).unwrap()
    }

    pub fn set_nonce(&mut self, account: u64, nonce: u64) {
        self.writer.set_nonce(self.index(account), nonce);
    }

    pub fn offer_at(&mut self, origin: FrameOrigin, frame: &[u8], now: Moment) -> Offered {
        self.batcher.offer(&self.admission, &origin, frame, now, &mut self.port, &mut self.rejected)
    }

    pub fn offer(&mut self, frame: &[u8]) -> Offered {
        self.offer_at(CLEAN, frame, NOW)
    }

    /// Offers one transaction and tells its end.
    pub fn judge(&mut self, transaction: &[u8]) -> Result<(), Code> {
        self.judge_at(transaction, NOW)
    }

    pub fn judge_at(&mut self, transaction: &[u8], now: Moment) -> Result<(), Code> {
        self.rejected.clear();
        let offered = self.offer_at(CLEAN, transaction, now);
        assert_eq!((offered.consumed, offered.transactions, offered.full), (transaction.len(), 1, false));
        match self.rejected.first() {
            Some(rejection) => Err(rejection.code),
            None => Ok(()),
        }
    }

    pub fn flush(&mut self) -> &[Batch] {
        self.batcher.flush(&self.admission, u64::MAX, &mut self.port);
        &self.port.left
    }

    /// The bytes of all batches that left, in order.
    pub fn left_bytes(&self) -> Vec<Vec<u8>> {
        let transactions = self.port.left.iter().flat_map(Batch::transactions);
        transactions.map(|transaction| transaction.bytes().to_vec()).collect()
    }
}
