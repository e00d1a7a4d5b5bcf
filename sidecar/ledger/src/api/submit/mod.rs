//! Submitting transactions: a body becomes signed bytes, is checked, goes to the node, and its request is answered with what came of it.
//!
//! A transaction is signed by its sender, so nobody needs a token to hand one over; whatever is not signed never leaves this process.

pub mod answer;
pub mod body;
pub mod check;
pub mod decoded;
pub mod follow;
pub mod link;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tana_http::error::ApiError;
use tana_net::frame::FRAME_BYTES_MAX;
use tana_types::payload::Kind;
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};

use self::answer::{CreatedUser, Outcome, Submitted, SubmittedMany};
use self::body::{Parsed, Raw, parse};
use self::check::{Checker, Refused};
use self::decoded::Decoded;
use self::follow::Until;
use self::link::{NodeLink, Ticket};
use super::config::NodeTarget;
use super::error::Refusal;
use super::extract::{Query, bad_parameter, query_number};
use super::limits::{FOLLOW_DEFAULT, FOLLOW_MAX, READ_WAIT, SUBMIT_CHECKS_MAX};
use super::model::Problem;
use super::refusals::{Always, Asked, Sent};
use super::state::ApiState;
use crate::chain::Chain;

/// What a submission needs beside the request.
pub struct Submitter {
    link: Option<NodeLink>,
    checker: Arc<Checker>,
    checks: Arc<Semaphore>,
}

impl Submitter {
    /// For the chain's transactions, to this node.
    pub fn start(chain: &Chain, node: Option<NodeTarget>) -> Self {
        Self {
            link: node.map(NodeLink::start),
            checker: Arc::new(Checker::new(chain.genesis().to_chain())),
            checks: Arc::new(Semaphore::new(SUBMIT_CHECKS_MAX)),
        }
    }

    async fn check(&self, parsed: Arc<Parsed>) -> Result<Vec<Result<(), Refused>>, Refusal> {
        let busy = || Refusal::busy("busy", "too many signatures are being checked; send it again in a moment");
        let permit = match tokio::time::timeout(READ_WAIT, self.checks.clone().acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => return Err(busy()),
        };
        let checker = self.checker.clone();
        let verdicts = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            checker.check(&parsed)
        });
        verdicts.await.map_err(|_| busy())
    }

    /// Hands over those transactions that passed.
    fn hand_over(&self, parsed: &Parsed, passed: &[usize]) -> Result<Ticket, Refusal> {
        let Some(link) = &self.link else {
            let message = "this ledger has no node to hand transactions to; send it to another one";
            return Err(Refusal { error: ApiError::unavailable(message).with_code("no_node"), retry_after: None });
        };
        link.submit(frames(parsed, passed), passed.len()).map_err(|_| {
            Refusal::busy("node_busy", "more transactions are under way than the node takes; send it again in a moment")
        })
    }
}

/// The transactions at these places, as few frames as they fit.
fn frames(parsed: &Parsed, places: &[usize]) -> Vec<Bytes> {
    if places.len() == parsed.ranges.len() && parsed.bytes.len() <= FRAME_BYTES_MAX {
        return vec![parsed.bytes.clone()];
    }
    let mut frames = Vec::new();
    let mut frame = BytesMut::new();
    for &place in places {
        let one = &parsed.bytes[parsed.ranges[place].clone()];
        if !frame.is_empty() && frame.len() + one.len() > FRAME_BYTES_MAX {
            frames.push(frame.split().freeze());
        }
        frame.extend_from_slice(one);
    }
    frames.push(frame.freeze());
    frames
}

/// How a submission is followed.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SubmitQuery {
    /// Answer once the transaction is accepted (no promise), final or applied; applied when left out.
    #[param(max_length = 8, pattern = "^(accepted|final|applied)$", value_type = String, required = false)]
    wait: Option<String>,
    /// Answer after so many milliseconds with what is known by then; 10,000 when left out.
    #[serde(default, deserialize_with = "query_number")]
    #[param(minimum = 0, maximum = 25000, value_type = u64, required = false)]
    timeout: Option<u64>,
}

