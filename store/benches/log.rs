//! One commit of a group, submit to completion: `log::append/bytes=.../backend=...`.
//!
//! The data folder is the current directory, or what `TANA_BENCH_DIR` names: a temporary folder is often in memory.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam::channel::bounded;
use tana_store::{Durable, LogBackend, LogConfig, LogThread, LogWrite};

/// A record of one log; the payload goes through by ownership.
struct Group(Vec<u8>);

impl LogWrite for Group {
    fn log(&self) -> usize {
        0
    }
    fn kind(&self) -> u8 {
        1
    }
    fn parts(&self) -> [&[u8]; 4] {
        [&self.0, &[], &[], &[]]
    }
}

fn append(criterion: &mut Criterion) {
    let base = std::env::var_os("TANA_BENCH_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let mut group = criterion.benchmark_group("log::append");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(4));
    for bytes in [160usize << 10, 1_600_000] {
        for (name, backend) in [("plain", LogBackend::Plain), ("uring", LogBackend::Uring)] {
            let folder = tempfile::tempdir_in(&base).expect("a folder for the benchmark");
            let mut config = LogConfig::new(folder.path(), &["batches"]);
            config.backend = backend;
            let (send, receive) = bounded::<Group>(4);
            let (done_send, done) = bounded::<Durable<Group>>(4);
            let output = move |write| {
                let _ = done_send.send(write);
            };
            let thread = LogThread::start(config, receive, output, |_| {}).expect("the log starts");
            println!("backend: {} ({})", thread.backend_name(), thread.reason());
            let mut payload = Some(vec![0x5a; bytes]);
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(BenchmarkId::from_parameter(format!("bytes={bytes}/backend={name}")), |bencher| {
                bencher.iter_custom(|count| {
                    let begin = Instant::now();
                    for _ in 0..count {
                        let write = Group(payload.take().expect("the payload came back"));
                        send.send(write).expect("the log thread runs");
                        payload = Some(done.recv().expect("the log thread runs").write.0);
                    }
                    begin.elapsed()
                });
            });
            drop(send);
            let totals = thread.metrics().totals();
            println!(
                "per commit: staging {} us, writing {} us",
                totals.staging_ns / 1000 / totals.commits.max(1),
                totals.writing_ns / 1000 / totals.commits.max(1)
            );
            thread.join().expect("no write failed");
        }
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
