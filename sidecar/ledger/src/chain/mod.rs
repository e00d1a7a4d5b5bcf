//! Reads a node's data folder from another process and follows it: state, blocks, transactions and proofs, without executing anything.
//!
//! ```text
//! checkpoint ──load──▶ state (accounts, currencies, pending, validators) ◀──apply── block log ◀── durable position, every 5 ms
//!                        │                         proof tree ◀──check── order log (headers that attest, certificates)
//!                        └──▶ reads                    └──▶ proofs
//! ```
//!
//! - One thread (`follow`). It waits for the node's first checkpoint, loads it, and applies commit records up to the position that
//!   the node publishes. The node may be stopped, started, killed, pruned or replaced meanwhile: the thread goes on, or loads again.
//! - A record holds the changed accounts. Of currencies, pending requests and validators it holds only hashes: where one changed, the block's
//!   transactions are read and what they did is repeated, and the hash must come out.
//! - The tree of accounts follows at a distance: it is brought to each height that a header *attests* and held against that header. So a
//!   wrong root stops the reader within a few blocks, and proofs are always of an attested height with its certificate.
//! - Reads about accounts hold a lock for microseconds. Reads of blocks and transactions read files: call them where a thread may wait.

mod accounts;
mod cache;
mod describe;
mod error;
mod files;
mod follow;
mod load;
mod lookup;
mod order;
mod places;
pub mod proof;
mod recent;
mod shared;
mod state;
mod tables;
#[cfg(test)]
mod tests;
mod tree;
mod views;

pub use error::ChainError;
pub use views::{
    AccountView, BalanceView, BatchView, BlockView, CertificateView, CodeCount, CurrencyView, Head, HeaderView,
    PendingView, Place, TransactionPage, TransactionView, ValidatorSetView, ValidatorView,
};

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Instant;

use parking_lot::RwLock;
use tana_engine::order_record;
use tana_engine::replay::DataFolders;
use tana_engine::sync::changes::SetChanges;
use tana_engine::sync::install::changes_folder;
use tana_execute::{CHANGE_EPOCHS_AHEAD, hash_set};
use tana_types::Hash;
use tana_types::account::AccountIndex;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::username::Username;
use tokio::sync::watch;

use describe::{Decimals, describe_account, describe_currencies, describe_pending, describe_transaction};
use lookup::{LOOKUP_TIME, Lookup};
use proof::AccountProof;
use recent::account_places;
use shared::{Live, Shared};
use state::epoch_of;

/// The most entries of one page of any list.
pub const PAGE_MAX: usize = 1_000;

/// Blocks without a transaction that one page of transactions passes at the most.
const EMPTY_BLOCKS_MAX: u64 = 1_000;
/// Headers that are looked at for a certificate.
const CERTIFICATE_HEADERS_MAX: u64 = 4_096;

/// What the reader does at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It waits for the node: the text says for what.
    Waiting(String),
    /// It reads the checkpoint.
    Loading,
    /// It answers, and follows the node. The node itself may be stopped: answers are as of the last committed height.
    Following,
    /// It found what must not be served: the text says what. It looks again when the data folder was replaced.
    Stopped(String),
}

