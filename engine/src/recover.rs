//! Comes back from disk: what a node finds in its data folder, made into what the pipeline starts with.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tana_accounts::directory;
use tana_execute::{State, Validator};
use tana_order::{Block, SealedBatch, Tip};
use tana_store::{Checkpoint, LogFound, LogReader, Position};
use tana_types::Hash;
use tana_types::batch::Batch;
use tana_types::genesis::Genesis;
use tana_types::header::BlockHeader;

use crate::attested::Attested;
use crate::block_index::BlockIndex;
use crate::checkpointer::Resume;
use crate::pipeline::{BLOCK_LOG, BatchMark, FinalBlock, LOG_NAMES};
use crate::replay::{
    BatchSource, DataFolders, HeaderSource, OrderedHeader, Progress, RecordSource, ReplayError, Replayer, Unlisted,
    build_tree, check_published, published_height,
};

/// What the pipeline starts with.
pub struct Recovered {
    /// The state as of the last committed height, with its tree and what later headers may attest.
    pub replayer: Replayer,
    /// The end of the ordered chain.
    pub tip: Tip,
    /// Final blocks that were not committed, in order.
    pub final_blocks: Vec<FinalBlock>,
    /// The header of the last committed block; none at the genesis, and behind a state sync until a block was committed.
    pub base_header: Option<BlockHeader>,
    /// How far blocks up to the last final one have listed each author's lane, those of authors that left the set included.
    pub marks: BTreeMap<[u8; 32], u64>,
    /// Durable batches that no block lists and one may still list, by author and sequence.
    pub spare_batches: Vec<SealedBatch>,
    /// Own batches that were withdrawn and not sealed again before the stop: their transactions are to be sealed once more.
    pub withdrawn: Vec<Batch>,
    /// Where a restart goes on in the batch log, and the highest own sequence in it.
    pub batch_mark: BatchMark,
    /// The place of the batch log's last record; 0 when there is none.
    pub last_batch_position: u64,
    /// Where blocks lie.
    pub blocks: Arc<BlockIndex>,
    /// Transactions applied since genesis.
    pub applied: u64,
    /// Whether the state came from a checkpoint.
    pub from_checkpoint: bool,
    /// Blocks that were executed again.
    pub replayed_blocks: u64,
}

/// A checkpoint's own word on its size is believed up to here; more accounts make the directory grow as it fills.
const ACCOUNTS_EXPECTED_MAX: u32 = 16_000_000;

struct Start {
    replayer: Replayer,
    resume: Resume,
    positions: [Option<Position>; 3],
    from_checkpoint: bool,
}

fn from_genesis(genesis: &Genesis, progress: Progress<'_>) -> Result<Start, ReplayError> {
    let replayer = Replayer::from_genesis(genesis, progress)?;
    let resume = Resume {
        hash: replayer.parent,
        timestamp_ms: replayer.timestamp_ms,
        executed_height: 0,
        last_sequence: 0,
        applied: 0,
        account_count: replayer.state.account_count(),
        roots: replayer.attested.roots().copied().collect(),
    };
    Ok(Start { replayer, resume, positions: [None; 3], from_checkpoint: false })
}

fn from_checkpoint(
    genesis: &Genesis,
    checkpoint: &Checkpoint,
    progress: Progress<'_>,
) -> Result<Option<Start>, ReplayError> {
    let snapshot = checkpoint.snapshot()?;
    let Some(meta) = snapshot.meta()? else { return Ok(None) };
    let refuse = |reason: String| ReplayError::Checkpoint(reason);
    let (resume, state_meta) = Resume::split_blob(&meta.blob).map_err(|error| refuse(error.to_string()))?;
    progress("checkpoint", 0, 0);
    let mut overflows = Vec::new();
    snapshot.for_each_overflow(|index, bytes| overflows.push((index, bytes.to_vec())))?;
    // Pages are taken one at a time where they lie: all of them at once would be as large as the state.
    let failed = Cell::new(None);
    let pages = (0u32..).map_while(|number| match snapshot.page(number) {
        Ok(page) => page.map(|bytes| (number, bytes)),
        Err(error) => {
            failed.set(Some(error));
            None
        }
    });
    let (writer, accounts) = directory(resume.account_count.min(ACCOUNTS_EXPECTED_MAX) as usize);
    let state = State::restore(genesis, state_meta, pages, overflows, writer);
    if let Some(error) = failed.take() {
        return Err(error.into());
    }
    let state = state.map_err(|error| refuse(error.to_string()))?;
    let tree = build_tree(&state)?;
    if state.sections(tree.root()).root() != meta.state_root {
        return Err(refuse("its content does not give the state root that it names".to_owned()));
    }
    let replayer = Replayer {
        state,
        accounts,
        tree,
        attested: Attested::new(resume.roots.iter().copied()),
        parent: resume.hash,
        height: meta.height,
        timestamp_ms: resume.timestamp_ms,
        outcome: Default::default(),
    };
    let position = |log: usize| meta.positions.get(log).copied().filter(|position| *position != Position::default());
    let positions = [position(0), position(1), position(2)];
    Ok(Some(Start { replayer, resume, positions, from_checkpoint: true }))
}

