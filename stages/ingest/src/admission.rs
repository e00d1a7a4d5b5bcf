//! What a transaction must be before its signature is worth checking.
//!
//! The questions, in this order, each with its code:
//!
//! 0. This node is a validator now or in the next epoch (`not_validator`): what nobody may list is not taken in.
//! 1. Made for this chain (`wrong_chain`), of a known kind and with a payload that keeps every rule that needs no state
//!    (`malformed`). A transfer, nearly everything that comes, is checked by hand: its length and the letters of its currency.
//! 2. The timestamp is within the chain's window of this node's clock (`clock_window`).
//! 3. The sender has an account (`sender_unknown`) and the nonce lies in `committed + 1 ..= committed + window`, where committed is
//!    the last *executed* one (`nonce_used`, `nonce_too_far`). The window moves by execution only, never by what arrived.
//! 4. A user creation has no account yet: nonce 0 (`malformed`), key unknown (`account_exists`), and a place at the
//!    [`CreationGate`] (`creation_busy`).
//! 5. The same bytes were not admitted a moment ago (`resent`).
//!
//! 1 to 4 without the gate are [`Admission::judge`], which changes nothing; the gate and 5 are [`Admission::enter`], called only when
//! there is a batch to put the transaction into, because it remembers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tana_accounts::Directory;
use tana_types::account::{AccountIndex, NO_ACCOUNT};
use tana_types::code::Code;
use tana_types::currency::{CURRENCY_CODE_BYTES, CurrencyCode};
use tana_types::genesis::Rules;
use tana_types::payload::{Kind, TRANSFER_PAYLOAD_BYTES};
use tana_types::transaction::{Chain, Transaction};
use thiserror::Error;

use crate::counters::Counters;
use crate::creations::CreationGate;
use crate::duplicates::DuplicateFilter;

/// How far a nonce may be ahead of the executed one, by default.
pub const NONCE_WINDOW: u64 = 4_096;
/// The most slots that the duplicate filter may have: 2^28, 2 GiB.
pub const DUPLICATE_SLOTS_MAX: usize = 1 << 28;

/// A setting of ingest that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The nonce window is empty.
    #[error("ingest.nonce_window is 0, so no transaction could be admitted: set it to 1 or more (default 4,096)")]
    NonceWindow,
    /// Too few or too many slots.
    #[error("ingest.duplicate_slots is {0}: set it to 4 to 268,435,456 (default 2,097,152, 8 bytes each)")]
    DuplicateSlots(usize),
    /// A batch would hold nothing, or more than a seal may state.
    #[error("ingest.batch_transactions is {0}: set it to 1 to 4,096 (default 512)")]
    BatchTransactions(usize),
    /// A batch could not hold the largest transaction, or would be larger than a seal may state.
    #[error("ingest.batch_body_bytes is {0}: set it to 1,400 to 1,048,576 (default 131,072)")]
    BatchBodyBytes(usize),
}

/// What the operator may choose about admission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionConfig {
    /// How far a nonce may be ahead of the executed one; at least 1.
    pub nonce_window: u64,
    /// Slots of the duplicate filter, 8 bytes each; 4 to [`DUPLICATE_SLOTS_MAX`].
    pub duplicate_slots: usize,
    /// Random numbers, new for each process, that nobody outside can know.
    pub duplicate_seeds: [u64; 4],
    /// User creations admitted each second by this node; 0 for none.
    pub creations_per_second: u32,
    /// User creations between admission and their end.
    pub creations_in_flight: u32,
}

impl AdmissionConfig {
    /// The defaults, with the random numbers of this process: 2^21 slots hold the last five seconds of
    /// 400,000 transactions a second, and ten of 200,000.
    pub fn with_seeds(duplicate_seeds: [u64; 4]) -> Self {
        Self {
            nonce_window: NONCE_WINDOW,
            duplicate_slots: 1 << 21,
            duplicate_seeds,
            creations_per_second: 10_000,
            creations_in_flight: 20_000,
        }
    }
}

/// The time of a call, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The engine's monotonic clock, nanoseconds.
    pub engine_ns: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub wall_ms: u64,
}

/// The judge of arriving transactions, shared by all ingest threads.
pub struct Admission {
    directory: Arc<Directory>,
    chain_tag: u32,
    transaction_window_ms: u64,
    nonce_window: u64,
    duplicates: DuplicateFilter,
    creations: CreationGate,
    counters: Counters,
    validating: AtomicBool,
}

