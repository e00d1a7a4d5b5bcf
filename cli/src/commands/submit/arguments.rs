//! What `tana submit` takes: one subcommand for each kind of transaction, and options that all kinds share.

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use tana_types::currency::CurrencyType;
use tana_types::payload::Role;

use crate::arguments::NodeArguments;

/// Seconds to wait for a transaction's end.
const TIMEOUT_S: u64 = 30;

/// What `tana submit` takes.
#[derive(Debug, Clone, Args)]
#[command(
    subcommand_value_name = "KIND",
    subcommand_help_heading = "Kinds",
    after_help = "Examples:\n  \
        tana submit user-creation --key alice.json --username @alice --display-name Alice\n  \
        tana submit transfer --key sovereign --to @alice --amount 12.50 --currency USD\n  \
        tana submit deposit --key @alice --amount 100 --currency USD\n  \
        tana submit confirm-deposit --request ID\n\n\
        Exit codes: 0 applied (with --no-wait: accepted); 1 failed or not known yet; 2 wrong arguments;\n  \
        3 refused by the node, or in a block without effect."
)]
pub struct SubmitArguments {
    /// What all kinds share.
    #[command(flatten)]
    pub options: SubmitOptions,
    /// The kind.
    #[command(subcommand)]
    pub kind: SubmitKind,
}

/// What all kinds share.
#[derive(Debug, Clone, Default, Args)]
pub struct SubmitOptions {
    /// Key file, or a name from `tana keys list` [default for the sovereign's kinds: sovereign]
    #[arg(long, global = true, value_name = "FILE|NAME", help_heading = "Signing")]
    pub key: Option<String>,
    /// The nonce [default: the account's last one + 1, asked from the node]
    #[arg(long, global = true, value_name = "N", help_heading = "Signing")]
    pub nonce: Option<u64>,
    /// The transaction's time, milliseconds since 1970 [default: now]
    #[arg(long, global = true, value_name = "MS", help_heading = "Signing")]
    pub timestamp: Option<u64>,
    /// Sign and print, send nothing
    #[arg(long, global = true, help_heading = "Signing")]
    pub dry_run: bool,
    /// Return once the node has accepted it (no promise yet)
    #[arg(long, global = true, conflicts_with = "dry_run", help_heading = "Following")]
    pub no_wait: bool,
    /// Seconds to wait for the end
    #[arg(long, global = true, default_value_t = TIMEOUT_S, value_name = "S", help_heading = "Following")]
    pub timeout: u64,
    /// The node's address for transactions [default: `listen` of the home's node.toml, else 127.0.0.1:9002]
    #[arg(long, global = true, value_name = "HOST:PORT", help_heading = "Which node")]
    node: Option<String>,
    /// The key that the node must hold [default: the home's validator, or the genesis's only one]
    #[arg(long, global = true, value_name = "KEY", help_heading = "Which node")]
    server_key: Option<String>,
    /// Talk to whoever answers, without checking its key
    #[arg(long, global = true, conflicts_with = "server_key", help_heading = "Which node")]
    insecure: bool,
    /// The chain's genesis file [default: the home's, else asked from the node]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Which node")]
    genesis: Option<std::path::PathBuf>,
}

impl SubmitOptions {
    /// Signed by `key`, sent to `node`, and followed for as long as by default.
    pub fn signed_by(key: String, node: NodeArguments) -> Self {
        let NodeArguments { node, server_key, insecure, genesis } = node;
        Self { key: Some(key), timeout: TIMEOUT_S, node, server_key, insecure, genesis, ..Self::default() }
    }

    /// Which node to talk to. (The same four options as everywhere, but given before or after the kind.)
    pub fn node(&self) -> NodeArguments {
        NodeArguments {
            node: self.node.clone(),
            server_key: self.server_key.clone(),
            insecure: self.insecure,
            genesis: self.genesis.clone(),
        }
    }
}

/// An amount of a currency.
#[derive(Debug, Clone, Args)]
pub struct Money {
    /// How much, such as 12.50; at most as many decimals as the currency has
    // A negative one is refused with the reason rather than taken for an option.
    #[arg(long, value_name = "AMOUNT", allow_negative_numbers = true)]
    pub amount: String,
    /// The currency's code, such as USD
    #[arg(long, value_name = "CODE")]
    pub currency: String,
}

/// A decision of the sovereign.
#[derive(Debug, Clone, Args)]
pub struct Decision {
    /// The identifier of the transaction that asked (see `tana pending`)
    #[arg(long, value_name = "ID")]
    pub request: String,
    /// Refuse it instead
    #[arg(long)]
    pub refuse: bool,
}

/// Roles that can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleChoice {
    /// Helps the sovereign
    Staff,
    /// An ordinary account
    User,
}

impl From<RoleChoice> for Role {
    fn from(choice: RoleChoice) -> Self {
        match choice {
            RoleChoice::Staff => Role::Staff,
            RoleChoice::User => Role::User,
        }
    }
}

/// Types of currencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TypeChoice {
    /// Money of a state
    Fiat,
    /// Money of a network
    Crypto,
}

impl From<TypeChoice> for CurrencyType {
    fn from(choice: TypeChoice) -> Self {
        match choice {
            TypeChoice::Fiat => CurrencyType::Fiat,
            TypeChoice::Crypto => CurrencyType::Crypto,
        }
    }
}

