//! What one node chooses for itself, read in one place from `node.toml`. What all validators must agree on is the genesis, elsewhere.
//!
//! Every key has a default that works; the file that `tana init` writes names each with its unit and range. A key that nobody knows is
//! an error, so that a misspelt one is noticed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tana_order::GATHER_NS_PER_TRANSACTION;
use thiserror::Error;

/// Why a configuration was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {path}: {source}; a new home from `tana init --home FOLDER` has one")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not valid.
    #[error("the configuration {path} is not valid: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A value is out of range.
    #[error("`{key}` in the configuration is {value}, but must be {range}")]
    Range {
        /// The key.
        key: &'static str,
        /// The value given.
        value: u64,
        /// What is allowed.
        range: &'static str,
    },
}

/// A node's own choices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Folder of the logs and the checkpoint. Relative paths are taken from the folder of the file.
    pub data: PathBuf,
    /// The genesis file.
    pub genesis: PathBuf,
    /// The validator's key file.
    pub key: PathBuf,
    /// UDP address for transactions: 9002 + 10 x i for validator i.
    pub listen: SocketAddr,
    /// TCP address for health, peers and metrics over HTTP: 9001 + 10 x i for validator i; none serves none.
    pub http: Option<SocketAddr>,
    /// How transactions come in.
    pub ingest: IngestConfig,
    /// How signatures are checked.
    pub verify: VerifyConfig,
    /// Where threads run and how they wait.
    pub threads: ThreadsConfig,
    /// When blocks are made.
    pub order: OrderConfig,
    /// How the logs are written.
    pub log: LogConfig,
    /// When checkpoints are written.
    pub checkpoint: CheckpointConfig,
    /// How validators agree.
    pub consensus: ConsensusConfig,
    /// For tests: the most transactions that are executed per second; 0 is no limit.
    pub execution_limit_per_s: u64,
}

/// How transactions come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IngestConfig {
    /// Network threads, 1 to 64.
    pub threads: usize,
    /// Transactions of a full batch, 1 to 4,096.
    pub batch_transactions: usize,
    /// KiB of a full batch, 4 to 1,024.
    pub batch_kib: usize,
    /// Milliseconds after which a batch that is not full goes on, 1 to 1,000.
    pub flush_ms: u64,
    /// Batches in existence, 16 to 65,536: the one bound on what is in flight inside the node.
    pub pool_batches: usize,
    /// Connections in all, 1 to 100,000.
    pub connections_max: usize,
    /// Connections of one address (IPv6: of one /64), 1 to 100,000.
    pub connections_per_ip_max: usize,
    /// User creations admitted per second, 1 to 1,000,000.
    pub creations_per_s: u64,
}

/// How signatures are checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerifyConfig {
    /// Threads; 0 is one per core.
    pub threads: usize,
    /// Which path.
    pub backend: VerifyBackend,
}

/// Which signature path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyBackend {
    /// The fastest that the processor has.
    Auto,
    /// Eight signatures side by side in AVX-512 IFMA lanes.
    Ifma,
    /// The batch equation on curve25519-dalek.
    Portable,
    /// One at a time.
    Reference,
}

/// Where threads run and how they wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThreadsConfig {
    /// Core numbers for the stages; empty lays them out by itself.
    pub cores: Vec<usize>,
    /// Whether threads are tied to their cores.
    pub pin: bool,
    /// Whether idle threads spin instead of sleeping: lowest latency, a whole core each.
    pub spin: bool,
}

/// When blocks are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OrderConfig {
    /// The shortest time between blocks that hold transactions, milliseconds, 1 to 10,000.
    pub block_interval_ms: u64,
    /// Transactions at which a block is made without waiting, 1 to 100,000.
    pub block_transactions: usize,
    /// How long a leader gathers at least for each transaction of the largest recent block, or of all that are not executed yet,
    /// nanoseconds, 0 to 1,000,000; never for more than a full block, nor longer than a quarter of the leader timeout.
    pub gather_ns_per_transaction: u64,
    /// The time between empty blocks of an idle chain, milliseconds, 10 to 3,600,000.
    pub empty_interval_ms: u64,
}

/// Which writer of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogWriter {
    /// Both are tried at first start and the faster is kept.
    Auto,
    /// Plain writes.
    Plain,
    /// tokio-uring.
    Uring,
}

/// How the logs are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Which writer.
    pub writer: LogWriter,
    /// MiB of a segment, 1 to 2,047.
    pub segment_mib: u64,
    /// Whether look-up tables by transaction and by account are built for sealed segments.
    pub index: bool,
    /// Heights that are kept below the checkpoint, 100 and more; 0 keeps everything, which makes the node an archive.
    pub keep_heights: u64,
}

/// When checkpoints are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Seconds between checkpoints, 1 to 86,400.
    pub interval_s: u64,
}

/// How validators agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsensusConfig {
    /// Whether blocks are agreed on; without it a lone validator orders by itself, and its blocks bear no certificates.
    pub enabled: bool,
    /// UDP address for links between validators: 9000 + 10 x i for validator i.
    pub listen: SocketAddr,
    /// How long a leader may take to propose, milliseconds, 50 to 60,000.
    pub leader_timeout_ms: u64,
    /// Batches of each other validator that are kept before a block lists them, 8 to 4,096.
    pub lane_quota_batches: usize,
    /// Blocks that agreement keeps with their certificates for validators that were away, 0 (all) or 1,000 and more.
    pub keep_heights: u64,
    /// For test networks: a file that says whom the links do not reach and how late they are (see [`crate::trouble`]); none, as ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<PathBuf>,
}

