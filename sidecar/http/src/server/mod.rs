//! A server for a router: bound before anything else starts, with bounds on what connections cost, and with an end.
//!
//! 1. [`bind`] takes the address, so that a taken port is an error of the start that names the remedy.
//! 2. A connection takes a place, among all and among those of its address, and keeps it as long as its socket is open, also after it became a
//!    WebSocket; without a free one it is closed at once, and counted.
//! 3. The headers of a request have [`ServerConfig::headers_time`], the pause before them included. A peer that stops reading an ordinary answer is
//!    cut off after [`ServerConfig::stall_time`]; one that stops reading a WebSocket or an event stream is not, because feeds tell slow readers
//!    what they missed.
//! 4. [`Server::stop`] takes no new connections, lets requests finish, tells long-lived handlers through [`Stopping`], and ends what is left after
//!    [`ServerConfig::drain_time`].

mod addresses;
mod socket;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt;

use addresses::{Addresses, Place};
use socket::Socket;

/// The pause after an accept that failed, as it does while the process has no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The most bytes of a request's headers, and of an answer that waits to be written.
const BUFFER_BYTES: usize = 64 * 1_024;

/// What connections may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerConfig {
    /// Connections at once, WebSockets included; further ones are closed.
    pub connections_max: u32,
    /// Of these, from one address (of IPv6: from one /64), so that one alone cannot take all; further ones are closed.
    pub connections_per_address: u32,
    /// How long a connection may wait for the end of the next request's headers.
    pub headers_time: Duration,
    /// How long a peer may take nothing of an answer.
    pub stall_time: Duration,
    /// How long requests may go on after a stop.
    pub drain_time: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            connections_max: 2_048,
            connections_per_address: 1_024,
            headers_time: Duration::from_secs(15),
            stall_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(5),
        }
    }
}

/// An address that cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {}", remedy(.address, .source))]
pub struct BindError {
    /// Which.
    pub address: SocketAddr,
    /// What the system says.
    #[source]
    pub source: io::Error,
}

fn remedy(address: &SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the port is in use. Stop what listens there (`ss -ltnp 'sport = :{port}'` shows it) or configure another port"
        ),
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address. Configure one that `ip address` shows".to_owned()
        }
        io::ErrorKind::PermissionDenied => "no permission. Configure a port from 1024 on".to_owned(),
        _ => error.to_string(),
    }
}

/// Takes an address. Port 0 takes a free one.
///
/// # Errors
/// When the address cannot be had; the text names it and what to do.
pub async fn bind(address: SocketAddr) -> Result<Bound, BindError> {
    let error = |source| BindError { address, source };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    Ok(Bound { listener, address })
}

/// An address that is ours, with nobody to answer yet: connections wait.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves a router from now on. Needs to be called inside a tokio runtime.
    pub fn serve(self, router: Router, config: ServerConfig) -> Server {
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared {
            config,
            permits: Arc::new(Semaphore::new(config.connections_max as usize)),
            addresses: Arc::new(Addresses::new(config.connections_per_address)),
            refused: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(self.listener, router, shared.clone(), stopping));
        Server { address: self.address, shared, stop, task }
    }
}

struct Shared {
    config: ServerConfig,
    permits: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    refused: AtomicU64,
}

/// A running server. Dropping it is a stop that nobody waits for.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<bool>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).field("refused", &self.refused).finish_non_exhaustive()
    }
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are open now, WebSockets included.
    pub fn connections(&self) -> usize {
        (self.shared.config.connections_max as usize).saturating_sub(self.shared.permits.available_permits())
    }

    /// Connections that were closed because there were too many, of all or of one address.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Stops: no new connections, requests may finish, what is left after [`ServerConfig::drain_time`] is cut off. Returns whether everything
    /// ended by itself.
    pub async fn stop(self) -> bool {
        self.stop.send_replace(true);
        // The task ends when the requests did, or the drain time. WebSockets have left it, and give their permits back when they end.
        let deadline = tokio::time::Instant::now() + self.shared.config.drain_time;
        let requests_ended = self.task.await.unwrap_or(false);
        let all = self.shared.permits.acquire_many(self.shared.config.connections_max);
        requests_ended && matches!(tokio::time::timeout_at(deadline, all).await, Ok(Ok(_)))
    }
}

/// Tells handlers that go on for long (WebSockets, event streams) that the server is stopping. An extractor.
#[derive(Debug, Clone)]
pub struct Stopping(Option<watch::Receiver<bool>>);

impl Stopping {
    /// One that never stops, for handlers that are called without a server.
    pub fn never() -> Self {
        Self(None)
    }

    /// Whether it is stopping.
    pub fn is_stopping(&self) -> bool {
        // A sender that is gone belonged to a server that was dropped.
        self.0.as_ref().is_some_and(|receiver| *receiver.borrow() || receiver.has_changed().is_err())
    }

    /// Returns when it is stopping.
    pub async fn wait(&mut self) {
        match &mut self.0 {
            Some(receiver) => {
                let _ = receiver.wait_for(|stopping| *stopping).await;
            }
            None => std::future::pending().await,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Stopping {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::never))
    }
}

/// Takes connections until the stop, and sees them end. Returns whether they all did.
async fn accept(listener: TcpListener, router: Router, shared: Arc<Shared>, stopping: watch::Receiver<bool>) -> bool {
    let mut connections = JoinSet::new();
    let mut stop = Stopping(Some(stopping.clone()));
    loop {
        let accepted = tokio::select! {
            () = stop.wait() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let permit = shared.permits.clone().try_acquire_owned().ok();
        let Some(place) = permit.and_then(|permit| shared.addresses.take(peer.ip(), permit)) else {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let stopping = Stopping(Some(stopping.clone()));
        connections.spawn(serve(stream, peer, place, router.clone(), shared.config, stopping));
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    // Dropping the set ends what is left.
    tokio::time::timeout(shared.config.drain_time, drained).await.is_ok()
}

/// Serves one connection to its end, or until it becomes a WebSocket.
async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    router: Router,
    config: ServerConfig,
    mut stopping: Stopping,
) {
    // Answers are written whole; waiting to fill a packet would only delay the last piece.
    let _ = stream.set_nodelay(true);
    let patient = Arc::new(AtomicBool::new(false));
    let socket = Socket::new(stream, place, config.stall_time, patient.clone());
    let to_handlers = stopping.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        let patient = patient.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(to_handlers.clone());
        async move {
            let response = router.oneshot(request).await?;
            patient.store(is_feed(&response), Ordering::Relaxed);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.headers_time)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    // Whoever is too slow or speaks another protocol is cut off; nobody needs to hear of it.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stopping.wait() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Whether an answer goes on at the pace of what happens, not of the peer.
fn is_feed(response: &Response) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        || response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}
