//! The small sections of a checkpoint, for those who hold them without a state: a node that syncs checks each against the hash in the state root
//! before it fetches anything large, and reads in them who the validators are and where the chain stands.

use tana_types::Hash;
use tana_types::codec::{DecodeError, Reader};
use tana_types::genesis::Genesis;

use crate::checkpoint::META_VERSION;
use crate::progress::Progress;
use crate::restore::RestoreError;
use crate::state::{CURRENCIES_KEY, PENDING_KEY, PROGRESS_KEY, VALIDATORS_KEY};
use crate::validators::{Validator, Validators};

/// The meta bytes of a checkpoint, in their parts. Only lengths, genesis and the count of accounts were checked.
#[derive(Debug, Clone, Copy)]
pub struct MetaSections<'a> {
    /// Accounts, the sentinel included.
    pub account_count: u32,
    /// Currencies with their totals.
    pub currencies: &'a [u8],
    /// Deposits and withdrawals that wait.
    pub pending: &'a [u8],
    /// The validator set in force and changes to come.
    pub validators: &'a [u8],
    /// Where execution stands.
    pub progress: &'a [u8],
}

impl<'a> MetaSections<'a> {
    /// Splits the meta bytes.
    ///
    /// # Errors
    /// When they break their layout or belong to another chain.
    pub fn split(bytes: &'a [u8], genesis: &Genesis) -> Result<Self, RestoreError> {
        let mut reader = Reader::new(bytes);
        if reader.u16("meta version")? != META_VERSION {
            return Err(DecodeError::Invalid { field: "meta version", rule: "1" }.into());
        }
        let (found, expected) = (reader.array::<32>("genesis hash")?, genesis.hash());
        if found != expected {
            return Err(RestoreError::OtherChain { found: hex::encode(found), expected: hex::encode(expected) });
        }
        let account_count = reader.u32("account count")?;
        if account_count == 0 || account_count > genesis.rules.accounts_total {
            return Err(DecodeError::Invalid { field: "account count", rule: "1 to rules.accounts_total" }.into());
        }
        let mut section = |field| {
            let length = reader.u32(field)? as usize;
            reader.bytes(length, field)
        };
        let (currencies, pending) = (section("currencies")?, section("pending")?);
        let (validators, progress) = (section("validators")?, section("progress")?);
        reader.finish()?;
        Ok(Self { account_count, currencies, pending, validators, progress })
    }

    /// The hashes by which the state root commits to them: currencies, pending, validators, progress.
    pub fn hashes(&self) -> [Hash; 4] {
        [
            tana_hash::keyed(&CURRENCIES_KEY, self.currencies),
            tana_hash::keyed(&PENDING_KEY, self.pending),
            validators_hash(self.validators),
            tana_hash::keyed(&PROGRESS_KEY, self.progress),
        ]
    }

    /// Reads where execution stands.
    ///
    /// # Errors
    /// When the section breaks its layout.
    pub fn read_progress(&self) -> Result<Progress, RestoreError> {
        Progress::decode(self.progress)
    }

    /// Reads the set of an epoch, as far as the section knows it.
    ///
    /// # Errors
    /// When the section breaks its layout or rules.
    pub fn read_validators(&self, genesis: &Genesis, epoch: u64) -> Result<Vec<Validator>, RestoreError> {
        read_validators(self.validators, genesis, epoch)
    }
}

/// The hash by which the state root commits to the validators' section.
pub fn validators_hash(section: &[u8]) -> Hash {
    tana_hash::keyed(&VALIDATORS_KEY, section)
}

/// Reads the set of an epoch in the validators' section, as far as it is known there.
///
/// # Errors
/// When the section breaks its layout or rules.
pub fn read_validators(section: &[u8], genesis: &Genesis, epoch: u64) -> Result<Vec<Validator>, RestoreError> {
    Ok(Validators::decode(section, genesis.rules.validators_total)?.set_of(epoch))
}
