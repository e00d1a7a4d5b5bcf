//! The same over real links on loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use tana_net::link::{LinkConfig, LinkLimits, Links, Peer};

use super::joining::{follow, start};
use super::world::{ACCOUNTS, EPOCH_BLOCKS, Hashed, World, validator};
use crate::sync::links::{LinkTransport, SYNC_CHANNEL};
use crate::sync::service::SyncService;
use crate::sync::{SyncClient, SyncConfig};

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[100 + number; 32])
}

/// A validator that does nothing but answer.
async fn serve(service: Arc<SyncService>, number: u8, genesis_hash: [u8; 32], others: Vec<u8>) -> (Links, SocketAddr) {
    let config = LinkConfig {
        key: key(number),
        genesis_hash,
        listen: "127.0.0.1:0".parse().unwrap(),
        limits: LinkLimits::default(),
        trouble: None,
    };
    let (links, inbound) = Links::start(config).unwrap();
    // It never dials: whoever joins knows the addresses.
    let peers = others.into_iter().map(|other| Peer { key: validator(other), address: "127.0.0.1:9".to_owned() });
    links.set_peers(peers.collect());
    let address = links.local_addr().unwrap();
    let mut inbound = inbound.into_iter().find(|end| end.channel() == SYNC_CHANNEL).unwrap();
    let there = links.clone();
    tokio::spawn(async move {
        while let Some((peer, request)) = inbound.recv().await {
            let service = service.clone();
            let answer = tokio::task::spawn_blocking(move || service.answer(&request)).await.unwrap();
            if let Some(answer) = answer.map(Bytes::from) {
                while there.is_connected(&peer)
                    && there.try_send(&peer, SYNC_CHANNEL, answer.clone()) == tana_net::link::SendOutcome::Full
                {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    });
    (links, address)
}

/// Joins a world of so many accounts over loopback from two peers; gives how long the fetch and install, and the start behind it, took.
fn join_over_links(accounts: u32) -> (Duration, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path(), accounts);
    world.steps_to(EPOCH_BLOCKS);
    let began = Instant::now();
    world.make_snapshot();
    let made = began.elapsed();
    world.steps_to(EPOCH_BLOCKS + 6);
    let service = world.service();
    let hash = world.genesis.hash();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let servers = runtime.block_on(async {
        [serve(service.clone(), 0, hash, vec![2]).await, serve(service.clone(), 1, hash, vec![2]).await]
    });
    let peers =
        (0..).zip(&servers).map(|(number, (_, address))| Peer { key: validator(number), address: address.to_string() });
    let data = tempfile::tempdir().unwrap();
    let config = SyncConfig {
        patience: Duration::from_secs(20),
        ..SyncConfig::new(data.path().into(), world.genesis.clone(), validator(2))
    };
    let began = Instant::now();
    let mut transport = LinkTransport::start(key(2), hash, "127.0.0.1:0".parse().unwrap(), peers.collect()).unwrap();
    let synced = SyncClient::new(&config, &mut transport, &Hashed).run(&|_, _, _| {}).unwrap();
    drop(transport);
    let joined = began.elapsed();
    assert_eq!(synced.height, EPOCH_BLOCKS);
    assert!(synced.expelled.is_empty());
    let began = Instant::now();
    let mut replayer = start(&world, data.path());
    let started = began.elapsed();
    follow(&world, &mut replayer);
    servers.iter().for_each(|(links, _)| links.close());
    println!(
        "{accounts} accounts: snapshot made in {made:?}, fetched and installed in {joined:?}, started in {started:?}"
    );
    (joined, started)
}

#[test]
fn a_node_joins_over_links() {
    join_over_links(ACCOUNTS);
}

/// The bar is a minute on two cores for everything. Run it by name, best in release.
#[test]
#[ignore = "a million keys take a while to make"]
fn a_million_accounts_join_within_a_minute() {
    let (joined, started) = join_over_links(1_000_000);
    assert!(joined + started < Duration::from_secs(60), "{joined:?} and {started:?}");
}
