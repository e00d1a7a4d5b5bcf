//! Talking to a validator: finding its address and key, asking it, and knowing which chain it is on.
//!
//! The address is --node, else the `listen` of the home's node.toml or of its network's first validator, else 127.0.0.1:9002. The key that the node must hold is
//! --server-key, else that of the home's node, else that of the genesis's only validator; without any of them nothing is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use tana_engine::config::NodeConfig;
use tana_net::{ServerPin, TxClient};
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::query::{Account, Answer, Currency, Request, Response, Status};

use crate::arguments::NodeArguments;
use crate::error::CliError;
use crate::home::Home;

/// A node that can be asked.
#[derive(Debug)]
pub struct Node {
    client: TxClient,
    name: String,
}

/// Where a node is and how to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    address: SocketAddr,
    pin: ServerPin,
    name: String,
}

impl Target {
    /// Finds out where the node is and which key it must hold.
    pub fn resolve(arguments: &NodeArguments, home: &Home) -> Result<Self, CliError> {
        let config = local_config(home)?;
        let (address, name) = match &arguments.node {
            Some(text) => (resolve_address(text)?, text.clone()),
            None => {
                let listen = config.as_ref().map_or_else(|| NodeConfig::default().listen, |config| config.listen);
                let address = reachable(listen);
                (address, address.to_string())
            }
        };
        let pin = match (arguments.insecure, &arguments.server_key) {
            (true, _) => ServerPin::Insecure,
            (false, Some(key)) => ServerPin::Key(key.parse::<PublicKey>()?.0),
            (false, None) => {
                // The home's own key belongs to the home's own node; elsewhere only the genesis can tell.
                let own = if arguments.node.is_none() { local_key(home, config.as_ref()) } else { None };
                let from_genesis =
                    || sole_validator(&arguments.genesis.clone().unwrap_or_else(|| home.known_genesis()));
                let key = own.or_else(from_genesis).ok_or_else(|| CliError::NoServerKey(name.clone()))?;
                ServerPin::Key(key.0)
            }
        };
        Ok(Self { address, pin, name })
    }

    /// A node whose address and key are known.
    pub fn known(address: SocketAddr, pin: ServerPin, name: String) -> Self {
        Self { address, pin, name }
    }

    /// Connects.
    pub async fn connect(self) -> Result<Node, CliError> {
        let client = TxClient::connect(self.address, self.pin, None).await?;
        Ok(Node { client, name: self.name })
    }
}

impl Node {
    /// The connection.
    pub fn client(&self) -> &TxClient {
        &self.client
    }

    /// How the node was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks one question.
    pub async fn ask(&self, request: &Request) -> Result<Answer, CliError> {
        let bad = |detail: String| CliError::BadAnswer { node: self.name.clone(), detail };
        let question = serde_json::to_vec(request).map_err(|error| bad(error.to_string()))?;
        let bytes = self.client.query(&question).await?;
        match serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))? {
            Response::Ok(answer) => Ok(answer),
            Response::Error(text) => Err(CliError::Answer { node: self.name.clone(), text: printable(&text) }),
        }
    }

    /// The node and its chain.
    pub async fn status(&self) -> Result<Status, CliError> {
        match self.ask(&Request::Status).await? {
            Answer::Status(status) => Ok(status),
            _ => Err(self.other_answer("status")),
        }
    }

    /// Checks that a genesis file on this machine, at `path`, is that of the node's chain.
    pub fn check_chain(&self, status: &Status, genesis: &Genesis, path: PathBuf) -> Result<(), CliError> {
        let ours = hex::encode(genesis.hash());
        match ours == status.genesis_hash {
            true => Ok(()),
            false => {
                let (node, theirs) = (self.name.clone(), status.genesis_hash.clone());
                Err(CliError::OtherChain { node, theirs, ours, path })
            }
        }
    }

    /// The genesis of its chain, checked against the hash that the node reports.
    pub async fn genesis(&self) -> Result<Genesis, CliError> {
        match self.ask(&Request::Genesis).await? {
            Answer::Genesis(text) => Ok(Genesis::parse(&text)?),
            _ => Err(self.other_answer("genesis")),
        }
    }

    /// One account by key or @username.
    pub async fn account(&self, name: &str) -> Result<Account, CliError> {
        match self.ask(&Request::Account { name: name.to_owned() }).await? {
            Answer::Account(account) => Ok(account),
            _ => Err(self.other_answer("account")),
        }
    }

    /// The currencies of its chain.
    pub async fn currencies(&self) -> Result<Vec<Currency>, CliError> {
        match self.ask(&Request::Currencies).await? {
            Answer::Currencies(currencies) => Ok(currencies),
            _ => Err(self.other_answer("currencies")),
        }
    }

    /// The error for an answer to another question.
    pub fn other_answer(&self, question: &str) -> CliError {
        CliError::BadAnswer {
            node: self.name.clone(),
            detail: format!("it answers another question than `{question}`"),
        }
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.client.close().await;
    }
}

/// A runtime for one command's conversation.
pub fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::System { action: "start the network runtime", source })
}

/// Text from a peer without anything that could control a terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// The home's node.toml, or that of its network's first validator, if there is one.
fn local_config(home: &Home) -> Result<Option<NodeConfig>, CliError> {
    let path = home.known_node_config();
    if path.exists() { Ok(Some(NodeConfig::load(&path)?)) } else { Ok(None) }
}

/// The public key of the home's own node. Only the public half is looked at, so a damaged file is noticed by the node, not here.
fn local_key(home: &Home, config: Option<&NodeConfig>) -> Option<PublicKey> {
    let path = config.map_or_else(|| home.validator_key(), |config| config.key.clone());
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Public {
        public_key: String,
    }
    let public: Public = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    public.public_key.parse().ok()
}

fn sole_validator(genesis: &Path) -> Option<PublicKey> {
    match Genesis::load(genesis).ok()?.validators.as_slice() {
        [only] => Some(only.key),
        _ => None,
    }
}

fn resolve_address(text: &str) -> Result<SocketAddr, CliError> {
    let error = |detail: String| CliError::Address { text: text.to_owned(), detail };
    let mut addresses = text.to_socket_addrs().map_err(|source| error(source.to_string()))?;
    addresses.next().ok_or_else(|| error("the name has no address".to_owned()))
}

/// Where a listener on every address is reached from this machine.
pub(crate) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The genesis that lies on this machine: the file given, else the home's, else none.
pub fn local_genesis(given: Option<&Path>, home: &Home) -> Result<Option<(PathBuf, Genesis)>, CliError> {
    let path = given.map_or_else(|| home.known_genesis(), Path::to_owned);
    if given.is_none() && !path.exists() {
        return Ok(None);
    }
    let genesis = Genesis::load(&path)?;
    Ok(Some((path, genesis)))
}
