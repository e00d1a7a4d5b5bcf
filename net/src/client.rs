//! The client of the transaction server.
//!
//! [`TxClient::connect`] makes one connection. On it:
//!
//! - [`TxClient::open_flood`]: a stream of transactions without answers, for load;
//! - [`TxClient::open_submit`]: transactions and what becomes of them;
//! - [`TxClient::query`]: one request, one response.
//!
//! Sending waits while the server holds the client back, so a client never buffers more than its send window (1 MiB).
//! All futures need the caller's tokio runtime with its time and network drivers on.

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, Endpoint, EndpointConfig, RecvStream, SendStream, TokioRuntime, VarInt};

use crate::answer::AnswerEvent;
use crate::client_error::{ClientError, PrintedKey};
use crate::frame::{self, FRAME_BYTES_MAX, FrameAssembler, HEADER_BYTES, RESPONSE_BYTES_MAX};
use crate::identity::{ALPN, PinnedVerifier, SERVER_NAME, ServerPin, client_tls};
use crate::limits::CloseCode;
use crate::transport;

/// How long connecting may take, all attempts together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(6);

/// Handshakes that are tried before the server counts as silent. The second makes up for a rare fault (1 in about
/// 4,000 on loopback): after a server asked for address validation, the first one's answer never leaves.
const CONNECT_ATTEMPTS: u32 = 2;

/// Chunks that one read of answers takes.
const CHUNKS: usize = 16;

/// One connection to a transaction server. Cheap to clone; it closes when the last clone and stream is dropped.
#[derive(Debug, Clone)]
pub struct TxClient {
    endpoint: Endpoint,
    connection: Connection,
    address: SocketAddr,
}

/// A client's UDP socket, for as many connections as one likes. Cheap to clone.
///
/// Its receive buffer takes some megabytes of address space; whoever opens many connections, or retries, keeps one
/// socket for all of them.
#[derive(Debug, Clone)]
pub struct ClientSocket {
    endpoint: Endpoint,
    local: SocketAddr,
}

impl ClientSocket {
    /// Opens a socket on `local`, on a free port.
    ///
    /// # Errors
    /// [`ClientError::Bind`] when the system refuses.
    pub fn open(local: IpAddr) -> Result<ClientSocket, ClientError> {
        let local = SocketAddr::new(local, 0);
        let endpoint = open_endpoint(local).map_err(|source| ClientError::Bind { address: local, source })?;
        Ok(ClientSocket { endpoint, local })
    }

    /// Connects to the server at `address` and checks its key against `pin`.
    ///
    /// # Errors
    /// [`ClientError`], which says what is wrong and what to do, after at most [`CONNECT_TIMEOUT`].
    pub async fn connect(&self, address: SocketAddr, pin: ServerPin) -> Result<TxClient, ClientError> {
        self.connect_with_protocol(address, pin, ALPN).await
    }

    /// [`Self::connect`] for another ALPN than this network's, which a server refuses.
    #[doc(hidden)]
    pub async fn connect_with_protocol(
        &self,
        address: SocketAddr,
        pin: ServerPin,
        alpn: &[u8],
    ) -> Result<TxClient, ClientError> {
        let (tls, verifier) = client_tls(pin, alpn)?;
        let mut config = quinn::ClientConfig::new(tls);
        config.transport_config(transport::client_transport());
        let handshake = async {
            for _ in 0..CONNECT_ATTEMPTS {
                let connecting = self
                    .endpoint
                    .connect_with(config.clone(), address, SERVER_NAME)
                    .map_err(|error| ClientError::Transport { address, detail: error.to_string() })?;
                if let Ok(done) = tokio::time::timeout(CONNECT_TIMEOUT / CONNECT_ATTEMPTS, connecting).await {
                    return done.map_err(|error| explain(address, pin, &verifier, &error));
                }
            }
            Err(ClientError::NoAnswer { address, seconds: CONNECT_TIMEOUT.as_secs() })
        };
        let connection = tokio::select! {
            connected = handshake => connected?,
            () = port_is_closed(self.local, address) => return Err(ClientError::NothingListens(address)),
        };
        Ok(TxClient { endpoint: self.endpoint.clone(), connection, address })
    }
}

impl TxClient {
    /// Connects to the server at `address` from a socket of its own and checks its key against `pin`; `bind` chooses
    /// the local address.
    ///
    /// # Errors
    /// [`ClientError`], which says what is wrong and what to do, after at most [`CONNECT_TIMEOUT`].
    pub async fn connect(address: SocketAddr, pin: ServerPin, bind: Option<IpAddr>) -> Result<TxClient, ClientError> {
        ClientSocket::open(bind.unwrap_or_else(|| unspecified(address)))?.connect(address, pin).await
    }

