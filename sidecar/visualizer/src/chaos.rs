//! Faults on demand, for devnets: routes under `/api/chaos/` that hand requests to whoever can really do what they ask.
//!
//! These act, so each request carries the devnet's token; without it nothing is even read. Where no [`Chaos`] is given every path answers 404.
//! One action is under way at a time: a second one waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::routing::any;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tana_http::error::{ApiError, Body};
use tana_http::routes::{Route, Routes};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Characters that a token has at least.
pub const TOKEN_CHARACTERS_MIN: usize = 16;
/// The most milliseconds that links can be slowed by.
pub const LATENCY_MS_MAX: u64 = 10_000;
/// Validators that one request names at most.
pub const VALIDATORS_MAX: usize = 256;
/// Characters of an id, and of a kind of fault.
const WORD_CHARACTERS_MAX: usize = 128;
/// Bytes of a request.
const BODY_BYTES_MAX: usize = 64 * 1_024;
/// How long a request waits for the one before it.
const WAIT_TIME: Duration = Duration::from_secs(15);
/// How long an action may take.
const ACTION_TIME: Duration = Duration::from_secs(60);

/// What an action comes to: what was done, in words.
pub type Done<'a> = Pin<Box<dyn Future<Output = Result<String, ChaosError>> + Send + 'a>>;

/// Why an action was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChaosError {
    /// There is no validator with this id.
    #[error("there is no validator {0}")]
    UnknownValidator(String),
    /// There is no such kind of fault; the text says which there are.
    #[error("{0}")]
    UnknownKind(String),
    /// It cannot be done as things are, such as to kill what is dead.
    #[error("{0}")]
    NotNow(String),
    /// It was tried.
    #[error("{0}")]
    Failed(String),
}

impl From<ChaosError> for ApiError {
    fn from(error: ChaosError) -> Self {
        let text = error.to_string();
        match error {
            ChaosError::UnknownValidator(_) => Self::not_found(text).with_code("unknown_validator"),
            ChaosError::UnknownKind(_) => Self::bad_request(text).with_code("unknown_kind"),
            ChaosError::NotNow(_) => Self::conflict(text).with_code("not_now"),
            ChaosError::Failed(_) => Self::internal(text).with_code("failed"),
        }
    }
}

/// Whoever can harm this devnet's processes and links. Ids are the registry's.
pub trait Chaos: Send + Sync + 'static {
    /// Kills a validator's process, without a chance to end well.
    fn kill<'a>(&'a self, validator: &'a str) -> Done<'a>;
    /// Cuts these validators off from all the others.
    fn partition<'a>(&'a self, validators: &'a [String]) -> Done<'a>;
    /// Slows a validator's links by so many milliseconds; 0 is not at all.
    fn lag<'a>(&'a self, validator: &'a str, latency_ms: u64) -> Done<'a>;
    /// Changes bytes of what a validator stored; `kind` is what, or whatever the implementation likes best.
    fn corrupt<'a>(&'a self, validator: &'a str, kind: Option<&'a str>) -> Done<'a>;
    /// Makes a validator break the rules; `kind` is how.
    fn byzantine<'a>(&'a self, validator: &'a str, kind: Option<&'a str>) -> Done<'a>;
    /// Undoes everything that was done.
    fn recover(&self) -> Done<'_>;
}

/// The secret that a devnet's own page knows. Only its hash is kept.
#[derive(Debug, Clone)]
pub struct DevnetToken(blake3::Hash);

impl DevnetToken {
    /// Takes the secret, or `None` if it is shorter than [`TOKEN_CHARACTERS_MIN`].
    pub fn new(secret: &str) -> Option<Self> {
        (secret.len() >= TOKEN_CHARACTERS_MIN).then(|| Self(blake3::hash(secret.as_bytes())))
    }

    /// Whether this is the secret. Hashes are compared in constant time.
    fn is(&self, candidate: &str) -> bool {
        self.0 == blake3::hash(candidate.as_bytes())
    }
}