/// A reader of one node's data folder. Clones share everything; the thread ends when the last one is dropped.
///
/// Methods marked *memory* answer from memory within microseconds and may be called on an asynchronous task; those marked *files* may read
/// files for milliseconds (or, by account and by identifier in blocks without tables, longer, up to two seconds): call them with
/// `spawn_blocking`. All answers are as of committed heights.
#[derive(Clone)]
pub struct Chain {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    thread: Thread,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// A page's size, which must be 1 to [`PAGE_MAX`].
fn page(limit: usize) -> Result<usize, ChainError> {
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(ChainError::Invalid(format!("`limit` must be 1 to {PAGE_MAX}")))
}

/// What a person names an account by.
enum Name {
    Key([u8; 32]),
    Username(Username),
}

fn parse_name(name: &str) -> Result<Name, ChainError> {
    if let Ok(key) = name.parse::<PublicKey>() {
        return Ok(Name::Key(key.0));
    }
    name.parse().map(Name::Username).map_err(|_| {
        let text =
            "an account is named by ed25519_ and 64 hexadecimal digits, or by @ and 1 to 49 of a-z, 0-9, _ and -";
        ChainError::Invalid(text.to_owned())
    })
}

fn no_account(name: &str) -> ChainError {
    let shown: String = name.chars().take(80).collect();
    ChainError::NotFound(format!("no account is named {shown}"))
}

fn find_in(live: &Live, name: &str) -> Result<AccountIndex, ChainError> {
    let found = match parse_name(name)? {
        Name::Key(key) => live.state.accounts.find(&key),
        Name::Username(username) => live.state.accounts.find_username(&username),
    };
    found.ok_or_else(|| no_account(name))
}

impl Chain {
    /// Starts following the node whose data folder is `data`. The folder need not exist yet.
    ///
    /// # Errors
    /// [`ChainError::Invalid`] when the genesis breaks a rule, [`ChainError::Read`] when no thread can be started.
    pub fn open(data: &Path, genesis: Genesis) -> Result<Self, ChainError> {
        genesis.check().map_err(|error| ChainError::Invalid(error.to_string()))?;
        let shared = Arc::new(Shared {
            data: data.to_owned(),
            folders: DataFolders::new(data),
            chain: genesis.to_chain(),
            genesis,
            phase: RwLock::new(Phase::Loading),
            head: watch::Sender::new(0),
            attested: AtomicU64::new(0),
            published: AtomicU64::new(0),
            tree: RwLock::new(None),
            live: RwLock::new(None),
            stop: AtomicBool::new(false),
        });
        let there = shared.clone();
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || follow::run(&there));
        let thread = thread.map_err(ChainError::read)?.thread().clone();
        Ok(Self { inner: Arc::new(Inner { shared, thread }) })
    }

    fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// What the reader does. *memory*
    pub fn phase(&self) -> Phase {
        self.shared().phase.read().clone()
    }