    /// The server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens a stream for transactions without answers. Waits while the server allows no more streams.
    ///
    /// # Errors
    /// [`ClientError`] when the connection is gone.
    pub async fn open_flood(&self) -> Result<FloodStream, ClientError> {
        let send = self.connection.open_uni().await;
        let send = send.map_err(|error| ClientError::connection(self.address, &error))?;
        Ok(FloodStream { sender: FrameSender { send, address: self.address } })
    }

    /// Opens a stream for transactions with answers. Waits while the server allows no more streams.
    ///
    /// # Errors
    /// [`ClientError`] when the connection is gone.
    pub async fn open_submit(&self) -> Result<(SubmitSender, AnswerReceiver), ClientError> {
        let (sender, receive) = self.open_bidirectional(frame::STREAM_TYPE_SUBMIT).await?;
        let answers =
            AnswerReceiver { receive, address: self.address, assembler: FrameAssembler::new(FRAME_BYTES_MAX) };
        Ok((SubmitSender { sender }, answers))
    }

    /// Opens a stream for queries, one after the other.
    ///
    /// # Errors
    /// [`ClientError`] when the connection is gone.
    pub async fn open_query(&self) -> Result<QueryStream, ClientError> {
        let (sender, receive) = self.open_bidirectional(frame::STREAM_TYPE_QUERY).await?;
        Ok(QueryStream { sender, receive })
    }

    /// Asks one query on a stream of its own; the answer has at most 4 MiB.
    ///
    /// # Errors
    /// [`ClientError`] when the request is too large or the answer does not come.
    pub async fn query(&self, request: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.open_query().await?.ask(request).await
    }

    /// Waits until the connection ends and says why.
    pub async fn closed(&self) -> ClientError {
        ClientError::connection(self.address, &self.connection.closed().await)
    }

    /// Why the connection ended, if it did.
    pub fn close_reason(&self) -> Option<ClientError> {
        self.connection.close_reason().map(|error| ClientError::connection(self.address, &error))
    }

    /// Closes the connection and waits until the server was told (with a shared socket: until all connections of the
    /// socket are closed). What was sent and not acknowledged may be lost: finish the streams first.
    pub async fn close(self) {
        self.connection.close(VarInt::from_u32(CloseCode::Normal as u32), b"");
        self.endpoint.wait_idle().await;
    }

    async fn open_bidirectional(&self, kind: u8) -> Result<(FrameSender, RecvStream), ClientError> {
        let streams = self.connection.open_bi().await;
        let (send, receive) = streams.map_err(|error| ClientError::connection(self.address, &error))?;
        let mut sender = FrameSender { send, address: self.address };
        sender.write(&mut [Bytes::copy_from_slice(&[kind])]).await?;
        Ok((sender, receive))
    }
}

/// The sending half of any stream.
#[derive(Debug)]
struct FrameSender {
    send: SendStream,
    address: SocketAddr,
}

impl FrameSender {
    async fn write(&mut self, chunks: &mut [Bytes]) -> Result<(), ClientError> {
        self.send.write_all_chunks(chunks).await.map_err(|error| ClientError::write(self.address, &error))
    }

    async fn send(&mut self, payload: Bytes) -> Result<(), ClientError> {
        let header: [u8; HEADER_BYTES] = frame::header(payload.len(), FRAME_BYTES_MAX)?;
        self.write(&mut [Bytes::copy_from_slice(&header), payload]).await
    }

    async fn finish(mut self) -> Result<(), ClientError> {
        if self.send.finish().is_ok() {
            match self.send.stopped().await {
                Ok(None) => {}
                Ok(Some(code)) => {
                    return Err(ClientError::StreamEnded { address: self.address, code: code.into_inner() });
                }
                Err(quinn::StoppedError::ConnectionLost(error)) => {
                    return Err(ClientError::connection(self.address, &error));
                }
                Err(other) => {
                    return Err(ClientError::Transport { address: self.address, detail: other.to_string() });
                }
            }
        }
        Ok(())
    }
}

/// A stream of transactions without answers.
#[derive(Debug)]
pub struct FloodStream {
    sender: FrameSender,
}

/// A stream of transactions with answers; sequences count from 0 in the order of sending.
#[derive(Debug)]
pub struct SubmitSender {
    sender: FrameSender,
}

macro_rules! frame_sending {
    ($stream:ident) => {
        impl $stream {
            /// Sends one frame with this payload (1 to 65,536 bytes of transactions back to back). Waits while the
            /// server holds the client back.
            ///
            /// # Errors
            /// [`ClientError`] when the length is not allowed or the connection is gone.
            pub async fn send(&mut self, payload: &[u8]) -> Result<(), ClientError> {
                self.sender.send(Bytes::copy_from_slice(payload)).await
            }

            /// [`Self::send`] without copying the payload.
            ///
            /// # Errors
            /// As [`Self::send`].
            pub async fn send_bytes(&mut self, payload: Bytes) -> Result<(), ClientError> {
                self.sender.send(payload).await
            }

            /// Sends bytes that are frames already ([`frame::encode`]), as many as there are, without copying them.
            /// The caller answers for their form: the server closes the connection at the first bad one.
            ///
            /// # Errors
            /// [`ClientError`] when the connection is gone.
            pub async fn send_frames(&mut self, frames: &mut [Bytes]) -> Result<(), ClientError> {
                self.sender.write(frames).await
            }

            /// Ends the stream and waits until the server has received all of it.
            ///
            /// # Errors
            /// [`ClientError`] when the connection was lost before.
            pub async fn finish(self) -> Result<(), ClientError> {
                self.sender.finish().await
            }

            /// Abandons the stream: what the server has not read yet is dropped.
            pub fn reset(mut self) {
                // An error means that the stream has ended already.
                let _ = self.sender.send.reset(VarInt::from_u32(CloseCode::Normal as u32));
            }
        }
    };
}

