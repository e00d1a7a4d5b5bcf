//! Whether this validator may vote: never without the journal of what it voted for before.
//!
//! Simplex writes every vote to its journal, synced, before the vote leaves. A journal that is missing, or that was put back from an older
//! copy, would let the key vote twice in one view. The guard notices, by counting starts in two places, inside agreement's folder and
//! outside of it ([`crate::record`]), and by comparing the host's tip with the blocks in agreement's own store:
//!
//! | outside | inside | verdict |
//! |---|---|---|
//! | none | any | the record is missing: nobody can say whether the key has voted, here or in a folder that this one was copied from |
//! | 0 starts | none | votes: the key was just made |
//! | n > 0 | none | the journal is missing |
//! | n | less than n | the journal is an older copy |
//! | n | at least n | votes, if agreement's store reaches the host's tip; otherwise it is an older copy |
//!
//! So a record is never made here, only counted on: whoever makes a key makes its record, and an empty folder with an old key does not vote.
//! The inside is written first, so a crash between the two leaves it ahead, which is fine. A refusal is remembered inside. It ends when an
//! epoch above the last one voted in begins whose set does not hold the key: a key that joins again later has no votes of those epochs to contradict.
//! That of a missing record ends too when the record is there again, and until then none is written in its place.

use std::sync::Arc;

use commonware_storage::metadata::{Config, Metadata};
use commonware_utils::sequence::U64;

use super::{Environment, StartError};
use crate::record::{Record, RecordStore};

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;

/// The place of the number of starts.
const STARTS: U64 = U64::new(0);
/// The place of the last epoch voted in.
const EPOCH: U64 = U64::new(1);
/// The place of the refusal: 0 none, otherwise [`Refusal`]'s number.
const REFUSAL: U64 = U64::new(2);

/// Why a validator does not vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The journal is gone.
    Missing = 1,
    /// The journal is an older copy.
    Older = 2,
    /// There is no record outside.
    NoRecord = 3,
}

impl Refusal {
    fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => None,
            1 => Some(Self::Missing),
            3 => Some(Self::NoRecord),
            _ => Some(Self::Older),
        }
    }

    /// For people: what happened and what helps.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Missing => {
                "the journal of votes is missing although this key has voted; restore the folder `consensus`, or let a new key join"
            }
            Self::Older => {
                "the journal of votes is older than the blocks or the voting record; restore the latest one, or let a new key join"
            }
            Self::NoRecord => {
                "the voting record, the file `voted` of the data folder, is missing, so this key may have voted before; restore it, or let a new \
                 key join (the first start of a key that was never used: `tana validator --new-key`)"
            }
        }
    }
}

/// What the guard looks at, at start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// The record outside, if there is one.
    pub outside: Option<Record>,
    /// The number of starts inside, if there is one.
    pub inside: Option<u64>,
    /// The host's tip.
    pub tip_height: u64,
    /// The highest block in agreement's own store.
    pub stored_height: u64,
}

/// The table above.
pub(crate) fn judge(found: Found) -> Option<Refusal> {
    let behind = found.tip_height > found.stored_height;
    match (found.outside, found.inside) {
        (None, _) => Some(Refusal::NoRecord),
        (Some(record), None) => (record.starts > 0).then_some(Refusal::Missing),
        (Some(record), Some(starts)) if starts < record.starts => Some(Refusal::Older),
        (Some(_), Some(_)) => behind.then_some(Refusal::Older),
    }
}

/// The guard of one validator.
pub(crate) struct Guard<E: Environment> {
    /// Taken while it is written.
    inside: Option<Metadata<E, U64, U64>>,
    outside: Arc<dyn RecordStore>,
    record: Record,
    refusal: Option<Refusal>,
    /// The last epoch that an earlier start voted in: below it nothing is voted on again.
    earlier_epoch: u64,
}

impl<E: Environment> Guard<E> {
    /// Reads both places, decides, and counts this start in both.
    pub(crate) async fn open(
        context: E,
        partition: String,
        outside: Arc<dyn RecordStore>,
        tip_height: u64,
        stored_height: u64,
    ) -> Result<Self, StartError> {
        let config = Config { partition, codec_config: () };
        let inside = Metadata::<E, U64, U64>::init(context, config).await.map_err(StartError::storage)?;
        let number = |key: &U64| inside.get(key).map(u64::from);
        let stored = outside.load().map_err(StartError::Record)?;
        let record = match &stored {
            Some(bytes) => Some(Record::decode(bytes).ok_or(StartError::RecordDamaged)?),
            None => None,
        };
        let found = Found { outside: record, inside: number(&STARTS), tip_height, stored_height };
        let remembered = Refusal::from_number(number(&REFUSAL).unwrap_or(0));
        let refusal = remembered.filter(|refusal| *refusal != Refusal::NoRecord).or_else(|| judge(found));
        let starts = found.inside.unwrap_or(0).max(record.map_or(0, |record| record.starts)) + 1;
        let epoch = number(&EPOCH).unwrap_or(0).max(record.map_or(0, |record| record.epoch));
        let mut guard =
            Self { inside: Some(inside), outside, record: Record { starts, epoch }, refusal, earlier_epoch: epoch };
        guard.write().await?;
        Ok(guard)
    }

    /// Why it does not vote, if it does not.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// The last epoch that was voted in.
    pub(crate) fn last_epoch(&self) -> u64 {
        self.record.epoch
    }

    /// Asks to vote in `epoch`, whose set holds the key. True once that is written down.
    pub(crate) async fn may_vote(&mut self, epoch: u64) -> Result<bool, StartError> {
        if self.refusal.is_some() || epoch < self.earlier_epoch {
            return Ok(false);
        }
        if epoch > self.record.epoch {
            self.record.epoch = epoch;
            self.write().await?;
        }
        Ok(true)
    }

    /// `epoch` begins, whose set does not hold the key.
    pub(crate) async fn not_a_member(&mut self, epoch: u64) -> Result<(), StartError> {
        // An epoch at or below the last one voted in says nothing: the key was in the set after it.
        if self.refusal.is_some() && epoch > self.record.epoch {
            self.refusal = None;
            self.write().await?;
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), StartError> {
        let Some(mut inside) = self.inside.take() else { return Err(StartError::GuardClosed) };
        inside.put(STARTS, U64::new(self.record.starts));
        inside.put(EPOCH, U64::new(self.record.epoch));
        inside.put(REFUSAL, U64::new(self.refusal.map_or(0, |refusal| refusal as u64)));
        self.inside = Some(inside.sync().await.map_err(StartError::storage)?);
        if self.refusal == Some(Refusal::NoRecord) {
            return Ok(());
        }
        self.outside.store(&self.record.encode()).map_err(StartError::Record)
    }
}
