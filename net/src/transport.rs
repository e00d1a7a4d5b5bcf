//! quinn's settings for both ends: windows, timeouts, sockets.
//!
//! Measured (see the benches): windows of 256 KiB a stream and 512 KiB a connection cost no speed and a tenth of the
//! memory of large ones; segmentation offload both ways doubles the rate; the default congestion control and path MTU
//! discovery do best. Datagrams are off: they would be lost where streams are held back.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::limits::Limits;

/// Bytes asked of the kernel for a socket's buffers; it grants what its own limits allow.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Bytes that a client may have sent and not seen acknowledged.
const CLIENT_SEND_WINDOW_BYTES: u64 = 1024 * 1024;

/// Receive windows of a client in bytes: answers and responses.
const CLIENT_WINDOW_BYTES: u32 = 1024 * 1024;

/// How often a client that has nothing to say shows that it is there: a third of the server's idle timeout.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Silence after which a client gives up on its server.
const CLIENT_IDLE_TIMEOUT_MS: u32 = 30_000;

/// The server's transport for connections at window step `step`.
pub(crate) fn server_transport(limits: &Limits, step: usize) -> Arc<TransportConfig> {
    let window = limits.window_bytes(step);
    let idle_ms = u32::try_from(limits.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(limits.uni_streams_max))
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.bidi_streams_max))
        .receive_window(VarInt::from_u32(window))
        .stream_receive_window(VarInt::from_u32(limits.stream_window_bytes.min(window)))
        .send_window(limits.send_window_bytes)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
        .datagram_receive_buffer_size(None);
    Arc::new(transport)
}

/// A client's transport. It opens streams and accepts none.
pub(crate) fn client_transport() -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .receive_window(VarInt::from_u32(CLIENT_WINDOW_BYTES))
        .stream_receive_window(VarInt::from_u32(CLIENT_WINDOW_BYTES))
        .send_window(CLIENT_SEND_WINDOW_BYTES)
        .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(CLIENT_IDLE_TIMEOUT_MS))))
        .datagram_receive_buffer_size(None);
    Arc::new(transport)
}

/// Binds `count` UDP sockets to `address`; the kernel spreads connections over them by their addresses and ports.
///
/// # Errors
/// The error of the system; `AddrInUse` also when another process listens with port sharing on.
pub(crate) fn bind_sockets(address: SocketAddr, count: usize) -> io::Result<Vec<UdpSocket>> {
    // A plain socket first: where somebody shares the port already, only this one is refused.
    let first = bind_socket(address, false)?;
    let address = first.local_addr()?;
    if count <= 1 {
        return Ok(vec![first]);
    }
    drop(first);
    (0..count).map(|_| bind_socket(address, true)).collect()
}

/// Binds one UDP socket, with large buffers where the kernel allows them.
pub(crate) fn bind_socket(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // Smaller buffers only mean more retransmission under bursts.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}
