//! What goes and what stays, on logs of small segments that were written for the test.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use ed25519_dalek::SigningKey;
use tana_commit::CommitParts;
use tana_store::{LogConfig, LogThread, LogWrite};
use tana_types::Hash;
use tana_types::account::{NO_ACCOUNT, RECORD_BYTES};
use tana_types::batch::{Batch, Origin};
use tana_types::header::{BlockHeader, LaneBatches};
use tana_types::payload::Payload;
use tana_types::state::StateSections;
use tana_types::transaction::{Transaction, sign};

use super::*;

/// Heights after which a batch expires.
const EXPIRY: u64 = 10;
const BLOCKS: u64 = 160;

struct Entry {
    log: usize,
    bytes: Vec<u8>,
}

impl LogWrite for Entry {
    fn log(&self) -> usize {
        self.log
    }

    fn kind(&self) -> u8 {
        1
    }

    fn parts(&self) -> [&[u8]; 4] {
        [&self.bytes, &[], &[], &[]]
    }
}

fn chain() -> Chain {
    crate::sync::tests::world::genesis(4).to_chain()
}

/// A sealed batch of 30 large transactions, about 36 KB.
fn batch(height: u64, sequence: u64) -> Batch {
    let (chain, key) = (chain(), SigningKey::from_bytes(&[9; 32]));
    let biography = "b".repeat(1_000);
    let mut batch = Batch::default();
    batch.clear();
    for number in 0..30 {
        let payload = Payload::UserCreation { username: "@somebody", display_name: "", biography: &biography };
        let bytes = sign(&chain, &key, number, height, &payload).unwrap();
        batch.push(Transaction::exactly(&bytes).unwrap(), NO_ACCOUNT, Origin::default());
    }
    batch.seal(&chain, &key, 0, sequence, 0, height + EXPIRY);
    batch
}

fn header(height: u64, digest: Hash) -> BlockHeader {
    BlockHeader {
        height,
        epoch: 0,
        parent: [0; 32],
        proposer: [0; 32],
        timestamp_ms: height,
        executed_height: height - 1,
        state_root: [0; 32],
        receipts_root: [0; 32],
        transaction_root: [0; 32],
        transaction_count: 30,
        validator_set_hash: [0; 32],
        lanes: vec![LaneBatches { lane: 0, first_sequence: height, digests: vec![digest] }],
    }
}

/// A record of the order log.
fn ordered(header: &BlockHeader) -> Vec<u8> {
    crate::order_record::encode_head(header)
}

/// A commit record of about 50 KB.
fn record(header: &BlockHeader, batch_position: u64) -> Vec<u8> {
    let sections = StateSections {
        height: header.height,
        account_count: 500,
        accounts_root: [1; 32],
        currencies_hash: [2; 32],
        pending_hash: [3; 32],
        validators_hash: [4; 32],
        progress_hash: [5; 32],
    };
    let changed: Vec<u32> = (0..500).collect();
    let parts = CommitParts {
        header,
        receipts_root: [0; 32],
        sections: &sections,
        batch_positions: &[batch_position],
        codes: &[0; 30],
        changed: &changed,
        overflows: &[],
    };
    parts.assemble(&[[7; RECORD_BYTES]; 500])
}

/// Three logs as a node leaves them, with the places of each block's records.
struct Logs {
    folder: tempfile::TempDir,
    places: Vec<[Position; 3]>,
    blocks: Arc<BlockIndex>,
}

impl Logs {
    /// One batch for each block; the order log stays one segment.
    fn write() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = LogConfig::new(folder.path(), &LOG_NAMES);
        config.segment_bytes = 1 << 20;
        config.record_bytes_max = 1 << 19;
        let (input, records) = crossbeam::channel::bounded(8);
        let (durable, places_there) = crossbeam::channel::unbounded();
        let log = LogThread::start(
            config,
            records,
            move |done: tana_store::Durable<Entry>| durable.send(done.position).unwrap(),
            |error| panic!("{error}"),
        )
        .unwrap();
        let append = |log: usize, bytes: Vec<u8>| {
            input.send(Entry { log, bytes }).unwrap();
            places_there.recv().unwrap()
        };
        let blocks = Arc::new(BlockIndex::new(Vec::new()));
        let mut places = Vec::new();
        for height in 1..=BLOCKS {
            let batch = batch(height, height);
            let header = header(height, batch.seal_header().digest());
            let batch_at = append(BATCH_LOG, batch.sealed_bytes().to_vec());
            let order_at = append(ORDER_LOG, ordered(&header));
            let block_at = append(BLOCK_LOG, record(&header, batch_at.to_u64()));
            blocks.push(height, block_at.to_u64());
            places.push([batch_at, order_at, block_at]);
        }
        drop(input);
        log.join().unwrap();
        Self { folder, places, blocks }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn checkpoint(&self, height: u64) -> CheckpointMeta {
        let positions = self.places[height as usize - 1].to_vec();
        CheckpointMeta { height, positions, ..CheckpointMeta::default() }
    }

