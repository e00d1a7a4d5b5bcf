//! Look-ups in a directory of a million accounts, in random order: one by one and a batch at a time.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use tana_accounts::directory;
use tana_types::key::PublicKey;

const ACCOUNTS: usize = 1_000_000;
const BATCH: usize = 1_024;

fn find(criterion: &mut Criterion) {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let keys: Vec<[u8; 32]> = (0..ACCOUNTS).map(|_| random.random()).collect();
    let (mut writer, directory) = directory(ACCOUNTS);
    for key in &keys {
        writer.insert(PublicKey(*key));
    }
    let wanted: Vec<[u8; 32]> = (0..1 << 20).map(|_| keys[random.random_range(0..ACCOUNTS)]).collect();
    let mut group = criterion.benchmark_group("accounts");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut batches = wanted.chunks_exact(BATCH).cycle();
    group.bench_function(format!("directory::find/accounts={ACCOUNTS}"), |bencher| {
        bencher.iter(|| {
            let view = directory.view();
            for key in batches.next().unwrap_or_default() {
                black_box(view.find(key));
            }
        })
    });
    let mut found = Vec::with_capacity(BATCH);
    group.bench_function(format!("directory::find_each/accounts={ACCOUNTS}"), |bencher| {
        bencher.iter(|| {
            found.clear();
            directory.view().find_each(batches.next().unwrap_or_default(), &mut found);
            black_box(found.last());
        })
    });
    group.finish();
}

criterion_group!(benches, find);
criterion_main!(benches);
