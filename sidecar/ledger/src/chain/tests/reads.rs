//! What reads say at the edges: while the reader is behind, while the state is loaded again, and when there is more than time or room.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State as AxumState;
use parking_lot::RwLock;
use tana_engine::pipeline::{BLOCK_LOG, LOG_NAMES};
use tana_engine::replay::DataFolders;
use tana_store::Position;
use tana_store::log::{Durable, LogConfig, LogThread, LogWrite};

use super::super::describe::Decimals;
use super::super::files::{Block, Content, Files};
use super::super::lookup::Lookup;
use super::super::recent::{Recent, account_places};
use super::super::shared::{Live, Shared};
use super::super::{Chain, ChainError, Inner, Phase, Place};
use super::*;
use crate::api::{ApiConfig, ApiState, about};

/// A reader that stands where the world's state is; nothing follows any node.
fn chain(world: World, files: Arc<Files>, data: &Path) -> Chain {
    let shared = Arc::new(Shared {
        data: data.to_owned(),
        folders: DataFolders::new(data),
        chain: world.genesis.to_chain(),
        genesis: world.genesis,
        phase: RwLock::new(Phase::Following),
        head: tokio::sync::watch::Sender::new(0),
        attested: AtomicU64::new(0),
        published: AtomicU64::new(0),
        tree: RwLock::new(Some(world.proofs)),
        live: RwLock::new(Some(Live { state: world.state, files })),
        stop: AtomicBool::new(false),
    });
    Chain { inner: Arc::new(Inner { shared, thread: std::thread::current() }) }
}

fn empty_files(world: &World, data: &Path) -> Arc<Files> {
    Arc::new(Files::new(&DataFolders::new(data), world.genesis.to_chain(), 0, &[None; 3]))
}

struct Entry(Vec<u8>);

impl LogWrite for Entry {
    fn log(&self) -> usize {
        BLOCK_LOG
    }

    fn kind(&self) -> u8 {
        1
    }

    fn parts(&self) -> [&[u8]; 4] {
        [&self.0, &[], &[], &[]]
    }
}

/// Files of a node without tables whose block log has one block in each segment. Of a block there is nothing but its height.
fn long_files(world: &World, data: &Path, blocks: u64) -> Files {
    let folders = DataFolders::new(data);
    let mut config = LogConfig::new(&folders.logs, &LOG_NAMES);
    (config.segment_bytes, config.record_bytes_max) = (64 << 10, 48 << 10);
    let (input, records) = crossbeam::channel::bounded(8);
    let (durable, places) = crossbeam::channel::unbounded();
    let output = move |done: Durable<Entry>| durable.send(done.position).unwrap();
    let log = LogThread::start(config, records, output, |error| panic!("{error}")).unwrap();
    let positions: Vec<Position> = (1..=blocks)
        .map(|height| {
            let mut bytes = vec![0; 40 << 10];
            bytes[2..10].copy_from_slice(&height.to_le_bytes());
            input.send(Entry(bytes)).unwrap();
            places.recv().unwrap()
        })
        .collect();
    drop(input);
    log.join().unwrap();
    assert_eq!(positions.last().unwrap().segment, blocks as u32, "each block in a segment of its own");
    let files = Files::new(&folders, world.genesis.to_chain(), 0, &[None; 3]);
    (1..).zip(positions).for_each(|(height, position)| files.blocks.push(height, position));
    files
}

/// A block of so many transfers of account 0 to others.
fn content(world: &mut World, transfers: u32) -> Content {
    let transfers: Vec<(u32, Payload<'_>)> = (0..transfers)
        .map(|other| (0, Payload::Transfer { recipient: key(other + 1), currency: "USD".parse().unwrap(), amount: 1 }))
        .collect();
    let step = world.execute(&transfers, 0);
    let block = Arc::new(Block::new(&CommitRecord::decode(&step.record).unwrap()));
    Content::new(block, vec![step.batch]).unwrap()
}

#[tokio::test]
async fn a_reader_that_is_behind_says_so_and_one_without_a_state_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let files = empty_files(&world, folder.path());
    let chain = chain(world, files, folder.path());
    let shared = chain.inner.shared.clone();
    let state = ApiState::start(chain.clone(), ApiConfig { ready_blocks_behind: 20, ..ApiConfig::default() });
    let ready = async || {
        let response = about::ready(AxumState(state.clone())).await;
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        (status, serde_json::from_slice::<about::Ready>(&body).unwrap())
    };
    for (published, status, word) in [(0, 200, "ready"), (20, 200, "ready"), (21, 503, "behind")] {
        shared.published.store(published, Ordering::Release);
        let (got, body) = ready().await;
        assert_eq!((got, body.status.as_str(), body.blocks_behind), (status, word, published), "{body:?}");
        assert_eq!(chain.head().unwrap().finalized_height, published);
    }
    // The state went away between two looks at the phase.
    *shared.live.write() = None;
    let (got, body) = ready().await;
    assert_eq!((got, body.status.as_str()), (503, "loading"), "{body:?}");
}