impl SubmitQuery {
    fn read(&self) -> Result<(Until, Duration), Refusal> {
        let until = match self.wait.as_deref() {
            None | Some("applied") => Until::Applied,
            Some("final") => Until::Final,
            Some("accepted") => Until::Accepted,
            Some(_) => return Err(bad_parameter("`wait` must be accepted, final or applied")),
        };
        let time = self.timeout.map_or(FOLLOW_DEFAULT, Duration::from_millis);
        if time > FOLLOW_MAX {
            return Err(bad_parameter(format!("`timeout` is at most {} ms", FOLLOW_MAX.as_millis())));
        }
        Ok((until, time))
    }
}

/// Signed transactions back to back, as in docs/protocol.md, section 7.
#[derive(Debug, Clone, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct SignedBytes(pub Vec<u8>);

/// The JSON forms of a submission.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SubmitRequest {
    /// One signed transaction, its bytes in hexadecimal.
    One {
        /// 240 to 2,800 hexadecimal digits.
        #[schema(min_length = 240, max_length = 2800, pattern = "^([0-9a-f][0-9a-f])+$")]
        transaction: String,
    },
    /// Several of them.
    Many {
        /// 1 to 1,000, each as above.
        #[schema(min_items = 1, max_items = 1000)]
        transactions: Vec<String>,
    },
    /// The fields of one signed transaction.
    Fields(Box<Decoded>),
}

/// The JSON form of a new account.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreateUserRequest {
    /// The key that is registered, and that signs.
    #[schema(max_length = 72)]
    pub public_key: String,
    /// `@` and 1 to 49 of a-z, 0-9, _ and -; empty or left out for none.
    #[schema(max_length = 50)]
    pub username: Option<String>,
    /// At most 100 bytes.
    #[schema(max_length = 100)]
    pub display_name: Option<String>,
    /// At most 1,000 bytes.
    #[schema(max_length = 1000)]
    pub bio: Option<String>,
    /// `ed25519_sig_` and 128 hexadecimal digits, over the binary form.
    #[schema(max_length = 140)]
    pub signature: String,
    /// The signer's time in milliseconds.
    pub timestamp: u64,
    /// Always 0; may be left out.
    #[schema(maximum = 0)]
    pub nonce: Option<u64>,
}

/// Makes the fields of a transaction of what a request's body holds.
type ToFields = fn(Map<String, Value>) -> Result<Map<String, Value>, ApiError>;

/// Follows what passed and gives each transaction its outcome.
async fn run(
    state: &ApiState,
    raw: Raw,
    query: SubmitQuery,
    kind: Option<Kind>,
    to_fields: ToFields,
) -> Result<(Vec<Outcome>, bool), Refusal> {
    let (until, time) = query.read()?;
    let parsed = Arc::new(parse(&raw, state.chain(), to_fields)?);
    if let Some(kind) = kind
        && !(0..parsed.ranges.len()).all(|place| parsed.transaction(place).and_then(|one| one.kind()) == Some(kind))
    {
        let message = format!("only a {} is taken here; send others to POST /transactions", kind.name());
        return Err(ApiError::bad_request(message).with_code("wrong_type").into());
    }
    let verdicts = state.submitter().check(parsed.clone()).await?;
    let passed: Vec<usize> = (0..verdicts.len()).filter(|place| verdicts[*place].is_ok()).collect();
    let mut fates = Vec::new();
    let mut trouble = None;
    if !passed.is_empty() {
        let ticket = state.submitter().hand_over(&parsed, &passed)?;
        ticket.followed().wait(until, time).await;
        fates = ticket.followed().fates();
        trouble = ticket.followed().trouble();
    }
    let mut fates = fates.into_iter();
    let mut outcomes = Vec::with_capacity(verdicts.len());
    for (place, verdict) in verdicts.into_iter().enumerate() {
        let Some(transaction) = parsed.transaction(place) else { continue };
        outcomes.push(match (verdict, &mut fates) {
            (Err(refused), _) => Outcome::refused(&transaction, &refused),
            (Ok(()), fates) => match fates.next() {
                Some(fate) => Outcome::followed(&transaction, &fate, until, trouble.as_deref()),
                None => continue,
            },
        });
    }
    Ok((outcomes, parsed.is_list))
}

