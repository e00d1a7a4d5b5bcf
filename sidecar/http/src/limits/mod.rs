//! What one stranger may use up: requests a second by address, bytes of a body, time; and what every answer has in common.
//!
//! [`standard_layers`] puts all of it around a router. From the outside in: CORS, panics, plain errors made JSON, rate, time, body.

mod cors;
mod rate;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::error::ApiError;

pub use cors::{Cors, CorsError};
pub use rate::{ADDRESSES_MAX, Limiter, Rate, network};

/// Bytes of a body when nothing else is configured.
pub const BODY_BYTES: usize = 64 * 1_024;
/// How long a request may take until its answer begins, when nothing else is configured.
pub const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Bytes of a refused body that are read and dropped before its connection may end.
const DRAINED_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// Bytes of a plain error's text that are taken over into JSON.
const PLAIN_ERROR_BYTES_MAX: usize = 4 * 1_024;

/// What [`standard_layers`] enforces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Requests of one address; none for no limit.
    pub rate: Option<Rate>,
    /// The largest body that any route takes, in bytes. A single route may take less ([`DefaultBodyLimit`] in its own layer).
    pub body_bytes: usize,
    /// From the end of a request's headers to the beginning of its answer; streams may go on for longer.
    pub request_time: Duration,
    /// Which pages of other origins may ask.
    pub cors: Cors,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { rate: Some(Rate::default()), body_bytes: BODY_BYTES, request_time: REQUEST_TIME, cors: Cors::None }
    }
}

/// Puts everything around a router: CORS, panics as JSON, errors as JSON, the rate of an address, the time and the body's size.
///
/// To be called once, last, on the whole router. The peer's address is taken from [`ConnectInfo`], which [`crate::server`] provides; requests
/// without one share one bucket.
pub fn standard_layers(router: Router, config: &LimitsConfig) -> Router {
    let mut router = router
        .layer(DefaultBodyLimit::max(config.body_bytes))
        .layer(from_fn_with_state(config.body_bytes, limit_body))
        .layer(from_fn_with_state(config.request_time, limit_time));
    if let Some(rate) = config.rate {
        router = router.layer(from_fn_with_state(Arc::new(RateState::new(rate)), limit_rate));
    }
    router = router.layer(from_fn(plain_errors_as_json)).layer(CatchPanicLayer::custom(panicked)).layer(
        SetResponseHeaderLayer::if_not_present(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    );
    match config.cors.layer() {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// The limiter and the moment that its times count from.
struct RateState {
    limiter: Limiter,
    start: Instant,
}

impl RateState {
    fn new(rate: Rate) -> Self {
        Self { limiter: Limiter::new(rate), start: Instant::now() }
    }
}

async fn limit_rate(State(state): State<Arc<RateState>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    match state.limiter.take(peer, state.start.elapsed()) {
        Ok(()) => next.run(request).await,
        Err(wait) => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let error = ApiError::too_many(format!("too many requests from this address; try again in {seconds} s"));
            let mut response = error.into_response();
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
    }
}

async fn limit_time(State(time): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long").into_response(),
    }
}

async fn limit_body(State(bytes_max): State<usize>, request: Request, next: Next) -> Response {
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| usize::try_from(bytes).map_or(true, |bytes| bytes > bytes_max)) {
        drain(request.into_body()).await;
        return ApiError::too_large(format!("the body is larger than {bytes_max} bytes")).into_response();
    }
    next.run(request.map(|body| Body::new(Limited::new(body, bytes_max)))).await
}

/// Reads and drops a body that is refused, so that a client that still sends it gets the answer and not a broken connection.
async fn drain(body: Body) {
    let mut body = Limited::new(body, DRAINED_BYTES_MAX);
    while let Some(Ok(_)) = body.frame().await {}
}

/// Refusals that a library wrote (a path that is not there, a query that cannot be read) get the form that all others have.
async fn plain_errors_as_json(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let plain = match response.headers().get(header::CONTENT_TYPE) {
        None => true,
        Some(value) => value.as_bytes().starts_with(b"text/plain"),
    };
    if !plain {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = to_bytes(body, PLAIN_ERROR_BYTES_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let message = match text.trim() {
        "" => usual_message(status),
        text => text.to_owned(),
    };
    let error = ApiError::new(status, usual_code(status), message).into_response();
    // What else the refusal said (which methods there are) stays; length and type are those of the new body.
    for name in [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    let (new, body) = error.into_parts();
    parts.headers.extend(new.headers);
    Response::from_parts(parts, body)
}

fn usual_code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "bad_request",
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::REQUEST_TIMEOUT => "timeout",
        StatusCode::CONFLICT => "conflict",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
        StatusCode::TOO_MANY_REQUESTS => "too_many",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        status if status.is_client_error() => "refused",
        _ => "internal",
    }
}

fn usual_message(status: StatusCode) -> String {
    match status {
        StatusCode::NOT_FOUND => "there is nothing at this path".to_owned(),
        StatusCode::METHOD_NOT_ALLOWED => "this path does not take this method".to_owned(),
        status => status.canonical_reason().unwrap_or("refused").to_lowercase(),
    }
}

/// A handler panicked: a defect. What it said goes to the log, not to the stranger.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over like this")]
fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("without a text"), "a request handler panicked");
    ApiError::internal("this request met a defect of the server; it was logged").into_response()
}