    /// The committed height whenever it changes; 0 before the state is loaded. A receiver sees the latest value, not every one: whoever
    /// needs each block reads the heights in between with [`Chain::block`]. The value goes back only when the data folder was replaced.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared().head.subscribe()
    }

    /// The genesis that was given.
    pub fn genesis(&self) -> &Genesis {
        &self.shared().genesis
    }

    /// Where the ledger stands. *memory*
    pub fn head(&self) -> Result<Head, ChainError> {
        let (head, files) = self.shared().with(|live| {
            let facts = &live.state.facts;
            let head = Head {
                height: facts.height,
                hash: hex::encode(facts.hash),
                state_root: hex::encode(facts.sections.root()),
                timestamp_ms: facts.timestamp_ms,
                finalized_height: self.shared().published.load(Ordering::Acquire).max(facts.height),
                attested_height: self.shared().attested.load(Ordering::Acquire),
                oldest_height: 0,
                accounts: u64::from(facts.sections.account_count).saturating_sub(1),
                applied: facts.applied,
                failed: facts.failed,
                skipped: facts.skipped,
            };
            Ok((head, live.files.clone()))
        })?;
        let oldest_height = files.oldest()?;
        Ok(Head { oldest_height, ..head })
    }

    /// The account that `name` names: an `ed25519_` key, its bare 64 digits, or a username in any case, with or without `@`. *memory*
    ///
    /// # Errors
    /// [`ChainError::NotFound`], [`ChainError::Invalid`] when it is neither a key nor a username.
    pub fn account(&self, name: &str) -> Result<AccountView, ChainError> {
        self.shared().with(|live| {
            let index = find_in(live, name)?;
            describe_account(&live.state, index).ok_or_else(|| no_account(name))
        })
    }

    /// The account with this place in the order of creation, from 1. *memory*
    pub fn account_at(&self, index: u32) -> Result<AccountView, ChainError> {
        self.shared().with(|live| {
            describe_account(&live.state, index)
                .ok_or_else(|| ChainError::NotFound(format!("there is no account {index}")))
        })
    }

    /// At most `limit` (1 to [`PAGE_MAX`]) accounts behind index `after` in order of creation; from the first one without it. The cursor of
    /// the next page is the last one's index. *memory*
    pub fn accounts(&self, after: Option<u32>, limit: usize) -> Result<Vec<AccountView>, ChainError> {
        let limit = page(limit)?;
        let Some(first) = after.unwrap_or(0).checked_add(1) else { return Ok(Vec::new()) };
        self.shared().with(|live| {
            let end = live.state.accounts.count();
            let indexes = (first..end.max(first)).take(limit);
            Ok(indexes.filter_map(|index| describe_account(&live.state, index)).collect())
        })
    }

    /// All currencies in order of creation, at most 1,024. *memory*
    pub fn currencies(&self) -> Result<Vec<CurrencyView>, ChainError> {
        self.shared().with(|live| Ok(describe_currencies(&live.state.sections)))
    }

    /// At most `limit` (1 to [`PAGE_MAX`]) deposits and withdrawals that wait, in order of their identifiers, behind `after`. *memory*
    pub fn pending(&self, after: Option<Hash>, limit: usize) -> Result<Vec<PendingView>, ChainError> {
        let limit = page(limit)?;
        self.shared().with(|live| {
            let waiting = live.state.sections.pending(after).take(limit);
            Ok(waiting.map(|(id, request)| describe_pending(&live.state, id, request)).collect())
        })
    }

    /// The validators of `epoch`, from the current one on as far as is known today; of the current epoch without it. *memory*
    ///
    /// # Errors
    /// [`ChainError::NotFound`] for an epoch that is over.
    pub fn validators(&self, epoch: Option<u64>) -> Result<ValidatorSetView, ChainError> {
        let genesis = self.genesis();
        self.shared().with(|live| {
            let current_epoch = epoch_of(genesis, live.state.facts.height);
            let epoch = epoch.unwrap_or(current_epoch);
            if epoch < current_epoch {
                let text =
                    format!("epoch {epoch} is over; only the validators of epoch {current_epoch} and later are known");
                return Err(ChainError::NotFound(text));
            }
            let set = live.state.sections.validators(epoch);
            let describe = |(lane, member): (u16, &tana_execute::Validator)| ValidatorView {
                id: format!("val_{}", hex::encode(&member.key.0[..4])),
                public_key: member.key.to_string(),
                address: member.address.clone(),
                lane,
            };
            let first_height = epoch.saturating_mul(genesis.rules.epoch_blocks).saturating_add(1);
            Ok(ValidatorSetView {
                epoch,
                first_height,
                last_height: first_height.saturating_add(genesis.rules.epoch_blocks - 1),
                current_epoch,
                may_change: epoch >= current_epoch.saturating_add(CHANGE_EPOCHS_AHEAD),
                set_hash: hex::encode(hash_set(&set)),
                // Sets have at most 256 members.
                required: (set.len() - set.len().saturating_sub(1) / 3) as u32,
                validators: (0..).zip(&set).map(describe).collect(),
            })
        })
    }

    /// A block. *files*
    ///
    /// # Errors
    /// [`ChainError::NotFound`] above the head and for height 0, [`ChainError::Pruned`] below the oldest one.
    pub fn block(&self, height: u64) -> Result<Arc<BlockView>, ChainError> {
        Ok(self.shared().files()?.block(height)?.view.clone())
    }

    /// The block with this hash, among the newest 1,048,576 that this reader has seen. *files*
    pub fn block_by_hash(&self, hash: &Hash) -> Result<Arc<BlockView>, ChainError> {
        let files = self.shared().files()?;
        let unknown = || {
            let text = format!("none of the newest blocks has the hash {}; ask for its height", hex::encode(hash));
            ChainError::NotFound(text)
        };
        let block = files.block(files.height_of(hash).ok_or_else(unknown)?)?;
        if block.header.hash() == *hash { Ok(block.view.clone()) } else { Err(unknown()) }
    }

    /// At most `limit` (1 to [`PAGE_MAX`]) blocks below `before`, newest first; from the head without it. The cursor of the next page is the
    /// last one's height; a page ends early at the oldest block. *files*
    pub fn blocks(&self, before: Option<u64>, limit: usize) -> Result<Vec<Arc<BlockView>>, ChainError> {
        let limit = page(limit)?;
        let files = self.shared().files()?;
        let head = files.blocks.last().map_or(0, |(height, _)| height);
        let newest = before.map_or(head, |before| before.saturating_sub(1).min(head));
        let mut blocks = Vec::with_capacity(limit.min(head as usize));
        for height in (1..=newest).rev().take(limit) {
            match files.block(height) {
                Ok(block) => blocks.push(block.view.clone()),
                Err(ChainError::Pruned { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(blocks)
    }

    fn decimals(&self) -> Result<Decimals, ChainError> {
        self.shared().with(|live| Ok(Decimals::of(&live.state.sections)))
    }

    /// Accounts by key, a few at a time.
    ///
    /// # Errors
    /// When the state is being loaded: that says nothing about any account.
    fn find_keys(&self, keys: &[[u8; 32]]) -> Result<Vec<Option<AccountIndex>>, ChainError> {
        self.shared().with(|live| Ok(keys.iter().map(|key| live.state.accounts.find(key)).collect()))
    }

    /// At most `limit` (1 to [`PAGE_MAX`]) transactions of a block in order, behind position `after`. *files*
    pub fn block_transactions(
        &self,
        height: u64,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Vec<TransactionView>, ChainError> {
        let (limit, decimals) = (page(limit)?, self.decimals()?);
        let content = self.shared().files()?.content(height, true)?;
        let first = after.map_or(0, |after| after.saturating_add(1));
        let indexes = (first..content.block.header.transaction_count.max(first)).take(limit);
        Ok(indexes.filter_map(|index| describe_transaction(&content, index, &decimals)).collect())
    }

    /// The transaction with this identifier: where it took effect, else where it failed, else where it was passed over. *files*
    pub fn transaction(&self, id: &Hash) -> Result<TransactionView, ChainError> {
        let (files, decimals) = (self.shared().files()?, self.decimals()?);
        Lookup { files: &files, find: &|keys| self.find_keys(keys), decimals }.by_id(id, Instant::now() + LOOKUP_TIME)
    }

    /// At most `limit` (1 to [`PAGE_MAX`]) transactions of the newest blocks below `before`, newest first. *files*
    pub fn transactions(&self, before: Option<Place>, limit: usize) -> Result<TransactionPage, ChainError> {
        let (limit, decimals, files) = (page(limit)?, self.decimals()?, self.shared().files()?);
        let head = files.blocks.last().map_or(0, |(height, _)| height);
        let mut transactions = Vec::new();
        let newest = before.map_or(head, |before| before.height.min(head));
        for height in (newest.saturating_sub(EMPTY_BLOCKS_MAX)..=newest).rev() {
            let block = match files.block(height) {
                Err(ChainError::Pruned { .. } | ChainError::NotFound(_)) => {
                    return Ok(TransactionPage { transactions, next: None });
                }
                other => other?,
            };
            let end = before.filter(|before| before.height == height).map_or(u32::MAX, |before| before.index);
            let end = end.min(block.header.transaction_count);
            if end == 0 {
                continue;
            }
            let content = files.content(height, true)?;
            for index in (0..end).rev() {
                if transactions.len() == limit {
                    return Ok(TransactionPage { transactions, next: Some(Place { height, index: index + 1 }) });
                }
                transactions.extend(describe_transaction(&content, index, &decimals));
            }
        }
        let next = Place { height: newest.saturating_sub(EMPTY_BLOCKS_MAX), index: 0 };
        Ok(TransactionPage { transactions, next: Some(next).filter(|next| next.height > 0) })
    }

    /// At most `limit` (1 to [`PAGE_MAX`]) transactions that are from or to an account, below `before`, newest first. A page that would take
    /// too long ends early, with its cursor. *files*
    pub fn account_transactions(
        &self,
        name: &str,
        before: Option<Place>,
        limit: usize,
    ) -> Result<TransactionPage, ChainError> {
        let limit = page(limit)?;
        let account = self.shared().with(|live| find_in(live, name))?;
        let (files, decimals) = (self.shared().files()?, self.decimals()?);
        Lookup { files: &files, find: &|keys| self.find_keys(keys), decimals }.by_account(
            account,
            before,
            limit,
            Instant::now() + LOOKUP_TIME,
        )
    }

    /// At most `limit` of a block's transactions that are from or to the account with this key, in order, behind position `after`; for feeds.
    /// *files*
    pub fn block_transactions_of(
        &self,
        height: u64,
        key: &[u8; 32],
        after: Option<u32>,
        limit: usize,
    ) -> Result<Vec<TransactionView>, ChainError> {
        let decimals = self.decimals()?;
        let content = self.shared().files()?.content(height, true)?;
        let Some(account) = self.find_keys(&[*key])?.first().copied().flatten() else { return Ok(Vec::new()) };
        let places = account_places(&content, &|keys| self.find_keys(keys))?;
        let first = places.partition_point(|entry| match after {
            None => entry.0 < account,
            Some(after) => *entry <= (account, after),
        });
        let own = places[first..].iter().take_while(|entry| entry.0 == account).take(limit);
        Ok(own.filter_map(|(_, index)| describe_transaction(&content, *index, &decimals)).collect())
    }

    /// A header. *files*
    pub fn header(&self, height: u64) -> Result<HeaderView, ChainError> {
        let block = self.shared().files()?.block(height)?;
        let (hash, header) = (block.view.hash.clone(), hex::encode(block.header.encode()));
        Ok(HeaderView { height, hash, header })
    }

    /// The nearest certificate of a block at or above `height`, among the next 4,096 of them. *files*
    ///
    /// # Errors
    /// [`ChainError::NotFound`] when no committed block from there on has one, as where consensus is off.
    pub fn certificate(&self, height: u64) -> Result<CertificateView, ChainError> {
        let files = self.shared().files()?;
        let none_yet = || ChainError::NotFound(format!("no committed block from {height} on has a certificate yet"));
        let Some(mut records) = files.headers.iter_from(height)? else {
            return Err(match files.no_block(height) {
                // The block is there, its header will be in a moment.
                ChainError::NotReady(_) => none_yet(),
                other => other,
            });
        };
        for expected in height..height.saturating_add(CERTIFICATE_HEADERS_MAX) {
            let Some(record) = records.next_record().map_err(ChainError::read)? else { break };
            let (header, certificate) = order_record::decode(record.payload).map_err(ChainError::read)?;
            if header.height != expected {
                return Err(ChainError::Read(format!(
                    "another header stands where that of block {expected} should be"
                )));
            }
            if let Some(certified) = tana_consensus::certificate::claimed(certificate) {
                return Ok(CertificateView {
                    height: header.height,
                    hash: hex::encode(header.hash()),
                    epoch: header.epoch,
                    certificate: hex::encode(certificate),
                    view: certified.view,
                });
            }
        }
        Err(none_yet())
    }

    /// The proof of what an account is, or that no account has a key, at the attested height of [`Head`]. A username is looked up first; one
    /// that nobody has is [`ChainError::NotFound`], because the tree is in order of keys, not of names. *files* (one look into `sync/changes`)
    ///
    /// # Errors
    /// [`ChainError::NotReady`] when no attested height has a certificate yet.
    pub fn account_proof(&self, name: &str) -> Result<AccountProof, ChainError> {
        let (proof, epoch) = self.shared().with_tree(|tree, live| {
            let key = match parse_name(name)? {
                Name::Key(key) => key,
                Name::Username(_) => {
                    let index = find_in(live, name)?;
                    let record = live.state.accounts.record(index).ok_or_else(|| no_account(name))?;
                    *accounts::key_of_record(record)
                }
            };
            if key == [0; 32] {
                return Err(ChainError::Invalid("the key of zeros is nobody's".to_owned()));
            }
            let not_yet = || ChainError::NotReady("no height is attested by a certified block yet".to_owned());
            let attesting = tree.attesting().ok_or_else(not_yet)?;
            let proof = tree.prove(&key, &live.state).ok_or_else(not_yet)?;
            let currencies = live.state.currencies_at(tree.height());
            let proof = AccountProof::new(&key, tree.sections(), proof, &currencies, attesting);
            Ok((proof, attesting.header.epoch))
        })?;
        let changes = SetChanges::new(&changes_folder(&self.shared().data), self.genesis());
        let steps = changes.steps(0, epoch).map_err(ChainError::NotReady)?;
        Ok(proof.with_steps(&steps))
    }
}
