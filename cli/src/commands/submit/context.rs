//! What is needed to build a transaction, from the nearest place that has it: an argument, a local file, and only then the node.

use ed25519_dalek::SigningKey;
use tana_types::amount::parse_amount;
use tana_types::currency::CurrencyCode;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::transaction::Chain;
use tana_types::username::Username;

use super::arguments::{Money, SubmitArguments};
use crate::error::CliError;
use crate::home::Home;
use crate::keys::{self, KeyFile, KeyOwner};
use crate::node::{Node, Target, local_genesis};
use crate::output::Output;

/// See the module's text.
pub struct Context<'a> {
    arguments: &'a SubmitArguments,
    home: &'a Home,
    file: KeyFile,
    genesis: Option<Genesis>,
    node: Option<Node>,
}

impl<'a> Context<'a> {
    /// Reads the key and the genesis, if one lies here. Nothing is asked yet.
    pub fn new(arguments: &'a SubmitArguments, home: &'a Home, output: &Output) -> Result<Self, CliError> {
        let name = match (&arguments.options.key, arguments.kind.is_sovereigns()) {
            (Some(name), _) => name.as_str(),
            (None, true) => "sovereign",
            (None, false) => return Err(CliError::NoKey),
        };
        let file = keys::read_key_file(&keys::locate_key(home, name), output)?;
        let genesis = local_genesis(arguments.options.node().genesis.as_deref(), home)?.map(|(_, genesis)| genesis);
        Ok(Self { arguments, home, file, genesis, node: None })
    }

    /// The key that signs.
    pub fn key(&self) -> &SigningKey {
        &self.file.key
    }

    /// Whose key it is, as far as its file says.
    pub fn owner(&self) -> &KeyOwner {
        &self.file.owner
    }

    /// The account that the transaction comes from.
    pub fn sender(&self) -> PublicKey {
        self.file.public_key()
    }

    /// The node, connected and on the right chain.
    async fn node(&mut self) -> Result<&Node, CliError> {
        let node = match self.node.take() {
            Some(node) => node,
            None => self.connect().await?,
        };
        Ok(self.node.insert(node))
    }

    async fn connect(&self) -> Result<Node, CliError> {
        let arguments = self.arguments.options.node();
        let node = Target::resolve(&arguments, self.home)?.connect().await?;
        if let Some(genesis) = &self.genesis {
            let path = arguments.genesis.unwrap_or_else(|| self.home.known_genesis());
            node.check_chain(&node.status().await?, genesis, path)?;
        }
        Ok(node)
    }

    /// The node for sending; connects if nothing had to be asked before.
    pub async fn take_node(&mut self) -> Result<Node, CliError> {
        match self.node.take() {
            Some(node) => Ok(node),
            None => self.connect().await,
        }
    }

    /// What the signature is tied to.
    pub async fn chain(&mut self) -> Result<Chain, CliError> {
        if self.genesis.is_none() {
            self.genesis = Some(self.node().await?.genesis().await?);
        }
        // Set above if it was not set before.
        Ok(self.genesis.as_ref().map_or_else(|| Chain::new([0; 32]), Genesis::to_chain))
    }

    /// One more than the last nonce of the sender.
    pub async fn next_nonce(&mut self) -> Result<u64, CliError> {
        let key = self.sender().to_string();
        match self.node().await?.account(&key).await {
            Ok(account) => Ok(account.nonce.saturating_add(1)),
            Err(CliError::Answer { .. }) => Err(CliError::NoAccount { key }),
            Err(other) => Err(other),
        }
    }

    /// The key of an account that was named by key or @username.
    pub async fn account_key(&mut self, name: &str) -> Result<PublicKey, CliError> {
        if !name.starts_with('@') {
            return match name.parse() {
                Ok(key) => Ok(key),
                Err(_) if name.len() < 50 && !name.starts_with("ed25519_") => Err(CliError::Usage(format!(
                    "`{name}` is neither a key nor a username: write ed25519_ and 64 hexadecimal digits, or @{name}"
                ))),
                Err(error) => Err(error.into()),
            };
        }
        let username: Username = name.parse()?;
        match self.node().await?.account(username.as_str()).await {
            Ok(account) => Ok(account.key.parse()?),
            Err(CliError::Answer { .. }) => Err(CliError::UnknownName(username.to_string())),
            Err(other) => Err(other),
        }
    }

    /// A currency's code and an amount of it in minor units.
    pub async fn money(&mut self, money: &Money) -> Result<(CurrencyCode, u128), CliError> {
        let code: CurrencyCode = money.currency.parse()?;
        let decimals = self.decimals(code).await?;
        Ok((code, parse_amount(&money.amount, decimals)?))
    }

    /// [`Self::money`] that must not be nothing.
    pub async fn some_money(&mut self, money: &Money) -> Result<(CurrencyCode, u128), CliError> {
        match self.money(money).await? {
            (_, 0) => {
                Err(CliError::Usage("--amount is zero; send at least the smallest unit of the currency".to_owned()))
            }
            some => Ok(some),
        }
    }

    /// A currency's decimals never change, so the genesis is as good as the node for the currencies that it has.
    async fn decimals(&mut self, code: CurrencyCode) -> Result<u8, CliError> {
        let known = self.genesis.as_ref().and_then(|genesis| genesis.currencies.iter().find(|info| info.code == code));
        if let Some(info) = known {
            return Ok(info.decimals);
        }
        let currencies = self.node().await?.currencies().await?;
        match currencies.iter().find(|currency| currency.info.code == code) {
            Some(currency) => Ok(currency.info.decimals),
            None => {
                let known = currencies.iter().map(|currency| currency.info.code.to_string()).collect::<Vec<_>>();
                Err(CliError::UnknownCurrency { code: code.to_string(), known: known.join(", ") })
            }
        }
    }
}
