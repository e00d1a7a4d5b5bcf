//! The audit of logs, block by block, and what it can say of logs that do not begin with block 1.
//!
//! Where older segments were pruned, or the state was synced from others, there is no state to execute the oldest kept blocks on. What is known
//! is the checkpoint's state, which its state root vouches for. So:
//! 1. Blocks up to the checkpoint are checked as they are recorded ([`Audit::check_recorded`]): headers follow each other, batches are there with
//!    every signature, transactions are those that the header commits to, codes make the recorded receipts root, sections make the state root,
//!    later headers attest what is recorded, and the checkpoint's height has the checkpoint's hash and root.
//! 2. From the checkpoint on blocks are executed and compared, as from a genesis.

use std::collections::BTreeMap;

use tana_order::Block;
use tana_store::checkpoint::MAP_BYTES_DEFAULT;
use tana_store::{Checkpoint, CheckpointMode, StoreError};
use tana_types::Hash;
use tana_types::code::Code;
use tana_types::genesis::Genesis;
use tana_types::header::BlockHeader;
use tana_types::transaction::Chain;
use tana_verify::{Backend, Verifier};

use crate::recover::restore_checkpoint;
use crate::replay::{
    BatchSource, DataFolders, HeaderSource, OrderedHeader, Progress, RecordSource, ReplayError, Replayer,
};
use crate::verify_log::{VerifyReport, check_signatures};

/// Where logs begin.
pub(crate) enum Beginning {
    /// With block 1, or there is nothing yet.
    Genesis,
    /// Later.
    Kept {
        /// The height of the first header; none when there is none.
        header: Option<u64>,
        /// The height of the first commit record; none when there is none.
        record: Option<u64>,
    },
}

impl Beginning {
    /// Looks at the first record of each log, and whether there is a checkpoint.
    pub(crate) fn of(folders: &DataFolders) -> Result<Self, ReplayError> {
        let header = HeaderSource::open(&folders.logs, None)?.next_header()?.map(|ordered| ordered.header.height);
        let record = RecordSource::open(&folders.logs, None)?.next_record(|record, _| Ok(record.header.height))?;
        let is_genesis = match header {
            Some(height) => height == 1 && record.is_none_or(|height| height == 1),
            None => match open_checkpoint(folders)? {
                Some(checkpoint) => checkpoint.meta()?.is_none_or(|meta| meta.height == 0),
                None => true,
            },
        };
        Ok(if is_genesis { Self::Genesis } else { Self::Kept { header, record } })
    }
}

