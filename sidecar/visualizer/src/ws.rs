//! The WebSocket server: a snapshot at once, then every delta, and a snapshot again for whoever falls behind.
//!
//! 1. Who comes from a web page must come from an allowed one ([`Origins`]); programs send no origin and are let in.
//! 2. Nothing that a client says means anything; it is bounded in size and number.
//! 3. A client that does not take a message within [`SEND_TIME`], or does not answer pings for [`SILENT_TIME`], is cut off.
//!
//! A client costs its socket, a few kilobytes, and the one message that is being written to it; the deltas that wait are everybody's.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tana_http::error::ApiError;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior};

use crate::interest::Interest;
use crate::publish::Publisher;

/// How long one message may take to be written.
pub const SEND_TIME: Duration = Duration::from_secs(20);
/// How often a client is pinged.
pub const PING_TIME: Duration = Duration::from_secs(15);
/// How long a client may be silent.
pub const SILENT_TIME: Duration = Duration::from_secs(60);
/// Bytes of a message of a client.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 4_096;
/// Messages of a client between two pings; pongs are among them.
pub const CLIENT_MESSAGES_MAX: u32 = 64;
/// Bytes that are read from a socket at once.
const READ_BUFFER_BYTES: usize = 4_096;

/// Which web pages may connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// All: there is nothing secret in the stream.
    #[default]
    Any,
    /// These, each as a browser sends it: `http://localhost:8190`.
    Listed(Vec<String>),
}

impl Origins {
    /// Whether a request with these headers may connect.
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let Self::Listed(listed) = self else { return true };
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => true,
            (Some(origin), None) => {
                let origin = origin.as_bytes();
                listed.iter().any(|allowed| allowed.trim_end_matches('/').as_bytes().eq_ignore_ascii_case(origin))
            }
            _ => false,
        }
    }
}

/// What every connection shares.
pub(crate) struct Server {
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) interest: Arc<Interest>,
    pub(crate) origins: Origins,
    pub(crate) permits: Arc<Semaphore>,
}

/// The routes `/` and `/ws`.
pub(crate) fn router(server: Arc<Server>) -> Router {
    Router::new().route("/", any(connect)).route("/ws", any(connect)).with_state(server)
}

async fn connect(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return not_a_socket(&rejection).into_response(),
    };
    if !server.origins.allow(&headers) {
        return ApiError::forbidden("pages of this origin may not connect here").with_code("origin").into_response();
    }
    let Ok(permit) = server.permits.clone().try_acquire_owned() else {
        return ApiError::unavailable("too many clients are connected; try again later").into_response();
    };
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(CLIENT_MESSAGE_BYTES_MAX)
        .max_frame_size(CLIENT_MESSAGE_BYTES_MAX)
        .on_upgrade(move |socket| serve(socket, server, permit))
}

fn not_a_socket(rejection: &WebSocketUpgradeRejection) -> ApiError {
    let status = match rejection.status() {
        StatusCode::METHOD_NOT_ALLOWED => StatusCode::METHOD_NOT_ALLOWED,
        _ => StatusCode::UPGRADE_REQUIRED,
    };
    ApiError::new(status, "upgrade_required", "a WebSocket is served here; connect with ws://")
}

async fn serve(mut socket: WebSocket, server: Arc<Server>, _permit: OwnedSemaphorePermit) {
    let _looking = server.interest.client();
    let (snapshot, mut deltas) = server.publisher.subscribe();
    if send(&mut socket, Message::Text(snapshot.message())).await.is_err() {
        return;
    }
    drop(snapshot);
    let mut pings = tokio::time::interval_at(Instant::now() + PING_TIME, PING_TIME);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let mut said = 0;
    loop {
        let message = tokio::select! {
            delta = deltas.recv() => match delta {
                Ok(delta) => Message::Text(delta),
                Err(RecvError::Lagged(_)) => {
                    let (snapshot, from_here) = server.publisher.subscribe();
                    deltas = from_here;
                    Message::Text(snapshot.message())
                }
                Err(RecvError::Closed) => return,
            },
            message = socket.recv() => {
                match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                }
                heard = Instant::now();
                said += 1;
                if said > CLIENT_MESSAGES_MAX {
                    let reason = Utf8Bytes::from_static("nothing is to be said here");
                    let close = Message::Close(Some(CloseFrame { code: close_code::POLICY, reason }));
                    let _ = send(&mut socket, close).await;
                    return;
                }
                continue;
            }
            _ = pings.tick() => {
                if heard.elapsed() > SILENT_TIME {
                    return;
                }
                said = 0;
                Message::Ping(axum::body::Bytes::new())
            }
        };
        if send(&mut socket, message).await.is_err() {
            return;
        }
    }
}

/// Writes a message; an error is a client that is gone or does not read.
async fn send(socket: &mut WebSocket, message: Message) -> Result<(), ()> {
    match tokio::time::timeout(SEND_TIME, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn from(origins: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(header::ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    #[test]
    fn listed_pages_and_programs_may_connect() {
        let listed = Origins::Listed(vec!["http://localhost:8190".to_owned(), "https://tana.example/".to_owned()]);
        assert!(listed.allow(&from(&[])));
        assert!(listed.allow(&from(&["http://localhost:8190"])));
        assert!(listed.allow(&from(&["https://TANA.example"])));
        for other in ["http://localhost", "http://localhost:8190.evil.example", "null", ""] {
            assert!(!listed.allow(&from(&[other])), "{other}");
        }
        assert!(!listed.allow(&from(&["http://localhost:8190", "http://evil.example"])));
        assert!(Origins::Any.allow(&from(&["http://evil.example"])));
    }
}
