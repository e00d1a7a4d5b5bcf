//! The files of a devnet: keys, one genesis, a configuration per validator.
//!
//! ```text
//! HOME/devnet               or --data; mode 0700
//!   genesis.toml            the same for all
//!   sovereign.json          the sovereign's key, mode 0600
//!   floods.json             which test accounts have sent already
//!   validator-0/            and so on
//!     validator.json        its key, mode 0600
//!     node.toml             what differs from the defaults
//!     node.log              what it says, of all starts
//!     data/                 its logs and checkpoint
//! ```
//!
//! A network is made once. When its folder is there, it goes on as it is; what was asked for beside it must agree.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tana_engine::config::NodeConfig;
use tana_engine::room::block_transactions_in;
use tana_types::genesis::{BLOCK_TRANSACTIONS_MAX, Genesis, Rules};
use tana_types::key::PublicKey;

use super::arguments::{DevnetArguments, VALIDATORS_MAX};
use crate::error::CliError;
use crate::genesis_text::{GenesisChoices, genesis_text};
use crate::home::create_private_folder;
use crate::keys::{self, KeyOwner};
use crate::time::now_ms;

/// Ports between one validator's and the next one's.
pub const PORT_STEP: u16 = 10;
/// How far a timestamp may be from its block's: signing takes a while before a long flood.
const TRANSACTION_WINDOW_MS: u64 = 900_000;
/// The seed of the test accounts.
const BULK_SEED: &str = "devnet";

/// One validator of a network.
#[derive(Debug, Clone)]
pub struct Member {
    /// `validator-0` and so on.
    pub name: String,
    /// Its key.
    pub key: PublicKey,
    /// Its folder.
    pub folder: PathBuf,
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

    /// What it says.
    pub fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }
}

/// A network on this machine.
#[derive(Debug)]
pub struct Network {
    /// Its folder.
    pub folder: PathBuf,
    /// Its genesis.
    pub genesis: Genesis,
    /// Its validators.
    pub members: Vec<Member>,
    /// Whether this run made it.
    pub is_new: bool,
}

/// What a new network is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPlan {
    /// How many validators, 1 to [`VALIDATORS_MAX`].
    pub validators: u16,
    /// The first validator's port for links; the others follow from it.
    pub base_port: u16,
    /// The chain's name.
    pub chain: String,
    /// Test accounts.
    pub accounts: u32,
    /// Blocks of an epoch.
    pub epoch_blocks: u64,
    /// Milliseconds between empty blocks.
    pub empty_interval_ms: u64,
    /// Whether a lone validator orders without consensus.
    pub solo: bool,
    /// Whether it will be flooded as fast as it goes: blocks are larger then.
    pub is_flooded: bool,
    /// Keys of node.toml, `KEY=VALUE`, for every validator.
    pub set: Vec<String>,
}

impl NetworkPlan {
    /// The network of `tana start`.
    pub fn of_start(validators: u16, accounts: u32) -> Self {
        Self {
            validators,
            base_port: 9_000,
            chain: "devnet".to_owned(),
            accounts,
            epoch_blocks: 40,
            empty_interval_ms: 250,
            solo: false,
            is_flooded: false,
            // The chaos panel's way to the links.
            set: vec!["consensus.trouble=trouble.json".to_owned()],
        }
    }
}

impl From<&DevnetArguments> for NetworkPlan {
    fn from(arguments: &DevnetArguments) -> Self {
        Self {
            validators: arguments.validators.unwrap_or(4),
            base_port: arguments.base_port,
            chain: "devnet".to_owned(),
            accounts: arguments.accounts(),
            epoch_blocks: arguments.epoch_blocks,
            empty_interval_ms: arguments.empty_interval_ms,
            solo: arguments.solo,
            is_flooded: arguments.flood.is_some(),
            set: arguments.set.clone(),
        }
    }
}

/// What floods have used.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Floods {
    next_account: u32,
}

