//! Loads the checkpoint of a node, read-only, and checks all of it against its state root.
//!
//! The snapshot is open only while the bytes are copied: as long as a reader holds one, the node's file cannot use its free pages again.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tana_engine::checkpointer::Resume;
use tana_engine::replay::DataFolders;
use tana_execute::{FollowedSections, MetaSections, PAGE_RECORDS, Progress};
use tana_root::{AccountTree, hash_leaves};
use tana_store::checkpoint::MAP_BYTES_DEFAULT;
use tana_store::{Checkpoint, CheckpointMeta, CheckpointMode, Position, StoreError};
use tana_types::Hash;
use tana_types::account::RECORD_BYTES;
use tana_types::genesis::Genesis;
use tana_types::state::StateSections;

use super::accounts::{Accounts, LoadedAccounts};
use super::state::State;
use super::tree::ProofTree;

/// Leaves hashed together when the tree is built.
const LEAVES_PER_STEP: u32 = 4_096;
/// The file that names the folder's chain.
const CHAIN_FILE: &str = "chain";

/// What a checkpoint was made into.
pub(crate) struct Loaded {
    /// The state.
    pub state: State,
    /// Its tree.
    pub tree: ProofTree,
    /// Per log, the record behind which following goes on; none where it begins with the log.
    pub positions: [Option<Position>; 3],
}

/// Why nothing was loaded.
pub(crate) enum LoadError {
    /// It is not there yet: the text says for what to wait.
    Waiting(String),
    /// It must not be served.
    Wrong(String),
}

impl From<StoreError> for LoadError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Missing { .. } => Self::Waiting("the node has made no checkpoint yet".to_owned()),
            other => Self::Wrong(other.to_string()),
        }
    }
}

/// Which checkpoint lies there: changes whenever one is committed or the folder is replaced.
pub(crate) fn fingerprint(folders: &DataFolders) -> Option<(u64, u64, i64, i64)> {
    let metadata = std::fs::metadata(folders.checkpoint.join("data.mdb")).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

/// Refuses a folder of another chain; one that names none yet is waited for.
pub(crate) fn check_chain(data: &Path, genesis_hash: &Hash) -> Result<(), LoadError> {
    match std::fs::read_to_string(data.join(CHAIN_FILE)) {
        Ok(found) if found.trim() == hex::encode(genesis_hash) => Ok(()),
        Ok(found) => {
            let found: String = found.trim().chars().take(64).collect();
            let reason = format!(
                "the data folder is of the chain {found}, but the genesis given is that of {}; give the genesis file of that chain",
                hex::encode(genesis_hash)
            );
            Err(LoadError::Wrong(reason))
        }
        Err(_) => Err(LoadError::Waiting("no node has run in the data folder yet".to_owned())),
    }
}

/// Copies everything out of the checkpoint.
fn copy(folders: &DataFolders) -> Result<(CheckpointMeta, LoadedAccounts), LoadError> {
    let checkpoint = Checkpoint::open(&folders.checkpoint, CheckpointMode::ReadOnly, MAP_BYTES_DEFAULT)?;
    let snapshot = checkpoint.snapshot()?;
    let Some(meta) = snapshot.meta()? else {
        return Err(LoadError::Waiting("the node has made no checkpoint yet".to_owned()));
    };
    let (mut accounts, mut expected, mut wrong) = (LoadedAccounts::default(), 0, None);
    snapshot.for_each_page(|number, bytes| {
        let (records, rest) = bytes.as_chunks::<RECORD_BYTES>();
        let is_full = accounts.count() == expected * PAGE_RECORDS;
        if number != expected || !rest.is_empty() || records.len() > PAGE_RECORDS as usize || !is_full {
            wrong = wrong.or(Some(number));
            return;
        }
        accounts.push_page(records);
        expected += 1;
    })?;
    snapshot.for_each_overflow(|index, bytes| accounts.push_overflow(index, bytes))?;
    match wrong {
        Some(page) => {
            Err(LoadError::Wrong(format!("page {page} of the checkpoint is out of order or of a wrong size")))
        }
        None => Ok((meta, accounts)),
    }
}

/// Loads and checks the checkpoint.
pub(crate) fn load(folders: &DataFolders, genesis: &Genesis) -> Result<Loaded, LoadError> {
    let (meta, accounts) = copy(folders)?;
    let wrong = |error: &dyn std::fmt::Display| LoadError::Wrong(format!("the checkpoint cannot be used: {error}"));
    let (_, state_meta) = Resume::split_blob(&meta.blob).map_err(|error| wrong(&error))?;
    let parts = MetaSections::split(state_meta, genesis).map_err(|error| wrong(&error))?;
    let sections = FollowedSections::decode(&parts, genesis).map_err(|error| wrong(&error))?;
    let progress: Progress = parts.read_progress().map_err(|error| wrong(&error))?;
    if accounts.count() != parts.account_count || progress.height != meta.height {
        return Err(wrong(&"its pages or its height are not those that it names"));
    }
    let tree = build_tree(&accounts).map_err(|error| wrong(&error))?;
    let [currencies_hash, pending_hash, validators_hash, progress_hash] = parts.hashes();
    let state_sections = StateSections {
        height: meta.height,
        account_count: accounts.count(),
        accounts_root: tree.root(),
        currencies_hash,
        pending_hash,
        validators_hash,
        progress_hash,
    };
    if state_sections.root() != meta.state_root {
        return Err(wrong(&"its content does not give the state root that it names"));
    }
    let accounts = Accounts::new(accounts).map_err(|error| wrong(&error))?;
    let position = |log: usize| meta.positions.get(log).copied().filter(|position| *position != Position::default());
    Ok(Loaded {
        state: State::new(accounts, sections, &progress, state_sections),
        tree: ProofTree::new(tree, state_sections),
        positions: [position(0), position(1), position(2)],
    })
}

/// The tree over all accounts.
fn build_tree(accounts: &LoadedAccounts) -> Result<AccountTree, tana_root::ChangesError> {
    let steps = (0..accounts.count()).step_by(LEAVES_PER_STEP as usize);
    let leaves = steps.flat_map(|first| {
        let range = first..accounts.count().min(first + LEAVES_PER_STEP);
        let records: Vec<_> = range.clone().map(|index| *accounts.record(index)).collect();
        let with_overflow = range.filter_map(|index| accounts.overflow(index).map(|bytes| (index - first, bytes)));
        let overflows: Vec<(u32, Hash)> = with_overflow.map(|(place, bytes)| (place, tana_hash::hash(bytes))).collect();
        let mut hashes = vec![[0; 32]; records.len()];
        hash_leaves(&records, &overflows, &mut hashes);
        hashes
    });
    AccountTree::from_leaves(leaves, None)
}
