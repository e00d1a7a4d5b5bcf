//! Proofs about accounts for somebody who trusts nothing but the genesis, or a validator set.
//!
//! A proof is a chain of reasons, checked from its far end:
//! 1. The genesis' validators, and one step for each change of the set, give the set of the header's epoch.
//! 2. More than two thirds of that set signed the certificate of the last header; each header names the one before as its parent.
//! 3. The first header names a state root, which is the hash of the sections.
//! 4. The sections name the root of the tree of accounts, which the path leads to from the account's record; and the currencies' section.
//! 5. The record names the hash of the overflow.
//!
//! For a key that nobody has, the path of 4. is that of the two neighbours in key order.
//!
//! All bytes are written as lower-case hexadecimal digits and no others are taken, so that every byte of a proof counts.

use serde::{Deserialize, Serialize};
use tana_consensus::certificate;
use tana_engine::sync::CertificateVerifier;
use tana_engine::sync::proof::{CHAIN_HEADERS_MAX, FinalChain, STEPS_MAX, SetStep, TrustedSet};
use tana_execute::{CurrencyTotal, Validator, currencies_hash, read_currencies};
use tana_root::{ExclusionProof, InclusionProof};
use tana_types::Hash;
use tana_types::account::{HotAccount, Overflow};
use tana_types::amount::print_amount;
use tana_types::codec::{Reader, Writer};
use tana_types::genesis::Genesis;
use tana_types::header::BlockHeader;
use tana_types::key::PublicKey;
use tana_types::payload::Role;
use tana_types::state::StateSections;
use thiserror::Error;
use utoipa::ToSchema;

use super::accounts::{RecordBytes, balances_of};
use super::tree::{Attesting, TreeProof};
use super::{AccountView, BalanceView};

/// The only version of proofs.
const VERSION: u16 = 1;
/// The second byte of an encoded exclusion proof.
const KIND_EXCLUSION: u8 = 2;

/// A proof about one account that anybody can check who has the genesis. Bytes are lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccountProof {
    /// The only version is 1.
    pub version: u16,
    /// The key that it is about: `ed25519_` and 64 digits.
    pub public_key: String,
    /// The height whose state it is about.
    pub height: u64,
    /// The sections that the state root commits to: 174 bytes.
    pub sections: String,
    /// The proof in the tree of accounts, of inclusion or of exclusion, as `tana-root` encodes it.
    pub proof: String,
    /// The canonical bytes of the account's overflow; none when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<String>,
    /// The section with the currencies, by which balances are read.
    pub currencies: String,
    /// Headers that follow each other: the first names the state root, the last has the certificate.
    pub headers: Vec<String>,
    /// The certificate of the last header.
    pub certificate: String,
    /// What leads from the genesis' validators to those that signed: one step for each change of the set, in order.
    pub steps: Vec<String>,
}

/// What a proof shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedAccount {
    /// The key that it is about.
    pub public_key: String,
    /// The height whose state it shows.
    pub height: u64,
    /// The state root of that height.
    pub state_root: String,
    /// The final block that names the state root.
    pub block_height: u64,
    /// The hash of that block.
    pub block_hash: String,
    /// The timestamp of that block.
    pub timestamp_ms: u64,
    /// The epoch whose validators signed.
    pub epoch: u64,
    /// What the account is; none when no account has the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountView>,
}