#[test]
fn a_state_that_is_loaded_again_says_nothing_about_accounts() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let content = content(&mut world, 3);
    let files = empty_files(&world, folder.path());
    let chain = chain(world, files, folder.path());
    let find = |keys: &[[u8; 32]]| chain.find_keys(keys);
    *chain.inner.shared.phase.write() = Phase::Loading;
    assert!(matches!(account_places(&content, &find), Err(ChainError::NotReady(_))));
    *chain.inner.shared.phase.write() = Phase::Following;
    // Nothing was kept of the first try.
    let sender = chain.find_keys(&[key(0).0]).unwrap()[0].unwrap();
    assert_eq!(account_places(&content, &find).unwrap(), &[(sender, 0), (sender, 1), (sender, 2)]);
}

#[test]
fn what_stands_in_for_a_table_is_bounded_within_one_segment_too() {
    let mut world = World::new();
    let sender = world.state.accounts.find(&key(0).0).unwrap();
    let mut recent = Recent::default();
    let contents: Vec<Content> = (0..10).map(|_| content(&mut world, 10)).collect();
    let places = |index: u32| (0..10).map(|place| (sender, place)).collect::<Vec<_>>()[..index as usize].to_vec();
    for (content, height) in contents.iter().zip(1..) {
        recent.take(7, height, content, &places(10));
        recent.bound(40, 1_000);
        let found = recent.account(sender, u64::MAX, 1_000).remove(&7).unwrap();
        assert!(found.places.len() <= 40, "{} transactions after block {height}", found.places.len());
        assert_eq!(found.is_all, height <= 4, "block {height}");
        // The newest ones are there, and a question that they fill needs nothing else.
        let newest = recent.account(sender, u64::MAX, 10).remove(&7).unwrap();
        assert!(newest.is_all && newest.places.len() == 10);
        assert!(newest.places.iter().all(|at| tana_engine::indexer::place_of(*at).0 == height));
    }
    let id = |content: &Content| tana_engine::indexer::key_of_id(content.transaction(0).unwrap().1);
    let (first, last) = (recent.ids(id(&contents[0])), recent.ids(id(&contents[9])));
    assert!(first[&7].places.is_empty() && !first[&7].is_all);
    assert_eq!(last[&7].places, [tana_engine::indexer::place(10, 0)]);
    // Blocks without a transaction count too.
    let mut recent = Recent::default();
    let empty = content(&mut world, 0);
    for height in 1..=100 {
        recent.take(7, height, &empty, &Vec::new());
        recent.bound(40, 16);
        assert!(recent.kept_blocks() <= 16);
    }
    // Of several segments the oldest goes whole.
    let mut recent = Recent::default();
    for (content, height) in contents.iter().zip(1..) {
        recent.take(height as u32, height, content, &places(10));
        recent.bound(40, 1_000);
    }
    assert_eq!(recent.ids(0).into_keys().collect::<Vec<_>>(), [7, 8, 9, 10]);
}

#[test]
fn a_look_up_ends_in_time_however_many_segments_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let files = long_files(&world, folder.path(), 8);
    *files.recent.lock() = Recent::caught_up(9);
    let find = |keys: &[[u8; 32]]| Ok(vec![None; keys.len()]);
    let decimals = || Decimals::of(&world.state.sections);
    let lookup = Lookup { files: &files, find: &find, decimals: decimals() };
    let over = Instant::now();
    assert_eq!(lookup.by_id(&[1; 32], over).err(), Some(ChainError::TimeOver));
    // A page goes on where the time was over, never above where it was to begin.
    let next = |given: Option<Place>| lookup.by_account(3, given, 10, over).map(|page| page.next);
    assert_eq!(next(Some(Place { height: 5, index: 3 })), Ok(Some(Place { height: 5, index: 3 })));
    assert_eq!(next(Some(Place { height: 1, index: 3 })), Ok(Some(Place { height: 1, index: 3 })));
    assert_eq!(next(None), Err(ChainError::TimeOver));
    // With time enough it is the missing table that is told.
    let later = Instant::now() + Duration::from_secs(60);
    assert_eq!(lookup.by_id(&[1; 32], later).err(), Some(ChainError::TooLong));
}

#[test]
fn a_block_of_this_moment_is_not_called_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let files = Arc::new(long_files(&world, folder.path(), 3));
    assert!(matches!(files.no_block(3), ChainError::NotReady(_)));
    assert!(matches!(files.no_block(4), ChainError::NotFound(_)));
    let chain = chain(world, files, folder.path());
    // Its header is not known yet, so no certificate is.
    assert!(matches!(chain.certificate(3), Err(ChainError::NotFound(text)) if text.contains("certificate yet")));
    assert!(matches!(chain.certificate(4), Err(ChainError::NotFound(text)) if text.contains("no block 4")));
}
