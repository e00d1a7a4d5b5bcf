//! Short words for what people do every day: `tana balance`, `tana transfer`, `tana new`. Each does what a longer command does too.

use clap::{Args, Subcommand};
use serde_json::json;
use tana_types::username::Username;

use super::submit::arguments::{Money, SubmitArguments, SubmitKind, SubmitOptions};
use super::{init, keys, query, submit};
use crate::arguments::{InitArguments, NodeArguments};
use crate::error::CliError;
use crate::home::Home;
use crate::keys::KeyOwner;
use crate::output::Output;

/// What `tana balance` takes.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  tana balance @alice\n  tana balance @alice --currency BTC\n  tana balance sovereign --json"
)]
pub struct BalanceArguments {
    /// A key (ed25519_...), an @username, or a key file's name from `tana keys list`
    #[arg(value_name = "KEY|@USER")]
    pub name: String,
    /// Only this currency
    #[arg(short, long, value_name = "CODE")]
    pub currency: Option<String>,
    /// Which node.
    #[command(flatten)]
    pub node: NodeArguments,
}

/// What `tana transfer` takes.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  tana transfer @alice @bob 12.50 USD\n  tana transfer sovereign @alice 1000 USD\n\n\
    The same as: tana submit transfer --key @alice --to @bob --amount 12.50 --currency USD"
)]
pub struct TransferArguments {
    /// Who pays: a key file, or a name from `tana keys list`
    #[arg(value_name = "FROM")]
    pub from: String,
    /// Who receives: a key (ed25519_...) or an @username
    #[arg(value_name = "TO")]
    pub to: String,
    /// How much, such as 12.50; at most as many decimals as the currency has
    #[arg(value_name = "AMOUNT", allow_negative_numbers = true)]
    pub amount: String,
    /// The currency's code, such as USD
    #[arg(value_name = "CURRENCY")]
    pub currency: String,
    /// Which node.
    #[command(flatten)]
    pub node: NodeArguments,
}

/// What `tana new` makes.
#[derive(Debug, Clone, Subcommand)]
pub enum NewCommand {
    /// A user: a key file, and an account on the chain
    #[command(
        after_help = "Examples:\n  tana new user @alice\n  tana new user @alice --name Alice --bio 'Sells apples'\n\n\
        When no node answers, the key file is there and the account can follow: tana submit user-creation --key @alice"
    )]
    User(UserArguments),
    /// A chain of one validator: keys, genesis and configuration, as `tana init` makes them
    #[command(after_help = "Examples:\n  tana new chain demo --home ./demo")]
    Chain {
        /// Its name, 1 to 64 bytes
        name: String,
    },
}

/// What `tana new user` takes.
#[derive(Debug, Clone, Args)]
pub struct UserArguments {
    /// @ and 1 to 49 of a-z, 0-9, _ and -
    #[arg(value_name = "@USER")]
    pub username: String,
    /// A name for people, up to 100 bytes
    #[arg(short, long, default_value = "", value_name = "TEXT")]
    pub name: String,
    /// A text about the user, up to 1,000 bytes
    #[arg(short, long, default_value = "", value_name = "TEXT")]
    pub bio: String,
    /// Which node.
    #[command(flatten)]
    pub node: NodeArguments,
}

/// Runs `tana balance`.
///
/// # Errors
/// [`CliError`] when the node cannot be asked, or has no such account or currency.
pub fn balance(arguments: &BalanceArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let account = query::find_account(&arguments.name, &arguments.node, home, output)?;
    let Some(code) = &arguments.currency else {
        let value = json!({ "account": account.key, "height": account.height, "balances": account.balances });
        output.result(&value, |output| match account.balances.as_slice() {
            [] => output.line("no balances"),
            balances => output.rows(
                &["currency", "balance"],
                &[1],
                balances.iter().map(|balance| vec![balance.currency.clone(), balance.amount.clone()]),
            ),
        });
        return Ok(());
    };
    let code = code.to_uppercase();
    // An account that never had a currency holds none of it.
    let amount =
        account.balances.iter().find(|balance| balance.currency == code).map_or("0", |balance| &balance.amount);
    let value = json!({ "account": account.key, "height": account.height, "currency": code, "amount": amount });
    output.result(&value, |output| output.line(format!("{amount} {code}")));
    Ok(())
}

/// Runs `tana transfer`.
///
/// # Errors
/// [`CliError`] as `tana submit transfer`.
pub fn transfer(arguments: TransferArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let money = Money { amount: arguments.amount, currency: arguments.currency.to_uppercase() };
    let options = SubmitOptions::signed_by(arguments.from, arguments.node);
    submit::run(&SubmitArguments { options, kind: SubmitKind::Transfer { to: arguments.to, money } }, home, output)
}

/// Runs `tana new`.
///
/// # Errors
/// [`CliError`] when a file is there already, or the account cannot be made. Where no node is known, only a warning says that it has none yet.
pub fn new(command: NewCommand, home: &Home, output: &Output) -> Result<(), CliError> {
    match command {
        NewCommand::Chain { name } => {
            init::run(&InitArguments { chain: name, ..InitArguments::default() }, home, output)
        }
        NewCommand::User(user) => new_user(user, home, output),
    }
}

fn new_user(user: UserArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let name = if user.username.starts_with('@') { user.username } else { format!("@{}", user.username) };
    let username: Username = name.parse()?;
    let path = home.user_key(username.as_str());
    let public = keys::make(&path, &KeyOwner { username: name.clone(), display_name: user.name }, home)?;
    output.note(format!("{public}  {}", path.display()));
    let kind = SubmitKind::UserCreation { username: None, display_name: None, biography: user.bio };
    let options = SubmitOptions::signed_by(name.clone(), user.node);
    match submit::run(&SubmitArguments { options, kind }, home, output) {
        Err(CliError::Client(error)) => Err(CliError::Node(format!(
            "the key is made, the account is not: {error}; when the node is there: tana submit user-creation --key {name}"
        ))),
        Err(CliError::NoServerKey(_)) => {
            output
                .warn(format!("no node is known here; make the account later: tana submit user-creation --key {name}"));
            Ok(())
        }
        result => result,
    }
}
