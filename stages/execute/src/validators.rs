//! The validator set in force and the changes to come.
//!
//! A change names the first epoch in which it holds, at least [`CHANGE_EPOCHS_AHEAD`] after the epoch in which it is executed: execution runs
//! behind ordering, and so the set of an epoch is known on every validator before its first block is ordered. Changes are kept by epoch and, within one, by arrival. The set of an epoch is the
//! set in force with every change up to that epoch applied in this order: additions go to the end, removals close the gap. A change is
//! taken only if all changes, the later ones too, still make sense with it: nobody is added twice or removed twice, no set is ever
//! empty or too large.

use std::sync::LazyLock;

use tana_hash::HashKey;
use tana_types::Hash;
use tana_types::code::Code;
use tana_types::codec::{DecodeError, Reader, Writer};
use tana_types::genesis::{GenesisValidator, VALIDATORS_MAX};
use tana_types::key::PublicKey;

use crate::restore::RestoreError;

/// The key of a validator set's hash is the BLAKE3 hash of this text.
pub const VALIDATOR_SET_CONTEXT: &str = "tana validator set v1";
/// How many epochs after its own a change may take effect at the earliest: the set of epoch e is fixed by the blocks up to epoch e - 2.
pub const CHANGE_EPOCHS_AHEAD: u64 = 2;
/// The most changes that wait for their epoch; a further one ends as `validators_total`.
pub const VALIDATOR_CHANGES_MAX: usize = 1_024;

static VALIDATOR_SET_KEY: LazyLock<HashKey> = LazyLock::new(|| HashKey::from_context(VALIDATOR_SET_CONTEXT));

/// A member of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// Its key.
    pub key: PublicKey,
    /// Where its links listen, `host:port`.
    pub address: String,
}

/// An addition or removal from an epoch on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorChange {
    /// The first epoch in which it holds.
    pub epoch: u64,
    /// Whether the validator is added; otherwise it is removed.
    pub add: bool,
    /// Who; the address is empty in a removal.
    pub validator: Validator,
}

#[derive(Clone)]
pub(crate) struct Validators {
    set: Vec<Validator>,
    /// Ascending by epoch.
    changes: Vec<ValidatorChange>,
    total_max: usize,
}

impl Validators {
    pub(crate) fn new(genesis: &[GenesisValidator], total_max: u32) -> Self {
        let set = genesis.iter().map(|entry| Validator { key: entry.key, address: entry.address.clone() }).collect();
        Self { set, changes: Vec::new(), total_max: VALIDATORS_MAX.min(total_max as usize) }
    }

    /// The set in force in `epoch`, as far as is known today.
    pub(crate) fn set_of(&self, epoch: u64) -> Vec<Validator> {
        let mut set = self.set.clone();
        for change in self.changes.iter().take_while(|change| change.epoch <= epoch) {
            // Every change was tried before it was taken.
            let _ = self.apply(&mut set, change);
        }
        set
    }

    pub(crate) fn changes(&self) -> &[ValidatorChange] {
        &self.changes
    }

    fn apply(&self, set: &mut Vec<Validator>, change: &ValidatorChange) -> Result<(), Code> {
        let place = set.iter().position(|member| member.key == change.validator.key);
        match (change.add, place) {
            (true, Some(_)) => Err(Code::ValidatorExists),
            (true, None) if set.len() >= self.total_max => Err(Code::ValidatorsTotal),
            (true, None) => {
                set.push(change.validator.clone());
                Ok(())
            }
            (false, None) => Err(Code::UnknownValidator),
            (false, Some(_)) if set.len() == 1 => Err(Code::LastValidator),
            (false, Some(place)) => {
                set.remove(place);
                Ok(())
            }
        }
    }

    /// Takes a change that is executed in `current_epoch`, or says why not and stays as it was.
    pub(crate) fn schedule(&mut self, change: ValidatorChange, current_epoch: u64) -> Result<(), Code> {
        if change.epoch < current_epoch.saturating_add(CHANGE_EPOCHS_AHEAD) {
            return Err(Code::EpochPast);
        }
        self.take(change)
    }

    /// Takes a change whose epoch has been judged.
    fn take(&mut self, change: ValidatorChange) -> Result<(), Code> {
        if self.changes.len() >= VALIDATOR_CHANGES_MAX {
            return Err(Code::ValidatorsTotal);
        }
        let place = self.changes.partition_point(|other| other.epoch <= change.epoch);
        let mut set = self.set.clone();
        let after = &self.changes[place..];
        for step in self.changes[..place].iter().chain([&change]).chain(after) {
            self.apply(&mut set, step)?;
        }
        self.changes.insert(place, change);
        Ok(())
    }

    /// Puts the changes up to `epoch` in force; whether there were any.
    pub(crate) fn enter(&mut self, epoch: u64) -> bool {
        let due = self.changes.partition_point(|change| change.epoch <= epoch);
        if due > 0 {
            self.set = self.set_of(epoch);
            self.changes.drain(..due);
        }
        due > 0
    }

    /// The section's bytes: the set in force as [`encode_set`] writes it, then count 4 and per change: epoch 8, action 1, key 32, address
    /// (1 + n).
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(128 * (self.set.len() + self.changes.len()));
        writer.bytes(&encode_set(&self.set)).u32(self.changes.len() as u32);
        for change in &self.changes {
            writer.u64(change.epoch).u8(u8::from(change.add)).bytes(&change.validator.key.0);
            writer.text_u8(&change.validator.address);
        }
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8], total_max: u32) -> Result<Self, RestoreError> {
        let invalid = |rule| Err(DecodeError::Invalid { field: "validators", rule }.into());
        let mut reader = Reader::new(bytes);
        let mut validators = Self::new(&[], total_max);
        for _ in 0..reader.u32("validator count")? {
            let key = PublicKey(reader.array("validator")?);
            let address = reader.text_u8("address")?.to_owned();
            if validators.set.len() >= VALIDATORS_MAX || validators.set.iter().any(|member| member.key == key) {
                return invalid("at most 256, each once");
            }
            validators.set.push(Validator { key, address });
        }
        if validators.set.is_empty() {
            return invalid("at least one");
        }
        for _ in 0..reader.u32("change count")? {
            let epoch = reader.u64("change epoch")?;
            let add = reader.u8("change action")? == 1;
            let validator = Validator {
                key: PublicKey(reader.array("change validator")?),
                address: reader.text_u8("change address")?.to_owned(),
            };
            if validators.changes.last().is_some_and(|last| last.epoch > epoch)
                || validators.take(ValidatorChange { epoch, add, validator }).is_err()
            {
                return invalid("changes that follow from each other, ascending by epoch");
            }
        }
        reader.finish()?;
        Ok(validators)
    }
}

/// The bytes of a set: count 4, then per validator: key 32, address (1 + n).
pub fn encode_set(set: &[Validator]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64 * set.len() + 4);
    writer.u32(set.len() as u32);
    for member in set {
        writer.bytes(&member.key.0).text_u8(&member.address);
    }
    writer.finish()
}

/// What block headers name a validator set by: keyed BLAKE3 of [`encode_set`] under [`VALIDATOR_SET_CONTEXT`].
pub fn hash_set(set: &[Validator]) -> Hash {
    tana_hash::keyed(&VALIDATOR_SET_KEY, &encode_set(set))
}
