//! What a submission is answered with: the HTTP status for programs that look no further, and what is known of each transaction.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tana_types::code::Code;
use tana_types::payload::Kind;
use tana_types::transaction::Transaction;
use utoipa::ToSchema;

use super::check::Refused;
use super::follow::{End, Fate, Stage, Until};

/// What is known of one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Submitted {
    /// Its identifier, under which `GET /transactions/:id` finds it once it is in a block.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The sender's key.
    pub from: String,
    /// Its nonce.
    pub nonce: u64,
    /// Its time in milliseconds.
    pub timestamp: u64,
    /// applied, final, accepted; failed or skipped (in a block without effect), rejected (not taken); sent or unknown when the node has not
    /// said.
    pub status: String,
    /// How it ended; null while it has not.
    pub code: Option<String>,
    /// Its block, once it is final.
    pub block_height: Option<u64>,
    /// Its place in the block, from 0.
    pub index: Option<u64>,
    /// A sentence for people.
    pub message: String,
    /// The same sentence where it is a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is known of several transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubmittedMany {
    /// In the order in which they were sent.
    pub transactions: Vec<Submitted>,
}

/// What is known of a new account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedUser {
    /// The identifier of the transaction that creates it.
    pub transaction_id: String,
    /// The account's key.
    pub user_id: String,
    /// What is known of the transaction.
    #[serde(flatten)]
    pub transaction: Submitted,
}

/// One transaction's answer and the HTTP status that it has alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The HTTP status.
    pub status: StatusCode,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u32>,
    /// What is known.
    pub submitted: Submitted,
}

/// The HTTP status of a refusal by this code, and after how many seconds the same bytes may be sent again.
fn refusal(code: Code) -> (StatusCode, Option<u32>) {
    match code {
        Code::BadSignature => (StatusCode::UNAUTHORIZED, None),
        Code::SenderUnknown | Code::UnknownSender => (StatusCode::NOT_FOUND, None),
        Code::NonceUsed | Code::NonceTooFar | Code::Resent | Code::AccountExists => (StatusCode::CONFLICT, None),
        Code::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, None),
        Code::CreationBusy => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
        Code::Stopping => (StatusCode::SERVICE_UNAVAILABLE, Some(10)),
        Code::NotValidator => (StatusCode::SERVICE_UNAVAILABLE, None),
        _ => (StatusCode::BAD_REQUEST, None),
    }
}

fn begin(transaction: &Transaction<'_>) -> Submitted {
    let header = transaction.header();
    Submitted {
        id: hex::encode(transaction.id()),
        kind: transaction.kind().map_or("unknown", Kind::name).to_owned(),
        from: transaction.sender().to_string(),
        nonce: header.nonce.get(),
        timestamp: header.timestamp_ms.get(),
        status: String::new(),
        code: None,
        block_height: None,
        index: None,
        message: String::new(),
        error: None,
    }
}

impl Outcome {
    /// A transaction that was refused here.
    pub fn refused(transaction: &Transaction<'_>, refused: &Refused) -> Self {
        let (status, retry_after) = refusal(refused.code);
        let mut submitted = begin(transaction);
        submitted.say("rejected", Some(refused.code), refused.detail.clone(), true);
        Self { status, retry_after, submitted }
    }

    /// A transaction that was handed to the node, for a request that waited for `until`.
    pub fn followed(transaction: &Transaction<'_>, fate: &Fate, until: Until, trouble: Option<&str>) -> Self {
        let mut submitted = begin(transaction);
        (submitted.block_height, submitted.index) = fate.place.unzip();
        let code = Code::from_u8(fate.code).unwrap_or(Code::Malformed);
        let (status, retry_after) = match (fate.end, fate.stage) {
            (Some(End::Applied), _) => {
                submitted.say("applied", Some(Code::Applied), Code::Applied.explanation().to_owned(), false);
                (StatusCode::CREATED, None)
            }
            (Some(End::Rejected), _) => {
                submitted.say("rejected", Some(code), code.explanation().to_owned(), true);
                refusal(code)
            }
            (Some(end @ (End::Failed | End::Skipped)), _) => {
                let word = if end == End::Failed { "failed" } else { "skipped" };
                submitted.say(word, Some(code), code.explanation().to_owned(), true);
                (StatusCode::UNPROCESSABLE_ENTITY, None)
            }
            (None, Stage::Waiting) => {
                let why = trouble.unwrap_or("it takes no more at this moment");
                submitted.say(
                    "rejected",
                    None,
                    format!("the node did not get it: {why}; send it again in a moment"),
                    true,
                );
                submitted.code = Some("node_unreachable".to_owned());
                (StatusCode::SERVICE_UNAVAILABLE, Some(2))
            }
            (None, stage) => {
                let word = match (trouble, stage) {
                    (Some(_), _) => "unknown",
                    (None, Stage::Accepted) => "accepted",
                    (None, Stage::Final) => "final",
                    (None, _) => "sent",
                };
                let ask = format!("GET /transactions/{} says what became of it", submitted.id);
                let message = match trouble {
                    Some(why) => format!("the node's answer was lost: {why}; {ask}"),
                    None if fate.satisfies(until) => format!("as far as was asked for; {ask}"),
                    None => format!("more is not known yet; {ask}"),
                };
                submitted.say(word, None, message, false);
                (if fate.satisfies(until) { StatusCode::CREATED } else { StatusCode::ACCEPTED }, None)
            }
        };
        Self { status, retry_after, submitted }
    }
}

impl Submitted {
    fn say(&mut self, status: &str, code: Option<Code>, message: String, is_refusal: bool) {
        self.status = status.to_owned();
        self.code = code.map(|code| code.name().to_owned());
        self.error = is_refusal.then(|| message.clone());
        self.message = message;
    }
}

fn with_status(status: StatusCode, retry_after: Option<u32>, body: impl IntoResponse) -> Response {
    let mut response = (status, body).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Tana-Signature"));
    }
    response
}

/// One transaction's own answer, or the list of several: 202 while something is open, 503 when the node got none.
pub fn respond(outcomes: Vec<Outcome>, is_list: bool) -> Response {
    if !is_list && let [outcome] = outcomes.as_slice() {
        return with_status(outcome.status, outcome.retry_after, Json(outcome.submitted.clone()));
    }
    let unreachable = |outcome: &Outcome| outcome.submitted.code.as_deref() == Some("node_unreachable");
    if let Some(first) = outcomes.first()
        && outcomes.iter().all(unreachable)
    {
        return with_status(first.status, first.retry_after, Json(first.submitted.clone()));
    }
    let open = outcomes.iter().any(|outcome| outcome.status == StatusCode::ACCEPTED);
    let transactions = outcomes.into_iter().map(|outcome| outcome.submitted).collect();
    let status = if open { StatusCode::ACCEPTED } else { StatusCode::OK };
    with_status(status, None, Json(SubmittedMany { transactions }))
}

/// The answer to a new account.
pub fn respond_user(outcome: Outcome) -> Response {
    let Outcome { status, retry_after, submitted } = outcome;
    let created =
        CreatedUser { transaction_id: submitted.id.clone(), user_id: submitted.from.clone(), transaction: submitted };
    with_status(status, retry_after, created)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_makes_a_500_and_only_what_may_pass_says_when_to_try_again() {
        for &code in Code::ALL {
            let (status, retry_after) = refusal(code);
            assert!(status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE, "{code:?}");
            assert!(retry_after.is_none() || status == StatusCode::SERVICE_UNAVAILABLE, "{code:?}");
        }
    }
}
