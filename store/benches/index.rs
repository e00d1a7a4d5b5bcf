//! Segment tables and the checkpoint: `table::build`, `table::lookup`, `checkpoint::commit`.
//!
//! The data folder is the current directory, or what `TANA_BENCH_DIR` names: a temporary folder is often in memory.

use std::path::PathBuf;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tana_store::checkpoint::PAGE_BYTES_MAX;
use tana_store::{Checkpoint, CheckpointMeta, CheckpointMode, Table, TableBuilder};

/// Entries of the table: about those of a segment of 256 MiB.
const ENTRIES: u64 = 1_000_000;
/// Pages of a million accounts, 63 to a page.
const PAGES: u32 = 15_874;

fn folder() -> tempfile::TempDir {
    let base = std::env::var_os("TANA_BENCH_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    tempfile::tempdir_in(base).expect("a folder for the benchmark")
}

/// Spread like the first 8 bytes of a hash.
fn key(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn table(criterion: &mut Criterion) {
    let folder = folder();
    let path = folder.path().join("ids.table");
    let builder = || {
        let mut builder = TableBuilder::new(&path);
        (0..ENTRIES).for_each(|number| builder.add(key(number), number).expect("room for the entries"));
        builder
    };
    let mut group = criterion.benchmark_group("table");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).throughput(Throughput::Elements(ENTRIES));
    group.bench_function(format!("build/entries={ENTRIES}"), |bencher| {
        bencher.iter_batched(
            builder,
            |builder| builder.finish().expect("the table is written"),
            BatchSize::PerIteration,
        );
    });
    let table = Table::open(&path).expect("the table opens");
    group.throughput(Throughput::Elements(1));
    for (name, first) in [("present", 0), ("absent", ENTRIES)] {
        let mut number = first;
        group.bench_function(format!("lookup/key={name}"), |bencher| {
            bencher.iter(|| {
                number = first + (number + 7_919) % ENTRIES;
                table.lookup(key(number)).expect("the table is whole")
            });
        });
    }
    group.finish();
}

fn checkpoint(criterion: &mut Criterion) {
    let folder = folder();
    let checkpoint = Checkpoint::open(folder.path(), CheckpointMode::ReadWrite, 1 << 34).expect("the checkpoint opens");
    let mut group = criterion.benchmark_group("checkpoint");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    let mut height = 0;
    for step in [1, 10] {
        group.bench_function(format!("commit/pages={}", PAGES / step), |bencher| {
            bencher.iter(|| {
                height += 1;
                let mut write = checkpoint.begin().expect("no other write is open");
                for number in (0..PAGES).step_by(step as usize) {
                    write.put_page(number, &[height as u8; PAGE_BYTES_MAX]).expect("there is room");
                }
                write.commit(&CheckpointMeta { height, ..CheckpointMeta::default() }).expect("there is room");
            });
        });
    }
    group.bench_function(format!("load/pages={PAGES}"), |bencher| {
        bencher.iter(|| {
            let mut bytes = 0;
            let snapshot = checkpoint.snapshot().expect("a reader slot is free");
            snapshot.for_each_page(|_, page| bytes += page.len()).expect("every checksum holds");
            bytes
        });
    });
    group.finish();
}

criterion_group!(benches, table, checkpoint);
criterion_main!(benches);
