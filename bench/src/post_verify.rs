//! What follows verification, alone on one core: execution, state root, receipts, and the durable commit record.
//!
//! Signatures count as checked and identifiers as known, as they are behind the verify stage. The log's thread runs on the same core, so
//! that its work is part of the figure. Transfers are uniform over all accounts; blocks hold 10,000.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::bounded;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tana_accounts::directory;
use tana_commit::CommitParts;
use tana_engine::pipeline::verify::fill_ids;
use tana_engine::replay::build_tree;
use tana_execute::{Outcome, State};
use tana_root::{AccountTree, LeafChanges};
use tana_store::{LogConfig, LogThread, LogWrite};
use tana_types::batch::{Batch, Origin};
use tana_types::genesis::Genesis;
use tana_types::header::{BlockHeader, LaneBatches};
use tana_types::key::PublicKey;
use tana_types::transaction::{SIGNATURE_BYTES, TRANSACTION_VERSION, TRANSFER_BYTES, Transaction, TransactionHeader};
use zerocopy::IntoBytes;

use crate::chain::{ChainChoices, genesis_text};
use crate::step::{cores, pin, thread_time};

/// Transfers of a block.
pub const BLOCK_TRANSFERS: usize = 10_000;
const BATCH_TRANSFERS: usize = 500;

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct PostVerify {
    /// Transfers per second, durable.
    pub tps: f64,
    /// Time of the tree per changed account, nanoseconds.
    pub root_ns_per_account: f64,
}

struct Record {
    parts: [Vec<u8>; 4],
}

impl LogWrite for Record {
    fn log(&self) -> usize {
        0
    }

    fn kind(&self) -> u8 {
        1
    }

    fn parts(&self) -> [&[u8]; 4] {
        [&self.parts[0], &self.parts[1], &self.parts[2], &self.parts[3]]
    }
}

/// A key that belongs to nobody: only its being different matters where nothing is signed.
pub fn fake_key(number: u32) -> PublicKey {
    let mut key = tana_hash::hash(&number.to_le_bytes());
    key[31] &= 0x7f;
    PublicKey(key)
}

/// A transfer without a signature.
pub fn unsigned_transfer(genesis: &Genesis, from: u32, to: u32, nonce: u64, timestamp_ms: u64) -> [u8; TRANSFER_BYTES] {
    let header = TransactionHeader {
        version: TRANSACTION_VERSION,
        kind: 2,
        payload_length: 60.into(),
        chain: genesis.to_chain().tag().into(),
        nonce: nonce.into(),
        timestamp_ms: timestamp_ms.into(),
        sender: fake_key(from).0,
    };
    let mut bytes = [0; TRANSFER_BYTES];
    bytes[..56].copy_from_slice(header.as_bytes());
    bytes[56..88].copy_from_slice(&fake_key(to).0);
    bytes[88..91].copy_from_slice(b"USD");
    bytes[100] = 1;
    // No two transfers have the same bytes where the signature would be.
    bytes[TRANSFER_BYTES - SIGNATURE_BYTES..][..8].copy_from_slice(&nonce.to_le_bytes());
    bytes
}

/// A state of `accounts` bulk accounts with fake keys, and its tree.
pub fn fake_state(accounts: u32) -> Result<(Genesis, State, AccountTree), String> {
    let choices = ChainChoices { accounts, ..ChainChoices::default() };
    let genesis = Genesis::parse(&genesis_text(&choices, &PublicKey([9; 32]))).map_err(|error| error.to_string())?;
    let (writer, _) = directory(accounts as usize + 2);
    let state = State::from_genesis_with(&genesis, writer, &|_, _| {}, |_, number| fake_key(number))
        .map_err(|error| error.to_string())?;
    let tree = build_tree(&state).map_err(|error| error.to_string())?;
    Ok((genesis, state, tree))
}

/// Blocks of uniform transfers, each sender's nonces in order.
fn make_blocks(genesis: &Genesis, accounts: u32, blocks: usize) -> Vec<Vec<Batch>> {
    let mut random = StdRng::seed_from_u64(7);
    let mut nonces = vec![0u64; accounts as usize];
    let mut block = || -> Vec<Batch> {
        let mut batches = Vec::new();
        for _ in 0..BLOCK_TRANSFERS / BATCH_TRANSFERS {
            let mut batch = Batch::with_capacity(BATCH_TRANSFERS, BATCH_TRANSFERS * TRANSFER_BYTES);
            for _ in 0..BATCH_TRANSFERS {
                let (from, to) = (random.random_range(0..accounts), random.random_range(0..accounts));
                nonces[from as usize] += 1;
                let bytes = unsigned_transfer(genesis, from, to, nonces[from as usize], genesis.timestamp_ms + 1);
                if let Some(transaction) = Transaction::exactly(&bytes) {
                    // The sentinel and the sovereign come first.
                    batch.push(transaction, from + 2, Origin::default());
                }
            }
            fill_ids(&mut batch);
            batches.push(batch);
        }
        batches
    };
    (0..blocks).map(|_| block()).collect()
}

