//! The two feeds' routes: WebSocket where the client asks to upgrade, server-sent events where it accepts them.

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tana_http::error::ApiError;
use tana_http::server::Stopping;
use utoipa::IntoParams;

use super::reader::{Begin, Reader, What};
use super::{sse, websocket};
use crate::api::error::Refusal;
use crate::api::extract::{Path, Query, bad_parameter, number, query_number};
use crate::api::limits::{FEED_CLIENT_BYTES_MAX, NUMBER_MAX};
use crate::api::model::Problem;
use crate::api::refusals::{Always, Asked, Looked};
use crate::api::state::ApiState;

/// What a browser sends when it connects an event stream again.
const LAST_EVENT_ID: &str = "last-event-id";
/// Bytes that a WebSocket reads at a time: a client has nothing to say.
const READ_BYTES: usize = 1_024;

/// Where a feed begins.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FeedQuery {
    /// The first height that is sent; without it, the block behind the head.
    #[serde(default, deserialize_with = "query_number")]
    #[param(minimum = 0, maximum = 9007199254740991_u64, value_type = u64, required = false)]
    from: Option<u64>,
    /// Begin behind what this names: HEIGHT, or HEIGHT-INDEX as an account's feed says it. The header `Last-Event-ID` means the same and
    /// counts before both.
    #[param(max_length = 30, pattern = "^[0-9]{1,15}(-[0-9]{1,9})?$", value_type = String, required = false)]
    cursor: Option<String>,
}

impl FeedQuery {
    fn begin(&self, headers: &HeaderMap) -> Result<Begin, Refusal> {
        let last = match headers.get(LAST_EVENT_ID) {
            None => self.cursor.as_deref(),
            Some(value) => Some(value.to_str().map_err(|_| bad_parameter("the header `Last-Event-ID` is no text"))?),
        };
        match (last, self.from) {
            (None, None) => Ok(Begin::Now),
            (None, Some(from)) => Ok(Begin::At(from)),
            (Some(last), _) => match last.split_once('-') {
                None => Ok(Begin::At((number("height to go on behind", last)? + 1).min(NUMBER_MAX))),
                Some((height, place)) => {
                    let place = u32::try_from(number("place in a block", place)?);
                    let place = place.map_err(|_| bad_parameter("the place in the block is too large"))?;
                    Ok(Begin::Within(number("height to go on within", height)?, place))
                }
            },
        }
    }
}

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

fn accepts_events(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| value.to_ascii_lowercase().contains("text/event-stream"))
}

fn serve(
    reader: impl FnOnce() -> Result<Reader, Refusal>,
    headers: &HeaderMap,
    upgrade: Upgrade,
    stopping: Stopping,
) -> Result<Response, Refusal> {
    match upgrade {
        Ok(upgrade) => {
            let reader = reader()?;
            Ok(upgrade
                .max_message_size(FEED_CLIENT_BYTES_MAX)
                .max_frame_size(FEED_CLIENT_BYTES_MAX)
                .read_buffer_size(READ_BYTES)
                .write_buffer_size(0)
                .on_upgrade(move |socket| websocket::serve(socket, reader, stopping)))
        }
        Err(_) if accepts_events(headers) => Ok(sse::respond(reader()?, stopping)),
        Err(_) => {
            let message = "this is a feed: connect with a WebSocket, or send the header `accept: text/event-stream`";
            let mut response = ApiError::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message).into_response();
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            Ok(response)
        }
    }
}

/// Every block as it is committed: `{"type":"block","block":{...}}`, with notices `open`, `height`, `gap` and `reset`. See docs/ledger.md.
#[utoipa::path(
    get, path = "/feed/blocks", tag = "feeds", params(FeedQuery),
    responses(
        (status = 101, description = "A WebSocket; each message is one JSON object"),
        (status = 200, description = "Server-sent events; the data of each is one JSON object", body = String, content_type = "text/event-stream"),
        (status = 426, description = "Neither a WebSocket nor server-sent events were asked for", body = Problem),
        Asked, Always
    )
)]
pub async fn blocks(
    State(state): State<ApiState>,
    Query(query): Query<FeedQuery>,
    stopping: Stopping,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let begin = query.begin(&headers)?;
    serve(|| state.feeds().subscribe(What::Blocks, begin), &headers, upgrade, stopping)
}

/// The transactions from or to one account as their blocks are committed: `{"type":"transactions",...}`, with the same notices.
#[utoipa::path(
    get, path = "/feed/accounts/{account}/transactions", tag = "feeds",
    params(("account" = String, Path, description = "A key or an @username", max_length = 72,
        pattern = "^((ed25519_)?[0-9a-f]{64}|@?[a-z0-9_-]{1,49})$"), FeedQuery),
    responses(
        (status = 101, description = "A WebSocket; each message is one JSON object"),
        (status = 200, description = "Server-sent events; the data of each is one JSON object", body = String, content_type = "text/event-stream"),
        (status = 426, description = "Neither a WebSocket nor server-sent events were asked for", body = Problem),
        Asked, Looked, Always
    )
)]
pub async fn account(
    State(state): State<ApiState>,
    Path([account]): Path<1>,
    Query(query): Query<FeedQuery>,
    stopping: Stopping,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, Refusal> {
    let begin = query.begin(&headers)?;
    let key = state.chain().account(&account)?.public_key;
    let key: tana_types::key::PublicKey = key.parse().map_err(|error| bad_parameter(format!("{error}")))?;
    serve(|| state.feeds().subscribe(What::Account(key.0), begin), &headers, upgrade, stopping)
}
