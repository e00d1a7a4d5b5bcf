//! Signatures per second on one core: each backend, batch sizes, keys in the cache or not, shares of bad signatures.
//!
//! Names are `verify::batch/backend=.../size=.../keys=.../bad=...`. Every signature has a key of its own and a text of 128
//! bytes, 48 of them prefix. An iteration is one batch; batches are taken in turn from a pool of 4,096 signatures, so that
//! no batch is still in the first-level cache from the last time.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::{Signer, SigningKey};
use std::cell::RefCell;
use std::time::Duration;
use tana_verify::{Backend, DecodedKey, Item, KeyCache, Mode, NoCache, Verifier};

const POOL_ITEMS: usize = 4096;
const PREFIX: [u8; 48] = [0x42; 48];
const MESSAGE_BYTES: usize = 80;

struct Signed {
    key: [u8; 32],
    message: [u8; MESSAGE_BYTES],
    signature: [u8; 64],
}

/// One signature of each of the pool's keys; `bad` of a hundred are broken.
fn pool(bad_percent: usize) -> Vec<Signed> {
    (0..POOL_ITEMS)
        .map(|index| {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&(index as u64).to_le_bytes());
            let signer = SigningKey::from_bytes(&seed);
            let message = core::array::from_fn(|i| (index >> (i % 12)) as u8);
            let mut signature = signer.sign(&[&PREFIX[..], &message].concat()).to_bytes();
            if index * 61 % 100 < bad_percent {
                signature[40] ^= 1;
            }
            Signed { key: signer.verifying_key().to_bytes(), message, signature }
        })
        .collect()
}

fn items(pool: &[Signed]) -> Vec<Item<'_>> {
    pool.iter()
        .enumerate()
        .map(|(index, signed)| Item {
            key: &signed.key,
            message: &signed.message,
            signature: &signed.signature,
            hint: index as u32,
        })
        .collect()
}

/// A place per hint, 32 bytes a key, as the engine has.
struct Table(RefCell<Vec<Option<[u8; 32]>>>);

impl KeyCache for Table {
    fn get(&self, hint: u32, _key: &[u8; 32]) -> Option<DecodedKey> {
        self.0.borrow()[hint as usize].map(|x| DecodedKey { x })
    }

    fn put(&self, hint: u32, _key: &[u8; 32], decoded: &DecodedKey) {
        self.0.borrow_mut()[hint as usize] = Some(decoded.x);
    }
}

fn run(
    criterion: &mut Criterion,
    backend: Backend,
    size: usize,
    bad_percent: usize,
    cache: &impl KeyCache,
    keys: &str,
) {
    let pool = pool(bad_percent);
    let items = items(&pool);
    let mut verifier = Verifier::new(backend, [1; 32]);
    let mut verdicts = Vec::new();
    verifier.verify(&PREFIX, &items, cache, Mode::BatchFirst, &mut verdicts);
    let mut batches = items.chunks_exact(size).cycle();
    let mut group = criterion.benchmark_group("verify::batch");
    group.throughput(Throughput::Elements(size as u64));
    let name = BenchmarkId::from_parameter(format!("backend={backend}/size={size}/keys={keys}/bad={bad_percent}%"));
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let batch = batches.next().unwrap_or(&items);
            let outcome = verifier.verify(&PREFIX, batch, cache, Mode::BatchFirst, &mut verdicts);
            assert!(bad_percent > 0 || outcome.invalid == 0);
            outcome
        });
    });
    group.finish();
}

fn benches(criterion: &mut Criterion) {
    let full = Table(RefCell::new(vec![None; POOL_ITEMS]));
    for backend in Backend::ALL.into_iter().filter(|backend| backend.is_available()) {
        for size in [64, 128, 512, 1024] {
            run(criterion, backend, size, 0, &full, "cached");
            if backend != Backend::Reference {
                run(criterion, backend, size, 0, &NoCache, "decoded");
            }
        }
        for bad_percent in [1, 10] {
            run(criterion, backend, 512, bad_percent, &full, "cached");
        }
    }
}

criterion_group! {
    name = verify;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500));
    targets = benches
}
criterion_main!(verify);