impl Default for ConsensusConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 9000)),
            leader_timeout_ms: 1_000,
            lane_quota_batches: 256,
            keep_heights: 100_000,
            trouble: None,
        }
    }
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            data: "data".into(),
            genesis: "genesis.toml".into(),
            key: "validator.json".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 9002)),
            http: None,
            ingest: IngestConfig::default(),
            verify: VerifyConfig { threads: 0, backend: VerifyBackend::Auto },
            threads: ThreadsConfig { cores: Vec::new(), pin: true, spin: false },
            order: OrderConfig::default(),
            log: LogConfig::default(),
            checkpoint: CheckpointConfig::default(),
            consensus: ConsensusConfig::default(),
            execution_limit_per_s: 0,
        }
    }
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            batch_transactions: 1_024,
            batch_kib: 256,
            flush_ms: 10,
            pool_batches: 128,
            connections_max: 1_024,
            connections_per_ip_max: 256,
            creations_per_s: 10_000,
        }
    }
}

impl Default for VerifyConfig {
    fn default() -> Self {
        Self { threads: 0, backend: VerifyBackend::Auto }
    }
}

impl Default for ThreadsConfig {
    fn default() -> Self {
        Self { cores: Vec::new(), pin: true, spin: false }
    }
}

impl Default for OrderConfig {
    fn default() -> Self {
        Self {
            block_interval_ms: 10,
            block_transactions: 10_000,
            gather_ns_per_transaction: GATHER_NS_PER_TRANSACTION,
            empty_interval_ms: 500,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { writer: LogWriter::Auto, segment_mib: 256, index: true, keep_heights: 0 }
    }
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { interval_s: 10 }
    }
}

impl NodeConfig {
    /// Reads and checks a file; relative paths in it are taken from its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|source| ConfigError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        config.resolve(path.parent().unwrap_or(Path::new(".")));
        config.check()?;
        Ok(config)
    }

    /// Makes relative paths start at `folder`.
    pub fn resolve(&mut self, folder: &Path) {
        for path in [&mut self.data, &mut self.genesis, &mut self.key] {
            *path = folder.join(&*path);
        }
        if let Some(path) = &mut self.consensus.trouble {
            *path = folder.join(&*path);
        }
    }

    /// Sets small segments, and blocks and batches that surely fit them: for tests and small disks.
    pub fn use_segments_of(&mut self, mib: u64) {
        self.log.segment_mib = mib;
        // A transaction adds about 5 KB to a commit record at the very most, and a record fills half a segment at the most.
        let transactions = ((mib << 19) / 8_192).max(1) as usize;
        self.ingest.batch_transactions = self.ingest.batch_transactions.min(transactions);
        self.order.block_transactions = self.order.block_transactions.min(transactions);
        self.ingest.batch_kib = self.ingest.batch_kib.min((mib << 7) as usize).max(4);
    }

    /// Checks every range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |key, value: u64, low: u64, high: u64, range| {
            if (low..=high).contains(&value) { Ok(()) } else { Err(ConfigError::Range { key, value, range }) }
        };
        let ingest = &self.ingest;
        range("ingest.threads", ingest.threads as u64, 1, 64, "1 to 64")?;
        range("ingest.batch_transactions", ingest.batch_transactions as u64, 1, 4_096, "1 to 4,096")?;
        range("ingest.batch_kib", ingest.batch_kib as u64, 4, 1_024, "4 to 1,024")?;
        range("ingest.flush_ms", ingest.flush_ms, 1, 1_000, "1 to 1,000")?;
        range("ingest.pool_batches", ingest.pool_batches as u64, 16, 65_536, "16 to 65,536")?;
        if ingest.pool_batches < 4 * ingest.threads {
            let (key, value) = ("ingest.pool_batches", ingest.pool_batches as u64);
            return Err(ConfigError::Range { key, value, range: "at least four for each of ingest.threads" });
        }
        range("ingest.connections_max", ingest.connections_max as u64, 1, 100_000, "1 to 100,000")?;
        range("ingest.connections_per_ip_max", ingest.connections_per_ip_max as u64, 1, 100_000, "1 to 100,000")?;
        range("ingest.creations_per_s", ingest.creations_per_s, 1, 1_000_000, "1 to 1,000,000")?;
        range("verify.threads", self.verify.threads as u64, 0, 256, "0 to 256")?;
        range("order.block_interval_ms", self.order.block_interval_ms, 1, 10_000, "1 to 10,000")?;
        range("order.block_transactions", self.order.block_transactions as u64, 1, 100_000, "1 to 100,000")?;
        range("order.gather_ns_per_transaction", self.order.gather_ns_per_transaction, 0, 1_000_000, "0 to 1,000,000")?;
        range("order.empty_interval_ms", self.order.empty_interval_ms, 10, 3_600_000, "10 to 3,600,000")?;
        range("log.segment_mib", self.log.segment_mib, 1, 2_047, "1 to 2,047")?;
        if self.log.keep_heights != 0 {
            range(
                "log.keep_heights",
                self.log.keep_heights,
                100,
                u64::MAX,
                "0, which keeps everything, or at least 100",
            )?;
        }
        let consensus = &self.consensus;
        range("consensus.leader_timeout_ms", consensus.leader_timeout_ms, 50, 60_000, "50 to 60,000")?;
        range("consensus.lane_quota_batches", consensus.lane_quota_batches as u64, 8, 4_096, "8 to 4,096")?;
        if consensus.enabled && 2 * self.order.empty_interval_ms > consensus.leader_timeout_ms {
            let (key, value) = ("order.empty_interval_ms", self.order.empty_interval_ms);
            let range = "at most half of consensus.leader_timeout_ms, or an idle chain passes over its leaders";
            return Err(ConfigError::Range { key, value, range });
        }
        range("checkpoint.interval_s", self.checkpoint.interval_s, 1, 86_400, "1 to 86,400")
    }
}
