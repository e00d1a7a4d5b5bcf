//! Time of a tree update for a block of uniform transfers, each of which changes two accounts, on one core.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tana_root::{AccountTree, LeafChanges, RECORD_BYTES};

/// Blocks that are prepared before measuring and then used in turn.
const BLOCKS: usize = 8;

struct Block {
    indexes: Vec<u32>,
    records: Vec<[u8; RECORD_BYTES]>,
}

fn block(random: &mut ChaCha8Rng, accounts: u32, transfers: usize) -> Block {
    let mut indexes: Vec<u32> = (0..2 * transfers).map(|_| random.random_range(0..accounts)).collect();
    indexes.sort_unstable();
    indexes.dedup();
    let records = indexes.iter().map(|_| random.random::<[u8; RECORD_BYTES]>()).collect();
    Block { indexes, records }
}

fn update(criterion: &mut Criterion) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for accounts in [1_000_000u32, 10_000_000] {
        let leaves = (0..accounts).map(|index| std::array::from_fn(|byte| (index >> (byte % 4)) as u8));
        let Ok(mut tree) = AccountTree::from_leaves(leaves, None) else { return };
        let mut group = criterion.benchmark_group("root::update");
        group.sample_size(20);
        for transfers in [1_000usize, 10_000, 50_000] {
            let blocks: Vec<Block> = (0..BLOCKS).map(|_| block(&mut random, accounts, transfers)).collect();
            let changed = blocks.iter().map(|block| block.indexes.len()).sum::<usize>() / BLOCKS;
            group.throughput(Throughput::Elements(changed as u64));
            let mut turn = 0;
            group.bench_function(format!("accounts={accounts}/transfers={transfers}"), |bencher| {
                bencher.iter(|| {
                    turn = (turn + 1) % BLOCKS;
                    let Block { indexes, records } = &blocks[turn];
                    tree.update(black_box(&LeafChanges { indexes, records, overflows: &[] }), None)
                });
            });
        }
        group.finish();
    }
}

fn rebuild(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("root::from_leaves");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1_000_000));
    group.bench_function("accounts=1000000", |bencher| {
        bencher.iter(|| AccountTree::from_leaves((0..1_000_000).map(|_| black_box([7; 32])), None));
    });
    group.finish();
}

criterion_group!(benches, update, rebuild);
criterion_main!(benches);
