//! The HTTP server of a node: three pages, one thread, and bounds on everything that a stranger can use up.
//!
//! 1. The listener is bound before the thread starts, so that a taken port is an error of the start.
//! 2. A connection takes a permit; without a free one it is closed at once, and counted.
//! 3. It carries one request: headers within [`HEADERS_TIME`] and [`BUFFER_BYTES`], everything within [`CONNECTION_TIME`]. A body is never
//!    read.
//! 4. The answer is made when it is asked for, on this thread.
//!
//! Dropping the server ends its thread; a request that is being answered is cut off.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

use super::view::NodeView;

/// Connections at once; further ones are closed.
pub const CONNECTIONS_MAX: usize = 32;
/// How long the headers of a request may take.
pub const HEADERS_TIME: Duration = Duration::from_secs(5);
/// How long a connection may last.
pub const CONNECTION_TIME: Duration = Duration::from_secs(15);
/// The most bytes of headers, and of an answer that waits to be read.
pub const BUFFER_BYTES: usize = 16 * 1_024;
/// The pause after an accept that failed, as it does while the process has no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running server.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    refused: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Listens on `address` and serves `view`.
    ///
    /// # Errors
    /// What the system says when the address cannot be bound or no thread can be had.
    pub fn start(address: SocketAddr, view: Arc<dyn NodeView>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        let refused = Arc::new(AtomicU64::new(0));
        let counter = refused.clone();
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, view, counter) => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(serve)?;
        Ok(Self { address, refused, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections closed because there were too many.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        // The thread ends when this end of the channel is gone.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, view: Arc<dyn NodeView>, refused: Arc<AtomicU64>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let view = view.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // Whoever is too slow or speaks another protocol is cut off; nobody needs to hear of it.
            let _ = tokio::time::timeout(CONNECTION_TIME, serve(stream, view)).await;
        });
    }
}

async fn serve(stream: TcpStream, view: Arc<dyn NodeView>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), view.as_ref());
        async move { Ok::<_, Infallible>(response) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIME)
        .max_buf_size(BUFFER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

fn respond(method: &Method, path: &str, view: &dyn NodeView) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/health" => {
            let health = view.health();
            json(if health.voting { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &health)
        }
        "/peers" => json(StatusCode::OK, &view.peers()),
        "/metrics" => page(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", view.metrics()),
        _ => text(StatusCode::NOT_FOUND, "there are /health, /peers and /metrics\n".to_owned()),
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    // These types hold only texts, numbers and maps with text keys, which always serialize.
    let body = serde_json::to_string(value).unwrap_or_default();
    page(status, "application/json", body + "\n")
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    page(status, "text/plain; charset=utf-8", body)
}

fn page(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
