//! A feed as server-sent events: the body is read on as the socket takes it, so nothing waits in a queue.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tana_http::server::Stopping;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::reader::Reader;

/// How long a browser waits before it connects again, in milliseconds.
const RETRY_EVENT: &[u8] = b"retry: 2000\n\n";
/// Shows that the feed is alive; clients pass over it.
const COMMENT: &[u8] = b": alive\n\n";

struct State {
    reader: Reader,
    ping: Interval,
    stopping: Stopping,
    begun: bool,
}

/// The response: endless until the client goes or the server stops.
pub fn respond(reader: Reader, stopping: Stopping) -> Response {
    let mut ping = interval(reader.ping());
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    let state = State { reader, ping, stopping, begun: false };
    let events = stream::unfold(state, |mut state| async move {
        if !state.begun {
            state.begun = true;
            return Some((Ok::<_, Infallible>(Bytes::from_static(RETRY_EVENT)), state));
        }
        let event = tokio::select! {
            biased;
            () = state.stopping.wait() => return None,
            frame = state.reader.next() => frame.event,
            _ = state.ping.tick() => state.reader.height().map_or(Bytes::from_static(COMMENT), |frame| frame.event),
        };
        Some((Ok(event), state))
    });
    let mut response = Body::from_stream(events).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
