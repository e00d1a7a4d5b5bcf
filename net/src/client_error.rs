//! What can go wrong for a client, with the cause and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use quinn::{ConnectionError, ReadError, WriteError};
use thiserror::Error;

use crate::answer::AnswerError;
use crate::frame::FrameError;
use crate::identity::IdentityError;
use crate::limits::CloseCode;

/// TLS alert "no application protocol", as a QUIC error code (RFC 9001, section 4.8).
const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

/// QUIC error code with which a server turns a connection away (RFC 9000, section 20.1).
const CONNECTION_REFUSED: u64 = 2;

/// An Ed25519 public key, printed as the network prints it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PrintedKey(pub [u8; 32]);

impl fmt::Display for PrintedKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ed25519_")?;
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for PrintedKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Why a client's call failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The machine answers, but no process has the port.
    #[error("nothing listens on UDP {0}; start the validator, or check the host and the port for transactions")]
    NothingListens(SocketAddr),
    /// Nothing came back.
    #[error(
        "no answer from UDP {address} within {seconds} s; check the address, the firewall and that the validator runs"
    )]
    NoAnswer {
        /// The address that was tried.
        address: SocketAddr,
        /// How long, in seconds.
        seconds: u64,
    },
    /// Somebody else answered.
    #[error(
        "{address} holds the key {found}, not {expected}; pin the validator's real key, or go without a pin (--insecure) for a test"
    )]
    WrongKey {
        /// The address that was tried.
        address: SocketAddr,
        /// The pinned key.
        expected: PrintedKey,
        /// The key that the server showed.
        found: PrintedKey,
    },
    /// A QUIC server of another protocol answered.
    #[error("{0} speaks QUIC but not tana-tx/1; check the port (transactions are on 9002 by default) and the version")]
    WrongProtocol(SocketAddr),
    /// The server does not take the connection.
    #[error(
        "{0} refused the connection: it is full or shutting down, this address has too many connections, or it is banned \
         for bad signatures; close some connections or try again in a minute"
    )]
    Refused(SocketAddr),
    /// The server closed the connection and said why.
    #[error("{address} closed the connection with code {} ({}): {reason}; {}", *code as u32, code.meaning(), code.remedy())]
    Closed {
        /// The server.
        address: SocketAddr,
        /// The code.
        code: CloseCode,
        /// What the server wrote, made printable.
        reason: String,
    },
    /// The server closed the connection with a code that this client does not know.
    #[error(
        "{address} closed the connection with the unknown code {code}: {reason}; the server may be newer, update the client"
    )]
    ClosedUnknown {
        /// The server.
        address: SocketAddr,
        /// The code.
        code: u64,
        /// What the server wrote, made printable.
        reason: String,
    },
    /// The server fell silent.
    #[error("{0} has not been heard for 30 s; check the network and that the validator runs, then connect again")]
    Lost(SocketAddr),
    /// The server restarted.
    #[error("{0} does not know this connection any more, it has probably restarted; connect again")]
    Restarted(SocketAddr),
    /// This client closed the connection itself.
    #[error("the connection to {0} was closed here; connect again")]
    ClosedHere(SocketAddr),
    /// QUIC or TLS failed otherwise.
    #[error("the connection to {address} failed: {detail}; check that both sides run the same version")]
    Transport {
        /// The server.
        address: SocketAddr,
        /// What the transport said.
        detail: String,
    },
    /// The server will not read or write this stream any more, the connection goes on.
    #[error("{address} ended the stream (code {code}); open a new one")]
    StreamEnded {
        /// The server.
        address: SocketAddr,
        /// The stream's error code.
        code: u64,
    },
    /// The stream ended where more was due.
    #[error("{0} ended the stream within a frame; it may be shutting down, connect again")]
    CutOff(SocketAddr),
    /// No local socket could be opened.
    #[error("cannot open a UDP socket on {address}: {source}; check that the address belongs to this machine")]
    Bind {
        /// The local address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The frame to send, or the frame that came, has a length that is not allowed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// An answer cannot be read.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// TLS could not be set up.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl ClientError {
    /// Whether connecting again, later, may help without anything else being changed.
    pub fn is_temporary(&self) -> bool {
        match self {
            ClientError::Closed { code, .. } => matches!(
                code,
                CloseCode::Normal | CloseCode::TooManyConnections | CloseCode::ShuttingDown | CloseCode::SlowFrame
            ),
            ClientError::NothingListens(_)
            | ClientError::NoAnswer { .. }
            | ClientError::Refused(_)
            | ClientError::Lost(_)
            | ClientError::Restarted(_)
            | ClientError::StreamEnded { .. }
            | ClientError::CutOff(_) => true,
            _ => false,
        }
    }

    pub(crate) fn connection(address: SocketAddr, error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                let reason = printable(&close.reason);
                match CloseCode::from_number(close.error_code.into_inner()) {
                    Some(code) => ClientError::Closed { address, code, reason },
                    None => ClientError::ClosedUnknown { address, code: close.error_code.into_inner(), reason },
                }
            }
            ConnectionError::ConnectionClosed(close) => match u64::from(close.error_code) {
                CONNECTION_REFUSED => ClientError::Refused(address),
                NO_APPLICATION_PROTOCOL => ClientError::WrongProtocol(address),
                _ => ClientError::Transport { address, detail: printable(error.to_string().as_bytes()) },
            },
            ConnectionError::TransportError(transport) if u64::from(transport.code) == NO_APPLICATION_PROTOCOL => {
                ClientError::WrongProtocol(address)
            }
            ConnectionError::VersionMismatch => ClientError::WrongProtocol(address),
            ConnectionError::Reset => ClientError::Restarted(address),
            ConnectionError::TimedOut => ClientError::Lost(address),
            ConnectionError::LocallyClosed => ClientError::ClosedHere(address),
            other => ClientError::Transport { address, detail: other.to_string() },
        }
    }

    pub(crate) fn write(address: SocketAddr, error: &WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => ClientError::StreamEnded { address, code: code.into_inner() },
            WriteError::ConnectionLost(error) => Self::connection(address, error),
            other => ClientError::Transport { address, detail: other.to_string() },
        }
    }

    pub(crate) fn read(address: SocketAddr, error: &ReadError) -> Self {
        match error {
            ReadError::Reset(code) => ClientError::StreamEnded { address, code: code.into_inner() },
            ReadError::ConnectionLost(error) => Self::connection(address, error),
            other => ClientError::Transport { address, detail: other.to_string() },
        }
    }
}

/// Text from a peer, cut to 200 characters and without anything that could control a terminal.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
