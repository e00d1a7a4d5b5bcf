//! QUIC transaction server and client.
//!
//! This crate moves frames of transactions over QUIC and answers back, and messages between validators. It knows bytes
//! and frames, identities and limits; what a transaction is, only the [`Intake`] behind it knows.
//!
//! - [`identity`]: an Ed25519 key as a TLS certificate, and the client's check that pins it.
//! - [`frame`]: length-prefixed frames, cut out of a stream in place.
//! - [`answer`]: answer events of 32 bytes, merged into runs; [`hub`]: their way from any thread to their stream.
//! - [`limits`]: every bound with its unit and arithmetic, and the codes with which a connection is closed.
//! - [`score`] and [`sources`]: what one IP address has done, and what it may still do.
//! - [`server`] runs endpoints on threads of their own; [`client`] is the other end.
//! - [`link`]: authenticated connections between validators, with channels by priority.
//!
//! # Invariants
//! - Nothing read from a peer is used as a size before it is checked.
//! - A peer that is ahead of the intake is held back by QUIC's flow control; nothing between grows.
//! - All state is bounded: by [`limits::Limits`] on the server, by named constants on the client.

pub mod answer;
pub mod client;
pub mod client_error;
mod connection;
pub mod frame;
pub mod hub;
pub mod identity;
pub mod intake;
pub mod limits;
pub mod link;
pub mod metrics;
pub mod score;
pub mod server;
pub mod sources;
mod stream;
mod transport;

pub use answer::{AnswerEvent, AnswerKind, AnswerQueue};
pub use client::{AnswerReceiver, ClientSocket, FloodStream, QueryStream, SubmitSender, TxClient};
pub use client_error::ClientError;
pub use hub::AnswerHub;
pub use identity::{Identity, ServerPin};
pub use intake::{Intake, Offer, QueryFuture, Source, StreamId};
pub use limits::{CloseCode, Limits};
pub use metrics::MetricsSnapshot;
pub use score::SourceScore;
pub use server::{ServerConfig, ServerError, TxServer};