/// Hands signed transactions to the node and answers with what came of them. One transaction is answered by itself, several by a list.
#[utoipa::path(
    post, path = "/transactions", tag = "submit", params(SubmitQuery),
    request_body(
        description = "Signed transactions back to back, or JSON",
        content((SubmitRequest = "application/json"), (SignedBytes = "application/octet-stream")),
    ),
    responses(
        (status = 200, description = "Several: each with its own outcome", body = SubmittedMany),
        (status = 201, description = "One: it has come as far as was asked for", body = Submitted),
        (status = 202, description = "Not all has come as far as was asked for: what is known by now", body = AnySubmitted),
        (status = 401, description = "The signature does not belong to sender and bytes", body = Problem),
        (status = 404, description = "The sender has no account", body = Problem),
        (status = 409, description = "Nonce used, bytes seen a moment ago, account there already", body = Problem),
        (status = 422, description = "In a block without effect; the code says why", body = Problem),
        Asked, Sent, Always
    )
)]
pub async fn submit(
    State(state): State<ApiState>,
    Query(query): Query<SubmitQuery>,
    raw: Raw,
) -> Result<Response, Refusal> {
    let (outcomes, is_list) = run(&state, raw, query, None, Ok).await?;
    Ok(answer::respond(outcomes, is_list))
}

/// Creates an account: hands a signed user_creation to the node. The key that is registered signs it.
#[utoipa::path(
    post, path = "/users", tag = "submit", params(SubmitQuery),
    request_body(
        description = "A signed user_creation as bytes, or JSON",
        content((CreateUserRequest = "application/json"), (SignedBytes = "application/octet-stream")),
    ),
    responses(
        (status = 201, description = "It has come as far as was asked for", body = CreatedUser),
        (status = 202, description = "It has not come as far as was asked for: what is known by now", body = CreatedUser),
        (status = 401, description = "The signature does not belong to key and bytes", body = Problem),
        (status = 409, description = "The key has an account, or the bytes were seen a moment ago", body = Problem),
        (status = 422, description = "In a block without effect: the username is taken, say", body = Problem),
        Asked, Sent, Always
    )
)]
pub async fn create_user(
    State(state): State<ApiState>,
    Query(query): Query<SubmitQuery>,
    raw: Raw,
) -> Result<Response, Refusal> {
    let (outcomes, _) = run(&state, raw, query, Some(Kind::UserCreation), user_fields).await?;
    match <[Outcome; 1]>::try_from(outcomes) {
        Ok([outcome]) => Ok(answer::respond_user(outcome)),
        Err(_) => Err(ApiError::bad_request("one account at a time; send several to POST /transactions").into()),
    }
}

/// Fields of `POST /users` as those of a transaction.
fn user_fields(mut fields: Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    let bad = |message: &str| ApiError::bad_request(message).with_code("bad_field");
    if fields.contains_key("type") || fields.contains_key("from") {
        return Err(bad("`type` and `from` follow from the route and `publicKey`; leave them out"));
    }
    if fields.remove("role").is_some_and(|role| role != "user") {
        return Err(bad("`role`: a new account is a user; the sovereign changes roles by a role_change"));
    }
    if fields.remove("avatarData").is_some_and(|avatar| !avatar.is_null()) {
        return Err(bad("`avatarData`: this ledger keeps no pictures; leave it out"));
    }
    let key = fields.remove("publicKey").ok_or_else(|| bad("`publicKey` is missing"))?;
    // What was optional in the replaced ledger may also be null.
    fields.retain(|_, value| !value.is_null());
    fields.entry("nonce").or_insert(json!(0));
    fields.insert("type".to_owned(), Kind::UserCreation.name().into());
    fields.insert("from".to_owned(), key);
    Ok(fields)
}

/// What a 202 of `POST /transactions` holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum AnySubmitted {
    /// Of several.
    Many(SubmittedMany),
    /// Of one.
    One(Box<Submitted>),
}

impl IntoResponse for CreatedUser {
    fn into_response(self) -> Response {
        axum::Json(self).into_response()
    }
}
