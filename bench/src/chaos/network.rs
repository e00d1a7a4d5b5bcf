//! The files of a chain whose validators live on the machines of a [`Lab`]: one genesis, and a folder for each validator with its key, its
//! configuration, its data and what it says.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use tana_cli::genesis_text::{GenesisChoices, genesis_text};
use tana_cli::keys::{KeyOwner, new_key, public_key, write_key_file};
use tana_engine::clock::wall_ms;
use tana_engine::config::NodeConfig;
use tana_engine::room::block_transactions_in;
use tana_types::genesis::{Genesis, Rules};
use tana_types::key::PublicKey;

use super::space::Lab;
use crate::chain::SEED;

/// UDP port of the links.
const LINKS_PORT: u16 = 9_000;
/// TCP port of HTTP.
const HTTP_PORT: u16 = 9_001;
/// UDP port of transactions.
const TRANSACTIONS_PORT: u16 = 9_002;
/// How far a timestamp may be from its block's: a chain that halted for minutes still takes what was signed before.
const TRANSACTION_WINDOW_MS: u64 = 1_800_000;
/// Blocks of an epoch: a few seconds.
const EPOCH_BLOCKS: u64 = 40;

/// What a scenario chooses about its chain.
#[derive(Debug, Clone)]
pub struct NetworkChoices {
    /// Validators of the genesis.
    pub validators: usize,
    /// Bulk accounts.
    pub accounts: u32,
    /// MiB of a log segment.
    pub segment_mib: u64,
}

impl Default for NetworkChoices {
    fn default() -> Self {
        Self { validators: 4, accounts: 10_000, segment_mib: 32 }
    }
}

/// One validator.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its machine.
    pub machine: usize,
    /// `validator-0` and so on.
    pub name: String,
    /// Its key.
    pub key: PublicKey,
    /// Its folder.
    pub folder: PathBuf,
    /// Where its links listen.
    pub links: SocketAddr,
    /// Where it takes transactions.
    pub transactions: SocketAddr,
    /// Where it answers over HTTP.
    pub http: SocketAddr,
}

impl Member {
    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    /// Its data.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What it says.
    pub fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }
}

/// A chain's files.
#[derive(Debug)]
pub struct Network {
    /// Their folder.
    pub folder: PathBuf,
    /// The genesis.
    pub genesis: Genesis,
    /// The validators, those of the genesis first.
    pub members: Vec<Member>,
    choices: NetworkChoices,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Network {
    /// Writes a new chain into `folder`, which is emptied of an earlier run.
    ///
    /// # Errors
    /// A sentence that says which file could not be written, or why the genesis is not valid.
    pub fn create(folder: &Path, lab: &Lab, choices: &NetworkChoices) -> Result<Self, String> {
        let path = |error: std::io::Error| format!("{}: {error}", folder.display());
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(path(error)),
            _ => std::fs::create_dir_all(folder).map_err(path)?,
        }
        let folder = folder.canonicalize().map_err(path)?;
        let keys: Vec<SigningKey> =
            (0..choices.validators).map(|_| new_key()).collect::<Result<_, _>>().map_err(text)?;
        let links = |machine| SocketAddr::new(IpAddr::V4(lab.address(machine)), LINKS_PORT);
        let sovereign = new_key().map_err(text)?;
        let now_ms = wall_ms();
        let genesis = genesis_text(&GenesisChoices {
            chain: "chaos".to_owned(),
            timestamp_ms: now_ms,
            sovereign: public_key(&sovereign),
            validators: keys.iter().enumerate().map(|(i, key)| (public_key(key), links(i).to_string())).collect(),
            rules: Rules {
                epoch_blocks: EPOCH_BLOCKS,
                transaction_window_ms: TRANSACTION_WINDOW_MS,
                block_transactions: block_transactions_in(choices.segment_mib),
                ..Rules::default()
            },
            bulk: Some((SEED.to_owned(), choices.accounts)),
        })
        .map_err(text)?;
        std::fs::write(folder.join("genesis.toml"), &genesis).map_err(path)?;
        let owner = KeyOwner { username: "@sovereign".to_owned(), ..KeyOwner::default() };
        write_key_file(&folder.join("sovereign.json"), &sovereign, &owner, "sovereign", now_ms).map_err(text)?;
        let genesis = Genesis::parse(&genesis).map_err(text)?;
        let mut network = Self { folder, genesis, members: Vec::new(), choices: choices.clone() };
        for (machine, key) in keys.iter().enumerate() {
            network.add(lab, machine, &format!("validator-{machine}"), key)?;
        }
        Ok(network)
    }

    /// The sovereign's key file.
    pub fn sovereign(&self) -> PathBuf {
        self.folder.join("sovereign.json")
    }

    /// The genesis file.
    pub fn genesis_file(&self) -> PathBuf {
        self.folder.join("genesis.toml")
    }

    /// Adds a validator on `machine` with a new key; its place among the members.
    ///
    /// # Errors
    /// A sentence that says what could not be written.
    pub fn add_new(&mut self, lab: &Lab, machine: usize) -> Result<usize, String> {
        let key = new_key().map_err(text)?;
        self.add(lab, machine, &format!("validator-{machine}"), &key)
    }

    /// Adds a validator on `machine` that has the key of member `original`; its place among the members.
    ///
    /// # Errors
    /// A sentence that says what could not be written.
    pub fn add_twin(&mut self, lab: &Lab, machine: usize, original: usize) -> Result<usize, String> {
        let key = std::fs::read(self.members[original].folder.join("validator.json")).map_err(text)?;
        let name = format!("{}-twin", self.members[original].name);
        let place = self.add_folder(lab, machine, &name, self.members[original].key)?;
        std::fs::write(self.members[place].folder.join("validator.json"), key).map_err(text)?;
        Ok(place)
    }

    fn add(&mut self, lab: &Lab, machine: usize, name: &str, key: &SigningKey) -> Result<usize, String> {
        let place = self.add_folder(lab, machine, name, public_key(key))?;
        let file = self.members[place].folder.join("validator.json");
        write_key_file(&file, key, &KeyOwner::default(), "validator", wall_ms()).map_err(text)?;
        Ok(place)
    }

    fn add_folder(&mut self, lab: &Lab, machine: usize, name: &str, key: PublicKey) -> Result<usize, String> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).map_err(text)?;
        let at = |port| SocketAddr::new(IpAddr::V4(lab.address(machine)), port);
        let member = Member {
            machine,
            name: name.to_owned(),
            key,
            folder,
            links: at(LINKS_PORT),
            transactions: at(TRANSACTIONS_PORT),
            http: at(HTTP_PORT),
        };
        let mut config = NodeConfig { genesis: "../genesis.toml".into(), ..NodeConfig::default() };
        (config.listen, config.http) = (member.transactions, Some(member.http));
        (config.consensus.enabled, config.consensus.listen) = (true, member.links);
        // Many validators share the cores here; tying each one's stages to the same core would make them wait for each other.
        config.threads.pin = false;
        config.order.empty_interval_ms = 250;
        config.checkpoint.interval_s = 5;
        config.use_segments_of(self.choices.segment_mib);
        let toml = toml::to_string(&config).map_err(text)?;
        std::fs::write(member.config(), toml).map_err(text)?;
        // The key is new on this machine; that of a twin is not, which is what a twin is for.
        tana_engine::consensus::create_vote_record(&member.data()).map_err(text)?;
        self.members.push(member);
        Ok(self.members.len() - 1)
    }
}
