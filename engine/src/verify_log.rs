//! Checks a whole chain from its genesis: every record, hash, signature, root and total, trusting nothing but the genesis file.
//!
//! Where older blocks were pruned, or the state came from others, the logs begin later; [`crate::verify_kept`] says what is checked then.

use std::path::Path;

use serde::Serialize;
use tana_execute::PendingKind;
use tana_order::{Block, SealedBatch};
use tana_types::amount::print_amount;
use tana_types::batch::Batch;
use tana_types::genesis::Genesis;
use tana_types::transaction::Chain;
use tana_verify::{Item, Mode, NoCache, Verifier};

use crate::owner;
use crate::replay::{DataFolders, Progress, ReplayError, Replayer, check_published, published_height};
use crate::verify_kept::{Audit, Beginning, restored};

/// What was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct VerifyReport {
    /// The first block that was checked; 1 unless the logs begin later, 0 when there was none.
    pub first_block: u64,
    /// The height from whose state on blocks were executed again: 0, the genesis, unless the logs begin later. Blocks up to it were checked
    /// as they are recorded.
    pub executed_from: u64,
    /// Blocks whose header, transactions and roots were checked.
    pub blocks: u64,
    /// Of these, blocks with a commit record; the rest is final and not yet applied.
    pub committed_blocks: u64,
    /// Blocks with a certificate.
    pub certificates: u64,
    /// The highest of these, which makes all blocks below it final; 0 where there is none.
    pub certified_to: u64,
    /// The last block.
    pub last_block: u64,
    /// Batches whose seal was checked.
    pub batches: u64,
    /// Transactions whose signature was checked.
    pub transactions: u64,
    /// Transactions that took effect.
    pub applied: u64,
    /// Transactions that failed.
    pub failed: u64,
    /// Transactions that were passed over.
    pub skipped: u64,
    /// Durable batches that no block lists.
    pub unlisted_batches: u64,
    /// Accounts at the end, the sentinel left out.
    pub accounts: u64,
    /// The state root after the last committed block.
    pub state_root: String,
    /// The total of each currency at the end, as a decimal string.
    pub totals: Vec<(String, String)>,
}

/// Replays `data` and compares everything: from `genesis`, or where the logs begin later, what they hold of the blocks up to the checkpoint,
/// and from there on by execution. The logs are only read; a node that runs on them does not mind, and what it writes meanwhile is
/// checked as far as it is durable.
pub fn verify_log(data: &Path, genesis: &Genesis, progress: Progress<'_>) -> Result<VerifyReport, ReplayError> {
    verify(data, genesis, false, progress)
}

/// [`verify_log`], and every certificate that a header bears: its validators, their quorum and their signatures. The last certificate makes all
/// blocks below it final, so that a log whose last block has one is wholly shown to be the chain's.
pub fn verify_log_and_certificates(
    data: &Path,
    genesis: &Genesis,
    progress: Progress<'_>,
) -> Result<VerifyReport, ReplayError> {
    verify(data, genesis, true, progress)
}