/// The state of a checkpoint, checked against its state root; none when nothing was ever committed to it.
pub(crate) fn restore_checkpoint(
    genesis: &Genesis,
    checkpoint: &Checkpoint,
    progress: Progress<'_>,
) -> Result<Option<Replayer>, ReplayError> {
    Ok(from_checkpoint(genesis, checkpoint, progress)?.map(|start| start.replayer))
}

/// The last committed height that the durable part of the block log holds, found while replaying.
struct Walk {
    headers: HeaderSource,
    batches: BatchSource,
    records: RecordSource,
    recovered: Recovered,
}

impl Walk {
    /// Executes one block again and holds it against its commit record. When there is no record, the block goes to the pipeline.
    fn step(&mut self, ordered: OrderedHeader, own: &[u8; 32]) -> Result<(), ReplayError> {
        let OrderedHeader { header, position: order_position, .. } = ordered;
        let hash = header.hash();
        let batches = self.batches.fetch(&header)?;
        for sealed in &batches {
            let mark = self.recovered.marks.entry(sealed.batch.seal_header().author).or_default();
            *mark = sealed.sequence.max(*mark);
        }
        let block = Block { header, hash, batches };
        self.recovered.tip = tip_of(&block);
        if !self.recovered.final_blocks.is_empty() {
            self.keep_final(block, order_position, own);
            return Ok(());
        }
        let replayer = &mut self.recovered.replayer;
        // The record is looked for first: without one the block must not be executed here, but committed by the pipeline.
        let replayed = self.records.next_record(|record, position| {
            let replayed = replayer.apply(&block)?;
            replayer.compare(&replayed, &record)?;
            Ok(position)
        })?;
        let Some(position) = replayed else {
            self.keep_final(block, order_position, own);
            return Ok(());
        };
        self.recovered.blocks.push(block.header.height, position.to_u64());
        self.recovered.applied += u64::from(self.recovered.replayer.outcome.applied);
        self.recovered.replayed_blocks += 1;
        self.recovered.base_header = Some(block.header);
        // Marks follow their authors when a set changes; the state says how.
        self.recovered.marks = listed_of(&self.recovered.replayer.state);
        Ok(())
    }

    /// A final block without a commit record goes to the pipeline.
    fn keep_final(&mut self, block: Block, order_position: Position, own: &[u8; 32]) {
        let own_sequence = self.batches.last_sequence(own).max(self.recovered.batch_mark.own_sequence);
        let batch_mark = BatchMark { needed_position: self.batches.needed_position(), own_sequence };
        let order_position = order_position.to_u64();
        self.recovered.final_blocks.push(FinalBlock { block, order_position, batch_mark });
    }
}

/// The lanes' marks by author.
pub fn marks_of(state: &State) -> BTreeMap<[u8; 32], u64> {
    let progress = state.progress();
    let set = state.validators(state.epoch_of(progress.height));
    let mark = |(place, member): (usize, &Validator)| {
        let lane = u16::try_from(place).ok()?;
        progress.lane_marks.get(&lane).map(|mark| (member.key.0, *mark))
    };
    set.iter().enumerate().filter_map(mark).collect()
}

/// How far blocks have listed each author's lane: its mark, or its floor where it left the set, also when it is back and its mark began anew.
fn listed_of(state: &State) -> BTreeMap<[u8; 32], u64> {
    let mut listed = marks_of(state);
    for (author, floor) in &state.progress().lane_floors {
        let mark = listed.entry(*author).or_default();
        *mark = floor.mark.max(*mark);
    }
    listed
}

