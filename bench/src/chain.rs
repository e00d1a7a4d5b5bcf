//! A chain for a run: keys, genesis and configuration in a folder of their own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use tana_engine::config::NodeConfig;
use tana_types::bulk::bulk_key;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use thiserror::Error;

/// The seed of the bulk accounts.
pub const SEED: &str = "bench";

/// Why a chain could not be set up.
#[derive(Debug, Error)]
pub enum ChainError {
    /// A file could not be written.
    #[error("cannot write {path}: {source}; name a folder with room by --data")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The genesis is not valid.
    #[error(transparent)]
    Genesis(#[from] tana_types::genesis::GenesisError),
    /// The configuration cannot be printed.
    #[error("the configuration cannot be printed: {0}")]
    Config(#[from] toml::ser::Error),
}

/// A chain in a folder.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The folder.
    pub folder: PathBuf,
    /// The genesis.
    pub genesis: Genesis,
    /// The node's configuration.
    pub config: NodeConfig,
    /// The validator's key.
    pub validator: PublicKey,
}

/// What a run may change about its chain.
#[derive(Debug, Clone)]
pub struct ChainChoices {
    /// Bulk accounts.
    pub accounts: u32,
    /// How far a timestamp may be from the block's, milliseconds.
    pub window_ms: u64,
    /// Where the node listens; port 0 picks a free one.
    pub listen: SocketAddr,
}

impl Default for ChainChoices {
    fn default() -> Self {
        Self { accounts: 1_000_000, window_ms: 600_000, listen: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }
}

fn printed(bytes: &[u8; 32]) -> String {
    PublicKey(*bytes).to_string()
}

/// The text of a genesis for a run.
pub fn genesis_text(choices: &ChainChoices, validator: &PublicKey) -> String {
    let sovereign = printed(&SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes());
    format!(
        "chain = \"bench\"\ntimestamp_ms = 1730592000000\n[rules]\ntransaction_window_ms = {}\n\
         [sovereign]\nkey = \"{sovereign}\"\n[[sovereign.allocation]]\ncurrency = \"USD\"\namount = \"1000000.00\"\n\
         [[currency]]\ncode = \"USD\"\ndecimals = 2\ntype = \"fiat\"\nverified = true\nname = \"US Dollar\"\nsymbol = \"$\"\n\
         [[validator]]\nkey = \"{validator}\"\naddress = \"127.0.0.1:9000\"\n\
         [bulk]\nseed = \"{SEED}\"\ncount = {}\ncurrency = \"USD\"\namount = \"1000000.00\"\n",
        choices.window_ms, choices.accounts
    )
}

impl Chain {
    /// Writes a new chain into `folder`, which is emptied of an earlier run's data.
    pub fn create(
        folder: &Path,
        choices: &ChainChoices,
        change: impl FnOnce(&mut NodeConfig),
    ) -> Result<Self, ChainError> {
        let write = |path: &Path, source| ChainError::Write { path: path.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(|source| write(folder, source))?;
        let data = folder.join("data");
        match std::fs::remove_dir_all(&data) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(write(&data, source)),
            _ => {}
        }
        let key = SigningKey::from_bytes(&[1; 32]);
        let validator = PublicKey(key.verifying_key().to_bytes());
        let text = genesis_text(choices, &validator);
        let genesis = Genesis::parse(&text)?;
        let mut config = NodeConfig { listen: choices.listen, ..NodeConfig::default() };
        config.consensus.enabled = false;
        change(&mut config);
        let key_file = format!("{{\"publicKey\":\"{validator}\",\"privateKey\":\"{}\"}}", printed(&key.to_bytes()));
        for (name, content) in
            [("genesis.toml", text), ("validator.json", key_file), ("node.toml", toml::to_string(&config)?)]
        {
            let path = folder.join(name);
            std::fs::write(&path, content).map_err(|source| write(&path, source))?;
        }
        config.resolve(folder);
        Ok(Self { folder: folder.to_owned(), genesis, config, validator })
    }

    /// The file that a validator of this chain is started with.
    pub fn config_file(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    /// The public key of a bulk account.
    pub fn account_key(&self, number: u32) -> PublicKey {
        PublicKey(bulk_key(SEED, number).verifying_key().to_bytes())
    }
}