/// Why a proof was refused. Nothing in it must then be believed.
#[derive(Debug, Error)]
pub enum ProofError {
    /// A field cannot be read.
    #[error("the proof's `{field}` cannot be read: {reason}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Two parts contradict each other.
    #[error("the proof does not hold: {0}")]
    Contradiction(&'static str),
    /// The account's path does not lead to the root.
    #[error("the proof's path does not hold: {0}")]
    Path(#[from] tana_root::ProofError),
    /// The validators did not sign it.
    #[error(transparent)]
    Chain(#[from] tana_engine::sync::proof::ProofError),
}

/// Checks certificates of a chain.
pub struct Certificates {
    /// The chain.
    pub genesis_hash: Hash,
}

impl CertificateVerifier for Certificates {
    fn verify(&self, epoch: u64, set: &[[u8; 32]], hash: &Hash, certificate: &[u8]) -> Result<(), String> {
        match certificate::check(&self.genesis_hash, set, certificate) {
            Some(certified) if certified.hash == *hash && certified.epoch == epoch => Ok(()),
            Some(_) => Err("it certifies another block".to_owned()),
            None => Err("it does not hold the signatures of two thirds of the validators".to_owned()),
        }
    }
}

fn field_error(field: &'static str) -> impl Fn(&dyn std::fmt::Display) -> ProofError {
    move |reason| ProofError::Field { field, reason: reason.to_string() }
}

/// Bytes from lower-case digits.
fn bytes_of(field: &'static str, digits: &str) -> Result<Vec<u8>, ProofError> {
    let wrong = || field_error(field)(&"it must be lower-case hexadecimal digits, two for each byte");
    let bytes = hex::decode(digits).map_err(|_| wrong())?;
    if digits.bytes().any(|byte| byte.is_ascii_uppercase()) { Err(wrong()) } else { Ok(bytes) }
}

impl AccountProof {
    /// Puts a proof together.
    pub(crate) fn new(
        key: &[u8; 32],
        sections: &StateSections,
        proof: TreeProof,
        currencies: &[u8],
        attesting: &Attesting,
    ) -> Self {
        let (proof, overflow) = match proof {
            TreeProof::Inclusion(proof, overflow) => (proof.encode(), overflow),
            TreeProof::Exclusion(proof) => (proof.encode(), None),
        };
        Self {
            version: VERSION,
            public_key: PublicKey(*key).to_string(),
            height: sections.height,
            sections: hex::encode(sections.encode()),
            proof: hex::encode(proof),
            overflow: overflow.map(hex::encode),
            currencies: hex::encode(currencies),
            headers: vec![hex::encode(attesting.header.encode())],
            certificate: hex::encode(&attesting.certificate),
            steps: Vec::new(),
        }
    }

    /// Adds the changes of the validator set.
    pub(crate) fn with_steps(mut self, steps: &[SetStep]) -> Self {
        let encode = |step: &SetStep| {
            let mut writer = Writer::with_capacity(4_096);
            step.encode(&mut writer);
            hex::encode(writer.finish())
        };
        self.steps = steps.iter().map(encode).collect();
        self
    }

    fn read_chain(&self) -> Result<FinalChain, ProofError> {
        if self.headers.is_empty() || self.headers.len() > CHAIN_HEADERS_MAX {
            return Err(field_error("headers")(&"there must be 1 to 4,096"));
        }
        let read = |digits: &String| {
            BlockHeader::decode(&bytes_of("headers", digits)?).map_err(|error| field_error("headers")(&error))
        };
        let headers = self.headers.iter().map(read).collect::<Result<_, _>>()?;
        Ok(FinalChain { headers, certificate: bytes_of("certificate", &self.certificate)? })
    }

    fn read_steps(&self) -> Result<Vec<SetStep>, ProofError> {
        if self.steps.len() > STEPS_MAX {
            return Err(field_error("steps")(&"there are at most 65,536"));
        }
        let read = |digits: &String| {
            let bytes = bytes_of("steps", digits)?;
            let mut reader = Reader::new(&bytes);
            let step = SetStep::decode(&mut reader).map_err(|error| field_error("steps")(&error))?;
            reader.finish().map_err(|error| field_error("steps")(&error))?;
            Ok(step)
        };
        self.steps.iter().map(read).collect()
    }
}

/// Leads from a trusted set over the proof's changes to the set of `epoch`.
pub(crate) fn set_of_epoch(
    trusted: TrustedSet,
    steps: &[SetStep],
    epoch: u64,
    genesis: &Genesis,
    verifier: &dyn CertificateVerifier,
) -> Result<Vec<Validator>, ProofError> {
    if trusted.epoch > epoch {
        return Err(ProofError::Contradiction("its block is of an epoch before the trusted validators'"));
    }
    let TrustedSet { epoch: first, mut set } = trusted;
    let mut from = first;
    // One who trusts a later set needs no step up to there.
    for step in steps.iter().filter(|step| step.next_epoch() > first) {
        if step.next_epoch() <= from || step.next_epoch() > epoch {
            return Err(ProofError::Contradiction("its changes of the set are not ascending, up to its block's epoch"));
        }
        set = step.check(&set, genesis, verifier)?;
        from = step.next_epoch();
    }
    Ok(set)
}

/// Checks a proof with nothing but the genesis; `trusted` is a validator set with its first epoch for one who trusts another than the genesis' own.
///
/// # Errors
/// [`ProofError`] says what does not hold.
pub fn verify_account_proof(
    genesis: &Genesis,
    trusted: Option<TrustedSet>,
    proof: &AccountProof,
) -> Result<VerifiedAccount, ProofError> {
    let contradiction = |what| Err(ProofError::Contradiction(what));
    if proof.version != VERSION {
        return Err(field_error("version")(&"only version 1 is known"));
    }
    let key: PublicKey = proof.public_key.parse().map_err(|error| field_error("publicKey")(&error))?;
    if key.to_string() != proof.public_key {
        return Err(field_error("publicKey")(&"it must be ed25519_ and 64 lower-case digits"));
    }
    let sections = StateSections::decode(&bytes_of("sections", &proof.sections)?)
        .map_err(|error| field_error("sections")(&error))?;
    let chain = proof.read_chain()?;
    let [first, ..] = chain.headers.as_slice() else { return contradiction("there is no header") };
    let verifier = Certificates { genesis_hash: genesis.hash() };
    let trusted = trusted.unwrap_or_else(|| TrustedSet::of_genesis(genesis));
    let set = set_of_epoch(trusted, &proof.read_steps()?, first.epoch, genesis, &verifier)?;
    chain.check(first.epoch, &set, genesis.rules.epoch_blocks, &verifier)?;
    if first.executed_height != sections.height || first.state_root != sections.root() {
        return contradiction("its first block does not name the state root of its sections");
    }
    if proof.height != sections.height {
        return contradiction("its height is not that of its sections");
    }
    let currencies = bytes_of("currencies", &proof.currencies)?;
    if currencies_hash(&currencies) != sections.currencies_hash {
        return contradiction("its currencies are not those that its sections name");
    }
    let currencies = read_currencies(&currencies).map_err(|error| field_error("currencies")(&error))?;
    let account = match read_account(proof, &sections, &key)? {
        Some((index, record, overflow)) => Some(describe(&sections, index, &record, &overflow, &currencies)?),
        None => None,
    };
    Ok(VerifiedAccount {
        public_key: proof.public_key.clone(),
        height: sections.height,
        state_root: hex::encode(sections.root()),
        block_height: first.height,
        block_hash: hex::encode(first.hash()),
        timestamp_ms: first.timestamp_ms,
        epoch: first.epoch,
        account,
    })
}

/// The account's index, record and overflow bytes (empty when it has none) as the path proves them; none when it proves that there is no account.
fn read_account(
    proof: &AccountProof,
    sections: &StateSections,
    key: &PublicKey,
) -> Result<Option<(u32, RecordBytes, Vec<u8>)>, ProofError> {
    let contradiction = |what| Err(ProofError::Contradiction(what));
    let (root, count) = (sections.accounts_root, u64::from(sections.account_count));
    let bytes = bytes_of("proof", &proof.proof)?;
    let overflow = proof.overflow.as_ref().map(|digits| bytes_of("overflow", digits)).transpose()?;
    if bytes.get(1) == Some(&KIND_EXCLUSION) {
        let path = ExclusionProof::decode(&bytes).map_err(|error| field_error("proof")(&error))?;
        path.verify(&root, count, &key.0)?;
        return if overflow.is_some() {
            contradiction("an account that is not there has no overflow")
        } else {
            Ok(None)
        };
    }
    let path = InclusionProof::decode(&bytes).map_err(|error| field_error("proof")(&error))?;
    path.verify(&root, count)?;
    // The sentinel's key is zeros, and it is nobody's account.
    if path.leaf.key() != key.0 || path.index == 0 {
        return contradiction("its account has another key");
    }
    if path.leaf.overflow != overflow.as_deref().map(tana_hash::hash) {
        return contradiction("its overflow is not the one that the account's leaf names");
    }
    Ok(Some((path.index, path.leaf.record, overflow.unwrap_or_default())))
}

fn describe(
    sections: &StateSections,
    index: u32,
    record: &RecordBytes,
    overflow_bytes: &[u8],
    currencies: &[CurrencyTotal],
) -> Result<AccountView, ProofError> {
    let overflow = match overflow_bytes {
        [] => Overflow::default(),
        bytes => Overflow::decode(bytes).map_err(|error| field_error("overflow")(&error))?,
    };
    let (key, hot) = HotAccount::from_record(record);
    let balance = |(currency, amount): (u32, u128)| {
        let entry = (currency as usize).checked_sub(1).and_then(|place| currencies.get(place));
        let entry = entry.ok_or(ProofError::Contradiction("the account holds a currency that does not exist"))?;
        let currency_code = entry.info.code.to_string();
        Ok(BalanceView { currency_code, amount: print_amount(amount, entry.info.decimals) })
    };
    let held = balances_of(record, (!overflow_bytes.is_empty()).then_some(overflow_bytes));
    Ok(AccountView {
        height: sections.height,
        index,
        public_key: key.to_string(),
        username: overflow.username.as_ref().map(ToString::to_string),
        display_name: overflow.display_name,
        bio: overflow.biography,
        role: Role::from_u8(hot.role).map_or("user", Role::name).to_owned(),
        nonce: hot.nonce.get(),
        created_height: hot.created_height.get(),
        balances: held.into_iter().map(balance).collect::<Result<_, ProofError>>()?,
    })
}