/// Of the batches that no block lists, those that one may still list. Others' that have expired are left out; own ones stay, because their
/// transactions are sealed again. Own ones that a later own batch withdraws are given apart, unless their body was sealed again.
fn sort_out(
    unlisted: Vec<SealedBatch>,
    own: &[u8; 32],
    marks: &BTreeMap<[u8; 32], u64>,
    height: u64,
) -> (Vec<SealedBatch>, Vec<Batch>) {
    let mut withdrawn_ranges = Vec::new();
    let mut bodies: BTreeMap<Hash, u64> = BTreeMap::new();
    let mut last = None;
    let mut kept: Vec<SealedBatch> = Vec::new();
    for sealed in unlisted {
        let seal = sealed.batch.seal_header();
        let is_own = seal.author == *own;
        let is_past = marks.get(&seal.author).is_some_and(|&mark| sealed.sequence <= mark);
        // The same batch may have become durable twice, when it was sent and fetched.
        let is_copy = last == Some(sealed.digest);
        last = Some(sealed.digest);
        if is_past || is_copy || (!is_own && seal.expiry_height.get() <= height) {
            continue;
        }
        if is_own {
            let skipped = u64::from(seal.skipped.get());
            withdrawn_ranges.push(sealed.sequence.saturating_sub(skipped)..sealed.sequence);
            let highest = bodies.entry(seal.body_hash).or_default();
            *highest = sealed.sequence.max(*highest);
        }
        kept.push(sealed);
    }
    let is_withdrawn = |sealed: &SealedBatch| {
        sealed.batch.seal_header().author == *own
            && withdrawn_ranges.iter().any(|range| range.contains(&sealed.sequence))
    };
    let (withdrawn, alive): (Vec<_>, Vec<_>) = kept.into_iter().partition(is_withdrawn);
    let is_lost = |sealed: &SealedBatch| {
        bodies.get(&sealed.batch.seal_header().body_hash).is_none_or(|&highest| highest <= sealed.sequence)
    };
    (alive, withdrawn.into_iter().filter(is_lost).map(|sealed| sealed.batch).collect())
}

/// The first block of each segment up to a committed block, and that block: from there a look-up reads one segment at the most.
fn known_blocks(folders: &DataFolders, height: u64, position: Position) -> Result<Vec<(u64, u64)>, ReplayError> {
    let first = LogReader::open(&folders.logs, LOG_NAMES[BLOCK_LOG])?.first_position()?;
    let mut known = Vec::new();
    for segment in first.segment..=position.segment {
        let mut records = RecordSource::open_at(&folders.logs, Position::segment_start(segment))?;
        let first = records.next_record(|record, position| Ok((record.header.height, position.to_u64())))?;
        known.extend(first.filter(|(first, _)| *first < height));
    }
    known.push((height, position.to_u64()));
    Ok(known)
}

fn tip_of(block: &Block) -> Tip {
    Tip {
        height: block.header.height,
        hash: block.hash,
        timestamp_ms: block.header.timestamp_ms,
        executed_height: block.header.executed_height,
        unattested: true,
    }
}

/// The header of the checkpoint's height, which the order log holds at the place that the checkpoint names.
fn header_at_checkpoint(headers: &mut HeaderSource, tip: &Tip) -> Result<BlockHeader, ReplayError> {
    let header = headers.next_header()?.map(|ordered| ordered.header);
    header.filter(|header| header.height == tip.height && header.hash() == tip.hash).ok_or_else(|| {
        let reason = "the order log does not hold the header of the checkpoint's height where it should".to_owned();
        ReplayError::Broken { height: tip.height, reason }
    })
}

/// Logs that do not begin with block 1 need the checkpoint that they were pruned behind, or the one that a state sync wrote.
fn check_not_pruned(header: &BlockHeader, from_checkpoint: bool) -> Result<(), ReplayError> {
    if from_checkpoint || header.height == 1 {
        return Ok(());
    }
    let reason =
        "it is the oldest block that is kept, and the checkpoint that tells the state before it is missing".to_owned();
    Err(ReplayError::Broken { height: header.height, reason })
}

