//! `tana proof`: asks a ledger API for the proof of an account, and checks one with nothing but the genesis file.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use tana_engine::config::NodeConfig;
use tana_ledger::chain::AccountView;
use tana_ledger::chain::proof::{AccountProof, VerifiedAccount, verify_account_proof};
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::username::Username;

use crate::commands::start::layout::{LEDGER_PORT, ledger_address, local};
use crate::error::CliError;
use crate::home::Home;
use crate::http::client;
use crate::node::printable;
use crate::output::{Output, grouped};
use crate::time::iso8601;

/// How long a ledger API may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes of a proof: a proof over many changes of the validator set, many times over.
const PROOF_BYTES_MAX: u64 = 64 << 20;

/// What `tana proof` does.
#[derive(Debug, Clone, Subcommand)]
pub enum ProofCommand {
    /// Ask a ledger API for the proof of what an account holds, or that a key has none
    Get(GetArguments),
    /// Check a proof, offline, with the genesis file alone
    Verify(VerifyArguments),
}

/// What `tana proof get` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  tana proof get @alice > alice.json\n  \
    tana proof get ed25519_3b6a... --ledger 10.0.0.7:8080 | tana proof verify -")]
pub struct GetArguments {
    /// A key (ed25519_...) or an @username
    #[arg(value_name = "KEY|@USER")]
    pub name: String,
    /// The ledger API [default: that of the home's network, else 127.0.0.1:8080]
    #[arg(long, value_name = "IP:PORT")]
    pub ledger: Option<SocketAddr>,
}

/// What `tana proof verify` takes.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  tana proof verify alice.json\n  tana proof verify alice.json --genesis genesis.toml --json\n\n\
    Trusts the genesis file alone: the validators in it, and whom they handed over to. Exit code 1 when the proof does not hold."
)]
pub struct VerifyArguments {
    /// The proof, or - for the standard input
    #[arg(value_name = "FILE|-")]
    pub proof: PathBuf,
    /// The chain's genesis file [default: the home's]
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// Refuse a proof about any other key
    #[arg(long, value_name = "KEY")]
    pub key: Option<PublicKey>,
}

/// Runs `tana proof`.
///
/// # Errors
/// [`CliError`] when there is no proof, or it does not hold.
pub fn run(
    command: &ProofCommand,
    home: impl FnOnce() -> Result<Home, CliError>,
    output: &Output,
) -> Result<(), CliError> {
    match command {
        ProofCommand::Get(arguments) => get(arguments, home, output),
        ProofCommand::Verify(arguments) => verify(arguments, home, output),
    }
}

fn get(
    arguments: &GetArguments,
    home: impl FnOnce() -> Result<Home, CliError>,
    output: &Output,
) -> Result<(), CliError> {
    let name = match arguments.name.strip_prefix('@') {
        Some(_) => arguments.name.parse::<Username>()?.to_string(),
        None => arguments.name.parse::<PublicKey>()?.to_string(),
    };
    let ledger = match arguments.ledger {
        Some(given) => given,
        None => ledger_address(&home()?).unwrap_or_else(|| local(LEDGER_PORT)),
    };
    let failed =
        |reason: String| CliError::Node(format!("the ledger API at {ledger} {reason}; --ledger names another"));
    let page = client::get(ledger, &format!("/proofs/accounts/{name}"), PATIENCE)
        .map_err(|error| failed(format!("does not answer: {error}")))?;
    if page.status != 200 {
        let reason = page.json::<serde_json::Value>().ok().and_then(|body| body["error"].as_str().map(printable));
        return Err(failed(format!("refuses ({}): {}", page.status, reason.unwrap_or_default())));
    }
    let proof: AccountProof = page.json().map_err(|error| failed(format!("gave no proof: {error}")))?;
    output.document(&proof);
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |error| CliError::file("read", path, error);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(PROOF_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(PROOF_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}

fn verify(
    arguments: &VerifyArguments,
    home: impl FnOnce() -> Result<Home, CliError>,
    output: &Output,
) -> Result<(), CliError> {
    let genesis = match &arguments.genesis {
        Some(path) => path.clone(),
        None => NodeConfig::load(&home()?.known_node_config())?.genesis,
    };
    let genesis = Genesis::load(&genesis)?;
    let refused = |reason: String| CliError::Node(format!("the proof is refused: {reason}"));
    let proof: AccountProof = serde_json::from_slice(&read(&arguments.proof)?)
        .map_err(|error| refused(format!("it is no proof: {error}")))?;
    let verified = verify_account_proof(&genesis, None, &proof).map_err(|error| {
        refused(format!("{error}; if it was made on another chain, name that chain's genesis file by --genesis"))
    })?;
    if let Some(key) = arguments.key.filter(|key| key.to_string() != verified.public_key) {
        return Err(refused(format!("it is about {}, not {key}", verified.public_key)));
    }
    output.result(&verified, |output| print(&verified, output));
    Ok(())
}

fn print(verified: &VerifiedAccount, output: &Output) {
    let mut pairs = vec![
        ("proven", "yes".to_owned()),
        ("account", verified.public_key.clone()),
        ("as of", format!("height {}", grouped(verified.height))),
        ("named by", format!("block {} of {}", grouped(verified.block_height), iso8601(verified.timestamp_ms))),
        ("block hash", verified.block_hash.clone()),
        ("state root", verified.state_root.clone()),
    ];
    let Some(account) = &verified.account else {
        pairs.push(("result", "no account has this key".to_owned()));
        return output.pairs(pairs);
    };
    let AccountView { username, display_name, role, nonce, balances, .. } = account;
    pairs.extend(username.clone().map(|name| ("username", name)));
    if !display_name.is_empty() {
        pairs.push(("name", printable(display_name)));
    }
    pairs.push(("role", role.clone()));
    pairs.push(("nonce", nonce.to_string()));
    output.pairs(pairs);
    if balances.is_empty() {
        return output.line("no balances");
    }
    let rows = balances.iter().map(|balance| vec![balance.currency_code.clone(), balance.amount.clone()]);
    output.rows(&["currency", "balance"], &[1], rows);
}