impl Network {
    /// Opens the network of `folder`, or makes it by `plan`; `validators` is how many it must have if somebody said so.
    ///
    /// # Errors
    /// [`CliError`] when a file cannot be read or written, or what is there is not what is asked for.
    pub fn open_or_create(folder: &Path, validators: Option<u16>, plan: &NetworkPlan) -> Result<Self, CliError> {
        if Self::is_in(folder) {
            return Self::open(folder, validators);
        }
        if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(CliError::Usage(format!(
                "{} holds other files and no network; name an empty or a new folder with --data",
                folder.display()
            )));
        }
        create(folder, plan).inspect_err(|_| {
            // The folder was empty or not there: half a network would only be in the way of the next try.
            let _ = std::fs::remove_dir_all(folder);
        })?;
        Ok(Self { is_new: true, ..Self::open(folder, validators)? })
    }

    /// Whether `folder` holds a network.
    pub fn is_in(folder: &Path) -> bool {
        folder.join("genesis.toml").exists()
    }

    /// Opens the network of `folder`; `validators` is how many it must have if somebody said so.
    ///
    /// # Errors
    /// [`CliError`] when a file of it cannot be read or is not valid, or it has another number of validators.
    pub fn open(folder: &Path, validators: Option<u16>) -> Result<Self, CliError> {
        let genesis = Genesis::load(&folder.join("genesis.toml"))?;
        let count = genesis.validators.len();
        if let Some(wanted) = validators.filter(|wanted| usize::from(*wanted) != count) {
            return Err(CliError::Usage(format!(
                "the network in {} has {count} validators, not {wanted}; leave --validators out, or make another network elsewhere (--data of a devnet, --home of `tana start`)",
                folder.display()
            )));
        }
        let mut members = Vec::with_capacity(count);
        for (number, validator) in genesis.validators.iter().enumerate() {
            let name = format!("validator-{number}");
            let folder = folder.join(&name);
            let config = NodeConfig::load(&folder.join("node.toml"))?;
            let Some(http) = config.http else {
                return Err(CliError::Usage(format!(
                    "{} has no `http`, without which nobody can tell whether {name} votes; add http = \"127.0.0.1:{}\"",
                    folder.join("node.toml").display(),
                    9_001 + usize::from(PORT_STEP) * number
                )));
            };
            members.push(Member { name, key: validator.key, folder, transactions: config.listen, http });
        }
        Ok(Self { folder: folder.to_owned(), genesis, members, is_new: false })
    }

    /// Which test accounts a flood of `wanted` (or all that are left) would use: the first one and how many.
    ///
    /// # Errors
    /// [`CliError::Usage`] when fewer are left, [`CliError::File`] when what earlier floods used cannot be read.
    pub fn free_accounts(&self, wanted: Option<u32>) -> Result<(u32, u32), CliError> {
        let path = self.floods();
        let floods: Floods = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| CliError::file("read", &path, std::io::Error::other(error)))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Floods::default(),
            Err(error) => return Err(CliError::file("read", &path, error)),
        };
        let all = self.genesis.bulk.as_ref().map_or(0, |bulk| bulk.count);
        let left = all.saturating_sub(floods.next_account);
        let needed = self.members.len() as u32;
        let count = wanted.unwrap_or(left);
        if count > left || count < needed {
            return Err(CliError::Usage(format!(
                "{left} of this network's {all} test accounts have not sent in an earlier flood, and a flood needs at least {needed}; give \
                 --flood-accounts up to that, or start another network with --data or more --accounts"
            )));
        }
        Ok((floods.next_account, count))
    }

    /// The same, and writes down that they are used: no later flood gets them, because nobody knows which nonces of theirs were used.
    ///
    /// # Errors
    /// As [`Self::free_accounts`], and [`CliError::File`] when it cannot be written down.
    pub fn take_accounts(&self, wanted: Option<u32>) -> Result<(u32, u32), CliError> {
        let (first, count) = self.free_accounts(wanted)?;
        let path = self.floods();
        let text = serde_json::to_vec(&Floods { next_account: first + count })
            .map_err(|error| CliError::file("write", &path, std::io::Error::other(error)))?;
        std::fs::write(&path, text).map_err(|source| CliError::file("write", &path, source))?;
        Ok((first, count))
    }

    fn floods(&self) -> PathBuf {
        self.folder.join("floods.json")
    }

    /// Removes the network's folder.
    ///
    /// # Errors
    /// [`CliError::File`] when something of it cannot be removed.
    pub fn remove(&self) -> Result<(), CliError> {
        std::fs::remove_dir_all(&self.folder).map_err(|source| CliError::file("remove", &self.folder, source))
    }
}

fn create(folder: &Path, plan: &NetworkPlan) -> Result<(), CliError> {
    let count = plan.validators;
    if plan.solo && count != 1 {
        return Err(CliError::Usage("--solo is for one validator: add --validators 1".to_owned()));
    }
    let ports = check_ports(plan.base_port, count)?;
    let now_ms = now_ms();
    create_private_folder(folder)?;
    let mut validators = Vec::with_capacity(usize::from(count));
    let (mut wanted, mut room) = (Rules::default().block_transactions, BLOCK_TRANSACTIONS_MAX);
    for (number, port) in ports.iter().enumerate() {
        let (key, config) = add_validator(folder, number as u16, *port, plan)?;
        wanted = wanted.max(u32::try_from(config.order.block_transactions).unwrap_or(BLOCK_TRANSACTIONS_MAX));
        room = room.min(block_transactions_in(config.log.segment_mib));
        validators.push((key, local(*port).to_string()));
    }
    let sovereign = keys::new_key()?;
    let text = genesis_text(&GenesisChoices {
        chain: plan.chain.clone(),
        timestamp_ms: now_ms,
        sovereign: keys::public_key(&sovereign),
        validators,
        rules: Rules {
            epoch_blocks: plan.epoch_blocks,
            transaction_window_ms: TRANSACTION_WINDOW_MS,
            // As large as leaders want them, and no larger than every log has room for.
            block_transactions: wanted.min(room),
            ..Rules::default()
        },
        bulk: Some((BULK_SEED.to_owned(), plan.accounts)),
    })?;
    let owner = KeyOwner { username: "@sovereign".to_owned(), ..KeyOwner::default() };
    keys::write_key_file(&folder.join("sovereign.json"), &sovereign, &owner, "sovereign", now_ms)?;
    // Last: with it the network is there.
    keys::write_new_file(&folder.join("genesis.toml"), text.as_bytes(), 0o644)
}

