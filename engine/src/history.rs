//! Reads blocks and transactions from the logs, up to what is committed.
//!
//! A block is found by the [`BlockIndex`]; a transaction by the tables of sealed segments of the block log (see [`crate::indexer`]),
//! and in segments without a table by reading them, newest first: at most the open segment and those that the indexer has not come to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tana_commit::CommitRecord;
use tana_store::{LogReader, Position, Table};
use tana_types::Hash;
use tana_types::batch::Batch;
use tana_types::code::Code;
use tana_types::header::BlockHeader;
use tana_types::key::PublicKey;
use tana_types::payload::Kind;
use tana_types::query;
use tana_types::transaction::Chain;

use crate::block_index::BlockIndex;
use crate::indexer::{TableKind, key_of_id, place_of, table_path};
use crate::pipeline::verify::fill_ids;
use crate::pipeline::{BATCH_LOG, BLOCK_LOG, LOG_NAMES};
use crate::published::Published;

/// See the module's text.
pub struct History {
    /// The folder of the logs.
    pub logs: PathBuf,
    /// The folder of the tables.
    pub tables: PathBuf,
    /// The chain.
    pub chain: Chain,
    /// Where blocks lie.
    pub blocks: Arc<BlockIndex>,
    /// What is committed.
    pub published: Arc<Published>,
}

/// Look-ups give up at a moment that their caller sets, so that nobody can keep a node reading.
fn in_time(until: Instant) -> Result<(), String> {
    if Instant::now() < until {
        return Ok(());
    }
    Err("the look-up took too long, because what it needs has no table yet; ask again in a few minutes".to_owned())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl History {
    /// One block; the latest committed one without a height.
    pub fn block(&self, height: Option<u64>, until: Instant) -> Result<query::Block, String> {
        let committed = self.published.committed.load(Ordering::Acquire);
        let height = height.unwrap_or(committed);
        if height == 0 {
            return Err("height 0 is the genesis, which has no block: the genesis file says what it holds".to_owned());
        }
        if height > committed {
            return Err(format!("there is no block {height} yet; the last committed height is {committed}"));
        }
        if let Some(oldest) = self.blocks.oldest().filter(|oldest| height < *oldest) {
            return Err(format!(
                "block {height} is not kept here: this node's logs begin with block {oldest}; ask a validator that is an archive"
            ));
        }
        let mut found = None;
        self.visit_from(height, until, |record, _| {
            if record.header.height == height {
                found = Some(describe(record));
            }
            record.header.height < height
        })?;
        found.ok_or_else(|| format!("block {height} is not in the logs of this node"))
    }

    /// Where a transaction ended; its applied place if it has one.
    pub fn transaction(&self, id: &str, until: Instant) -> Result<query::Transaction, String> {
        let mut wanted = [0; 32];
        hex::decode_to_slice(id, &mut wanted).map_err(|_| "an identifier has 64 hexadecimal digits".to_owned())?;
        let reader = LogReader::open(&self.logs, LOG_NAMES[BLOCK_LOG]).map_err(text)?;
        let first = reader.first_position().map_err(text)?.segment;
        let last = Position::from_u64(self.blocks.last_position()).segment;
        let mut best = None;
        for segment in (first..=last).rev() {
            let found = match Table::open(&table_path(&self.tables, TableKind::Transactions, segment)) {
                Ok(table) => self.find_in_table(&table, &wanted, until)?,
                Err(_) => self.find_by_reading(segment, &wanted, until)?,
            };
            best = better(best, found);
            // Applied is once and for all; a failure or a copy may hide an older place that says more.
            if best.as_ref().is_some_and(|best| rank(best) == 2) {
                break;
            }
        }
        best.ok_or_else(|| match self.blocks.oldest().filter(|oldest| *oldest > 1) {
            None => format!("no committed block holds the transaction {id}"),
            Some(oldest) => format!(
                "no committed block from {oldest} on, where this node's logs begin, holds the transaction {id}; ask a validator that is an archive"
            ),
        })
    }

    /// Hands committed records to `visit` from the nearest known place at or below `height` on, until it says stop.
    fn visit_from(
        &self,
        height: u64,
        until: Instant,
        mut visit: impl FnMut(&CommitRecord<'_>, Position) -> bool,
    ) -> Result<(), String> {
        let committed = self.published.committed.load(Ordering::Acquire);
        let reader = LogReader::open(&self.logs, LOG_NAMES[BLOCK_LOG]).map_err(text)?;
        let mut records = match self.blocks.at_or_below(height) {
            Some((_, position)) => reader.iter_from(Position::from_u64(position)),
            None => reader.iter(),
        }
        .map_err(text)?;
        while let Some(record) = records.next_record().map_err(text)? {
            in_time(until)?;
            let commit = CommitRecord::decode(record.payload).map_err(text)?;
            if commit.header.height > committed || !visit(&commit, record.position) {
                break;
            }
        }
        Ok(())
    }

    fn find_in_table(
        &self,
        table: &Table,
        wanted: &Hash,
        until: Instant,
    ) -> Result<Option<query::Transaction>, String> {
        let mut best = None;
        for place in table.lookup(key_of_id(wanted)).map_err(text)? {
            let (height, index) = place_of(place);
            let mut found = None;
            self.visit_from(height, until, |record, _| {
                if record.header.height == height {
                    found = self.at(record, index, wanted).transpose();
                }
                record.header.height < height
            })?;
            best = better(best, found.transpose()?);
        }
        Ok(best)
    }

    fn find_by_reading(
        &self,
        segment: u32,
        wanted: &Hash,
        until: Instant,
    ) -> Result<Option<query::Transaction>, String> {
        let committed = self.published.committed.load(Ordering::Acquire);
        let reader = LogReader::open(&self.logs, LOG_NAMES[BLOCK_LOG]).map_err(text)?;
        let mut records = reader.iter_from(Position::segment_start(segment)).map_err(text)?;
        let mut best = None;
        while let Some(record) = records.next_record().map_err(text)? {
            if record.position.segment != segment {
                break;
            }
            in_time(until)?;
            let commit = CommitRecord::decode(record.payload).map_err(text)?;
            if commit.header.height > committed {
                break;
            }
            let mut first = 0;
            for &position in &commit.batch_positions {
                let batch = self.batch(position)?;
                if let Some(index) = batch.ids.iter().position(|id| id == wanted) {
                    let found = describe_transaction(&commit, &batch, index, first + index);
                    best = better(best, Some(found));
                }
                first += batch.len();
            }
        }
        Ok(best)
    }

    /// The transaction at `index` of a block, if it is the wanted one.
    fn at(&self, record: &CommitRecord<'_>, index: u32, wanted: &Hash) -> Result<Option<query::Transaction>, String> {
        let mut first = 0;
        for &position in &record.batch_positions {
            let batch = self.batch(position)?;
            if let Some(place) = (index as usize).checked_sub(first).filter(|place| *place < batch.len()) {
                let same = batch.ids[place] == *wanted;
                return Ok(same.then(|| describe_transaction(record, &batch, place, index as usize)));
            }
            first += batch.len();
        }
        Ok(None)
    }

    /// The header of a committed block.
    pub fn header(&self, height: u64, until: Instant) -> Result<Option<BlockHeader>, String> {
        let mut found = None;
        self.visit_from(height, until, |record, _| {
            if record.header.height == height {
                found = Some(record.header.clone());
            }
            record.header.height < height
        })?;
        Ok(found)
    }

    /// Where the batch `digest` lies that the committed block at `height` lists.
    pub fn batch_place(&self, digest: &Hash, height: u64, until: Instant) -> Result<Option<u64>, String> {
        let mut found = None;
        self.visit_from(height, until, |record, _| {
            if record.header.height == height {
                let place = record.header.batches().position(|(_, _, listed)| listed == digest);
                found = place.and_then(|place| record.batch_positions.get(place).copied());
            }
            record.header.height < height
        })?;
        Ok(found)
    }

    fn batch(&self, position: u64) -> Result<Batch, String> {
        read_batch(&self.logs, &self.chain, position)
    }
}

/// Reads one batch from the batch log, with its identifiers.
pub fn read_batch(logs: &std::path::Path, chain: &Chain, position: u64) -> Result<Batch, String> {
    let mut reader = LogReader::open(logs, LOG_NAMES[BATCH_LOG]).map_err(text)?;
    let record = reader.read_at(Position::from_u64(position)).map_err(text)?;
    let mut batch = Batch::default();
    batch.load_sealed(&record.payload, chain).map_err(text)?;
    fill_ids(&mut batch);
    Ok(batch)
}

/// How much a place says: where the nonce was consumed with effect, where it was consumed without, where it was passed over.
fn rank(place: &query::Transaction) -> u8 {
    let code = Code::ALL.iter().find(|code| code.name() == place.code);
    match code {
        Some(Code::Applied) => 2,
        Some(code) if code.is_skipped() => 0,
        _ => 1,
    }
}

/// The place that says more; of two alike the earlier one.
fn better(one: Option<query::Transaction>, other: Option<query::Transaction>) -> Option<query::Transaction> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let later_wins = (rank(&other), other.height < one.height) > (rank(&one), false);
            Some(if later_wins { other } else { one })
        }
        (one, other) => one.or(other),
    }
}

