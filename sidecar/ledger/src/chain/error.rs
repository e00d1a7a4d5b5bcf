//! Why the reader has no answer. Every text names what was asked for and what to do.

use thiserror::Error;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChainError {
    /// The state is not there yet: no node has run here, its first checkpoint is missing, or the state is being loaded. Ask again.
    #[error("the ledger is not ready: {0}; ask again in a moment")]
    NotReady(String),
    /// What was read contradicts itself or the chain, so nothing is served any more until the data folder is right again.
    #[error("the ledger has stopped, because it would serve wrong data: {0}")]
    Stopped(String),
    /// There is no such thing at the committed height.
    #[error("{0}")]
    NotFound(String),
    /// It is below what this node keeps.
    #[error("{what} is not kept here: this node's logs begin with block {oldest}; ask a validator that is an archive")]
    Pruned {
        /// What was asked for.
        what: String,
        /// The first block that is kept.
        oldest: u64,
    },
    /// The question breaks a rule.
    #[error("{0}")]
    Invalid(String),
    /// The look-up was given up after its time; what it has read already is kept, so asking again goes on.
    #[error(
        "the look-up took too long, because the node has made no table of the newest blocks yet; ask again in a few seconds"
    )]
    TooLong,
    /// The look-up was given up after its time, in tables of older blocks. Where the next try finds them in memory, it comes further.
    #[error("the look-up took longer than it may, because the chain is long; ask again in a few seconds")]
    TimeOver,
    /// A file cannot be read. The follower notices by itself when that is for good.
    #[error("the node's files cannot be read: {0}")]
    Read(String),
}

impl ChainError {
    /// A short name for programs: `not_ready`, `stopped`, `not_found`, `pruned`, `invalid`, `too_long`, `time_over`, `read`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotReady(_) => "not_ready",
            Self::Stopped(_) => "stopped",
            Self::NotFound(_) => "not_found",
            Self::Pruned { .. } => "pruned",
            Self::Invalid(_) => "invalid",
            Self::TooLong => "too_long",
            Self::TimeOver => "time_over",
            Self::Read(_) => "read",
        }
    }

    /// What the store could not read.
    pub(crate) fn read(error: impl std::fmt::Display) -> Self {
        Self::Read(error.to_string())
    }
}
