//! Every change of the validator set, kept so that a node that joins later can be led over it.
//!
//! 1. When a boundary's state knows another set for the epoch after next than for the next, the execute stage notes the validators' section of
//!    that state ([`SetChanges::executed`]): a small file, synced before the block's record can be, so that it is never missing.
//! 2. When the block that attests the boundary and a certificate behind it are there, the step is put together and written once and for all. That is
//!    done when somebody asks, and before the blocks that it needs are pruned.
//!
//! A file's name is the epoch in which the new set is in force, in ten digits: `0000000012.noted`, `0000000012.step`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use tana_execute::{State, Validator, read_validators};
use tana_types::codec::{Reader, Writer};
use tana_types::genesis::Genesis;

use super::headers::ChainReader;
use super::proof::{STEPS_MAX, SetStep};

/// See the module's text.
#[derive(Debug, Clone)]
pub struct SetChanges {
    folder: PathBuf,
    epoch_blocks: u64,
}

/// Ending of a change whose step is still to be made: the validators' section.
const NOTED: &str = "noted";
/// Ending of a whole step.
const STEP: &str = "step";

/// Name of the file that holds the first epoch whose set is known here.
const FIRST_FILE: &str = "first";

fn text(path: &Path, error: impl std::fmt::Display) -> String {
    format!("cannot keep the change of the validator set in {}: {error}", path.display())
}

impl SetChanges {
    /// The changes kept in `folder`, which is made when the first comes.
    pub fn new(folder: &Path, genesis: &Genesis) -> Self {
        Self { folder: folder.to_owned(), epoch_blocks: genesis.rules.epoch_blocks }
    }

    fn path(&self, epoch: u64, ending: &str) -> PathBuf {
        self.folder.join(format!("{epoch:010}.{ending}"))
    }

    /// Looks at the state right behind a block; to be called before the block's record is written.
    ///
    /// # Errors
    /// A text when the disk refuses the note; the node must not go on then.
    pub fn executed(&self, state: &State) -> Result<(), String> {
        let height = state.progress().height;
        if height == 0 || !height.is_multiple_of(self.epoch_blocks) {
            return Ok(());
        }
        let next = state.epoch_of(height) + 1;
        if state.validator_changes().is_empty() || state.validators(next) == state.validators(next + 1) {
            return Ok(());
        }
        let path = self.path(next + 1, NOTED);
        if path.exists() || self.path(next + 1, STEP).exists() {
            return Ok(());
        }
        write_synced(&path, &state.validators_section()).map_err(|error| text(&path, error))
    }

    /// Keeps a step that was proven elsewhere.
    ///
    /// # Errors
    /// A text when the disk refuses it.
    pub fn keep(&self, step: &SetStep) -> Result<(), String> {
        let path = self.path(step.next_epoch(), STEP);
        let mut writer = Writer::with_capacity(4_096);
        step.encode(&mut writer);
        write_synced(&path, &writer.finish()).map_err(|error| text(&path, error))?;
        let _ = std::fs::remove_file(self.path(step.next_epoch(), NOTED));
        Ok(())
    }

    /// Epochs with a file of this ending, ascending.
    fn epochs(&self, ending: &str) -> Vec<u64> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let epoch_of = |path: PathBuf| {
            let same = path.extension().is_some_and(|found| found == ending);
            path.file_stem().filter(|_| same)?.to_str()?.parse().ok()
        };
        let mut epochs: Vec<u64> = entries.filter_map(|entry| epoch_of(entry.ok()?.path())).take(STEPS_MAX).collect();
        epochs.sort_unstable();
        epochs
    }

    /// Puts every noted change together whose blocks and certificate are there.
    pub fn complete(&self, chain: &dyn ChainReader) {
        for epoch in self.epochs(NOTED) {
            match self.step_of(epoch, chain).map(|step| step.map(|step| self.keep(&step))) {
                Ok(None | Some(Ok(()))) => {}
                Ok(Some(Err(reason))) | Err(reason) => {
                    tracing::warn!(epoch, reason, "a change of the validator set waits")
                }
            }
        }
    }

    /// The lowest boundary whose step is still to be made; blocks from there on must not be pruned.
    pub fn lowest_noted(&self) -> Option<u64> {
        self.epochs(NOTED).first().map(|epoch| (epoch - 1).saturating_mul(self.epoch_blocks))
    }

    fn step_of(&self, epoch: u64, chain: &dyn ChainReader) -> Result<Option<SetStep>, String> {
        let path = self.path(epoch, NOTED);
        let validators = std::fs::read(&path).map_err(|error| text(&path, error))?;
        // A change in force from epoch `e` on is told by a block of `e - 1` that attests the last height of `e - 2`.
        let boundary = epoch.saturating_sub(1).saturating_mul(self.epoch_blocks);
        let Some(sections) = chain.sections(boundary)? else { return Ok(None) };
        let Some(mut found) = chain.attestation(boundary)? else { return Ok(None) };
        let attesting = found.headers.iter().position(|header| header.executed_height == boundary);
        found.headers.drain(..attesting.unwrap_or(0));
        Ok(Some(SetStep { sections, validators, chain: found }))
    }

    /// Every step that gives the set of an epoch in `from + 1 ..= to`, in order.
    ///
    /// # Errors
    /// A text when one is not complete yet or cannot be read.
    pub fn steps(&self, from: u64, to: u64) -> Result<Vec<SetStep>, String> {
        let wanted = |epoch: &u64| *epoch > from && *epoch <= to;
        if from < self.first_epoch() {
            return Err("this node joined later and does not know the changes before".to_owned());
        }
        if self.epochs(NOTED).iter().any(wanted) {
            return Err("a change of the validator set has no certificate here yet".to_owned());
        }
        self.epochs(STEP).into_iter().filter(wanted).map(|epoch| self.read(epoch)).collect()
    }

    fn read(&self, epoch: u64) -> Result<SetStep, String> {
        let path = self.path(epoch, STEP);
        let bytes = std::fs::read(&path).map_err(|error| text(&path, error))?;
        let mut reader = Reader::new(&bytes);
        let step = SetStep::decode(&mut reader).map_err(|error| text(&path, error))?;
        reader.finish().map_err(|error| text(&path, error))?;
        Ok(step)
    }

    /// The sets that the kept changes led to, the latest first.
    pub fn sets(&self, genesis: &Genesis) -> Vec<Vec<Validator>> {
        let set = |epoch: u64| read_validators(&self.read(epoch).ok()?.validators, genesis, epoch).ok();
        self.epochs(STEP).into_iter().rev().filter_map(set).collect()
    }

    /// Notes that changes up to `epoch` are not known here, because the node joined with the set of that epoch.
    ///
    /// # Errors
    /// A text when the disk refuses the note.
    pub fn begin_at(&self, epoch: u64) -> Result<(), String> {
        let path = self.folder.join(FIRST_FILE);
        write_synced(&path, format!("{epoch}\n").as_bytes()).map_err(|error| text(&path, error))
    }

    fn first_epoch(&self) -> u64 {
        let text = std::fs::read_to_string(self.folder.join(FIRST_FILE)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

/// Writes a file whole or not at all, and syncs it and its name.
pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let unfinished = path.with_extension("new");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    File::open(folder)?.sync_all()
}
