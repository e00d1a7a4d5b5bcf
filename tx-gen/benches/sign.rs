//! Signing rates of one core: the library's way, with the expanded key at hand, and a load's way.
//!
//! Run with `cargo bench -p tx-gen --bench sign`. "Messages" are signed transfers: 48 bytes of prefix and 116 of body.

use std::hint::black_box;
use std::sync::atomic::AtomicU64;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::Signer;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use sha2::Sha512;
use tana_types::bulk::{bulk_key, bulk_secret};
use tana_types::transaction::{Chain, SIGNATURE_BYTES, TRANSFER_BYTES};
use tx_gen::accounts::{AccountKey, bulk_keys};
use tx_gen::signer::{ChunkSigner, GROUP, Slot};

/// Signatures of one measurement: a chunk of a load.
const COUNT: usize = GROUP * 64;

fn sign(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("signer::sign");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    let message = [7; 48 + TRANSFER_BYTES - SIGNATURE_BYTES];
    let key = bulk_key("bench", 0);
    group.bench_function("path=library", |bencher| bencher.iter(|| key.sign(black_box(&message))));
    let expanded = ExpandedSecretKey::from(&bulk_secret("bench", 0));
    let public = key.verifying_key();
    group.bench_function("path=expanded", |bencher| {
        bencher.iter(|| raw_sign::<Sha512>(&expanded, black_box(&message), &public));
    });
    group.throughput(Throughput::Elements(COUNT as u64));
    let keys: Vec<AccountKey> = bulk_keys("bench", 0, 1_000, &AtomicU64::new(0));
    let slots: Vec<Slot<'_>> = (0..COUNT)
        .map(|number| Slot { offset: number * TRANSFER_BYTES, length: TRANSFER_BYTES, key: &keys[number % keys.len()] })
        .collect();
    let mut buffer = vec![7; COUNT * TRANSFER_BYTES];
    let chain = Chain::new([1; 32]);
    group.bench_function("path=load", |bencher| {
        bencher.iter(|| ChunkSigner::new(&chain, "bench", 0, 0).sign(black_box(&mut buffer), &slots));
    });
    group.finish();
}

fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accounts::bulk_keys");
    group.throughput(Throughput::Elements(16_384)).sample_size(10);
    group.bench_function("cores=all", |bencher| bencher.iter(|| bulk_keys("bench", 0, 16_384, &AtomicU64::new(0))));
    group.finish();
}

criterion_group!(benches, sign, keys);
criterion_main!(benches);
