//! Execution: the one writer of state. Finalized batches go in, codes and changed accounts come out.
//!
//! Read in this order: [`block`](State::execute) (the frame of a block and the hot loop over its transactions), `kinds` (what each kind of
//! transaction does), `accounts`, `currencies`, `pending`, `validators`, `progress` (the state itself), `order` (the links between
//! accounts in key order), [`state`](State) (genesis, sections of the state root), `pages`, `checkpoint` and `restore` (how the state
//! reaches a disk and comes back), `sections` (for those who follow without executing), `view` (answers for people), `receipts` (the lists that headers commit to).
//!
//! Rules that hold everywhere:
//! - One thread writes. A transfer costs 100 to 200 ns, so that one core feeds dozens of verifying ones.
//! - Every transaction ends with one [`Code`](tana_types::code::Code). A failure changes nothing but the sender's nonce: each kind checks
//!   everything first and writes then.
//! - Nothing that reaches state or bytes depends on the order of a hash map, on time, on threads or on hints from other stages.
//! - What is minted and burned explains every change of balances, to the unit, in every block.

mod accounts;
mod block;
mod checkpoint;
mod currencies;
mod error;
mod kinds;
mod meta;
mod order;
mod outcome;
mod pages;
mod pending;
mod progress;
mod receipts;
mod restore;
mod sections;
mod state;
mod validators;
mod view;

pub use checkpoint::CheckpointHead;
pub use currencies::{CurrencyTotal, Movement};
pub use error::{ExecuteError, GenesisStateError};
pub use meta::{MetaSections, read_validators, validators_hash};
pub use outcome::Outcome;
pub use pages::{PAGE_RECORDS, page_of};
pub use pending::{PendingKind, PendingRequest};
pub use progress::{LaneFloor, LaneFloors, Progress, enter_floors};
pub use receipts::{
    RECEIPT_CONTEXT, RECEIPTS_DOMAIN, TRANSACTIONS_DOMAIN, receipt_leaf, receipt_leaves, receipts_root,
    transaction_root, transaction_root_of_parts,
};
pub use restore::RestoreError;
pub use sections::{AppliedTransaction, FollowError, FollowedSections, currencies_hash, read_currencies};
pub use state::State;
pub use validators::{
    CHANGE_EPOCHS_AHEAD, VALIDATOR_CHANGES_MAX, VALIDATOR_SET_CONTEXT, Validator, ValidatorChange, encode_set, hash_set,
};

#[cfg(test)]
mod tests;
