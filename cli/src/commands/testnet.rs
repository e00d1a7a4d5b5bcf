//! `tana testnet`: what a network of named hosts needs, a folder for each.
//!
//! ```text
//! testnet                   or --out; mode 0700
//!   sovereign.json          the sovereign's key, mode 0600: stays with its owner, goes to no host
//!   alpha/                  and so on: everything that `scripts/deploy install` needs on that host
//!     validator.json        its key, mode 0600
//!     voted                 says that the key has not voted yet; `scripts/deploy install` moves it to where the key is installed, once
//!     genesis.toml          the same for all
//!     node.toml             its configuration
//!     tana-validator.service   the systemd unit
//! ```
//!
//! All of it is made and checked before anything is written, into a folder that must be new: a key is never replaced.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde_json::json;
use tana_engine::config::NodeConfig;
use tana_types::genesis::{Genesis, Rules};

use crate::error::CliError;
use crate::genesis_text::{GenesisChoices, genesis_text};
use crate::home::create_private_folder;
use crate::keys::{self, KeyOwner};
use crate::node_text::{NodeChoices, node_text};
use crate::output::{Output, grouped};
use crate::time::now_ms;

/// The systemd unit, the same on every host.
const UNIT: &str = include_str!("../../../scripts/deploy.service");
/// Where `scripts/deploy` puts the logs and the checkpoint.
const DATA: &str = "/var/lib/tana";
/// The port of the links unless a host names another; HTTP and transactions follow behind it.
const LINK_PORT: u16 = 9_000;
/// The longest name of a host.
const NAME_BYTES_MAX: usize = 63;

/// What `tana testnet` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    tana testnet --host alpha=10.0.0.1 --host beta=10.0.0.2 --host gamma=10.0.0.3 --host delta=10.0.0.4\n  \
    tana testnet --host a=one.example --host b=two.example:9100 --chain trial --out ./trial\n\n\
    Then copy each folder and the tana binary to its host, and there: sudo scripts/deploy install FOLDER --binary ./tana\n\
    Open UDP PORT (links, 9000) and UDP PORT+2 (transactions) between the hosts; HTTP listens on 127.0.0.1 alone.")]
pub struct TestnetArguments {
    /// A validator: its name, the address at which the others reach it, and the port of its links [default: 9000]
    #[arg(long = "host", value_name = "NAME=ADDRESS[:PORT]", required = true)]
    pub hosts: Vec<Host>,
    /// The folder to write, which must be new
    #[arg(long, value_name = "DIR", default_value = "testnet")]
    pub out: PathBuf,
    /// The chain's name, 1 to 64 bytes
    #[arg(long, default_value = "testnet", value_name = "NAME")]
    pub chain: String,
    /// Test accounts to begin with, made from a seed in the genesis: never with real money
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub accounts: u32,
    /// Blocks of an epoch; the validator set changes only between epochs
    #[arg(long, value_name = "N", default_value_t = Rules::default().epoch_blocks, value_parser = clap::value_parser!(u64).range(1..))]
    pub epoch_blocks: u64,
}

/// A validator's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name, which becomes a folder's.
    pub name: String,
    /// Its address or host name.
    pub address: String,
    /// The port of its links.
    pub port: u16,
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = "write NAME=ADDRESS or NAME=ADDRESS:PORT, such as alpha=10.0.0.1 or beta=[2001:db8::1]:9010";
        let (name, place) = text.split_once('=').ok_or(help)?;
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_letter) {
            return Err(
                "a host's name has 1 to 63 letters, digits, - and _, because a folder is named after it".to_owned()
            );
        }
        let (address, port) = split_port(place).ok_or(help)?;
        let is_address = address.parse::<IpAddr>().is_ok();
        if !is_address && (address.is_empty() || !address.chars().all(|letter| is_letter(letter) || letter == '.')) {
            return Err(help.to_owned());
        }
        if !(1..=u16::MAX - 2).contains(&port) {
            return Err("the port is 1 to 65533; the two behind it are for HTTP and transactions".to_owned());
        }
        Ok(Self { name: name.to_owned(), address: address.to_owned(), port })
    }
}

