//! What ingest costs a transaction behind QUIC: split, look-ups, admission and the copy into a batch.
//!
//! Frames hold 64 transfers of senders drawn uniformly from all accounts; each frame is new to the duplicate filter, and batches go
//! around a pool of 64. Keys and signatures are made up: nobody checks them here. Each frame is first copied into one buffer, as
//! decryption leaves it in the cache; the copy is under the clock too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tana_accounts::{Directory, DirectoryWriter, directory};
use tana_ingest::{Admission, AdmissionConfig, BatchLimits, BatchPort, Batcher, FrameOrigin, Moment};
use tana_types::batch::Batch;
use tana_types::genesis::Rules;
use tana_types::key::PublicKey;
use tana_types::payload::{Kind, Payload};
use tana_types::transaction::{Chain, TransactionHeader};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

const WALL_MS: u64 = 1_800_000_000_000;
const FRAME_TRANSACTIONS: u64 = 64;
/// Frames that are made before the clock runs: 46 MiB of transfers, so that they are read from memory.
const FRAMES: u64 = 4_096;

fn key(number: u64) -> PublicKey {
    PublicKey(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn uniform(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn frames(chain: &Chain, accounts: u64) -> Vec<Vec<u8>> {
    let mut random = 1;
    let usd = "USD".parse().expect("USD is a code");
    let payload = Payload::Transfer { recipient: key(0), currency: usd, amount: 1 }.encode().expect("it is valid");
    let mut frame = || {
        let mut bytes = Vec::new();
        for _ in 0..FRAME_TRANSACTIONS {
            let header = TransactionHeader {
                version: 1,
                kind: Kind::Transfer as u8,
                payload_length: U16::new(payload.len() as u16),
                chain: U32::new(chain.tag()),
                nonce: U64::new(1 + uniform(&mut random) % 4_096),
                timestamp_ms: U64::new(WALL_MS),
                sender: key(uniform(&mut random) % accounts).0,
            };
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(&payload);
            (0..8).for_each(|_| bytes.extend_from_slice(&uniform(&mut random).to_le_bytes()));
        }
        bytes
    };
    (0..FRAMES).map(|_| frame()).collect()
}

/// A pool of 64 batches, as many as a pipeline keeps under way.
struct Ring(VecDeque<Batch>);

impl BatchPort for Ring {
    fn take(&mut self) -> Option<Batch> {
        self.0.pop_front()
    }
    fn send(&mut self, batch: Batch) {
        self.0.push_back(batch);
    }
}

fn fill(accounts: u64) -> (DirectoryWriter, Arc<Directory>) {
    let (mut writer, reader) = directory(accounts as usize);
    for number in 0..accounts {
        writer.insert(key(number));
    }
    (writer, reader)
}

fn offer(criterion: &mut Criterion) {
    let chain = Chain::new([7; 32]);
    let mut group = criterion.benchmark_group("ingest");
    group.throughput(Throughput::Elements(FRAME_TRANSACTIONS)).measurement_time(Duration::from_secs(5));
    for accounts in [10_000, 1_000_000] {
        let frames = frames(&chain, accounts);
        let (_writer, reader) = fill(accounts);
        let config = AdmissionConfig::with_seeds([1, 2, 3, 4]);
        let admission = Admission::new(&config, &chain, &Rules::default(), reader).expect("the defaults are valid");
        let mut batcher = Batcher::new(BatchLimits::default()).expect("the defaults are valid");
        let mut ring = Ring((0..64).map(|_| Batch::with_capacity(512, 128 * 1024)).collect());
        let (mut rejected, mut received) = (Vec::new(), Vec::new());
        let (mut next, mut clock) = (0, 0u64);
        group.bench_function(format!("offer/accounts={accounts}"), |bencher| {
            bencher.iter_custom(|iterations| {
                let start = Instant::now();
                for _ in 0..iterations {
                    // Once around all frames, the clock jumps past the life of their entries.
                    if next == frames.len() {
                        (next, clock) = (0, clock + 20_000_000_000);
                    }
                    let origin = FrameOrigin { stream: 1, source: 1, first_sequence: 0, suspect: false };
                    let now = Moment { engine_ns: clock, wall_ms: WALL_MS };
                    received.clear();
                    received.extend_from_slice(&frames[next]);
                    let offered = batcher.offer(&admission, &origin, &received, now, &mut ring, &mut rejected);
                    assert_eq!(offered.accepted, FRAME_TRANSACTIONS, "{:?}", rejected.first());
                    next += 1;
                }
                start.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, offer);
criterion_main!(benches);
