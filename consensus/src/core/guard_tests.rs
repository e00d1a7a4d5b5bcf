//! The guard's table, row by row.

use super::{Found, Refusal, judge};
use crate::record::Record;

fn found(outside: Option<u64>, inside: Option<u64>, tip_height: u64, stored_height: u64) -> Option<Refusal> {
    let outside = outside.map(|starts| Record { starts, epoch: 0 });
    judge(Found { outside, inside, tip_height, stored_height })
}

#[test]
fn a_journal_is_missing_only_if_the_key_can_have_voted() {
    assert_eq!(found(Some(0), None, 0, 0), None, "a chain's first start");
    assert_eq!(found(Some(0), None, 9, 0), None, "a new key on a synchronised state");
    assert_eq!(found(Some(3), None, 0, 0), Some(Refusal::Missing), "a used key with an empty folder");
    assert_eq!(found(Some(3), None, 9, 9), Some(Refusal::Missing));
}

#[test]
fn an_older_journal_is_noticed_by_its_starts_or_by_its_blocks() {
    assert_eq!(found(Some(3), Some(2), 9, 9), Some(Refusal::Older), "an older copy of the folder");
    assert_eq!(found(Some(3), Some(3), 9, 8), Some(Refusal::Older), "blocks that the folder does not have");
    assert_eq!(found(Some(3), Some(3), 9, 9), None, "an ordinary start");
    assert_eq!(found(Some(3), Some(4), 9, 12), None, "a crash between the two writes");
}

#[test]
fn without_a_record_nothing_is_voted_on() {
    assert_eq!(found(None, None, 0, 0), Some(Refusal::NoRecord), "an empty folder may be what is left of a used key");
    assert_eq!(found(None, None, 9, 0), Some(Refusal::NoRecord), "blocks but no journal");
    assert_eq!(found(None, Some(3), 9, 9), Some(Refusal::NoRecord), "the journal alone may be an older copy");
    assert_eq!(found(None, Some(3), 9, 8), Some(Refusal::NoRecord));
}