/// The address and the port of `address`, `address:port`, `[v6]`, `[v6]:port` or a bare v6.
fn split_port(place: &str) -> Option<(&str, u16)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        let port = if port.is_empty() { LINK_PORT } else { port.strip_prefix(':')?.parse().ok()? };
        return Some((address, port));
    }
    if place.parse::<Ipv6Addr>().is_ok() {
        return Some((place, LINK_PORT));
    }
    match place.split_once(':') {
        Some((address, port)) => Some((address, port.parse().ok()?)),
        None => Some((place, LINK_PORT)),
    }
}

impl Host {
    /// Where the others reach its links.
    fn links(&self) -> String {
        match self.address.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]:{}", self.port),
            Err(_) => format!("{}:{}", self.address, self.port),
        }
    }

    /// Every address of the family that it is reached by.
    fn everywhere(&self, port: u16) -> SocketAddr {
        match self.address.parse::<Ipv6Addr>() {
            Ok(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
            Err(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
        }
    }

    fn node_toml(&self) -> Result<String, CliError> {
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port + 1));
        let text = node_text(&NodeChoices {
            data: DATA.to_owned(),
            listen: self.everywhere(self.port + 2),
            http: Some(http),
            consensus: true,
            links: self.everywhere(self.port),
        });
        let config: NodeConfig = toml::from_str(&text).map_err(|error| CliError::Usage(error.to_string()))?;
        config.check()?;
        Ok(text)
    }
}

/// Runs `tana testnet`.
///
/// # Errors
/// [`CliError`] when the folder exists, a choice breaks a rule, or a file cannot be written.
pub fn run(arguments: &TestnetArguments, output: &Output) -> Result<(), CliError> {
    check_hosts(&arguments.hosts)?;
    if arguments.out.symlink_metadata().is_ok() {
        return Err(CliError::FileExists(arguments.out.clone()));
    }
    let now_ms = now_ms();
    let sovereign = keys::new_key()?;
    let validators = arguments.hosts.iter().map(|_| keys::new_key()).collect::<Result<Vec<_>, _>>()?;
    let named = arguments.hosts.iter().zip(&validators);
    let seed = keys::new_key()?;
    let text = genesis_text(&GenesisChoices {
        chain: arguments.chain.clone(),
        timestamp_ms: now_ms,
        sovereign: keys::public_key(&sovereign),
        validators: named.clone().map(|(host, key)| (keys::public_key(key), host.links())).collect(),
        rules: Rules { epoch_blocks: arguments.epoch_blocks, ..Rules::default() },
        bulk: (arguments.accounts > 0).then(|| (hex::encode(&seed.as_bytes()[..16]), arguments.accounts)),
    })?;
    let genesis = Genesis::parse(&text)?;
    let configs = arguments.hosts.iter().map(Host::node_toml).collect::<Result<Vec<_>, _>>()?;

    create_private_folder(&arguments.out)?;
    let owner = KeyOwner { username: genesis.sovereign.username.clone(), ..KeyOwner::default() };
    keys::write_key_file(&arguments.out.join("sovereign.json"), &sovereign, &owner, "sovereign", now_ms)?;
    for ((host, key), config) in named.clone().zip(&configs) {
        let folder = arguments.out.join(&host.name);
        create_private_folder(&folder)?;
        keys::write_key_file(&folder.join("validator.json"), key, &KeyOwner::default(), "validator", now_ms)?;
        // It lies beside the key until the key is installed, and then in the data folder.
        keys::write_vote_record(&folder)?;
        keys::write_new_file(&folder.join("genesis.toml"), text.as_bytes(), 0o644)?;
        keys::write_new_file(&folder.join("node.toml"), config.as_bytes(), 0o644)?;
        keys::write_new_file(&folder.join("tana-validator.service"), UNIT.as_bytes(), 0o644)?;
    }
    let hosts: Vec<_> = named
        .map(|(host, key)| {
            json!({ "name": host.name, "folder": arguments.out.join(&host.name), "validator": keys::public_key(key), "links": host.links() })
        })
        .collect();
    let hash = hex::encode(genesis.hash());
    let summary = json!({ "chain": genesis.chain, "genesis_hash": hash, "folder": arguments.out, "hosts": hosts });
    output.result(&summary, |output| print(arguments, &genesis, output));
    Ok(())
}

