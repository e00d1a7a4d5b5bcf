//! Time per batch of short messages: the vector code against the `blake3` crate one at a time.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tana_hash::{HashKey, ListDomain, hash_each, keyed_each_fixed, merkle_root};

const MESSAGES: usize = 512;

fn each(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash::each");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    for length in [64usize, 128, 180, 1024] {
        let buffer: Vec<u8> = (0..MESSAGES * length).map(|index| (index * 31) as u8).collect();
        let inputs: Vec<&[u8]> = buffer.chunks(length).collect();
        let mut out = vec![[0; 32]; MESSAGES];
        group.bench_function(format!("bytes={length}"), |bencher| {
            bencher.iter(|| hash_each(black_box(&inputs), &mut out));
        });
        group.bench_function(format!("one_at_a_time/bytes={length}"), |bencher| {
            bencher.iter(|| {
                for (input, hash) in inputs.iter().zip(&mut out) {
                    *hash = tana_hash::hash(black_box(input));
                }
            });
        });
    }
    let buffer: Vec<u8> = (0..MESSAGES * 256).map(|index| (index * 31) as u8).collect();
    let inputs: Vec<&[u8]> =
        buffer.chunks(256).enumerate().map(|(index, chunk)| &chunk[..100 + index * 37 % 156]).collect();
    let mut out = vec![[0; 32]; MESSAGES];
    group.bench_function("bytes=100..256", |bencher| {
        bencher.iter(|| hash_each(black_box(&inputs), &mut out));
    });
    group.finish();
}

fn fixed<const N: usize>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash::keyed_each_fixed");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    let key = HashKey::from_context("bench");
    let inputs = vec![[7u8; N]; MESSAGES];
    let mut out = vec![[0; 32]; MESSAGES];
    group.bench_function(format!("bytes={N}"), |bencher| {
        bencher.iter(|| keyed_each_fixed(&key, black_box(&inputs), &mut out));
    });
    group.finish();
}

fn list(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash::merkle_root");
    let domain = ListDomain::from_contexts("bench node", "bench root");
    let leaves = vec![[7; 32]; 10_000];
    group.throughput(Throughput::Elements(leaves.len() as u64));
    group.bench_function("leaves=10000", |bencher| bencher.iter(|| merkle_root(&domain, black_box(&leaves))));
    group.finish();
}

fn all(criterion: &mut Criterion) {
    each(criterion);
    fixed::<64>(criterion);
    fixed::<96>(criterion);
    fixed::<128>(criterion);
    list(criterion);
}

criterion_group!(benches, all);
criterion_main!(benches);
