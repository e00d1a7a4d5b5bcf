//! What can go wrong, each with its cause, its remedy and its exit code.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed: a file, the network, the node, the data |
//! | 2 | usage: an argument is missing or wrong |
//! | 3 | the node refused the transaction, or it ended without effect |

use std::io;
use std::path::{Path, PathBuf};

use tana_engine::config::ConfigError;
use tana_engine::keyfile::KeyFileError;
use tana_net::ClientError;
use tana_types::amount::AmountError;
use tana_types::codec::DecodeError;
use tana_types::currency::CurrencyCodeError;
use tana_types::genesis::GenesisError;
use tana_types::key::KeyError;
use tana_types::username::UsernameError;
use thiserror::Error;

/// Failed: a file, the network, the node, the data.
pub const EXIT_FAILED: u8 = 1;
/// An argument is missing or wrong.
pub const EXIT_USAGE: u8 = 2;
/// The node refused the transaction, or it ended without effect.
pub const EXIT_TRANSACTION: u8 = 3;

/// Why a command failed.
#[derive(Debug, Error)]
pub enum CliError {
    /// `tana init` found an earlier home.
    #[error(
        "{folder} already holds {names}; choose another folder with --home, or use --force, which moves them to a folder \
         beside the new ones"
    )]
    HomeExists {
        /// The folder.
        folder: PathBuf,
        /// What is in it.
        names: String,
    },
    /// No home can be found.
    #[error("there is no home folder: set HOME or TANA_HOME, or give --home")]
    NoHome,
    /// A file exists that would be replaced.
    #[error("{0} exists already; choose another name or place, or move it away")]
    FileExists(PathBuf),
    /// A file or folder does not work.
    #[error("cannot {action} {path}: {source}; {remedy}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// No key was named.
    #[error("no key: give --key with a key file or a name from `tana keys list`; `tana keys new @alice` makes one")]
    NoKey,
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The genesis.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The network.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// An argument that is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An argument that is no username.
    #[error(transparent)]
    Username(#[from] UsernameError),
    /// An argument that is no amount of its currency.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// An argument that is no currency code.
    #[error(transparent)]
    CurrencyCode(#[from] CurrencyCodeError),
    /// A transaction that breaks a rule before anything is signed.
    #[error("the transaction would not be valid: {0}")]
    Payload(DecodeError),
    /// Another argument.
    #[error("{0}")]
    Usage(String),
    /// The address of the node does not resolve.
    #[error("`{text}` is not an address of a node: {detail}; write HOST:PORT, such as 127.0.0.1:9002")]
    Address {
        /// What was given.
        text: String,
        /// What is wrong.
        detail: String,
    },
    /// Nobody said which key the node has.
    #[error(
        "the key of {0} is not known, so nobody could tell it from an impostor: give --server-key with the validator's public \
         key, or --home with the folder of its genesis.toml; --insecure trusts whoever answers"
    )]
    NoServerKey(String),
    /// The node has no answer.
    #[error("the node at {node} answers: {text}")]
    Answer {
        /// The node.
        node: String,
        /// Its text.
        text: String,
    },
    /// The node's answer cannot be read.
    #[error("the answer of {node} cannot be read ({detail}); the node may have another version than this command")]
    BadAnswer {
        /// The node.
        node: String,
        /// What is wrong.
        detail: String,
    },
    /// An @username that nobody has.
    #[error(
        "no account is called {0}; names are given at creation: `tana submit user-creation --username {0}`, or name the account by key"
    )]
    UnknownName(String),
    /// A sender without account.
    #[error("{key} has no account on this chain yet; create it first: `tana submit user-creation --key FILE`")]
    NoAccount {
        /// The key.
        key: String,
    },
    /// A currency that the chain does not have.
    #[error("the chain has no currency {code}; it has {known}")]
    UnknownCurrency {
        /// What was asked for.
        code: String,
        /// What there is.
        known: String,
    },
    /// The local genesis is of another chain than the node's.
    #[error(
        "the node at {node} is on chain {theirs}, but {path} is of chain {ours}; give --genesis or --home of that chain, or --node of this one"
    )]
    OtherChain {
        /// The node.
        node: String,
        /// The node's genesis hash.
        theirs: String,
        /// The local genesis hash.
        ours: String,
        /// The local file.
        path: PathBuf,
    },
    /// The end of a transaction is not known yet.
    #[error("transaction {id} has not ended within {seconds} s; it may still: look with `tana transaction {id}`")]
    Timeout {
        /// Its identifier.
        id: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The transaction ended without effect. The outcome has been printed already.
    #[error("the transaction took no effect: {code}")]
    Transaction {
        /// The name of its code.
        code: String,
    },
    /// The node did not start or stopped by itself.
    #[error("{0}")]
    Node(String),
    /// The log is not what it should be.
    #[error("{0}")]
    Log(String),
    /// Something of the machine.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl CliError {
    /// An error about a file, with the remedy that fits its cause.
    pub fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        let remedy = match source.kind() {
            io::ErrorKind::NotFound => "check the path; `tana init` makes a home",
            io::ErrorKind::PermissionDenied => "check who owns it and its mode, or choose another place with --home",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "the disk is full: free some space or choose another place"
            }
            io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only: choose another place with --home",
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                "check the path: a file stands where a folder should, or the other way"
            }
            _ => "check the path and the disk",
        };
        CliError::File { action, path: path.to_owned(), source, remedy }
    }

    /// The code with which the process ends.
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::NoKey
            | CliError::Key(_)
            | CliError::Username(_)
            | CliError::Amount(_)
            | CliError::CurrencyCode(_)
            | CliError::Payload(_)
            | CliError::Usage(_)
            | CliError::Address { .. }
            | CliError::NoServerKey(_) => EXIT_USAGE,
            CliError::Transaction { .. } => EXIT_TRANSACTION,
            _ => EXIT_FAILED,
        }
    }

    /// Whether the command has already printed everything there is to say.
    pub fn is_printed(&self) -> bool {
        matches!(self, CliError::Transaction { .. })
    }
}
