//! What the tests share: a small genesis, unsigned transactions (execution never looks at signatures), blocks and a one-line runner.
// Each test uses a part of it; a failure here is a failure of the test.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use tana_accounts::{Directory, directory};
use tana_execute::{Outcome, State};
use tana_types::account::NO_ACCOUNT;
use tana_types::batch::{Batch, Origin};
use tana_types::code::Code;
use tana_types::genesis::Genesis;
use tana_types::header::{BlockHeader, LaneBatches};
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::transaction::{Transaction, TransactionHeader};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

pub const NOW: u64 = 1_730_592_000_000;

/// The key of test account `number`; account 0 is the sovereign.
pub fn key(number: u32) -> PublicKey {
    let mut bytes = *blake3::hash(&number.to_le_bytes()).as_bytes();
    bytes[31] = 1;
    PublicKey(bytes)
}

/// A key that a validator may have: the first of a row of keys that are points of the curve.
pub fn validator_key(number: u32) -> PublicKey {
    (0..).map(|step| key(number + (step << 24))).find(PublicKey::can_sign).unwrap()
}

/// Sovereign with 1,000.00 USD; rules small enough to be reached.
pub fn genesis() -> Genesis {
    let text = format!(
        r#"
chain = "test"
timestamp_ms = {NOW}
[rules]
accounts_per_block = 4
accounts_total = 60
pending_total = 3
pending_per_account = 2
validators_total = 3
epoch_blocks = 10
[sovereign]
key = "{}"
username = "@sovereign"
[[sovereign.allocation]]
currency = "USD"
amount = "1000.00"
[[currency]]
code = "USD"
decimals = 2
type = "fiat"
[[currency]]
code = "BTC"
decimals = 8
type = "crypto"
[[validator]]
key = "{}"
address = "127.0.0.1:9000"
"#,
        key(0),
        validator_key(1_000_000)
    );
    Genesis::parse(&text).unwrap()
}

pub fn raw(genesis: &Genesis, sender: PublicKey, nonce: u64, timestamp_ms: u64, kind: u8, payload: &[u8]) -> Vec<u8> {
    let header = TransactionHeader {
        version: 1,
        kind,
        payload_length: U16::new(payload.len() as u16),
        chain: U32::new(genesis.to_chain().tag()),
        nonce: U64::new(nonce),
        timestamp_ms: U64::new(timestamp_ms),
        sender: sender.0,
    };
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&[0; 64]);
    bytes
}

pub fn transaction(genesis: &Genesis, sender: PublicKey, nonce: u64, payload: &Payload<'_>) -> Vec<u8> {
    raw(genesis, sender, nonce, NOW, payload.kind() as u8, &payload.encode().unwrap())
}

pub fn id(bytes: &[u8]) -> [u8; 32] {
    Transaction::exactly(bytes).unwrap().id()
}

pub fn batch(transactions: &[Vec<u8>]) -> Batch {
    let mut batch = Batch::default();
    batch.clear();
    for bytes in transactions {
        batch.push(Transaction::exactly(bytes).unwrap(), NO_ACCOUNT, Origin::default());
    }
    batch
}

/// The header of the next block of `state` with `batches` in lane 0.
pub fn header(state: &State, batches: &[&Batch]) -> BlockHeader {
    let height = state.progress().height + 1;
    let first_sequence = state.progress().lane_marks.get(&0).map_or(1, |mark| mark + 1);
    let digests: Vec<_> = batches.iter().map(|batch| *blake3::hash(batch.sealed_bytes()).as_bytes()).collect();
    BlockHeader {
        height,
        epoch: state.epoch_of(height),
        parent: state.progress().block_hash,
        proposer: [0; 32],
        timestamp_ms: NOW + height,
        executed_height: height - 1,
        state_root: [0; 32],
        receipts_root: [0; 32],
        transaction_root: [0; 32],
        transaction_count: batches.iter().map(|batch| batch.len() as u32).sum(),
        validator_set_hash: [0; 32],
        lanes: if digests.is_empty() { vec![] } else { vec![LaneBatches { lane: 0, first_sequence, digests }] },
    }
}

/// A chain for tests: a state with its genesis.
pub struct TestChain {
    pub genesis: Genesis,
    pub state: State,
    pub directory: Arc<Directory>,
    pub outcome: Outcome,
}

impl TestChain {
    pub fn new() -> Self {
        Self::with(genesis())
    }

    pub fn with(genesis: Genesis) -> Self {
        let (writer, directory) = directory(100);
        let state = State::from_genesis(&genesis, writer, &|_, _| ()).unwrap();
        Self { genesis, state, directory, outcome: Outcome::default() }
    }

    /// Executes one block of these transactions and gives their codes.
    pub fn block(&mut self, transactions: &[Vec<u8>]) -> Vec<Code> {
        let batch = batch(transactions);
        let batches = if transactions.is_empty() { vec![] } else { vec![&batch] };
        let header = header(&self.state, &batches);
        self.state.execute(&header, &batches, &mut self.outcome).unwrap();
        self.outcome.codes.iter().map(|&code| Code::from_u8(code).unwrap()).collect()
    }

    /// The next nonce of a test account.
    pub fn next_nonce(&self, sender: u32) -> u64 {
        self.state.find(&key(sender)).map_or(0, |index| self.state.nonce(index) + 1)
    }

    /// Signs nothing, sends one transaction with the right nonce in a block of its own.
    pub fn send(&mut self, sender: u32, payload: Payload<'_>) -> Code {
        self.send_with_id(sender, payload).0
    }

    pub fn send_with_id(&mut self, sender: u32, payload: Payload<'_>) -> (Code, [u8; 32]) {
        let bytes = transaction(&self.genesis, key(sender), self.next_nonce(sender), &payload);
        (self.block(std::slice::from_ref(&bytes))[0], id(&bytes))
    }

    /// Creates test accounts without usernames, a few per block.
    pub fn create(&mut self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            assert_eq!(self.send(number, user("")), Code::Applied);
        }
    }

    pub fn balance(&self, account: u32, currency: &str) -> u128 {
        let id = self.state.currency(&currency.parse().unwrap()).unwrap().0;
        self.state.find(&key(account)).map_or(0, |index| self.state.balance(index, id))
    }

    pub fn total(&self, currency: &str) -> u128 {
        self.state.currency(&currency.parse().unwrap()).unwrap().1.total
    }

    /// Everything that a state root commits to, as bytes.
    pub fn fingerprint(&self) -> Vec<u8> {
        fingerprint(&self.state)
    }
}

pub fn fingerprint(state: &State) -> Vec<u8> {
    let mut bytes = state.sections(accounts_hash(state)).encode();
    bytes.extend_from_slice(&state.sovereign().to_le_bytes());
    bytes
}

/// Stands for the root of the tree of accounts: the hash of all leaves.
pub fn accounts_hash(state: &State) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for (record, overflow) in state.leaves(0..u32::MAX) {
        hasher.update(&record).update(&overflow.unwrap_or([0; 32]));
    }
    *hasher.finalize().as_bytes()
}

pub fn user(username: &str) -> Payload<'_> {
    Payload::UserCreation { username, display_name: "", biography: "" }
}

pub fn pay(recipient: u32, currency: &str, amount: u128) -> Payload<'static> {
    Payload::Transfer { recipient: key(recipient), currency: currency.parse().unwrap(), amount }
}

pub fn adjust(account: u32, currency: &str, amount: u128) -> Payload<'static> {
    let currency = currency.parse().unwrap();
    Payload::BalanceAdjustment { account: key(account), currency, amount, reason: "because the test says so" }
}