/// The answer of an action that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChaosAnswer {
    /// `true`.
    pub success: bool,
    /// What was done.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct One {
    validator_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Several {
    validator_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Latency {
    validator_id: String,
    latency_ms: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Corrupt {
    validator_id: String,
    data_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Byzantine {
    validator_id: String,
    behavior_type: Option<String>,
}

/// Fields that older clients send along are passed over.
#[derive(Deserialize)]
struct Nothing {}

struct Inner {
    chaos: Arc<dyn Chaos>,
    token: DevnetToken,
    turn: Mutex<()>,
}

type Shared = Arc<Inner>;

/// Stands in every handler before the body: without the token nothing is read.
struct Authorised;

impl FromRequestParts<Shared> for Authorised {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(token) = value.and_then(|value| value.strip_prefix("Bearer ")) else {
            return Err(ApiError::unauthorized("send the devnet's token: `Authorization: Bearer TOKEN`"));
        };
        if shared.token.is(token.trim()) {
            Ok(Self)
        } else {
            Err(ApiError::unauthorized(
                "this is not the devnet's token; it is in the address that `tana start` printed",
            ))
        }
    }
}

/// The routes. Without `chaos` each answers 404.
pub fn chaos_router(chaos: Option<(Arc<dyn Chaos>, DevnetToken)>) -> Router {
    match chaos {
        Some((chaos, token)) => chaos_routes(chaos, token).0,
        None => {
            let absent =
                || async { ApiError::not_found("there is no chaos here: it is for devnets").with_code("no_chaos") };
            Router::new().route("/api/chaos", any(absent)).route("/api/chaos/{*action}", any(absent))
        }
    }
}

/// The routes of a devnet, and their list for whoever walks all routes that write.
pub fn chaos_routes(chaos: Arc<dyn Chaos>, token: DevnetToken) -> (Router, Vec<Route>) {
    let unknown = || async { ApiError::not_found("there is no such action").with_code("unknown_action") };
    let wrong_method = || async {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "actions are asked for with POST")
    };
    let (router, table) = Routes::new()
        .signed(Method::POST, "/api/chaos/kill-validator", kill)
        .signed(Method::POST, "/api/chaos/network-partition", partition)
        .signed(Method::POST, "/api/chaos/corrupt-data", corrupt)
        .signed(Method::POST, "/api/chaos/inject-latency", lag)
        .signed(Method::POST, "/api/chaos/byzantine-behavior", byzantine)
        .signed(Method::POST, "/api/chaos/recover-all", recover)
        .finish(Arc::new(Inner { chaos, token, turn: Mutex::new(()) }));
    let router = router
        .route("/api/chaos/{*action}", any(unknown))
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    (router, table)
}

type Answer = Result<Json<ChaosAnswer>, ApiError>;

async fn kill(_: Authorised, State(shared): State<Shared>, Body(body): Body<One>) -> Answer {
    let id = word("validatorId", &body.validator_id)?;
    act(&shared, "kill", shared.chaos.kill(id)).await
}

async fn partition(_: Authorised, State(shared): State<Shared>, Body(body): Body<Several>) -> Answer {
    if body.validator_ids.is_empty() || body.validator_ids.len() > VALIDATORS_MAX {
        return Err(bad(format!("validatorIds: name 1 to {VALIDATORS_MAX} validators")));
    }
    for id in &body.validator_ids {
        word("validatorIds", id)?;
    }
    act(&shared, "partition", shared.chaos.partition(&body.validator_ids)).await
}

async fn lag(_: Authorised, State(shared): State<Shared>, Body(body): Body<Latency>) -> Answer {
    let id = word("validatorId", &body.validator_id)?;
    if body.latency_ms > LATENCY_MS_MAX {
        return Err(bad(format!("latencyMs: 0 to {LATENCY_MS_MAX}")));
    }
    act(&shared, "lag", shared.chaos.lag(id, body.latency_ms)).await
}

async fn corrupt(_: Authorised, State(shared): State<Shared>, Body(body): Body<Corrupt>) -> Answer {
    let id = word("validatorId", &body.validator_id)?;
    let kind = body.data_type.as_deref().map(|kind| word("dataType", kind)).transpose()?;
    act(&shared, "corrupt", shared.chaos.corrupt(id, kind)).await
}

async fn byzantine(_: Authorised, State(shared): State<Shared>, Body(body): Body<Byzantine>) -> Answer {
    let id = word("validatorId", &body.validator_id)?;
    let kind = body.behavior_type.as_deref().map(|kind| word("behaviorType", kind)).transpose()?;
    act(&shared, "byzantine", shared.chaos.byzantine(id, kind)).await
}

async fn recover(_: Authorised, State(shared): State<Shared>, Body(_): Body<Nothing>) -> Answer {
    act(&shared, "recover", shared.chaos.recover()).await
}

async fn act(shared: &Inner, name: &'static str, action: Done<'_>) -> Answer {
    let Ok(_turn) = timeout(WAIT_TIME, shared.turn.lock()).await else {
        return Err(ApiError::conflict("another action is still under way").with_code("not_now"));
    };
    let done = timeout(ACTION_TIME, action).await;
    let done = done.unwrap_or_else(|_| Err(ChaosError::Failed("it took too long and was given up".to_owned())));
    match done {
        Ok(message) => {
            tracing::warn!(action = name, %message, "chaos");
            Ok(Json(ChaosAnswer { success: true, message }))
        }
        Err(error) => {
            tracing::warn!(action = name, %error, "chaos was not done");
            Err(error.into())
        }
    }
}

fn bad(text: String) -> ApiError {
    ApiError::bad_request(text).with_code("bad_field")
}

/// An id or a kind: letters, digits, and a few signs, none of which means anything to a shell or a path.
fn word<'a>(field: &str, text: &'a str) -> Result<&'a str, ApiError> {
    let fits = !text.is_empty()
        && text.len() <= WORD_CHARACTERS_MAX
        && !text.starts_with(['-', '.'])
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if fits {
        Ok(text)
    } else {
        Err(bad(format!("{field}: letters, digits, `-`, `_` and `.`, at most {WORD_CHARACTERS_MAX}")))
    }
}
