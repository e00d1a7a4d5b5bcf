//! The command line: which commands there are and what each takes. What `--help` prints is written here.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::devnet::arguments::DevnetArguments;
use crate::commands::everyday::{BalanceArguments, NewCommand, TransferArguments};
use crate::commands::evidence::EvidenceArguments;
use crate::commands::join::TrustedBlock;
use crate::commands::keys::KeysCommand;
use crate::commands::mesh::arguments::MeshCommand;
use crate::commands::proof::ProofCommand;
use crate::commands::sidecar::SidecarArguments;
use crate::commands::start::arguments::{FloodArguments, StartArguments, StopArguments};
use crate::commands::submit::arguments::SubmitArguments;
use crate::commands::testnet::TestnetArguments;
use crate::commands::token::TokenCommand;
use crate::output::JsonTarget;

/// Runs and uses a Tana chain: keys, validators, transactions, accounts, blocks.
#[derive(Debug, Parser)]
#[command(
    name = "tana",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 120,
    after_help = "Examples:\n  \
        tana init                                           a home with keys, genesis and configuration\n  \
        tana validator                                      run the node in this terminal\n  \
        tana keys new @alice                                a key for a user\n  \
        tana submit user-creation --key @alice              give it an account\n  \
        tana submit transfer --key sovereign --to @alice --amount 12.50 --currency USD\n  \
        tana account @alice                                 look at it\n  \
        tana start                                          five validators, registry, ledger APIs and a page\n  \
        tana devnet --flood max                             four validators here, flooded for 30 s\n\n\
        Exit codes: 0 done; 1 failed (file, network, node, data); 2 wrong arguments;\n  \
        3 the transaction was refused or ended without effect.\n\n\
        Environment: TANA_HOME is the home folder (default ~/.config/tana)."
)]
pub struct Tana {
    /// For every command.
    #[command(flatten)]
    pub shared: Shared,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// For every command.
#[derive(Debug, Clone, Args)]
pub struct Shared {
    /// Folder of keys, genesis and configuration [default: TANA_HOME, else ~/.config/tana]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub home: Option<PathBuf>,
    /// Print results as one JSON document
    // Not a plain flag, because `tana devnet` has it with a value: what is global has one type everywhere.
    #[arg(long, global = true, num_args = 0, default_missing_value = "-", help_heading = "Everywhere")]
    pub json: Option<JsonTarget>,
}

/// Which node to talk to.
#[derive(Debug, Clone, Default, Args)]
pub struct NodeArguments {
    /// The node's address for transactions [default: `listen` of the home's node.toml, else 127.0.0.1:9002]
    #[arg(long, value_name = "HOST:PORT", help_heading = "Which node")]
    pub node: Option<String>,
    /// The key that the node must hold [default: the home's validator, or the genesis's only one]
    #[arg(long, value_name = "KEY", help_heading = "Which node")]
    pub server_key: Option<String>,
    /// Talk to whoever answers, without checking its key
    #[arg(long, conflicts_with = "server_key", help_heading = "Which node")]
    pub insecure: bool,
    /// The chain's genesis file [default: the home's]
    #[arg(long, value_name = "FILE", help_heading = "Which node")]
    pub genesis: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a home: keys, genesis and commented configuration
    Init(InitArguments),
    /// Run a validator in the foreground
    Validator(ValidatorArguments),
    /// Start a whole network on this machine, with registry, ledger APIs and a page, in the background
    Start(StartArguments),
    /// Stop what `tana start` has started
    Stop(StopArguments),
    /// Keep the network of `tana start` busy
    Flood(FloodArguments),
    /// Run what stands beside a validator: registry, ledger API, visualizer
    Sidecar(SidecarArguments),
    /// Register nodes, let them in, list them
    #[command(
        subcommand,
        after_help = "Examples:\n  tana mesh list --all\n  tana mesh register --dev\n  tana mesh approve val_3b6a27bc"
    )]
    Mesh(MeshCommand),
    /// Make and read the tokens by which services of a network trust each other
    #[command(
        subcommand,
        after_help = "Examples:\n  tana token issue --service ledger --audience mesh\n  tana token inspect v4.public.eyJz..."
    )]
    Token(TokenCommand),
    /// Show what an account holds
    Balance(BalanceArguments),
    /// Send money from one of your keys to an account
    Transfer(TransferArguments),
    /// Make a user or a chain
    #[command(subcommand, after_help = "Examples:\n  tana new user @alice\n  tana new chain demo --home ./demo")]
    New(NewCommand),
    /// Run a network of validators on this machine, flood it, and say how it did
    Devnet(Box<DevnetArguments>),
    /// Write keys, genesis and configuration of a network of named hosts
    Testnet(TestnetArguments),
    /// Make, show and list keys
    #[command(subcommand, after_help = "Examples:\n  tana keys new @alice\n  tana keys show @alice\n  tana keys list")]
    Keys(KeysCommand),
    /// Sign a transaction, send it, and follow it to its end
    Submit(Box<SubmitArguments>),
    /// Show an account: balances, nonce, role
    #[command(
        after_help = "Examples:\n  tana account @alice\n  tana account ed25519_3b6a...\n  tana account @alice --json"
    )]
    Account {
        /// A key (ed25519_...) or an @username
        #[arg(value_name = "KEY|@USER")]
        name: String,
        /// Which node.
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Show a block; the latest committed one without a height
    #[command(after_help = "Examples:\n  tana block\n  tana block 1200\n  tana block --json")]
    Block {
        /// Its height, from 1
        height: Option<u64>,
        /// Which node.
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Show where a transaction ended
    #[command(after_help = "Examples:\n  tana transaction 5f1c...   the 64 digits that `tana submit` prints")]
    Transaction {
        /// Its identifier, 64 hexadecimal digits
        id: String,
        /// Which node.
        #[command(flatten)]
        node: NodeArguments,
    },
    /// List deposits and withdrawals that wait for the sovereign
    #[command(after_help = "Examples:\n  tana pending\n  tana submit confirm-deposit --request ID   then decide one")]
    Pending {
        /// Which node.
        #[command(flatten)]
        node: NodeArguments,
    },
    /// List the currencies with the total of each
    #[command(after_help = "Examples:\n  tana currencies\n  tana currencies --json")]
    Currencies {
        /// Which node.
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Show a node: chain, height, root, back-ends
    #[command(after_help = "Examples:\n  tana status\n  tana status --node 10.0.0.5:9002 --server-key ed25519_3b6a...")]
    Status {
        /// Which node.
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Show a node's counters, stage times and latencies
    #[command(after_help = "Examples:\n  tana metrics\n  tana metrics --json")]
    Metrics {
        /// Which node.
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Prove what an account holds to somebody who trusts only the genesis
    #[command(
        subcommand,
        after_help = "Examples:\n  tana proof get @alice > alice.json\n  tana proof verify alice.json --genesis genesis.toml"
    )]
    Proof(ProofCommand),
    /// List the proofs against validators that a node keeps, each checked again
    Evidence(EvidenceArguments),
    /// Replay the log from genesis and check every hash, signature, root and total
    VerifyLog(VerifyLogArguments),
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  tana completions bash > ~/.local/share/bash-completion/completions/tana\n  \
        tana completions zsh > ~/.zfunc/_tana\n  tana completions fish > ~/.config/fish/completions/tana.fish")]
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// What `tana init` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    tana init\n  \
    tana init --home ./demo --chain demo\n  \
    tana init --home ./load --accounts 1000000      a million test accounts for tx-gen\n\n\
    Writes validator.json and sovereign.json (mode 0600), genesis.toml and node.toml.")]
pub struct InitArguments {
    /// The chain's name, 1 to 64 bytes
    #[arg(long, default_value = "tana", value_name = "NAME")]
    pub chain: String,
    /// Test accounts to begin with, made from a seed in the genesis: never with real money
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub accounts: u32,
    /// The seed of the test accounts [default: random]
    #[arg(long, value_name = "TEXT", requires = "accounts")]
    pub seed: Option<String>,
    /// UDP address for transactions and queries
    #[arg(long, default_value = "127.0.0.1:9002", value_name = "IP:PORT")]
    pub listen: SocketAddr,
    /// Replace an earlier home: what is there is moved to a folder beside the new files
    #[arg(long)]
    pub force: bool,
}

impl Default for InitArguments {
    fn default() -> Self {
        Self {
            chain: "tana".to_owned(),
            accounts: 0,
            seed: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 9_002)),
            force: false,
        }
    }
}

/// What `tana validator` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    tana validator\n  \
    tana validator --home ./demo --listen 0.0.0.0:9002\n  \
    tana validator --join                       a new validator: the state first, then blocks\n  \
    RUST_LOG=debug tana validator 2> node.log\n\n\
    Ctrl-C or SIGTERM: takes nothing more in, finishes what it has, and stops; a second one ends it at once\n\
    (nothing that was reported final or applied is lost).")]
pub struct ValidatorArguments {
    /// The configuration [default: the home's node.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// UDP address for transactions and queries, instead of the configuration's
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Folder of the logs and the checkpoint, instead of the configuration's
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The genesis file, instead of the configuration's
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// The validator's key file, instead of the configuration's
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Write logs instead of the live line, even on a terminal
    #[arg(long)]
    pub no_live: bool,
    /// With an empty data folder, take the chain's state from the other validators first
    #[arg(long)]
    pub join: bool,
    /// Join from this block on instead of from the genesis: its height and hash, from somebody you trust
    #[arg(long, value_name = "HEIGHT:HASH", requires = "join")]
    pub trust: Option<TrustedBlock>,
    /// The key was never used by any validator: say so in the data folder, which is refused where it says anything already. Needed once, and only
    /// where neither `tana init`, `devnet` nor `testnet` made the key, and `--join` finds it in the validator set already
    #[arg(long)]
    pub new_key: bool,
    /// Stop when standard input ends: so a validator that another program started does not outlive it
    #[arg(long)]
    pub stop_with_input: bool,
    /// With --join: seconds to wait while nothing comes from anybody, as before the validator is approved
    #[arg(long, value_name = "S", requires = "join", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub join_patience: u64,
    /// Leave the terminal's session, so that closing it does not end the validator
    #[arg(long, hide = true)]
    pub own_session: bool,
}

/// What `tana verify-log` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    tana verify-log\n  \
    tana verify-log --certificates\n  \
    tana verify-log --data /srv/tana/data --genesis genesis.toml\n\n\
    Needs nothing but the genesis and the logs; ends with 0 only if everything holds. A running node does not mind.")]
pub struct VerifyLogArguments {
    /// Folder of the logs [default: that of the home's node.toml]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The genesis file [default: that of the home's node.toml]
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// Check the certificates of blocks too: that two thirds of their epoch's validators signed them
    #[arg(long)]
    pub certificates: bool,
}
