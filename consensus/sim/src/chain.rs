//! The chain that a simulation runs: keys, genesis, and what all of its validators are configured with alike.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use tana_types::Hash;
use tana_types::bulk::bulk_key;
use tana_types::currency::CurrencyCode;
use tana_types::genesis::Genesis;
use tana_types::transaction::Chain;
use thiserror::Error;

/// Accounts that send, beside the sovereign.
pub const ACCOUNTS: u32 = 24;
/// The seed of their keys.
const ACCOUNTS_SEED: &str = "simulation";
/// Minor units that each account begins with.
pub const ACCOUNT_AMOUNT: u128 = 1_000_000;
/// When simulated time begins, milliseconds since 1970-01-01T00:00:00Z.
pub const START_MS: u64 = 1_800_000_000_000;

/// Why the chain cannot be made; a fault of the simulation itself.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The genesis is not valid.
    #[error("the simulation's genesis is not valid: {0}; mend its text")]
    Genesis(#[from] tana_types::genesis::GenesisError),
}

/// Numbers of a chain that differ between seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainNumbers {
    /// Validators of the first set.
    pub validators: usize,
    /// Further keys that the sovereign may add.
    pub spare: usize,
    /// Blocks of an epoch.
    pub epoch_blocks: u64,
    /// Heights that execution may lag behind.
    pub lag_blocks_max: u64,
    /// How far above its block a batch may expire. Far below what a genesis allows, so that batches do expire.
    pub expiry_blocks: u64,
}

/// See the module's text.
#[derive(Clone)]
pub struct SimChain {
    /// The numbers that it was made with.
    pub numbers: ChainNumbers,
    /// The genesis.
    pub genesis: Arc<Genesis>,
    /// What ties signatures to it.
    pub chain: Chain,
    /// The validators' keys, the spare ones last.
    pub validators: Arc<[SigningKey]>,
    /// The sending accounts' keys.
    pub accounts: Arc<[SigningKey]>,
    /// The sovereign's key.
    pub sovereign: SigningKey,
    /// What accounts hold.
    pub currency: CurrencyCode,
}

impl SimChain {
    /// The chain with these numbers.
    ///
    /// # Errors
    /// When the genesis is not valid, which only a change of the rules can cause.
    pub fn new(numbers: ChainNumbers) -> Result<Self, ChainError> {
        let key = |name: &str, number: usize| {
            SigningKey::from_bytes(blake3::hash(format!("{name} {number}").as_bytes()).as_bytes())
        };
        let validators: Vec<_> =
            (0..numbers.validators + numbers.spare).map(|number| key("validator", number)).collect();
        let sovereign = key("sovereign", 0);
        let print = |key: &SigningKey| tana_types::key::PublicKey(key.verifying_key().to_bytes());
        let mut text = format!(
            "chain = \"simulation\"\ntimestamp_ms = {START_MS}\n\
             [rules]\naccounts_per_block = 100\naccounts_total = 1000\npending_total = 100\nvalidators_total = 16\n\
             epoch_blocks = {}\nlag_blocks_max = {}\n\
             [sovereign]\nkey = \"{}\"\nusername = \"@sovereign\"\n\
             [[currency]]\ncode = \"USD\"\ndecimals = 2\ntype = \"fiat\"\n\
             [bulk]\nseed = \"{ACCOUNTS_SEED}\"\ncount = {ACCOUNTS}\ncurrency = \"USD\"\namount = \"{}.00\"\n",
            numbers.epoch_blocks,
            numbers.lag_blocks_max,
            print(&sovereign),
            ACCOUNT_AMOUNT / 100,
        );
        for (number, validator) in validators.iter().take(numbers.validators).enumerate() {
            text.push_str(&format!(
                "[[validator]]\nkey = \"{}\"\naddress = \"{}\"\n",
                print(validator),
                address(number)
            ));
        }
        let genesis = Genesis::parse(&text)?;
        let currency = genesis.currencies[0].code;
        Ok(Self {
            numbers,
            chain: genesis.to_chain(),
            genesis: Arc::new(genesis),
            validators: validators.into(),
            accounts: (0..ACCOUNTS).map(|number| bulk_key(ACCOUNTS_SEED, number)).collect(),
            sovereign,
            currency,
        })
    }

    /// The genesis hash.
    pub fn hash(&self) -> Hash {
        *self.chain.genesis_hash()
    }

    /// What all balances add up to: nothing is minted in a simulation.
    pub fn money(&self) -> u128 {
        ACCOUNT_AMOUNT * u128::from(ACCOUNTS)
    }

    /// The public key of a validator.
    pub fn public(&self, validator: usize) -> [u8; 32] {
        self.validators[validator].verifying_key().to_bytes()
    }

    /// The epoch of a height.
    pub fn epoch_of(&self, height: u64) -> u64 {
        height.saturating_sub(1) / self.numbers.epoch_blocks
    }
}

/// Where a validator would listen.
pub fn address(number: usize) -> String {
    format!("validator-{number}:9000")
}
