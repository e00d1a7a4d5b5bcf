//! A feed as server-sent events: a task reads on as the body takes its pieces, so nothing but one frame waits in a queue.
//!
//! A body that the socket does not take is never asked for more, so it cannot end by itself. The task can: it lets go of the subscriber, with its
//! place, and the body ends behind what was handed over. A client that reads on then finds the end, and connects again with the last id.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tana_http::server::Stopping;
use tokio::sync::mpsc::{self, Sender};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::reader::Reader;

/// How long a browser waits before it connects again, in milliseconds.
const RETRY_EVENT: &[u8] = b"retry: 2000\n\n";
/// Shows that the feed is alive; clients pass over it.
const COMMENT: &[u8] = b": alive\n\n";

/// One event, in the pieces that make it up.
type Event = Vec<Bytes>;

/// The response: endless until the client goes or takes nothing for too long, or the server stops.
pub fn respond(reader: Reader, stopping: Stopping) -> Response {
    let (sender, receiver) = mpsc::channel::<Event>(1);
    tokio::spawn(send(reader, stopping, sender));
    let events = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let pieces = events.flat_map(|event| stream::iter(event.into_iter().map(Ok::<_, Infallible>)));
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Hands over what comes, one event at a time.
async fn send(mut reader: Reader, mut stopping: Stopping, sender: Sender<Event>) {
    let stall = reader.stall();
    let mut ping = interval(reader.ping());
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    let mut event = vec![Bytes::from_static(RETRY_EVENT)];
    while hand_over(&sender, event, stall).await {
        event = tokio::select! {
            biased;
            () = stopping.wait() => return,
            () = sender.closed() => return,
            frame = reader.next() => frame.event().into(),
            _ = ping.tick() => {
                reader.height().map_or_else(|| vec![Bytes::from_static(COMMENT)], |frame| frame.event().into())
            }
        };
    }
}

/// Whether the body took an event in time.
async fn hand_over(sender: &Sender<Event>, event: Event, stall: Duration) -> bool {
    matches!(timeout(stall, sender.send(event)).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_takes_nothing_is_waited_for_so_long_and_no_longer() {
        let (sender, mut receiver) = mpsc::channel(1);
        let event = || vec![Bytes::from_static(COMMENT)];
        let stall = Duration::from_secs(60);
        assert!(hand_over(&sender, event(), stall).await);
        let begin = tokio::time::Instant::now();
        assert!(!hand_over(&sender, event(), stall).await);
        assert_eq!(begin.elapsed(), stall);
        assert!(receiver.recv().await.is_some());
        assert!(hand_over(&sender, event(), stall).await);
        drop(receiver);
        assert!(!hand_over(&sender, event(), stall).await);
    }
}
