//! What a link between two validators carries: batches of 180 kB one way, and votes while batches flow.
//!
//! Both ends and all of their work share one runtime of two threads, so that `link::batches` is what passes between two
//! cores, encryption at both ends included. `link::vote_round_trip` is a message on channel 0 and one back, on an idle
//! link and on one that is full of batches.

#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::SigningKey;
use tana_net::link::{Inbound, LinkConfig, LinkLimits, Links, Peer, SendOutcome};

const BATCH_BYTES: usize = 180_000;

fn start(number: u8) -> (Links, Vec<Inbound>, Peer) {
    let key = SigningKey::from_bytes(&[number; 32]);
    let public = key.verifying_key().to_bytes();
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = LinkConfig { key, genesis_hash: [7; 32], listen, limits: LinkLimits::default(), trouble: None };
    let (links, inbound) = Links::start(config).unwrap();
    let address = links.local_addr().unwrap().to_string();
    (links, inbound, Peer { key: public, address })
}

struct Bed {
    runtime: tokio::runtime::Runtime,
    a: (Links, Vec<Inbound>, Peer),
    b: (Links, Vec<Inbound>, Peer),
}

fn bed() -> Bed {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (a, b) = {
        let _context = runtime.enter();
        (start(1), start(2))
    };
    for node in [&a, &b] {
        node.0.set_peers(vec![a.2.clone(), b.2.clone()]);
    }
    runtime.block_on(async {
        while !(a.0.is_connected(&b.2.key) && b.0.is_connected(&a.2.key)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    Bed { runtime, a, b }
}

/// Sends batches on channel 6 for as long as there is someone to send to.
async fn send_batches(links: Links, to: [u8; 32], count: u64) {
    let batch = Bytes::from(vec![0x5a; BATCH_BYTES]);
    for _ in 0..count {
        loop {
            match links.try_send(&to, 6, batch.clone()) {
                SendOutcome::Sent => break,
                SendOutcome::Full => tokio::time::sleep(Duration::from_micros(200)).await,
                _ => return,
            }
        }
    }
}

fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("link::batches");
    group.throughput(Throughput::Bytes(BATCH_BYTES as u64));
    let mut bed = bed();
    group.bench_function(BenchmarkId::from_parameter(format!("bytes={BATCH_BYTES}")), |bencher| {
        bencher.iter_custom(|count| {
            let (links, to) = (bed.a.0.clone(), bed.b.2.key);
            let inbound = &mut bed.b.1[6];
            bed.runtime.block_on(async {
                let begin = Instant::now();
                let sender = tokio::spawn(send_batches(links, to, count));
                for _ in 0..count {
                    inbound.recv().await.unwrap();
                }
                sender.await.unwrap();
                begin.elapsed()
            })
        });
    });
    group.finish();
}

fn votes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("link::vote_round_trip");
    for load in ["idle", "batches"] {
        let Bed { runtime, a, mut b } = bed();
        let (a_links, mut a_inbound, a_peer) = a;
        let b_key = b.2.key;
        let mut batches = b.1.remove(6);
        runtime.spawn(async move { while batches.recv().await.is_some() {} });
        if load == "batches" {
            runtime.spawn(send_batches(a_links.clone(), b_key, u64::MAX));
        }
        let b_links = b.0.clone();
        let mut votes = b.1.remove(0);
        runtime.spawn(async move {
            while let Some((_, vote)) = votes.recv().await {
                b_links.try_send(&a_peer.key, 0, vote);
            }
        });
        group.bench_function(BenchmarkId::from_parameter(format!("load={load}")), |bencher| {
            bencher.iter_custom(|count| {
                let vote = Bytes::from_static(&[0x11; 200]);
                runtime.block_on(async {
                    let begin = Instant::now();
                    for _ in 0..count {
                        a_links.try_send(&b_key, 0, vote.clone());
                        a_inbound[0].recv().await.unwrap();
                    }
                    begin.elapsed()
                })
            });
        });
        a_links.close();
        runtime.shutdown_background();
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = batches, votes
}
criterion_main!(benches);
