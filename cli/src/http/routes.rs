//! Which page answers what: every path with its method stands in [`ROUTES`].

use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::answer::{Answer, Problem, json, page, pieces, wrong_method};
use super::propose::Proposals;
use super::quorum::{self, LookUps};
use super::streams::{STREAMS_MAX, Streams};
use super::view::{NodeView, Peers};

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/health`.
    Health,
    /// `/peers`.
    Peers,
    /// `/quorum/HASH`.
    Quorum,
    /// `/metrics`.
    Metrics,
    /// `/telemetry`.
    Telemetry,
    /// `/propose`.
    Propose,
}

/// All pages: the path, where `HASH` stands for a rest that is given, and the methods.
pub const ROUTES: [(Route, &str, &str); 6] = [
    (Route::Health, "/health", "GET, HEAD"),
    (Route::Peers, "/peers", "GET, HEAD"),
    (Route::Quorum, "/quorum/HASH", "GET, HEAD"),
    (Route::Metrics, "/metrics", "GET, HEAD"),
    (Route::Telemetry, "/telemetry", "GET, HEAD"),
    (Route::Propose, "/propose", "POST"),
];

/// What the pages answer from.
pub struct Pages {
    view: Arc<dyn NodeView>,
    streams: Streams,
    slots: Arc<Semaphore>,
    proposals: Proposals,
    look_ups: LookUps,
}

/// A connection that carries a stream: its slot, and what says that it is to be cut off.
pub struct Streaming {
    /// One of [`STREAMS_MAX`].
    pub slot: OwnedSemaphorePermit,
    /// See [`super::streams::Reader`].
    pub cut_off: oneshot::Receiver<()>,
}

/// What a connection is told once it carries a stream.
pub type StreamingSender = oneshot::Sender<Streaming>;

impl Pages {
    /// Pages of `view`; `slots` has [`STREAMS_MAX`] permits.
    pub fn new(view: Arc<dyn NodeView>, streams: Streams, slots: Arc<Semaphore>) -> Self {
        Self { view, streams, slots, proposals: Proposals::default(), look_ups: LookUps::default() }
    }

    /// Answers a request from `ip`; `streaming` hears of it when the answer is a stream.
    pub async fn respond(&self, request: Request<Incoming>, ip: IpAddr, streaming: Option<StreamingSender>) -> Answer {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let hash = path.strip_prefix("/quorum/");
        let is_asked = |known: &str| known == path || (hash.is_some() && known == "/quorum/HASH");
        let Some((route, _, methods)) = ROUTES.iter().find(|(_, known, _)| is_asked(known)) else { return no_page() };
        if !methods.split(", ").any(|method| method == parts.method.as_str()) {
            return wrong_method(methods);
        }
        match route {
            Route::Health => {
                let health = self.view.health();
                json(if health.voting { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &health)
            }
            Route::Peers => {
                let peers = self.view.peers();
                json(StatusCode::OK, &Peers { count: peers.len(), peers })
            }
            Route::Quorum => {
                quorum::answer(hash.unwrap_or_default(), parts.uri.query(), &self.view, &self.look_ups).await
            }
            Route::Metrics => page(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.view.metrics()),
            Route::Telemetry => self.stream(parts.method == Method::HEAD, streaming).await,
            Route::Propose => self.proposals.answer(body, ip, &self.view).await,
        }
    }

    async fn stream(&self, only_head: bool, streaming: Option<StreamingSender>) -> Answer {
        const KIND: &str = "text/event-stream";
        if only_head {
            return pieces(KIND, mpsc::channel(1).1);
        }
        let busy = |text: String| Answer::from(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text));
        let (Some(streaming), Ok(slot)) = (streaming, self.slots.clone().try_acquire_owned()) else {
            return busy(format!("{STREAMS_MAX} streams are under way, which is as many as there may be"));
        };
        let Some(reader) = self.streams.join().await else { return busy("the node is stopping".to_owned()) };
        // The connection waits for this as long as it is served.
        let _ = streaming.send(Streaming { slot, cut_off: reader.cut_off });
        pieces(KIND, reader.frames)
    }
}

fn no_page() -> Answer {
    let pages: Vec<String> = ROUTES
        .iter()
        .map(|(_, path, methods)| format!("{} {path}", methods.split(',').next().unwrap_or_default()))
        .collect();
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there are {}", pages.join(", "))).into()
}
