//! The thread that follows the node.
//!
//! 1. Wait until the data folder is of the chain and holds a checkpoint; load it.
//! 2. Every 5 ms, read the durable position. For each commit record up to it: apply it, read the header's record of the order log, and move the
//!    proof tree when that header attests more.
//! 3. What cannot be read or does not follow makes the thread load again, from the newest checkpoint: the node was pruned past this reader, or
//!    the folder was replaced. When that leads to the same place again, or the checkpoint itself is wrong, the reader stops answering and
//!    says why. It looks again when another checkpoint lies there.
//!
//! A node that is stopped or killed leaves everything as it was last published. It starts again behind that.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tana_commit::CommitRecord;
use tana_engine::order_record;
use tana_engine::pipeline::{BLOCK_LOG, LOG_NAMES, ORDER_LOG};
use tana_store::log::LogIterator;
use tana_store::{DurableReader, DurableState, LogReader, Position, StoreError};

use super::Phase;
use super::files::Files;
use super::load::{LoadError, check_chain, fingerprint, load};
use super::shared::{Live, Shared};

/// How often the durable position is read.
const LOOK: Duration = Duration::from_millis(5);
/// How often a thread that waits for a node looks.
const LOOK_WAITING: Duration = Duration::from_millis(100);
/// How long a published height may be without a record before the folder counts as replaced.
const STALL: Duration = Duration::from_secs(2);
/// Headers behind the state that are read for their hashes at the start.
const HASHES_AT_START: u64 = 4_096;

/// What following needs beside the state.
struct Cursor {
    files: Arc<Files>,
    /// None until the node has made its logs.
    records: Option<LogIterator>,
    headers: Option<LogIterator>,
    positions: [Option<Position>; 3],
    /// Since when a published height has no record.
    stalled: Option<Instant>,
}

/// The height up to which following came when it went wrong, and why.
struct Trouble {
    height: u64,
    reason: String,
}

/// Runs until the last handle is gone.
pub(crate) fn run(shared: &Shared) {
    let mut trouble: Option<Trouble> = None;
    let mut wrong: Option<String> = None;
    while !shared.stop.load(Ordering::Acquire) {
        let seen = fingerprint(&shared.folders);
        let mut cursor = match begin(shared) {
            Ok(cursor) => cursor,
            Err(LoadError::Waiting(reason)) => {
                shared.set_phase(Phase::Waiting(reason));
                rest(shared, LOOK_WAITING);
                continue;
            }
            // Once may be a node that makes its checkpoint at this moment.
            Err(LoadError::Wrong(reason)) if wrong.as_ref() == Some(&reason) => {
                wrong = None;
                halt(shared, reason, seen);
                continue;
            }
            Err(LoadError::Wrong(reason)) => {
                wrong = Some(reason);
                rest(shared, LOOK_WAITING);
                continue;
            }
        };
        wrong = None;
        let failed = follow(shared, &mut cursor);
        let Err(reason) = failed else { return };
        let height = shared.height();
        tracing::warn!(height, reason, "the ledger reader loads the state again");
        // Once may be pruning or another folder; the same place again is damage.
        if trouble.as_ref().is_some_and(|before| before.height == height && before.reason == reason) {
            halt(shared, reason, fingerprint(&shared.folders));
            trouble = None;
        } else {
            trouble = Some(Trouble { height, reason });
        }
    }
}

fn rest(shared: &Shared, time: Duration) {
    if !shared.stop.load(Ordering::Acquire) {
        std::thread::park_timeout(time);
    }
}

/// Answers nothing until another checkpoint lies there.
fn halt(shared: &Shared, reason: String, seen: Option<(u64, u64, i64, i64)>) {
    tracing::error!(reason, "the ledger reader has stopped");
    shared.unload(Phase::Stopped(reason));
    while fingerprint(&shared.folders) == seen && !shared.stop.load(Ordering::Acquire) {
        rest(shared, LOOK_WAITING);
    }
}

