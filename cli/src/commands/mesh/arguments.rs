//! What `tana mesh` takes.

use std::net::IpAddr;

use clap::{Args, Subcommand, ValueEnum};

use tana_types::key::PublicKey;

use crate::arguments::NodeArguments;

/// Which mesh to talk to.
#[derive(Debug, Clone, Default, Args)]
pub struct MeshArguments {
    /// The mesh, tried in the order given; may be repeated [default: MESH_URL, else that of the home's network, else http://127.0.0.1:8190]
    #[arg(long = "mesh", value_name = "URL", help_heading = "Which mesh")]
    pub meshes: Vec<String>,
}

/// The commands of the mesh.
#[derive(Debug, Clone, Subcommand)]
pub enum MeshCommand {
    /// Register this home's validator, or with --dev make a further one of the network of `tana start`
    Register(RegisterArguments),
    /// As sovereign: let a node in; a validator enters the chain's set with the same command
    #[command(
        after_help = "Examples:\n  tana mesh approve val_3b6a27bc\n  tana mesh approve val_3b6a27bc --public-key ed25519_3b6a... --mesh http://10.0.0.1:8190\n\n\
        The key of the node is shown before anything is signed; compare it with the one that its operator names. A second call goes on where\n\
        a first one was cut short."
    )]
    Approve(DecideArguments),
    /// As sovereign: keep a node out, or put it out; a validator leaves the chain's set with the same command
    #[command(
        after_help = "Examples:\n  tana mesh deny val_3b6a27bc\n  tana mesh deny val_3b6a27bc --no-chain     the registry alone"
    )]
    Deny(DecideArguments),
    /// Show one node, or how many nodes there are of each status
    #[command(after_help = "Examples:\n  tana mesh status\n  tana mesh status val_3b6a27bc")]
    Status {
        /// The node's id
        id: Option<String>,
        /// Which mesh.
        #[command(flatten)]
        mesh: MeshArguments,
    },
    /// List nodes
    #[command(after_help = "Examples:\n  tana mesh list\n  tana mesh list --status pending\n  tana mesh list --all")]
    List {
        /// Only those of this status
        #[arg(long, value_enum, default_value_t = StatusChoice::Active)]
        status: StatusChoice,
        /// Those of every status
        #[arg(long, conflicts_with = "status")]
        all: bool,
        /// Which mesh.
        #[command(flatten)]
        mesh: MeshArguments,
    },
}

/// A status of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusChoice {
    /// Nobody has decided yet
    Pending,
    /// Approved and heard of
    Active,
    /// Refused
    Denied,
    /// Approved and silent
    Offline,
}

/// What a node does in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleChoice {
    /// It votes on blocks once it is approved
    Validator,
    /// It follows
    Observer,
}

/// What `tana mesh register` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    tana mesh register --host validator-6.example.net\n  \
    tana mesh register --dev                    make a validator beside those of `tana start`, start it, register it\n  \
    tana mesh approve val_3b6a27bc              then let it in")]
pub struct RegisterArguments {
    /// What the node does
    #[arg(long, value_enum, default_value_t = RoleChoice::Validator)]
    pub role: RoleChoice,
    /// The node's id [default: val_ and the first 8 digits of its key]
    #[arg(long, value_name = "ID")]
    pub node_id: Option<String>,
    /// Where the others reach it [default: this machine's host name; 127.0.0.1 with --dev]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Its IP address, beside the host name
    #[arg(long, value_name = "IP")]
    pub ip: Option<IpAddr>,
    /// Make a new validator in the network of `tana start` on this machine, and start it
    #[arg(long, conflicts_with_all = ["role", "node_id", "host", "ip"])]
    pub dev: bool,
    /// With --dev: its number, from which its ports follow (9000+10N, 8080+N) [default: the next free one]
    #[arg(long, value_name = "N", requires = "dev")]
    pub port_offset: Option<u16>,
    /// Which mesh.
    #[command(flatten)]
    pub mesh: MeshArguments,
}

/// What `tana mesh approve` and `deny` take.
#[derive(Debug, Clone, Args)]
pub struct DecideArguments {
    /// The node's id
    pub id: String,
    /// The sovereign's key file, or a name from `tana keys list`
    #[arg(long, value_name = "FILE|NAME", default_value = "sovereign")]
    pub key: String,
    /// The node's public key as its operator names it; the node must have this one
    #[arg(long, value_name = "KEY")]
    pub public_key: Option<PublicKey>,
    /// The key of the node's validator as its operator names it, where that is not the node's own
    #[arg(long, value_name = "KEY", conflicts_with = "no_chain")]
    pub validator_key: Option<PublicKey>,
    /// Take the node's key as the mesh names it, without a question
    #[arg(long)]
    pub yes: bool,
    /// Decide in the registry alone and leave the chain's validator set as it is
    #[arg(long)]
    pub no_chain: bool,
    /// Which mesh.
    #[command(flatten)]
    pub mesh: MeshArguments,
    /// Which node takes the transaction.
    #[command(flatten)]
    pub node: NodeArguments,
}