/// Makes the folder of validator `number` with a new key and its configuration; `port` is that of its links. Gives its key and configuration.
///
/// # Errors
/// [`CliError`] when a file cannot be written or is there already, or a key of `plan.set` is not valid.
pub fn add_validator(
    network: &Path,
    number: u16,
    port: u16,
    plan: &NetworkPlan,
) -> Result<(PublicKey, NodeConfig), CliError> {
    let key = keys::new_key()?;
    let folder = network.join(format!("validator-{number}"));
    create_private_folder(&folder)?;
    keys::write_key_file(&folder.join("validator.json"), &key, &KeyOwner::default(), "validator", now_ms())?;
    let (text, config) = node_toml(port, plan)?;
    create_private_folder(&folder.join(&config.data))?;
    keys::write_vote_record(&folder.join(&config.data))?;
    keys::write_new_file(&folder.join("node.toml"), text.as_bytes(), 0o644)?;
    Ok((keys::public_key(&key), config))
}

/// The first port of each validator.
fn check_ports(base: u16, count: u16) -> Result<Vec<u16>, CliError> {
    let port =
        |number: u16| (VALIDATORS_MAX >= number).then(|| base.checked_add(number.checked_mul(PORT_STEP)?)).flatten();
    match port(count.saturating_sub(1)).and_then(|last| last.checked_add(PORT_STEP)) {
        Some(_) if base >= 1_024 => Ok((0..count).filter_map(port).collect()),
        _ => Err(CliError::Usage(format!(
            "--base-port {base} leaves no room for the ports of {count} validators; choose one from 1024 to {}",
            u16::MAX - PORT_STEP * count.min(VALIDATORS_MAX)
        ))),
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Transactions of a block in a network that floods: on two cores four validators ordered 61,000 a second with 10,000, and 87,000 with these.
const FLOODED_BLOCK_TRANSACTIONS: i64 = 20_000;

/// What differs from the defaults, with the operator's own keys last, checked as a whole; and the configuration that it makes.
fn node_toml(port: u16, plan: &NetworkPlan) -> Result<(String, NodeConfig), CliError> {
    let mut table = toml::Table::new();
    let mut set = |key: &str, value: toml::Value| set_key(&mut table, key, value);
    set("genesis", "../genesis.toml".into())?;
    set("listen", local(port + 2).to_string().into())?;
    set("http", local(port + 1).to_string().into())?;
    set("consensus.enabled", (!plan.solo).into())?;
    set("consensus.listen", local(port).to_string().into())?;
    // Many validators share the cores here; tying each one's stages to the same core would make them wait for each other.
    set("threads.pin", false.into())?;
    set("order.empty_interval_ms", (plan.empty_interval_ms as i64).into())?;
    if plan.is_flooded {
        // Under a flood a block's size, not its number, carries the load.
        set("order.block_transactions", FLOODED_BLOCK_TRANSACTIONS.into())?;
    }
    for text in &plan.set {
        let (key, value) = text.split_once('=').ok_or_else(|| {
            CliError::Usage(format!("--set {text} has no value; write KEY=VALUE, such as verify.threads=1"))
        })?;
        set(key.trim(), parse_value(value.trim()))?;
    }
    let text = toml::to_string(&table).map_err(|error| CliError::Usage(format!("--set: {error}")))?;
    let config: NodeConfig = toml::from_str(&text).map_err(|error| CliError::Usage(format!("--set: {error}")))?;
    config.check()?;
    let text = format!(
        "# Written by `tana devnet`: what differs from the defaults, which `tana init` writes with comments.\n{text}"
    );
    Ok((text, config))
}

/// `3`, `true`, `[0, 1]` and `"text"` as TOML has them, anything else as a text.
fn parse_value(text: &str) -> toml::Value {
    let parsed = format!("value = {text}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("value"));
    parsed.unwrap_or_else(|| text.into())
}

/// Sets `a.b` in the table `a`.
fn set_key(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<(), CliError> {
    let Some((first, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return Ok(());
    };
    match table.entry(first).or_insert_with(|| toml::Table::new().into()) {
        toml::Value::Table(inner) => set_key(inner, rest, value),
        _ => Err(CliError::Usage(format!("--set {key}: `{first}` is no table of node.toml"))),
    }
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
