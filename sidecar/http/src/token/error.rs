//! Why a token does not count, and the answer that says so.

use axum::http::StatusCode;
use thiserror::Error;

use super::NodeStatus;
use crate::error::ApiError;

/// Why a token does not count.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It is no token of this kind.
    #[error("the token cannot be read: {0}")]
    Malformed(&'static str),
    /// A key that nobody can sign with.
    #[error("the node's key is none that somebody can sign with")]
    Key,
    /// Another key signed it, or something in it was changed.
    #[error("the token was not signed by the node that it names")]
    BadSignature,
    /// Its life is nothing, or longer than 24 h.
    #[error("the token must last longer than nothing and 24 h at the most")]
    Lifetime,
    /// It does not count any more.
    #[error("the token expired {} s ago", .ago_ms / 1_000)]
    Expired {
        /// Since when, in ms.
        ago_ms: u64,
    },
    /// The issuer's clock is ahead of ours by more than is allowed.
    #[error("the token is dated {} s in the future, more than the 60 s that clocks may differ", .ahead_ms / 1_000)]
    FromTheFuture {
        /// By how much, in ms.
        ahead_ms: u64,
    },
    /// It was made for somebody else.
    #[error("the token is for `{found}`, not for `{expected}`")]
    WrongAudience {
        /// Who was shown it.
        expected: String,
        /// Whom it is for.
        found: String,
    },
    /// The mesh has no such node.
    #[error("the mesh does not know the node `{0}`")]
    UnknownNode(String),
    /// The mesh knows the node, but not as active.
    #[error("the node `{node}` is {}, not active", .status.name())]
    NotActive {
        /// Which.
        node: String,
        /// What it is instead.
        status: NodeStatus,
    },
}

impl TokenError {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "token_malformed",
            Self::Key => "token_key",
            Self::BadSignature => "token_signature",
            Self::Lifetime => "token_lifetime",
            Self::Expired { .. } => "token_expired",
            Self::FromTheFuture { .. } => "token_from_the_future",
            Self::WrongAudience { .. } => "token_audience",
            Self::UnknownNode(_) => "token_unknown_node",
            Self::NotActive { .. } => "token_node_not_active",
        }
    }

    /// 403 where it is proven who asks and that one may not; 401 where nothing is proven.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::WrongAudience { .. } | Self::NotActive { .. } => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        Self::new(error.status(), error.code(), error.to_string())
    }
}