frame_sending!(FloodStream);
frame_sending!(SubmitSender);

/// The answers of a submit stream.
#[derive(Debug)]
pub struct AnswerReceiver {
    receive: RecvStream,
    address: SocketAddr,
    assembler: FrameAssembler,
}

impl AnswerReceiver {
    /// Waits for answers and appends them to `events`; returns how many came, 0 when no more will.
    ///
    /// # Errors
    /// [`ClientError`] when the connection is gone or the server breaks the protocol.
    pub async fn receive(&mut self, events: &mut Vec<AnswerEvent>) -> Result<usize, ClientError> {
        let before = events.len();
        while events.len() == before {
            let mut chunks = [const { Bytes::new() }; CHUNKS];
            let count = self.receive.read_chunks(&mut chunks).await;
            match count.map_err(|error| ClientError::read(self.address, &error))? {
                None if self.assembler.partial_bytes() > 0 => return Err(ClientError::CutOff(self.address)),
                None => break,
                Some(count) => chunks[..count].iter().try_for_each(|chunk| self.decode(chunk, events))?,
            }
        }
        Ok(events.len() - before)
    }

    fn decode(&mut self, mut rest: &[u8], events: &mut Vec<AnswerEvent>) -> Result<(), ClientError> {
        while !rest.is_empty() {
            let step = self.assembler.step(rest)?;
            rest = &rest[step.consumed..];
            if let Some(payload) = step.frame {
                AnswerEvent::decode_all(payload, events)?;
            }
        }
        Ok(())
    }
}

/// A stream of queries.
#[derive(Debug)]
pub struct QueryStream {
    sender: FrameSender,
    receive: RecvStream,
}

impl QueryStream {
    /// Sends `request` (1 to 65,536 bytes) and waits for the answer (at most 4 MiB).
    ///
    /// # Errors
    /// [`ClientError`] when the request is too large or the answer does not come; the stream is of no use then.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.sender.send(Bytes::copy_from_slice(request)).await?;
        let mut header = [0; HEADER_BYTES];
        self.read_exact(&mut header).await?;
        let length = u32::from_le_bytes(header);
        let response_length = match usize::try_from(length) {
            Ok(size) if size <= RESPONSE_BYTES_MAX => size,
            _ => return Err(frame::FrameError::TooLarge { length, length_max: RESPONSE_BYTES_MAX }.into()),
        };
        let mut response = vec![0; response_length];
        self.read_exact(&mut response).await?;
        Ok(response)
    }

    async fn read_exact(&mut self, out: &mut [u8]) -> Result<(), ClientError> {
        let address = self.sender.address;
        self.receive.read_exact(out).await.map_err(|error| match error {
            quinn::ReadExactError::FinishedEarly(_) => ClientError::CutOff(address),
            quinn::ReadExactError::ReadError(error) => ClientError::read(address, &error),
        })
    }
}

fn unspecified(address: SocketAddr) -> IpAddr {
    match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn open_endpoint(local: SocketAddr) -> io::Result<Endpoint> {
    let socket = transport::bind_socket(local, false)?;
    Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))
}

/// Says why a handshake failed; a wrong key is told apart by what the verifier saw.
fn explain(
    address: SocketAddr,
    pin: ServerPin,
    verifier: &PinnedVerifier,
    error: &quinn::ConnectionError,
) -> ClientError {
    match (pin, verifier.seen()) {
        (ServerPin::Key(expected), Some(found)) if expected != found => {
            ClientError::WrongKey { address, expected: PrintedKey(expected), found: PrintedKey(found) }
        }
        _ => ClientError::connection(address, error),
    }
}

/// Resolves when the machine at `address` says that the port is closed, otherwise never.
///
/// QUIC itself cannot tell: its socket is not connected, so the system does not pass it the ICMP message. A datagram
/// of one byte from a connected socket does; a QUIC server ignores it.
async fn port_is_closed(local: SocketAddr, address: SocketAddr) {
    let probe = async {
        let socket = tokio::net::UdpSocket::bind(local).await?;
        socket.connect(address).await?;
        socket.send(&[0]).await?;
        socket.recv(&mut [0; 1]).await
    };
    match probe.await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        _ => pending().await,
    }
}
