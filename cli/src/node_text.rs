//! The node's configuration that `tana init` and `tana testnet` write: every key at its default, with what it does, its unit and its range.

use std::net::SocketAddr;

use tana_engine::config::ConsensusConfig;

/// What differs from one node to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeChoices {
    /// The folder of the logs and the checkpoint.
    pub data: String,
    /// UDP address for transactions and queries.
    pub listen: SocketAddr,
    /// TCP address for HTTP; none serves none.
    pub http: Option<SocketAddr>,
    /// Whether blocks are agreed on.
    pub consensus: bool,
    /// UDP address for links between validators.
    pub links: SocketAddr,
}

impl NodeChoices {
    /// A node that listens on `listen`, everything else at its default.
    pub fn listening(listen: SocketAddr) -> Self {
        let ConsensusConfig { enabled: consensus, listen: links, .. } = ConsensusConfig::default();
        Self { data: "data".to_owned(), listen, http: None, consensus, links }
    }
}

/// The commented text for a node.
pub fn node_text(choices: &NodeChoices) -> String {
    let http = match choices.http {
        Some(address) => format!("http = \"{address}\"\n"),
        None => "# http = \"127.0.0.1:9001\"\n".to_owned(),
    };
    let data = toml::Value::String(choices.data.clone());
    let NodeChoices { listen, consensus, links, .. } = choices;
    format!(
        "{HEAD}data = {data}\n{FILES}{LISTEN}listen = \"{listen}\"\n{HTTP}{http}{TAIL}{CONSENSUS}enabled = {consensus}\n\
         {LINKS}listen = \"{links}\"\n{CONSENSUS_TAIL}"
    )
}

const HEAD: &str = "\
# What this node chooses for itself. What all validators must agree on is in genesis.toml. Every key may be left out; unless said
# otherwise the values below are the defaults. A relative path is taken from the folder of this file.

# The folder of the logs and the checkpoint.
";

const FILES: &str = "\
# The genesis file.
genesis = \"genesis.toml\"
# The validator's key file.
key = \"validator.json\"
";

const LISTEN: &str = "\
# UDP address for transactions and queries: 9002 + 10 x i for validator i. 0.0.0.0:9002 listens on every IPv4 address.
";

const HTTP: &str = "\
# TCP address for HTTP: health, peers, metrics, telemetry and more (docs/node-http.md); 9001 + 10 x i for validator i; without it nothing is
# served. Everybody who reaches it may ask, so on a host of others leave it at 127.0.0.1.
";

const TAIL: &str = "\
# For tests: the most transactions that are executed per second; 0 is no limit.
execution_limit_per_s = 0

# How transactions come in.
[ingest]
# Network threads, 1 to 64.
threads = 1
# Transactions of a full batch, 1 to 4,096.
batch_transactions = 1024
# KiB of a full batch, 4 to 1,024.
batch_kib = 256
# Milliseconds after which a batch that is not full goes on, 1 to 1,000.
flush_ms = 10
# Batches in existence, 16 to 65,536: the one bound on what is in flight inside the node.
pool_batches = 128
# Connections in all, 1 to 100,000.
connections_max = 1024
# Connections of one address (IPv6: of one /64), 1 to 100,000.
connections_per_ip_max = 256
# User creations admitted per second, 1 to 1,000,000.
creations_per_s = 10000

# How signatures are checked.
[verify]
# Threads, up to 256; 0 is one per core.
threads = 0
# auto, ifma (AVX-512 IFMA), portable (a batch equation on any processor) or reference (one at a time).
backend = \"auto\"

# Where threads run and how they wait.
[threads]
# Core numbers for the stages, such as [0, 1]; empty lays them out by itself.
cores = []
# Whether threads are tied to their cores.
pin = true
# Whether idle threads spin instead of sleeping: the lowest latency, a whole core each.
spin = false

# When blocks are made.
[order]
# The shortest time between blocks that hold transactions, milliseconds, 1 to 10,000.
block_interval_ms = 10
# How long a leader gathers at least for each transaction of the largest recent block, or of all that are not executed yet,
# nanoseconds, 0 to 1,000,000: above 250,000 transactions a second blocks become larger instead of more. Never for more than
# a full block, nor longer than a quarter of the leader timeout; without agreement it has no meaning.
gather_ns_per_transaction = 4000
# Transactions at which a block is made without waiting, 1 to 100,000.
block_transactions = 10000
# The time between empty blocks of an idle chain, milliseconds, 10 to 3,600,000; with agreement at most half of
# consensus.leader_timeout_ms.
empty_interval_ms = 500

# How the logs are written.
[log]
# auto (both are tried at first start and the faster is kept), plain or uring.
writer = \"auto\"
# MiB of a segment, 1 to 2,047; half of one must hold the record of the largest block, which takes 195 with the genesis' default rules.
segment_mib = 256
# Whether look-up tables by transaction and by account are built for sealed segments.
index = true
# Heights that are kept below the checkpoint, 100 and more; 0 keeps everything, which makes the node an archive.
keep_heights = 0

# When checkpoints are written.
[checkpoint]
# Seconds between checkpoints, 1 to 86,400. A restart replays the log from the last one.
interval_s = 10
";

const CONSENSUS: &str = "
# How validators agree.
[consensus]
# Whether blocks are agreed on with the other validators. false is for a lone validator that orders by itself; its blocks bear no
# certificates.
";

const LINKS: &str = "\
# UDP address for links between validators: 9000 + 10 x i for validator i. The others reach it at the address of the genesis.
";

const CONSENSUS_TAIL: &str = "\
# How long a leader may take to propose before the next one's turn, milliseconds, 50 to 60,000.
leader_timeout_ms = 1000
# Batches of each other validator that are kept before a block lists them, 8 to 4,096.
lane_quota_batches = 256
# Blocks that agreement keeps with their certificates for validators that were away, 0 (all) or 1,000 and more.
keep_heights = 100000
";

#[cfg(test)]
mod tests {
    use super::*;
    use tana_engine::config::NodeConfig;

    /// The keys of a table and of the tables in it, as `a.b`.
    fn keys(table: &toml::Table, prefix: &str, out: &mut Vec<String>) {
        for (name, value) in table {
            match value {
                toml::Value::Table(inner) => keys(inner, &format!("{prefix}{name}."), out),
                _ => out.push(format!("{prefix}{name}")),
            }
        }
    }

    #[test]
    fn the_file_names_every_key_at_its_default() {
        let listen = NodeConfig::default().listen;
        let text = node_text(&NodeChoices::listening(listen));
        assert_eq!(toml::from_str::<NodeConfig>(&text).unwrap(), NodeConfig::default());
        let (mut written, mut known) = (Vec::new(), Vec::new());
        // A key whose default is none stands there as a comment; here it must be there as a key.
        let http = Some(SocketAddr::from(([127, 0, 0, 1], 9001)));
        let full = node_text(&NodeChoices { http, ..NodeChoices::listening(listen) });
        assert!(text.contains("\n# http = \"127.0.0.1:9001\"\n") && full.contains("\nhttp = \"127.0.0.1:9001\"\n"));
        keys(&full.parse().unwrap(), "", &mut written);
        keys(&toml::Table::try_from(NodeConfig { http, ..NodeConfig::default() }).unwrap(), "", &mut known);
        written.sort();
        known.sort();
        assert_eq!(written, known);
    }
}