/// The kinds of transactions.
#[derive(Debug, Clone, Subcommand)]
pub enum SubmitKind {
    /// Give a key an account, with a username if wanted
    #[command(after_help = "Examples:\n  \
        tana submit user-creation --key @alice\n  \
        tana submit user-creation --key alice.json --username @alice --display-name Alice")]
    UserCreation {
        /// @ and 1 to 49 of a-z, 0-9, _ and - [default: that of the key file; none if it has none]
        #[arg(long, value_name = "@USER")]
        username: Option<String>,
        /// A name for people, up to 100 bytes [default: that of the key file]
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// A text about the holder, up to 1,000 bytes
        #[arg(long, default_value = "", value_name = "TEXT")]
        biography: String,
    },
    /// Send money to another account
    #[command(after_help = "Examples:\n  \
        tana submit transfer --key @alice --to @bob --amount 12.50 --currency USD\n  \
        tana submit transfer --key sovereign --to ed25519_3b6a... --amount 0.001 --currency BTC")]
    Transfer {
        /// Who receives: a key (ed25519_...) or an @username
        #[arg(long, value_name = "KEY|@USER")]
        to: String,
        /// How much.
        #[command(flatten)]
        money: Money,
    },
    /// Ask for money that came in outside the chain; the sovereign confirms
    #[command(after_help = "Examples:\n  tana submit deposit --key @alice --amount 100 --currency USD")]
    Deposit {
        /// How much.
        #[command(flatten)]
        money: Money,
    },
    /// Give back money that shall go out; it is reserved until the sovereign confirms
    #[command(after_help = "Examples:\n  tana submit withdraw --key @alice --amount 40 --currency USD")]
    Withdraw {
        /// How much.
        #[command(flatten)]
        money: Money,
    },
    /// As sovereign: decide a deposit
    #[command(
        alias = "deposit-confirmation",
        after_help = "Examples:\n  tana submit confirm-deposit --request 5f1c...\n  tana submit confirm-deposit --request 5f1c... --refuse"
    )]
    ConfirmDeposit {
        /// Which, and how.
        #[command(flatten)]
        decision: Decision,
    },
    /// As sovereign: decide a withdrawal
    #[command(
        alias = "withdrawal-confirmation",
        after_help = "Examples:\n  tana submit confirm-withdrawal --request 5f1c...\n  tana submit confirm-withdrawal --request 5f1c... --refuse"
    )]
    ConfirmWithdrawal {
        /// Which, and how.
        #[command(flatten)]
        decision: Decision,
    },
    /// As sovereign: create a currency
    #[command(
        after_help = "Examples:\n  tana submit currency-creation --code EUR --decimals 2 --type fiat --name Euro --symbol €"
    )]
    CurrencyCreation {
        /// 3 to 10 capital letters
        #[arg(long, value_name = "CODE")]
        code: String,
        /// Digits behind the decimal point, 0 to 18
        #[arg(long, value_name = "N")]
        decimals: u8,
        /// Fiat or crypto
        #[arg(long = "type", value_enum)]
        currency_type: TypeChoice,
        /// A name for people, up to 64 bytes
        #[arg(long, default_value = "", value_name = "TEXT")]
        name: String,
        /// A symbol for people, up to 16 bytes
        #[arg(long, default_value = "", value_name = "TEXT")]
        symbol: String,
        /// The sovereign vouches for it
        #[arg(long)]
        verified: bool,
    },
    /// As sovereign: make an account staff or user
    #[command(after_help = "Examples:\n  tana submit role-change --account @bob --role staff")]
    RoleChange {
        /// A key (ed25519_...) or an @username
        #[arg(long, value_name = "KEY|@USER")]
        account: String,
        /// Its role afterwards
        #[arg(long, value_enum)]
        role: RoleChoice,
    },
    /// As sovereign: hand the role to another account and become a user
    #[command(
        after_help = "Examples:\n  tana submit sovereignty-transfer --to @bob\n\nOnly the new sovereign can give it back."
    )]
    SovereigntyTransfer {
        /// Who becomes sovereign: a key (ed25519_...) or an @username
        #[arg(long, value_name = "KEY|@USER")]
        to: String,
    },
    /// As sovereign: set a balance, with a reason
    #[command(after_help = "Examples:\n  \
        tana submit balance-adjustment --account @bob --amount 0 --currency USD --reason 'Booked twice on 3 May'")]
    BalanceAdjustment {
        /// A key (ed25519_...) or an @username
        #[arg(long, value_name = "KEY|@USER")]
        account: String,
        /// The balance afterwards.
        #[command(flatten)]
        money: Money,
        /// Why: 10 characters to 512 bytes
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// As sovereign: add or remove a validator from an epoch on
    #[command(
        group = ArgGroup::new("change").required(true).args(["add", "remove"]),
        after_help = "Examples:\n  \
            tana submit validator-set-change --add ed25519_3b6a... --address 10.0.0.6:9000 --epoch 12\n  \
            tana submit validator-set-change --remove ed25519_3b6a... --epoch 12"
    )]
    ValidatorSetChange {
        /// The key of a validator to add
        #[arg(long, value_name = "KEY", requires = "address")]
        add: Option<String>,
        /// The key of a validator to remove
        #[arg(long, value_name = "KEY", conflicts_with = "address")]
        remove: Option<String>,
        /// Where the new validator's links listen
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
        /// The first epoch in which the change is in force
        #[arg(long, value_name = "N")]
        epoch: u64,
    },
}

impl SubmitKind {
    /// Whether only the sovereign may do it, so that its key is the default.
    pub fn is_sovereigns(&self) -> bool {
        !matches!(
            self,
            SubmitKind::UserCreation { .. }
                | SubmitKind::Transfer { .. }
                | SubmitKind::Deposit { .. }
                | SubmitKind::Withdraw { .. }
        )
    }
}
