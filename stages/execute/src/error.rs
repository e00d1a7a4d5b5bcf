//! What stops a node: a block that does not follow, books that do not balance, a genesis that makes no state.
//!
//! Nothing here is about a single transaction: whatever a transaction says, it ends with a code.

use tana_types::currency::CurrencyId;
use tana_types::genesis::GenesisError;
use tana_types::key::PublicKey;
use thiserror::Error;

/// Why a block was not executed. After `Conservation` the state must not be used any more; otherwise it is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExecuteError {
    /// Not the next height.
    #[error(
        "block {height} cannot be executed after height {executed}: blocks come in order; replay the log from {executed}"
    )]
    Height {
        /// The block's height.
        height: u64,
        /// The last executed height.
        executed: u64,
    },
    /// The batches are not those that the header lists.
    #[error(
        "block {height} lists {listed} batches with {listed_transactions} transactions, but {given} with {given_transactions} were given; fetch the batches that it names"
    )]
    Batches {
        /// The block's height.
        height: u64,
        /// Batches of the header.
        listed: usize,
        /// Batches given.
        given: usize,
        /// Transactions of the header.
        listed_transactions: u64,
        /// Transactions given.
        given_transactions: u64,
    },
    /// Money appeared or vanished.
    #[error(
        "the books of block {height} do not balance in currency {currency}: balances moved by {moved} (modulo 2^128), minted {minted}, burned {burned}; the state in memory is wrong, the node must stop and replay its log"
    )]
    Conservation {
        /// The block's height.
        height: u64,
        /// The currency.
        currency: CurrencyId,
        /// Sum of all differences, modulo 2^128.
        moved: u128,
        /// Created.
        minted: u128,
        /// Destroyed.
        burned: u128,
    },
}

/// Why a genesis makes no state.
#[derive(Debug, Error)]
pub enum GenesisStateError {
    /// The genesis breaks a rule of its own.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// A key that cannot have an account.
    #[error("the sovereign's key is all zeros, which belongs to nobody; make a key with `tana keys`")]
    ZeroKey,
    /// Two accounts with one key.
    #[error("the key {0} would have two accounts; change bulk.seed or sovereign.key in the genesis")]
    KeyTwice(PublicKey),
    /// The directory given holds accounts already.
    #[error("the account directory holds {0} accounts already; a state starts with an empty one")]
    DirectoryInUse(u32),
}