    fn pruner(&self, keep_heights: u64) -> Pruner {
        Pruner::new(PruneParts {
            logs: self.path().to_owned(),
            tables: self.path().join("tables"),
            chain: chain(),
            blocks: self.blocks.clone(),
            keep_heights,
        })
    }

    fn first(&self, log: usize) -> u32 {
        LogReader::open(self.path(), LOG_NAMES[log]).unwrap().first_position().unwrap().segment
    }

    /// The heights that are left; each one's batch must be there.
    fn left(&self) -> Vec<u64> {
        let mut heights = Vec::new();
        let reader = LogReader::open(self.path(), LOG_NAMES[BLOCK_LOG]).unwrap();
        let mut records = reader.iter().unwrap();
        let mut batches = LogReader::open(self.path(), LOG_NAMES[BATCH_LOG]).unwrap();
        while let Some(record) = records.next_record().unwrap() {
            let record = CommitRecord::decode(record.payload).unwrap();
            let batch = batches.read_at(Position::from_u64(record.batch_positions[0])).unwrap();
            assert_eq!(Seal::decode(&batch.payload, &chain()).unwrap().0.sequence.get(), record.header.height);
            heights.push(record.header.height);
        }
        heights
    }
}

#[test]
fn whole_segments_below_the_kept_height_go_and_no_others() {
    let logs = Logs::write();
    let tables = logs.path().join("tables");
    std::fs::create_dir(&tables).unwrap();
    for segment in 1..=9u32 {
        for kind in [TableKind::Transactions, TableKind::Accounts] {
            std::fs::write(table_path(&tables, kind, segment), b"table").unwrap();
        }
    }
    let mut pruner = logs.pruner(50);
    let pruned = pruner.prune(&logs.checkpoint(140), None).unwrap();
    assert!(pruned.block_segments >= 2 && pruned.batch_segments >= 1, "{pruned:?}");
    let left = logs.left();
    assert!(left[0] <= 90 && left[0] > 40, "{left:?}");
    assert_eq!(left.last(), Some(&BLOCKS));
    assert_eq!(logs.blocks.oldest(), Some(left[0]));
    assert_eq!(logs.blocks.at_or_below(left[0] - 1), None);
    let (height, place) = logs.blocks.at_or_below(left[0]).unwrap();
    let mut reader = LogReader::open(logs.path(), LOG_NAMES[BLOCK_LOG]).unwrap();
    let found = reader.read_at(Position::from_u64(place)).unwrap();
    assert_eq!(CommitRecord::decode(&found.payload).unwrap().header.height, height);
    assert_eq!(std::fs::read_dir(&tables).unwrap().count(), 2 * (9 - pruned.block_segments as usize));
    // A second time there is nothing to do.
    assert_eq!(pruner.prune(&logs.checkpoint(140), None).unwrap(), Pruned::default());
    // A restart from the checkpoint finds its places.
    for (log, position) in logs.places[139].iter().enumerate() {
        LogReader::open(logs.path(), LOG_NAMES[log]).unwrap().iter_after(*position).unwrap();
    }
    let again = pruner.prune(&logs.checkpoint(160), None).unwrap();
    assert!(again.block_segments > 0);
    assert!(logs.left()[0] > left[0]);
}

#[test]
fn an_archive_keeps_everything_and_what_is_needed_stays() {
    let logs = Logs::write();
    assert_eq!(logs.pruner(0).prune(&logs.checkpoint(BLOCKS), None).unwrap(), Pruned::default());
    assert_eq!(logs.pruner(BLOCKS).prune(&logs.checkpoint(BLOCKS), None).unwrap(), Pruned::default());
    assert_eq!(logs.pruner(1).prune(&logs.checkpoint(BLOCKS), Some(1)).unwrap(), Pruned::default());
    logs.pruner(1).prune(&logs.checkpoint(BLOCKS), Some(60)).unwrap();
    assert!(logs.left()[0] <= 60 && logs.left()[0] > 1);
}

#[test]
fn nothing_at_or_above_the_checkpoint_goes() {
    let logs = Logs::write();
    logs.pruner(1).prune(&logs.checkpoint(100), None).unwrap();
    let left = logs.left();
    assert!(left[0] <= 99);
    assert!(logs.first(BATCH_LOG) <= logs.places[99][BATCH_LOG].segment);
    // A synced node's checkpoint has no places: its logs begin behind it.
    let synced = CheckpointMeta { height: 150, positions: vec![Position::default(); 3], ..CheckpointMeta::default() };
    assert_eq!(logs.pruner(1).prune(&synced, None).unwrap(), Pruned::default());
}