fn print(arguments: &TestnetArguments, genesis: &Genesis, output: &Output) {
    output.pairs([
        ("chain", genesis.chain.clone()),
        ("genesis hash", hex::encode(genesis.hash())),
        ("sovereign", arguments.out.join("sovereign.json").display().to_string()),
        ("test accounts", grouped(arguments.accounts.into())),
    ]);
    let row = |(host, validator): (&Host, &tana_types::genesis::GenesisValidator)| {
        vec![host.name.clone(), host.links(), validator.key.to_string()]
    };
    let rows = arguments.hosts.iter().zip(&genesis.validators).map(row);
    output.rows(&["host", "links", "validator"], &[], rows);
    output.line(
        "\nNext, for each host: copy its folder, the tana binary and scripts/deploy there, and run\n  \
         sudo deploy install FOLDER --binary ./tana && sudo deploy start\n\
         Keep sovereign.json somewhere safe, and on none of the hosts.",
    );
}

/// Names are folders and must differ; so must the places of the links, and the ports of hosts that share an address.
fn check_hosts(hosts: &[Host]) -> Result<(), CliError> {
    for (place, host) in hosts.iter().enumerate() {
        for other in &hosts[..place] {
            if host.name == other.name {
                return Err(CliError::Usage(format!("two hosts are called {}; give each its own name", host.name)));
            }
            if host.address == other.address && host.port.abs_diff(other.port) < 3 {
                return Err(CliError::Usage(format!(
                    "{} and {} are both at {} with overlapping ports; give one of them another, such as {}={}:{}",
                    other.name,
                    host.name,
                    host.address,
                    host.name,
                    host.address,
                    u32::from(other.port) + 10
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_with_addresses() {
        for (text, name, links) in [
            ("alpha=10.0.0.1", "alpha", "10.0.0.1:9000"),
            ("b-2=one.example:9100", "b-2", "one.example:9100"),
            ("c=2001:db8::1", "c", "[2001:db8::1]:9000"),
            ("d=[2001:db8::1]:77", "d", "[2001:db8::1]:77"),
            ("e=[::1]", "e", "[::1]:9000"),
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!((host.name.as_str(), host.links().as_str()), (name, links));
        }
        for text in
            ["alpha", "=10.0.0.1", "../x=10.0.0.1", "a=", "a=b c", "a=[x]:1", "a=h:0", "a=h:65534", "a=h:1:2", "a=h/x"]
        {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_must_differ() {
        let hosts = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Host>>();
        assert!(check_hosts(&hosts(&["a=h", "b=h:9010", "c=i"])).is_ok());
        assert!(check_hosts(&hosts(&["a=h", "a=i"])).is_err());
        assert!(check_hosts(&hosts(&["a=h", "b=h:9002"])).is_err());
    }

    #[test]
    fn a_hosts_configuration_can_be_read() {
        let host: Host = "a=10.0.0.1:9100".parse().unwrap();
        let config: NodeConfig = toml::from_str(&host.node_toml().unwrap()).unwrap();
        assert_eq!(config.listen, "0.0.0.0:9102".parse().unwrap());
        assert_eq!(config.http, Some("127.0.0.1:9101".parse().unwrap()));
        assert_eq!((config.consensus.enabled, config.consensus.listen), (true, "0.0.0.0:9100".parse().unwrap()));
        assert_eq!(config.data, PathBuf::from(DATA));
    }
}