fn header(height: u64, parent: [u8; 32], genesis: &Genesis, batches: &[Batch], state: &State) -> BlockHeader {
    let ids = batches.iter().flat_map(|batch| batch.ids.iter());
    let first_sequence = 1 + (height - 1) * batches.len() as u64;
    BlockHeader {
        height,
        epoch: (height - 1) / genesis.rules.epoch_blocks,
        parent,
        proposer: [9; 32],
        timestamp_ms: genesis.timestamp_ms + height,
        executed_height: height - 1,
        state_root: [0; 32],
        receipts_root: [0; 32],
        transaction_root: tana_execute::transaction_root(ids),
        transaction_count: (batches.len() * BATCH_TRANSFERS) as u32,
        validator_set_hash: state.sections([0; 32]).validators_hash,
        lanes: vec![LaneBatches { lane: 0, first_sequence, digests: vec![[height as u8; 32]; batches.len()] }],
    }
}

/// Measures `blocks` blocks on `accounts` accounts, writing to a log in `folder`.
pub fn measure(folder: &Path, accounts: u32, blocks: usize) -> Result<PostVerify, String> {
    let (genesis, mut state, mut tree) = fake_state(accounts)?;
    let prepared = make_blocks(&genesis, accounts, blocks);
    let core = cores()[0];
    let (sender, input) = bounded::<Record>(8);
    let (durable, done) = bounded::<()>(blocks + 8);
    let mut config = LogConfig::new(folder, &["post-verify"]);
    config.thread_start = Some(Arc::new(move || pin(core)));
    let output = move |_| {
        let _ = durable.send(());
    };
    let log = LogThread::start(config, input, output, |_| {}).map_err(|error| error.to_string())?;
    let run = std::thread::spawn(move || -> Result<(f64, Duration, u64), String> {
        pin(core);
        let mut outcome = Outcome::default();
        let (mut parent, mut root_time, mut changed) = (genesis.hash(), Duration::ZERO, 0);
        let start = Instant::now();
        for (height, batches) in (1..).zip(&prepared) {
            let header = header(height, parent, &genesis, batches, &state);
            parent = header.hash();
            let list: Vec<&Batch> = batches.iter().collect();
            state.execute(&header, &list, &mut outcome).map_err(|error| error.to_string())?;
            if outcome.applied as usize != BLOCK_TRANSFERS {
                return Err(format!("only {} of {BLOCK_TRANSFERS} transfers were applied", outcome.applied));
            }
            let before = thread_time();
            let changes = LeafChanges {
                indexes: &outcome.changed,
                records: &outcome.records,
                overflows: &outcome.overflow_hashes,
            };
            let accounts_root = tree.update(&changes, None).map_err(|error| error.to_string())?;
            root_time += thread_time() - before;
            changed += outcome.changed.len() as u64;
            let sections = state.sections(accounts_root);
            let ids = batches.iter().flat_map(|batch| batch.ids.iter());
            let receipts_root = tana_execute::receipts_root(ids, &outcome.codes, height);
            let positions = vec![0; batches.len()];
            let parts = CommitParts {
                header: &header,
                receipts_root,
                sections: &sections,
                batch_positions: &positions,
                codes: &outcome.codes,
                changed: &outcome.changed,
                overflows: &[],
            };
            let (mut head, mut tail) = (Vec::new(), Vec::new());
            parts.encode(&mut head, &mut tail);
            let records = std::mem::take(&mut outcome.records).into_flattened();
            let record = Record { parts: [head, outcome.codes.clone(), records, tail] };
            sender.send(record).map_err(|_| "the log stopped".to_owned())?;
        }
        drop(sender);
        for _ in &prepared {
            done.recv().map_err(|_| "the log stopped".to_owned())?;
        }
        Ok((start.elapsed().as_secs_f64(), root_time, changed))
    });
    let (seconds, root_time, changed) = run.join().map_err(|_| "the measuring thread panicked".to_owned())??;
    log.join().map_err(|error| error.to_string())?;
    Ok(PostVerify {
        tps: (blocks * BLOCK_TRANSFERS) as f64 / seconds,
        root_ns_per_account: root_time.as_nanos() as f64 / changed as f64,
    })
}

/// The tree alone: nanoseconds per changed account in blocks of 10,000 transfers on `accounts` accounts.
pub fn root_ns_per_account(accounts: u32, blocks: usize) -> Result<f64, String> {
    let leaves = (0..accounts).map(|number| fake_key(number).0);
    let mut tree = AccountTree::from_leaves(leaves, None).map_err(|error| error.to_string())?;
    let mut random = StdRng::seed_from_u64(3);
    let (mut time, mut changed) = (Duration::ZERO, 0);
    for block in 0..blocks {
        let mut indexes: Vec<u32> = (0..2 * BLOCK_TRANSFERS).map(|_| random.random_range(0..accounts)).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let records: Vec<[u8; 96]> = indexes.iter().map(|index| [(index % 251) as u8 ^ block as u8; 96]).collect();
        let before = thread_time();
        let changes = LeafChanges { indexes: &indexes, records: &records, overflows: &[] };
        tree.update(&changes, None).map_err(|error| error.to_string())?;
        time += thread_time() - before;
        changed += indexes.len();
    }
    Ok(time.as_nanos() as f64 / changed as f64)
}