fn open_checkpoint(folders: &DataFolders) -> Result<Option<Checkpoint>, StoreError> {
    match Checkpoint::open(&folders.checkpoint, CheckpointMode::ReadOnly, MAP_BYTES_DEFAULT) {
        Ok(checkpoint) => Ok(Some(checkpoint)),
        Err(StoreError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The checkpoint's state; `first` is the first header's height.
pub(crate) fn restored(
    folders: &DataFolders,
    genesis: &Genesis,
    first: Option<u64>,
    progress: Progress<'_>,
) -> Result<Replayer, ReplayError> {
    let height = first.unwrap_or(1);
    let checkpoint = open_checkpoint(folders)?;
    let restored = checkpoint.map(|checkpoint| restore_checkpoint(genesis, &checkpoint, progress)).transpose()?;
    match restored.flatten() {
        Some(replayer) if first.is_none_or(|first| first <= replayer.height + 1) => Ok(replayer),
        Some(replayer) => {
            let reason = format!("the logs begin with it, but the checkpoint's height is {}", replayer.height);
            Err(ReplayError::Broken { height, reason })
        }
        None => {
            let reason = "the logs begin with it, and there is no checkpoint that tells the state before".to_owned();
            Err(ReplayError::Broken { height, reason })
        }
    }
}

/// What a recorded block's later headers must attest.
struct Recorded {
    state_root: Hash,
    receipts_root: Hash,
}

/// The logs, read in order, and what was found so far.
pub(crate) struct Audit {
    chain: Chain,
    headers: HeaderSource,
    pub(crate) batches: BatchSource,
    pub(crate) records: RecordSource,
    verifier: Verifier,
    pub(crate) report: VerifyReport,
    /// A header that was read and belongs to the next part.
    ahead: Option<OrderedHeader>,
}

impl Audit {
    /// At the beginning of the logs.
    pub(crate) fn open(folders: &DataFolders, chain: Chain) -> Result<Self, ReplayError> {
        Ok(Self {
            chain,
            headers: HeaderSource::open(&folders.logs, None)?,
            batches: BatchSource::open(&folders.logs, chain, None)?,
            records: RecordSource::open(&folders.logs, None)?,
            // The coefficients protect nothing here that a secret would: whoever can choose them can also change the program.
            verifier: Verifier::new(Backend::detect().0, rand::random()),
            report: VerifyReport::default(),
            ahead: None,
        })
    }

    /// The next header.
    pub(crate) fn next_header(&mut self) -> Result<Option<OrderedHeader>, ReplayError> {
        match self.ahead.take() {
            Some(ordered) => Ok(Some(ordered)),
            None => self.headers.next_header(),
        }
    }

    /// Finds a header's batches and checks every signature in them.
    pub(crate) fn check_block(&mut self, ordered: OrderedHeader) -> Result<Block, ReplayError> {
        let OrderedHeader { header, certificate, .. } = ordered;
        let hash = header.hash();
        let batches = self.batches.fetch(&header)?;
        for sealed in &batches {
            check_signatures(&mut self.verifier, &self.chain, &sealed.batch, header.height)?;
        }
        let report = &mut self.report;
        if report.blocks == 0 {
            report.first_block = header.height;
        }
        report.blocks += 1;
        report.last_block = header.height;
        if !certificate.is_empty() {
            report.certificates += 1;
            report.certified_to = header.height;
        }
        report.batches += batches.len() as u64;
        report.transactions += u64::from(header.transaction_count);
        Ok(Block { header, hash, batches })
    }

    /// Checks the blocks up to the checkpoint, whose state is `checkpoint`, from `first_record` on, where both logs have begun.
    pub(crate) fn check_recorded(
        &mut self,
        checkpoint: &Replayer,
        first_record: Option<u64>,
        progress: Progress<'_>,
    ) -> Result<(), ReplayError> {
        let mut parent: Option<(u64, Hash)> = None;
        let mut recorded: BTreeMap<u64, Recorded> = BTreeMap::new();
        while let Some(ordered) = self.next_header()? {
            let height = ordered.header.height;
            if height > checkpoint.height {
                self.ahead = Some(ordered);
                break;
            }
            check_parent(parent, &ordered.header)?;
            parent = Some((height, ordered.header.hash()));
            if first_record.is_none_or(|first| height < first) {
                continue;
            }
            if self.report.blocks == 0 {
                // The block log may begin earlier than the order log, too.
                self.skip_records(height - first_record.unwrap_or(height))?;
            }
            let block = self.check_block(ordered)?;
            check_attested(&block.header, &mut recorded)?;
            let found = self.check_record(&block)?;
            if height == checkpoint.height {
                let root = checkpoint.attested.last().map(|roots| roots.state_root);
                if block.hash != checkpoint.parent || root != Some(found.state_root) {
                    let reason = "its hash or state root is not the checkpoint's".to_owned();
                    return Err(ReplayError::Broken { height, reason });
                }
            }
            recorded.insert(height, found);
            progress("recorded blocks", self.report.blocks, 0);
        }
        Ok(())
    }

    fn skip_records(&mut self, count: u64) -> Result<(), ReplayError> {
        for _ in 0..count {
            self.records.next_record(|_, _| Ok(()))?;
        }
        Ok(())
    }

    /// Holds a block's commit record against its header and its transactions.
    fn check_record(&mut self, block: &Block) -> Result<Recorded, ReplayError> {
        let height = block.header.height;
        let broken = |reason: &str| ReplayError::Broken { height, reason: reason.to_owned() };
        let ids: Vec<Hash> = block.batches.iter().flat_map(|sealed| sealed.batch.ids.iter().copied()).collect();
        if ids.len() != block.header.transaction_count as usize
            || tana_execute::transaction_root(&ids) != block.header.transaction_root
        {
            return Err(broken("its transactions are not those that its transaction root commits to"));
        }
        let report = &mut self.report;
        let found = self.records.next_record(|record, _| {
            if record.header.hash() != block.hash {
                return Err(broken("its commit record is of another header"));
            }
            if tana_execute::receipts_root(ids.iter(), record.codes, height) != record.receipts_root {
                return Err(broken("its codes do not make the recorded receipts root"));
            }
            report.committed_blocks += 1;
            for code in record.codes {
                match Code::from_u8(*code) {
                    Some(Code::Applied) => report.applied += 1,
                    Some(code) if code.is_skipped() => report.skipped += 1,
                    _ => report.failed += 1,
                }
            }
            // That the sections make the state root was checked when the record was read.
            Ok(Recorded { state_root: record.state_root, receipts_root: record.receipts_root })
        })?;
        found.ok_or_else(|| broken("its commit record is missing"))
    }
}

fn check_parent(parent: Option<(u64, Hash)>, header: &BlockHeader) -> Result<(), ReplayError> {
    if parent.is_none_or(|(height, hash)| header.height == height + 1 && header.parent == hash) {
        return Ok(());
    }
    Err(ReplayError::Broken { height: header.height, reason: "it does not follow the block before".to_owned() })
}

/// What the header attests is what was recorded, as far as that block is left.
fn check_attested(header: &BlockHeader, recorded: &mut BTreeMap<u64, Recorded>) -> Result<(), ReplayError> {
    *recorded = recorded.split_off(&header.executed_height);
    match recorded.get(&header.executed_height) {
        Some(found) if found.state_root != header.state_root || found.receipts_root != header.receipts_root => {
            let reason = format!("it attests other roots for block {} than are recorded", header.executed_height);
            Err(ReplayError::Broken { height: header.height, reason })
        }
        _ => Ok(()),
    }
}