impl Admission {
    /// Judges transactions of `chain` by its `rules`, against the accounts that `directory` knows.
    ///
    /// # Errors
    /// [`ConfigError`] when a setting is out of its range.
    pub fn new(
        config: &AdmissionConfig,
        chain: &Chain,
        rules: &Rules,
        directory: Arc<Directory>,
    ) -> Result<Self, ConfigError> {
        if config.nonce_window == 0 {
            return Err(ConfigError::NonceWindow);
        }
        if !(4..=DUPLICATE_SLOTS_MAX).contains(&config.duplicate_slots) {
            return Err(ConfigError::DuplicateSlots(config.duplicate_slots));
        }
        Ok(Self {
            directory,
            chain_tag: chain.tag(),
            transaction_window_ms: rules.transaction_window_ms,
            nonce_window: config.nonce_window,
            duplicates: DuplicateFilter::new(config.duplicate_slots, config.duplicate_seeds),
            creations: CreationGate::new(config.creations_per_second, config.creations_in_flight),
            counters: Counters::default(),
            validating: AtomicBool::new(true),
        })
    }

    /// Says whether this node is a validator now or in the next epoch; it counts as one until the first word. While it is none, everything is
    /// refused with [`Code::NotValidator`]: no block can list what it takes in.
    pub fn set_validating(&self, validating: bool) {
        self.validating.store(validating, Ordering::Relaxed);
    }

    /// Whether it takes transactions in, as far as the validator set is concerned.
    pub fn is_validating(&self) -> bool {
        self.validating.load(Ordering::Relaxed)
    }

    /// What was admitted and refused so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The cap on user creations. Whoever ends an admitted creation (verification by refusing it, execution in any way) says so by
    /// [`CreationGate::ended`], or its place stays taken for up to a minute.
    pub fn creations(&self) -> &CreationGate {
        &self.creations
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn duplicates(&self) -> &DuplicateFilter {
        &self.duplicates
    }

    /// Every question that changes nothing. `sender` is the sender's account with its executed nonce, where it has one. Answers with
    /// the account to note beside the transaction: [`NO_ACCOUNT`] for a user creation.
    #[inline]
    pub(crate) fn judge(
        &self,
        transaction: &Transaction<'_>,
        sender: Option<(AccountIndex, u64)>,
        wall_ms: u64,
    ) -> Result<AccountIndex, Code> {
        let header = transaction.header();
        if !self.validating.load(Ordering::Relaxed) {
            return Err(Code::NotValidator);
        }
        if header.chain.get() != self.chain_tag {
            return Err(Code::WrongChain);
        }
        if header.kind == Kind::Transfer as u8 {
            if !is_transfer_payload(transaction.payload_bytes()) {
                return Err(Code::Malformed);
            }
        } else if transaction.payload().is_err() {
            return Err(Code::Malformed);
        }
        if header.timestamp_ms.get().abs_diff(wall_ms) > self.transaction_window_ms {
            return Err(Code::ClockWindow);
        }
        let nonce = header.nonce.get();
        if header.kind == Kind::UserCreation as u8 {
            return match (nonce, sender) {
                (0, None) => Ok(NO_ACCOUNT),
                (0, Some(_)) => Err(Code::AccountExists),
                _ => Err(Code::Malformed),
            };
        }
        match sender {
            None => Err(Code::SenderUnknown),
            Some((_, committed)) if nonce <= committed => Err(Code::NonceUsed),
            Some((_, committed)) if nonce - committed > self.nonce_window => Err(Code::NonceTooFar),
            Some((index, _)) => Ok(index),
        }
    }

    /// Whether a transaction that [`Admission::judge`] let through may enter now; from here on its bytes are remembered. `hash` is
    /// the duplicate filter's.
    #[inline]
    pub(crate) fn enter(&self, hash: u64, sender: AccountIndex, engine_ns: u64, suspect: bool) -> Result<(), Code> {
        if sender == NO_ACCOUNT {
            return self.enter_creation(hash, engine_ns, suspect);
        }
        if self.duplicates.insert(hash, engine_ns) { Ok(()) } else { Err(Code::Resent) }
    }

    /// A copy takes no token, and a creation that found no token is not remembered, so that it may be sent again at once.
    #[cold]
    fn enter_creation(&self, hash: u64, engine_ns: u64, suspect: bool) -> Result<(), Code> {
        if self.duplicates.contains(hash, engine_ns) {
            return Err(Code::Resent);
        }
        if !self.creations.enter(engine_ns, suspect) {
            return Err(Code::CreationBusy);
        }
        if self.duplicates.insert(hash, engine_ns) {
            Ok(())
        } else {
            self.creations.ended(1);
            Err(Code::Resent)
        }
    }
}

/// Whether `Payload::decode` would take these bytes as a transfer: the right length, and a currency's letters.
#[inline]
fn is_transfer_payload(payload: &[u8]) -> bool {
    let Ok(payload) = <&[u8; TRANSFER_PAYLOAD_BYTES]>::try_from(payload) else { return false };
    let mut currency = [0; CURRENCY_CODE_BYTES];
    currency.copy_from_slice(&payload[32..32 + CURRENCY_CODE_BYTES]);
    CurrencyCode::from_bytes(currency).is_some()
}
