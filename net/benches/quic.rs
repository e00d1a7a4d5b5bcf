//! What receiving costs: a client sends frames as fast as it can, the intake only counts.
//!
//! `quic::server_cpu` charges the CPU time of the server's thread alone, so its throughput is what one core of a
//! validator receives, whatever the client needs. `quic::wall` is what passes between two cores on this machine.
//! Server and client are pinned to a core each where there are two.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tana_net::{
    FloodStream, Identity, Intake, Offer, QueryFuture, ServerConfig, ServerPin, Source, StreamId, TxClient, TxServer,
};
use tokio::sync::Notify;

const ITEM_BYTES: usize = 180;

#[derive(Default)]
struct Counter {
    frames: AtomicU64,
    thread: AtomicU64,
    room: Notify,
}

impl Intake for Counter {
    fn offer(&self, _source: &Source, _stream: StreamId, frame: &[u8]) -> Offer {
        std::hint::black_box(frame);
        self.frames.fetch_add(1, Ordering::Relaxed);
        Offer::Taken
    }

    fn room(&self) -> &Notify {
        &self.room
    }

    fn query(&self, request: Vec<u8>) -> QueryFuture {
        Box::pin(async move { request })
    }

    fn closed(&self, _stream: StreamId) {}
}

fn pin(core: usize) {
    if let Some(cores) = core_affinity::get_core_ids()
        && let Some(core) = cores.get(core)
    {
        core_affinity::set_for_current(*core);
    }
}

/// CPU time that a thread of this process has used so far.
fn thread_cpu(thread: u64) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0))
}

/// A server and its client's streams, one per connection.
struct Bed {
    runtime: tokio::runtime::Runtime,
    streams: Vec<(TxClient, FloodStream)>,
    counter: Arc<Counter>,
    _server: TxServer,
}

impl Bed {
    fn new(connections: usize) -> Bed {
        let counter = Arc::new(Counter::default());
        let identity = Identity::from_seed(&[1; 32]).unwrap();
        let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into(), identity.clone());
        let of_thread = counter.clone();
        config.on_thread_start = Some(Arc::new(move |_| {
            pin(0);
            let link = std::fs::read_link("/proc/thread-self").unwrap_or_default();
            let thread = link.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            of_thread.thread.store(thread.unwrap_or(0), Ordering::SeqCst);
        }));
        let server = TxServer::start(config, counter.clone()).unwrap();
        pin(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let address = server.local_addr();
        let streams = runtime.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..connections {
                let client = TxClient::connect(address, ServerPin::Key(identity.public_key()), None).await.unwrap();
                let flood = client.open_flood().await.unwrap();
                streams.push((client, flood));
            }
            streams
        });
        Bed { runtime, streams, counter, _server: server }
    }

    /// Sends `count` frames over all connections and waits until they were counted; wall time and server CPU time.
    fn send(&mut self, frame: &Bytes, count: u64) -> (Duration, Duration) {
        let thread = self.counter.thread.load(Ordering::SeqCst);
        let target = self.counter.frames.load(Ordering::Relaxed) + count;
        let (start, cpu_start) = (Instant::now(), thread_cpu(thread));
        let of_each = count / self.streams.len() as u64;
        let rest = count % self.streams.len() as u64;
        let streams = std::mem::take(&mut self.streams);
        self.streams = self.runtime.block_on(async {
            let mut tasks = Vec::new();
            for (number, (client, mut flood)) in streams.into_iter().enumerate() {
                let frame = frame.clone();
                let mine = of_each + u64::from((number as u64) < rest);
                tasks.push(tokio::spawn(async move {
                    for _ in 0..mine {
                        flood.send_frames(&mut [frame.clone()]).await.unwrap();
                    }
                    (client, flood)
                }));
            }
            let mut streams = Vec::new();
            for task in tasks {
                streams.push(task.await.unwrap());
            }
            while self.counter.frames.load(Ordering::Relaxed) < target {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            streams
        });
        (start.elapsed(), thread_cpu(thread) - cpu_start)
    }
}

fn receive(criterion: &mut Criterion) {
    for (name, of_server) in [("quic::server_cpu", true), ("quic::wall", false)] {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).measurement_time(Duration::from_secs(4));
        for (connections, items) in [(1usize, 64usize), (4, 64), (64, 64), (4, 8), (4, 360)] {
            let mut frame = Vec::new();
            tana_net::frame::encode(&vec![7; items * ITEM_BYTES], &mut frame).unwrap();
            let frame = Bytes::from(frame);
            let mut bed = Bed::new(connections);
            group.throughput(Throughput::Elements(items as u64));
            let id = BenchmarkId::from_parameter(format!("connections={connections},items_a_frame={items}"));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|count| {
                    let (wall, cpu) = bed.send(&frame, count);
                    if of_server { cpu } else { wall }
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, receive);
criterion_main!(benches);
