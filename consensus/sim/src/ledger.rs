//! One node's state: the real execution and the real tree of accounts, from the genesis on.
//!
//! A simulated chain has a few hundred blocks of a few transactions, so a node that restarts simply executes all of them again; what a
//! real node restores from its checkpoint must be the same by other tests.

use tana_accounts::directory;
use tana_execute::{Outcome, State};
use tana_order::ExecutedRoots;
use tana_root::{AccountTree, LeafChanges};
use tana_types::Hash;
use tana_types::account::HotAccount;
use tana_types::batch::Batch;
use tana_types::code::Code;
use tana_types::header::BlockHeader;
use tana_types::payload::Role;
use thiserror::Error;

use crate::chain::SimChain;

/// Why a block cannot be executed: always a broken rule.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The genesis does not make a state.
    #[error("the simulation's genesis makes no state: {0}")]
    Genesis(#[from] tana_execute::GenesisStateError),
    /// Execution refuses.
    #[error("execution refuses a finalized block: {0}")]
    Execute(#[from] tana_execute::ExecuteError),
    /// The tree refuses.
    #[error("the tree of accounts refuses a finalized block: {0}")]
    Tree(#[from] tana_root::ChangesError),
}

/// What a block did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// The roots that a later header attests.
    pub roots: ExecutedRoots,
    /// One code for each transaction, in order.
    pub codes: Vec<u8>,
    /// What all balances add up to.
    pub money: u128,
    /// Accounts with the sovereign's role.
    pub sovereigns: usize,
}

impl Executed {
    /// Whether a transaction with this code took a nonce: applied, or failed for good.
    pub fn took_effect(code: u8) -> bool {
        Code::from_u8(code).is_some_and(|code| !code.is_skipped())
    }
}

/// See the module's text.
pub struct Ledger {
    state: State,
    tree: AccountTree,
    outcome: Outcome,
}

impl Ledger {
    /// The state of height 0.
    ///
    /// # Errors
    /// Only when the genesis itself is wrong.
    pub fn new(chain: &SimChain) -> Result<Self, LedgerError> {
        let (writer, _) = directory(64);
        let state = State::from_genesis(&chain.genesis, writer, &|_, _| {})?;
        let mut tree = AccountTree::new();
        let indexes: Vec<u32> = (0..state.account_count()).collect();
        let records: Vec<_> = indexes.iter().filter_map(|&index| state.record(index)).collect();
        let overflows: Vec<(u32, Hash)> = (indexes.iter())
            .filter_map(|&index| {
                let bytes = state.overflow(index)?;
                Some((index, tana_types::account::Overflow::decode(bytes).ok()?.hash()))
            })
            .collect();
        tree.update(&LeafChanges { indexes: &indexes, records: &records, overflows: &overflows }, None)?;
        Ok(Self { state, tree, outcome: Outcome::default() })
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The codes of the last executed block's transactions, in order.
    pub fn codes(&self) -> &[u8] {
        &self.outcome.codes
    }

    /// Roots of height 0, which the first headers attest.
    pub fn genesis_roots(&self) -> ExecutedRoots {
        ExecutedRoots {
            height: 0,
            state_root: self.state.sections(self.tree.root()).root(),
            receipts_root: tana_execute::receipts_root(std::iter::empty(), &[], 0),
            validator_set_hash: self.state.validator_set_hash(0),
        }
    }

    /// Executes the next block.
    ///
    /// # Errors
    /// When a rule is broken; the simulation then ends.
    pub fn execute(&mut self, header: &BlockHeader, batches: &[&Batch]) -> Result<Executed, LedgerError> {
        self.state.execute(header, batches, &mut self.outcome)?;
        let outcome = &self.outcome;
        let changes =
            LeafChanges { indexes: &outcome.changed, records: &outcome.records, overflows: &outcome.overflow_hashes };
        let root = self.tree.update(&changes, None)?;
        let ids = batches.iter().flat_map(|batch| batch.ids.iter());
        let roots = ExecutedRoots {
            height: header.height,
            state_root: self.state.sections(root).root(),
            receipts_root: tana_execute::receipts_root(ids, &outcome.codes, header.height),
            validator_set_hash: self.state.validator_set_hash(self.state.epoch_of(header.height)),
        };
        let (money, sovereigns) = self.audit();
        Ok(Executed { roots, codes: self.outcome.codes.clone(), money, sovereigns })
    }

    /// All money, and how many sovereigns there are.
    fn audit(&self) -> (u128, usize) {
        let accounts = 1..self.state.account_count();
        let money = accounts.clone().map(|index| self.state.balance(index, 1)).sum();
        let is_sovereign = |index: &u32| {
            self.state
                .record(*index)
                .is_some_and(|record| HotAccount::from_record(&record).1.role == Role::Sovereign as u8)
        };
        (money, accounts.filter(is_sovereign).count())
    }
}
