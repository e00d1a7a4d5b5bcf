//! Reads at a steady rate over connections that stay open: an open load, so a server that falls behind cannot hide it by slowing the load down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Times;

/// Connections, each with one request under way.
const CONNECTIONS: usize = 64;

/// What is read, and how often.
#[derive(Debug, Clone)]
pub struct ReadPlan {
    /// Paths, in turn.
    pub paths: Vec<String>,
    /// Reads a second.
    pub rate: u64,
    /// For how long, unless `stop` is set before.
    pub seconds: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReadOutcome {
    /// Reads a second that were asked for.
    pub rate: u64,
    /// Reads a second that were answered.
    pub per_second: f64,
    /// Answers that were not 200, by the first of their kind.
    pub failed: u64,
    /// The first failure.
    pub first_failure: Option<String>,
    /// From the moment at which a read was due to its whole answer.
    pub times: Times,
}

struct Reader {
    address: SocketAddr,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl Reader {
    async fn read(&mut self, path: &str) -> Result<(), String> {
        let text = |error: hyper::Error| error.to_string();
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(text)?;
            tokio::spawn(connection);
            self.connection = Some(sender);
        }
        let Some(sender) = &mut self.connection else { return Err("no connection".to_owned()) };
        sender.ready().await.map_err(text)?;
        let request = Request::get(path).header("host", "localhost").body(Empty::new()).map_err(|e| e.to_string())?;
        let response = sender.send_request(request).await.map_err(text)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(text)?.to_bytes();
        match status.as_u16() {
            200 => Ok(()),
            _ => Err(format!("{path}: {status} {}", String::from_utf8_lossy(&body))),
        }
    }
}

/// Reads until the time is over or `stop` is set, on a thread of its own.
pub fn read(address: SocketAddr, plan: &ReadPlan, stop: &Arc<AtomicBool>) -> Result<ReadOutcome, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(read_all(address, plan, stop))
}

async fn read_all(address: SocketAddr, plan: &ReadPlan, stop: &Arc<AtomicBool>) -> Result<ReadOutcome, String> {
    let (next, paths) = (Arc::new(AtomicUsize::new(0)), Arc::new(plan.paths.clone()));
    let (rate, count) = (plan.rate as f64, (plan.rate * plan.seconds) as usize);
    let start = Instant::now() + Duration::from_millis(50);
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (next, paths, stop) = (next.clone(), paths.clone(), stop.clone());
        workers.spawn(async move {
            let mut reader = Reader { address, connection: None };
            let (mut times, mut failed, mut first_failure) = (Vec::new(), 0, None);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count || stop.load(Ordering::Relaxed) {
                    return (times, failed, first_failure);
                }
                let due = start + Duration::from_secs_f64(number as f64 / rate);
                tokio::time::sleep_until(due.into()).await;
                let Some(path) = paths.get(number % paths.len().max(1)) else { continue };
                match reader.read(path).await {
                    // The timer ticks in milliseconds, so a read is sent up to one late: that is in its time too.
                    Ok(()) => times.push(due.elapsed()),
                    Err(reason) => {
                        failed += 1;
                        first_failure.get_or_insert(reason);
                        reader.connection = None;
                    }
                }
            }
        });
    }
    let mut outcome = ReadOutcome { rate: plan.rate, ..ReadOutcome::default() };
    let mut all = Vec::with_capacity(count);
    while let Some(worker) = workers.join_next().await {
        let (times, failed, first_failure) = worker.map_err(|error| error.to_string())?;
        all.extend(times);
        outcome.failed += failed;
        outcome.first_failure = outcome.first_failure.or(first_failure);
    }
    outcome.per_second = all.len() as f64 / start.elapsed().as_secs_f64();
    outcome.times = Times::of(all);
    Ok(outcome)
}
