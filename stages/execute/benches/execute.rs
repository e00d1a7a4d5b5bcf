//! Execution at a million accounts: uniform transfers in blocks of 10,000, with sender hints and without, and account creation.
//!
//! Keys are made up, because execution never looks at signatures.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tana_accounts::directory;
use tana_execute::{Outcome, State, receipts_root};
use tana_types::account::{AccountIndex, NO_ACCOUNT};
use tana_types::batch::{Batch, Origin};
use tana_types::genesis::Genesis;
use tana_types::header::{BlockHeader, LaneBatches};
use tana_types::key::PublicKey;
use tana_types::payload::{Kind, Payload};
use tana_types::transaction::{Transaction, TransactionHeader};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

const ACCOUNTS: u32 = 1_000_000;
const BLOCK: usize = 10_000;
const BATCH: usize = 2_000;
const NOW: u64 = 1_730_592_000_000;

fn fake_key(number: u32) -> PublicKey {
    PublicKey(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// A key of the curve, as a validator's must be.
const VALIDATOR: &str = "ed25519_3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

fn genesis() -> Genesis {
    let text = format!(
        r#"
chain = "bench"
timestamp_ms = {NOW}
[sovereign]
key = "{key}"
[[currency]]
code = "USD"
decimals = 2
type = "fiat"
[[validator]]
key = "{key}"
address = "127.0.0.1:9000"
[bulk]
seed = "bench"
count = {ACCOUNTS}
currency = "USD"
amount = "1000000.00"
"#,
        key = VALIDATOR
    );
    #[allow(clippy::expect_used)]
    Genesis::parse(&text).expect("the genesis above is valid")
}

struct Load {
    genesis: Genesis,
    state: State,
    nonces: Vec<u64>,
    random: ChaCha8Rng,
    created: u32,
}

impl Load {
    fn new() -> Self {
        let genesis = genesis();
        let (writer, _) = directory(ACCOUNTS as usize + 2);
        #[allow(clippy::expect_used)]
        let state = State::from_genesis_with(&genesis, writer, &|_, _| (), |_, number| fake_key(number))
            .expect("a valid genesis");
        let bytes = state.resident_bytes() / ACCOUNTS as usize;
        println!("execute::memory/accounts={ACCOUNTS}: {bytes} bytes per account, directory included");
        let nonces = vec![0; ACCOUNTS as usize];
        Self { genesis, state, nonces, random: ChaCha8Rng::seed_from_u64(1), created: 0 }
    }

    fn push(&self, batch: &mut Batch, sender: PublicKey, nonce: u64, payload: &Payload<'_>, hint: AccountIndex) {
        let payload_bytes = payload.encode().unwrap_or_default();
        let header = TransactionHeader {
            version: 1,
            kind: payload.kind() as u8,
            payload_length: U16::new(payload_bytes.len() as u16),
            chain: U32::new(self.genesis.to_chain().tag()),
            nonce: U64::new(nonce),
            timestamp_ms: U64::new(NOW),
            sender: sender.0,
        };
        let bytes = [header.as_bytes(), &payload_bytes, &[0; 64]].concat();
        if let Some(transaction) = Transaction::exactly(&bytes) {
            batch.push(transaction, hint, Origin::default());
        }
    }

    fn block(&mut self, kind: Kind, hints: bool) -> Vec<Batch> {
        #[allow(clippy::expect_used)]
        let currency = "USD".parse().expect("a currency code");
        let mut batches = Vec::new();
        for _ in 0..BLOCK / BATCH {
            let mut batch = Batch::with_capacity(BATCH, BATCH * 200);
            for _ in 0..BATCH {
                if kind == Kind::UserCreation {
                    self.created += 1;
                    let payload = Payload::UserCreation { username: "", display_name: "", biography: "" };
                    self.push(&mut batch, fake_key(ACCOUNTS + self.created), 0, &payload, NO_ACCOUNT);
                    continue;
                }
                let sender = self.random.random_range(0..ACCOUNTS);
                let recipient = fake_key(self.random.random_range(0..ACCOUNTS));
                self.nonces[sender as usize] += 1;
                let payload = Payload::Transfer { recipient, currency, amount: 1 };
                let hint = if hints { sender + 2 } else { NO_ACCOUNT };
                self.push(&mut batch, fake_key(sender), self.nonces[sender as usize], &payload, hint);
            }
            batch.ids = vec![[7; 32]; batch.len()];
            batches.push(batch);
        }
        batches
    }

    fn header(&self) -> BlockHeader {
        BlockHeader {
            height: self.state.progress().height + 1,
            epoch: 0,
            parent: [0; 32],
            proposer: [0; 32],
            timestamp_ms: NOW,
            executed_height: self.state.progress().height,
            state_root: [0; 32],
            receipts_root: [0; 32],
            transaction_root: [0; 32],
            transaction_count: BLOCK as u32,
            validator_set_hash: [0; 32],
            lanes: vec![LaneBatches { lane: 0, first_sequence: 1, digests: vec![[0; 32]; BLOCK / BATCH] }],
        }
    }
}

/// The fastest of many blocks: on a machine that does other work too, the figure that means something.
fn fastest(load: &mut Load, name: &str, kind: Kind, hints: bool) {
    let mut outcome = Outcome::default();
    let mut best = Duration::MAX;
    for _ in 0..60 {
        let batches = load.block(kind, hints);
        let batches: Vec<&Batch> = batches.iter().collect();
        let header = load.header();
        let start = Instant::now();
        #[allow(clippy::expect_used)]
        load.state.execute(&header, &batches, &mut outcome).expect("blocks follow each other");
        best = best.min(start.elapsed());
        assert_eq!(outcome.applied as usize, BLOCK);
    }
    println!("execute::{name}/accounts={ACCOUNTS}: fastest {} ns per transaction", best.as_nanos() / BLOCK as u128);
}

fn execute(criterion: &mut Criterion) {
    let mut load = Load::new();
    fastest(&mut load, "transfers_with_hints", Kind::Transfer, true);
    fastest(&mut load, "transfers_without_hints", Kind::Transfer, false);
    fastest(&mut load, "creations", Kind::UserCreation, false);
    let load = std::cell::RefCell::new(load);
    let mut outcome = Outcome::default();
    let mut group = criterion.benchmark_group("execute");
    group.throughput(Throughput::Elements(BLOCK as u64));
    let mut run = |name: &str, kind, hints| {
        group.bench_function(format!("block::{name}/accounts={ACCOUNTS}/transactions={BLOCK}"), |bencher| {
            bencher.iter_batched_ref(
                || load.borrow_mut().block(kind, hints),
                |batches| {
                    let load = &mut *load.borrow_mut();
                    let batches: Vec<&Batch> = batches.iter().collect();
                    let header = load.header();
                    #[allow(clippy::expect_used)]
                    load.state.execute(&header, &batches, &mut outcome).expect("blocks follow each other");
                    assert_eq!(outcome.applied as usize, BLOCK);
                },
                BatchSize::PerIteration,
            )
        });
    };
    run("transfers_with_hints", Kind::Transfer, true);
    run("transfers_without_hints", Kind::Transfer, false);
    run("creations", Kind::UserCreation, false);
    let codes = vec![0; BLOCK];
    group.bench_function(format!("receipts_root/transactions={BLOCK}"), |bencher| {
        bencher.iter(|| black_box(receipts_root(std::iter::repeat(&[7; 32]), &codes, 5)))
    });
    group.finish();
    let mut load = load.into_inner();
    let mut group = criterion.benchmark_group("checkpoint");
    group.sample_size(10);
    group.bench_function(format!("checkpoint::dirty_pages/accounts={ACCOUNTS}"), |bencher| {
        bencher.iter_batched(
            || (),
            |()| {
                let head = load.state.begin_checkpoint();
                while !load.state.checkpoint_step(1_000, &mut |page, bytes| {
                    black_box((page, bytes.len()));
                }) {}
                head
            },
            BatchSize::PerIteration,
        )
    });
    group.finish();
}

criterion_group!(benches, execute);
criterion_main!(benches);