fn code_name(code: u8) -> String {
    Code::from_u8(code).map_or_else(|| format!("code_{code}"), |code| code.name().to_owned())
}

fn describe_transaction(record: &CommitRecord<'_>, batch: &Batch, place: usize, index: usize) -> query::Transaction {
    let transaction = batch.transaction(place);
    let header = transaction.header();
    query::Transaction {
        id: hex::encode(batch.ids[place]),
        height: record.header.height,
        index: index as u32,
        code: record.codes.get(index).map_or_else(String::new, |code| code_name(*code)),
        kind: transaction.kind().map_or("unknown", Kind::name).to_owned(),
        sender: transaction.sender().to_string(),
        nonce: header.nonce.get(),
    }
}

fn describe(record: &CommitRecord<'_>) -> query::Block {
    let mut codes: BTreeMap<u8, u32> = BTreeMap::new();
    for &code in record.codes {
        *codes.entry(code).or_default() += 1;
    }
    let header = &record.header;
    let batches = header.batches().map(|(lane, sequence, digest)| query::BlockBatch {
        lane,
        sequence,
        digest: hex::encode(digest),
    });
    query::Block {
        height: header.height,
        hash: hex::encode(header.hash()),
        parent: hex::encode(header.parent),
        proposer: PublicKey(header.proposer).to_string(),
        timestamp_ms: header.timestamp_ms,
        executed_height: header.executed_height,
        state_root: hex::encode(header.state_root),
        receipts_root: hex::encode(header.receipts_root),
        transaction_root: hex::encode(header.transaction_root),
        batches: batches.collect(),
        transactions: header.transaction_count,
        codes: codes.into_iter().map(|(code, count)| (code_name(code), count)).collect(),
    }
}