/// Step 1.
fn begin(shared: &Shared) -> Result<Cursor, LoadError> {
    check_chain(&shared.data, shared.chain.genesis_hash())?;
    if fingerprint(&shared.folders).is_none() {
        return Err(LoadError::Waiting("the node has made no checkpoint yet".to_owned()));
    }
    shared.unload(Phase::Loading);
    let loaded = load(&shared.folders, &shared.genesis)?;
    let height = loaded.state.facts.height;
    let files = Arc::new(Files::new(&shared.folders, shared.chain, height, &loaded.positions));
    files.push_hash(&loaded.state.facts.hash, height);
    let cursor =
        Cursor { files: files.clone(), records: None, headers: None, positions: loaded.positions, stalled: None };
    *shared.tree.write() = Some(loaded.tree);
    *shared.live.write() = Some(Live { state: loaded.state, files });
    tracing::info!(height, "the ledger reader has loaded a checkpoint");
    Ok(cursor)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// An iterator behind a record, or from the log's beginning; none while there is no log.
fn open(shared: &Shared, log: usize, after: Option<Position>) -> Result<Option<LogIterator>, String> {
    let open = || {
        let reader = LogReader::open(&shared.folders.logs, LOG_NAMES[log])?;
        match after {
            Some(position) => reader.iter_after(position),
            None => reader.iter(),
        }
    };
    match open() {
        Ok(records) => Ok(Some(records)),
        Err(StoreError::Missing { .. }) if after.is_none() => Ok(None),
        Err(error) => Err(text(error)),
    }
}

fn durable(shared: &Shared) -> Result<Option<DurableState>, String> {
    // Opened anew each time: another folder may lie there by now.
    match DurableReader::open(&shared.folders.logs) {
        Ok(reader) => reader.read().map_err(text),
        Err(StoreError::Missing { .. }) => Ok(None),
        Err(error) => Err(text(error)),
    }
}

/// Step 2; ends well only when the reader is to stop.
fn follow(shared: &Shared, cursor: &mut Cursor) -> Result<(), String> {
    read_hashes(shared, cursor);
    while !shared.stop.load(Ordering::Acquire) {
        let Some(durable) = durable(shared)? else {
            // Nothing was published since the checkpoint was written by a sync.
            shared.follow_on();
            rest(shared, LOOK_WAITING);
            continue;
        };
        let height = shared.height();
        if durable.height < height {
            return Err(format!("the node has published height {}, below {height}", durable.height));
        }
        shared.published.store(durable.height, Ordering::Release);
        if durable.height == height || turn(shared, cursor, &durable)? {
            cursor.stalled = None;
        } else if cursor.stalled.get_or_insert_with(Instant::now).elapsed() >= STALL {
            return Err(format!("height {} is published, but its record is not in the log", height + 1));
        }
        if durable.height == shared.height() {
            shared.follow_on();
        }
        rest(shared, LOOK);
    }
    Ok(())
}

/// Applies what is new; tells whether there was anything.
fn turn(shared: &Shared, cursor: &mut Cursor, durable: &DurableState) -> Result<bool, String> {
    if cursor.records.is_none() {
        cursor.records = open(shared, BLOCK_LOG, cursor.positions[BLOCK_LOG])?;
    }
    if cursor.headers.is_none() {
        cursor.headers = open(shared, ORDER_LOG, cursor.positions[ORDER_LOG])?;
    }
    let (Some(records), Some(headers)) = (&mut cursor.records, &mut cursor.headers) else { return Ok(false) };
    for (iterator, log) in [(&mut *records, BLOCK_LOG), (&mut *headers, ORDER_LOG)] {
        iterator.refresh();
        iterator.set_limit(durable.positions.get(log).copied());
    }
    let mut worked = false;
    while let Some(record) = records.next_record().map_err(text)? {
        let position = record.position;
        let commit = CommitRecord::decode(record.payload)
            .map_err(|error| format!("the block log holds a record at {position} that cannot be read: {error}"))?;
        apply(shared, &cursor.files, &commit, position)?;
        attest(shared, &cursor.files, headers, &commit)?;
        shared.tell_head(commit.header.height);
        worked = true;
        if shared.stop.load(Ordering::Acquire) {
            break;
        }
    }
    Ok(worked)
}

/// One record.
fn apply(shared: &Shared, files: &Files, record: &CommitRecord<'_>, position: Position) -> Result<(), String> {
    let prepared = {
        let live = shared.live.read();
        let Some(live) = live.as_ref() else { return Err("the state is gone".to_owned()) };
        live.state.prepare(record, &shared.genesis, || files.batches_of(record))?
    };
    files.expect_block(record);
    if let Some(live) = shared.live.write().as_mut() {
        live.state.commit(record, prepared);
        // Before anybody sees the height, so that whoever sees it finds the block; and not before the accounts that the block creates are there.
        files.blocks.push(record.header.height, position);
    }
    Ok(())
}

/// The header of the same height in the order log: moves the tree when it attests more.
fn attest(shared: &Shared, files: &Files, headers: &mut LogIterator, record: &CommitRecord<'_>) -> Result<(), String> {
    let height = record.header.height;
    loop {
        let Some(found) = headers.next_record().map_err(text)? else {
            return Err(format!("the order log has no header of block {height}"));
        };
        let position = found.position;
        let (header, certificate) = order_record::decode(found.payload)
            .map_err(|error| format!("the order log holds a record at {position} that cannot be read: {error}"))?;
        if header.height < height {
            continue;
        }
        if header != record.header {
            return Err(format!("block {height} is another one in the order log than in the block log"));
        }
        files.headers.push(height, position);
        return move_tree(shared, &header, certificate);
    }
}

fn move_tree(shared: &Shared, header: &tana_types::header::BlockHeader, certificate: &[u8]) -> Result<(), String> {
    let changes = {
        let mut tree = shared.tree.write();
        let live = shared.live.read();
        let (Some(tree), Some(live)) = (tree.as_mut(), live.as_ref()) else { return Ok(()) };
        if !tree.wants(header, !certificate.is_empty(), &live.state) {
            return Ok(());
        }
        if header.executed_height == tree.height() {
            tree.attest(header, certificate)?;
            shared.attested.store(header.executed_height, Ordering::Release);
            return Ok(());
        }
        tree.changes(header.executed_height, &live.state)
    };
    let Some(changes) = changes else {
        return Err(format!("block {} attests height {}, which is not known", header.height, header.executed_height));
    };
    // Proofs wait while the tree moves; reads about accounts do not.
    let mut tree = shared.tree.write();
    if let Some(tree) = tree.as_mut() {
        tree.apply(&changes)?;
        tree.attest(header, certificate)?;
        shared.attested.store(header.executed_height, Ordering::Release);
    }
    if let Some(live) = shared.live.write().as_mut() {
        live.state.forget_up_to(header.executed_height);
    }
    Ok(())
}

/// Hashes of the newest blocks at or below the loaded height, so that they are found by hash too. What cannot be read is left out.
fn read_hashes(shared: &Shared, cursor: &Cursor) {
    let height = shared.height();
    let headers = &cursor.files.headers;
    let Ok(Some(from)) =
        headers.find(height.saturating_sub(HASHES_AT_START).max(headers.oldest().ok().flatten().unwrap_or(1)))
    else {
        return;
    };
    let reader = LogReader::open(&shared.folders.logs, LOG_NAMES[ORDER_LOG]);
    let Ok(mut records) = reader.and_then(|reader| reader.iter_from(from)) else { return };
    records.set_limit(headers.last().map(|(_, position)| position));
    while let Ok(Some(record)) = records.next_record() {
        let Ok((header, _)) = order_record::decode(record.payload) else { return };
        cursor.files.push_hash(&header.hash(), header.height);
    }
}