fn verify(
    data: &Path,
    genesis: &Genesis,
    certificates: bool,
    progress: Progress<'_>,
) -> Result<VerifyReport, ReplayError> {
    // A file that cannot be read says nothing; the first header will tell.
    let expected = hex::encode(genesis.hash());
    if let Some(found) = owner::chain_of(data).unwrap_or_default().filter(|found| *found != expected) {
        return Err(ReplayError::OtherChain { data: data.to_owned(), found, expected });
    }
    let folders = DataFolders::new(data);
    let published = published_height(&folders);
    let mut audit = Audit::open(&folders, genesis.to_chain())?;
    let mut replayer = match Beginning::of(&folders)? {
        Beginning::Genesis => Replayer::from_genesis(genesis, progress)?,
        Beginning::Kept { header, record } => {
            let replayer = restored(&folders, genesis, header, progress)?;
            audit.report.executed_from = replayer.height;
            audit.check_recorded(&replayer, record, progress)?;
            replayer
        }
    };
    let mut state_root = replayer.attested.last().map_or([0; 32], |roots| roots.state_root);
    let mut committed = replayer.height;
    while let Some(ordered) = audit.next_header()? {
        let certificate = ordered.certificate.clone();
        let block = audit.check_block(ordered)?;
        let replayed = replayer.apply(&block)?;
        if certificates && !certificate.is_empty() {
            check_certificate(&replayer, genesis, &block, &certificate)?;
        }
        let recorded = audit.records.next_record(|record, _| replayer.compare(&replayed, &record))?;
        if recorded.is_some() {
            audit.report.committed_blocks += 1;
            audit.report.applied += u64::from(replayer.outcome.applied);
            audit.report.failed += u64::from(replayer.outcome.failed);
            audit.report.skipped += u64::from(replayer.outcome.skipped);
            (state_root, committed) = (replayed.roots.state_root, replayer.height);
        }
        progress("blocks", audit.report.blocks, 0);
    }
    check_published(published, committed)?;
    let Audit { batches, mut report, .. } = audit;
    // Where the logs begin later, they may still hold batches of blocks that are gone; those have expired.
    let may_still_be_listed = |sealed: &SealedBatch| {
        report.executed_from == 0 || sealed.batch.seal_header().expiry_height.get() > replayer.height
    };
    let unlisted = batches.rest()?.batches.iter().filter(|sealed| may_still_be_listed(sealed)).count();
    report.unlisted_batches = unlisted as u64;
    report.accounts = u64::from(replayer.state.account_count()) - 1;
    report.state_root = hex::encode(state_root);
    report.totals = check_totals(&replayer)?;
    Ok(report)
}

/// Checks a block's certificate against the validators of its epoch, as the state behind it knows them.
fn check_certificate(
    replayer: &Replayer,
    genesis: &Genesis,
    block: &Block,
    certificate: &[u8],
) -> Result<(), ReplayError> {
    let set: Vec<[u8; 32]> =
        replayer.state.validators(block.header.epoch).into_iter().map(|validator| validator.key.0).collect();
    let certified = tana_consensus::certificate::check(&genesis.hash(), &set, certificate);
    match certified {
        Some(certified) if certified.hash == block.hash && certified.epoch == block.header.epoch => Ok(()),
        _ => {
            let reason = "its certificate is not one of its epoch's validators for it".to_owned();
            Err(ReplayError::Broken { height: block.header.height, reason })
        }
    }
}

/// Adds up what every account and every waiting withdrawal holds, and compares it with the totals that the state claims.
fn check_totals(replayer: &Replayer) -> Result<Vec<(String, String)>, ReplayError> {
    let state = &replayer.state;
    let mut totals = Vec::new();
    for (id, currency) in (1..).zip(state.currency_totals()) {
        let accounts = (1..state.account_count()).map(|index| state.balance(index, id));
        let reserved = state
            .pending_requests()
            .filter(|(_, request)| request.currency == id && request.kind == PendingKind::Withdraw);
        let sum = accounts.chain(reserved.map(|(_, request)| request.amount)).try_fold(0u128, u128::checked_add);
        let code = currency.info.code;
        if sum != Some(currency.total) {
            let reason = format!("the balances of {code} do not add up to its total {}", currency.total);
            return Err(ReplayError::Broken { height: replayer.height, reason });
        }
        totals.push((code.to_string(), print_amount(currency.total, currency.info.decimals)));
    }
    Ok(totals)
}

pub(crate) fn check_signatures(
    verifier: &mut Verifier,
    chain: &Chain,
    batch: &Batch,
    height: u64,
) -> Result<(), ReplayError> {
    let transactions: Vec<_> = batch.transactions().collect();
    let items: Vec<Item<'_>> = transactions
        .iter()
        .map(|transaction| Item {
            key: &transaction.header().sender,
            message: transaction.body(),
            signature: transaction.signature(),
            hint: u32::MAX,
        })
        .collect();
    let mut verdicts = Vec::new();
    verifier.verify(chain.signing_prefix(), &items, &NoCache, Mode::BatchFirst, &mut verdicts);
    match verdicts.iter().position(|valid| !valid) {
        None => Ok(()),
        Some(position) => {
            let id = hex::encode(transactions[position].id());
            Err(ReplayError::Broken { height, reason: format!("transaction {id} has a signature that is not valid") })
        }
    }
}