/// Rebuilds a node's state from its data folder. The logs are open and repaired; nothing is written.
/// `own` is the validator's key.
pub fn recover(
    genesis: &Genesis,
    own: &[u8; 32],
    folders: &DataFolders,
    checkpoint: &Checkpoint,
    found: &[LogFound],
    progress: Progress<'_>,
) -> Result<Recovered, ReplayError> {
    let start = match from_checkpoint(genesis, checkpoint, progress)? {
        Some(start) => start,
        None => from_genesis(genesis, progress)?,
    };
    let Start { replayer, resume, positions, from_checkpoint } = start;
    let tip = Tip {
        height: replayer.height,
        hash: replayer.parent,
        timestamp_ms: replayer.timestamp_ms,
        executed_height: resume.executed_height,
        unattested: replayer.height > 0,
    };
    let blocks = match positions[2] {
        Some(position) => Arc::new(BlockIndex::new(known_blocks(folders, replayer.height, position)?)),
        None => Arc::new(BlockIndex::new(Vec::new())),
    };
    let mut headers = HeaderSource::open(&folders.logs, positions[1])?;
    let base_header = match positions[1] {
        Some(_) => Some(header_at_checkpoint(&mut headers, &tip)?),
        // At the genesis, or behind a state sync, whose floor tells the header.
        None => None,
    };
    let needed_position = positions[0].map_or(0, |position| position.to_u64());
    let recovered = Recovered {
        tip,
        final_blocks: Vec::new(),
        base_header,
        marks: listed_of(&replayer.state),
        spare_batches: Vec::new(),
        withdrawn: Vec::new(),
        batch_mark: BatchMark { needed_position, own_sequence: resume.last_sequence },
        last_batch_position: needed_position,
        blocks,
        applied: resume.applied,
        from_checkpoint,
        replayed_blocks: 0,
        replayer,
    };
    let mut walk = Walk {
        headers,
        batches: BatchSource::open(&folders.logs, genesis.to_chain(), positions[0])?,
        records: RecordSource::open(&folders.logs, positions[2])?,
        recovered,
    };
    let expected = found.get(BLOCK_LOG).map_or(0, |log| log.next_number);
    let done = Arc::new(AtomicU64::new(walk.recovered.replayer.height));
    while let Some(ordered) = walk.headers.next_header()? {
        if walk.recovered.replayer.height == 0 {
            check_not_pruned(&ordered.header, from_checkpoint)?;
        }
        walk.step(ordered, own)?;
        progress("blocks", done.fetch_add(1, Ordering::Relaxed) + 1, expected);
    }
    let committed = walk.recovered.replayer.height;
    if walk.records.next_record(|record, _| Ok(record.header.height))?.is_some() {
        let reason = "the block log holds committed blocks that the order log does not name".to_owned();
        return Err(ReplayError::Broken { height: committed + 1, reason });
    }
    check_published(published_height(folders), committed)?;
    let Walk { batches, mut recovered, .. } = walk;
    let needed_position = batches.needed_position();
    let Unlisted { batches, sequences, last_position } = batches.rest()?;
    let own_sequence = sequences.get(own).copied().unwrap_or(0).max(recovered.batch_mark.own_sequence);
    recovered.last_batch_position = last_position.max(recovered.last_batch_position);
    recovered.batch_mark = BatchMark { needed_position, own_sequence };
    (recovered.spare_batches, recovered.withdrawn) = sort_out(batches, own, &recovered.marks, recovered.tip.height);
    Ok(recovered)
}

#[cfg(test)]
mod tests {
    use tana_types::key::PublicKey;
    use tana_types::payload::Payload;

    use super::*;
    use crate::sync::tests::world::{EPOCH_BLOCKS, World, sovereign, validator};

    #[test]
    fn batches_that_were_listed_before_their_author_left_are_not_offered_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::new(folder.path(), 50);
        let remove =
            Payload::ValidatorSetChange { add: false, validator: PublicKey(validator(0)), epoch: 2, address: "" };
        let back = Payload::ValidatorSetChange {
            add: true,
            validator: PublicKey(validator(0)),
            epoch: 3,
            address: "127.0.0.1:9000",
        };
        let changes = vec![world.signed(&sovereign(), &remove), world.signed(&sovereign(), &back)];
        world.step(changes);
        world.steps_to(2 * EPOCH_BLOCKS);
        let before = marks_of(world.state())[&validator(0)];
        assert!(before > 0);
        world.steps_to(3 * EPOCH_BLOCKS + 1);
        assert_eq!(marks_of(world.state()).get(&validator(0)), None, "its lane begins anew");
        assert_eq!(listed_of(world.state())[&validator(0)], before);
        let sealed = |sequence: u64| {
            let mut batch = Batch::default();
            batch.clear();
            let key = ed25519_dalek::SigningKey::from_bytes(&[100; 32]);
            let digest = batch.seal(&world.genesis.to_chain(), &key, 0, sequence, 0, 1_000);
            SealedBatch { batch, digest, lane: 0, sequence, position: sequence }
        };
        let found = vec![sealed(before), sealed(before + 1)];
        let (spare, withdrawn) = sort_out(found, &validator(1), &listed_of(world.state()), world.height());
        assert_eq!(spare.iter().map(|sealed| sealed.sequence).collect::<Vec<_>>(), [before + 1]);
        assert!(withdrawn.is_empty());
    }
}
