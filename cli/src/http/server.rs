//! The HTTP server of a node: one thread, and bounds on everything that a stranger can use up. The pages are in [`super::routes`].
//!
//! 1. The listener is bound before the thread starts, so that a taken port is an error of the start.
//! 2. A connection takes a permit; without a free one it is closed at once, and counted.
//! 3. It carries one request: headers within [`HEADERS_TIME`] and [`BUFFER_BYTES`], everything within [`CONNECTION_TIME`]. A body is read by
//!    `/propose` alone, with bounds of its own.
//! 4. The answer is made when it is asked for, on this thread; what may read a disk or check signatures goes to one of [`HELPERS`] beside it.
//! 5. A connection that becomes a stream gives its permit back and lives as long as its reader takes what is sent ([`super::streams`]).
//!
//! Dropping the server ends its thread; streams end, and a request that is being answered is cut off.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::routes::{Pages, StreamingSender};
use super::streams::{STREAMS_MAX, Streams};
use super::view::NodeView;

/// Connections at once; further ones are closed.
pub const CONNECTIONS_MAX: usize = 32;
/// How long the headers of a request may take.
pub const HEADERS_TIME: Duration = Duration::from_secs(5);
/// How long a connection may last.
pub const CONNECTION_TIME: Duration = Duration::from_secs(15);
/// The most bytes of headers, and of an answer that waits to be read.
pub const BUFFER_BYTES: usize = 16 * 1_024;
/// Bytes that the system keeps of an answer that is not read; a stream's reader finds out soon that it is too slow.
pub const SEND_BUFFER_BYTES: u32 = 128 * 1_024;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;
/// Threads for what may take its time.
const HELPERS: usize = 2;
/// How long streams may take to end when the server stops.
const GOODBYE: Duration = Duration::from_millis(250);
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
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().max_blocking_threads(HELPERS).thread_name("http-helper").build()?;
        let listener = {
            let _entered = runtime.enter();
            listen(address)?
        };
        let address = listener.local_addr()?;
        let refused = Arc::new(AtomicU64::new(0));
        let counter = refused.clone();
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                let (streams, telling) = Streams::new(view.clone());
                let telling = tokio::spawn(telling);
                let slots = Arc::new(Semaphore::new(STREAMS_MAX));
                let pages = Arc::new(Pages::new(view, streams, slots.clone()));
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, pages, counter) => {}
                }
                // Without it, streams have reached their end, which their connections now tell.
                telling.abort();
                let ended = slots.acquire_many(STREAMS_MAX as u32);
                let _ = tokio::time::timeout(GOODBYE, ended).await;
            });
            // A helper that reads a disk is not waited for: it holds nothing that must not be left.
            runtime.shutdown_background();
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

/// Listens with a bound on what the system keeps of answers, which accepted connections inherit.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A port whose last connections are not quite forgotten by the system is free.
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, pages: Arc<Pages>, refused: Arc<AtomicU64>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        tokio::spawn(connection(stream, peer, pages.clone(), permit));
    }
}

/// Serves a connection to its end. Whoever is too slow or speaks another protocol is cut off; nobody needs to hear of it.
async fn connection(stream: TcpStream, peer: SocketAddr, pages: Arc<Pages>, permit: OwnedSemaphorePermit) {
    let (streaming, is_stream) = oneshot::channel();
    let serving = serve(stream, peer, pages, streaming);
    tokio::pin!(serving);
    let streaming = tokio::select! {
        _ = &mut serving => return,
        () = tokio::time::sleep(CONNECTION_TIME) => return,
        Ok(streaming) = is_stream => streaming,
    };
    drop(permit);
    let ends = tokio::select! {
        _ = &mut serving => return,
        told = streaming.cut_off => told.is_err(),
    };
    if ends {
        let _ = tokio::time::timeout(GOODBYE, serving).await;
    }
    drop(streaming.slot);
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    pages: Arc<Pages>,
    streaming: StreamingSender,
) -> Result<(), hyper::Error> {
    let streaming = Mutex::new(Some(streaming));
    let service = service_fn(|request: Request<Incoming>| {
        let (pages, streaming) = (pages.clone(), streaming.lock().take());
        async move { Ok::<_, Infallible>(pages.respond(request, peer.ip(), streaming).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIME)
        .max_buf_size(BUFFER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
